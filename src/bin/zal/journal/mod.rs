//! The journal: every result, what the broker has confirmed of it, and the calibration
//! scores, in one SQLite file (`tables` draws it).
//!
//! A result is committed (WAL, `synchronous = FULL`) before its scan leaves `work/`, so a
//! power cut loses nothing that was answered for. Confirmations are written without that
//! guarantee: losing one means publishing a result twice, which consumers expect.
//!
//! | what can go wrong | what then | where |
//! |---|---|---|
//! | the file is damaged | set aside, what is left is saved | `damage` |
//! | its end, or all of it, is lost | seq goes on above any that may have been used | `mark` |
//! | the disk takes nothing | results go through memory | `spill` |
//! | the file grows too large | the least needed rows go, counted | `cap` |

mod age;
mod cap;
mod damage;
mod lookup;
mod mark;
mod replay;
mod report;
mod row;
mod spill;
mod tables;
mod unacked;
mod verdict;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use thiserror::Error;
use tracing::warn;

use crate::telemetry::utc_now;
use mark::SeqMark;
use row::Row;
use spill::Spill;

pub use cap::Trimmed;
pub use lookup::FoundResult;
pub use report::Report;
pub use unacked::{Lane, Outgoing, Sending};
pub use verdict::Verdict;

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
    #[error("journal {path} has schema version {found}, expected {}", tables::SCHEMA_VERSION)]
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
    /// The file of reserved seqs cannot be used.
    #[error("the journal's file of reserved seqs {path}: {source}")]
    Mark {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A damaged file cannot be renamed.
    #[error("the damaged journal {path} cannot be set aside: {source}")]
    Aside {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Results cannot be kept in memory.
    #[error("the journal's memory {path}: {source}")]
    Spill {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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

/// What became of a commit.
#[derive(Debug)]
pub struct Committed {
    /// The seqs of the entries.
    pub seqs: Vec<u64>,
    /// Why they are only in memory as yet: the scans must stay in `work/`. None when they,
    /// and all before them, are on disk.
    pub only_in_memory: Option<JournalError>,
}

/// One connection to the journal. The writer of results and the publisher each open their
/// own; SQLite keeps them apart.
pub struct Journal {
    connection: Connection,
    path: PathBuf,
    spill: Spill,
    /// What only the writer of results has.
    writer: Option<Writer>,
}

/// The state of the one connection that commits results.
struct Writer {
    device: String,
    mark: SeqMark,
    next_seq: u64,
    damage: Option<String>,
    /// Bytes of the results on disk, as `cap` counts them.
    row_bytes: u64,
    /// Scores of results that are only in memory: key and score.
    scores: Vec<(String, f32)>,
}

impl Journal {
    /// Opens the journal for committing results, and makes it when there is none. A damaged
    /// one is set aside: see [`Journal::damage`].
    ///
    /// # Errors
    /// When the file cannot be used, or belongs to another version or device.
    pub fn open(path: &Path, device: &str, spill_dir: &Path) -> Result<Self, JournalError> {
        let (connection, damage) = damage::open_sound(path, device, &utc_now())?;
        let mark = SeqMark::open(path)
            .map_err(|source| JournalError::Mark { path: SeqMark::path_of(path), source })?;
        let spill = Spill::of(path, spill_dir);
        let mut journal = Self { connection, path: path.into(), spill, writer: None };
        let writer = journal.writer_of(device, mark, damage)?;
        if let Some(text) = &writer.damage {
            journal.note_event(&utc_now(), "journal_damaged", text)?;
        }
        journal.writer = Some(writer);
        // What a former run had only in memory; when it fails, the next commit tries again.
        if let Some(error) = journal.commit(&mut [])?.only_in_memory {
            warn!(%error, "results of the last run are still only in memory");
        }
        Ok(journal)
    }

    /// Opens an existing journal for the publisher: its confirmations do not wait for the disk.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open_for_acks(path: &Path, spill_dir: &Path) -> Result<Self, JournalError> {
        let connection = connect(path, "NORMAL")?;
        Ok(Self { connection, path: path.into(), spill: Spill::of(path, spill_dir), writer: None })
    }

    /// Finds where seq goes on, and whether the journal has lost its end.
    fn writer_of(&self, device: &str, mark: SeqMark, damage: Option<String>) -> Result<Writer, JournalError> {
        let in_file: u64 = self.meta("next_seq")?.and_then(|v| v.parse().ok()).unwrap_or(1);
        let in_memory = self.spill.rows()?.last().map_or(0, |row| row.seq + 1);
        let known = in_file.max(in_memory);
        let lost = mark.committed() >= known;
        let next_seq = if lost || damage.is_some() { known.max(mark.reserved()) } else { known };
        if next_seq > known {
            let text = next_seq.to_string();
            let jump = tables::set_meta(&self.connection, "next_seq", &text)
                .and_then(|()| tables::set_meta(&self.connection, "jump", &text));
            jump.map_err(|source| self.error(source))?;
        }
        let words = lost.then(|| {
            format!(
                "the journal ends with seq {}, but results up to seq {} were committed: its end was lost; seq goes on with {next_seq}",
                known - 1,
                mark.committed()
            )
        });
        let damage = match (damage, words) {
            (Some(first), Some(second)) => Some(format!("{first}; {second}")),
            (Some(first), None) => Some(format!("{first}; seq goes on with {next_seq}")),
            (None, words) => words,
        };
        let row_bytes = cap::row_bytes(&self.connection, 0).map_err(|source| self.error(source))?;
        Ok(Writer { device: device.into(), mark, next_seq, damage, row_bytes, scores: Vec::new() })
    }

    /// What was wrong with the journal when it was opened, in words.
    pub fn damage(&self) -> Option<&str> {
        self.writer.as_ref().and_then(|writer| writer.damage.as_deref())
    }

    fn error(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Sqlite { path: self.path.clone(), source }
    }

    fn meta(&self, key: &str) -> Result<Option<String>, JournalError> {
        tables::meta(&self.connection, key).map_err(|source| self.error(source))
    }

    /// Seq of the next result.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn next_seq(&self) -> Result<u64, JournalError> {
        match &self.writer {
            Some(writer) => Ok(writer.next_seq),
            None => Ok(self.meta("next_seq")?.and_then(|v| v.parse().ok()).unwrap_or(1)),
        }
    }

    /// Commits results in order, all or none, and gives their seqs; with them go results that
    /// were only in memory so far. A claim that already has a result keeps it. When the disk
    /// takes nothing, the results are kept in memory.
    ///
    /// # Errors
    /// When even that fails; then nothing is committed and the same entries can be tried again.
    pub fn commit(&mut self, entries: &mut [Entry<'_>]) -> Result<Committed, JournalError> {
        let on_disk = match self.commit_to_disk(entries) {
            Ok(seqs) => return Ok(Committed { seqs, only_in_memory: None }),
            Err(error) => error,
        };
        match self.commit_to_memory(entries) {
            Ok(seqs) => Ok(Committed { seqs, only_in_memory: Some(on_disk) }),
            Err(error) => {
                warn!(%error, "results cannot be kept in memory either");
                Err(on_disk)
            }
        }
    }

    fn commit_to_disk(&mut self, entries: &mut [Entry<'_>]) -> Result<Vec<u64>, JournalError> {
        let path = self.path.clone();
        let wrap = |source| JournalError::Sqlite { path: path.clone(), source };
        let waiting = self.spill.rows()?;
        if waiting.is_empty() && entries.is_empty() {
            return Ok(Vec::new());
        }
        let writer = self.writer.as_mut().expect("only the writer of results commits");
        let end = writer.next_seq.saturating_add(u64::try_from(entries.len()).unwrap_or_default());
        writer
            .mark
            .reserve(end)
            .map_err(|source| JournalError::Mark { path: SeqMark::path_of(&path), source })?;
        let transaction = begin(&self.connection).map_err(wrap)?;
        let mut write = || {
            for row in &waiting {
                row.insert(&transaction)?;
            }
            let scores = writer.scores.iter().map(|(key, score)| (key.as_str(), *score));
            insert_scores(&transaction, scores)?;
            let seqs = insert_all(&transaction, None, writer.next_seq, entries)?;
            insert_scores(&transaction, entries.iter().filter_map(|entry| entry.calibration))?;
            let next = seqs.iter().map(|seq| seq + 1).fold(writer.next_seq, u64::max);
            tables::set_meta(&transaction, "next_seq", &next.to_string())?;
            let first = waiting.first().map_or(writer.next_seq, |row| row.seq);
            Ok((seqs, next, cap::row_bytes(&transaction, first)?))
        };
        let (seqs, next, bytes) = write().map_err(wrap)?;
        transaction.commit().map_err(wrap)?;
        writer.scores.clear();
        writer.row_bytes += bytes;
        writer.next_seq = next;
        note_committed(writer);
        if let Err(error) = self.spill.forget(&waiting) {
            warn!(%error, "results stay in memory too");
        }
        Ok(seqs)
    }

    fn commit_to_memory(&mut self, entries: &mut [Entry<'_>]) -> Result<Vec<u64>, JournalError> {
        let writer = self.writer.as_mut().expect("only the writer of results commits");
        let memory = self.spill.make(&writer.device)?;
        let wrap = |source| JournalError::Sqlite { path: self.path.clone(), source };
        let transaction = begin(memory).map_err(wrap)?;
        let seqs =
            insert_all(&transaction, Some(&self.connection), writer.next_seq, entries).map_err(wrap)?;
        transaction.commit().map_err(wrap)?;
        let scores = entries.iter().filter_map(|entry| entry.calibration);
        writer.scores.extend(scores.map(|(key, score)| (key.to_owned(), score)));
        writer.next_seq = seqs.iter().map(|seq| seq + 1).fold(writer.next_seq, u64::max);
        // In place, so this often works when nothing else does. After a power cut, which
        // memory does not outlive, these seqs are not used again.
        note_committed(writer);
        Ok(seqs)
    }

    /// Where the scan of a claim belongs, when the claim already has its result on disk.
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

impl Drop for Journal {
    fn drop(&mut self) {
        if self.writer.is_some() {
            self.spill.remove_if_empty();
        }
    }
}

fn connect(path: &Path, synchronous: &str) -> Result<Connection, JournalError> {
    let wrap = |source| JournalError::Sqlite { path: path.into(), source };
    if let Some(folder) = path.parent() {
        // A folder that cannot be made shows as SQLite's "unable to open database file".
        let _ = std::fs::create_dir_all(folder);
    }
    let connection = Connection::open(path).map_err(wrap)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(wrap)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(wrap)?;
    connection.pragma_update(None, "synchronous", synchronous).map_err(wrap)?;
    Ok(connection)
}

fn begin(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
}

/// A mark that lags behind can only miss a loss; the reserved block still guards seq.
fn note_committed(writer: &mut Writer) {
    if let Err(error) = writer.mark.note_committed(writer.next_seq.saturating_sub(1)) {
        warn!(%error, "the last committed seq cannot be noted");
    }
}

/// Inserts results with the seqs from `next` on, or finds those that their claims already
/// have, here or in the other file.
fn insert_all(
    transaction: &Transaction<'_>,
    other: Option<&Connection>,
    mut next: u64,
    entries: &mut [Entry<'_>],
) -> rusqlite::Result<Vec<u64>> {
    let mut seqs = Vec::new();
    for entry in entries {
        let known = match seq_of(transaction, entry.claim_id)? {
            // The other file is on the failing disk: what it cannot tell is taken as new.
            None => other.and_then(|other| seq_of(other, entry.claim_id).ok().flatten()),
            known => known,
        };
        let seq = match known {
            Some(seq) => seq,
            None if Row::new(next, entry).insert(transaction)? => next,
            None => return Err(rusqlite::Error::StatementChangedRows(0)),
        };
        next = next.max(seq + 1);
        seqs.push(seq);
    }
    Ok(seqs)
}

fn seq_of(connection: &Connection, claim_id: &str) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT seq FROM results WHERE claim_id = ?1")?
        .query_row([claim_id], |row| row.get(0).map(from_sql))
        .optional()
}

fn insert_scores<'a>(
    transaction: &Transaction<'_>,
    scores: impl Iterator<Item = (&'a str, f32)>,
) -> rusqlite::Result<()> {
    for (key, score) in scores {
        transaction
            .prepare_cached(
                "INSERT INTO calibration SELECT ?1, coalesce(max(position), 0) + 1, ?2 FROM calibration WHERE key = ?1",
            )?
            .execute(params![key, score])?;
    }
    Ok(())
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
