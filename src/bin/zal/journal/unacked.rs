//! What the broker has not confirmed yet, per lane.

use rusqlite::params;

use super::{Journal, JournalError, from_sql, to_sql};

/// The topic that a row goes to. Each has its own confirmations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// `/alert`: only parts that are not ok.
    Alert,
    /// `/result`: every part.
    Result,
}

/// One row to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Seq of the result.
    pub seq: u64,
    /// Its JSON as committed.
    pub body: String,
    /// Whether someone asked for it again.
    pub replayed: bool,
}

impl Journal {
    /// Up to `count_max` unconfirmed rows of a lane with a seq in `from..until`, in order.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn unacked(
        &self,
        lane: Lane,
        range: std::ops::Range<u64>,
        count_max: usize,
    ) -> Result<Vec<Outgoing>, JournalError> {
        let sql = match lane {
            Lane::Alert => {
                "SELECT seq, body, seq IN replays FROM results WHERE alert = 1 AND alert_acked = 0
                 AND seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT ?3"
            }
            Lane::Result => {
                "SELECT seq, body, seq IN replays FROM results WHERE result_acked = 0
                 AND seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT ?3"
            }
        };
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        let read = || {
            self.connection
                .prepare_cached(sql)?
                .query_map(params![to_sql(range.start), to_sql(range.end), count_max], |row| {
                    Ok(Outgoing { seq: from_sql(row.get(0)?), body: row.get(1)?, replayed: row.get(2)? })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.error(source))
    }

    /// Notes that the broker has confirmed these rows.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn ack(&mut self, rows: &[(Lane, u64)]) -> Result<(), JournalError> {
        let mut write = || {
            let transaction =
                self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for (lane, seq) in rows {
                let sql = match lane {
                    Lane::Alert => "UPDATE results SET alert_acked = 1 WHERE seq = ?1",
                    Lane::Result => "UPDATE results SET result_acked = 1 WHERE seq = ?1",
                };
                transaction.prepare_cached(sql)?.execute([to_sql(*seq)])?;
            }
            transaction.commit()
        };
        let outcome = write();
        outcome.map_err(|source| self.error(source))
    }

    /// Number of results that the broker has not confirmed.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn depth(&self) -> Result<u64, JournalError> {
        self.connection
            .prepare_cached("SELECT count(*) FROM results WHERE result_acked = 0")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map(from_sql)
            .map_err(|source| self.error(source))
    }
}
