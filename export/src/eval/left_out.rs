//! What an evaluation could not use or do, in words that are the same wherever it runs.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::request::Request;
use crate::study::Failure;
use crate::study::survey::{Cost, Flaw, Survey};
use crate::study::table::Place;

/// A group of cells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupId {
    /// Name of the data set.
    pub data_set: String,
    /// Seed of the training.
    pub seed: u64,
    /// Training classes, joined by `+`.
    pub training: String,
    /// The method.
    pub method: String,
    /// Its mode.
    pub mode: String,
}

impl From<&Place> for GroupId {
    fn from(place: &Place) -> Self {
        Self {
            data_set: place.data_set.clone(),
            seed: place.seed,
            training: place.training.clone(),
            method: place.arm.clone(),
            mode: place.mode.clone(),
        }
    }
}

/// One thing that was left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// The group, when it failed.
    pub group: Option<GroupId>,
}

/// The flaws of a data set that touch what is asked for.
#[must_use]
pub fn relevant<'a>(request: &Request, survey: &'a Survey) -> Vec<&'a Flaw> {
    let touches = |flaw: &&Flaw| match flaw.cost {
        Cost::Training => request.training.iter().any(|list| list.contains(&flaw.class)),
        Cost::Testing | Cost::Scan => {
            let tested = |list: &Vec<String>| !list.contains(&flaw.class);
            request.tests.contains(&flaw.class) && request.training.iter().any(tested)
        }
    };
    survey.flaws.iter().filter(touches).collect()
}

/// What flaws cost.
#[must_use]
pub fn of_flaws(survey: &Survey, flaws: &[&Flaw]) -> Vec<LeftOut> {
    let left_out = |flaw: &&Flaw| LeftOut {
        what: match flaw.cost {
            Cost::Training => format!("{}: training on {}", survey.set.name, flaw.class),
            Cost::Testing => format!("{}: testing on {}", survey.set.name, flaw.class),
            Cost::Scan => format!("{}: one test scan of {}", survey.set.name, flaw.class),
        },
        why: without_place(&flaw.problem.to_string(), &survey.set.root),
        group: None,
    };
    flaws.iter().map(left_out).collect()
}

/// What a failure cost.
#[must_use]
pub fn of_failure(failure: &Failure, roots: &[&Path]) -> LeftOut {
    let why = roots.iter().fold(failure.error.clone(), |words, root| without_place(&words, root));
    LeftOut { what: failure.place.to_string(), why, group: Some(GroupId::from(&failure.place)) }
}

/// Paths as seen from beside the data set, whatever machine it lies on.
fn without_place(words: &str, root: &Path) -> String {
    match root.parent().map(|parent| parent.display().to_string()) {
        Some(parent) if parent.len() > 1 => words.replace(&format!("{parent}/"), ""),
        _ => words.to_owned(),
    }
}

/// All flaws as one message.
#[must_use]
pub fn message(flaws: &[&Flaw]) -> String {
    let mut text = format!("the data cannot be used as it is ({} findings):\n", flaws.len());
    for flaw in flaws {
        let _ = writeln!(text, "  {}", flaw.problem);
    }
    text.push_str(
        "mend the data, name other classes with --training and --test, or go past it with --keep-going",
    );
    text
}
