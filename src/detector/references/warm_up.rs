//! Warm-up: from when on a set judges, what is missing until then, and what its size can promise.

use std::fmt;

use super::{References, Source};

/// What is missing until there are verdicts: either of the two is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// More scans of the line.
    pub scans: usize,
    /// More confirmed good parts.
    pub anchors: usize,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        write!(
            f,
            "{} more scan{}, or {} confirmed good part{}, until there are verdicts",
            self.scans,
            plural(self.scans),
            self.anchors,
            plural(self.anchors)
        )
    }
}

impl References {
    /// What is missing until the set judges; none when it does.
    #[must_use]
    pub fn missing(&self) -> Option<Missing> {
        let compared =
            |source: Source| self.members.iter().filter(|m| m.source == source && m.is_compared()).count();
        let missing = Missing {
            scans: self.rules.scans_min.saturating_sub(compared(Source::Buffer)),
            anchors: self.rules.anchors_min.saturating_sub(compared(Source::Anchor)),
        };
        (missing.scans > 0 && missing.anchors > 0).then_some(missing)
    }
}

/// What the number of scores can promise, in words: `at most 5 % of good parts rejected`, and by how many
/// scans that rests.
#[must_use]
pub fn rate_words(calibration: &crate::calibration::Calibration) -> String {
    let (asked, promised) = (calibration.false_reject_rate(), calibration.promised_rate());
    let count = calibration.scores().len();
    let words = format!("at most {:.1} % of good parts rejected, from {count} scans", 100.0 * promised);
    if promised > asked {
        return format!(
            "{words}; the {:.1} % asked for need {:.0}",
            100.0 * asked,
            (1.0 / asked).ceil() - 1.0
        );
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibration;

    #[test]
    fn what_is_missing_is_said_in_words() {
        let text = Missing { scans: 12, anchors: 4 }.to_string();
        assert_eq!(text, "12 more scans, or 4 confirmed good parts, until there are verdicts");
        let text = Missing { scans: 1, anchors: 1 }.to_string();
        assert_eq!(text, "1 more scan, or 1 confirmed good part, until there are verdicts");
    }

    #[test]
    fn a_few_scans_promise_less_than_was_asked_for() {
        let of = |count: u8| Calibration::new((0..count).map(f32::from).collect(), 0.05).expect("scores");
        assert_eq!(
            rate_words(&of(4)),
            "at most 20.0 % of good parts rejected, from 4 scans; the 5.0 % asked for need 19"
        );
        assert_eq!(rate_words(&of(19)), "at most 5.0 % of good parts rejected, from 19 scans");
    }
}
