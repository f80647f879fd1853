//! A study's plan: what is compared with what, as written in a TOML file.
//!
//! ```toml
//! description = "..."
//! modes = ["paper", "line"]
//! training = [["ring"], ["gland", "tyre"]]    # every list is one training
//! seeds = [1, 2, 3]                           # seed i goes with the i-th data set
//!
//! [[arm]]
//! name = "without"
//! baseline = true
//! point = false
//! lambda = 0.0
//!
//! [[arm]]
//! name = "trained"
//! train = { attention = "${attention}" }      # filled in by --set attention=FILE
//! ```
//!
//! Every key of an arm is explained in [`super::arm`].

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use zal::detector::Mode;

pub use super::arm::Arm;
use super::arm::check_all;

/// A plan, as written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What is asked, in a sentence or two.
    pub description: String,
    /// Modes that every arm runs in.
    pub modes: Vec<Mode>,
    /// Lists of classes; each is one training, tested on all other classes.
    pub training: Vec<Vec<String>>,
    /// Seeds of the trainings.
    pub seeds: Vec<u64>,
    /// Share of the patches that a bank keeps.
    #[serde(default = "default_fraction")]
    pub fraction: f32,
    /// Most rows of a bank.
    #[serde(default = "default_rows_max")]
    pub rows_max: usize,
    /// The colour backbone, relative to the working folder; `--rgb` comes before it.
    #[serde(default)]
    pub rgb: Option<PathBuf>,
    /// Training settings of all arms.
    #[serde(default)]
    pub train: serde_json::Map<String, Value>,
    /// What is compared.
    #[serde(rename = "arm")]
    pub arms: Vec<Arm>,
}

const fn default_fraction() -> f32 {
    0.1
}

const fn default_rows_max() -> usize {
    20_000
}

impl Plan {
    /// Reads a plan and fills in its variables.
    ///
    /// # Errors
    /// When the file cannot be read or is no plan, or a variable is missing or not used.
    pub fn read(path: &Path, variables: &[(String, String)]) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text, variables).with_context(|| format!("{} is not a plan", path.display()))
    }

    /// As [`Plan::read`], of a text.
    ///
    /// # Errors
    /// When the text is no plan, or a variable is missing or not used.
    pub fn parse(text: &str, variables: &[(String, String)]) -> Result<Self> {
        let table: toml::Table = text.parse()?;
        let mut value = toml::Value::Table(table);
        let mut used = vec![false; variables.len()];
        fill_in(&mut value, variables, &mut used)?;
        if let Some((name, _)) = variables.iter().zip(used).find_map(|(v, used)| (!used).then_some(v)) {
            bail!("--set {name}: the plan has no ${{{name}}}");
        }
        let plan: Self = value.try_into()?;
        plan.check()?;
        Ok(plan)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self) -> Result<()> {
        let nonempty = [
            ("modes", self.modes.is_empty()),
            ("training", self.training.is_empty() || self.training.iter().any(Vec::is_empty)),
            ("seeds", self.seeds.is_empty()),
        ];
        if let Some((name, _)) = nonempty.iter().find(|(_, empty)| *empty) {
            bail!("{name}: found an empty list, expected at least one entry");
        }
        ensure!(
            self.fraction > 0.0 && self.fraction <= 1.0,
            "fraction: found {}, expected a share above 0 and at most 1",
            self.fraction
        );
        ensure!(self.rows_max > 0, "rows_max: found 0, expected at least 1");
        let baselines = self.arms.iter().filter(|arm| arm.baseline).count();
        ensure!(baselines == 1, "found {baselines} arms with baseline = true, expected exactly one");
        check_all(self)
    }

    /// Name of the baseline arm.
    ///
    /// # Panics
    /// When the plan was not checked.
    #[must_use]
    pub fn baseline(&self) -> &str {
        &self.arms.iter().find(|arm| arm.baseline).expect("the plan was checked").name
    }

    /// Names of the arms, as they stand in the plan.
    #[must_use]
    pub fn arm_names(&self) -> Vec<&str> {
        self.arms.iter().map(|arm| arm.name.as_str()).collect()
    }
}

/// Lays `over` upon `value`: tables are merged key by key, everything else is replaced.
pub(crate) fn merge(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(map), Value::Object(over)) => {
            for (key, over) in over {
                merge(map.entry(key.clone()).or_insert(Value::Null), over);
            }
        }
        (value, over) => *value = over.clone(),
    }
}

