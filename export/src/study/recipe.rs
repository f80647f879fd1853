//! [`Recipe`]: one arm in one mode, with the graphs that it needs.

use anyhow::{Context, Result, ensure};
use prost::Message;
use serde::Serialize;
use serde_json::Value;
use zal::detector::params::{NormalcyTerm, Scoring};
use zal::detector::{Mode, ModeParams};
use zal::engine::{EngineChoice, EngineOptions};
use zal::features::Branch;

use super::arm::{Arm, Control, MapRule, Reference};
use super::cache;
use super::graphs::{Graph, GraphFiles, with_epsilon};
use super::plan::merge;
use crate::bank_build::{Fusion, mode_settings};
use crate::graphs::normalcy::{NormalcyWeights, normalcy_model};
use crate::graphs::pointnet::{PointNetWeights, pointnet_model};
use crate::onnx::WeightStorage;
use crate::pseudo::PseudoParams;

/// Step of the perturbation of untrained classifiers, in patch units.
const UNTRAINED_EPSILON: f32 = 0.01;

/// The graphs of the point branch and how patches are made for them.
pub struct PointGraphs {
    files: GraphFiles,
}

impl PointGraphs {
    /// What a training gave.
    pub const fn from_files(files: GraphFiles) -> Self {
        Self { files }
    }

    /// Seeded random weights.
    pub fn untrained(seed: u64) -> Result<Self> {
        let storage = WeightStorage::default();
        let pointnet = pointnet_model(&PointNetWeights::seeded(seed), storage, Vec::new())?;
        let weights = NormalcyWeights::seeded(seed);
        let normalcy = normalcy_model(&weights, UNTRAINED_EPSILON, storage, Vec::new())?;
        let files = GraphFiles {
            pointnet: pointnet.encode_to_vec(),
            normalcy: normalcy.encode_to_vec(),
            // As training cuts them, so that only the weights differ.
            describe: serde_json::json!({ "patch": PseudoParams::default().patch }),
        };
        Ok(Self { files })
    }
}

/// Settings and graphs of one arm in one mode.
pub struct Recipe {
    /// The settings, before a bank has measured its statistics.
    pub params: ModeParams,
    /// The colour backbone, when its branch is in.
    pub rgb: Option<Graph>,
    /// The point descriptor, when its branch is in.
    pub pointnet: Option<Graph>,
    /// The normalcy classifier, when the scores use it.
    pub normalcy: Option<Graph>,
    /// How the arm judges beyond the detector's settings.
    pub rules: Rules,
}

/// What an arm does that no bundle is set to.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Rules {
    /// How blocks are put side by side.
    pub fusion: Fusion,
    /// How the map is made.
    pub map: MapRule,
    /// Something else than a detector.
    pub control: Option<Control>,
    /// Scans of the test class as references.
    pub reference: Option<Reference>,
    /// Seed of what is drawn at random; 0 where nothing is.
    pub seed: u64,
}

impl Rules {
    /// The rules of an arm.
    pub fn of(arm: &Arm, seed: u64) -> Self {
        let draws = arm.control.is_some() || arm.reference.is_some_and(|reference| reference.buffer > 0);
        Self {
            fusion: arm.fusion,
            map: arm.map,
            control: arm.control,
            reference: arm.reference,
            seed: if draws { seed } else { 0 },
        }
    }
}

impl Recipe {
    /// Puts a recipe together; graphs that its settings do not use are left out.
    pub fn new(
        mut params: ModeParams,
        rgb: Option<Graph>,
        points: Option<PointGraphs>,
        (arm, seed): (&Arm, u64),
    ) -> Result<Self> {
        let rules = Rules::of(arm, seed);
        let has = |branch: Branch| params.describe.branches.contains(&branch);
        let (rgb, with_point) = (rgb.filter(|_| has(Branch::Rgb)), has(Branch::Point));
        ensure!(
            rgb.is_some() || !has(Branch::Rgb),
            "its branches name rgb, and there is no colour backbone: give --rgb FILE, or take rgb out"
        );
        let Some(PointGraphs { files }) = points else {
            return Ok(Self { params, rgb, pointnet: None, normalcy: None, rules });
        };
        let mut describe = serde_json::to_value(&params.describe)?;
        if !files.describe.is_null() {
            merge(&mut describe, &files.describe);
        }
        params.describe = serde_json::from_value(describe)
            .with_context(|| format!("the trained graphs ask for unknown settings {}", files.describe))?;
        let normalcy = match arm.epsilon {
            _ if !params.needs_normalcy() => None,
            Some(epsilon) => Some(Graph::new(with_epsilon(&files.normalcy, epsilon)?)),
            None => Some(Graph::new(files.normalcy)),
        };
        let pointnet = with_point.then(|| Graph::new(files.pointnet));
        Ok(Self { params, rgb, pointnet, normalcy, rules })
    }

