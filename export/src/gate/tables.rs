//! The gate's tables, with the columns of a study's.

use std::fmt::Write as _;

use super::judge::JudgedClass;

/// What all rows of a gate share.
pub struct Place<'a> {
    /// Name of the data set.
    pub data_set: &'a str,
    /// Classes in the bundle's banks, joined by `+`.
    pub training: &'a str,
    /// The bundle.
    pub arm: &'a str,
}

const PLACE: &str = "data_set,seed,training,arm,mode,test_class";

impl Place<'_> {
    /// The first columns of a row. A bundle has no seed: 0.
    fn of(&self, class: &JudgedClass) -> String {
        let Self { data_set, training, arm } = self;
        format!("{data_set},0,{training},{arm},{},{}", class.mode.name(), class.class)
    }
}

/// `cells.csv`.
#[must_use]
pub fn cells(place: &Place<'_>, judged: &[JudgedClass]) -> String {
    let mut text = format!("{PLACE},ok_scans,defective_scans,undecided_scans");
    for (name, _) in judged.iter().take(1).flat_map(|class| &class.figures) {
        let _ = write!(text, ",{name}");
    }
    text.push('\n');
    for class in judged {
        let counts = [class.count(false), class.count(true), class.undecided()];
        let _ = write!(text, "{},{},{},{}", place.of(class), counts[0], counts[1], counts[2]);
        for (_, value) in &class.figures {
            text.push(',');
            text.push_str(&value.map_or_else(String::new, |value| format!("{value:.6}")));
        }
        text.push('\n');
    }
    text
}

/// `scans.csv`. A bundle's detector cannot leave a defect out: that column is empty.
#[must_use]
pub fn scans(place: &Place<'_>, judged: &[JudgedClass]) -> String {
    let mut text = format!("{PLACE},scan,defective,score,score_without_defect,peak_on_defect,undecided\n");
    for class in judged {
        for scan in &class.scans {
            let score = scan.score.map_or_else(String::new, |score| format!("{score:.6}"));
            let peak = scan.peak_on_defect.map_or("", |peak| if peak { "true" } else { "false" });
            let _ = writeln!(
                text,
                "{},{},{},{score},,{peak},{}",
                place.of(class),
                scan.name,
                scan.defective,
                scan.undecided
            );
        }
    }
    text
}

/// `curves.csv`.
#[must_use]
pub fn curves(place: &Place<'_>, judged: &[JudgedClass]) -> String {
    let mut text = format!("{PLACE},curve,x,y\n");
    for class in judged {
        for (name, points) in &class.curves {
            for [x, y] in points {
                let _ = writeln!(text, "{},{name},{x:.6},{y:.6}", place.of(class));
            }
        }
    }
    text
}
