//! [`Arm`]: one way to judge, as a plan writes it; the built-in ones are in [`super::methods`].
//!
//! ```toml
//! [[arm]]
//! name = "as published"
//! modes = ["paper"]
//! branches = ["rgb", "fpfh"]     # absent: rgb (with a backbone), fpfh, and point unless point = false
//! lambda = 0.0                   # mode paper: weight of the normalcy classifier
//! fusion = "raw"                 # mode paper: "scaled" blocks, or the raw concatenation
//! orientation = "none"           # of FPFH's normals: "camera" or "none"
//! missing = "zeros"              # missing pixels in a patch's mean FPFH: "skip" or "zeros"
//! rgb_pooling = "btf"            # "in_place" or "btf"
//! map = "eight_bits"             # "detector", or quantised as BTF's
//!
//! [[arm]]
//! name = "chance"
//! control = "random"             # or "mask": no detector at all
//! ```

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zal::detector::Mode;
use zal::detector::params::RepetitionTerm;
use zal::features::Branch;
use zal::features::fpfh::{MissingRule, Orientation};
use zal::features::rgb::RgbPooling;

use super::plan::{Plan, merge};
use super::table::check_name;
use crate::bank_build::Fusion;

/// One way to judge.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name in the tables.
    pub name: String,
    /// The arm that all others are compared with.
    #[serde(default)]
    pub baseline: bool,
    /// Modes that this arm runs in; the plan's when absent.
    #[serde(default)]
    pub modes: Option<Vec<Mode>>,
    /// The branches; when absent, rgb if the study has a backbone, fpfh, and the point branch if `point`.
    #[serde(default)]
    pub branches: Option<Vec<Branch>>,
    /// Whether the point branch (`E_theta`) is in; `branches` decides when it is given.
    #[serde(default = "default_true")]
    pub point: bool,
    /// Weights of the branches in mode `line`; 1 where none is given, whatever the default of a bundle is.
    #[serde(default)]
    pub weights: BTreeMap<Branch, f32>,
    /// Weight of the normalcy classifier (`C_w`) in mode `paper`; the mode's own when absent.
    #[serde(default)]
    pub lambda: Option<f32>,
    /// Weight of the normalcy classifier in mode `line`.
    #[serde(default)]
    pub line_normalcy: f32,
    /// The scan itself as reference, in mode `line`.
    #[serde(default)]
    pub repetition: Option<Repetition>,
    /// How the blocks of mode `paper` are concatenated; `raw` is BTF's, with distances as they are, so it
    /// asks for `lambda = 0.0`.
    #[serde(default)]
    pub fusion: Fusion,
    /// Direction of FPFH's normals; the mode's own when absent.
    #[serde(default)]
    pub orientation: Option<Orientation>,
    /// What missing pixels add to a patch's mean FPFH; the mode's own when absent.
    #[serde(default)]
    pub missing: Option<MissingRule>,
    /// How the backbone's maps are pooled; the mode's own when absent.
    #[serde(default)]
    pub rgb_pooling: Option<RgbPooling>,
    /// How the map is made of the patch scores.
    #[serde(default)]
    pub map: MapRule,
    /// Scans of the test class as references, in mode `line`.
    #[serde(default)]
    pub reference: Option<Reference>,
    /// No detector, but something to measure the figures with.
    #[serde(default)]
    pub control: Option<Control>,
    /// Step of the classifier's perturbation instead of the trained one; 0 leaves it out.
    #[serde(default)]
    pub epsilon: Option<f32>,
    /// Seeded random weights instead of trained ones: what the mere presence of the networks does.
    #[serde(default)]
    pub untrained: bool,
    /// Training settings of this arm, over the plan's.
    #[serde(default)]
    pub train: serde_json::Map<String, Value>,
}

/// How the scan itself is a reference.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repetition {
    /// Its weight against the distances to the bank.
    pub weight: f32,
    /// Which nearest patch counts, from 1.
    pub rank: usize,
    /// Cells around a patch that are the same place.
    pub margin: usize,
}

impl Repetition {
    /// The term of the late fusion, before a bank has measured its spreads.
    pub(super) fn term(self, branch_count: usize) -> RepetitionTerm {
        let Self { weight, rank, margin } = self;
        RepetitionTerm { weight, rank, margin, spreads: vec![1.0; branch_count] }
    }
}

/// How the map is made of the patch scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapRule {
    /// As the detector's: [`zal::score::lifted_map`].
    #[default]
    Detector,
    /// As BTF's code: [`zal::score::eight_bit_map`].
    EightBits,
}

/// What the figures say of something that knows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Every pixel of the map and every image score is a seeded random number.
    Random,
    /// The map is the object's mask, with noise far below its step to break ties; the image score is the
    /// number of object pixels.
    Mask,
}

/// Scans of the test class to compare with: a scan's patches take the smallest distance to any of them.
/// They come from the class itself, so such an arm is not zero-shot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Confirmed good parts, the first of the class's train split; good ones of the buffer are others.
    #[serde(default)]
    pub anchors: usize,
    /// Views of an anchor's colour picture, turned by equal angles; FPFH is the same from every side.
    #[serde(default = "default_rotations")]
    pub rotations: usize,
    /// Unlabelled scans as a line would hold them, drawn from train and test split. A judged scan that is
    /// among them is not compared with itself, so it has one reference less.
    #[serde(default)]
    pub buffer: usize,
    /// Share of the buffer that is defective, from the test split.
    #[serde(default)]
    pub defect_rate: f64,
    /// Whether the training classes' bank is a reference too; without it the spreads of the late fusion
    /// come from the references' distances to each other.
    #[serde(default = "default_true")]
    pub bank: bool,
    /// Mean over this lowest share of the reference scans instead of the smallest distance.
    #[serde(default)]
    pub lowest_share: Option<f32>,
}

