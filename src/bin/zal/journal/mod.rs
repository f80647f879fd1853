//! The journal: every result, what the broker has confirmed of it, and the calibration
//! scores, in one SQLite file.
//!
//! A result is committed (WAL, `synchronous = FULL`) before its scan leaves `work/`, so a
//! power cut loses nothing that was answered for. Confirmations are written without that
//! guarantee: losing one means publishing a result twice, which consumers expect.
//!
//! ```text
//! meta         key, value                            schema version, device, next_seq
//! results      seq (gap-free), claim_id (unique), part_id, evaluation, score, created_utc, session,
//!              body (JSON), disposition, alert, result_acked, alert_acked
//! calibration  key, position, score                  first scores per bundle, mode, engine, recipe
//! events       id, created_utc, code, text           what an operator should be able to look up
//! ```

mod age;
mod replay;
mod unacked;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use thiserror::Error;

pub use unacked::{Lane, Outgoing};

/// Version of the tables; a file with another one is refused.
const SCHEMA_VERSION: i64 = 1;

/// Why the journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// SQLite reported a failure.
    #[error("journal {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file is not a journal that this version reads.
    #[error("journal {path} has schema version {found}, expected {SCHEMA_VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: i64,
    },
    /// The file belongs to another device; its seq must not be continued.
    #[error("journal {path} belongs to the device {found:?}, this is {expected:?}")]
    Device {
        /// The file.
        path: PathBuf,
        /// Device in the file.
        found: String,
        /// Device of the configuration.
        expected: String,
    },
}

/// Where a scan goes once its result is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// `done/`.
    Done,
    /// `bad/`, with a reason beside it.
    Bad,
}

impl Disposition {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Bad => "bad",
        }
    }
}

/// One result to commit. The body is made once its seq is known.
pub struct Entry<'a> {
    /// The claim that it answers.
    pub claim_id: &'a str,
    /// Name of the part.
    pub part_id: &'a str,
    /// The verdict's word.
    pub evaluation: &'a str,
    /// Image score.
    pub score: Option<f32>,
    /// UTC.
    pub created_utc: &'a str,
    /// One run of the daemon.
    pub session: &'a str,
    /// Where the scan goes.
    pub disposition: Disposition,
    /// Makes the body for a seq.
    pub body: &'a mut dyn FnMut(u64) -> String,
    /// Key and score, when the scan counts for the calibration.
    pub calibration: Option<(&'a str, f32)>,
}

/// One connection to the journal. The writer of results and the publisher each open their
/// own; SQLite keeps them apart.
pub struct Journal {
    connection: Connection,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal for committing results, and makes it when there is none.
    ///
    /// # Errors
    /// When the file cannot be used, or belongs to another version or device.
    pub fn open(path: &Path, device: &str) -> Result<Self, JournalError> {
        let journal = Self::connect(path, "FULL")?;
        journal.create_tables().map_err(|source| journal.error(source))?;
        let version = journal.meta("schema_version")?.and_then(|v| v.parse().ok()).unwrap_or(-1);
        if version != SCHEMA_VERSION {
            return Err(JournalError::Version { path: path.into(), found: version });
        }
        journal.keep_meta("device", device)?;
        match journal.meta("device")? {
            Some(found) if found != device => {
                Err(JournalError::Device { path: path.into(), found, expected: device.into() })
            }
            _ => Ok(journal),
        }
    }

