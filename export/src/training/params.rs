//! Everything a training is set to. Written into `training.json` beside the artifacts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zal::detector::Mode;

use crate::losses::{Disentanglement, Positives};
use crate::pseudo::{PoolKind, PseudoParams};

/// Settings of a training; the defaults are METHOD section 6's, or what the studies under `export/studies` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainParams {
    /// Seed of weights, patches and pseudo anomalies: same seed, same artifact bytes on the same machine.
    pub seed: u64,
    /// Passes over the scans.
    pub epochs: usize,
    /// Normal patches of a step; as many pseudo anomalies come with them.
    pub batch_patches: usize,
    /// Most patches of a frame and epoch.
    pub patches_per_frame: usize,
    /// Adam's step at the start; it falls to 0 along a cosine.
    pub learning_rate: f64,
    /// tau of the contrastive loss.
    pub temperature: f32,
    /// Which normal patches attract each other.
    pub positives: Positives,
    /// How f_theta is kept away from FPFH.
    pub disentanglement: Disentanglement,
    /// Weight of the disentanglement loss; 0 leaves it out.
    pub disentanglement_weight: f32,
    /// Turn every patch about the viewing axis by a random angle, normal and pseudo alike.
    pub rotate: bool,
    /// Modes whose frames the patches are cut from: a bundle has one network for all of its modes.
    pub frames: Vec<Mode>,
    /// Where the added material comes from.
    pub pool: PoolKind,
    /// Procedural solids of the pool (`strict`), or scans of each other class (`paper_like`).
    pub pool_scans: usize,
    /// Scans of the training classes themselves in the pool (`strict`).
    pub pool_own_scans: usize,
    /// Classes that the result will be judged on: never in the pool.
    pub test_classes: Vec<String>,
    /// Weights of the network whose activation map picks the added material, a .pth or .safetensors file of
    /// torchvision's resnet50; random untrained weights without it.
    pub attention: Option<PathBuf>,
    /// How pseudo anomalies and patches are made.
    pub pseudo: PseudoParams,
    /// Steps of the perturbation to choose from, in patch units; the best on held-out pseudo anomalies is taken.
    /// `[0]` trains without perturbation.
    pub epsilons: Vec<f32>,
}

impl Default for TrainParams {
    fn default() -> Self {
        Self {
            seed: 0,
            epochs: 30,
            batch_patches: 256,
            patches_per_frame: 64,
            learning_rate: 1e-3,
            temperature: 0.1,
            positives: Positives::All,
            disentanglement: Disentanglement::Cosine,
            disentanglement_weight: 0.1,
            rotate: true,
            frames: vec![Mode::Line, Mode::Paper],
            pool: PoolKind::Strict,
            pool_scans: 12,
            pool_own_scans: 12,
            test_classes: Vec::new(),
            attention: None,
            pseudo: PseudoParams::default(),
            epsilons: vec![0.0, -0.02, -0.01, -0.005, 0.005, 0.01, 0.02],
        }
    }
}

impl TrainParams {
    /// Checks what no type can.
    ///
    /// # Errors
    /// Names the first setting that cannot be, with what is expected.
    pub fn check(&self) -> anyhow::Result<()> {
        let positive = [
            ("epochs", self.epochs),
            ("batch_patches", self.batch_patches),
            ("patches_per_frame", self.patches_per_frame),
            ("frames", self.frames.len()),
            ("epsilons", self.epsilons.len()),
        ];
        for (name, value) in positive {
            anyhow::ensure!(value > 0, "training setting `{name}`: found nothing, expected at least 1");
        }
        anyhow::ensure!(
            self.batch_patches.is_multiple_of(2) && self.patches_per_frame.is_multiple_of(2),
            "`batch_patches` and `patches_per_frame`: found {} and {}, expected even numbers (patches come in pairs)",
            self.batch_patches,
            self.patches_per_frame
        );
        let numbers = [("learning_rate", self.learning_rate), ("temperature", f64::from(self.temperature))];
        for (name, value) in numbers {
            anyhow::ensure!(
                value.is_finite() && value > 0.0,
                "training setting `{name}`: found {value}, expected a positive number"
            );
        }
        anyhow::ensure!(
            self.disentanglement_weight >= 0.0 && self.disentanglement_weight.is_finite(),
            "`disentanglement_weight`: found {}, expected 0 or more",
            self.disentanglement_weight
        );
        anyhow::ensure!(
            self.epsilons.iter().all(|e| e.is_finite()),
            "`epsilons`: found {:?}, expected finite numbers",
            self.epsilons
        );
        Ok(())
    }
}
