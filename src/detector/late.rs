//! [`LateFusion`]: the scores of mode `line` from every branch's distances, wherever these come from: a
//! bank ([`super::Comparison`]) or reference scans ([`crate::bank::reference`]).

use super::Compared;
use super::params::{BranchWeight, ModeParams, NormalcyTerm, RepetitionTerm, Scoring};
use crate::features::{Branch, PatchFeatures};
use crate::score::{BranchDistances, add_term, branch_shares, fuse_line, image_score, median, worst_patch};

/// Weights and spreads of the terms.
#[derive(Debug, Clone, PartialEq)]
pub struct LateFusion {
    branches: Vec<BranchWeight>,
    normalcy: Option<NormalcyTerm>,
    repetition: Option<RepetitionTerm>,
}

/// The place that an image score comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loudest {
    /// The worst patch, an index into the scan's patches.
    pub patch: usize,
    /// The branch that contributed most to it, an index into the branches.
    pub branch: usize,
}

impl LateFusion {
    /// The fusion of the settings; none in mode `paper`.
    #[must_use]
    pub fn of(params: &ModeParams) -> Option<Self> {
        let Scoring::Late { branches, normalcy, repetition } = &params.scoring else { return None };
        Some(Self {
            branches: branches.clone(),
            normalcy: normalcy.filter(|term| term.weight != 0.0),
            repetition: repetition.clone().filter(|term| term.weight != 0.0),
        })
    }

    /// Whether [`LateFusion::fuse`] needs the classifier's logits.
    #[must_use]
    pub const fn needs_logits(&self) -> bool {
        self.normalcy.is_some()
    }

    /// Scores of a scan whose patches have these distances, one list a branch in the order of the
    /// settings; `nearest` is the caller's to fill in.
    ///
    /// # Panics
    /// When there is not one distance a patch and branch.
    #[must_use]
    pub fn fuse(
        &self,
        patches: &[u16],
        features: &[PatchFeatures],
        logits: Option<&[f32]>,
        distances: &[Vec<f32>],
    ) -> (Compared, Option<Loudest>) {
        self.fuse_with(&self.own(patches, features), logits, distances)
    }

    /// Every branch's distances within the scan; empty when the settings ask for none.
    #[must_use]
    pub fn own(&self, patches: &[u16], features: &[PatchFeatures]) -> Vec<Vec<f32>> {
        self.repetition.as_ref().map_or_else(Vec::new, |term| term.distances(patches, features))
    }

    /// As [`LateFusion::fuse`], with what [`LateFusion::own`] gave for the scan.
    ///
    /// # Panics
    /// When there is not one distance a patch and branch.
    #[must_use]
    pub fn fuse_with(
        &self,
        own: &[Vec<f32>],
        logits: Option<&[f32]>,
        distances: &[Vec<f32>],
    ) -> (Compared, Option<Loudest>) {
        assert_eq!(distances.len(), self.branches.len(), "one list of distances a branch");
        let parts = self.parts(own, distances);
        let mut scores = fuse_line(&parts);
        if let Some(term) = self.normalcy {
            add_term(&mut scores, logits.unwrap_or_default(), term.weight, term.spread);
        }
        let worst = worst_patch(&scores.sub);
        let shares = worst.map_or_else(Vec::new, |w| branch_shares(&parts, w));
        let branch = (0..shares.len()).max_by(|a, b| shares[*a].share.total_cmp(&shares[*b].share));
        let loudest = worst.zip(branch).map(|(patch, branch)| Loudest { patch, branch });
        let compared = Compared {
            image_score: image_score(&scores.sub),
            map_scores: scores.std,
            branches: shares,
            nearest: None,
        };
        (compared, loudest)
    }

    /// The terms of the sum: distances to what is normal, then those within the scan.
    fn parts<'a>(&self, own: &'a [Vec<f32>], distances: &'a [Vec<f32>]) -> Vec<BranchDistances<'a>> {
        let part = |b: &BranchWeight, distances: &'a Vec<f32>, factor: f32, spread| BranchDistances {
            branch: b.branch,
            distances,
            weight: b.weight * factor,
            spread,
        };
        let to_normal = self.branches.iter().zip(distances).map(|(b, d)| part(b, d, 1.0, b.spread));
        let mut parts: Vec<BranchDistances<'a>> = to_normal.collect();
        if let Some(term) = &self.repetition {
            let within = self.branches.iter().zip(own).zip(&term.spreads);
            parts.extend(within.map(|((b, d), spread)| part(b, d, term.weight, *spread)));
        }
        parts
    }

    /// The patch scores for the verdict alone: [`Compared::image_score`] is their highest.
    ///
    /// # Panics
    /// When there is not one distance a patch and branch.
    #[must_use]
    pub fn patch_scores(&self, own: &[Vec<f32>], logits: Option<&[f32]>, distances: &[Vec<f32>]) -> Vec<f32> {
        let mut scores = fuse_line(&self.parts(own, distances));
        if let Some(term) = self.normalcy {
            add_term(&mut scores, logits.unwrap_or_default(), term.weight, term.spread);
        }
        scores.sub
    }

    /// The same weights with other spreads: a branch each to what is normal, and a branch each within
    /// the scan (empty: as they are).
    ///
    /// # Panics
    /// When there is not one spread a branch.
    #[must_use]
    pub fn with_spreads(&self, to_normal: &[f32], within: &[f32], of_logits: Option<f32>) -> Self {
        assert_eq!(to_normal.len(), self.branches.len(), "one spread a branch");
        let branches = self.branches.iter().zip(to_normal);
        let mut fusion = Self {
            branches: branches.map(|(b, spread)| BranchWeight { spread: *spread, ..*b }).collect(),
            ..self.clone()
        };
        if let Some(term) = fusion.repetition.as_mut().filter(|_| !within.is_empty()) {
            assert_eq!(within.len(), self.branches.len(), "one spread a branch");
            term.spreads = within.to_vec();
        }
        if let Some((term, spread)) = fusion.normalcy.as_mut().zip(of_logits) {
            term.spread = spread;
        }
        fusion
    }

    /// The branches, in their order.
    pub fn branches(&self) -> impl Iterator<Item = Branch> {
        self.branches.iter().map(|b| b.branch)
    }

    /// One number for how far a scan is from normal as a whole: the branches' median distances in their
    /// spreads, weighted.
    #[must_use]
    pub fn level(&self, distances: &[Vec<f32>]) -> f32 {
        let one =
            |(b, list): (&BranchWeight, &Vec<f32>)| b.weight * median(list) / b.spread.max(f32::MIN_POSITIVE);
        self.branches.iter().zip(distances).map(one).sum()
    }
}
