//! What the broker has not confirmed yet, per lane, on disk and in memory.

use rusqlite::{Connection, params};

use super::{Journal, JournalError, begin, from_sql, to_sql};

/// The topic that a row goes to. Each has its own confirmations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// `/alert`: only parts that are not ok.
    Alert,
    /// `/result`: every part.
    Result,
}

/// One way of a row to the broker: what a confirmation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sending {
    /// Where it goes.
    pub lane: Lane,
    /// Seq of the result.
    pub seq: u64,
    /// Number of the replay that asked for it; 0 when nobody did. A confirmation that was on its way when the
    /// replay was asked for says nothing about the replay.
    pub replay: u64,
}

/// One row to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Seq of the result.
    pub seq: u64,
    /// Its JSON as committed.
    pub body: String,
    /// Number of the replay that asked for it; 0 when nobody did.
    pub replay: u64,
}

impl Journal {
    /// Up to `count_max` unconfirmed rows of a lane with a seq in `from..until`, in order.
    ///
    /// # Errors
    /// When SQLite fails and nothing is in memory either.
    pub fn unacked(
        &self,
        lane: Lane,
        range: std::ops::Range<u64>,
        count_max: usize,
    ) -> Result<Vec<Outgoing>, JournalError> {
        let on_disk = read(&self.connection, lane, &range, count_max);
        let in_memory = self.spill.with(Ok(Vec::new()), |memory| read(memory, lane, &range, count_max))?;
        let mut rows = match on_disk {
            Ok(rows) => rows,
            // A disk that cannot be read must not silence what is in memory.
            Err(source) if in_memory.is_empty() => return Err(self.error(source)),
            Err(_) => Vec::new(),
        };
        // Rows in memory follow all rows on disk; one that is being taken over is in both.
        let last = rows.last().map(|row| row.seq);
        if rows.len() < count_max {
            rows.extend(in_memory.into_iter().filter(|row| last.is_none_or(|last| row.seq > last)));
        }
        rows.truncate(count_max);
        Ok(rows)
    }

    /// Notes that the broker has confirmed these rows.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn ack(&mut self, rows: &[Sending]) -> Result<(), JournalError> {
        let mut on_disk = Vec::new();
        for row in rows {
            let in_memory = self.spill.with(Ok(false), |memory| confirm(memory, *row))?;
            if !in_memory {
                on_disk.push(*row);
            }
        }
        if on_disk.is_empty() {
            return Ok(());
        }
        let write = || {
            let transaction = begin(&self.connection)?;
            for row in &on_disk {
                confirm(&transaction, *row)?;
            }
            transaction.commit()
        };
        write().map_err(|source| self.error(source))
    }

    /// Number of results that the broker has not confirmed.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn depth(&self) -> Result<u64, JournalError> {
        let count = |connection: &Connection| {
            connection
                .prepare_cached("SELECT count(*) FROM results WHERE result_acked = 0")
                .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
                .map(from_sql)
        };
        let on_disk = count(&self.connection).map_err(|source| self.error(source))?;
        Ok(on_disk + self.spill.with(Ok(0), count)?)
    }
}

fn read(
    connection: &Connection,
    lane: Lane,
    range: &std::ops::Range<u64>,
    count_max: usize,
) -> rusqlite::Result<Vec<Outgoing>> {
    let sql = match lane {
        Lane::Alert => {
            "SELECT seq, body, replay FROM results WHERE alert = 1 AND alert_acked = 0
             AND seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT ?3"
        }
        Lane::Result => {
            "SELECT seq, body, replay FROM results WHERE result_acked = 0
             AND seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT ?3"
        }
    };
    let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
    connection
        .prepare_cached(sql)?
        .query_map(params![to_sql(range.start), to_sql(range.end), count_max], |row| {
            Ok(Outgoing { seq: from_sql(row.get(0)?), body: row.get(1)?, replay: from_sql(row.get(2)?) })
        })?
        .collect()
}

/// Whether the row is in this file and this sending was the one that it waited for.
fn confirm(connection: &Connection, sending: Sending) -> rusqlite::Result<bool> {
    let seq = to_sql(sending.seq);
    let changed = match sending.lane {
        Lane::Alert => {
            connection.prepare_cached("UPDATE results SET alert_acked = 1 WHERE seq = ?1")?.execute([seq])?
        }
        Lane::Result => connection
            .prepare_cached("UPDATE results SET result_acked = 1, replay = 0 WHERE seq = ?1 AND replay = ?2")?
            .execute([seq, to_sql(sending.replay)])?,
    };
    Ok(changed > 0)
}
