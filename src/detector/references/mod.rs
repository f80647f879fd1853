//! The reference set of one product: what a line's scans are compared with, learned from the line itself.
//!
//! ```text
//! anchors   scans that a person confirmed good, their colour turned all round
//! buffer    the last N scans of the line, unlabelled, the scan itself left out
//! bank      the bundle's, of foreign parts
//!
//! described scan ── look ──> distances to every reference ── judge ──> scores, verdict
//!                                                        └── admit ──> the buffer, the oldest leaves
//! ```
//!
//! Each source may be missing. Every patch takes its distance to the nearest row of each reference scan;
//! these become one ([`Combination`](crate::bank::reference::Combination)), branch by branch, and the
//! branches are fused late. The threshold comes from the set's own leave-one-out scores.
//!
//! All of it is incremental. Judging searches every reference once. Admitting a scan uses what judging
//! found, and compares a few members (`change.rs`) anew whose distances are out of date, so a scan
//! costs a constant number of searches, linear in the number of references, and the memory is bounded
//! ([`ReferenceRules::bytes_max`]). A full buffer needs no such comparison: each scan was judged against
//! the N before it, as the next one will be.

mod change;
mod described;
mod drift;
mod file;
mod hidden;
mod limit;
mod look;
mod member;
mod rules;
mod standing;
mod warm_up;
mod warnings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::late::LateFusion;
use super::params::ModeParams;
use crate::bank::reference::ReferenceSet;
use crate::bank::search::SearchError;

pub use change::Admission;
pub use described::{Candidate, DescribedScan, ScanFacts, TurnedRows};
pub use drift::{Drift, Moved, Quantity};
pub use file::{FileError, StoredMember, decode, encode};
pub use limit::{Limit, OwnScore, limit_of, stepped};
pub use look::{Judgement, Look};
pub use member::{Against, Distances, Member, Source};
pub use rules::ReferenceRules;
pub use standing::{Decision, Spreads};
pub use warm_up::{Missing, rate_words};
pub use warnings::{Warning, WarningCode};

use standing::Standing;

/// The references of one product; see the module's documentation.
#[derive(Debug, Clone)]
pub struct References {
    rules: ReferenceRules,
    /// The fusion with the bundle's spreads, until the set's own are known.
    prior: LateFusion,
    /// One set a branch, all of the same scans in the order of the members.
    sets: Vec<ReferenceSet>,
    members: Vec<Member>,
    state: ReferencesState,
    standing: Standing,
    /// Members whose file is out of date.
    changed: BTreeSet<String>,
}

/// What a set remembers beside its members.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferencesState {
    /// How often a person has changed the set.
    pub taught_count: u64,
    /// The threshold in use.
    pub threshold: Option<f32>,
    /// The spreads in use, once they are the set's own.
    pub spreads: Option<Spreads>,
    /// Scans that were left out in a row because the set has them already.
    pub duplicates_in_a_row: usize,
    /// Levels at the end of warm-up, and the last scans.
    pub drift: Drift,
}

/// Why a set cannot be changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TeachError {
    /// The rows do not fit.
    #[error(transparent)]
    Reference(#[from] crate::bank::reference::ReferenceError),
    /// The rows cannot be compared.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A value that the file of the scan could not hold.
    #[error("the {branch} descriptor of {scan} holds {found}: expected magnitudes up to 65504")]
    Value {
        /// Name of the scan.
        scan: String,
        /// Which branch.
        branch: &'static str,
        /// The value.
        found: f32,
    },
    /// All places of anchors are taken.
    #[error("there are {count} anchors, which is all that the set takes: remove one first")]
    TooManyAnchors {
        /// How many there are.
        count: usize,
    },
    /// Branches are not those of the settings.
    #[error("{scan} has the branches {found:?}, expected {expected:?}")]
    Branches {
        /// Name of the scan.
        scan: String,
        /// Its branches.
        found: Vec<&'static str>,
        /// Those of the settings.
        expected: Vec<&'static str>,
    },
}

impl References {
    /// An empty set for a detector of these settings; none in mode `paper`.
    #[must_use]
    pub fn new(rules: ReferenceRules, params: &ModeParams) -> Option<Self> {
        let prior = LateFusion::of(params)?;
        let sets = vec![ReferenceSet::new(); params.describe.branches.len()];
        let standing = Standing::before(&prior);
        let (members, state, changed) = (Vec::new(), ReferencesState::default(), BTreeSet::new());
        Some(Self { rules, prior, sets, members, state, standing, changed })
    }

    /// The settings.
    #[must_use]
    pub const fn rules(&self) -> &ReferenceRules {
        &self.rules
    }

    /// What is remembered beside the members.
    #[must_use]
    pub const fn state(&self) -> &ReferencesState {
        &self.state
    }

    /// The references, the oldest first.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The reference of that name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.position(name).map(|at| &self.members[at])
    }

    /// Names of the members that are new or were compared anew since this was last asked: their files are
    /// to be written again.
    pub fn take_changed(&mut self) -> BTreeSet<String> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter(|name| self.position(name).is_some()).collect()
    }

    /// Number of references of a source.
    #[must_use]
    pub fn count(&self, source: Source) -> usize {
        self.members.iter().filter(|member| member.source == source).count()
    }

    /// Bytes of the references' rows in memory, the search's own numbers aside.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        let of_set = |set: &ReferenceSet| set.scans().iter().map(|scan| scan.rows().len()).sum::<usize>();
        4 * self.sets.iter().map(of_set).sum::<usize>()
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }
}
