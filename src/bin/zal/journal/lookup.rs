//! Finding the part of a result that a person speaks of.

use rusqlite::OptionalExtension;

use super::{Journal, JournalError, to_sql};

/// The part that a result is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundResult {
    /// The claim that it answers; the scan is kept under this name.
    pub claim_id: String,
    /// Recipe of the part.
    pub recipe: String,
    /// The whole id.
    pub result_id: String,
}

impl Journal {
    /// The result of an id (`{session}-{seq}`) or of a seq alone; none when the journal has none.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn find_result(&self, id: &str) -> Result<Option<FoundResult>, JournalError> {
        let (session, seq) = id.rsplit_once('-').map_or((None, id), |(session, seq)| (Some(session), seq));
        let Ok(seq) = seq.parse::<u64>() else { return Ok(None) };
        let row = self
            .connection
            .query_row("SELECT claim_id, session, body FROM results WHERE seq = ?1", [to_sql(seq)], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })
            .optional()
            .map_err(|source| self.error(source))?;
        let found = row.filter(|(_, of, _)| session.is_none_or(|session| session == of));
        Ok(found.map(|(claim_id, session, body)| {
            let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let recipe = body.get("recipe").and_then(serde_json::Value::as_str).unwrap_or_default();
            FoundResult { claim_id, recipe: recipe.into(), result_id: format!("{session}-{seq}") }
        }))
    }
}
