//! What the journal says of a stretch of time: `zal report`.

use std::collections::BTreeMap;

use rusqlite::params;
use serde::Serialize;

use super::{Journal, JournalError, from_sql};

/// Parts, verdicts, and what has not gone as it should.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// UTC, RFC 3339.
    pub since: String,
    /// Results in the journal since then.
    pub part_count: u64,
    /// Seq of the first and last of them.
    pub seq: Option<[u64; 2]>,
    /// Seqs between them that the journal does not have.
    pub missing_seq_count: u64,
    /// Results by evaluation.
    pub evaluations: BTreeMap<String, u64>,
    /// Reasons by code, most frequent first.
    pub reasons: Vec<(String, u64)>,
    /// Results, of any time, that the broker has not confirmed on `/result`.
    pub unacked_count: u64,
    /// Results that wait in memory for the disk.
    pub only_in_memory_count: u64,
    /// Results, of any time, removed because of the size limit: kind, count, last seq.
    pub dropped: Vec<(String, u64, u64)>,
    /// Events since then, newest last: time, code, text.
    pub events: Vec<(String, String, String)>,
}

impl Journal {
    /// Opens an existing journal for reading and marking, beside a running daemon or without.
    ///
    /// # Errors
    /// When there is none or it cannot be used.
    pub fn open_existing(path: &std::path::Path, spill_dir: &std::path::Path) -> Result<Self, JournalError> {
        use rusqlite::OpenFlags;
        let wrap = |source| JournalError::Sqlite { path: path.into(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags).map_err(wrap)?;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(wrap)?;
        let journal =
            Self { connection, path: path.into(), spill: super::Spill::of(path, spill_dir), writer: None };
        let version = journal.meta("schema_version")?.and_then(|v| v.parse().ok()).unwrap_or(-1);
        if version == super::tables::SCHEMA_VERSION {
            Ok(journal)
        } else {
            Err(JournalError::Version { path: path.into(), found: version })
        }
    }

    /// Puts a report together.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn report(&self, since: &str) -> Result<Report, JournalError> {
        let mut report = self.summary(since).map_err(|source| self.error(source))?;
        report.unacked_count = self.depth()?;
        report.only_in_memory_count = self.spill.row_count()?;
        report.dropped = self.drops()?;
        Ok(report)
    }

    fn summary(&self, since: &str) -> rusqlite::Result<Report> {
        let (part_count, first, last): (i64, Option<i64>, Option<i64>) = self.connection.query_row(
            "SELECT count(*), min(seq), max(seq) FROM results WHERE created_utc >= ?1",
            [since],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let seq = first.zip(last).map(|(first, last)| [from_sql(first), from_sql(last)]);
        let in_range: i64 = self.connection.query_row(
            "SELECT count(*) FROM results WHERE seq BETWEEN ?1 AND ?2",
            params![first.unwrap_or(0), last.unwrap_or(-1)],
            |row| row.get(0),
        )?;
        let count = |sql| self.pairs(sql, since);
        Ok(Report {
            since: since.into(),
            part_count: from_sql(part_count),
            seq,
            missing_seq_count: seq.map_or(0, |[first, last]| last + 1 - first - from_sql(in_range)),
            evaluations: count(
                "SELECT evaluation, count(*) FROM results WHERE created_utc >= ?1 GROUP BY evaluation",
            )?
            .into_iter()
            .collect(),
            reasons: count(
                "SELECT coalesce(json_extract(value, '$.code'), '?'), count(*)
                 FROM results, json_each(results.body, '$.reasons')
                 WHERE created_utc >= ?1 AND json_valid(results.body) GROUP BY 1 ORDER BY 2 DESC, 1",
            )?,
            events: self.events(since)?,
            ..Report::default()
        })
    }

    fn pairs(&self, sql: &str, since: &str) -> rusqlite::Result<Vec<(String, u64)>> {
        self.connection
            .prepare(sql)?
            .query_map([since], |row| Ok((row.get(0)?, from_sql(row.get(1)?))))?
            .collect()
    }

    fn events(&self, since: &str) -> rusqlite::Result<Vec<(String, String, String)>> {
        self.connection
            .prepare("SELECT created_utc, code, text FROM events WHERE created_utc >= ?1 ORDER BY id")?
            .query_map([since], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    }
}
