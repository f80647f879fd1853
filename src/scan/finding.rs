//! [`Finding`]: one thing worth saying about a scan, with a stable code, in words.

use std::fmt;

use serde::Serialize;

use super::error::ScanError;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The scan is used, but its judgement may suffer.
    Warning,
    /// The scan is refused.
    Error,
}

/// One thing worth saying about a scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable code of the reason.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
    /// What a person can do.
    pub advice: String,
}

impl Finding {
    pub(crate) fn warning(code: &'static str, found: String, expected: &str, advice: &str) -> Self {
        Self { code, severity: Severity::Warning, found, expected: expected.into(), advice: advice.into() }
    }
}

impl From<&ScanError> for Finding {
    fn from(error: &ScanError) -> Self {
        let (found, expected) = match (error.details(), error) {
            (Some(details), _) => (details.found.clone(), details.expected.clone()),
            (None, ScanError::Read { source, .. }) => (source.to_string(), "a readable file".into()),
            (None, _) => (error.to_string(), String::new()),
        };
        Self { code: error.code(), severity: Severity::Error, found, expected, advice: error.advice().into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, found, expected, advice, .. } = self;
        write!(f, "{code}: found {found}; expected {expected}; {advice}")
    }
}
