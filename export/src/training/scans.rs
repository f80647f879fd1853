//! From normal scans to what training draws from: frames, and a fixed set of patches of each with their FPFH.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use zal::cloud::OrganizedCloud;
use zal::detector::{Mode, ModeParams};
use zal::features::pointnet::PATCH_POINT_COUNT;
use zal::features::{GRID_SIZE, PATCH_SIZE, PatchGrid, fpfh};
use zal::preprocess::{FRAME_SIZE, prepare};
use zal::scan::{SensorProfile, read};

use super::draws::{Purpose, below, stream};
use super::params::TrainParams;
use crate::bank_build::HOLDOUT_EVERY;
use crate::pseudo::Frame;

/// Patches that a frame offers; an epoch takes some of them.
const EXAMPLES_PER_FRAME: usize = 256;
/// A frame whose part is smaller gives nothing to learn from.
const PATCHES_MIN: usize = 8;

/// 64 points in patch units.
pub type PatchPoints = [[f32; 3]; PATCH_POINT_COUNT];

/// A normal patch.
#[derive(Debug, Clone)]
pub struct Example {
    /// Frame pixel (row, column) that it was cut at.
    pub anchor: (usize, usize),
    /// Its points.
    pub points: PatchPoints,
    /// Mean FPFH of its cell.
    pub fpfh: [f32; fpfh::FPFH_DIMS],
}

/// One frame of one scan. Examples 2k and 2k + 1 are neighbours.
#[derive(Debug)]
pub struct TrainingFrame {
    /// `CLASS/train/good/NNN`.
    pub name: String,
    /// The mode whose framing this is.
    pub mode: Mode,
    /// What pseudo anomalies are made of.
    pub frame: Frame,
    /// The patches that it offers, in pairs.
    pub examples: Vec<Example>,
}

/// All frames, those of every tenth scan held out.
#[derive(Debug)]
pub struct TrainingScans {
    /// Frames to train on.
    pub train: Vec<TrainingFrame>,
    /// Frames to judge on.
    pub held_out: Vec<TrainingFrame>,
    /// Number of scans.
    pub scan_count: usize,
    /// SHA-256 over the bytes of all xyz files.
    pub sha256: String,
}

