//! Split-conformal threshold from the scores of good parts (METHOD section 7).

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a calibration cannot be made.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum CalibrationError {
    /// No scores at all.
    #[error("a calibration needs the scores of at least one good part, found none")]
    Empty,
    /// A score is not a number.
    #[error("calibration score {index} is {found}, expected a finite number")]
    NotFinite {
        /// Position.
        index: usize,
        /// The score.
        found: f32,
    },
    /// The rate is not within 0..1.
    #[error("the false-reject rate is {found}, expected a number between 0 and 1")]
    Rate {
        /// The rate.
        found: f32,
    },
}

/// Scores of good parts, and the share of good parts that may be rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Calibration {
    scores: Vec<f32>,
    false_reject_rate: f32,
}

/// A calibration as it is read, before [`Calibration::new`] has looked at it: a file that was
/// edited must not bring unsorted scores or a rate of 2 past the checks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    scores: Vec<f32>,
    false_reject_rate: f32,
}

impl TryFrom<Unchecked> for Calibration {
    type Error = CalibrationError;

    fn try_from(read: Unchecked) -> Result<Self, CalibrationError> {
        Self::new(read.scores, read.false_reject_rate)
    }
}

impl Calibration {
    /// Takes the image scores of good parts in any order.
    ///
    /// # Errors
    /// When there are none, one is not finite, or the rate is not within 0..1.
    pub fn new(mut scores: Vec<f32>, false_reject_rate: f32) -> Result<Self, CalibrationError> {
        if scores.is_empty() {
            return Err(CalibrationError::Empty);
        }
        if let Some((index, found)) = scores.iter().enumerate().find(|(_, s)| !s.is_finite()) {
            return Err(CalibrationError::NotFinite { index, found: *found });
        }
        if !(0.0..1.0).contains(&false_reject_rate) {
            return Err(CalibrationError::Rate { found: false_reject_rate });
        }
        scores.sort_by(f32::total_cmp);
        Ok(Self { scores, false_reject_rate })
    }

    /// The calibration scores, ascending.
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The false-reject rate asked for.
    #[must_use]
    pub const fn false_reject_rate(&self) -> f32 {
        self.false_reject_rate
    }

    /// The smallest false-reject rate that this many good parts can promise: `1 / (n + 1)`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of parts is far below 2^24")]
    pub fn rate_min(&self) -> f32 {
        1.0 / (self.scores.len() as f32 + 1.0)
    }

    /// The rate really promised: the one asked for, or [`Calibration::rate_min`] when the
    /// good parts are too few for it.
    #[must_use]
    pub fn promised_rate(&self) -> f32 {
        self.false_reject_rate.max(self.rate_min())
    }

    /// `p = (1 + #{s_i >= s}) / (n + 1)`: the share of good parts at least this unusual.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of parts is far below 2^24")]
    pub fn p_value(&self, score: f32) -> f32 {
        let below = self.scores.partition_point(|s| *s < score);
        (self.scores.len() - below + 1) as f32 / (self.scores.len() as f32 + 1.0)
    }

    /// The calibration score at or below which a part passes: a part is `not_ok` exactly
    /// when its score is greater.
    ///
    /// From `p <= rate`: at most `floor(rate * (n + 1)) - 1` good parts may score as high.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of parts are small and not negative"
    )]
    pub fn threshold(&self) -> f32 {
        let count = self.scores.len();
        let allowed = (self.promised_rate() * (count as f32 + 1.0) * (1.0 + f32::EPSILON)).floor() as usize;
        self.scores[count - allowed.clamp(1, count)]
    }

    /// Whether a part with this score is rejected. A score that is no number never passes.
    #[must_use]
    pub fn rejects(&self, score: f32) -> bool {
        score.is_nan() || score > self.threshold()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_and_p_value_agree_for_every_n_and_score() {
        for count in 1..60_u16 {
            let scores: Vec<f32> = (0..count).map(|i| f32::from(i % 17)).collect();
            for rate in [0.01, 0.05, 0.1, 0.25] {
                let calibration = Calibration::new(scores.clone(), rate).unwrap();
                for step in 0..80_u16 {
                    let score = f32::from(step) * 0.25 - 1.0;
                    let by_p = calibration.p_value(score) <= calibration.promised_rate() * (1.0 + 1e-6);
                    assert_eq!(calibration.rejects(score), by_p, "n {count} rate {rate} score {score}");
                }
            }
        }
    }

    #[test]
    fn a_read_calibration_is_checked_like_a_new_one() {
        let read = |text: &str| serde_json::from_str::<Calibration>(text);
        let unsorted = read(r#"{"scores": [3.0, 1.0, 2.0], "false_reject_rate": 0.1}"#).unwrap();
        assert_eq!(unsorted, Calibration::new(vec![1.0, 2.0, 3.0], 0.1).unwrap());
        for bad in [
            r#"{"scores": [], "false_reject_rate": 0.1}"#,
            r#"{"scores": [1.0], "false_reject_rate": 2.0}"#,
            r#"{"scores": [1e39], "false_reject_rate": 0.1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_score_that_is_no_number_is_rejected() {
        assert!(Calibration::new(vec![1.0], 0.5).unwrap().rejects(f32::NAN));
    }

    #[test]
    fn bad_scores_are_refused() {
        assert_eq!(Calibration::new(vec![], 0.05), Err(CalibrationError::Empty));
        assert!(matches!(
            Calibration::new(vec![f32::NAN], 0.05),
            Err(CalibrationError::NotFinite { index: 0, .. })
        ));
        assert_eq!(Calibration::new(vec![1.0], 1.0), Err(CalibrationError::Rate { found: 1.0 }));
    }
}
