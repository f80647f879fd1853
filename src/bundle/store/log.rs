//! What happened to the store, a line each: for the person who asks why this bundle judges.

use serde::{Deserialize, Serialize};

/// A line of `log.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// UTC, as the caller's clock said.
    pub ts: String,
    /// What happened: `staged`, `refused`, `testing`, `failed`, `ready`, `trial`, `boot`, `confirmed`,
    /// `rolled_back`, `factory`, `removed`, `set_aside`.
    pub event: String,
    /// The bundle's hash.
    pub bundle: String,
    /// In words.
    pub words: String,
}

/// The lines of a log; those that were cut off by a power cut are left out.
pub(super) fn parse(text: &str) -> Vec<LogLine> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
