//! One row of the table `results`, with the checksum that tells a flipped bit in it.

use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use super::{Entry, from_sql, to_sql};

/// Columns in the order of [`Row::from_sql`] and [`Row::insert`].
const COLUMNS: &str = "seq, claim_id, part_id, evaluation, score, created_utc, session, body, disposition, alert, \
                       result_acked, alert_acked, row_sum";

/// A committed result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) seq: u64,
    claim_id: String,
    pub(super) part_id: String,
    evaluation: String,
    score: Option<f64>,
    created_utc: String,
    session: String,
    body: String,
    disposition: String,
    alert: bool,
    result_acked: bool,
    alert_acked: bool,
    sum: Option<i64>,
}

impl Row {
    /// The row of a new result.
    pub(super) fn new(seq: u64, entry: &mut Entry<'_>) -> Self {
        let mut row = Self {
            seq,
            claim_id: entry.claim_id.into(),
            part_id: entry.part_id.into(),
            evaluation: entry.evaluation.into(),
            // SQLite knows no NaN.
            // SQLite gives -0 back as 0.
            score: entry.score.filter(|score| score.is_finite()).map(|score| f64::from(score) + 0.0),
            created_utc: entry.created_utc.into(),
            session: entry.session.into(),
            body: (entry.body)(seq),
            disposition: entry.disposition.as_str().into(),
            alert: entry.evaluation != "ok",
            result_acked: false,
            alert_acked: false,
            sum: None,
        };
        row.sum = Some(row.digest());
        row
    }

    /// First 8 bytes of the sha256 over everything that never changes.
    fn digest(&self) -> i64 {
        let fixed = [
            &self.claim_id,
            &self.part_id,
            &self.evaluation,
            &self.created_utc,
            &self.session,
            &self.body,
            &self.disposition,
        ];
        let mut hasher = Sha256::new();
        hasher.update(self.seq.to_le_bytes());
        hasher.update([u8::from(self.alert)]);
        hasher.update(self.score.map_or([0xFF; 8], f64::to_le_bytes));
        for text in fixed {
            hasher.update(text.len().to_le_bytes());
            hasher.update(text.as_bytes());
        }
        let bytes = hasher.finalize();
        i64::from_le_bytes(std::array::from_fn(|i| bytes[i]))
    }

    /// Whether it is as it was committed. Rows of the first version carry no checksum.
    pub(super) fn is_sound(&self) -> bool {
        self.sum.is_none_or(|sum| sum == self.digest())
    }

    /// Hands every row to `take` in the order of seq, until one cannot be read or `take` says no.
    pub(super) fn each(
        connection: &Connection,
        descending: bool,
        take: &mut dyn FnMut(Self) -> bool,
    ) -> rusqlite::Result<()> {
        let order = if descending { "DESC" } else { "ASC" };
        let sql = format!("SELECT {COLUMNS} FROM results NOT INDEXED ORDER BY seq {order}");
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !take(Self::from_sql(row)?) {
                break;
            }
        }
        Ok(())
    }

    fn from_sql(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: from_sql(row.get(0)?),
            claim_id: row.get(1)?,
            part_id: row.get(2)?,
            evaluation: row.get(3)?,
            score: row.get(4)?,
            created_utc: row.get(5)?,
            session: row.get(6)?,
            body: row.get(7)?,
            disposition: row.get(8)?,
            alert: row.get(9)?,
            result_acked: row.get(10)?,
            alert_acked: row.get(11)?,
            sum: row.get(12)?,
        })
    }

    /// Writes the row; one with the same seq or claim stays as it is. Whether it was written.
    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = format!(
            "INSERT OR IGNORE INTO results ({COLUMNS})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        );
        connection
            .prepare_cached(&sql)?
            .execute(params![
                to_sql(self.seq),
                self.claim_id,
                self.part_id,
                self.evaluation,
                self.score,
                self.created_utc,
                self.session,
                self.body,
                self.disposition,
                self.alert,
                self.result_acked,
                self.alert_acked,
                self.sum
            ])
            .map(|count| count > 0)
    }
}
