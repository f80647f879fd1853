//! Trains E_theta and C_w on normal scans and pseudo anomalies (METHOD sections 5 and 6).
//!
//! ```text
//! scans -> frames and patches -> batches of an epoch -> learner -> checkpoint -> judge -> weights, epsilon
//! ```
//!
//! Everything random comes from `seed`; chunks and sums have a fixed order: the same settings and scans give the
//! same weights on the same machine, whether or not the training was killed on the way.

pub mod batches;
pub mod checkpoint;
pub mod draws;
pub mod learner;
pub mod monitor;
pub mod params;
pub mod pools;
pub mod report;
pub mod scans;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::graphs::normalcy::NormalcyWeights;
use crate::graphs::pointnet::PointNetWeights;
use crate::networks::device::DeviceChoice;
use crate::pseudo::Pool;
use batches::{held_out, of_epoch};
use checkpoint::Header;
use learner::{Learner, Losses};
use monitor::{HeldOut, Judge, Roc};
pub use params::TrainParams;
use scans::TrainingScans;

/// Patches that the networks are judged on after an epoch, of each kind.
const JUDGED_PATCHES: usize = 1024;

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// 1 for the first.
    pub epoch: usize,
    /// Mean over the steps.
    pub losses: Losses,
    /// After the epoch.
    pub held_out: HeldOut,
}

impl EpochRecord {
    /// Six decimals: what a checkpoint's JSON gives back to the bit, so that a resumed training has the same history.
    fn rounded(self) -> Self {
        let round = |value: f64| (value * 1e6).round() / 1e6;
        let (losses, held_out) = (self.losses, self.held_out);
        Self {
            losses: Losses {
                contrastive: round(losses.contrastive),
                disentanglement: round(losses.disentanglement),
                classifier: round(losses.classifier),
            },
            held_out: HeldOut {
                spread: round(held_out.spread),
                directions: round(held_out.directions),
                distance_auroc: round(held_out.distance_auroc),
                classifier_auroc: round(held_out.classifier_auroc),
            },
            ..self
        }
    }
}

/// How to run, as against what to compute.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Where to compute.
    pub device: DeviceChoice,
    /// File to go on from and to keep up to date; none: nothing is kept.
    pub checkpoint: Option<PathBuf>,
}

/// What a training tells while it runs.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Went on from a checkpoint after this many epochs.
    Resumed(usize),
    /// A step of an epoch is done: step, of steps.
    Step(usize, usize),
    /// An epoch is done.
    Epoch(&'a EpochRecord),
}

/// What a training came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// E_theta.
    pub pointnet: PointNetWeights,
    /// C_w.
    pub normalcy: NormalcyWeights,
    /// Step of the perturbation that separated held-out pseudo anomalies best.
    pub epsilon: f32,
    /// AUROC of the classifier on held-out patches for every step that was tried.
    pub epsilons: Vec<(f32, f64)>,
    /// ROC of the classifier with the chosen step.
    pub roc: Roc,
    /// One record an epoch.
    pub history: Vec<EpochRecord>,
}

/// Trains. `pools` holds one pool for every mode in `params.frames`.
///
/// # Errors
/// When the settings cannot be, the device is not there, or the checkpoint is not this training's.
pub fn train(
    scans: &TrainingScans,
    pools: &[Pool],
    params: &TrainParams,
    options: &RunOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> anyhow::Result<Trained> {
    params.check()?;
    anyhow::ensure!(pools.len() == params.frames.len(), "one pool for every mode");
    let (mut learner, mut history) = start(scans, params, options)?;
    if !history.is_empty() {
        progress(Progress::Resumed(history.len()));
    }
    let judge = Judge {
        reference: held_out(&scans.train, pools, params, JUDGED_PATCHES),
        held_out: held_out(&scans.held_out, pools, params, JUDGED_PATCHES),
    };
    anyhow::ensure!(
        judge.held_out.points.dim().0 > judge.held_out.normal_count,
        "no pseudo anomaly could be made on the held-out scans: the parts are too small for the settings of `pseudo`"
    );
    for epoch in history.len()..params.epochs {
        let losses = run_epoch(&mut learner, scans, pools, params, (epoch, progress));
        let record = EpochRecord { epoch: epoch + 1, losses, held_out: judge.judge(&learner) }.rounded();
        history.push(record);
        progress(Progress::Epoch(&record));
        if let Some(path) = &options.checkpoint {
            checkpoint::write(path, &Header::new(params, &scans.sha256, &history), &learner)?;
        }
    }
    Ok(finish(&learner, &judge, params, history))
}

/// Fresh networks, or those of the checkpoint with the history that led to them.
fn start(
    scans: &TrainingScans,
    params: &TrainParams,
    options: &RunOptions,
) -> anyhow::Result<(Learner, Vec<EpochRecord>)> {
    let device = options.device.open()?;
    let fused = options.device == DeviceChoice::Cpu;
    let expected = Header::new(params, &scans.sha256, &[]);
    let found = match &options.checkpoint {
        Some(path) => checkpoint::read(path, &expected)?,
        None => None,
    };
    let Some(found) = found else {
        let weights = (PointNetWeights::seeded(params.seed), NormalcyWeights::seeded(params.seed));
        return Ok((Learner::new(&weights.0, &weights.1, &device, fused), Vec::new()));
    };
    let mut learner = Learner::new(&found.pointnet, &found.normalcy, &device, fused);
    learner.restore_optimizers(found.optimizers)?;
    Ok((learner, found.header.history))
}

#[expect(clippy::cast_precision_loss, reason = "counts of steps")]
fn run_epoch(
    learner: &mut Learner,
    scans: &TrainingScans,
    pools: &[Pool],
    params: &TrainParams,
    (epoch, progress): (usize, &mut dyn FnMut(Progress<'_>)),
) -> Losses {
    let batches = of_epoch(&scans.train, pools, params, epoch);
    let mut sum = Losses::default();
    let mut count = 0.0;
    for (index, batch) in batches.iter().enumerate() {
        let done = (epoch as f64 + index as f64 / batches.len() as f64) / params.epochs as f64;
        let rate = params.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        if batch.normal_count < 2 || batch.points.dim().0 == batch.normal_count {
            continue;
        }
        let losses = learner.step(batch, params, rate);
        sum.contrastive += losses.contrastive;
        sum.disentanglement += losses.disentanglement;
        sum.classifier += losses.classifier;
        count += 1.0;
        progress(Progress::Step(index + 1, batches.len()));
    }
    let mean = |total: f64| total / f64::max(count, 1.0);
    Losses {
        contrastive: mean(sum.contrastive),
        disentanglement: mean(sum.disentanglement),
        classifier: mean(sum.classifier),
    }
}

/// Chooses the perturbation on held-out pseudo anomalies of the training classes, never on test data; of equals the
/// first one.
fn finish(learner: &Learner, judge: &Judge, params: &TrainParams, history: Vec<EpochRecord>) -> Trained {
    let rocs: Vec<(f32, Roc)> =
        params.epsilons.iter().map(|epsilon| (*epsilon, judge.classifier_roc(learner, *epsilon))).collect();
    let mut best = 0;
    for (index, (_, roc)) in rocs.iter().enumerate() {
        if roc.area > rocs[best].1.area {
            best = index;
        }
    }
    let (pointnet, normalcy) = learner.weights();
    Trained {
        pointnet,
        normalcy,
        epsilon: rocs[best].0,
        epsilons: rocs.iter().map(|(epsilon, roc)| (*epsilon, roc.area)).collect(),
        roc: rocs[best].1.thinned(200),
        history,
    }
}