    /// Hash of all that the frame of a scan depends on but the scan.
    pub fn frame_key(&self) -> String {
        cache::key(&["frame", &json(&self.params.preprocess)])
    }

    /// Hash of all that a part's values depend on but the scan.
    pub fn part_key(&self, part: Part, engine: &EngineOptions) -> String {
        let describe = &self.params.describe;
        let (settings, graph) = match part {
            Part::Branch(Branch::Rgb) => (json(&describe.rgb), self.rgb.as_ref()),
            Part::Branch(Branch::Fpfh) => (json(&(&describe.fpfh, describe.fpfh_missing)), None),
            Part::Branch(Branch::Point) => (self.patch_settings(), self.pointnet.as_ref()),
            Part::Normalcy => (self.patch_settings(), self.normalcy.as_ref()),
        };
        let graph = graph.map_or("", |graph| graph.sha256.as_str());
        let engine = if graph.is_empty() { "" } else { engine_name(engine) };
        cache::key(&[part.name(), &self.frame_key(), &settings, graph, engine])
    }

    /// Hash of the settings and all parts: of everything that a group's scores depend on but the scans.
    pub fn key(&self, engine: &EngineOptions) -> String {
        let parts: Vec<String> = self.parts().iter().map(|part| self.part_key(*part, engine)).collect();
        cache::key(&["recipe", &json(&self.params), &json(&self.rules), &parts.join(" ")])
    }

    /// Hash of all that the bank's rows depend on but the scans.
    pub fn bank_key(&self, engine: &EngineOptions) -> String {
        let branches = self.params.describe.branches.iter();
        let parts: Vec<String> = branches.map(|b| self.part_key(Part::Branch(*b), engine)).collect();
        cache::key(&["bank", &json(&self.rules.fusion), &parts.join(" ")])
    }

    /// What has to be known of each scan.
    pub fn parts(&self) -> Vec<Part> {
        let branches = self.params.describe.branches.iter().map(|branch| Part::Branch(*branch));
        branches.chain(self.normalcy.as_ref().map(|_| Part::Normalcy)).collect()
    }

    /// How patches are made for the point graphs: whatever the settings hold beside the other branches.
    fn patch_settings(&self) -> String {
        let mut settings = serde_json::to_value(&self.params.describe).unwrap_or_default();
        if let Value::Object(map) = &mut settings {
            map.retain(|key, _| !["branches", "rgb", "fpfh", "fpfh_missing"].contains(&key.as_str()));
        }
        settings.to_string()
    }
}

/// One thing that is computed of a scan and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A branch's descriptors.
    Branch(Branch),
    /// The normalcy classifier's logits.
    Normalcy,
}

impl Part {
    /// Name in keys and times.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Branch(branch) => branch.name(),
            Self::Normalcy => "normalcy",
        }
    }
}

/// The library that will run the graphs: its results differ from another's in the last bits.
fn engine_name(engine: &EngineOptions) -> &'static str {
    match engine.choice {
        EngineChoice::Tract => "tract",
        EngineChoice::Auto if engine.runtime_library.is_none() => "tract",
        EngineChoice::Auto | EngineChoice::Onnxruntime => "onnxruntime",
    }
}

/// The settings of an arm in a mode.
pub fn mode_params(arm: &Arm, mode: Mode, with_rgb: bool) -> ModeParams {
    let branches = arm.branches(with_rgb);
    let weight = |branch: &Branch| arm.weights.get(branch).copied().unwrap_or(1.0);
    let weights: Vec<(Branch, f32)> = branches.iter().map(|b| (*b, weight(b))).collect();
    let mut params = mode_settings(mode, &branches, &weights);
    let describe = &mut params.describe;
    describe.fpfh.orientation = arm.orientation.unwrap_or(describe.fpfh.orientation);
    describe.fpfh_missing = arm.missing.unwrap_or(describe.fpfh_missing);
    describe.rgb.pooling = arm.rgb_pooling.unwrap_or(describe.rgb.pooling);
    let uses_normalcy = arm.control.is_none();
    match &mut params.scoring {
        Scoring::Late { normalcy, repetition, .. } => {
            *repetition = arm.repetition.map(|own| own.term(branches.len()));
            let term = NormalcyTerm { weight: arm.line_normalcy, spread: 1.0 };
            *normalcy = (uses_normalcy && arm.line_normalcy.abs() > 0.0).then_some(term);
        }
        Scoring::Joint { lambda, .. } => {
            *lambda = if uses_normalcy { arm.lambda.unwrap_or(*lambda) } else { 0.0 };
        }
    }
    params
}

/// Whether the settings ask for the graphs of a training.
pub fn needs_points(params: &ModeParams) -> bool {
    params.describe.branches.contains(&Branch::Point) || params.needs_normalcy()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("settings are plain data")
}
