//! Which classes a result has seen: the training classes, those that pseudo anomalies were cut from,
//! and those whose scans were a reference. A row is called zero-shot only where the test class is in
//! none of them, neither by name nor by a scan of the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::left_out::GroupId;
use crate::study::data_set::DataSet;
use crate::study::plan::Plan;
use crate::study::table::{Cell, Place};

/// What one group has seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The group.
    pub group: GroupId,
    /// Classes of the training and of the bank.
    pub training: Vec<String>,
    /// Classes and procedural solids that pseudo anomalies were cut from; empty without a training.
    pub pool: Vec<String>,
    /// Test classes that the result is not zero-shot for, and why.
    pub leaks: BTreeMap<String, String>,
}

/// What every group of cells has seen, in order.
#[must_use]
pub fn seen(
    plan: &Plan,
    sets: &[DataSet],
    cells: &[Cell],
    pools: &BTreeMap<Place, Vec<String>>,
) -> Vec<Seen> {
    let mut groups: BTreeMap<&Place, BTreeSet<&str>> = BTreeMap::new();
    for cell in cells {
        groups.entry(&cell.place).or_default().insert(&cell.figures.test_class);
    }
    let of = |(place, tests): (&Place, BTreeSet<&str>)| {
        let training: Vec<String> = place.training.split('+').map(ToOwned::to_owned).collect();
        let pool = pools.get(place).cloned().unwrap_or_default();
        let set = sets.iter().find(|set| set.name == place.data_set);
        let arm = plan.arms.iter().find(|arm| arm.name == place.arm);
        let referenced = arm.is_some_and(|arm| !arm.is_zero_shot());
        let leak = |test: &str| {
            let why = leak(test, &training, &pool, referenced).or_else(|| same_bytes(test, &training, set?));
            Some((test.to_owned(), why?))
        };
        let leaks = tests.into_iter().filter_map(leak).collect();
        Seen { group: GroupId::from(place), training, pool, leaks }
    };
    groups.into_iter().map(of).collect()
}

/// Why a result is not zero-shot for a test class, by names.
fn leak(test: &str, training: &[String], pool: &[String], referenced: bool) -> Option<String> {
    // A procedural solid counts as its family's class.
    let is_test = |class: &&String| class.trim_start_matches("procedural ").eq_ignore_ascii_case(test);
    if training.iter().any(|class| is_test(&class)) {
        return Some(format!("`{test}` was trained on"));
    }
    if let Some(class) = pool.iter().find(is_test) {
        return Some(format!("pseudo anomalies were cut from `{class}`"));
    }
    referenced.then(|| format!("scans of `{test}` were a reference"))
}

/// Why a result is not zero-shot for a test class: one of its test scans is a training scan.
fn same_bytes(test: &str, training: &[String], set: &DataSet) -> Option<String> {
    let trained: BTreeMap<&str, &str> = set
        .trained(training)
        .flat_map(|class| &class.train)
        .map(|scan| (scan.key.as_str(), scan.name.as_str()))
        .collect();
    let class = set.classes.iter().find(|class| class.name == test)?;
    let same = class.test.iter().find_map(|scan| Some((&scan.name, trained.get(scan.key.as_str())?)));
    same.map(|(test, train)| format!("{test} has the bytes of the training scan {train}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_class_is_seen_by_training_pool_or_reference_alone() {
        let (training, pool) = (names(&["ring"]), names(&["Peach", "procedural tuber", "ring"]));
        let why = |test: &str, referenced: bool| leak(test, &training, &pool, referenced);
        assert_eq!(why("rope", false), None);
        assert!(why("rope", true).expect("a reference").contains("reference"));
        assert!(why("ring", false).expect("trained on").contains("trained"));
        assert!(why("peach", false).expect("in the pool").contains("`Peach`"));
        assert!(why("tuber", false).expect("a solid").contains("procedural tuber"));
        assert_eq!(leak("tuber", &training, &[], false), None);
    }
}
