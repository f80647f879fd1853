//! `scans.csv`: the worst misses and the worst false alarms.
//!
//! Scores of two classes, or of two banks, have nothing in common. A scan is therefore held against the scans of the
//! other kind of its own cell: a miss is a defective scan that many good ones outscore, a false alarm a good scan that
//! outscores many defective ones. Among equals, the distance to their median decides, in units of the good scans'
//! median deviation.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use super::cells::{Method, Place};
use super::csv::Table;

/// Most scans of one class in a list.
const A_CLASS_MAX: usize = 2;

/// A judged test scan.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedScan {
    /// Its cell.
    pub place: Place,
    /// `class/test/defect/number`.
    pub scan: String,
    /// Whether the part has a defect.
    pub defective: bool,
    /// None when it could not be judged.
    pub score: Option<f64>,
    /// Whether the map's maximum lies on a defect, of a defective scan.
    pub peak_on_defect: Option<bool>,
}

/// A scan with how it stands against those of the other kind in its cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// The scan.
    pub scan: JudgedScan,
    /// Share of the scans of the other kind that are on the wrong side of it.
    pub wrong_share: f64,
    /// Distance to their median in median deviations of the good scans, positive to the wrong side.
    pub distance: f64,
}

/// Reads `OUT/scans.csv`; none without one.
///
/// # Errors
/// When it is no such table.
pub fn read(out: &Path) -> Result<Option<Vec<JudgedScan>>> {
    Table::read(&out.join("scans.csv"))?.map(|table| of_table(&table)).transpose()
}

fn of_table(table: &Table) -> Result<Vec<JudgedScan>> {
    let columns = Place::columns(table)?;
    let [scan, defective, score, peak] =
        [table.need("scan")?, table.need("defective")?, table.need("score")?, table.need("peak_on_defect")?];
    let mut scans = Vec::new();
    for (index, row) in table.rows.iter().enumerate() {
        let flag = |column: usize| match row[column].as_str() {
            "" => Ok(None),
            "true" | "yes" | "1" => Ok(Some(true)),
            "false" | "no" | "0" => Ok(Some(false)),
            other => bail!("scans.csv, line {}: found `{other}`, expected true or false", index + 2),
        };
        scans.push(JudgedScan {
            place: Place::of_row(row, &columns),
            scan: row[scan].clone(),
            defective: flag(defective)?.unwrap_or(false),
            score: table.number(index, score)?,
            peak_on_defect: flag(peak)?,
        });
    }
    Ok(scans)
}

/// The worst misses and the worst false alarms of a method, at most `count` of each.
#[must_use]
pub fn worst(scans: &[JudgedScan], method: &Method, count: usize) -> [Vec<Mistake>; 2] {
    let mut cells: BTreeMap<&Place, Vec<&JudgedScan>> = BTreeMap::new();
    for scan in scans.iter().filter(|scan| scan.place.method == *method) {
        cells.entry(&scan.place).or_default().push(scan);
    }
    let mut found = [Vec::new(), Vec::new()];
    for cell in cells.values() {
        for scan in cell {
            if let Some(mistake) = mistake(scan, cell) {
                found[usize::from(!scan.defective)].push(mistake);
            }
        }
    }
    found.map(|list| shortened(list, count))
}

