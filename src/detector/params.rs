//! Everything a detector is set to: part of the signed manifest, so that a device judges
//! exactly as the bundle's maker did.

use serde::{Deserialize, Serialize};

use crate::features::Branch;
use crate::features::describe::DescribeParams;
use crate::features::fpfh::{FpfhParams, MissingRule};
use crate::features::pointnet::PatchParams;
use crate::features::rgb::{RgbParams, RgbPooling, RgbStages};
use crate::preprocess::PreprocessParams;
use crate::score::JointStats;

/// Statistics before any are measured: they leave distances and logits as they are.
const UNIT_STATS: JointStats =
    JointStats { distance_mean: 0.0, distance_sd: 1.0, logit_mean: 0.0, logit_sd: 1.0 };

/// Which pipeline judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Object crop, late fusion with per-scan normalisation; the default (METHOD section 7b).
    #[default]
    Line,
    /// The paper's: whole scan, concatenation, joint score (METHOD section 7).
    Paper,
}

impl Mode {
    /// Name in messages and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Paper => "paper",
        }
    }
}

/// One branch's part in the late fusion of mode `line`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchWeight {
    /// Which branch.
    pub branch: Branch,
    /// Its weight; 0 leaves it out of the score.
    pub weight: f32,
    /// Spread of `distance - median of the scan` over held-out normal patches: makes the
    /// branches and the scans comparable.
    pub spread: f32,
}

/// The normalcy classifier's part in the late fusion of mode `line`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormalcyTerm {
    /// Its weight; 0 leaves it out, and the classifier is not run.
    pub weight: f32,
    /// Spread of `logit - median of the scan` over held-out normal patches.
    pub spread: f32,
}

/// The scan itself as reference in the late fusion of mode `line`: every branch's
/// [`own_distances`](crate::score::own_distances), weighted as its distances to the bank are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepetitionTerm {
    /// Its weight against the distances to the bank; 0 leaves it out. The default and the evidence for it:
    /// `export/studies/results/gain.md`.
    pub weight: f32,
    /// Which nearest patch of the scan counts, from 1.
    pub rank: usize,
    /// Patches at most so many cells away are the same place.
    pub margin: usize,
    /// A branch each: spread of `distance - median of the scan` over held-out normal patches.
    pub spreads: Vec<f32>,
}

impl RepetitionTerm {
    /// The default weight.
    pub const WEIGHT: f32 = 2.0;

    /// The default, before spreads are measured.
    #[must_use]
    pub fn of(branch_count: usize) -> Self {
        Self { weight: Self::WEIGHT, rank: 1, margin: 1, spreads: vec![1.0; branch_count] }
    }
}

/// How patch scores come about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scoring {
    /// Late fusion of the branches' own distances.
    Late {
        /// Weight and spread of every branch.
        branches: Vec<BranchWeight>,
        /// The normalcy classifier as one more term; most bundles have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        normalcy: Option<NormalcyTerm>,
        /// The scan itself as reference; older bundles have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repetition: Option<RepetitionTerm>,
    },
    /// Distance of the concatenation, joined with the normalcy classifier.
    Joint {
        /// Factor of every block before concatenation, in the order of the bank's blocks;
        /// all 1 is BTF's raw concatenation.
        block_scales: Vec<f32>,
        /// Weight of the classifier's logit; 0 leaves the classifier out.
        lambda: f32,
        /// Mean and spread of distance and logit over held-out normal patches.
        stats: JointStats,
    },
}

/// Settings of one mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeParams {
    /// Frame.
    pub preprocess: PreprocessParams,
    /// Branches.
    pub describe: DescribeParams,
    /// Scores.
    pub scoring: Scoring,
    /// Sigma of the map's Gaussian in frame pixels.
    pub map_sigma_px: f32,
}

impl ModeParams {
    /// The defaults of a mode before statistics are known: all spreads and scales are 1.
    #[must_use]
    pub fn of(mode: Mode) -> Self {
        let branches = vec![Branch::Rgb, Branch::Fpfh, Branch::Point];
        let (preprocess, stages, scoring) = match mode {
            Mode::Line => {
                // Beside the repetition the learned descriptor counts half (export/studies/results/gain.md).
                let weight = |branch: &Branch| if *branch == Branch::Point { 0.5 } else { 1.0 };
                let unit =
                    |branch: &Branch| BranchWeight { branch: *branch, weight: weight(branch), spread: 1.0 };
                let late = Scoring::Late {
                    branches: branches.iter().map(unit).collect(),
                    normalcy: None,
                    repetition: Some(RepetitionTerm::of(branches.len())),
                };
                (PreprocessParams::line(), RgbStages::Stride8, late)
            }
            Mode::Paper => {
                let block_scales = vec![1.0; branches.len()];
                let joint = Scoring::Joint { block_scales, lambda: 0.5, stats: UNIT_STATS };
                (PreprocessParams::paper(), RgbStages::Both, joint)
            }
        };
        let describe = DescribeParams {
            branches,
            rgb: RgbParams { stages, pooling: RgbPooling::InPlace },
            fpfh: FpfhParams::default(),
            fpfh_missing: MissingRule::Skip,
            patch: PatchParams::default(),
        };
        Self { preprocess, describe, scoring, map_sigma_px: 4.0 }
    }
}

impl ModeParams {
    /// Whether the score uses the normalcy classifier.
    #[must_use]
    pub fn needs_normalcy(&self) -> bool {
        match &self.scoring {
            Scoring::Late { normalcy, .. } => normalcy.is_some_and(|term| term.weight != 0.0),
            Scoring::Joint { lambda, .. } => *lambda != 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_a_normalcy_term_read_and_write_as_before() {
        let text = r#"{"late":{"branches":[{"branch":"fpfh","weight":1.0,"spread":2.0}]}}"#;
        let read: Scoring = serde_json::from_str(text).expect("an older bundle's settings");
        assert!(matches!(&read, Scoring::Late { normalcy: None, repetition: None, .. }));
        assert_eq!(serde_json::to_string(&read).expect("plain data"), text);
        let term = NormalcyTerm { weight: 0.5, spread: 3.0 };
        let repetition = Some(RepetitionTerm { spreads: vec![0.25], ..RepetitionTerm::of(1) });
        let with = Scoring::Late { branches: Vec::new(), normalcy: Some(term), repetition };
        let text = serde_json::to_string(&with).expect("plain data");
        assert_eq!(serde_json::from_str::<Scoring>(&text).expect("its own text"), with);
    }

    #[test]
    fn the_classifier_is_needed_when_a_weight_asks_for_it() {
        let mut params = ModeParams::of(Mode::Line);
        assert!(!params.needs_normalcy() && ModeParams::of(Mode::Paper).needs_normalcy());
        for (weight, needed) in [(0.0, false), (0.3, true)] {
            let Scoring::Late { normalcy, .. } = &mut params.scoring else { panic!("mode line is late") };
            *normalcy = Some(NormalcyTerm { weight, spread: 1.0 });
            assert_eq!(params.needs_normalcy(), needed);
        }
    }
}
