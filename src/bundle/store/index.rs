//! The store's state: one JSON file with its own checksum.
//!
//! ```text
//! line 1   sha256 of line 2, lower-case hexadecimal
//! line 2   the index, JSON
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{StoreError, short};
use crate::bundle::archive::hex;

/// Format of the index.
const FORMAT: &str = "zal.store/1";

/// What the store knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// `zal.store/1`.
    pub format: String,
    /// The bundle that judges.
    pub current: Option<String>,
    /// The bundle that judged before.
    pub previous: Option<String>,
    /// Bundles below this are refused.
    pub security_epoch: u32,
    /// Security epoch of every bundle that was tested or came with the device.
    pub epochs: BTreeMap<String, u32>,
    /// What the update does.
    pub phase: Phase,
}

/// What the update does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// Nothing.
    Idle,
    /// A candidate is being tested; the bundle before judges.
    Testing {
        /// The candidate.
        candidate: String,
    },
    /// A candidate was tested; the bundle before judges.
    Ready {
        /// The candidate.
        candidate: String,
    },
    /// The new bundle judges and has to prove itself.
    Trial(Trial),
    /// The new bundle has proved itself.
    Confirmed,
    /// A candidate did not pass; the bundle before judges as ever.
    Failed {
        /// The candidate.
        candidate: String,
        /// Why.
        setback: Setback,
    },
    /// A bundle on trial did not prove itself; the one before judges again.
    RolledBack {
        /// The bundle that was on trial.
        from: String,
        /// Why.
        setback: Setback,
    },
}

impl Phase {
    /// Its name in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Testing { .. } => "testing",
            Self::Ready { .. } => "ready",
            Self::Trial(_) => "trial",
            Self::Confirmed => "confirmed",
            Self::Failed { .. } => "failed",
            Self::RolledBack { .. } => "rolled_back",
        }
    }
}

/// How much a bundle on trial still has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Starts of the daemon that are left before the bundle before comes back.
    pub boots_left: u32,
    /// Parts still to be judged.
    pub parts_left: u32,
    /// Whether a person has to confirm it.
    pub manual: bool,
    /// Microseconds that the bundle before took for a part of this line, the median; none until it is known.
    #[serde(default)]
    pub baseline_us: Option<u64>,
}

/// What a trial asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialRules {
    /// Starts of the daemon that it may take.
    pub boots: u32,
    /// Parts that it has to judge.
    pub parts: u32,
    /// Whether a person has to confirm it whatever it judges.
    pub manual: bool,
}

impl Default for TrialRules {
    fn default() -> Self {
        Self { boots: 3, parts: 20, manual: false }
    }
}

impl fmt::Display for TrialRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.manual { "by hand" } else { "by itself" };
        write!(f, "{} parts, {} starts, confirmed {by}", self.parts, self.boots)
    }
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetbackCode {
    /// The golden scans gave other figures.
    SelfTest,
    /// Slower than the line allows.
    Latency,
    /// The process ended while it was loaded or judged.
    Crash,
    /// It took more memory than the test allows.
    Memory,
    /// One scan kept it for too long.
    Hang,
    /// It judges too many parts differently from the bundle before.
    Disagreement,
    /// It cannot be loaded here.
    Load,
    /// The test did not end in time, or was interrupted.
    Interrupted,
    /// A trial used up its starts.
    Boots,
    /// A person asked for it.
    Manual,
    /// Its file was damaged.
    Damaged,
}

impl SetbackCode {
    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SelfTest => "self_test",
            Self::Latency => "latency",
            Self::Crash => "crash",
            Self::Memory => "memory",
            Self::Hang => "hang",
            Self::Disagreement => "disagreement",
            Self::Load => "load",
            Self::Interrupted => "interrupted",
            Self::Boots => "boots",
            Self::Manual => "manual",
            Self::Damaged => "damaged",
        }
    }
}

/// Why a bundle is not in charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setback {
    /// What went wrong.
    pub code: SetbackCode,
    /// In words.
    pub words: String,
}

impl Setback {
    /// A setback.
    #[must_use]
    pub fn new(code: SetbackCode, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.words)
    }
}

impl Index {
    /// That of a device with its factory bundle, if it has one.
    pub(super) fn of_factory(factory: Option<String>) -> Self {
        Self {
            format: FORMAT.into(),
            current: factory,
            previous: None,
            security_epoch: 0,
            epochs: BTreeMap::new(),
            phase: Phase::Idle,
        }
    }

    /// Whether a bundle must stay.
    #[must_use]
    pub fn refers_to(&self, sha256: &str) -> bool {
        let candidate = match &self.phase {
            Phase::Testing { candidate } | Phase::Ready { candidate } => Some(candidate.as_str()),
            _ => None,
        };
        [self.current.as_deref(), self.previous.as_deref(), candidate].contains(&Some(sha256))
    }

    pub(super) fn current_short(&self) -> &str {
        self.current.as_deref().map_or("no bundle", short)
    }

    pub(super) fn expect_no_trial(&self) -> Result<(), StoreError> {
        let Phase::Trial(trial) = &self.phase else { return Ok(()) };
        Err(StoreError::Phase {
            found: format!("{} on trial, {} parts to go", self.current_short(), trial.parts_left),
            expected: "no trial: end it with `zal model confirm` or `zal model rollback` first",
        })
    }

