//! What tells good from defective scans without looking for a defect: if the share of missing points
//! alone does, so may a method's image score.
//!
//! For each test class the image AUROC of four plain numbers, with a bootstrap interval. An interval
//! that excludes 0.5 is flagged: image figures of that class may be about the acquisition. A defect
//! can change such a number by itself (a hole misses points), so that a flag is a question, not a
//! verdict.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use zal::metrics::{Bootstrap, auroc, auroc_interval};

use crate::study::facts::Facts;
use crate::study::survey::Survey;

/// One number of one test class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confound {
    /// Name of the data set.
    pub data_set: String,
    /// The class.
    pub test_class: String,
    /// Which number.
    pub statistic: String,
    /// Good test scans.
    pub ok_scans: usize,
    /// Defective test scans.
    pub defective_scans: usize,
    /// Share of pairs in which the defective scan has the larger number; six decimals.
    pub auroc: f64,
    /// Ends of its interval; six decimals.
    pub interval: [f64; 2],
}

impl Confound {
    /// Whether the interval excludes chance.
    #[must_use]
    pub fn is_flagged(&self) -> bool {
        self.interval[0] > 0.5 || self.interval[1] < 0.5
    }
}

/// A number of a scan that knows nothing of defects.
type Statistic = fn(&Facts) -> f32;

const STATISTICS: [(&str, Statistic); 4] = [
    ("missing points", |facts| facts.missing_share),
    ("brightness", |facts| facts.brightness),
    ("depth", |facts| facts.depth_m),
    ("object size", |facts| facts.object_share),
];

/// The numbers of all test classes of a data set.
#[must_use]
pub fn of_survey(survey: &Survey, tests: &[String], bootstrap: &Bootstrap) -> Vec<Confound> {
    let mut found = Vec::new();
    for class in survey.set.classes.iter().filter(|class| tests.contains(&class.name)) {
        let facts = |defective: bool| -> Vec<&Facts> {
            let scans = class.test.iter().filter(|scan| scan.defective == defective);
            scans.filter_map(|scan| survey.facts.get(&scan.name)).collect()
        };
        let (good, defective) = (facts(false), facts(true));
        for (statistic, of) in STATISTICS {
            let values = |facts: &[&Facts]| facts.iter().map(|f| of(f)).collect::<Vec<f32>>();
            let (good, defective) = (values(&good), values(&defective));
            let area = auroc(&good, &defective);
            let (Some(area), Some(interval)) = (area, auroc_interval(&good, &defective, bootstrap)) else {
                continue;
            };
            found.push(Confound {
                data_set: survey.set.name.clone(),
                test_class: class.name.clone(),
                statistic: statistic.to_owned(),
                ok_scans: good.len(),
                defective_scans: defective.len(),
                auroc: rounded(area),
                interval: interval.map(rounded),
            });
        }
    }
    found
}

/// Six decimals, which JSON gives back to the bit.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// `confounds.csv`.
#[must_use]
pub fn csv(confounds: &[Confound]) -> String {
    let mut text =
        String::from("data_set,test_class,statistic,ok_scans,defective_scans,auroc,low,high,flagged\n");
    for confound in confounds {
        let Confound { data_set, test_class, statistic, ok_scans, defective_scans, auroc, .. } = confound;
        let [low, high] = confound.interval;
        let flagged = if confound.is_flagged() { "yes" } else { "no" };
        let _ = writeln!(
            text,
            "{data_set},{test_class},{statistic},{ok_scans},{defective_scans},{auroc:.6},{low:.6},{high:.6},{flagged}"
        );
    }
    text
}

/// The section of `tables.md`.
#[must_use]
pub fn markdown(confounds: &[Confound]) -> String {
    let mut text = String::from(
        "\n## Can good and defective scans be told apart without looking for a defect?\n\n\
         Image AUROC of plain numbers of the scan, with 95 % intervals, which are rough below some ten scans of a kind. \
         Where the interval excludes 50 (**bold**), image figures of the class may be about the acquisition; a defect can \
         also change the number by itself, as a hole misses points.\n\n",
    );
    let _ = writeln!(text, "| test class | {} |", STATISTICS.map(|(name, _)| name).join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(STATISTICS.len()));
    let mut classes: Vec<(&str, &str)> =
        confounds.iter().map(|c| (c.data_set.as_str(), c.test_class.as_str())).collect();
    classes.sort_unstable();
    classes.dedup();
    for (data_set, class) in classes {
        let cell = |(statistic, _): (&str, _)| {
            let here = |c: &&Confound| {
                (c.data_set.as_str(), c.test_class.as_str(), c.statistic.as_str())
                    == (data_set, class, statistic)
            };
            confounds.iter().find(here).map_or_else(|| "-".to_owned(), words)
        };
        let cells = STATISTICS.map(cell);
        let _ = writeln!(text, "| {class} ({data_set}) | {} |", cells.join(" | "));
    }
    text
}

fn words(confound: &Confound) -> String {
    let [low, high] = confound.interval.map(|value| 100.0 * value);
    let words = format!("{:.1} [{low:.0}, {high:.0}]", 100.0 * confound.auroc);
    if confound.is_flagged() { format!("**{words}**") } else { words }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::study::data_set::{Class, DataSet, ScanFile};

    fn scan(index: u8, defective: bool) -> ScanFile {
        ScanFile {
            name: format!("ring/test/{index}"),
            xyz: PathBuf::new(),
            gt: None,
            defective,
            key: String::new(),
            gt_key: String::new(),
        }
    }

    /// Ten good and ten defective scans: defective ones miss more points, all else is shared.
    fn survey() -> Survey {
        let scans: Vec<ScanFile> = (0..20).map(|index| scan(index, index >= 10)).collect();
        let facts = |index: u8| Facts {
            height: 8.0,
            width: 8.0,
            missing_share: f32::from(index) / 20.0,
            brightness: f32::from(index % 10),
            depth_m: 0.5,
            object_share: f32::from(19 - index),
        };
        let facts: BTreeMap<String, Facts> =
            (0..20).map(|index| (format!("ring/test/{index}"), facts(index))).collect();
        let class = Class { name: "ring".into(), train: Vec::new(), test: scans };
        Survey { set: DataSet::new("set".into(), vec![class]), facts, flaws: Vec::new() }
    }

    #[test]
    fn a_number_that_tells_the_scans_apart_is_flagged_and_others_are_not() {
        let found = of_survey(&survey(), &["ring".to_owned()], &Bootstrap::default());
        let of = |statistic: &str| found.iter().find(|c| c.statistic == statistic).expect("it is there");
        for (statistic, auroc, flagged) in [
            ("missing points", 1.0, true),
            ("brightness", 0.5, false),
            ("depth", 0.5, false),
            ("object size", 0.0, true),
        ] {
            let found = of(statistic);
            assert!((found.auroc - auroc).abs() < 1e-9, "{found:?}");
            assert_eq!(found.is_flagged(), flagged, "{found:?}");
        }
        let text = csv(&found);
        assert!(text.contains("set,ring,missing points,10,10,1.000000,1.000000,1.000000,yes\n"), "{text}");
        assert!(markdown(&found).contains("**100.0 [100, 100]** | 50.0 ["), "{}", markdown(&found));
        assert!(of_survey(&survey(), &["cone".to_owned()], &Bootstrap::default()).is_empty());
    }
}
