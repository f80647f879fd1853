//! The published figures, to stand beside ours: read from `published.csv`, whose head names the source.

use std::collections::BTreeSet;

use crate::study::table::Figure;

/// The ten classes of MVTec 3D-AD, which the published figures are of.
pub const CLASSES: [&str; 10] =
    ["bagel", "cable_gland", "carrot", "cookie", "dowel", "foam", "peach", "potato", "rope", "tire"];
/// The published methods.
pub const METHODS: [&str; 3] = ["3DzAL", "BTF", "3DSR"];
/// The test class of a row's mean.
pub const MEAN: &str = "mean";

const CSV: &str = include_str!("published.csv");

/// A published figure as a share of 1; none where the paper does not print it.
#[must_use]
pub fn value(figure: Figure, method: &str, training: &str, test_class: &str) -> Option<f64> {
    let name = match figure {
        Figure::Aupro => "aupro",
        Figure::ImageAuroc => "image_auroc",
        _ => return None,
    };
    let row = CSV.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        (fields.len() == 5 && fields[..4] == [name, method, training, test_class]).then(|| fields[4])
    });
    Some(row?.parse::<f64>().ok()? / 100.0)
}

/// Whether figures over these classes can be compared with the published ones: they are the same ten.
#[must_use]
pub fn comparable(classes: &BTreeSet<&str>) -> bool {
    *classes == CLASSES.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_means_are_those_of_the_printed_cells() {
        for figure in [Figure::Aupro, Figure::ImageAuroc] {
            for training in CLASSES {
                let cells: Vec<f64> =
                    CLASSES.iter().filter_map(|test| value(figure, "3DzAL", training, test)).collect();
                assert_eq!(cells.len(), 9, "{training}");
                let mean = cells.iter().sum::<f64>() / 9.0;
                let printed = value(figure, "3DzAL", training, MEAN).expect("a mean");
                assert!((mean - printed).abs() < 0.0006, "{training}: {mean} and {printed}");
                assert!(value(figure, "BTF", training, MEAN).is_some());
                assert_eq!(value(figure, "BTF", training, "rope"), None);
            }
        }
    }

    #[test]
    fn known_figures_are_found() {
        let found = value(Figure::Aupro, "3DzAL", "bagel", "cable_gland").expect("it is printed");
        assert!((found - 0.786).abs() < 1e-9);
        assert_eq!(value(Figure::Hit1, "3DzAL", "bagel", "rope"), None);
        assert_eq!(value(Figure::Aupro, "3DzAL", "bagel", "bagel"), None);
    }

    #[test]
    fn only_the_same_ten_classes_compare() {
        let mut classes: BTreeSet<&str> = CLASSES.into_iter().collect();
        assert!(comparable(&classes));
        classes.remove("rope");
        assert!(!comparable(&classes));
        classes.insert("ring");
        assert!(!comparable(&classes));
    }
}
