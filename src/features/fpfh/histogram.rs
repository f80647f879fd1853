//! SPFH rows and how they become an FPFH row.
//!
//! An SPFH is stored in 32 numbers, two cache lines:
//!
//! ```text
//! [ 0..10]  feature 1: bins 0..=4, then 6..=10     [30]  sum of one block (100, or less
//! [10..20]  feature 2                                    when pairs were skipped)
//! [20..30]  feature 3                              [31]  unused
//! ```
//!
//! The centre bin of a block is its sum minus the others.

use serde::{Deserialize, Serialize};

use super::pair::{BINS, Counters, LEVELS, count_at};
use crate::neighbors::grid::LANES;

/// Dimensions of a descriptor: three blocks of 11 bins.
pub const FPFH_DIMS: usize = 3 * BINS;
/// An SPFH in stored form.
pub(crate) type SpfhRow = [f32; 32];
/// Stored bins of a block.
pub(crate) const STORED_BINS: usize = BINS - 1;
/// Where a row keeps the sum of one block.
pub(crate) const SUM_SLOT: usize = 3 * STORED_BINS;
/// A neighbour nearer than the root of this (in m2) counts as coincident: it has no weight.
pub(crate) const COINCIDENT_SQ: f32 = 1e-30;

/// What becomes of the neighbours' weighted sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishingRule {
    /// Each block normalised to 100, plus the point's own SPFH: blocks sum to 200. A
    /// degenerate pair counts in the centre bins. What Open3D does, and so BTF.
    #[default]
    Open3d,
    /// Each block normalised to 100. A degenerate pair is not counted. What PCL does.
    Pcl,
}

/// Weight of a neighbour at a squared distance.
#[inline(always)]
pub(crate) fn weight(distance_sq: f32) -> f32 {
    if distance_sq > COINCIDENT_SQ { 1.0 / distance_sq } else { 0.0 }
}

/// A number of pairs.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^24")]
#[inline(always)]
pub(crate) const fn as_f32(count: u32) -> f32 {
    count as f32
}

/// Slot of a stored bin: `level` bins above or below the centre of `feature`.
#[inline(always)]
pub(crate) const fn slot(feature: usize, level: usize, below: bool) -> usize {
    let in_block = if below { LEVELS - level } else { LEVELS - 1 + level };
    feature * STORED_BINS + in_block
}

/// Adds the counters of one lane to a row of counts.
pub(crate) fn drain_lane(counters: &Counters, lane: usize, row: &mut SpfhRow) {
    for feature in 0..3 {
        for level in 1..=LEVELS {
            row[slot(feature, level, false)] += as_f32(count_at(counters.above[feature][lane], level));
            row[slot(feature, level, true)] += as_f32(count_at(counters.below[feature][lane], level));
        }
    }
    row[SUM_SLOT] += as_f32(counters.pairs[lane]);
}

/// Adds the counters of all lanes, which counted for the same point, to its row.
pub(crate) fn drain_all(counters: &Counters, row: &mut SpfhRow) {
    for lane in 0..LANES {
        drain_lane(counters, lane, row);
    }
}

/// Writes the descriptor of a point: `sums` are its neighbours' weighted rows, `own` its
/// SPFH; `out` has [`FPFH_DIMS`] places. A point without neighbours gets zeros.
#[inline(always)]
pub(crate) fn finish(sums: &SpfhRow, own: &SpfhRow, rule: FinishingRule, out: &mut [f32]) {
    let total = sums[SUM_SLOT];
    let scale = if total > 0.0 { 100.0 / total } else { 0.0 };
    let own_scale = if rule == FinishingRule::Open3d { 1.0 } else { 0.0 };
    for (feature, block) in out.chunks_exact_mut(BINS).enumerate() {
        let stored = feature * STORED_BINS..(feature + 1) * STORED_BINS;
        let (sums, own_bins) = (&sums[stored.clone()], &own[stored]);
        let mut others = 0.0;
        let mut own_others = 0.0;
        for bin in 0..STORED_BINS {
            let share = sums[bin] * scale;
            others += share;
            own_others += own_bins[bin];
            block[if bin < LEVELS { bin } else { bin + 1 }] = share + own_bins[bin] * own_scale;
        }
        let center = (total * scale - others).max(0.0);
        block[LEVELS] = center + (own[SUM_SLOT] - own_others).max(0.0) * own_scale;
    }
}
