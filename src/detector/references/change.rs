//! Changing a set: the stream, what a person teaches, and members compared anew.

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};

use super::look::{Judgement, Look};
use super::member::{Member, Source};
use super::{Candidate, References, TeachError};
use crate::bank::search::{Neighbor, SearchError};
use crate::features::Branch;

/// Members compared anew with every scan that is admitted, those that need it most first.
const REFRESH_COUNT: usize = 2;
/// A member needs it when there are more references now than it was compared with, by this factor.
const GROWN_MIN: f32 = 4.0 / 3.0;
/// Members whose nearness tells what is usual, before one can be called a near-duplicate by it.
const KIN_MIN: usize = 4;

/// What became of a scan of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is in the buffer; the oldest had to leave when it was full.
    Taken {
        /// Names of those that left.
        evicted: Vec<String>,
    },
    /// It shows what this reference shows.
    Duplicate {
        /// Name of the reference.
        of: String,
    },
    /// It is in the set already: judged again after a restart.
    Known,
}

impl References {
    /// Takes a scan of the stream into the buffer, unless it is a near-duplicate.
    ///
    /// # Errors
    /// When its rows do not fit; the set is then as it was.
    pub fn admit(
        &mut self,
        candidate: Candidate,
        look: &Look,
        judgement: &Judgement,
    ) -> Result<Admission, TeachError> {
        if self.rules.buffer_len == 0 || self.position(&candidate.name).is_some() {
            return Ok(Admission::Known);
        }
        if let Some(of) = self.duplicate_of(look) {
            self.state.duplicates_in_a_row += 1;
            return Ok(Admission::Duplicate { of: self.members[of].name.clone() });
        }
        let facts = candidate.facts;
        let at = self.push(candidate, Source::Buffer)?;
        self.compared(at, look, judgement.distances.clone());
        self.state.duplicates_in_a_row = 0;
        let level = self.level(&self.members[at]);
        self.state.drift.note([facts.brightness, Some(facts.missing_share), Some(facts.distance_m), level]);
        let evicted = self.evict();
        self.refresh(REFRESH_COUNT)?;
        self.stand(Some(self.rules.threshold_step_max));
        if self.missing().is_none() {
            self.begin_drift();
        }
        Ok(Admission::Taken { evicted })
    }

    /// Takes a confirmed good part in as an anchor; one that is in the buffer is promoted. `bank` is the
    /// nearest row of the bundle's bank, a branch each.
    ///
    /// # Errors
    /// When there are too many anchors or the rows do not fit; the set is then as it was.
    pub fn anchor(
        &mut self,
        candidate: Candidate,
        bank: Option<Vec<Vec<Neighbor>>>,
    ) -> Result<(), TeachError> {
        let anchors = self.count(Source::Anchor);
        let replaced = self.position(&candidate.name);
        let promoted = replaced.is_some_and(|at| self.members[at].source == Source::Anchor);
        if anchors >= self.rules.anchors_max && !promoted {
            return Err(TeachError::TooManyAnchors { count: anchors });
        }
        let look = self.look(&candidate.name, &candidate.described, bank)?;
        let (name, facts) = (candidate.name.clone(), candidate.facts);
        let mut taught = self.clone_without(replaced)?;
        let at = taught.push(Candidate { name, facts, ..candidate }, Source::Anchor)?;
        taught.members[at].bank = look.bank.as_ref().map(|bank| distances_of(bank));
        taught.members[at].own = look.own;
        taught.state.taught_count += 1;
        taught.refresh_anchors()?;
        taught.stand(None);
        *self = taught;
        Ok(())
    }

    /// Takes a reference out; false when there is none of that name.
    ///
    /// # Errors
    /// When the others cannot be compared anew, which finite rows always can.
    pub fn remove(&mut self, name: &str) -> Result<bool, TeachError> {
        let Some(at) = self.position(name) else { return Ok(false) };
        self.drop_member(at);
        self.state.taught_count += 1;
        self.refresh_anchors()?;
        self.stand(None);
        Ok(true)
    }

    /// Compares every member anew with all others; what a small set can afford.
    ///
    /// # Errors
    /// As [`References::look`].
    pub fn refresh_all(&mut self) -> Result<(), SearchError> {
        (0..self.members.len()).try_for_each(|at| self.refresh_one(at))?;
        self.stand(None);
        Ok(())
    }

    /// Takes the present level of brightness and so on for the right one.
    pub fn accept_drift(&mut self) {
        self.state.drift.restart();
        if self.missing().is_none() {
            self.begin_drift();
        }
    }

