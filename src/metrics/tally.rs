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
//! First [`DefectPixels`] collects what lies on defects, then [`Tally`] counts the good pixels, and [`Counted`] has the
//! figures. Memory: 8 bytes a
//! defective pixel, then about 50 bytes a distinct score of them; of the good pixels, the 2 million that are counted next.

use super::counted::Counted;
use super::pool::{DefectPixel, descending_key, to_u32};
use super::{MaskedMap, as_f64};
use crate::preprocess::components::components;

/// Stretches of the scale that good pixels are dealt out to.
const STRETCHES: usize = 1024;
/// Good pixels that are counted together: enough for each stretch to be worth fetching.
const PENDING_MAX: usize = 1 << 21;

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
        let counts = [0; 2].map(|none| vec![none; 2 * overlaps.len() + 1]);
        let counted = Counted { overlaps, found_counts, counts };
        Some(Tally { search, counted, pending: Default::default(), stretches: Vec::new(), dealt: Vec::new() })
    }
}

/// The pixels of the rows from the first to the last with a marked one.
fn marked_rows(marked: &[bool], width: usize) -> Option<std::ops::Range<usize>> {
    let first = marked.iter().position(|m| *m)?;
    let last = marked.iter().rposition(|m| *m)?;
    Some(first / width * width..(last / width + 1) * width)
}

/// Counts good pixels by where their scores lie between those of the defective ones.
#[derive(Debug, Clone)]
pub struct Tally {
    search: KeySearch,
    counted: Counted,
    /// Good pixels of the object and of the background that are not counted yet.
    pending: [Vec<f32>; 2],
    /// Scratch: where each of them is dealt out to.
    stretches: Vec<u16>,
    /// Scratch: the scores, dealt out.
    dealt: Vec<f32>,
}

impl Tally {
    /// Adds the good pixels of a map; without `object` all show the object.
    ///
    /// # Panics
    /// When scores, mask and object mask are not of one size, or the pixels of all maps exceed 2^32.
    pub fn add(&mut self, scores: &[f32], defective: &[bool], object: Option<&[bool]>) {
        assert_eq!(scores.len(), defective.len(), "a score for every pixel of the mask");
        let good = scores.iter().zip(defective).enumerate().filter(|(_, (_, defect))| !**defect);
        let good = good.map(|(pixel, (score, _))| (pixel, *score));
        match object {
            None => self.pending[0].extend(good.map(|(_, score)| score)),
            Some(object) => {
                assert_eq!(object.len(), defective.len(), "the object mask is of the map's size");
                good.for_each(|(pixel, score)| self.pending[usize::from(!object[pixel])].push(score));
            }
        }
        for place in 0..2 {
            if self.pending[place].len() >= PENDING_MAX {
                self.count(place);
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

    /// All maps were added.
    ///
    /// # Panics
    /// When the pixels of all maps exceed 2^32.
    #[must_use]
    pub fn finish(mut self) -> Counted {
        (0..2).for_each(|place| self.count(place));
        self.counted
    }

    /// Counts what is pending. The pixels are first dealt out to stretches of the scale that are small enough for the
    /// processor's cache, then counted stretch by stretch: looked up in the order of the pictures, nearly every pixel
    /// would miss it.
    fn count(&mut self, place: usize) {
        let Self { search, counted, pending, stretches, dealt } = self;
        let scores = &mut pending[place];
        stretches.clear();
        stretches.extend(scores.iter().map(|score| search.stretch(*score)));
        let mut ends = [0_usize; STRETCHES + 1];
        stretches.iter().for_each(|stretch| ends[usize::from(*stretch) + 1] += 1);
        (0..STRETCHES).for_each(|index| ends[index + 1] += ends[index]);
        dealt.resize(scores.len(), 0.0);
        for (stretch, score) in stretches.iter().zip(scores.iter()) {
            let end = &mut ends[usize::from(*stretch)];
            dealt[*end] = *score;
            *end += 1;
        }
        for score in dealt.iter() {
            let count = &mut counted.counts[place][search.slot(*score)];
            *count = count.checked_add(1).expect("fewer than 2^32 pixels");
        }
        scores.clear();
    }
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
    /// 2 to this power is the number of buckets of a stretch.
    stretch_bits: u32,
}

impl KeySearch {
    /// None without keys.
    #[expect(clippy::cast_precision_loss, reason = "a width of buckets need not be exact")]
    fn new(mut keys: Vec<u32>) -> Option<Self> {
        let (highest, lowest) = (score_of(*keys.first()?), score_of(*keys.last()?));
        let bucket_count = keys.len().next_power_of_two();
        let buckets_per_unit = bucket_count as f32 / (highest - lowest);
        let mut search = Self {
            keys: Vec::new(),
            highest,
            buckets_per_unit,
            starts: vec![0; bucket_count + 1],
            stretch_bits: bucket_count.div_ceil(STRETCHES).ilog2(),
        };
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

    /// Which of the [`STRETCHES`] a score lies in.
    #[expect(clippy::cast_possible_truncation, reason = "below STRETCHES, which is a power of 2")]
    fn stretch(&self, score: f32) -> u16 {
        (self.bucket(score) >> self.stretch_bits) as u16
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
