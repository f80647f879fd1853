//! Fills a memory bank: normal scans through the device's own features, a coreset of the
//! rows, and the statistics that make distances comparable, from scans held out of it.
//!
//! [`describe`] and [`assemble`] are the two halves of [`build`]: a study keeps descriptors that do
//! not change, and fills many banks from them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zal::bank::coreset::greedy_k_center;
use zal::bank::{Block, MemoryBank, RowOrigin};
use zal::detector::Comparison;
pub use zal::detector::references::DescribedScan;
use zal::detector::{Mode, ModeParams, params::Scoring};
use zal::engine::{EngineChoice, EngineOptions};
use zal::features::describe::Describer;
use zal::features::{Branch, PatchGrid};
use zal::preprocess::prepare;
use zal::scan::{SensorProfile, read};
use zal::score::JointStats;

use crate::layout::{self, Split};

/// Every tenth scan is held out for the statistics.
pub const HOLDOUT_EVERY: usize = 10;

/// What stands beside a bank file: all that `zal-export pack` needs to know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankRecord {
    /// The mode that the bank is for.
    pub mode: Mode,
    /// Settings with the measured statistics.
    pub params: ModeParams,
    /// The command that made it.
    pub command: String,
    /// Classes, number of scans and hash of their bytes.
    pub data: String,
}

impl BankRecord {
    /// `X.bank` has its record in `X.bank.json`.
    #[must_use]
    pub fn path_beside(bank: &Path) -> PathBuf {
        let mut name = bank.as_os_str().to_owned();
        name.push(".json");
        name.into()
    }
}

/// The engine that needs nothing installed: artifacts made with it are the same everywhere.
#[must_use]
pub fn embedded_engine() -> EngineOptions {
    EngineOptions { choice: EngineChoice::Tract, threads: 2, ..EngineOptions::default() }
}

/// The mode's defaults with only the given branches, and their weights in mode `line`.
#[must_use]
pub fn mode_settings(mode: Mode, branches: &[Branch], weights: &[(Branch, f32)]) -> ModeParams {
    let mut params = ModeParams::of(mode);
    params.describe.branches.retain(|branch| branches.contains(branch));
    let kept = params.describe.branches.clone();
    match &mut params.scoring {
        Scoring::Late { branches, repetition, .. } => {
            branches.retain(|b| kept.contains(&b.branch));
            repetition.iter_mut().for_each(|term| term.spreads.truncate(kept.len()));
            for (branch, weight) in weights {
                branches.iter_mut().filter(|b| b.branch == *branch).for_each(|b| b.weight = *weight);
            }
        }
        Scoring::Joint { block_scales, .. } => block_scales.truncate(kept.len()),
    }
    params
}

/// Settings of [`build`].
#[derive(Debug, Clone, Copy)]
pub struct BuildParams {
    /// Share of the rows that the coreset keeps.
    pub fraction: f32,
    /// Most rows that it keeps.
    pub rows_max: usize,
}

/// How the branches' blocks are put side by side: for picking the bank's rows, and in mode `paper` for the
/// distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// Each divided by its mean norm.
    #[default]
    Scaled,
    /// As they are, and distances as they are: BTF's.
    Raw,
}

/// Picks the bank's rows out of all rows `[rows, dims]`.
pub type PickRows<'a> = dyn Fn(ArrayView2<'_, f32>) -> anyhow::Result<Vec<usize>> + 'a;

/// Name and xyz file of every normal training scan of the given classes, or of all.
///
/// # Errors
/// Names the class that is not there or has no normal scans.
pub fn normal_scans(root: &Path, wanted: &[String]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let present = layout::classes(root)?;
    let name = |class: &Path| class.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names: Vec<String> = present.iter().map(|c| name(c)).collect();
    if let Some(missing) = wanted.iter().find(|w| !names.contains(w)) {
        bail!("{} has no class `{missing}`; it has {}", root.display(), names.join(", "));
    }
    let mut scans = Vec::new();
    for class in present.iter().filter(|c| wanted.is_empty() || wanted.contains(&name(c))) {
        let before = scans.len();
        for entry in layout::entries(class, Split::Train)? {
            let stem = entry.xyz.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            scans.push((format!("{}/train/{}/{stem}", name(class), entry.defect), entry.xyz));
        }
        if scans.len() == before {
            bail!("{} has no normal scans in train/good/xyz", class.display());
        }
    }
    Ok(scans)
}

