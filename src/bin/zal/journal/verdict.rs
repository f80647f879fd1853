//! What was said of one part: for shadow mode, which compares another bundle with it.

use rusqlite::OptionalExtension;

use super::{Journal, JournalError};

/// The verdict on a part.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Name of the part.
    pub part_id: String,
    /// `ok`, `not_ok`, `not_decidable` or `undefined`.
    pub evaluation: String,
    /// Its score, when there is one.
    pub score: Option<f32>,
}

impl Journal {
    /// What was said of a claim; none when it has no result (any more).
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn verdict_of(&self, claim_id: &str) -> Result<Option<Verdict>, JournalError> {
        self.connection
            .query_row(
                "SELECT part_id, evaluation, score FROM results WHERE claim_id = ?1",
                [claim_id],
                |row| Ok(Verdict { part_id: row.get(0)?, evaluation: row.get(1)?, score: row.get(2)? }),
            )
            .optional()
            .map_err(|source| self.error(source))
    }
}
