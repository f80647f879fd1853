//! The size limit: what is removed from a journal that has grown beyond it.
//!
//! In this order, the oldest first: confirmed results that are ok; confirmed results that are
//! not ok; unconfirmed results that are ok. An unconfirmed result that is not ok is never
//! removed, so with nothing else left the file grows beyond its limit. Everything removed is
//! counted; what was never confirmed, and growing beyond the limit, raise an alarm. The newest
//! row always stays: it shows that the next seq is right.
//!
//! The limit is one of the results' bytes. SQLite frees a page when two thirds of it are
//! empty, so the file can be up to three times as large.

use rusqlite::{Connection, params};

use super::{Journal, JournalError, begin, from_sql, to_sql};

/// Rows removed in one transaction.
const BATCH_COUNT: i64 = 64;

/// What a row takes: its long columns and a round sum for the others.
const ROW_BYTES: &str = "length(CAST(body AS BLOB)) + length(claim_id) + 200";

/// The kinds in the order in which they go: word, condition.
const KINDS: [(&str, &str); 3] = [
    ("acked_ok", "result_acked = 1 AND alert = 0"),
    ("acked_alert", "result_acked = 1 AND alert = 1 AND alert_acked = 1"),
    ("unacked_ok", "result_acked = 0 AND alert = 0"),
];

/// What one round removed, and what is left to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Confirmed results removed.
    pub acked_count: u64,
    /// Results removed that the broker never confirmed.
    pub unacked_count: u64,
    /// Bytes beyond the limit, with nothing left that may be removed.
    pub excess_bytes: u64,
}

impl Journal {
    /// Removes rows until the results are within the limit.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn trim(&mut self, limit_bytes: u64) -> Result<Trimmed, JournalError> {
        let path = self.path.clone();
        let writer = self.writer.as_mut().expect("only the writer of results removes them");
        let mut trimmed = Trimmed::default();
        while writer.row_bytes > limit_bytes {
            let removed = remove_oldest(&self.connection)
                .map_err(|source| JournalError::Sqlite { path: path.clone(), source })?;
            let Some((kind, count, bytes)) = removed else {
                trimmed.excess_bytes = writer.row_bytes - limit_bytes;
                break;
            };
            writer.row_bytes = writer.row_bytes.saturating_sub(bytes);
            let counter =
                if kind == "unacked_ok" { &mut trimmed.unacked_count } else { &mut trimmed.acked_count };
            *counter += count;
        }
        Ok(trimmed)
    }

    /// Rows removed so far: kind, count, last seq.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn drops(&self) -> Result<Vec<(String, u64, u64)>, JournalError> {
        let read = || {
            self.connection
                .prepare_cached("SELECT kind, count, last_seq FROM drops ORDER BY kind")?
                .query_map([], |row| Ok((row.get(0)?, from_sql(row.get(1)?), from_sql(row.get(2)?))))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.error(source))
    }
}

/// Bytes of the rows from a seq on.
pub(super) fn row_bytes(connection: &Connection, from_seq: u64) -> rusqlite::Result<u64> {
    let sql = format!("SELECT coalesce(sum({ROW_BYTES}), 0) FROM results WHERE seq >= ?1");
    connection.prepare_cached(&sql)?.query_row([to_sql(from_seq)], |row| row.get(0).map(from_sql))
}

/// Removes a batch of the first kind of which there is any; the kind, rows and bytes.
fn remove_oldest(connection: &Connection) -> rusqlite::Result<Option<(&'static str, u64, u64)>> {
    let transaction = begin(connection)?;
    for (kind, condition) in KINDS {
        let sql = format!(
            "SELECT count(*), coalesce(max(seq), 0), coalesce(sum(bytes), 0) FROM (
                 SELECT seq, {ROW_BYTES} AS bytes FROM results
                 WHERE {condition} AND seq < (SELECT max(seq) FROM results) ORDER BY seq LIMIT {BATCH_COUNT})"
        );
        let (count, last, bytes): (i64, i64, i64) = transaction
            .prepare_cached(&sql)?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if count == 0 {
            continue;
        }
        let sql = format!("DELETE FROM results WHERE {condition} AND seq <= ?1");
        transaction.prepare_cached(&sql)?.execute([last])?;
        transaction
            .prepare_cached(
                "INSERT INTO drops VALUES (?1, ?2, ?3) ON CONFLICT (kind) DO UPDATE SET
                     count = count + excluded.count, last_seq = max(last_seq, excluded.last_seq)",
            )?
            .execute(params![kind, count, last])?;
        transaction.commit()?;
        return Ok(Some((kind, from_sql(count), from_sql(bytes))));
    }
    Ok(None)
}
