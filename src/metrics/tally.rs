//! The same figures as of a [`PixelPool`](super::PixelPool), of maps that are read twice instead of kept.
//!
//! Between two neighbouring scores of defective pixels the overlap does not change, so it does not matter where a
//! good pixel lies between them: counts are enough, and they lose nothing.
//!
//! ```text
//! scores, falling   |   d0   |    d1    |  d2  |          d: distinct scores of defective pixels
//! slots             | 0 | 1  |  2  | 3  | 4| 5 | 6        2i: good pixels above d_i and below d_(i-1)
//!                                                         2i + 1: good pixels at d_i; 2u: below them all
//! ```
//!
//! First [`DefectPixels`] collects what lies on defects, then [`Tally`] counts the good pixels. Memory: 8 bytes a
//! defective pixel, then about 36 bytes a distinct score of them; nothing a good pixel, nothing a map.

use super::overlap::{Area, published_area};
use super::pool::{DefectPixel, Domain, descending_key, to_u32};
use super::{MaskedMap, as_f64};
use crate::preprocess::components::components;

/// The defective pixels of any number of maps.
#[derive(Debug, Clone, Default)]
pub struct DefectPixels {
    pixels: Vec<DefectPixel>,
    region_sizes: Vec<u32>,
}

impl DefectPixels {
    /// Adds the defective pixels of a map; regions never span two maps. `defective` is row-major
    /// `[height * width]`, as the scores are.
    ///
    /// # Panics
    /// When scores and mask are not of one size, or do not fill whole rows.
    pub fn add(&mut self, scores: &[f32], defective: &[bool], width: usize) {
        assert_eq!(scores.len(), defective.len(), "a score for every pixel of the mask");
        let Some(rows) = marked_rows(defective, width) else { return };
        let (scores, defective) = (&scores[rows.clone()], &defective[rows]);
        let found = components(defective, width, |_, _| true);
        let first = self.region_sizes.len();
        self.region_sizes.resize(first + found.count, 0);
        for (pixel, _) in defective.iter().enumerate().filter(|(_, defect)| **defect) {
            let region = first + found.labels[pixel] as usize;
            self.region_sizes[region] += 1;
            self.pixels.push(DefectPixel { key: descending_key(scores[pixel]), region: to_u32(region) });
        }
    }

    /// Number of defective regions.
    #[must_use]
    pub fn region_count(&self) -> usize {
        self.region_sizes.len()
    }

    /// Number of defective pixels.
    #[must_use]
    pub fn pixel_count(&self) -> usize {
        self.pixels.len()
    }

    /// Sorts them, ready to count good pixels. None without a defective pixel.
    #[must_use]
    pub fn into_tally(mut self) -> Option<Tally> {
        self.pixels.sort_unstable();
        let region_count = as_f64(self.region_sizes.len());
        let weight =
            |pixel: &DefectPixel| 1.0 / (f64::from(self.region_sizes[pixel.region as usize]) * region_count);
        let (mut keys, mut overlaps, mut found_counts) = (Vec::new(), Vec::new(), Vec::new());
        let mut overlap = 0.0;
        for (index, pixel) in self.pixels.iter().enumerate() {
            overlap += weight(pixel);
            if self.pixels.get(index + 1).is_none_or(|next| next.key != pixel.key) {
                keys.push(pixel.key);
                overlaps.push(overlap);
                found_counts.push(index + 1);
            }
        }
        let search = KeySearch::new(keys)?;
        let counts = vec![[0; 2]; 2 * overlaps.len() + 1];
        Some(Tally { search, overlaps, found_counts, counts })
    }
}

/// The pixels of the rows from the first to the last with a marked one.
fn marked_rows(marked: &[bool], width: usize) -> Option<std::ops::Range<usize>> {
    let first = marked.iter().position(|m| *m)?;
    let last = marked.iter().rposition(|m| *m)?;
    Some(first / width * width..(last / width + 1) * width)
}

/// Good pixels counted by where their scores lie between those of the defective ones.
#[derive(Debug, Clone)]
pub struct Tally {
    search: KeySearch,
    /// Mean overlap of the regions with the pixels at or above each distinct score.
    overlaps: Vec<f64>,
    /// Defective pixels at or above each distinct score.
    found_counts: Vec<usize>,
    /// For each slot, good pixels of the object and of the background.
    counts: Vec<[u32; 2]>,
}

impl Tally {
    /// Counts the good pixels of a map; without `object` all show the object.
    ///
    /// # Panics
    /// When scores, mask and object mask are not of one size, or the pixels of all maps exceed 2^32.
    pub fn add(&mut self, scores: &[f32], defective: &[bool], object: Option<&[bool]>) {
        assert_eq!(scores.len(), defective.len(), "a score for every pixel of the mask");
        match object {
            None => self.count(scores, defective, |_| 0),
            Some(object) => {
                assert_eq!(object.len(), defective.len(), "the object mask is of the map's size");
                self.count(scores, defective, |pixel| usize::from(!object[pixel]));
            }
        }
    }