/// Reads and cuts every scan, before anything is trained: a scan that cannot be used ends the program at once.
///
/// # Errors
/// Names the file that cannot be read or shows no part.
pub fn load(
    scans: &[(String, PathBuf)],
    params: &TrainParams,
    progress: &(dyn Fn() + Sync),
) -> anyhow::Result<TrainingScans> {
    anyhow::ensure!(
        scans.len() >= 3,
        "found {} normal scans, expected at least 3 (every tenth, at least one, is held out)",
        scans.len()
    );
    let loaded: Vec<(Vec<TrainingFrame>, Vec<u8>)> = scans
        .par_iter()
        .enumerate()
        .map(|(index, (name, path))| {
            let frames =
                load_scan(index, name, path, params).with_context(|| format!("scan {}", path.display()))?;
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            progress();
            Ok((frames, Sha256::digest(&bytes).to_vec()))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut hasher = Sha256::new();
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (index, (frames, hash)) in loaded.into_iter().enumerate() {
        hasher.update(hash);
        let held = index % HOLDOUT_EVERY == HOLDOUT_EVERY.min(scans.len()) - 1;
        if held { &mut held_out } else { &mut train }.extend(frames);
    }
    let sha256 = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(TrainingScans { train, held_out, scan_count: scans.len(), sha256 })
}

fn load_scan(
    index: usize,
    name: &str,
    path: &Path,
    params: &TrainParams,
) -> anyhow::Result<Vec<TrainingFrame>> {
    let scan = read(path, &SensorProfile::default())?;
    let mut frames = Vec::new();
    for (number, mode) in params.frames.iter().enumerate() {
        let settings = ModeParams::of(*mode);
        let prepared = prepare(&scan, &settings.preprocess)?;
        let grid = PatchGrid::of(&prepared.cloud);
        anyhow::ensure!(
            grid.count() >= PATCHES_MIN,
            "the part covers {} patches of the frame of mode `{}`, expected at least {PATCHES_MIN}: is it a scan of \
             a part, with the background removable?",
            grid.count(),
            mode.name()
        );
        let frame = Frame::new(prepared.cloud, prepared.pitch_m);
        let mut rng = stream(params.seed, Purpose::Examples, 0, index * params.frames.len() + number);
        let examples = examples(&frame, &grid, params, &settings, &mut rng);
        anyhow::ensure!(!examples.is_empty(), "no patch of 64 points could be cut out of the part");
        frames.push(TrainingFrame { name: name.into(), mode: *mode, frame, examples });
    }
    Ok(frames)
}

/// Draws pairs of neighbouring patches.
fn examples(
    frame: &Frame,
    grid: &PatchGrid,
    params: &TrainParams,
    settings: &ModeParams,
    rng: &mut rand_chacha::ChaCha8Rng,
) -> Vec<Example> {
    let descriptors = CellFpfh::new(&frame.cloud, settings);
    let mut found = Vec::with_capacity(EXAMPLES_PER_FRAME);
    for _ in 0..4 * EXAMPLES_PER_FRAME {
        if found.len() >= EXAMPLES_PER_FRAME {
            break;
        }
        let first = random_anchor(grid, rng);
        let second = neighbor(first, params.pseudo.patch.stride_px, rng);
        let cut = |anchor: (usize, usize)| {
            let points = frame.patch_at(anchor, &params.pseudo.patch)?;
            Some(Example { anchor, points, fpfh: descriptors.around(anchor)? })
        };
        if let (Some(first), Some(second)) = (cut(first), cut(second)) {
            found.extend([first, second]);
        }
    }
    found
}

/// The centre of a valid cell, moved by up to half a cell: training sees the part between the cells too.
pub fn random_anchor(grid: &PatchGrid, rng: &mut rand_chacha::ChaCha8Rng) -> (usize, usize) {
    let patch = usize::from(grid.patches()[below(rng, grid.count())]);
    let place = |cell: usize, rng: &mut rand_chacha::ChaCha8Rng| {
        (cell * PATCH_SIZE + below(rng, PATCH_SIZE)).min(FRAME_SIZE - 1)
    };
    (place(patch / GRID_SIZE, rng), place(patch % GRID_SIZE, rng))
}

/// A pixel at most half a patch away.
fn neighbor(
    (row, column): (usize, usize),
    stride_px: usize,
    rng: &mut rand_chacha::ChaCha8Rng,
) -> (usize, usize) {
    let reach = PATCH_SIZE * stride_px / 2;
    let mut move_by = |at: usize| (at + below(rng, 2 * reach + 1)).saturating_sub(reach).min(FRAME_SIZE - 1);
    (move_by(row), move_by(column))
}

/// Descriptors of all points of a frame, to be averaged around any pixel.
struct CellFpfh<'a> {
    cloud: &'a OrganizedCloud,
    rows: Array2<f32>,
    /// Row of each measured pixel.
    row_of: Vec<usize>,
}

impl<'a> CellFpfh<'a> {
    fn new(cloud: &'a OrganizedCloud, settings: &ModeParams) -> Self {
        let rows = fpfh::describe_points(cloud, &settings.describe.fpfh);
        let mut row_of = vec![usize::MAX; cloud.points().len()];
        cloud.valid_indices().into_iter().enumerate().for_each(|(row, pixel)| row_of[pixel] = row);
        Self { cloud, rows, row_of }
    }

    /// Mean over the measured points of the 8 x 8 pixels around an anchor, none without points.
    #[expect(clippy::cast_precision_loss, reason = "a cell has 64 pixels")]
    fn around(&self, (row, column): (usize, usize)) -> Option<[f32; fpfh::FPFH_DIMS]> {
        let half = PATCH_SIZE / 2;
        let span = |at: usize| at.saturating_sub(half)..(at + half).min(FRAME_SIZE);
        let pixels = span(row).flat_map(|r| span(column).map(move |c| r * FRAME_SIZE + c));
        let mut sum = [0.0; fpfh::FPFH_DIMS];
        let mut count = 0_usize;
        for pixel in pixels.filter(|p| self.cloud.valid()[*p]) {
            let values: ArrayView1<'_, f32> = self.rows.row(self.row_of[pixel]);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            count += 1;
        }
        (count > 0).then(|| sum.map(|s| s / count as f32))
    }
}
