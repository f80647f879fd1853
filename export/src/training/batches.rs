//! The patches of an epoch: normal ones from the frames' examples, pseudo anomalies made anew.

use ndarray::{Array2, Array3};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use zal::features::fpfh::FPFH_DIMS;
use zal::features::pointnet::PATCH_POINT_COUNT;

use super::draws::{Purpose, below, shuffle, stream, unit};
use super::params::TrainParams;
use super::scans::{Example, PatchPoints, TrainingFrame};
use crate::pseudo::{self, Pool};

/// Tries to make one pseudo anomaly before the place is given up.
const TRIES: usize = 16;

/// Patches of one step. Normal rows 2k and 2k + 1 are neighbours.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Normal patches first, then pseudo anomalies: `[normal + pseudo, 64, 3]`, patch units.
    pub points: Array3<f32>,
    /// How many are normal.
    pub normal_count: usize,
    /// FPFH of the normal patches, `[normal, 33]`.
    pub fpfh: Array2<f32>,
}

/// Pairs of normal patches with pairs of pseudo anomalies.
struct Quartet {
    normal: [(PatchPoints, [f32; FPFH_DIMS]); 2],
    pseudo: Vec<PatchPoints>,
}

/// The batches of an epoch, in a random order.
///
/// `pools` holds one pool for every mode in `params.frames`.
#[must_use]
pub fn of_epoch(frames: &[TrainingFrame], pools: &[Pool], params: &TrainParams, epoch: usize) -> Vec<Batch> {
    let mut quartets: Vec<Quartet> = frames
        .par_iter()
        .enumerate()
        .flat_map_iter(|(index, frame)| {
            let mut rng = stream(params.seed, Purpose::Epoch, epoch, index);
            of_frame(frame, pool_of(pools, params, frame), params, params.patches_per_frame / 2, &mut rng)
        })
        .collect();
    shuffle(&mut stream(params.seed, Purpose::Shuffle, epoch, 0), &mut quartets);
    let per_batch = params.batch_patches / 2;
    let batches = ((quartets.len() + per_batch / 2) / per_batch).max(1);
    let even = quartets.len().div_ceil(batches);
    quartets.chunks(even.max(1)).map(batch).collect()
}

/// All held-out patches in one batch: the same ones after every epoch.
#[must_use]
pub fn held_out(frames: &[TrainingFrame], pools: &[Pool], params: &TrainParams, patches_max: usize) -> Batch {
    let pairs = (patches_max / 2 / frames.len().max(1)).clamp(1, params.patches_per_frame);
    let quartets: Vec<Quartet> = frames
        .par_iter()
        .enumerate()
        .flat_map_iter(|(index, frame)| {
            let mut rng = stream(params.seed, Purpose::HeldOut, 0, index);
            of_frame(frame, pool_of(pools, params, frame), params, pairs, &mut rng)
        })
        .collect();
    batch(&quartets)
}

fn pool_of<'a>(pools: &'a [Pool], params: &TrainParams, frame: &TrainingFrame) -> &'a Pool {
    let place = params.frames.iter().position(|mode| *mode == frame.mode);
    &pools[place.expect("frames are cut for the modes of the settings")]
}

/// Draws pairs from one frame. Both kinds of patches stand at anchors drawn by the same rule.
fn of_frame(
    frame: &TrainingFrame,
    pool: &Pool,
    params: &TrainParams,
    pairs: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<Quartet> {
    let mut quartets = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let first = 2 * below(rng, frame.examples.len() / 2);
        let mut normal = |example: &Example| (turned(example.points, params, rng), example.fpfh);
        let normal = [normal(&frame.examples[first]), normal(&frame.examples[first + 1])];
        let pseudo = (0..2).filter_map(|_| pseudo_patch(frame, pool, params, rng)).collect();
        quartets.push(Quartet { normal, pseudo });
    }
    quartets
}

fn pseudo_patch(
    frame: &TrainingFrame,
    pool: &Pool,
    params: &TrainParams,
    rng: &mut ChaCha8Rng,
) -> Option<PatchPoints> {
    (0..TRIES).find_map(|_| {
        let anchor = frame.examples[below(rng, frame.examples.len())].anchor;
        let made = pseudo::draw(&frame.frame, anchor, pool, &params.pseudo, rng)?;
        Some(turned(made.points, params, rng))
    })
}

/// The patch turned about the viewing axis, when the settings ask for it.
fn turned(points: PatchPoints, params: &TrainParams, rng: &mut ChaCha8Rng) -> PatchPoints {
    if !params.rotate {
        return points;
    }
    let (sin, cos) = (unit(rng) * std::f32::consts::TAU).sin_cos();
    points.map(|[x, y, z]| [cos * x - sin * y, sin * x + cos * y, z])
}

fn batch(quartets: &[Quartet]) -> Batch {
    let normal: Vec<&(PatchPoints, [f32; FPFH_DIMS])> = quartets.iter().flat_map(|q| &q.normal).collect();
    let pseudo: Vec<&PatchPoints> = quartets.iter().flat_map(|q| &q.pseudo).collect();
    let all: Vec<&PatchPoints> = normal.iter().map(|n| &n.0).chain(pseudo).collect();
    let points = Array3::from_shape_fn((all.len(), PATCH_POINT_COUNT, 3), |(p, i, axis)| all[p][i][axis]);
    let fpfh = Array2::from_shape_fn((normal.len(), FPFH_DIMS), |(p, i)| normal[p].1[i]);
    Batch { points, normal_count: normal.len(), fpfh }
}
