//! Where a set stands: spreads, leave-one-out scores, thresholds, and the verdict on a scan.

use serde::{Deserialize, Serialize};

use super::limit::{Limit, OwnScore, limit_of, middle, stepped};
use super::look::Judgement;
use super::member::{Member, Source};
use super::warm_up::Missing;
use super::{References, hidden};
use crate::detector::late::LateFusion;
use crate::detector::{Evaluation, Reason};
use crate::score::image_score;

/// Compared members from which on the spreads are the set's own.
const SPREAD_SCANS_MIN: usize = 8;
/// A part is unlike the anchors when it is so much farther from them than the farthest of them is from
/// the others: these are few, so their own scores promise little.
const ANCHORED_MARGIN: f32 = 1.25;

/// What follows from the members; made anew after every change.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) fusion: LateFusion,
    /// A member each; none of those that had nothing to be compared with.
    pub(super) scores: Vec<Option<f32>>,
    pub(super) limit: Option<Limit>,
    /// The threshold in use.
    pub(super) threshold: Option<f32>,
    /// The score against the anchors alone above which a part is not ok.
    pub(super) anchored_limit: Option<f32>,
    /// Scans of the buffer beyond that.
    pub(super) unlike_anchors_count: usize,
    /// Scans of the buffer with a place that a typical one has not.
    pub(super) hidden_count: usize,
}

impl Standing {
    pub(super) fn before(prior: &LateFusion) -> Self {
        Self {
            fusion: prior.clone(),
            scores: Vec::new(),
            limit: None,
            threshold: None,
            anchored_limit: None,
            unlike_anchors_count: 0,
            hidden_count: 0,
        }
    }

    /// A score against the anchors alone, moved so that it exceeds the threshold of all references exactly
    /// when it exceeds its own.
    pub(super) fn as_if_of_all(&self, anchored_score: f32) -> Option<f32> {
        Some(self.threshold? + (anchored_score - self.anchored_limit?))
    }
}

/// A verdict by the references.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The verdict.
    pub evaluation: Evaluation,
    /// Score above which a part is not ok, once there is a verdict.
    pub threshold: Option<f32>,
    /// Conformal p-value among the set's own scores.
    pub p_value: Option<f32>,
    /// Why there is no verdict, or what decided it.
    pub reasons: Vec<Reason>,
}

impl References {
    /// The verdict on a scan of that judgement.
    #[must_use]
    pub fn decide(&self, judgement: &Judgement) -> Decision {
        let score = judgement.compared.image_score;
        let standing = &self.standing;
        let ready =
            self.missing().is_none().then_some(()).and(standing.threshold.zip(standing.limit.as_ref()));
        let Some((threshold, limit)) = ready else {
            let missing = self.missing().unwrap_or(Missing { scans: 1, anchors: 1 });
            let reason = Reason { code: "warming_up".into(), text: missing.to_string() };
            return Decision {
                evaluation: Evaluation::NotDecidable,
                threshold: None,
                p_value: None,
                reasons: vec![reason],
            };
        };
        let rejected = score.is_nan() || score > threshold;
        let by_anchors = standing.anchored_limit.zip(judgement.anchored_score).filter(|(l, s)| s > l);
        let reason = |(limit, score): (f32, f32)| Reason {
            code: "unlike_anchors".into(),
            text: format!(
                "the part scores {score:.2} against the confirmed good parts alone, {limit:.2} is allowed"
            ),
        };
        Decision {
            evaluation: if rejected { Evaluation::NotOk } else { Evaluation::Ok },
            threshold: Some(threshold),
            p_value: Some(limit.calibration.p_value(score)),
            reasons: by_anchors.filter(|_| rejected).map(reason).into_iter().collect(),
        }
    }

    /// The score of a member against the others, once it was compared.
    #[must_use]
    pub fn own_score(&self, name: &str) -> Option<f32> {
        self.standing.scores.get(self.position(name)?).copied().flatten()
    }

    /// The scores that set the threshold, and the suspects that do not count.
    #[must_use]
    pub const fn limit(&self) -> Option<&Limit> {
        self.standing.limit.as_ref()
    }

    /// The threshold in use.
    #[must_use]
    pub const fn threshold(&self) -> Option<f32> {
        self.standing.threshold
    }

