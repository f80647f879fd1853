//! Where results wait while the journal's disk takes nothing: a second journal file in memory.
//!
//! A full, failing or read-only disk must not silence the line. Results that cannot be
//! committed go into a file of the same tables in `journal.spill_dir` (a tmpfs), with the seqs
//! that follow, and are published from there. Their scans stay in `work/` until the journal
//! has taken the rows over, which is tried with every commit and every second. The file
//! outlives the process but not a power cut: then those scans, still in `work/`, are judged
//! again.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::row::Row;
use super::{JournalError, connect, tables};

/// Rows that are kept in memory at most: some 100 MB.
const ROWS_MAX: u64 = 100_000;

/// The file of one journal, opened when it is there.
pub(super) struct Spill {
    path: PathBuf,
    connection: OnceCell<Connection>,
}

impl Spill {
    /// The file that belongs to a journal.
    pub(super) fn of(journal: &Path, dir: &Path) -> Self {
        let absolute = std::path::absolute(journal).unwrap_or_else(|_| journal.into());
        let name: String = Sha256::digest(absolute.as_os_str().as_encoded_bytes())
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let path = dir.join(format!("zal-{name}")).join("spill.db");
        Self { path, connection: OnceCell::new() }
    }

    /// The connection, when results have ever been put there.
    pub(super) fn get(&self) -> Option<&Connection> {
        if self.connection.get().is_none() && self.path.exists() && is_ours(self.folder()) {
            let connection = connect(&self.path, "OFF").ok()?;
            // Set by nobody else: the cell is not shared between threads.
            let _ = self.connection.set(connection);
        }
        self.connection.get()
    }

    /// The connection; the file is made when there is none.
    ///
    /// # Errors
    /// When it cannot be made, or is full.
    pub(super) fn make(&self, device: &str) -> Result<&Connection, JournalError> {
        let wrap_io = |source| JournalError::Spill { path: self.path.clone(), source };
        if self.get().is_none() {
            match fs::DirBuilder::new().mode(0o700).create(self.folder()) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(wrap_io(error)),
                _ => {}
            }
            if !is_ours(self.folder()) {
                return Err(wrap_io(io::Error::other("the folder belongs to another user")));
            }
            let connection = connect(&self.path, "OFF")?;
            let wrap = |source| JournalError::Sqlite { path: self.path.clone(), source };
            tables::create(&connection, device).map_err(wrap)?;
            let _ = self.connection.set(connection);
        }
        let connection = self.connection.get().expect("set just before");
        if self.row_count()? >= ROWS_MAX {
            return Err(wrap_io(io::Error::other(format!(
                "it holds {ROWS_MAX} results, which is all it may"
            ))));
        }
        Ok(connection)
    }

    /// All rows, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn rows(&self) -> Result<Vec<Row>, JournalError> {
        let mut rows = Vec::new();
        self.with(Ok(()), |connection| {
            Row::each(connection, false, &mut |row| {
                rows.push(row);
                true
            })
        })?;
        Ok(rows)
    }

    /// Number of rows.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn row_count(&self) -> Result<u64, JournalError> {
        self.with(Ok(0), |connection| {
            connection
                .prepare_cached("SELECT count(*) FROM results")?
                .query_row([], |row| row.get(0).map(super::from_sql))
        })
    }

    /// Forgets what the journal has taken over.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(super) fn forget(&self, rows: &[Row]) -> Result<(), JournalError> {
        let Some(last) = rows.last() else { return Ok(()) };
        self.with(Ok(()), |connection| {
            connection.execute("DELETE FROM results WHERE seq <= ?1", [super::to_sql(last.seq)]).map(|_| ())
        })
    }

    /// Removes the folder when nothing is in it.
    pub(super) fn remove_if_empty(&self) {
        if self.get().is_some() && self.row_count().is_ok_and(|count| count == 0) {
            // The publisher's open connection keeps an empty file, which harms nobody.
            let _ = fs::remove_dir_all(self.folder());
        }
    }

    /// Asks the file, when there is one.
    pub(super) fn with<T>(
        &self,
        without: rusqlite::Result<T>,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        self.get()
            .map_or(without, ask)
            .map_err(|source| JournalError::Sqlite { path: self.path.clone(), source })
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// `/dev/shm` is everyone's: a folder that someone else made there is not touched.
fn is_ours(folder: &Path) -> bool {
    let owner = |path: &Path| fs::symlink_metadata(path).map(|meta| (meta.uid(), meta.is_dir()));
    match (owner(folder), owner(Path::new("/proc/self"))) {
        (Ok((theirs, true)), Ok((ours, _))) => theirs == ours,
        _ => false,
    }
}
