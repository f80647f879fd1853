//! Compares the patches of a scan with the memory bank: the one place where the modes differ.

use serde::{Deserialize, Serialize};

use super::DetectorError;
use super::params::{BranchWeight, ModeParams, Scoring};
use crate::bank::MemoryBank;
use crate::bank::search::{Neighbor, SearchIndex};
use crate::features::fusion::concatenate;
use crate::features::{Branch, PatchFeatures};
use crate::score::{
    BranchDistances, BranchShare, JointStats, branch_shares, fuse_line, image_score, image_score_paper, joint, worst_patch,
};

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
    /// What each branch contributed at the worst patch; empty in mode `paper`.
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
    Late { branches: Vec<BranchWeight>, indexes: Vec<SearchIndex> },
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
            Scoring::Late { branches } => {
                let named: Vec<Branch> = branches.iter().map(|b| b.branch).collect();
                if named != *expected {
                    return Err(mismatch("branches of the late fusion", &named, expected));
                }
                let columns = branches.iter().filter_map(|b| bank.block_columns(b.branch));
                let indexes = columns.map(|c| SearchIndex::new(bank.rows.clone(), c)).collect::<Result<_, _>>()?;
                Kind::Late { branches: branches.clone(), indexes }
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
    pub const fn needs_logits(&self) -> bool {
        matches!(&self.kind, Kind::Joint { lambda, .. } if *lambda != 0.0)
    }

    /// Distance of every patch to its nearest row: one list a branch (mode `line`), or one
    /// for the concatenation (mode `paper`). For the statistics that `zal-export` measures.
    #[must_use]
    pub fn distances(&self, features: &[PatchFeatures]) -> Vec<Vec<f32>> {
        self.nearest(features).iter().map(|list| list.iter().map(|n| n.distance).collect()).collect()
    }

    /// Scores the patches of one scan; `features` in the order of the settings' branches.
    #[must_use]
    pub fn compare(&self, features: &[PatchFeatures], logits: Option<&[f32]>) -> Compared {
        let nearest = self.nearest(features);
        let distances: Vec<Vec<f32>> =
            nearest.iter().map(|list| list.iter().map(|n| n.distance).collect()).collect();
        match &self.kind {
            Kind::Late { branches, .. } => self.late(branches, &nearest, &distances),
            Kind::Joint { lambda, stats, .. } => {
                let scores = joint(&distances[0], logits.unwrap_or_default(), stats, *lambda);
                let worst = worst_patch(&scores);
                let score = worst.map_or(0.0, |w| self.reweighted(features, &nearest[0], w, scores[w], stats));
                let nearest = worst.map(|w| self.origin(&nearest[0][w]));
                Compared { image_score: score, map_scores: scores, branches: Vec::new(), nearest }
            }
        }
    }

    fn nearest(&self, features: &[PatchFeatures]) -> Vec<Vec<Neighbor>> {
        match &self.kind {
            Kind::Late { indexes, .. } => {
                let search = |(index, part): (&SearchIndex, &PatchFeatures)| index.nearest(part.rows.view());
                indexes.iter().zip(features).map(search).collect()
            }
            Kind::Joint { block_scales, index, .. } => {
                let parts: Vec<&PatchFeatures> = features.iter().collect();
                vec![index.nearest(concatenate(&parts, block_scales).view())]
            }
        }
    }

    fn late<'a>(&self, branches: &[BranchWeight], nearest: &[Vec<Neighbor>], distances: &'a [Vec<f32>]) -> Compared {
        let part = |(b, distances): (&BranchWeight, &'a Vec<f32>)| BranchDistances {
            branch: b.branch,
            distances,
            weight: b.weight,
            spread: b.spread,
        };
        let parts: Vec<BranchDistances<'a>> = branches.iter().zip(distances).map(part).collect();
        let scores = fuse_line(&parts);
        let worst = worst_patch(&scores.sub);
        let shares = worst.map_or_else(Vec::new, |w| branch_shares(&parts, w));
        let loudest = (0..shares.len()).max_by(|a, b| shares[*a].share.total_cmp(&shares[*b].share));
        let nearest = worst.zip(loudest).map(|(w, b)| self.origin(&nearest[b][w]));
        Compared { image_score: image_score(&scores.sub), map_scores: scores.std, branches: shares, nearest }
    }
}