    /// Adds a reference as it is, compared with nothing yet: sets that are put together at once, then
    /// [`References::refresh_all`].
    ///
    /// # Errors
    /// When its rows do not fit; the set is then as it was.
    pub fn add(
        &mut self,
        candidate: Candidate,
        source: Source,
        bank: Option<Vec<Vec<Neighbor>>>,
    ) -> Result<(), TeachError> {
        let own = self.prior.own(&candidate.described.patches, &candidate.described.features);
        let at = self.push(candidate, source)?;
        self.members[at].own = own;
        self.members[at].bank = bank.filter(|_| self.rules.bank).map(|bank| distances_of(&bank));
        Ok(())
    }

    /// Adds a member with its rows to every set, or to none.
    fn push(&mut self, mut candidate: Candidate, source: Source) -> Result<usize, TeachError> {
        if let Some((branch, found)) = candidate.round() {
            return Err(TeachError::Value { scan: candidate.name, branch: branch.name(), found });
        }
        let expected: Vec<&str> = self.prior.branches().map(Branch::name).collect();
        let found: Vec<&str> = candidate.described.features.iter().map(|part| part.branch.name()).collect();
        if found != expected {
            return Err(TeachError::Branches { scan: candidate.name, found, expected });
        }
        let Candidate { name, described, turned, facts } = candidate;
        let member = Member::new(name, source, facts, &described);
        let mut rows = Vec::new();
        for part in described.features {
            let turned = if part.branch == Branch::Rgb { turned.as_slice() } else { &[] };
            let views: Vec<ArrayView2<'_, f32>> =
                std::iter::once(part.rows.view()).chain(turned.iter().map(|t| t.rows.view())).collect();
            let all = concatenate(Axis(0), &views).unwrap_or(part.rows);
            let shown = turned.iter().flat_map(|t| t.patches.iter().copied());
            rows.push((all, member.patches.iter().copied().chain(shown).collect()));
        }
        self.push_rows(member, rows)
    }

    /// As [`References::push`], from a member's rows and the patches that they show.
    pub(super) fn push_rows(
        &mut self,
        member: Member,
        rows: Vec<(Array2<f32>, Vec<u16>)>,
    ) -> Result<usize, TeachError> {
        for (done, (rows, shown)) in rows.into_iter().enumerate() {
            if let Err(error) = self.sets[done].add(member.name.clone(), rows, shown) {
                for set in &mut self.sets[..done] {
                    set.remove(&member.name).expect("it was just added");
                }
                return Err(error.into());
            }
        }
        self.members.push(member);
        Ok(self.members.len() - 1)
    }

    fn drop_member(&mut self, at: usize) {
        let member = self.members.remove(at);
        for set in &mut self.sets {
            set.remove(&member.name).expect("every set holds every member");
        }
    }

    /// The set without one member: rows are shared, not copied.
    fn clone_without(&self, at: Option<usize>) -> Result<Self, TeachError> {
        let mut set = self.clone();
        if let Some(at) = at {
            set.drop_member(at);
        }
        Ok(set)
    }

    /// The oldest scans of the buffer leave until it holds no more than it may.
    fn evict(&mut self) -> Vec<String> {
        let mut evicted = Vec::new();
        while self.count(Source::Buffer) > self.rules.buffer_len {
            let Some(at) = self.members.iter().position(|member| member.source == Source::Buffer) else {
                break;
            };
            evicted.push(self.members[at].name.clone());
            self.drop_member(at);
        }
        evicted
    }

    /// Keeps what a look at a member found.
    fn compared(&mut self, at: usize, look: &Look, distances: super::Distances) {
        let (kin, against) = (nearest_kin(look).unwrap_or_default(), self.against(look));
        let member = &mut self.members[at];
        member.own.clone_from(&look.own);
        member.bank = look.bank.as_ref().map(|bank| distances_of(bank));
        (member.kin, member.distances, member.against) = (kin, distances, against);
        self.changed.insert(member.name.clone());
    }

    /// Compares the members anew that need it most.
    fn refresh(&mut self, count: usize) -> Result<(), SearchError> {
        for _ in 0..count {
            let stale = (0..self.members.len()).filter(|at| self.is_stale(&self.members[*at]));
            let Some(at) = stale.min_by_key(|at| self.members[*at].against) else { break };
            self.refresh_one(at)?;
        }
        Ok(())
    }

    fn refresh_anchors(&mut self) -> Result<(), SearchError> {
        let anchors = (0..self.members.len()).filter(|at| self.members[*at].source == Source::Anchor);
        anchors.collect::<Vec<_>>().into_iter().try_for_each(|at| self.refresh_one(at))
    }

