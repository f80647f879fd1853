//! Defects that hide: places that find each other in some scans of the buffer, and nothing like them in a
//! typical one.
//!
//! A defect that repeats at the same place is near to its nearest reference. It is not near to most of
//! them, unless nearly all of the buffer is defective. So each scan's oddest patch is asked twice: how odd
//! is it against the nearest reference, and how odd against a typical (the median) one? Where parts merely
//! vary, both are alike; where a defect hides, the second is many times the first.

use super::limit::{center_and_spread, middle};

/// Scans needed to tell.
pub const SCANS_MIN: usize = 24;
/// A place hides when it is so many times as odd against a typical scan as scans usually are against
/// their nearest.
const ODDNESS_FACTOR: f32 = 3.0;
/// Spreads above the median that are nothing odd at all.
const ODDNESS_MIN: f32 = 4.0;

/// How far the oddest patch stands out, in spreads (MAD) above the median; none where nothing varies.
#[must_use]
pub fn oddness(patch_scores: &[f32]) -> Option<f32> {
    let (center, spread) = center_and_spread(patch_scores)?;
    let worst = patch_scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (spread > 0.0).then(|| (worst - center) / spread)
}

/// How many scans have a place that hides, of the oddness of each against its nearest reference and
/// against a typical one.
#[must_use]
pub fn hidden_count(near_and_typical: &[(f32, f32)]) -> usize {
    if near_and_typical.len() < SCANS_MIN {
        return 0;
    }
    let usual = middle(near_and_typical.iter().map(|(near, _)| *near).collect()).unwrap_or(f32::INFINITY);
    let limit = ODDNESS_FACTOR * usual.max(ODDNESS_MIN);
    near_and_typical.iter().filter(|(_, typical)| *typical > limit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oddest_patch_is_measured_in_what_is_usual() {
        let mut scores: Vec<f32> = (0..101_u8).map(f32::from).collect();
        let smooth = oddness(&scores).expect("they vary");
        scores[3] = 1_000.0;
        let odd = oddness(&scores).expect("they vary");
        assert!(smooth < 2.0 && odd > 20.0, "{smooth} {odd}");
        assert_eq!((oddness(&[]), oddness(&[1.0; 9])), (None, None));
    }

    #[test]
    fn only_what_is_many_times_as_odd_against_a_typical_scan_hides() {
        let mut scans = vec![(4.5, 6.0); 20];
        scans.extend([(4.0, 40.0); 10]);
        assert_eq!(hidden_count(&scans), 10);
        assert_eq!(hidden_count(&scans[..20]), 0, "too few to tell");
        assert_eq!(hidden_count(&[(20.0, 40.0); 30]), 0, "these parts are odd in themselves");
    }
}
