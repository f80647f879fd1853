//! Exit codes and the error that carries one: the one table of DESIGN section 4.

use std::process::ExitCode;

/// How the program ends. The numbers are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All well.
    Ok = 0,
    /// At least one part is not ok.
    NotOk = 10,
    /// At least one part could not be judged (and none is not ok).
    NotDecidable = 11,
    /// The self-test's figures do not match.
    SelfTestMismatch = 12,
    /// An update was rolled back.
    RolledBack = 13,
    /// The command line is wrong.
    Usage = 64,
    /// The input's content is wrong.
    BadData = 65,
    /// The input is not there.
    NoInput = 66,
    /// A server or library is not available.
    Unavailable = 69,
    /// A bug in zal.
    Bug = 70,
    /// Reading or writing failed.
    Io = 74,
    /// A signature or permission refuses it.
    Refused = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command's failure: the exit code, the chain of causes, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What went wrong.
    pub error: anyhow::Error,
    /// What the person can do.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What a command returns.
pub type CommandResult = Result<Exit, Failure>;
