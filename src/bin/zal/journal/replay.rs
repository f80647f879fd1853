//! Results that someone wants again: `zal replay` and the command of the same name.

use std::ops::RangeInclusive;

use super::{Journal, JournalError, begin, from_sql, tables, to_sql};

impl Journal {
    /// Marks the results of a range of seqs to be published again, as historical; with
    /// `dry_run` only counts them. Gives how many the journal still has. Alerts are not
    /// repeated.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn replay(&self, range: &RangeInclusive<u64>, dry_run: bool) -> Result<u64, JournalError> {
        let bounds = [to_sql(*range.start()), to_sql(*range.end())];
        let write = || {
            let transaction = begin(&self.connection)?;
            let count: i64 = transaction.query_row(
                "SELECT count(*) FROM results WHERE seq BETWEEN ?1 AND ?2",
                bounds,
                |row| row.get(0),
            )?;
            if dry_run || count == 0 {
                return Ok(count);
            }
            let asked = tables::meta(&transaction, "replay_count")?.and_then(|text| text.parse().ok());
            let number = asked.unwrap_or(0_u64) + 1;
            transaction.execute(
                "UPDATE results SET result_acked = 0, replay = ?3 WHERE seq BETWEEN ?1 AND ?2",
                [bounds[0], bounds[1], to_sql(number)],
            )?;
            tables::set_meta(&transaction, "replay_count", &number.to_string())?;
            transaction.commit()?;
            Ok(count)
        };
        write().map(from_sql).map_err(|source| self.error(source))
    }

    /// How often a replay was asked for: when it changes, rows may wait anywhere again.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn replay_count(&self) -> Result<u64, JournalError> {
        Ok(self.meta("replay_count")?.and_then(|text| text.parse().ok()).unwrap_or_default())
    }
}
