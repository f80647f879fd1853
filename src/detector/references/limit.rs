//! The threshold from the set's own leave-one-out scores, though some of its scans may be defective.
//!
//! A buffer is unlabelled: with one defective scan in ten, the 95 % quantile of its scores lies among the
//! defects, and half of them would pass. So scans that stand out themselves, beyond
//! [`SUSPECT_MADS`] spreads (MAD, made comparable with a standard deviation) above the median, do not
//! count. Up to half of the scores may be defects before that rule fails; what then is the matter is for
//! [`super::hidden`] to say. Scores that a person vouched for always count.

use crate::calibration::Calibration;

/// A scan of the buffer that scores so many spreads above the median is suspected to be defective.
pub const SUSPECT_MADS: f32 = 4.0;
/// What makes a median absolute deviation the standard deviation of normally distributed values.
const MAD_TO_SD: f32 = 1.4826;

/// A leave-one-out score of the set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnScore {
    /// The image score, the scan itself left out.
    pub score: f32,
    /// Whether a person confirmed the part.
    pub confirmed: bool,
}

/// What the scores say.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// The scores that count, and the rate.
    pub calibration: Calibration,
    /// Scores that do not count.
    pub suspect_count: usize,
}

/// The conformal threshold of the scores; none without a finite one.
#[must_use]
pub fn limit_of(scores: &[OwnScore], rate: f32) -> Option<Limit> {
    let unlabelled: Vec<f32> = scores.iter().filter(|s| !s.confirmed).map(|s| s.score).collect();
    let suspect_from = suspect_from(&unlabelled);
    let counts = |s: &&OwnScore| s.confirmed || suspect_from.is_none_or(|from| s.score <= from);
    let kept: Vec<f32> = scores.iter().filter(counts).map(|s| s.score).collect();
    let suspect_count = scores.len() - kept.len();
    let calibration = Calibration::new(kept, rate).ok()?;
    Some(Limit { calibration, suspect_count })
}

/// The score above which an unlabelled scan is suspected; none where the scores do not differ.
fn suspect_from(scores: &[f32]) -> Option<f32> {
    let (center, spread) = center_and_spread(scores)?;
    (spread > 0.0).then_some(center + SUSPECT_MADS * spread)
}

/// Median, and the median absolute deviation made comparable with a standard deviation; none of nothing.
#[must_use]
pub fn center_and_spread(values: &[f32]) -> Option<(f32, f32)> {
    let center = middle(values.to_vec())?;
    let spread = middle(values.iter().map(|value| (value - center).abs()).collect())?;
    Some((center, MAD_TO_SD * spread))
}

/// The median, the upper of the middle two when even; none of nothing.
pub(super) fn middle(mut values: Vec<f32>) -> Option<f32> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// The threshold that follows `wanted` from `in_use`, by at most `step_max` of it: neither a flood of
/// odd scans nor one of smooth ones moves the line's judgement faster than people can notice.
#[must_use]
pub fn stepped(in_use: Option<f32>, wanted: f32, step_max: f32) -> f32 {
    let Some(in_use) = in_use else { return wanted };
    let step = step_max * in_use.abs();
    wanted.clamp(in_use - step, in_use + step)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "scores are passed on, not computed with")]
mod tests {
    use super::*;

    fn unlabelled(scores: impl IntoIterator<Item = f32>) -> Vec<OwnScore> {
        scores.into_iter().map(|score| OwnScore { score, confirmed: false }).collect()
    }

    #[test]
    fn defects_in_the_buffer_do_not_lift_the_threshold() {
        let good = (0..28_u8).map(|i| 5.0 + f32::from(i) * 0.1);
        let clean = limit_of(&unlabelled(good.clone()), 0.05).expect("scores");
        assert_eq!((clean.calibration.threshold(), clean.suspect_count), (7.7, 0));
        let mut mixed = unlabelled(good.chain([20.0, 25.0, 31.0, 28.0]));
        let limit = limit_of(&mixed, 0.05).expect("scores");
        assert_eq!((limit.calibration.threshold(), limit.suspect_count), (7.7, 4));
        mixed[28].confirmed = true;
        let limit = limit_of(&mixed, 0.05).expect("scores");
        assert_eq!(
            (limit.calibration.threshold(), limit.suspect_count),
            (20.0, 3),
            "a person vouched for it"
        );
    }

    #[test]
    fn few_and_equal_scores() {
        assert_eq!(limit_of(&[], 0.05), None);
        assert_eq!(limit_of(&unlabelled([f32::NAN]), 0.05), None);
        let equal = limit_of(&unlabelled([2.0; 9]), 0.05).expect("scores");
        assert_eq!((equal.calibration.threshold(), equal.suspect_count), (2.0, 0));
    }

    #[test]
    fn a_threshold_follows_in_steps() {
        assert_eq!(stepped(None, 7.0, 0.02), 7.0);
        assert_eq!(stepped(Some(10.0), 10.1, 0.02), 10.1);
        assert_eq!(stepped(Some(10.0), 90.0, 0.02), 10.2);
        assert_eq!(stepped(Some(10.0), 1.0, 0.02), 9.8);
        assert_eq!(stepped(Some(-10.0), 5.0, 0.1), -9.0);
    }
}