    pub(super) fn expect_candidate(&self, sha256: &str) -> Result<(), StoreError> {
        match &self.phase {
            Phase::Testing { candidate } if candidate == sha256 => Ok(()),
            other => Err(StoreError::Phase {
                found: format!("the state `{}`", other.name()),
                expected: "a test of this bundle",
            }),
        }
    }

    pub(super) fn expect_ready(&self, sha256: &str) -> Result<(), StoreError> {
        match &self.phase {
            Phase::Ready { candidate } if candidate == sha256 => Ok(()),
            other => Err(StoreError::Phase {
                found: format!("the state `{}`", other.name()),
                expected: "`ready`: a bundle that passed its test (`zal model install` tests it)",
            }),
        }
    }

    /// The new bundle judges, the one before is kept. A bundle that is current already keeps its
    /// forerunner.
    pub(super) fn switch_to(&mut self, sha256: &str, rules: TrialRules) {
        if self.current.as_deref() != Some(sha256) {
            self.previous = self.current.replace(sha256.to_owned());
        }
        let TrialRules { boots, parts, manual } = rules;
        self.phase = Phase::Trial(Trial { boots_left: boots, parts_left: parts, manual, baseline_us: None });
    }

    /// Counts a start on trial; rolls back when none is left.
    pub(super) fn count_boot(&mut self, factory: Option<&str>) -> Option<Setback> {
        let Phase::Trial(trial) = &mut self.phase else { return None };
        if trial.boots_left > 0 {
            trial.boots_left -= 1;
            return None;
        }
        let words = "the daemon was started again and again without enough parts judged in between";
        let setback = Setback::new(SetbackCode::Boots, words);
        // Without a bundle before, the one on trial is all there is.
        self.roll_back(factory, &setback).ok().map(|_| setback)
    }

    /// Gives a start of the trial back: the daemon ended in order.
    pub(super) fn return_boot(&mut self) {
        if let Phase::Trial(trial) = &mut self.phase {
            trial.boots_left = trial.boots_left.saturating_add(1);
        }
    }

    /// Counts judged parts of a trial; confirms when none is left, unless a person has to.
    pub(super) fn count_parts(&mut self, count: u32) -> bool {
        let Phase::Trial(trial) = &mut self.phase else { return false };
        trial.parts_left = trial.parts_left.saturating_sub(count);
        trial.parts_left == 0 && !trial.manual
    }

    /// What judges now is wanted: a trial has ended well, or a setback has been taken note of.
    pub(super) fn confirm(&mut self) -> Result<(), StoreError> {
        match self.phase {
            Phase::Trial(_) => {
                let epoch = self.current.as_deref().map_or(0, |current| self.epoch_of(current));
                self.security_epoch = self.security_epoch.max(epoch);
            }
            Phase::Failed { .. } | Phase::RolledBack { .. } => {}
            _ => {
                return Err(StoreError::Phase {
                    found: format!("the state `{}`", self.phase.name()),
                    expected: "a bundle on trial, or one that failed or was rolled back",
                });
            }
        }
        self.phase = Phase::Confirmed;
        Ok(())
    }

    pub(super) fn epoch_of(&self, sha256: &str) -> u32 {
        self.epochs.get(sha256).copied().unwrap_or_default()
    }

    /// Whether the device may go back to a bundle.
    pub(super) fn allows(&self, sha256: &str) -> bool {
        self.epoch_of(sha256) >= self.security_epoch
    }

    /// The bundle that judges again.
    pub(super) fn roll_back(
        &mut self,
        factory: Option<&str>,
        setback: &Setback,
    ) -> Result<String, StoreError> {
        let from = self.current.clone().unwrap_or_default();
        let before = [self.previous.take(), factory.map(str::to_owned)];
        let mut before = before.into_iter().flatten().filter(|to| *to != from).peekable();
        let first = before.peek().cloned();
        let Some(to) = before.find(|to| self.allows(to)) else {
            return Err(first.map_or_else(
                || StoreError::Phase {
                    found: "no bundle before this one and no other factory bundle".into(),
                    expected: "one to go back to",
                },
                |first| StoreError::Epoch {
                    found: self.epoch_of(&first),
                    bundle: short(&first).into(),
                    lowest: self.security_epoch,
                },
            ));
        };
        self.current = Some(to.clone());
        self.phase = Phase::RolledBack { from, setback: setback.clone() };
        Ok(to)
    }
}

/// What is there.
pub(super) enum Read {
    /// A whole index.
    Whole(Index),
    /// No file.
    Missing,
    /// Something else, in words.
    Damaged(String),
}

pub(super) fn read(path: &Path) -> Result<Read, StoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(parse(&bytes).map_or_else(Read::Damaged, Read::Whole)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Read::Missing),
        Err(source) => Err(StoreError::Io { path: path.into(), source }),
    }
}

fn parse(bytes: &[u8]) -> Result<Index, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let (sum, json) = text.split_once('\n').ok_or("no checksum")?;
    let json = json.strip_suffix('\n').ok_or("it is cut off")?;
    let found = hex(&Sha256::digest(json.as_bytes()));
    if found != sum {
        return Err(format!("its checksum is {found}, expected {sum}"));
    }
    let index: Index = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if index.format == FORMAT {
        Ok(index)
    } else {
        Err(format!("format {}, expected {FORMAT}", index.format))
    }
}

pub(super) fn text(index: &Index) -> String {
    let json = serde_json::to_string(index).expect("an index is plain data");
    format!("{}\n{json}\n", hex(&Sha256::digest(json.as_bytes())))
}