    /// As [`Tally::add`], of a map in memory.
    ///
    /// # Panics
    /// As [`Tally::add`].
    pub fn add_map(&mut self, map: &MaskedMap) {
        let defective: Vec<bool> = map.mask.iter().map(|m| *m > 0).collect();
        self.add(&map.scores, &defective, map.object.as_deref());
    }

    fn count(&mut self, scores: &[f32], defective: &[bool], place: impl Fn(usize) -> usize) {
        for (pixel, (score, defect)) in scores.iter().zip(defective).enumerate() {
            if !*defect {
                let count = &mut self.counts[self.search.slot(*score)][place(pixel)];
                *count = count.checked_add(1).expect("fewer than 2^32 pixels");
            }
        }
    }

    /// Good pixels in the domain.
    #[must_use]
    pub fn ok_count(&self, domain: Domain) -> usize {
        (0..self.counts.len()).map(|slot| self.at(slot, domain)).sum()
    }

    fn at(&self, slot: usize, domain: Domain) -> usize {
        let [object, background] = self.counts[slot].map(|count| count as usize);
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
        for slot in 0..self.counts.len() {
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
        let mut vertices = (0..self.counts.len()).map(|slot| {
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

/// Finds a score among ascending keys. Scores are first put into buckets of one width, so that what is left to
/// search is a key or two unless the scores are very uneven.
#[derive(Debug, Clone)]
struct KeySearch {
    /// Ascending and distinct, and one beyond them all.
    keys: Vec<u32>,
    highest: f32,
    buckets_per_unit: f32,
    /// Number of keys in the buckets before each.
    starts: Vec<u32>,
}

impl KeySearch {
    /// None without keys.
    #[expect(clippy::cast_precision_loss, reason = "a width of buckets need not be exact")]
    fn new(mut keys: Vec<u32>) -> Option<Self> {
        let (highest, lowest) = (score_of(*keys.first()?), score_of(*keys.last()?));
        let bucket_count = keys.len().next_power_of_two();
        let buckets_per_unit = bucket_count as f32 / (highest - lowest);
        let mut search =
            Self { keys: Vec::new(), highest, buckets_per_unit, starts: vec![0; bucket_count + 1] };
        for key in &keys {
            let bucket = search.bucket(score_of(*key));
            search.starts[bucket + 1] += 1;
        }
        for bucket in 0..bucket_count {
            search.starts[bucket + 1] += search.starts[bucket];
        }
        keys.push(u32::MAX);
        search.keys = keys;
        Some(search)
    }

    /// Rises as the score falls, whatever the rounding: subtraction, product and clamping keep the order.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates at both ends, and 0 for the 0 / 0 of a single key"
    )]
    fn bucket(&self, score: f32) -> usize {
        (((self.highest - score) * self.buckets_per_unit) as usize).min(self.starts.len() - 2)
    }

    /// The slot of a score: see the drawing at this file's head.
    fn slot(&self, score: f32) -> usize {
        let key = descending_key(score);
        let bucket = self.bucket(score);
        let [start, end] = [self.starts[bucket], self.starts[bucket + 1]].map(|start| start as usize);
        let index = start + self.keys[start..end].partition_point(|k| *k < key);
        2 * index + usize::from(self.keys[index] == key)
    }
}

/// The score of a [`descending_key`].
const fn score_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key } else { !(key | 1 << 31) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_back_to_their_scores() {
        for score in [0.0_f32, 1.5, -1.5, 1e-40, -1e-40, f32::MAX, f32::MIN] {
            assert_eq!(score_of(descending_key(score)).to_bits(), score.to_bits());
        }
    }

    #[test]
    fn a_slot_is_found_whatever_the_spacing() {
        let uneven = [-3e38_f32, -1.0, -1e-42, 0.0, 1e-42, 1e-3, 1.0, 1.000_000_1, 7.0, 3e38];
        for scores in [&uneven[..], &uneven[3..8], &uneven[2..4], &[0.0], &[-5.0, 5.0], &[1.0, f32::MAX]] {
            let mut keys: Vec<u32> = scores.iter().map(|s| descending_key(*s)).collect();
            keys.sort_unstable();
            let search = KeySearch::new(keys.clone()).expect("there are keys");
            for score in uneven.iter().flat_map(|s| [s.next_down(), *s, s.next_up()]) {
                let key = descending_key(score);
                let index = keys.iter().filter(|k| **k < key).count();
                let expected = 2 * index + usize::from(keys.contains(&key));
                assert_eq!(search.slot(score), expected, "{score} among {scores:?}");
            }
        }
        assert!(KeySearch::new(Vec::new()).is_none());
    }
}
