//! [`LateFusion`]: the scores of mode `line` from every branch's distances, wherever these come from: a
//! bank ([`super::Comparison`]) or reference scans ([`crate::bank::reference`]).

use super::Compared;
use super::params::{BranchWeight, ModeParams, NormalcyTerm, RepetitionTerm, Scoring};
use crate::features::PatchFeatures;
use crate::score::{BranchDistances, add_term, branch_shares, fuse_line, image_score, worst_patch};

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
        assert_eq!(distances.len(), self.branches.len(), "one list of distances a branch");
        let own = self.repetition.as_ref().map(|term| (term, term.distances(patches, features)));
        let part = |b: &BranchWeight, distances, factor: f32, spread| BranchDistances {
            branch: b.branch,
            distances,
            weight: b.weight * factor,
            spread,
        };
        let to_bank = self.branches.iter().zip(distances).map(|(b, d)| part(b, d.as_slice(), 1.0, b.spread));
        let mut parts: Vec<BranchDistances<'_>> = to_bank.collect();
        if let Some((term, own)) = &own {
            let within = self.branches.iter().zip(own).zip(&term.spreads);
            parts.extend(within.map(|((b, d), spread)| part(b, d.as_slice(), term.weight, *spread)));
        }
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
}
