//! How long results have waited for their confirmation.

use rusqlite::OptionalExtension;

use super::{Journal, JournalError};

impl Journal {
    /// When the oldest result that the broker has not confirmed was judged.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn oldest_unacked_utc(&self) -> Result<Option<String>, JournalError> {
        self.connection
            .prepare_cached("SELECT created_utc FROM results WHERE result_acked = 0 ORDER BY seq LIMIT 1")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
            .map_err(|source| self.error(source))
    }
}
