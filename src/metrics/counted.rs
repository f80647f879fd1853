//! [`Counted`]: figures of maps of whose good pixels no more is known than how many lie between two neighbouring scores
//! of defective pixels. The slots are drawn at the head of `tally.rs`.

use super::as_f64;
use super::overlap::{Area, published_area};
use super::pool::Domain;

/// Counts of good pixels, slot by slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// Mean overlap of the regions with the pixels at or above each distinct score.
    pub(super) overlaps: Vec<f64>,
    /// Defective pixels at or above each distinct score.
    pub(super) found_counts: Vec<usize>,
    /// Good pixels of the object and of the background.
    pub(super) counts: [Vec<u32>; 2],
}

impl Counted {
    /// Good pixels in the domain.
    #[must_use]
    pub fn ok_count(&self, domain: Domain) -> usize {
        (0..self.slot_count()).map(|slot| self.at(slot, domain)).sum()
    }

    const fn slot_count(&self) -> usize {
        2 * self.overlaps.len() + 1
    }

    fn at(&self, slot: usize, domain: Domain) -> usize {
        let [object, background] = [0, 1].map(|place| self.counts[place][slot] as usize);
        match domain {
            Domain::Object => object,
            Domain::Image => object + background,
        }
    }

    /// Mean overlap with all pixels above a slot.
    fn overlap_above(&self, slot: usize) -> f64 {
        (slot / 2).checked_sub(1).map_or(0.0, |last| self.overlaps[last])
    }

    /// AUPRO as the exact area up to a false positive rate: see
    /// [`RankedPixels::exact`](super::RankedPixels::exact). None without a good pixel in the domain.
    ///
    /// # Panics
    /// When the limit is not above 0 and at most 1.
    #[must_use]
    pub fn exact(&self, domain: Domain, limit: f64) -> Option<f64> {
        check_limit(limit);
        let ok_count = Some(self.ok_count(domain)).filter(|count| *count > 0)?;
        let mut area = Area::new(limit);
        area.start([0.0, 0.0]);
        let mut passed = 0;
        for slot in 0..self.slot_count() {
            passed += self.at(slot, domain);
            // Good pixels at a defective pixel's score pass together with it, those between two scores before.
            let overlap = self.overlap_above(slot + slot % 2);
            if !area.reach([as_f64(passed) / as_f64(ok_count), overlap]) {
                break;
            }
        }
        Some(area.total / limit)
    }

    /// AUPRO by the published rule: see [`RankedPixels::published`](super::RankedPixels::published). None
    /// without a good pixel in the domain.
    ///
    /// # Panics
    /// When the limit is not above 0 and at most 1.
    #[must_use]
    pub fn published(&self, domain: Domain, limit: f64) -> Option<f64> {
        check_limit(limit);
        let ok_count = Some(self.ok_count(domain)).filter(|count| *count > 0)?;
        let (mut slot, mut through) = (0, self.at(0, domain));
        Some(published_area(ok_count, limit, |above| {
            while through <= above {
                slot += 1;
                through += self.at(slot, domain);
            }
            Some(self.overlap_above(slot))
        }))
    }

    /// The exact curve at `count` false positive rates from 0 to the limit, closer together at its steep start: rate
    /// and mean overlap, the upper one where it jumps. None without a good pixel in the domain.
    ///
    /// # Panics
    /// When the limit is not above 0 and at most 1, or fewer than two points are asked for.
    #[must_use]
    pub fn curve(&self, domain: Domain, limit: f64, count: usize) -> Option<Vec<[f64; 2]>> {
        check_limit(limit);
        assert!(count > 1, "a curve has at least two points");
        let ok_count = Some(self.ok_count(domain)).filter(|count| *count > 0)?;
        let mut passed = 0;
        let mut vertices = (0..self.slot_count()).map(|slot| {
            passed += self.at(slot, domain);
            [as_f64(passed) / as_f64(ok_count), self.overlap_above(slot + slot % 2)]
        });
        let (mut last, mut next) = ([0.0, 0.0], vertices.next());
        let mut point = |index: usize| {
            let rate = limit * (as_f64(index) / as_f64(count - 1)).powi(2);
            while let Some(vertex) = next.filter(|vertex| vertex[0] <= rate) {
                (last, next) = (vertex, vertices.next());
            }
            let [x, y] = last;
            let slope = next.map_or(0.0, |vertex| (vertex[1] - y) / (vertex[0] - x));
            [rate, y + slope * (rate - x)]
        };
        Some((0..count).map(&mut point).collect())
    }

    /// Area under the ROC curve of the pixels, ties counted half. None without a good pixel in the domain.
    #[must_use]
    pub fn auroc(&self, domain: Domain) -> Option<f64> {
        let ok_count = Some(self.ok_count(domain)).filter(|count| *count > 0)?;
        let (mut above, mut found, mut wins) = (0, 0, 0.0);
        for (index, found_through) in self.found_counts.iter().enumerate() {
            above += self.at(2 * index, domain);
            let tied = self.at(2 * index + 1, domain);
            wins += as_f64(found_through - found) * (as_f64(ok_count - above - tied) + 0.5 * as_f64(tied));
            above += tied;
            found = *found_through;
        }
        Some(wins / (as_f64(ok_count) * as_f64(found)))
    }
}

fn check_limit(limit: f64) {
    assert!(limit > 0.0 && limit <= 1.0, "the limit {limit} is a false positive rate above 0");
}