    /// Works out where the set stands after a change. Threshold and spreads move by at most this share of
    /// themselves, or freely when a person made the change.
    pub(super) fn stand(&mut self, step_max: Option<f32>) {
        // Until the set judges, everything only follows.
        let step_max = step_max.filter(|_| self.missing().is_none());
        self.state.spreads = self.spreads(step_max);
        let fusion = self.state.spreads.as_ref().map_or_else(
            || self.prior.clone(),
            |spreads| self.prior.with_spreads(&spreads.to_normal, &spreads.within, spreads.of_logits),
        );
        let score = |member: &Member| {
            let scores = |distances: &Vec<Vec<f32>>| {
                fusion.patch_scores(&member.own, member.logits.as_deref(), distances)
            };
            member.is_compared().then(|| image_score(&scores(&member.distances.nearest)))
        };
        let scores: Vec<Option<f32>> = self.members.iter().map(score).collect();
        let own = |(member, score): (&Member, &Option<f32>)| {
            Some(OwnScore { score: (*score)?, confirmed: member.source == Source::Anchor })
        };
        let own: Vec<OwnScore> = self.members.iter().zip(&scores).filter_map(own).collect();
        let limit = limit_of(&own, self.rules.false_reject_rate);
        let wanted = limit.as_ref().map(|limit| limit.calibration.threshold());
        let in_use = self.state.threshold.zip(step_max);
        let follow = |wanted| in_use.map_or(wanted, |(in_use, step)| stepped(Some(in_use), wanted, step));
        let threshold = wanted.map(follow);
        self.state.threshold = threshold;
        self.standing = Standing { fusion, scores, limit, threshold, ..Standing::before(&self.prior) };
        self.stand_against_anchors();
        self.standing.hidden_count = hidden::hidden_count(&self.oddness());
    }

    fn stand_against_anchors(&mut self) {
        let scores: Vec<(Source, f32)> =
            self.members.iter().filter_map(|m| Some((m.source, self.anchored_score(m)?))).collect();
        let of = |source| scores.iter().filter(move |(s, _)| *s == source).map(|(_, score)| *score);
        let farthest = of(Source::Anchor).fold(f32::NEG_INFINITY, f32::max);
        let limit = farthest.is_finite().then(|| farthest + (ANCHORED_MARGIN - 1.0) * farthest.abs());
        self.standing.anchored_limit = limit;
        self.standing.unlike_anchors_count =
            limit.map_or(0, |limit| of(Source::Buffer).filter(|score| *score > limit).count());
    }

    fn anchored_score(&self, member: &Member) -> Option<f32> {
        let anchored = member.distances.anchored.as_ref()?;
        let fusion = &self.standing.fusion;
        Some(image_score(&fusion.patch_scores(&member.own, member.logits.as_deref(), anchored)))
    }

    /// How odd each scan of the buffer is against its nearest reference and against a typical scan. What
    /// repeats within the scan is left out: it would say the same of both.
    fn oddness(&self) -> Vec<(f32, f32)> {
        let fusion = &self.standing.fusion;
        let one = |member: &Member| {
            let of =
                |distances| hidden::oddness(&fusion.patch_scores(&[], member.logits.as_deref(), distances));
            of(&member.distances.nearest).zip(of(member.distances.typical.as_ref()?))
        };
        let buffer = self.members.iter().filter(|m| m.source == Source::Buffer && m.is_compared());
        buffer.filter_map(one).collect()
    }

    /// The spreads that the fusion goes on with, when enough members are compared: those in use, moved
    /// towards the set's own by no more than the threshold may move, unless it is free. A few odd scans
    /// hardly touch the set's own: they are medians over the scans.
    fn spreads(&self, step_max: Option<f32>) -> Option<Spreads> {
        let compared: Vec<&Member> = self.members.iter().filter(|m| m.is_compared()).collect();
        if compared.len() < SPREAD_SCANS_MIN {
            return None;
        }
        let branches = 0..self.sets.len();
        let of =
            |list: &dyn Fn(&Member) -> f32| middle(compared.iter().map(|m| list(m)).collect()).unwrap_or(1.0);
        let has_own = compared.iter().all(|m| m.own.len() == branches.len());
        let has_logits = compared.iter().all(|m| m.logits.is_some());
        let wanted = Spreads {
            to_normal: branches.clone().map(|b| of(&|m| spread(&m.distances.nearest[b]))).collect(),
            within: branches.filter(|_| has_own).map(|b| of(&|m| spread(&m.own[b]))).collect(),
            of_logits: has_logits.then(|| of(&|m| m.logits.as_deref().map_or(1.0, spread))),
        };
        let in_use = self.state.spreads.as_ref().zip(step_max);
        Some(in_use.map_or_else(|| wanted.clone(), |(in_use, step)| in_use.towards(&wanted, step)))
    }
}

/// Spreads of the late fusion's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spreads {
    /// Of the distances to what is normal, a branch each.
    to_normal: Vec<f32>,
    /// Of the distances within the scan; empty when the settings ask for none.
    within: Vec<f32>,
    /// Of the logits.
    of_logits: Option<f32>,
}

impl Spreads {
    fn towards(&self, wanted: &Self, step_max: f32) -> Self {
        let list = |in_use: &[f32], wanted: &[f32]| -> Vec<f32> {
            let in_use = |at: usize| in_use.get(at).copied();
            wanted.iter().enumerate().map(|(at, wanted)| stepped(in_use(at), *wanted, step_max)).collect()
        };
        Self {
            to_normal: list(&self.to_normal, &wanted.to_normal),
            within: list(&self.within, &wanted.within),
            of_logits: wanted.of_logits.map(|wanted| stepped(self.of_logits, wanted, step_max)),
        }
    }
}

/// Standard deviation of a scan's values; 1 where nothing varies.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "patches of a scan")]
fn spread(values: &[f32]) -> f32 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let variance = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
    let spread = variance.sqrt() as f32;
    if spread > f32::MIN_POSITIVE { spread } else { 1.0 }
}
