//! Compares the patches of a scan with the memory bank: the one place where the modes differ.

use ndarray::{Array2, ArrayView1, ArrayView2, s};
use serde::{Deserialize, Serialize};

use super::DetectorError;
use super::late::LateFusion;
use super::params::{ModeParams, RepetitionTerm, Scoring};
use crate::bank::MemoryBank;
use crate::bank::search::{Neighbor, SearchError, SearchIndex};
use crate::features::fusion::concatenate;
use crate::features::{Branch, PatchFeatures};
use crate::score::{BranchShare, JointStats, image_score_paper, joint, own_distances, worst_patch};

/// Rows around the nearest one that weight the image score of mode `paper`: BTF takes 3 and
/// drops the row itself.
const REWEIGHT_NEIGHBORS: usize = 3;

/// The normal patch that the worst patch was compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestNormal {
    /// Name of the reference scan.
    pub scan: String,
    /// Patch of the 28 x 28 grid in it.
    pub patch: u16,
}

/// Scores of one scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The image score.
    pub image_score: f32,
    /// One score a valid patch, for the map.
    pub map_scores: Vec<f32>,
    /// What each branch contributed at the worst patch, the normalcy classifier aside; empty in
    /// mode `paper`.
    pub branches: Vec<BranchShare>,
    /// Nearest normal patch of the worst patch.
    pub nearest: Option<NearestNormal>,
}

/// The bank, indexed as the mode needs it.
pub struct Comparison {
    bank: MemoryBank,
    kind: Kind,
}

enum Kind {
    Late { indexes: Vec<SearchIndex>, fusion: LateFusion },
    Joint { block_scales: Vec<(Branch, f32)>, index: SearchIndex, lambda: f32, stats: JointStats },
}

impl Comparison {
    /// Indexes the bank; mode `paper` scales its rows in place, so they are held once.
    ///
    /// # Errors
    /// When the bank's blocks are not the branches of the settings, in their order.
    pub fn new(params: &ModeParams, mut bank: MemoryBank) -> Result<Self, DetectorError> {
        let expected = &params.describe.branches;
        let found: Vec<Branch> = bank.blocks.iter().map(|b| b.branch).collect();
        if found != *expected {
            return Err(mismatch("blocks of the memory bank", &found, expected));
        }
        let kind = match &params.scoring {
            Scoring::Late { branches, repetition, .. } => {
                let named: Vec<Branch> = branches.iter().map(|b| b.branch).collect();
                if named != *expected {
                    return Err(mismatch("branches of the late fusion", &named, expected));
                }
                if let Some(term) = repetition.as_ref().filter(|term| term.spreads.len() != expected.len()) {
                    return Err(mismatch("spreads of the repetition", &term.spreads.len(), &expected.len()));
                }
                let columns = branches.iter().filter_map(|b| bank.block_columns(b.branch));
                let indexes =
                    columns.map(|c| SearchIndex::new(bank.rows.clone(), c)).collect::<Result<_, _>>()?;
                let fusion = LateFusion::of(params).expect("the scoring is late");
                Kind::Late { indexes, fusion }
            }
            Scoring::Joint { block_scales, lambda, stats } => {
                if block_scales.len() != expected.len() {
                    return Err(mismatch("block scales", &block_scales.len(), &expected.len()));
                }
                bank.scale_blocks(block_scales);
                let index = SearchIndex::new(bank.rows.clone(), 0..bank.dims())?;
                let block_scales = expected.iter().copied().zip(block_scales.iter().copied()).collect();
                Kind::Joint { block_scales, index, lambda: *lambda, stats: *stats }
            }
        };
        Ok(Self { bank, kind })
    }

    /// Rows of the bank.
    #[must_use]
    pub fn bank_rows(&self) -> usize {
        self.bank.rows.nrows()
    }

    /// Whether [`Comparison::compare`] needs the classifier's logits.
    #[must_use]
    pub fn needs_logits(&self) -> bool {
        match &self.kind {
            Kind::Late { fusion, .. } => fusion.needs_logits(),
            Kind::Joint { lambda, .. } => *lambda != 0.0,
        }
    }

    /// Distance of every patch to its nearest row: one list a branch (mode `line`), or one
    /// for the concatenation (mode `paper`). For the statistics that `zal-export` measures.
    ///
    /// # Errors
    /// When descriptors are not finite or not as wide as the bank's.
    pub fn distances(&self, features: &[PatchFeatures]) -> Result<Vec<Vec<f32>>, SearchError> {
        Ok(self.nearest(features)?.iter().map(|list| list.iter().map(|n| n.distance).collect()).collect())
    }