    #[expect(clippy::cast_precision_loss, reason = "a few scans")]
    fn is_stale(&self, member: &Member) -> bool {
        let others = self.members.len() - 1;
        let enough = self.count(Source::Buffer) >= super::hidden::SCANS_MIN;
        if enough && member.source == Source::Buffer && member.distances.typical.is_none() {
            return true;
        }
        let grown = others as f32 >= GROWN_MIN * member.against.scan_count as f32;
        others > 0 && (grown || member.against.taught_count != self.state.taught_count)
    }

    fn refresh_one(&mut self, at: usize) -> Result<(), SearchError> {
        let member = &self.members[at];
        let count = member.patches.len();
        // An anchor's own rows come first, those of its turns behind them.
        let rows: Vec<ArrayView2<'_, f32>> =
            self.sets.iter().map(|set| set.scans()[at].rows().slice_move(s![..count, ..])).collect();
        let neighbor = |distance: &f32| Neighbor { row: 0, distance: *distance };
        let bank = member.bank.as_ref();
        let look = Look {
            per_scan: self.per_scan(&rows)?,
            bank: bank.map(|lists| lists.iter().map(|list| list.iter().map(neighbor).collect()).collect()),
            own: member.own.clone(),
            logits: member.logits.clone(),
            itself: Some(at),
            patch_count: count,
        };
        let distances = self.distances(&look);
        self.compared(at, &look, distances);
        Ok(())
    }

    /// The reference that a scan repeats, if it does.
    fn duplicate_of(&self, look: &Look) -> Option<usize> {
        let usual = self.usual_kin();
        let ratio = |at: usize| {
            let medians = medians_to(look, at);
            if medians.iter().all(|median| *median <= 0.0) {
                return 0.0;
            }
            let shares =
                medians.iter().zip(&usual).map(|(median, usual)| median / usual.max(f32::MIN_POSITIVE));
            if usual.is_empty() { f32::INFINITY } else { shares.fold(0.0, f32::max) }
        };
        let others =
            (0..self.members.len()).filter(|at| Some(*at) != look.itself && !look.per_scan.is_empty());
        let nearest = others.map(|at| (at, ratio(at))).min_by(|a, b| a.1.total_cmp(&b.1))?;
        (nearest.1 <= 0.0 || nearest.1 < self.rules.duplicate_ratio).then_some(nearest.0)
    }

    /// What the median patch's distance to the nearest reference usually is, a branch each; empty while
    /// too few are known.
    fn usual_kin(&self) -> Vec<f32> {
        let known: Vec<&Member> = self.members.iter().filter(|m| !m.kin.is_empty()).collect();
        if known.len() < KIN_MIN {
            return Vec::new();
        }
        let of_branch = |branch: usize| super::limit::middle(known.iter().map(|m| m.kin[branch]).collect());
        (0..self.sets.len()).filter_map(of_branch).collect()
    }

    /// A member's median patch distance in units that do not change with the set.
    fn level(&self, member: &Member) -> Option<f32> {
        member.is_compared().then(|| self.prior.level(&member.distances.nearest))
    }

    fn begin_drift(&mut self) {
        let facts = |member: &Member| {
            let facts = member.facts;
            [facts.brightness, Some(facts.missing_share), Some(facts.distance_m), self.level(member)]
        };
        let scans: Vec<_> = self.members.iter().map(facts).collect();
        self.state.drift.begin(&scans);
    }
}

fn distances_of(bank: &[Vec<Neighbor>]) -> Vec<Vec<f32>> {
    bank.iter().map(|list| list.iter().map(|neighbor| neighbor.distance).collect()).collect()
}

/// Median patch distance to one reference, a branch each.
fn medians_to(look: &Look, at: usize) -> Vec<f32> {
    let of_branch = |found: &crate::bank::reference::PerScan| {
        super::limit::middle((0..look.patch_count).map(|patch| found.of(patch)[at].distance).collect())
    };
    look.per_scan.iter().filter_map(of_branch).collect()
}

/// The medians to the reference that is nearest as a whole: in the sum of its branches' shares of what all
/// references' are.
fn nearest_kin(look: &Look) -> Option<Vec<f32>> {
    let count = look.per_scan.first()?.scan_count();
    let all: Vec<Vec<f32>> =
        (0..count).filter(|at| Some(*at) != look.itself).map(|at| medians_to(look, at)).collect();
    let branches = all.first()?.len();
    let total: Vec<f32> = (0..branches).map(|b| all.iter().map(|medians| medians[b]).sum()).collect();
    let share = |medians: &Vec<f32>| -> f32 {
        medians.iter().zip(&total).map(|(median, total)| median / total.max(f32::MIN_POSITIVE)).sum()
    };
    all.iter().min_by(|a, b| share(a).total_cmp(&share(b))).cloned()
}
