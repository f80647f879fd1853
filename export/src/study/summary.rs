//! What the cells say together: means, paired differences to the baseline arm, and how sure both are.
//!
//! A cell's luck is shared: all test classes of one training see the same network, bank and data set.
//! So intervals come from resampling whole trainings (training classes and seed), each with all its
//! cells, and a difference is taken cell by cell before anything is averaged: what makes a class easy
//! or a data set hard drops out of it. Few trainings make such an interval too narrow rather than too
//! wide; one training has none.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zal::metrics::Bootstrap;

use super::table::{Cell, Figure, Place};

/// The figures that are averaged.
pub const FIGURES: [Figure; 11] = [
    Figure::AuproFg,
    Figure::Aupro,
    Figure::AuproFgExact,
    Figure::AuproExact,
    Figure::ImageAuroc,
    Figure::ImageF1Max,
    Figure::Conf,
    Figure::Cf,
    Figure::PixelAuroc,
    Figure::PixelAurocFg,
    Figure::Hit1,
];

/// Stands for every training or class.
pub const ALL: &str = "all";

/// A mean over cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Cells that have the figure.
    pub cells: usize,
    /// Their mean.
    pub mean: f64,
    /// Its interval; none of a single training.
    pub interval: Option<[f64; 2]>,
}

/// One figure of one arm in one mode.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The mode.
    pub mode: String,
    /// The arm.
    pub arm: String,
    /// The training, or [`ALL`].
    pub training: String,
    /// The test class, or [`ALL`].
    pub test_class: String,
    /// The figure.
    pub figure: Figure,
    /// Its mean.
    pub mean: Estimate,
    /// Mean of its differences to the baseline arm's cells; none for the baseline itself.
    pub difference: Option<Estimate>,
}

/// Summarises the cells: over all, by test class and by training; arms in the given order.
#[must_use]
pub fn summarise(cells: &[Cell], arms: &[&str], baseline: &str, settings: &Bootstrap) -> Vec<Row> {
    let names = |of: fn(&Cell) -> &str| {
        let mut names: Vec<&str> = cells.iter().map(of).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let (modes, trainings) = (names(|c| &c.place.mode), names(|c| &c.place.training));
    let classes = names(|c| &c.figures.test_class);
    let by_class = classes.iter().map(|class| (ALL, *class));
    let by_training = trainings.iter().map(|training| (*training, ALL));
    let scopes: Vec<(&str, &str)> = std::iter::once((ALL, ALL)).chain(by_class).chain(by_training).collect();
    let mut rows = Vec::new();
    for mode in &modes {
        for (training, test_class) in &scopes {
            let scope = Scope { cells, mode, training, test_class, baseline, settings };
            for arm in arms {
                rows.extend(FIGURES.iter().filter_map(|figure| scope.row(arm, *figure)));
            }
        }
    }
    rows
}

/// The cells that one row is about.
struct Scope<'a> {
    cells: &'a [Cell],
    mode: &'a str,
    training: &'a str,
    test_class: &'a str,
    baseline: &'a str,
    settings: &'a Bootstrap,
}

impl<'a> Scope<'a> {
    fn row(&self, arm: &str, figure: Figure) -> Option<Row> {
        let values = self.values(arm, figure);
        let mean = estimate(&by_training(&values), self.settings)?;
        let baseline = self.baseline_values(figure);
        let minus_baseline = |(key, value): (&CellKey<'a>, &f64)| Some((*key, value - baseline.get(key)?));
        let differences: BTreeMap<_, _> = values.iter().filter_map(minus_baseline).collect();
        let difference = estimate(&by_training(&differences), self.settings);
        Some(Row {
            mode: self.mode.to_owned(),
            arm: arm.to_owned(),
            training: self.training.to_owned(),
            test_class: self.test_class.to_owned(),
            figure,
            mean,
            difference: difference.filter(|_| arm != self.baseline),
        })
    }

    /// The baseline's figures in the same mode; in its own when it runs in one other mode alone.
    fn baseline_values(&self, figure: Figure) -> BTreeMap<CellKey<'a>, f64> {
        let of_baseline = self.cells.iter().filter(|cell| cell.place.arm == self.baseline);
        let mut modes: Vec<&str> = of_baseline.map(|cell| cell.place.mode.as_str()).collect();
        modes.sort_unstable();
        modes.dedup();
        match modes[..] {
            [other] => self.values_in(self.baseline, other, figure),
            _ => self.values(self.baseline, figure),
        }
    }

