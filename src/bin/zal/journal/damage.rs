//! A journal that is damaged: found, set aside with its evidence, and what is left saved.
//!
//! At every start the whole file is checked: SQLite's own structure and indices, the names of
//! version and device, and the checksum of every row. When anything is wrong, the file with its
//! `-wal` is renamed to `{journal}.corrupt-{time}`, a `.reason.txt` is written beside it, and a
//! new journal begins with every row that still carries its checksum, so that un-acked results
//! are published after all. The daemon starts in any case; an alarm and an event say it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::row::Row;
use super::tables::{self, SCHEMA_VERSION, identity_sum, meta};
use super::{JournalError, connect, to_sql};

/// Seqs named one by one in a reason.
const NAMED_COUNT_MAX: usize = 20;

/// Why a file cannot be used as it is.
enum Fault {
    /// It is damaged: set aside.
    Damaged(String),
    /// It is not damaged but must not be used.
    Refused(JournalError),
}

/// A connection to a sound journal, made anew when there was none; what was wrong, in words.
///
/// # Errors
/// When the file cannot be used for another reason than damage, or not be set aside.
pub(super) fn open_sound(
    path: &Path,
    device: &str,
    now: &str,
) -> Result<(Connection, Option<String>), JournalError> {
    let reason = match sound(path, device) {
        Ok(connection) => return Ok((connection, None)),
        Err(Fault::Refused(error)) => return Err(error),
        Err(Fault::Damaged(reason)) => reason,
    };
    let aside = set_aside(path, now).map_err(|source| JournalError::Aside { path: path.into(), source })?;
    let saved = save(&aside).unwrap_or_default();
    let connection = connect(path, "FULL")?;
    let wrap = |source| JournalError::Sqlite { path: path.into(), source };
    tables::create(&connection, device).map_err(wrap)?;
    saved.write(&connection).map_err(wrap)?;
    let text =
        format!("the journal was damaged ({reason}) and is kept as {}; {}", aside.display(), saved.words());
    // The words are in the alarm and the event too.
    let _ = fs::write(with_suffix(&aside, ".reason.txt"), format!("{now}\n{text}\n"));
    Ok((connection, Some(text)))
}

/// Opens and checks a journal.
fn sound(path: &Path, device: &str) -> Result<Connection, Fault> {
    let connection = connect(path, "FULL").map_err(|error| match error {
        JournalError::Sqlite { source, .. } if is_damage(&source) => Fault::Damaged(source.to_string()),
        other => Fault::Refused(other),
    })?;
    let wrap = |source: rusqlite::Error| {
        if is_damage(&source) {
            Fault::Damaged(source.to_string())
        } else {
            Fault::Refused(JournalError::Sqlite { path: path.into(), source })
        }
    };
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(wrap)?;
    if verdict != "ok" {
        return Err(Fault::Damaged(verdict.replace('\n', " ")));
    }
    tables::create(&connection, device).map_err(wrap)?;
    check_names(&connection, path, device, &wrap)?;
    check_rows(&connection).map_err(wrap)?.map_or(Ok(connection), |reason| Err(Fault::Damaged(reason)))
}

/// Version and device.
fn check_names(
    connection: &Connection,
    path: &Path,
    device: &str,
    wrap: &dyn Fn(rusqlite::Error) -> Fault,
) -> Result<(), Fault> {
    let found = meta(connection, "device").map_err(wrap)?.unwrap_or_default();
    let sum = meta(connection, "identity_sum").map_err(wrap)?.unwrap_or_default();
    if sum != identity_sum(&found) {
        return Err(Fault::Damaged(format!("the name of the device, {found:?}, has another checksum")));
    }
    if found != device {
        let expected = device.into();
        return Err(Fault::Refused(JournalError::Device { path: path.into(), found, expected }));
    }
    let text = meta(connection, "schema_version").map_err(wrap)?.unwrap_or_default();
    match text.parse() {
        Ok(SCHEMA_VERSION) => Ok(()),
        Ok(found) => Err(Fault::Refused(JournalError::Version { path: path.into(), found })),
        Err(_) => Err(Fault::Damaged(format!("the schema version is {text:?}"))),
    }
}

/// Every row's checksum, and that the next seq follows the last row.
fn check_rows(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let (mut wrong, mut last) = (None, None);
    Row::each(connection, false, &mut |row| {
        last = Some(row.seq);
        if !row.is_sound() {
            wrong = Some(row.seq);
        }
        wrong.is_none()
    })?;
    if let Some(seq) = wrong {
        return Ok(Some(format!("the row of seq {seq} has another checksum")));
    }
    let next = meta(connection, "next_seq")?.unwrap_or_default();
    let expected = last.map(|seq| seq + 1);
    let jumped = meta(connection, "jump")?.is_some_and(|jump| jump == next);
    let fits = match next.parse::<u64>() {
        Ok(next) => expected.is_none_or(|expected| expected == next || (jumped && next > expected)),
        Err(_) => false,
    };
    Ok((!fits).then(|| format!("the next seq is {next:?} after the row of seq {}", last.unwrap_or_default())))
}