    /// Scores the patches of one scan; `patches` are their places on the grid, `features` in the
    /// order of the settings' branches, `logits` of the same patches when [`Comparison::needs_logits`].
    ///
    /// # Errors
    /// When descriptors are not finite or not as wide as the bank's.
    pub fn compare(
        &self,
        patches: &[u16],
        features: &[PatchFeatures],
        logits: Option<&[f32]>,
    ) -> Result<Compared, SearchError> {
        let nearest = self.nearest(features)?;
        match &self.kind {
            Kind::Late { fusion, .. } => {
                let distances: Vec<Vec<f32>> =
                    nearest.iter().map(|list| list.iter().map(|n| n.distance).collect()).collect();
                let (compared, loudest) = fusion.fuse(patches, features, logits, &distances);
                let nearest = loudest.map(|at| self.origin(nearest[at.branch][at.patch]));
                Ok(Compared { nearest, ..compared })
            }
            Kind::Joint { index, lambda, stats, .. } => {
                let joined = self.concatenated(features);
                let patch = PatchLogits { logits: logits.unwrap_or_default(), lambda: *lambda, stats };
                self.joint(index, joined.view(), &nearest[0], &patch)
            }
        }
    }

    /// The nearest row of every patch, lists as in [`Comparison::distances`].
    ///
    /// # Errors
    /// When descriptors are not finite or not as wide as the bank's.
    pub fn nearest(&self, features: &[PatchFeatures]) -> Result<Vec<Vec<Neighbor>>, SearchError> {
        match &self.kind {
            Kind::Late { indexes, .. } => indexes
                .iter()
                .zip(features)
                .map(|(index, part)| nearest_one(index, part.rows.view()))
                .collect(),
            Kind::Joint { index, .. } => Ok(vec![nearest_one(index, self.concatenated(features).view())?]),
        }
    }

    fn concatenated(&self, features: &[PatchFeatures]) -> Array2<f32> {
        let parts: Vec<&PatchFeatures> = features.iter().collect();
        match &self.kind {
            Kind::Joint { block_scales, .. } => concatenate(&parts, block_scales),
            Kind::Late { .. } => Array2::zeros((0, 0)),
        }
    }

    /// The distance of the worst patch is re-weighted by the neighbours of its nearest row,
    /// then joined with its logit as every patch is: with lambda 0 the order is BTF's.
    fn joint(
        &self,
        index: &SearchIndex,
        queries: ArrayView2<'_, f32>,
        nearest: &[Neighbor],
        patch: &PatchLogits<'_>,
    ) -> Result<Compared, SearchError> {
        let distances: Vec<f32> = nearest.iter().map(|n| n.distance).collect();
        let scores = joint(&distances, patch.logits, patch.stats, patch.lambda);
        let Some(worst) = worst_patch(&scores) else {
            return Ok(Compared {
                image_score: 0.0,
                map_scores: scores,
                branches: Vec::new(),
                nearest: None,
            });
        };
        let row = usize::try_from(nearest[worst].row).unwrap_or(usize::MAX);
        let around = index.nearest(self.bank.rows.slice(s![row..=row, ..]), REWEIGHT_NEIGHBORS)?;
        let query = queries.row(worst);
        let to_query =
            |n: &Neighbor| euclidean(query, self.bank.rows.row(usize::try_from(n.row).unwrap_or(row)));
        let others: Vec<f32> = around.of(0).iter().skip(1).map(to_query).collect();
        let reweighted = image_score_paper(distances[worst], &others, index.dims());
        let logit = patch.logits.get(worst..=worst).unwrap_or_default();
        let image_score = joint(&[reweighted], logit, patch.stats, patch.lambda)[0];
        let nearest = Some(self.origin(nearest[worst]));
        Ok(Compared { image_score, map_scores: scores, branches: Vec::new(), nearest })
    }

    /// Where a row of the bank comes from.
    #[must_use]
    pub fn origin(&self, neighbor: Neighbor) -> NearestNormal {
        let (scan, patch) = self.bank.origin(usize::try_from(neighbor.row).unwrap_or(usize::MAX));
        NearestNormal { scan: scan.into(), patch }
    }
}

impl RepetitionTerm {
    /// Every branch's distances within the scan.
    #[must_use]
    pub fn distances(&self, patches: &[u16], features: &[PatchFeatures]) -> Vec<Vec<f32>> {
        let own = |part: &PatchFeatures| own_distances(part.rows.view(), patches, self.rank, self.margin);
        features.iter().map(own).collect()
    }
}

/// Logits of the normalcy classifier and how they are joined with the distances.
struct PatchLogits<'a> {
    logits: &'a [f32],
    lambda: f32,
    stats: &'a JointStats,
}

fn nearest_one(index: &SearchIndex, queries: ArrayView2<'_, f32>) -> Result<Vec<Neighbor>, SearchError> {
    Ok(index.nearest(queries, 1)?.iter().map(|list| list[0]).collect())
}

fn euclidean(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt()
}

fn mismatch(
    what: &'static str,
    found: &impl std::fmt::Debug,
    expected: &impl std::fmt::Debug,
) -> DetectorError {
    DetectorError::Mismatch { what, found: format!("{found:?}"), expected: format!("{expected:?}") }
}