const fn default_true() -> bool {
    true
}

const fn default_rotations() -> usize {
    12
}

impl Arm {
    /// Whether it sees nothing of the class that it is tested on.
    #[must_use]
    pub const fn is_zero_shot(&self) -> bool {
        self.reference.is_none()
    }

    /// Its branches in a study with or without a colour backbone, in the blocks' order.
    #[must_use]
    pub fn branches(&self, with_rgb: bool) -> Vec<Branch> {
        if self.control.is_some() {
            return Vec::new();
        }
        let in_it = |branch: &Branch| match (&self.branches, branch) {
            (Some(named), branch) => named.contains(branch),
            (None, Branch::Rgb) => with_rgb,
            (None, Branch::Fpfh) => true,
            (None, Branch::Point) => self.point,
        };
        [Branch::Rgb, Branch::Fpfh, Branch::Point].into_iter().filter(in_it).collect()
    }

    /// The modes that it runs in.
    pub(super) fn modes_of(&self, plan: &Plan) -> Vec<Mode> {
        self.modes.clone().unwrap_or_else(|| plan.modes.clone())
    }

    /// The plan's training settings, with this arm's over them, table by table.
    #[must_use]
    pub fn overrides(&self, plan: &Plan) -> Value {
        let mut merged = Value::Object(plan.train.clone());
        merge(&mut merged, &Value::Object(self.train.clone()));
        merged
    }

    /// Checks what the types cannot.
    pub(super) fn check(&self, plan: &Plan) -> Result<()> {
        check_name(&self.name)?;
        let numbers = self
            .weights
            .values()
            .chain(self.repetition.iter().map(|own| &own.weight))
            .chain(&self.lambda)
            .chain(&self.epsilon);
        if let Some(bad) = numbers.chain([&self.line_normalcy]).find(|number| !number.is_finite()) {
            bail!("found {bad}, expected a finite number");
        }
        ensure!(self.modes.as_ref().is_none_or(|modes| !modes.is_empty()), "modes: found an empty list");
        ensure!(
            !self.untrained || self.train.is_empty(),
            "untrained = true leaves nothing to train: take the train settings out"
        );
        self.check_branches()?;
        self.check_fusion(plan)?;
        self.reference.map_or(Ok(()), |reference| self.check_reference(plan, &reference))
    }

    fn check_branches(&self) -> Result<()> {
        let Some(branches) = &self.branches else { return Ok(()) };
        ensure!(!branches.is_empty(), "branches: found an empty list, expected at least one branch");
        let twice = branches.iter().enumerate().find(|(index, branch)| branches[..*index].contains(branch));
        ensure!(twice.is_none(), "branches: {} stands there twice", twice.map_or("", |(_, b)| b.name()));
        ensure!(
            self.point || !branches.contains(&Branch::Point),
            "branches name point, and point = false takes it out: take one of the two away"
        );
        ensure!(self.control.is_none(), "a control has no branches: take one of the two away");
        Ok(())
    }

    fn check_fusion(&self, plan: &Plan) -> Result<()> {
        let modes = self.modes_of(plan);
        if self.fusion == Fusion::Raw || self.map == MapRule::EightBits {
            ensure!(
                modes == [Mode::Paper] && self.lambda.is_some_and(|lambda| lambda.abs() <= 0.0),
                "fusion = \"raw\" and map = \"eight_bits\" are BTF's: they need modes = [\"paper\"] and \
                 lambda = 0.0"
            );
        }
        Ok(())
    }

    fn check_reference(&self, plan: &Plan, reference: &Reference) -> Result<()> {
        ensure!(
            self.modes_of(plan) == [Mode::Line] && self.control.is_none(),
            "reference scans are for mode line: give the arm modes = [\"line\"]"
        );
        let Reference { anchors, rotations, buffer, defect_rate, bank, lowest_share } = *reference;
        let (count, needed) = (anchors + buffer, if bank { 1 } else { 2 });
        ensure!(
            count >= needed,
            "reference: found {anchors} anchors and a buffer of {buffer}, expected at least {needed} scans"
        );
        ensure!((1..=360).contains(&rotations), "rotations: found {rotations}, expected 1 to 360");
        ensure!(
            (0.0..=1.0).contains(&defect_rate),
            "defect_rate: found {defect_rate}, expected a share from 0 to 1"
        );
        let share_fits = lowest_share.is_none_or(|share| share > 0.0 && share <= 1.0);
        ensure!(share_fits, "lowest_share: found {lowest_share:?}, expected a share above 0 and at most 1");
        Ok(())
    }
}

/// As [`Arm::check`], with the arm's name in front.
pub(super) fn check_all(plan: &Plan) -> Result<()> {
    for (index, arm) in plan.arms.iter().enumerate() {
        let again = plan.arms[..index].iter().any(|earlier| earlier.name == arm.name);
        ensure!(!again, "two arms are called {}", arm.name);
        arm.check(plan).with_context(|| format!("arm {}", arm.name))?;
    }
    Ok(())
}
