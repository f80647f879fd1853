//! The published figures: Wang, Peng, Fu, "Towards Zero-shot 3D Anomaly Localization", WACV 2025 (arXiv 2412.04304),
//! tables 1 (AUPRO, published rule, limit 0.3) and 2 (image AUROC), on MVTec 3D-AD, in percent. Of BTF and 3DSR the
//! paper prints the rows' means alone.

use crate::eval::published::{CLASSES, MEAN, METHODS, value};
use crate::study::table::Figure;

/// Where the figures are from, in words.
pub const SOURCE: &str =
    "Wang, Peng, Fu: Towards Zero-shot 3D Anomaly Localization, WACV 2025, tables 1 and 2";

/// A row: one method trained on one class.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedRow {
    /// 3DzAL, BTF or 3DSR.
    pub method: &'static str,
    /// The training class.
    pub training: String,
    /// Test class and figure, 0 to 1.
    pub fields: Vec<(String, f64)>,
    /// Mean over the test classes, 0 to 1, as printed.
    pub mean: f64,
}

/// The rows of AUPRO.
#[must_use]
pub fn aupro() -> Vec<PublishedRow> {
    rows(Figure::Aupro)
}

/// The rows of the image AUROC.
#[must_use]
pub fn auroc() -> Vec<PublishedRow> {
    rows(Figure::ImageAuroc)
}

fn rows(figure: Figure) -> Vec<PublishedRow> {
    let row = |training: &'static str, method: &'static str| {
        let field = |class: &str| Some((class.to_owned(), value(figure, method, training, class)?));
        let fields = CLASSES.iter().filter_map(|class| field(class)).collect();
        let mean = value(figure, method, training, MEAN)?;
        Some(PublishedRow { method, training: training.to_owned(), fields, mean })
    };
    CLASSES.iter().flat_map(|training| METHODS.iter().filter_map(|method| row(training, method))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::cells::mean;
    use super::*;

    #[test]
    fn the_printed_means_recompute() {
        for rows in [aupro(), auroc()] {
            assert_eq!(rows.len(), 30);
            for row in rows.iter().filter(|row| row.method == "3DzAL") {
                assert_eq!(row.fields.len(), 9, "{}", row.training);
                let found = mean(row.fields.iter().map(|(_, value)| *value)).expect("nine");
                assert!((found - row.mean).abs() < 0.000_51, "{}: {found} {}", row.training, row.mean);
                assert!(row.fields.iter().all(|(class, _)| *class != row.training));
            }
        }
        let grand = |rows: Vec<PublishedRow>, method: &str| {
            mean(rows.iter().filter(|row| row.method == method).map(|row| row.mean)).expect("ten")
        };
        assert!((grand(aupro(), "3DzAL") - 0.708).abs() < 0.000_6);
        assert!((grand(auroc(), "BTF") - 0.512).abs() < 0.001);
    }
}