    /// Opens an existing journal for the publisher: its confirmations do not wait for the disk.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open_for_acks(path: &Path) -> Result<Self, JournalError> {
        Self::connect(path, "NORMAL")
    }

    fn connect(path: &Path, synchronous: &str) -> Result<Self, JournalError> {
        let wrap = |source| JournalError::Sqlite { path: path.into(), source };
        if let Some(folder) = path.parent() {
            // A folder that cannot be made shows as SQLite's "unable to open database file".
            let _ = std::fs::create_dir_all(folder);
        }
        let connection = Connection::open(path).map_err(wrap)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(wrap)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(wrap)?;
        connection.pragma_update(None, "synchronous", synchronous).map_err(wrap)?;
        Ok(Self { connection, path: path.into() })
    }

    fn create_tables(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch(
            "BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS results (
                 seq INTEGER PRIMARY KEY,
                 claim_id TEXT NOT NULL UNIQUE,
                 part_id TEXT NOT NULL,
                 evaluation TEXT NOT NULL,
                 score REAL,
                 created_utc TEXT NOT NULL,
                 session TEXT NOT NULL,
                 body TEXT NOT NULL,
                 disposition TEXT NOT NULL,
                 alert INTEGER NOT NULL,
                 result_acked INTEGER NOT NULL DEFAULT 0,
                 alert_acked INTEGER NOT NULL DEFAULT 0);
             CREATE INDEX IF NOT EXISTS results_unacked ON results (seq) WHERE result_acked = 0;
             CREATE INDEX IF NOT EXISTS alerts_unacked ON results (seq) WHERE alert = 1 AND alert_acked = 0;
             CREATE TABLE IF NOT EXISTS calibration (
                 key TEXT NOT NULL, position INTEGER NOT NULL, score REAL NOT NULL,
                 PRIMARY KEY (key, position)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS events (
                 id INTEGER PRIMARY KEY, created_utc TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL);
             CREATE TABLE IF NOT EXISTS replays (seq INTEGER PRIMARY KEY);
             INSERT OR IGNORE INTO meta VALUES ('schema_version', '1'), ('next_seq', '1');
             COMMIT;",
        )
    }

    fn error(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Sqlite { path: self.path.clone(), source }
    }

    fn meta(&self, key: &str) -> Result<Option<String>, JournalError> {
        self.connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(|source| self.error(source))
    }

    fn keep_meta(&self, key: &str, value: &str) -> Result<(), JournalError> {
        self.connection
            .execute("INSERT OR IGNORE INTO meta VALUES (?1, ?2)", [key, value])
            .map(|_| ())
            .map_err(|source| self.error(source))
    }

    /// Seq of the next result.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn next_seq(&self) -> Result<u64, JournalError> {
        Ok(self.meta("next_seq")?.and_then(|v| v.parse().ok()).unwrap_or(1))
    }

    /// Commits results in order, all or none, and gives their seqs. A claim that already has
    /// a result keeps it.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is committed and the same entries can be tried again.
    pub fn commit(&mut self, entries: &mut [Entry<'_>]) -> Result<Vec<u64>, JournalError> {
        let path = self.path.clone();
        let wrap = |source| JournalError::Sqlite { path: path.clone(), source };
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(wrap)?;
        let seqs = entries
            .iter_mut()
            .map(|entry| insert(&transaction, entry))
            .collect::<rusqlite::Result<Vec<u64>>>()
            .map_err(wrap)?;
        transaction.commit().map_err(wrap)?;
        Ok(seqs)
    }

    /// Where the scan of a claim belongs, when the claim already has its result.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn disposition_of(&self, claim_id: &str) -> Result<Option<Disposition>, JournalError> {
        let found: Option<String> = self
            .connection
            .query_row("SELECT disposition FROM results WHERE claim_id = ?1", [claim_id], |row| row.get(0))
            .optional()
            .map_err(|source| self.error(source))?;
        Ok(found.map(|word| if word == "bad" { Disposition::Bad } else { Disposition::Done }))
    }

    /// The calibration scores gathered under a key, in the order of their parts.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn calibration_scores(&self, key: &str) -> Result<Vec<f32>, JournalError> {
        let read = || {
            self.connection
                .prepare_cached("SELECT score FROM calibration WHERE key = ?1 ORDER BY position")?
                .query_map([key], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.error(source))
    }

    /// Notes an event for the operator.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn note_event(&self, created_utc: &str, code: &str, text: &str) -> Result<(), JournalError> {
        self.connection
            .execute(
                "INSERT INTO events (created_utc, code, text) VALUES (?1, ?2, ?3)",
                [created_utc, code, text],
            )
            .map(|_| ())
            .map_err(|source| self.error(source))
    }
}

/// Inserts one result, or finds the one that its claim already has.
fn insert(transaction: &Transaction<'_>, entry: &mut Entry<'_>) -> rusqlite::Result<u64> {
    let known: Option<i64> = transaction
        .prepare_cached("SELECT seq FROM results WHERE claim_id = ?1")?
        .query_row([entry.claim_id], |row| row.get(0))
        .optional()?;
    if let Some(seq) = known {
        return Ok(from_sql(seq));
    }
    let seq: i64 = transaction
        .prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'next_seq'")?
        .query_row([], |row| row.get(0))?;
    let body = (entry.body)(from_sql(seq));
    transaction
        .prepare_cached(
            "INSERT INTO results (seq, claim_id, part_id, evaluation, score, created_utc, session, body,
                 disposition, alert) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            seq,
            entry.claim_id,
            entry.part_id,
            entry.evaluation,
            entry.score,
            entry.created_utc,
            entry.session,
            body,
            entry.disposition.as_str(),
            entry.evaluation != "ok",
        ])?;
    transaction
        .prepare_cached("UPDATE meta SET value = CAST(?1 AS TEXT) WHERE key = 'next_seq'")?
        .execute([seq + 1])?;
    if let Some((key, score)) = entry.calibration {
        transaction
            .prepare_cached(
                "INSERT INTO calibration SELECT ?1, coalesce(max(position), 0) + 1, ?2 FROM calibration WHERE key = ?1",
            )?
            .execute(params![key, score])?;
    }
    Ok(from_sql(seq))
}

/// SQLite's integers are signed; a count or seq never gets near their end.
fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// See [`to_sql`]; a negative number is never written.
fn from_sql(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
