//! What a set should tell people: each a state that lasts until it is over.

use serde::{Deserialize, Serialize};

use super::{References, Source};

/// Scans in a row that the set has already, from which on the line is taken to stand still.
const DUPLICATES_MIN: usize = 8;
/// Share of the buffer that may be unlike the anchors.
const UNLIKE_SHARE_MAX: f32 = 0.25;
/// Share of the buffer that may have a place which a typical scan has not: fewer do not blind the line.
const HIDDEN_SHARE_MAX: f32 = 0.15;

/// A state of the set that a person should know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// Many scans of the buffer are unlike the anchors, or share a place that a typical one has not.
    Poisoned,
    /// Lamp, lens, fixture or surface have changed since warm-up.
    Drift,
    /// The same part comes again and again.
    Standstill,
}

/// A state with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which.
    pub code: WarningCode,
    /// What was found, and what to do.
    pub text: String,
}

impl References {
    /// All states that should be known.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let found = [
            (WarningCode::Poisoned, self.poisoned()),
            (WarningCode::Drift, self.drifted()),
            (WarningCode::Standstill, self.standing_still()),
        ];
        found.into_iter().filter_map(|(code, text)| text.map(|text| Warning { code, text })).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "a few scans")]
    fn poisoned(&self) -> Option<String> {
        let (buffer, unlike) = (self.count(Source::Buffer), self.standing.unlike_anchors_count);
        if unlike as f32 > UNLIKE_SHARE_MAX * buffer as f32 {
            return Some(format!(
                "{unlike} of the {buffer} scans of the buffer are unlike the anchors: a defect repeats, or the \
                 product has changed; look at the parts, and confirm good ones as anchors if they are"
            ));
        }
        // With anchors the defect is found by them; two kinds of good parts need no alarm then.
        if self.standing.anchored_limit.is_some() {
            return None;
        }
        let hidden = self.standing.hidden_count;
        (hidden as f32 > HIDDEN_SHARE_MAX * buffer as f32).then(|| {
            format!(
                "{hidden} of the {buffer} scans of the buffer have a place that a typical scan has not: a defect \
                 that repeats would hide there; look at the parts, and confirm good ones as anchors"
            )
        })
    }

    fn drifted(&self) -> Option<String> {
        let moved = self.state.drift.moved();
        let words = moved.iter().map(|m| format!("{} from {:.3} to {:.3}", m.quantity.name(), m.from, m.to));
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| {
            format!("since warm-up: {}; check lamp, lens and fixture, or reset the set", words.join(", "))
        })
    }

    fn standing_still(&self) -> Option<String> {
        let count = self.state.duplicates_in_a_row;
        (count >= DUPLICATES_MIN).then(|| {
            format!("the last {count} scans show a part that the buffer has already; none was taken in")
        })
    }
}
