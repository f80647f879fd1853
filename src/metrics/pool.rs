//! [`PixelPool`]: the scores of many maps, sorted out by what the ground truth says of their pixels.

use super::overlap::RankedPixels;
use super::{MaskedMap, as_f64};
use crate::preprocess::components::components;

/// Which good pixels count; defective ones always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// All of the picture.
    Image,
    /// Only those that show the object.
    Object,
}

/// The pixels of any number of maps. Maps are added one after the other, so that no two need to be in
/// memory; a pool takes 4 bytes a good and 8 a defective pixel.
#[derive(Debug, Clone, Default)]
pub struct PixelPool {
    ok_object: Vec<u32>,
    ok_background: Vec<u32>,
    defect: Vec<DefectPixel>,
    region_sizes: Vec<u32>,
}

/// A pixel of a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DefectPixel {
    /// See [`descending_key`].
    pub(super) key: u32,
    /// The 8-connected region that it belongs to.
    pub(super) region: u32,
}

impl PixelPool {
    /// Adds the pixels of a map; regions of the mask never span two maps.
    ///
    /// # Panics
    /// When scores, mask and object mask are not of one size, or do not fill whole rows.
    pub fn add(&mut self, map: &MaskedMap) {
        assert_eq!(map.scores.len(), map.mask.len(), "a score for every pixel of the mask");
        if let Some(object) = &map.object {
            assert_eq!(object.len(), map.mask.len(), "the object mask is of the map's size");
        }
        let defective: Vec<bool> = map.mask.iter().map(|m| *m > 0).collect();
        let found = components(&defective, map.width, |_, _| true);
        let first = self.region_sizes.len();
        self.region_sizes.resize(first + found.count, 0);
        for (pixel, score) in map.scores.iter().enumerate() {
            let key = descending_key(*score);
            if defective[pixel] {
                let region = first + found.labels[pixel] as usize;
                self.region_sizes[region] += 1;
                self.defect.push(DefectPixel { key, region: to_u32(region) });
            } else if map.object.as_ref().is_none_or(|object| object[pixel]) {
                self.ok_object.push(key);
            } else {
                self.ok_background.push(key);
            }
        }
    }

    /// Adds all pixels of another pool.
    pub fn append(&mut self, mut other: Self) {
        let first = to_u32(self.region_sizes.len());
        self.ok_object.append(&mut other.ok_object);
        self.ok_background.append(&mut other.ok_background);
        self.defect.extend(other.defect.iter().map(|p| DefectPixel { region: p.region + first, ..*p }));
        self.region_sizes.append(&mut other.region_sizes);
    }

    /// Number of defective regions.
    #[must_use]
    pub fn region_count(&self) -> usize {
        self.region_sizes.len()
    }

    /// Sorts what AUPRO up to the false positive rate `limit` needs. None without a good pixel in the
    /// domain or without a region.
    ///
    /// # Panics
    /// When the limit is not above 0 and at most 1.
    #[must_use]
    pub fn rank(&self, domain: Domain, limit: f64) -> Option<RankedPixels> {
        assert!(limit > 0.0 && limit <= 1.0, "the limit {limit} is a false positive rate above 0");
        let ok = self.ok(domain);
        if ok.is_empty() || self.defect.is_empty() {
            return None;
        }
        Some(RankedPixels::new(ok, self.defect.clone(), &self.region_sizes, limit))
    }

    /// Area under the ROC curve of the pixels, ties counted half. None without both kinds.
    #[must_use]
    pub fn auroc(&self, domain: Domain) -> Option<f64> {
        let mut ok = self.ok(domain);
        if ok.is_empty() || self.defect.is_empty() {
            return None;
        }
        ok.sort_unstable();
        let mut defect: Vec<u32> = self.defect.iter().map(|p| p.key).collect();
        defect.sort_unstable();
        let (mut above, mut through, mut wins) = (0, 0, 0.0);
        for key in &defect {
            above += ok[above..].iter().take_while(|k| *k < key).count();
            through = through.max(above);
            through += ok[through..].iter().take_while(|k| *k <= key).count();
            // Good pixels below this one lose, those at its score tie.
            wins += as_f64(ok.len() - through) + 0.5 * as_f64(through - above);
        }
        Some(wins / (as_f64(ok.len()) * as_f64(defect.len())))
    }

    fn ok(&self, domain: Domain) -> Vec<u32> {
        match domain {
            Domain::Object => self.ok_object.clone(),
            Domain::Image => [self.ok_object.as_slice(), &self.ok_background].concat(),
        }
    }
}

/// A number that is smaller the higher the score: plain integers sort several times faster than floats
/// by comparison. -0 and 0 are one score.
pub(super) fn descending_key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { bits } else { !(bits | 1 << 31) }
}

pub(super) fn to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("a region has pixels, and 2^32 of them do not fit in memory")
}
