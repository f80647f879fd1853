//! [`Member`]: one reference scan of a set, and how far it lies from the others.

use serde::{Deserialize, Serialize};

use super::described::{DescribedScan, ScanFacts};
use crate::features::PatchFeatures;

/// Where a reference comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A person confirmed that it is good.
    Anchor,
    /// The line's own stream, unlabelled.
    Buffer,
}

/// Patch distances of a scan to the references, itself left out: one list a branch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distances {
    /// To all of them, combined as the rules say: what is judged.
    pub nearest: Vec<Vec<f32>>,
    /// To the anchors alone; none when there are too few.
    pub anchored: Option<Vec<Vec<f32>>>,
    /// To a typical scan of the buffer; none when there are too few.
    pub typical: Option<Vec<Vec<f32>>>,
}

/// What distances were measured against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Against {
    /// How often a person had changed the set.
    pub taught_count: u64,
    /// References, the scan itself aside.
    pub scan_count: usize,
}

/// A reference scan. Its rows are in the sets; this is all else.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// How it was taken.
    pub facts: ScanFacts,
    /// Its valid patches, in the order of its rows.
    pub patches: Vec<u16>,
    /// Distances within the scan, a branch each; empty when the settings ask for none.
    pub own: Vec<Vec<f32>>,
    /// Logits of the normalcy classifier, when the settings ask for them.
    pub logits: Option<Vec<f32>>,
    /// Distances to the bank, when it is a reference.
    pub bank: Option<Vec<Vec<f32>>>,
    /// Median patch distance to the reference that was nearest to it as a whole, a branch each; empty
    /// when there was none.
    pub kin: Vec<f32>,
    /// Its distances to the others.
    pub distances: Distances,
    /// What these were measured against.
    pub against: Against,
}

impl Member {
    /// A member that has not been compared yet.
    pub(super) fn new(name: String, source: Source, facts: ScanFacts, described: &DescribedScan) -> Self {
        Self {
            name,
            source,
            facts,
            patches: described.patches.clone(),
            own: Vec::new(),
            logits: described.logits.clone(),
            bank: None,
            kin: Vec::new(),
            distances: Distances::default(),
            against: Against::default(),
        }
    }

    /// Whether there was anything to compare it with.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        !self.distances.nearest.is_empty()
    }
}

/// The rows of a described scan, a branch each.
pub(super) fn rows(features: &[PatchFeatures]) -> Vec<ndarray::ArrayView2<'_, f32>> {
    features.iter().map(|part| part.rows.view()).collect()
}