/// Replaces every string `${NAME}`.
fn fill_in(value: &mut toml::Value, variables: &[(String, String)], used: &mut [bool]) -> Result<()> {
    match value {
        toml::Value::String(text) => {
            let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
                return Ok(());
            };
            let place = variables.iter().position(|(variable, _)| variable == name);
            let place = place.with_context(|| format!("the plan needs --set {name}=VALUE"))?;
            used[place] = true;
            variables[place].1.clone_into(text);
            Ok(())
        }
        toml::Value::Array(list) => list.iter_mut().try_for_each(|v| fill_in(v, variables, used)),
        toml::Value::Table(table) => table.iter_mut().try_for_each(|(_, v)| fill_in(v, variables, used)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use zal::features::Branch;

    use super::*;

    const SMALL: &str = r#"
        description = "small"
        modes = ["paper", "line"]
        training = [["ring"]]
        seeds = [1]
        [train]
        epochs = 3
        pseudo = { adding = true, removing = true }
        [[arm]]
        name = "without"
        baseline = true
        point = false
        lambda = 0.0
        [[arm]]
        name = "trained"
        weights = { fpfh = 0.5 }
        train = { pseudo = { removing = false }, attention = "${train.attention}" }
    "#;

    fn set(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn a_plan_is_read_with_its_variables_and_merged_settings() {
        let plan = Plan::parse(SMALL, &set("train.attention", "a.onnx")).expect("a plan");
        assert_eq!((plan.baseline(), plan.rows_max), ("without", 20_000));
        let trained = &plan.arms[1];
        assert!(trained.point && trained.lambda.is_none());
        assert!((trained.weights[&Branch::Fpfh] - 0.5).abs() < f32::EPSILON);
        let expected = serde_json::json!({
            "epochs": 3, "pseudo": {"adding": true, "removing": false}, "attention": "a.onnx"
        });
        assert_eq!(trained.overrides(&plan), expected);
        assert_eq!(plan.arms[0].overrides(&plan)["epochs"], 3);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let variables = set("train.attention", "a");
        let refused = |text: &str, variables: &[(String, String)]| {
            format!("{:#}", Plan::parse(text, variables).expect_err("not a plan"))
        };
        assert!(refused(SMALL, &[]).contains("--set train.attention=VALUE"));
        let mut more = variables.clone();
        more.extend(set("other", "b"));
        assert!(refused(SMALL, &more).contains("${other}"));
        for (from, to, words) in [
            ("baseline = true", "", "exactly one"),
            ("name = \"trained\"", "name = \"without\"", "two arms"),
            ("name = \"trained\"", "name = \"a,b\"", "a,b"),
            ("point = false", "points = false", "points"),
            ("seeds = [1]", "seeds = []", "seeds"),
            ("[[\"ring\"]]", "[[]]", "training"),
            ("lambda = 0.0", "lambda = nan", "finite"),
            ("seeds = [1]", "seeds = [1]\nfraction = 1.5", "fraction"),
            ("lambda = 0.0", "lambda = 0.0\nfusion = \"raw\"", "BTF's"),
            ("lambda = 0.0", "lambda = 0.1\nmodes = [\"paper\"]\nmap = \"eight_bits\"", "lambda = 0.0"),
            ("lambda = 0.0", "branches = [\"rgb\", \"point\"]", "point = false"),
            ("lambda = 0.0", "branches = [\"rgb\", \"rgb\"]", "twice"),
            ("lambda = 0.0", "branches = [\"rgb\"]\ncontrol = \"mask\"", "a control"),
            ("lambda = 0.0", "modes = []", "empty list"),
            ("lambda = 0.0", "reference = { anchors = 4 }", "mode line"),
            ("lambda = 0.0", "modes = [\"line\"]\nreference = { anchors = 1, bank = false }", "at least 2"),
            (
                "lambda = 0.0",
                "modes = [\"line\"]\nreference = { buffer = 8, defect_rate = 2.0 }",
                "defect_rate",
            ),
            ("weights = { fpfh = 0.5 }", "untrained = true", "untrained"),
        ] {
            let broken = SMALL.replacen(from, to, 1);
            assert_ne!(broken, SMALL);
            let found = refused(&broken, &variables);
            assert!(found.contains(words), "{words}: {found}");
        }
    }
}