/// Describes the scans and makes bank and settings.
///
/// # Errors
/// Names the scan that cannot be read, prepared or described.
pub fn build(
    scans: &[(String, PathBuf)],
    params: ModeParams,
    describer: &mut Describer,
    build: BuildParams,
    progress: &mut dyn FnMut(usize),
) -> anyhow::Result<(MemoryBank, ModeParams, String)> {
    expect_enough(scans.len())?;
    let mut hasher = Sha256::new();
    let mut described = Vec::new();
    for (index, (name, path)) in scans.iter().enumerate() {
        hasher.update(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
        let scan = describe(path, &params, describer).with_context(|| format!("scan {}", path.display()))?;
        described.push((name.clone(), scan));
        progress(index + 1);
    }
    let (bank, params) = assemble(described, params, build)?;
    let hash: String = hasher.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    Ok((bank, params, hash))
}

/// Fills the bank from described scans with their names, every tenth of them held out, and measures
/// the settings' statistics on those.
///
/// # Errors
/// When there are fewer than three scans, or their descriptors do not make a bank.
pub fn assemble(
    scans: Vec<(String, DescribedScan)>,
    params: ModeParams,
    build: BuildParams,
) -> anyhow::Result<(MemoryBank, ModeParams)> {
    assemble_with(scans, params, Fusion::Scaled, &|rows| Ok(coreset(rows, build)))
}

/// The rows that a bank of that size keeps: greedy k-centre from the first row on.
#[must_use]
pub fn coreset(rows: ArrayView2<'_, f32>, build: BuildParams) -> Vec<usize> {
    greedy_k_center(rows, coreset_count(rows.nrows(), build), 0)
}

/// As [`assemble`], with the blocks put side by side as asked and the bank's rows picked by the caller.
/// Raw blocks hold no scan out: their distances are taken as they are.
///
/// # Errors
/// When there are fewer than three scans, or their descriptors do not make a bank.
pub fn assemble_with(
    scans: Vec<(String, DescribedScan)>,
    mut params: ModeParams,
    fusion: Fusion,
    pick: &PickRows<'_>,
) -> anyhow::Result<(MemoryBank, ModeParams)> {
    expect_enough(scans.len())?;
    let holdout_index = HOLDOUT_EVERY.min(scans.len()) - 1;
    let (mut kept, mut held_out, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (name, scan)) in scans.into_iter().enumerate() {
        // Raw distances need no statistics, and so no scans for them.
        if fusion == Fusion::Scaled && index % HOLDOUT_EVERY == holdout_index {
            held_out.push(scan);
        } else {
            names.push(name);
            kept.push(scan);
        }
    }
    let bank = fill(&kept, names, &mut params, (fusion, pick))?;
    if fusion == Fusion::Scaled {
        measure(&mut params, bank.clone(), &held_out)?;
    }
    Ok((bank, params))
}

fn expect_enough(scan_count: usize) -> anyhow::Result<()> {
    if scan_count < 3 {
        bail!("found {scan_count} normal scans, expected at least 3 (one is held out for the statistics)");
    }
    Ok(())
}

/// Describes one scan as the settings ask.
///
/// # Errors
/// When the scan cannot be read, prepared or described.
pub fn describe(
    path: &Path,
    params: &ModeParams,
    describer: &mut Describer,
) -> anyhow::Result<DescribedScan> {
    let scan = read(path, &SensorProfile::default())?;
    let prepared = prepare(&scan, &params.preprocess)?;
    let grid = PatchGrid::of(&prepared.cloud);
    let mut features = Vec::new();
    for branch in params.describe.branches.clone() {
        features.push(describer.describe(branch, &prepared, &grid)?);
    }
    let logits = if params.needs_normalcy() { Some(describer.normalcy(&prepared, &grid)?) } else { None };
    Ok(DescribedScan { patches: grid.patches().to_vec(), features, logits })
}

/// Rows of all scans, thinned to a coreset; measures the blocks' mean norms on the way.
fn fill(
    scans: &[DescribedScan],
    names: Vec<String>,
    params: &mut ModeParams,
    (fusion, pick): (Fusion, &PickRows<'_>),
) -> anyhow::Result<MemoryBank> {
    let mut rows = Vec::new();
    let mut origins = Vec::new();
    for (index, scan) in (0_u32..).zip(scans) {
        let blocks: Vec<ArrayView2<'_, f32>> = scan.features.iter().map(|f| f.rows.view()).collect();
        rows.push(concatenate(Axis(1), &blocks)?);
        origins.extend(scan.patches.iter().map(|patch| RowOrigin { scan: index, patch: *patch }));
    }
    let views: Vec<ArrayView2<'_, f32>> = rows.iter().map(|r: &Array2<f32>| r.view()).collect();
    let rows = concatenate(Axis(0), &views)?;
    let blocks = measure_blocks(&scans[0], &rows);
    let scale = |b: &Block| match fusion {
        Fusion::Scaled => 1.0 / b.mean_norm.max(f32::MIN_POSITIVE),
        Fusion::Raw => 1.0,
    };
    let scales: Vec<f32> = blocks.iter().map(scale).collect();
    let mut scaled = rows.clone();
    scale_blocks(&mut scaled, &blocks, &scales);
    if let Scoring::Joint { block_scales, .. } = &mut params.scoring {
        *block_scales = scales;
    }
    let picks = pick(scaled.view())?;
    let origins = picks.iter().map(|&i| origins[i]).collect();
    Ok(MemoryBank::new(blocks, rows.select(Axis(0), &picks), origins, names)?)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a row count"
)]
fn coreset_count(rows: usize, build: BuildParams) -> usize {
    ((rows as f32 * build.fraction) as usize).clamp(1, build.rows_max)
}

fn measure_blocks(first: &DescribedScan, rows: &Array2<f32>) -> Vec<Block> {
    let mut start = 0;
    let mut blocks = Vec::new();
    for feature in &first.features {
        let dims = feature.rows.ncols();
        let columns = rows.slice(s![.., start..start + dims]);
        let norms = columns.rows().into_iter().map(|r| r.dot(&r).sqrt());
        let mean_norm = mean(&norms.collect::<Vec<f32>>());
        blocks.push(Block { branch: feature.branch, dims, mean_norm });
        start += dims;
    }
    blocks
}

fn scale_blocks(rows: &mut Array2<f32>, blocks: &[Block], scales: &[f32]) {
    let mut start = 0;
    for (block, scale) in blocks.iter().zip(scales) {
        rows.slice_mut(s![.., start..start + block.dims]).mapv_inplace(|v| v * scale);
        start += block.dims;
    }
}

/// Spreads (mode `line`) or mean and spread of distance and logit (mode `paper`) over the
/// held-out scans.
fn measure(params: &mut ModeParams, bank: MemoryBank, held_out: &[DescribedScan]) -> anyhow::Result<()> {
    let comparison = Comparison::new(params, bank)?;
    let distances: Vec<Vec<Vec<f32>>> =
        held_out.iter().map(|s| comparison.distances(&s.features)).collect::<Result<_, _>>()?;
    measure_distances(params, &distances, held_out);
    Ok(())
}

/// The settings' statistics from normal scans and their distances to what is normal: of each scan one list
/// a branch (mode `line`), or one (mode `paper`).
fn measure_distances(params: &mut ModeParams, distances: &[Vec<Vec<f32>>], held_out: &[DescribedScan]) {
    match &mut params.scoring {
        Scoring::Late { branches, normalcy, repetition } => {
            for (index, branch) in branches.iter_mut().enumerate() {
                branch.spread = spread_around_medians(distances.iter().map(|d| d[index].as_slice()));
            }
            if let Some(term) = repetition {
                let own: Vec<_> = held_out.iter().map(|s| term.distances(&s.patches, &s.features)).collect();
                term.spreads = (0..branches.len())
                    .map(|branch| spread_around_medians(own.iter().map(|d| d[branch].as_slice())))
                    .collect();
            }
            if let Some(term) = normalcy {
                let logits = held_out.iter().map(|s| s.logits.as_deref().unwrap_or_default());
                term.spread = spread_around_medians(logits);
            }
        }
        Scoring::Joint { stats, .. } => {
            let d: Vec<f32> = distances.iter().flat_map(|d| d[0].clone()).collect();
            let l: Vec<f32> = held_out.iter().flat_map(|s| s.logits.clone().unwrap_or_default()).collect();
            *stats = JointStats {
                distance_mean: mean(&d),
                distance_sd: spread(&d),
                logit_mean: mean(&l),
                logit_sd: spread(&l),
            };
        }
    }
}

/// Spread of the values of all scans, each around its scan's median.
fn spread_around_medians<'a>(scans: impl Iterator<Item = &'a [f32]>) -> f32 {
    spread(&scans.flat_map(deviations_from_median).collect::<Vec<f32>>())
}

fn deviations_from_median(values: &[f32]) -> Vec<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    values.iter().map(|v| v - median).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a count of patches")]
fn mean(values: &[f32]) -> f32 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f32>() / values.len() as f32 }
}

/// Standard deviation, 1 where there is none.
fn spread(values: &[f32]) -> f32 {
    let mean_value = mean(values);
    let squares: Vec<f32> = values.iter().map(|v| (v - mean_value).powi(2)).collect();
    let spread = mean(&squares).sqrt();
    if spread > 0.0 { spread } else { 1.0 }
}