/// None of a scan that no other one of its cell stands on the wrong side of.
fn mistake(scan: &JudgedScan, cell: &[&JudgedScan]) -> Option<Mistake> {
    let score = scan.score?;
    let of = |defective: bool| {
        let mut scores: Vec<f64> =
            cell.iter().filter(|s| s.defective == defective).filter_map(|s| s.score).collect();
        scores.sort_by(f64::total_cmp);
        scores
    };
    let (good, others) = (of(false), of(!scan.defective));
    let center = median(&good)?;
    let mut deviations: Vec<f64> = good.iter().map(|s| (s - center).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    let unit = median(&deviations)?.max(f64::MIN_POSITIVE);
    let sign = if scan.defective { 1.0 } else { -1.0 };
    let wrong = others.iter().filter(|other| sign * (**other - score) >= 0.0).count();
    let mistake = Mistake {
        scan: scan.clone(),
        wrong_share: as_f64(wrong) / as_f64(others.len()),
        distance: sign * (median(&others)? - score) / unit,
    };
    (wrong > 0).then_some(mistake)
}

/// The worst first, each scan once, and no class more than a few times.
fn shortened(mut list: Vec<Mistake>, count: usize) -> Vec<Mistake> {
    list.sort_by(|a, b| {
        b.wrong_share
            .total_cmp(&a.wrong_share)
            .then_with(|| b.distance.total_cmp(&a.distance))
            .then_with(|| a.scan.scan.cmp(&b.scan.scan))
    });
    let mut kept: Vec<Mistake> = Vec::new();
    for mistake in list {
        let of_class =
            kept.iter().filter(|k| k.scan.place.test_class == mistake.scan.place.test_class).count();
        let again = kept.iter().any(|k| {
            k.scan.scan == mistake.scan.scan && k.scan.place.data_set == mistake.scan.place.data_set
        });
        if kept.len() < count && of_class < A_CLASS_MAX && !again {
            kept.push(mistake);
        }
    }
    kept
}

/// Median of ascending numbers.
fn median(ascending: &[f64]) -> Option<f64> {
    let middle = ascending.len() / 2;
    let upper = *ascending.get(middle)?;
    Some(if ascending.len() % 2 == 1 { upper } else { f64::midpoint(ascending[middle - 1], upper) })
}

#[expect(clippy::cast_precision_loss, reason = "counts of scans")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "data_set,seed,training,arm,mode,test_class,scan,defective,score,score_without_defect,\
        peak_on_defect,undecided\n";

    fn method() -> Method {
        Method { arm: "x".into(), mode: "line".into() }
    }

    fn scans(rows: &[(&str, &str, bool, &str)]) -> Vec<JudgedScan> {
        let mut text = HEAD.to_owned();
        for (class, name, defective, score) in rows {
            text += &format!("d,1,ring,x,line,{class},{class}/test/{name},{defective},{score},,,\n");
        }
        of_table(&Table::parse(Path::new("scans.csv"), &text).expect("a table")).expect("scans")
    }

    #[test]
    fn the_worst_are_those_most_scans_of_the_other_kind_are_beyond() {
        let scans = scans(&[
            ("rope", "good/0", false, "1"),
            ("rope", "good/1", false, "2"),
            ("rope", "good/2", false, "9"),
            ("rope", "cut/0", true, "1.5"),
            ("rope", "cut/1", true, "0.5"),
            ("rope", "cut/2", true, "10"),
            ("rope", "cut/3", true, ""),
            ("tyre", "good/0", false, "100"),
            ("tyre", "cut/0", true, "101"),
        ]);
        let [misses, alarms] = worst(&scans, &method(), 6);
        let names = |list: &[Mistake]| list.iter().map(|m| m.scan.scan.clone()).collect::<Vec<_>>();
        assert_eq!(names(&misses), ["rope/test/cut/1", "rope/test/cut/0"]);
        assert!((misses[0].wrong_share - 1.0).abs() < 1e-12 && misses[0].distance > misses[1].distance);
        assert_eq!(names(&alarms), ["rope/test/good/2", "rope/test/good/1"]);
        assert!((alarms[0].wrong_share - 2.0 / 3.0).abs() < 1e-12, "{alarms:?}");
        let other = Method { arm: "y".into(), mode: "line".into() };
        assert!(worst(&scans, &other, 6).iter().all(Vec::is_empty));
    }

    #[test]
    fn no_class_fills_the_list() {
        let rows: Vec<(String, bool, String)> = (0..5)
            .flat_map(|i| {
                [
                    (format!("good/{i}"), false, format!("{}", 10 + i)),
                    (format!("cut/{i}"), true, format!("{i}")),
                ]
            })
            .collect();
        let rows: Vec<(&str, &str, bool, &str)> = rows
            .iter()
            .map(|(name, defective, score)| ("rope", name.as_str(), *defective, score.as_str()))
            .collect();
        let [misses, alarms] = worst(&scans(&rows), &method(), 6);
        assert_eq!((misses.len(), alarms.len()), (2, 2));
        assert_eq!(misses[0].scan.scan, "rope/test/cut/0");
    }

    #[test]
    fn a_flag_that_is_none_is_refused() {
        let text = format!("{HEAD}d,1,ring,x,line,rope,rope/test/cut/0,maybe,1,,,\n");
        let refused =
            of_table(&Table::parse(Path::new("scans.csv"), &text).expect("a table")).expect_err("no flag");
        assert!(format!("{refused:#}").contains("line 2: found `maybe`"));
    }
}
