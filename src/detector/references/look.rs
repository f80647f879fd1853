//! Looking at a scan: its distances to every reference, and what these say.

use ndarray::ArrayView2;

use super::member::{Distances, Source};
use super::{Against, DescribedScan, References, hidden};
use crate::bank::reference::{Combination, PerScan};
use crate::bank::search::{Neighbor, SearchError};
use crate::detector::{Compared, Loudest, NearestNormal};

/// Other anchors from which on a scan is compared with them alone, too: four anchors vouch for each other.
pub(super) const ANCHORS_ALONE_MIN: usize = 3;

/// A scan's distances to every reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// A branch each; empty when there is no reference.
    pub(super) per_scan: Vec<PerScan>,
    /// The nearest row of the bank, a branch each, when it is a reference.
    pub(super) bank: Option<Vec<Vec<Neighbor>>>,
    /// Distances within the scan.
    pub(super) own: Vec<Vec<f32>>,
    pub(super) logits: Option<Vec<f32>>,
    /// The scan's place among the members, when it is one.
    pub(super) itself: Option<usize>,
    pub(super) patch_count: usize,
}

/// What the references say of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Scores; `nearest` is empty when that patch is the bank's.
    pub compared: Compared,
    /// The row of the bank that the worst patch is nearest to.
    pub bank_row: Option<Neighbor>,
    /// The image score against the anchors alone, when there are enough.
    pub anchored_score: Option<f32>,
    /// The distances behind them.
    pub distances: Distances,
}

impl References {
    /// Compares a described scan with every reference; `bank` is the nearest row of the bundle's bank, a
    /// branch each ([`Comparison::nearest`](crate::detector::Comparison::nearest)).
    ///
    /// # Errors
    /// When descriptors are not finite or not as wide as the references'.
    pub fn look(
        &self,
        name: &str,
        described: &DescribedScan,
        bank: Option<Vec<Vec<Neighbor>>>,
    ) -> Result<Look, SearchError> {
        let rows = super::member::rows(&described.features);
        let own = self.prior.own(&described.patches, &described.features);
        Ok(Look {
            per_scan: self.per_scan(&rows)?,
            bank: bank.filter(|_| self.rules.bank),
            own,
            logits: described.logits.clone(),
            itself: self.position(name),
            patch_count: described.patches.len(),
        })
    }

    pub(super) fn per_scan(&self, rows: &[ArrayView2<'_, f32>]) -> Result<Vec<PerScan>, SearchError> {
        if self.members.is_empty() {
            return Ok(Vec::new());
        }
        self.sets.iter().zip(rows).map(|(set, rows)| set.nearest_per_scan(*rows)).collect()
    }

    /// What the references say of a scan that was looked at.
    #[must_use]
    pub fn judge(&self, look: &Look) -> Judgement {
        let distances = self.distances(look);
        let fusion = &self.standing.fusion;
        let logits = look.logits.as_deref();
        // Without any reference the scan's own repetition is all there is.
        let nothing = || vec![vec![0.0; look.patch_count]; self.sets.len()];
        let nearest = if distances.nearest.is_empty() { nothing() } else { distances.nearest.clone() };
        let (compared, loudest) = fusion.fuse_with(&look.own, logits, &nearest);
        let by_all = self.named(look, compared, loudest, |_| true, true);
        let Some(anchored) = &distances.anchored else {
            let (compared, bank_row) = by_all;
            return Judgement { compared, bank_row, anchored_score: None, distances };
        };
        let (compared, loudest) = fusion.fuse_with(&look.own, logits, anchored);
        let anchored_score = compared.image_score;
        let (compared, bank_row) = match self.standing.as_if_of_all(anchored_score) {
            Some(score) if score > by_all.0.image_score => {
                let keep = |at: usize| self.members[at].source == Source::Anchor;
                let (named, row) = self.named(look, compared, loudest, keep, false);
                (Compared { image_score: score, ..named }, row)
            }
            _ => by_all,
        };
        Judgement { compared, bank_row, anchored_score: Some(anchored_score), distances }
    }

    /// The same with the name of the normal patch that the worst patch is nearest to.
    fn named(
        &self,
        look: &Look,
        compared: Compared,
        loudest: Option<Loudest>,
        keep: impl Fn(usize) -> bool,
        with_bank: bool,
    ) -> (Compared, Option<Neighbor>) {
        let Some(Loudest { patch, branch }) = loudest else { return (compared, None) };
        let of_scans = look.per_scan.get(branch).into_iter().flat_map(|found| found.of(patch));
        let of_scans = of_scans.enumerate().filter(|(at, _)| Some(*at) != look.itself && keep(*at));
        let of_scans = of_scans.min_by(|a, b| a.1.distance.total_cmp(&b.1.distance));
        let of_bank = look.bank.as_ref().filter(|_| with_bank).map(|bank| bank[branch][patch]);
        match (of_scans, of_bank) {
            (Some((at, found)), bank) if bank.is_none_or(|bank| found.distance <= bank.distance) => {
                let scan = &self.sets[branch].scans()[at];
                let patch = scan.patches()[usize::try_from(found.row).unwrap_or(usize::MAX)];
                let nearest = Some(NearestNormal { scan: scan.name().into(), patch });
                (Compared { nearest, ..compared }, None)
            }
            (_, bank) => (compared, bank),
        }
    }

    /// Every distance that the set keeps of a scan.
    pub(super) fn distances(&self, look: &Look) -> Distances {
        let is =
            |source: Source| move |at: usize| Some(at) != look.itself && self.members[at].source == source;
        let count = |source: Source| (0..self.members.len()).filter(|at| is(source)(*at)).count();
        let anchored = (count(Source::Anchor) + 1 > ANCHORS_ALONE_MIN)
            .then(|| combined(look, Combination::Minimum, is(Source::Anchor), false));
        let typical = (count(Source::Buffer) + 1 >= hidden::SCANS_MIN)
            .then(|| combined(look, Combination::Median, is(Source::Buffer), false));
        Distances {
            nearest: combined(look, self.rules.combination, |at| Some(at) != look.itself, true)
                .unwrap_or_default(),
            anchored: anchored.flatten(),
            typical: typical.flatten(),
        }
    }

    /// What a scan that is looked at now is compared with.
    pub(super) fn against(&self, look: &Look) -> Against {
        let scan_count = look.per_scan.first().map_or(0, PerScan::scan_count);
        let scan_count = scan_count.saturating_sub(usize::from(look.itself.is_some()));
        Against { taught_count: self.state.taught_count, scan_count }
    }
}

/// The distances of every branch over the references that `keep` says; none when there are none.
fn combined(
    look: &Look,
    combination: Combination,
    keep: impl Fn(usize) -> bool + Copy,
    with_bank: bool,
) -> Option<Vec<Vec<f32>>> {
    let bank = look.bank.as_ref().filter(|_| with_bank);
    let bank: Option<Vec<Vec<f32>>> =
        bank.map(|bank| bank.iter().map(|list| list.iter().map(|n| n.distance).collect()).collect());
    if look.per_scan.is_empty() {
        return bank;
    }
    let of_branch = |(branch, found): (usize, &PerScan)| {
        found.combine_of(combination, keep, bank.as_ref().map(|bank| bank[branch].as_slice()))
    };
    look.per_scan.iter().enumerate().map(of_branch).collect()
}
