//! [`Request`]: what an evaluation compares on what, as found in the data. It stands in `run.json`, so that
//! shards can be told to belong together, and holds no path and no time: the same evaluation has the
//! same bytes wherever it runs.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zal::detector::Mode;

use super::Options;
use super::methods::method_arms;
use crate::study::plan::{Arm, Plan};
use crate::study::survey::{Cost, Survey};
use crate::study::{Unit, units};

/// One data set of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataId {
    /// Its folder's name.
    pub name: String,
    /// Hash of all scans and masks that were used.
    pub sha256: String,
    /// Classes that are tested on.
    pub tests: Vec<String>,
    /// Lists of classes that are trained on.
    pub trainings: Vec<Vec<String>>,
}

/// What is compared on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Version of the program.
    pub version: String,
    /// One for all seeds, or one a seed.
    pub data: Vec<DataId>,
    /// The methods.
    pub methods: Vec<String>,
    /// All trainings that were asked for.
    pub training: Vec<Vec<String>>,
    /// All test classes that were asked for.
    pub tests: Vec<String>,
    /// Seeds of the trainings.
    pub seeds: Vec<u64>,
    /// Share of the patches that a bank keeps.
    pub fraction: f32,
    /// Most rows of a bank.
    pub rows_max: usize,
    /// Settings of all trainings.
    pub train: Map<String, Value>,
    /// Hash of the colour backbone.
    pub rgb_sha256: Option<String>,
    /// What ran the networks.
    pub engine: String,
}

impl Request {
    /// Finds the classes in the data: every class by itself is trained on, and tested on by all
    /// others, where nothing else is asked for.
    ///
    /// # Errors
    /// Names the class that is not there.
    pub fn resolve(options: &Options, surveys: &[Survey]) -> Result<Self> {
        let training = match &options.training {
            Some(lists) => lists.clone(),
            None => surveys[0].candidates(Cost::Training).into_iter().map(|class| vec![class]).collect(),
        };
        let tests = options.tests.clone().unwrap_or_else(|| surveys[0].candidates(Cost::Testing));
        check_lists(&training, &options.seeds)?;
        for survey in surveys {
            for (cost, names) in [(Cost::Training, training.concat()), (Cost::Testing, tests.clone())] {
                check_names(survey, cost, &names)?;
            }
        }
        for list in &training {
            let others = tests.iter().any(|test| !list.contains(test));
            ensure!(
                others,
                "training on {}: found no test class beside it among {}, expected at least one",
                list.join("+"),
                tests.join(", ")
            );
        }
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data: surveys.iter().map(|survey| data_id(survey, &training, &tests)).collect(),
            methods: options.methods.clone(),
            training,
            tests,
            seeds: options.seeds.clone(),
            fraction: options.fraction,
            rows_max: options.rows_max,
            train: options.train.clone(),
            rgb_sha256: options.rgb.as_deref().map(crate::commands::point_graphs::sha256_hex),
            engine: options.engine_name(),
        })
    }

    /// The plan of the study. The first method is the baseline, or `btf`, the paper's own.
    ///
    /// # Errors
    /// When a method is not known, or is named twice.
    pub fn plan(&self) -> Result<Plan> {
        let mut arms = method_arms(&self.methods)?;
        ensure!(!arms.is_empty(), "--methods: found none, expected at least one");
        arms.iter_mut().for_each(|arm| arm.baseline = false);
        let baseline = arms.iter().position(|arm| arm.name == "btf").unwrap_or(0);
        arms[baseline].baseline = true;
        let modes = arms[baseline].modes.take().unwrap_or_else(|| vec![Mode::Paper]);
        let plan = Plan {
            description: "Every training class against every other class.".to_owned(),
            modes,
            training: self.training.clone(),
            seeds: self.seeds.clone(),
            fraction: self.fraction,
            rows_max: self.rows_max,
            rgb: None,
            train: self.train.clone(),
            arms,
        };
        plan.check()?;
        Ok(plan)
    }

    /// All trainings that can be done, by seed.
    #[must_use]
    pub fn units(&self, plan: &Plan) -> Vec<Unit> {
        let can = |unit: &Unit| {
            let data = &self.data[unit.set_index];
            data.trainings.contains(&unit.training) && data.tests.iter().any(|t| !unit.training.contains(t))
        };
        units(plan, self.data.len()).into_iter().filter(can).collect()
    }

    /// Groups of a list of trainings: one a training, arm and mode.
    #[must_use]
    pub fn groups<'a>(plan: &'a Plan, units: &'a [Unit]) -> Vec<(&'a Unit, &'a Arm, Mode)> {
        let mut groups = Vec::new();
        for unit in units {
            for arm in &plan.arms {
                let modes = arm.modes.as_ref().unwrap_or(&plan.modes);
                groups.extend(modes.iter().map(|mode| (unit, arm, *mode)));
            }
        }
        groups
    }
}

fn check_lists(training: &[Vec<String>], seeds: &[u64]) -> Result<()> {
    ensure!(!training.is_empty(), "found no class to train on, expected train/good/xyz in at least one");
    for (index, list) in training.iter().enumerate() {
        let distinct: BTreeSet<&String> = list.iter().collect();
        ensure!(distinct.len() == list.len(), "--training {}: a class stands there twice", list.join("+"));
        let again = training[..index].contains(list);
        ensure!(!again, "--training: {} stands there twice", list.join("+"));
    }
    let distinct: BTreeSet<&u64> = seeds.iter().collect();
    ensure!(distinct.len() == seeds.len(), "--seeds: found {seeds:?}, expected each seed once");
    Ok(())
}

fn check_names(survey: &Survey, cost: Cost, names: &[String]) -> Result<()> {
    let (present, what) = (survey.candidates(cost), if cost == Cost::Training { "train" } else { "test" });
    match names.iter().find(|name| !present.contains(name)) {
        None => Ok(()),
        Some(missing) => bail!(
            "{} has no class `{missing}` with {what} scans; it has {}",
            survey.set.root.display(),
            present.join(", ")
        ),
    }
}

/// What of a data set can be used.
fn data_id(survey: &Survey, training: &[Vec<String>], tests: &[String]) -> DataId {
    let can_train = |list: &&Vec<String>| list.iter().all(|class| !survey.costs(class, Cost::Training));
    DataId {
        name: survey.set.name.clone(),
        sha256: survey.set.content_key(),
        tests: tests.iter().filter(|class| !survey.costs(class, Cost::Testing)).cloned().collect(),
        trainings: training.iter().filter(can_train).cloned().collect(),
    }
}
