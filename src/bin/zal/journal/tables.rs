//! The tables of a journal file and what the file says of itself.
//!
//! ```text
//! meta         key, value                            schema version, device, next_seq, identity_sum, replay_count
//! results      seq (gap-free), claim_id (unique), part_id, evaluation, score, created_utc, session,
//!              body (JSON), disposition, alert, result_acked, alert_acked, row_sum, replay
//! calibration  key, position, score                  first scores per bundle, mode, engine, recipe
//! events       id, created_utc, code, text           what an operator should be able to look up
//! drops        kind, count, last_seq                 rows removed because of the size limit
//! ```

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

/// Version of the tables. Version 1, without `row_sum`, `replay` and `drops`, is brought up to it.
pub(super) const SCHEMA_VERSION: i64 = 2;

/// Makes the tables that are missing.
pub(super) fn create(connection: &Connection, device: &str) -> rusqlite::Result<()> {
    connection.execute_batch(
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
             alert_acked INTEGER NOT NULL DEFAULT 0,
             row_sum INTEGER,
             replay INTEGER NOT NULL DEFAULT 0);
         CREATE INDEX IF NOT EXISTS results_unacked ON results (seq) WHERE result_acked = 0;
         CREATE INDEX IF NOT EXISTS alerts_unacked ON results (seq) WHERE alert = 1 AND alert_acked = 0;
         CREATE TABLE IF NOT EXISTS calibration (
             key TEXT NOT NULL, position INTEGER NOT NULL, score REAL NOT NULL,
             PRIMARY KEY (key, position)) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS events (
             id INTEGER PRIMARY KEY, created_utc TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS drops (
             kind TEXT PRIMARY KEY, count INTEGER NOT NULL, last_seq INTEGER NOT NULL) WITHOUT ROWID;
         INSERT OR IGNORE INTO meta VALUES ('schema_version', '2'), ('next_seq', '1');
         COMMIT;",
    )?;
    keep_meta(connection, "device", device)?;
    if meta(connection, "schema_version")?.as_deref() == Some("1") {
        connection.execute_batch(
            "BEGIN IMMEDIATE;
             ALTER TABLE results ADD COLUMN row_sum INTEGER;
             ALTER TABLE results ADD COLUMN replay INTEGER NOT NULL DEFAULT 0;
             UPDATE meta SET value = '2' WHERE key = 'schema_version';
             COMMIT;",
        )?;
    }
    let named = meta(connection, "device")?.unwrap_or_default();
    keep_meta(connection, "identity_sum", &identity_sum(&named))
}

/// A value of the table `meta`.
pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Sets a value of the table `meta`.
pub(super) fn set_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
        .execute([key, value])
        .map(|_| ())
}

fn keep_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection.execute("INSERT OR IGNORE INTO meta VALUES (?1, ?2)", [key, value]).map(|_| ())
}

/// Tells another device's name from a damaged one.
pub(super) fn identity_sum(device: &str) -> String {
    Sha256::digest(device.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
