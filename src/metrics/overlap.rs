//! The per-region overlap curve: mean share of each defective region above a threshold, over the
//! share of good pixels above it.
//!
//! Only good pixels within the integration limit shape the curve, so only those are sorted; the
//! curve is then one walk down both lists, for either rule.

use super::as_f64;
use super::curve::Thinned;
use super::pool::DefectPixel;

/// Thresholds of the published rule.
const THRESHOLD_COUNT: usize = 100;

/// Pixels from the highest score down, as far as the integration limit needs them.
#[derive(Debug, Clone)]
pub struct RankedPixels {
    limit: f64,
    /// Keys of the good pixels within the limit, ascending keys: descending scores.
    ok: Vec<u32>,
    /// Good pixels beyond those that have the last one's score.
    ok_ties_beyond: usize,
    ok_count: usize,
    /// All pixels of regions, descending scores.
    defect: Vec<DefectPixel>,
    /// What a pixel of each region adds to the mean overlap.
    weights: Vec<f64>,
}

impl RankedPixels {
    pub(super) fn new(
        mut ok: Vec<u32>,
        mut defect: Vec<DefectPixel>,
        region_sizes: &[u32],
        limit: f64,
    ) -> Self {
        let ok_count = ok.len();
        let kept = kept_count(ok_count, limit);
        let mut ok_ties_beyond = 0;
        if kept < ok_count {
            let (_, last, beyond) = ok.select_nth_unstable(kept - 1);
            let last = *last;
            ok_ties_beyond = beyond.iter().filter(|key| **key == last).count();
            ok.truncate(kept);
        }
        ok.sort_unstable();
        defect.sort_unstable();
        let region_count = as_f64(region_sizes.len());
        let weights = region_sizes.iter().map(|size| 1.0 / (f64::from(*size) * region_count)).collect();
        Self { limit, ok, ok_ties_beyond, ok_count, defect, weights }
    }

    /// AUPRO by the published rule: thresholds at 100 equidistant ranks of the good pixels' scores,
    /// trapezoids up to the limit, divided by it.
    ///
    /// The false positive rate is that of the rank, so that a plateau of equal scores counts as if
    /// its pixels came one after the other.
    #[must_use]
    pub fn published(&self) -> f64 {
        let mut walk = Walk::default();
        published_area(self.ok_count, self.limit, |above| {
            let threshold = *self.ok.get(above)?;
            walk.defects_while(self, |key| key < threshold);
            Some(walk.overlap)
        })
    }

    /// AUPRO as the exact area: every score is a threshold, and pixels of one score pass it together.
    #[must_use]
    pub fn exact(&self) -> f64 {
        let mut area = Area::new(self.limit);
        area.start([0.0, 0.0]);
        self.vertices(|point| area.reach(point));
        area.total / self.limit
    }

    /// The curve of [`RankedPixels::exact`], `[false positive rate, mean overlap]` from `[0, 0]` to the
    /// limit: the last point of each of `count` equal steps of the false positive rate.
    #[must_use]
    pub fn curve(&self, count: usize) -> Vec<[f64; 2]> {
        let mut thinned = Thinned::new(self.limit, count);
        self.vertices(|point| thinned.reach(point));
        thinned.finish()
    }

    /// Visits the corners of the exact curve but the first, until the visitor has seen enough.
    fn vertices(&self, mut visit: impl FnMut([f64; 2]) -> bool) {
        let mut walk = Walk::default();
        while let Some(key) = self.next_key(&walk) {
            walk.defects_while(self, |k| k <= key);
            walk.ok_while(self, |k| k <= key);
            if !visit([as_f64(walk.ok) / as_f64(self.ok_count), walk.overlap]) {
                break;
            }
        }
    }

    /// The highest score that was not passed yet: good pixels and, at the same score or above it,
    /// defective ones.
    fn next_key(&self, walk: &Walk) -> Option<u32> {
        let ok = self.ok.get(walk.ok).copied();
        let defect = self.defect.get(walk.defect).map(|p| p.key);
        match (ok, defect) {
            (Some(ok), Some(defect)) => Some(ok.min(defect)),
            (ok, defect) => ok.or(defect),
        }
    }
}

/// AUPRO by the published rule. `overlap_above(n)` is the mean overlap above the good pixel that `n` others precede,
/// from the highest score down; it is asked with rising `n`, and none ends the curve.
pub(super) fn published_area(
    ok_count: usize,
    limit: f64,
    mut overlap_above: impl FnMut(usize) -> Option<f64>,
) -> f64 {
    let mut area = Area::new(limit);
    for step in (0..THRESHOLD_COUNT).rev() {
        let rank = step * (ok_count - 1) / (THRESHOLD_COUNT - 1);
        let above = ok_count - 1 - rank;
        let Some(overlap) = overlap_above(above) else { break };
        let point = [as_f64(above) / as_f64(ok_count), overlap];
        if step == THRESHOLD_COUNT - 1 {
            area.start(point);
        } else if !area.reach(point) {
            break;
        }
    }
    area.total / limit
}

/// Good pixels to keep: the limit, the step of the published thresholds that crosses it, and the
/// rounding of both.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count, clamped to it"
)]
fn kept_count(ok_count: usize, limit: f64) -> usize {
    let within = (as_f64(ok_count) * limit).ceil() as usize;
    (within + ok_count / (THRESHOLD_COUNT - 1) + 3).min(ok_count)
}

/// How far both lists were walked down.
#[derive(Default)]
struct Walk {
    ok: usize,
    defect: usize,
    overlap: f64,
}

impl Walk {
    fn defects_while(&mut self, pixels: &RankedPixels, passes: impl Fn(u32) -> bool) {
        while let Some(pixel) = pixels.defect.get(self.defect).filter(|p| passes(p.key)) {
            self.overlap += pixels.weights[pixel.region as usize];
            self.defect += 1;
        }
    }

    fn ok_while(&mut self, pixels: &RankedPixels, passes: impl Fn(u32) -> bool) {
        while pixels.ok.get(self.ok).is_some_and(|key| passes(*key)) {
            self.ok += 1;
        }
        if self.ok == pixels.ok.len() {
            self.ok += pixels.ok_ties_beyond;
        }
    }
}

/// Trapezoids up to a limit, the last one cut at it.
pub(super) struct Area {
    limit: f64,
    last: [f64; 2],
    pub(super) total: f64,
}

impl Area {
    pub(super) const fn new(limit: f64) -> Self {
        Self { limit, last: [0.0; 2], total: 0.0 }
    }

    pub(super) const fn start(&mut self, point: [f64; 2]) {
        self.last = point;
    }

    /// Adds the area up to a point; false once the limit is reached.
    pub(super) fn reach(&mut self, [x, y]: [f64; 2]) -> bool {
        let [last_x, last_y] = self.last;
        let end = x.min(self.limit);
        if end > last_x {
            let y_end = last_y + (y - last_y) * (end - last_x) / (x - last_x);
            self.total += (end - last_x) * (last_y + y_end) / 2.0;
        }
        self.last = [x, y];
        x < self.limit
    }
}
