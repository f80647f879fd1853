//! How well maps and scores tell good from defective (METHOD section 8).
//!
//! - [`auroc`]: image scores; exact, ties count half; [`auroc_interval`] says how much of it is luck.
//! - [`f1_max`]: the best F1 of any threshold on the image scores.
//! - AUPRO: how much of each defect a map finds before it alarms on good pixels. Two rules, never to
//!   be compared with each other: the published one (100 thresholds at equidistant ranks) and the
//!   exact area. Two domains: all good pixels, or only those of the object ([`Domain::Object`],
//!   "AUPRO-fg"); over all pixels a bare object mask scores `1 - f / 0.6` already, `f` being the
//!   object's share of the picture.
//! - [`peak_on_defect`]: whether the map's maximum lies on a defect ("hit1").
//!
//! Scores are pooled over the maps, and every list is sorted once: see [`PixelPool`]. Maps that can be read
//! twice need not be kept: see [`DefectPixels`], [`Tally`] and [`Counted`]. Scores are finite; a NaN would rank beyond the
//! infinity of its sign.

mod auroc;
mod bootstrap;
mod curve;
mod f1;
mod counted;
mod overlap;
mod pool;
mod tally;
#[cfg(test)]
mod tests;

pub use auroc::{auroc, auroc_interval};
pub use bootstrap::{Bootstrap, Draws};
pub use counted::Counted;
pub use curve::roc;
pub use f1::f1_max;
pub use overlap::RankedPixels;
pub use pool::{Domain, PixelPool};
pub use tally::{DefectPixels, Tally};

/// Integration limit of the published rule.
pub const FPR_LIMIT: f64 = 0.3;

/// A map and its ground truth, all row-major `[height * width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedMap {
    /// Scores.
    pub scores: Vec<f32>,
    /// 0 = good.
    pub mask: Vec<u8>,
    /// Columns.
    pub width: usize,
    /// Which pixels show the object; none: all do.
    pub object: Option<Vec<bool>>,
}

/// AUPRO by the published rule over all pixels: the area under the per-region overlap curve up to a
/// false positive rate of 0.3, divided by 0.3. None without a good pixel or a region.
#[must_use]
pub fn aupro(maps: &[MaskedMap]) -> Option<f64> {
    let mut pool = PixelPool::default();
    maps.iter().for_each(|map| pool.add(map));
    Some(pool.rank(Domain::Image, FPR_LIMIT)?.published())
}

/// Whether the highest score, the first of equals in row order, lies on a defect. None when the mask
/// has no defect.
#[must_use]
pub fn peak_on_defect(map: &MaskedMap) -> Option<bool> {
    map.mask.iter().find(|m| **m > 0)?;
    let first_of_equals = |best: usize, pixel: usize| {
        if map.scores[pixel] > map.scores[best] { pixel } else { best }
    };
    let peak = (1..map.scores.len()).fold(0, first_of_equals);
    Some(map.mask[peak] > 0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of pixels and scans are far below 2^52")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}