/// Whether SQLite's failure means that the content is wrong, not the disk or the rights.
fn is_damage(error: &rusqlite::Error) -> bool {
    /// SQLITE_IOERR_SHORT_READ: the file ends before its pages do.
    const SHORT_READ: i32 = 522;
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
                || failure.extended_code == SHORT_READ
        }
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// Renames the journal and its `-wal`; gives the new name.
fn set_aside(path: &Path, now: &str) -> io::Result<PathBuf> {
    let digits: String = now.chars().filter(char::is_ascii_alphanumeric).collect();
    let names = (0..).map(|count| match count {
        0 => with_suffix(path, &format!(".corrupt-{digits}")),
        _ => with_suffix(path, &format!(".corrupt-{digits}-{count}")),
    });
    let aside = names.into_iter().find(|name| !name.exists()).expect("one of endless names is free");
    let wal = with_suffix(path, "-wal");
    if wal.exists() {
        fs::rename(&wal, with_suffix(&aside, "-wal"))?;
    }
    // It belongs to the -wal by position and would be taken for a new one's.
    let _ = fs::remove_file(with_suffix(path, "-shm"));
    fs::rename(path, &aside)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
    Ok(aside)
}

/// What could be read of a damaged journal.
#[derive(Default)]
struct Saved {
    rows: BTreeMap<u64, Row>,
    calibration: Vec<(String, i64, f64)>,
    damaged: Vec<u64>,
}

/// Reads all that is left from both ends. SQLite works on a copy, so that the evidence stays
/// as it is; without room for one, the results are worth more than the evidence.
fn save(aside: &Path) -> Option<Saved> {
    let folder = aside.parent().unwrap_or(Path::new("/")).join(".journal-rescue");
    let copy = folder.join("copy.db");
    // Left behind by a start that was interrupted.
    let _ = fs::remove_dir_all(&folder);
    let copied = fs::create_dir(&folder).and_then(|()| {
        let wal = with_suffix(aside, "-wal");
        if wal.exists() {
            fs::copy(wal, with_suffix(&copy, "-wal"))?;
        }
        fs::copy(aside, &copy)
    });
    let connection = copied.ok().and_then(|_| Connection::open(&copy).ok());
    let connection = connection.or_else(|| Connection::open(aside).ok());
    let saved = connection.as_ref().map(read_what_is_left);
    drop(connection);
    let _ = fs::remove_dir_all(&folder);
    saved
}

fn read_what_is_left(connection: &Connection) -> Saved {
    let mut saved = Saved::default();
    for descending in [false, true] {
        let mut take = |row: Row| {
            let known = saved.rows.contains_key(&row.seq) || saved.damaged.contains(&row.seq);
            if row.is_sound() {
                saved.rows.insert(row.seq, row);
            } else if !known {
                saved.damaged.push(row.seq);
            }
            !(descending && known)
        };
        // Where it cannot be read, the other end may go further.
        let _ = Row::each(connection, descending, &mut take);
    }
    saved.calibration = calibration(connection).unwrap_or_default();
    saved
}

fn calibration(connection: &Connection) -> rusqlite::Result<Vec<(String, i64, f64)>> {
    let mut statement =
        connection.prepare("SELECT key, position, score FROM calibration ORDER BY key, position")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

impl Saved {
    /// Begins a new journal with it.
    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let transaction = connection.unchecked_transaction()?;
        self.rows.values().try_for_each(|row| row.insert(&transaction).map(|_| ()))?;
        for (key, position, score) in self.calibration.iter().filter(|(_, _, score)| score.is_finite()) {
            transaction
                .execute("INSERT OR IGNORE INTO calibration VALUES (?1, ?2, ?3)", (key, position, score))?;
        }
        if let Some((last, _)) = self.rows.last_key_value() {
            tables::set_meta(&transaction, "next_seq", &to_sql(last + 1).to_string())?;
        }
        transaction.commit()
    }

    /// What was saved and what was not.
    fn words(&self) -> String {
        let (Some((first, _)), Some((last, _))) = (self.rows.first_key_value(), self.rows.last_key_value())
        else {
            return "none of its results could be read".into();
        };
        let missing: Vec<u64> = (*first..*last).filter(|seq| !self.rows.contains_key(seq)).collect();
        let named: Vec<String> = missing.iter().take(NAMED_COUNT_MAX).map(u64::to_string).collect();
        let more = if missing.len() > named.len() { " and others" } else { "" };
        let lost = match missing.len() {
            0 => "none between them is missing".to_owned(),
            count => format!("{count} between them cannot be read: seq {}{more}", named.join(", ")),
        };
        format!("{} results, seq {first} to {last}, were saved, {lost}", self.rows.len())
    }
}

/// A path with something after its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