    /// The figure of every cell of the arm that has it.
    fn values(&self, arm: &str, figure: Figure) -> BTreeMap<CellKey<'a>, f64> {
        self.values_in(arm, self.mode, figure)
    }

    fn values_in(&self, arm: &str, of_mode: &str, figure: Figure) -> BTreeMap<CellKey<'a>, f64> {
        let within = |cell: &&Cell| {
            let Place { training, arm: of, mode, .. } = &cell.place;
            (of == arm && mode == of_mode)
                && (self.training == ALL || self.training == training)
                && (self.test_class == ALL || self.test_class == cell.figures.test_class)
        };
        let value = |cell: &'a Cell| Some((CellKey::of(cell), cell.figures.get(figure)?));
        self.cells.iter().filter(within).filter_map(value).collect()
    }
}

/// What a cell shares with the baseline's cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CellKey<'a> {
    training: &'a str,
    seed: u64,
    data_set: &'a str,
    test_class: &'a str,
}

impl<'a> CellKey<'a> {
    fn of(cell: &'a Cell) -> Self {
        let Place { data_set, seed, training, .. } = &cell.place;
        Self { training, seed: *seed, data_set, test_class: &cell.figures.test_class }
    }
}

/// The values of each training, in order.
fn by_training(values: &BTreeMap<CellKey<'_>, f64>) -> Vec<Vec<f64>> {
    let mut clusters: BTreeMap<(&str, u64), Vec<f64>> = BTreeMap::new();
    for (key, value) in values {
        clusters.entry((key.training, key.seed)).or_default().push(*value);
    }
    clusters.into_values().collect()
}

/// Mean over all values, and its interval from resampling whole clusters. None without values.
#[must_use]
pub fn estimate(clusters: &[Vec<f64>], settings: &Bootstrap) -> Option<Estimate> {
    let sums: Vec<(f64, usize)> = clusters.iter().map(|c| (c.iter().sum(), c.len())).collect();
    let mean = |picked: &mut dyn Iterator<Item = (f64, usize)>| {
        let (sum, count) = picked.fold((0.0, 0), |(sum, count), (s, c)| (sum + s, count + c));
        (count > 0).then(|| sum / as_f64(count))
    };
    let resampled =
        || settings.interval(|draws| mean(&mut sums.iter().map(|_| sums[draws.index(sums.len())])));
    Some(Estimate {
        cells: sums.iter().map(|(_, count)| count).sum(),
        mean: mean(&mut sums.iter().copied())?,
        interval: if sums.len() > 1 { resampled() } else { None },
    })
}

#[expect(clippy::cast_precision_loss, reason = "a count of cells")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}

/// `summary.csv`.
#[must_use]
pub fn csv(rows: &[Row]) -> String {
    let mut text = String::from(
        "mode,training,test_class,arm,figure,cells,mean,low,high,pairs,difference,difference_low,difference_high\n",
    );
    for row in rows {
        let Row { mode, training, test_class, arm, figure, .. } = row;
        let _ = write!(text, "{mode},{training},{test_class},{arm},{}", figure.name());
        push_estimate(&mut text, Some(&row.mean));
        push_estimate(&mut text, row.difference.as_ref());
        text.push('\n');
    }
    text
}

