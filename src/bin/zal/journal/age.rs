//! How long results have waited for their confirmation.

use rusqlite::{Connection, OptionalExtension};

use super::{Journal, JournalError};

impl Journal {
    /// When the oldest result that the broker has not confirmed was judged.
    ///
    /// # Errors
    /// When SQLite fails and nothing waits in memory either.
    pub fn oldest_unacked_utc(&self) -> Result<Option<String>, JournalError> {
        let on_disk = oldest(&self.connection);
        // Rows in memory follow all rows on disk.
        if let Ok(Some(utc)) = on_disk {
            return Ok(Some(utc));
        }
        match (on_disk, self.spill.with(Ok(None), oldest)?) {
            (Err(source), None) => Err(self.error(source)),
            (_, in_memory) => Ok(in_memory),
        }
    }
}

fn oldest(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT created_utc FROM results WHERE result_acked = 0 ORDER BY seq LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}