fn push_estimate(text: &mut String, estimate: Option<&Estimate>) {
    match estimate {
        None => text.push_str(",,,,"),
        Some(Estimate { cells, mean, interval: None }) => {
            let _ = write!(text, ",{cells},{mean:.6},,");
        }
        Some(Estimate { cells, mean, interval: Some([low, high]) }) => {
            let _ = write!(text, ",{cells},{mean:.6},{low:.6},{high:.6}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::table::ClassFigures;

    const SURE: Bootstrap = Bootstrap { resamples: 20_000, level: 0.95, seed: 5 };

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "found {found}, expected {expected}");
    }

    #[test]
    fn two_trainings_have_the_interval_of_their_four_resamples() {
        // Resamples: both times the first (1/4), one of each (1/2), both times the second (1/4).
        let found = estimate(&[vec![0.1, 0.3], vec![0.6, 0.6]], &SURE).expect("values");
        close(found.mean, 0.4);
        let [low, high] = found.interval.expect("two trainings");
        close(low, 0.2);
        close(high, 0.6);
        assert_eq!(found.cells, 4);
    }

    #[test]
    fn three_trainings_have_the_interval_of_their_27_resamples() {
        // Means of three of {0, 3, 6}: 0 once, 1 three times, 2 six, 3 seven, 4 six, 5 three, 6 once of
        // 27. A tenth lies below 1 (1/27 < 0.1 < 4/27), and above 5.
        let clusters = [vec![0.0], vec![3.0], vec![6.0]];
        let at = |level| {
            let interval = estimate(&clusters, &Bootstrap { level, ..SURE }).expect("values").interval;
            interval.expect("three trainings")
        };
        for (level, expected) in [(0.8, [1.0, 5.0]), (0.95, [0.0, 6.0])] {
            at(level).iter().zip(expected).for_each(|(found, expected)| close(*found, expected));
        }
    }

    #[test]
    fn trainings_count_by_their_cells_and_one_alone_has_no_interval() {
        let found = estimate(&[vec![1.0, 1.0, 1.0], vec![5.0]], &SURE).expect("values");
        close(found.mean, 2.0);
        assert_eq!(estimate(&[vec![1.0, 2.0]], &SURE).expect("values").interval, None);
        assert_eq!(estimate(&[], &SURE), None);
    }

    fn cell(training: &str, arm: &str, class: &str, value: Option<f64>) -> Cell {
        let place = Place {
            data_set: "d".into(),
            seed: 1,
            training: training.into(),
            arm: arm.into(),
            mode: "line".into(),
        };
        let mut figures = ClassFigures {
            test_class: class.into(),
            ok_scans: 1,
            defective_scans: 1,
            undecided_scans: 0,
            values: [None; Figure::ALL.len()],
        };
        figures.set(Figure::AuproFg, value);
        Cell { place, figures }
    }

    #[test]
    fn differences_are_paired_cell_by_cell() {
        let cells = [
            cell("ring", "off", "rope", Some(0.2)),
            cell("ring", "off", "ball", Some(0.8)),
            cell("ring", "on", "rope", Some(0.3)),
            cell("ring", "on", "ball", Some(0.9)),
            cell("tyre", "off", "rope", Some(0.5)),
            cell("tyre", "off", "ball", None),
            cell("tyre", "on", "rope", Some(0.8)),
            cell("tyre", "on", "ball", Some(0.1)),
        ];
        let rows = summarise(&cells, &["off", "on"], "off", &SURE);
        let find = |arm: &str, training: &str, class: &str| {
            let here = |row: &&Row| row.arm == arm && row.training == training && row.test_class == class;
            rows.iter().find(here).expect("there is a row").clone()
        };
        let over_all = find("on", ALL, ALL);
        close(over_all.mean.mean, 2.1 / 4.0);
        // The pair without a baseline figure is left out: 0.1, 0.1 of ring and 0.3 of tyre.
        let difference = over_all.difference.expect("it has pairs");
        assert_eq!(difference.cells, 3);
        close(difference.mean, 0.5 / 3.0);
        let [low, high] = difference.interval.expect("two trainings");
        close(low, 0.1);
        close(high, 0.3);
        close(find("on", ALL, "rope").difference.expect("pairs").mean, 0.2);
        close(find("on", "ring", ALL).difference.expect("pairs").mean, 0.1);
        assert_eq!(find("on", "ring", ALL).difference.expect("pairs").interval, None);
        assert_eq!(find("off", ALL, ALL).difference, None);
        let text = csv(&rows);
        let columns = text.lines().next().expect("a head").split(',').count();
        assert!(text.lines().all(|line| line.split(',').count() == columns), "{text}");
    }
}
