//! Shadow mode: another bundle scores the line's next parts beside the one in charge, and says how the
//! two agree, before anything is switched.
//!
//! It touches the daemon nowhere: the judged scans are in the spool's `done/`, what was said of them is
//! in the journal. So it may be slow, fall behind or fail, and the line does not notice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use zal::bundle::Bundle;
use zal::calibration::Calibration;
use zal::detector::Detector;

use super::say::Say;
use super::settings::bundle_in_charge;
use crate::acquire::scan_file;
use crate::clock;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::journal::{Journal, Verdict};
use crate::message::UpdateState;

/// How often new parts are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Parts with the greatest differences that are named.
const WORST_COUNT: usize = 5;

/// A part that both bundles have judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// Name of the part.
    pub part_id: String,
    /// Score of the bundle in charge.
    pub score: f32,
    /// What it said.
    pub evaluation: String,
    /// Score of the other bundle.
    pub other_score: f32,
    /// What that one says; none while it has no threshold.
    pub other_evaluation: Option<String>,
}

/// How two bundles agree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The other bundle.
    pub bundle: String,
    /// Parts that both have scored.
    pub part_count: usize,
    /// Parts that only one of them could score.
    pub undecided_count: usize,
    /// Rank correlation of the scores (Spearman); none below three parts.
    pub rank_correlation: Option<f64>,
    /// Threshold of the other bundle.
    pub threshold: Option<f32>,
    /// Where it is from.
    pub threshold_from: &'static str,
    /// Parts with a verdict of both.
    pub compared_count: usize,
    /// Those of them that differ.
    pub flip_count: usize,
    /// The parts whose places in the order of scores differ most.
    pub worst: Vec<Pair>,
}

impl Agreement {
    /// Share of the verdicts that differ.
    #[expect(clippy::cast_precision_loss, reason = "counts of parts")]
    pub fn flip_share(&self) -> f64 {
        self.flip_count as f64 / self.compared_count.max(1) as f64
    }

    /// In words, several lines.
    pub fn words(&self) -> String {
        let mut text = format!(
            "{} beside the bundle in charge, {} parts (and {} that only one could score):\n",
            self.bundle, self.part_count, self.undecided_count
        );
        match self.rank_correlation {
            Some(rho) => {
                text += &format!("  order of scores   {rho:.3} (1 = the same order, 0 = no relation)\n")
            }
            None => text += "  order of scores   too few parts\n",
        }
        let threshold = self.threshold.map_or_else(|| "none".to_owned(), |t| format!("{t:.3}"));
        text += &format!("  its threshold     {threshold} ({})\n", self.threshold_from);
        text += &format!("  other verdicts    {} of {}\n", self.flip_count, self.compared_count);
        text += "  greatest differences:";
        for pair in &self.worst {
            let other = pair.other_evaluation.as_deref().unwrap_or("no verdict");
            text += &format!(
                "\n    {:<24} {} {:.3} -> {other} {:.3}",
                pair.part_id, pair.evaluation, pair.score, pair.other_score
            );
        }
        text
    }
}

/// Scores the next `count` parts of the line.
///
/// # Errors
/// When the bundle cannot be loaded, or spool or journal not be read.
pub fn run(bundle: &Bundle, config: &Config, count: usize, say: &mut Say) -> Result<Agreement, Failure> {
    let mut detector = bundle
        .detector(config.detector.mode, &config.engine_options())
        .map_err(|error| Failure::new(Exit::BadData, error))?;
    detector.set_clock(clock::monotonic);
    let mut former = plain_scorer(config)?;
    let journal = open_journal(config)?;
    let io = |error: anyhow::Error| Failure::new(Exit::Io, error);
    let done = config.spool.dir.join("done");
    let mut seen: BTreeSet<PathBuf> = entries(&done).map_err(io)?;
    let (mut pairs, mut undecided_count) = (Vec::new(), 0);
    let mut waits = true;
    while pairs.len() + undecided_count < count {
        say.progress(
            UpdateState::Testing,
            "waiting for parts of the line",
            (pairs.len() + undecided_count) as u64,
            count as u64,
        );
        let now = entries(&done).map_err(io)?;
        let news: Vec<PathBuf> = now.difference(&seen).cloned().collect();
        if news.is_empty() && waits {
            std::thread::sleep(LOOK_INTERVAL);
        }
        for path in news {
            waits = true;
            seen.insert(path.clone());
            let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(verdict) = journal.verdict_of(&id).map_err(|error| Failure::new(Exit::Io, error))?
            else {
                continue;
            };
            // A scan that is removed meanwhile, or that nobody can read, was of no use to the other either.
            let scan = scan_file(&path).and_then(|file| zal::scan::read(&file, &config.sensor).ok());
            let other_score = scan.as_ref().and_then(|scan| detector.detect(scan).score);
            let mut verdict = verdict;
            if let Some(former) = &mut former {
                verdict.score = scan.as_ref().and_then(|scan| former.detect(scan).score);
            }
            match (verdict, other_score) {
                (Verdict { part_id, evaluation, score: Some(score) }, Some(other_score)) => {
                    pairs.push(Pair { part_id, score, evaluation, other_score, other_evaluation: None });
                }
                _ => undecided_count += 1,
            }
            if pairs.len() + undecided_count == count {
                break;
            }
        }
    }
    let own = detector.calibration().cloned();
    Ok(agreement(bundle.name(), pairs, undecided_count, own, config.calibration.rate()))
}

/// The bundle in charge, where the line's scores are against a reference set: the other bundle has none, so both
/// are compared without.
fn plain_scorer(config: &Config) -> Result<Option<Detector>, Failure> {
    if !config.uses_references() {
        return Ok(None);
    }
    let former = bundle_in_charge(config)?
        .detector(config.detector.mode, &config.engine_options())
        .map_err(|error| Failure::new(Exit::BadData, error))?;
    Ok(Some(former))
}

fn open_journal(config: &Config) -> Result<Journal, Failure> {
    let path = &config.journal.path;
    if !path.exists() {
        let error = anyhow!("there is no journal {}", path.display());
        return Err(Failure::new(Exit::NoInput, error)
            .hint("shadow mode needs a daemon that judges: is `zal run` running with this configuration?"));
    }
    Journal::open_existing(path, &config.journal.spill_dir).map_err(|error| Failure::new(Exit::Io, error))
}

fn entries(folder: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect())
        .with_context(|| format!("cannot list {}", folder.display()))
}

/// Puts the figures together. Without a threshold of its own the other bundle gets one from the parts
/// that are ok so far, as the daemon would.
fn agreement(
    bundle: String,
    mut pairs: Vec<Pair>,
    undecided_count: usize,
    own: Option<Calibration>,
    rate: f32,
) -> Agreement {
    let ok_scores =
        || pairs.iter().filter(|pair| pair.evaluation == "ok").map(|pair| pair.other_score).collect();
    let (calibration, threshold_from) = match own {
        Some(own) => (Some(own), "the bundle's own"),
        None => match Calibration::new(ok_scores(), rate) {
            Ok(made) => (Some(made), "from its scores of the parts that are ok so far"),
            Err(_) => (None, "none: it brings no threshold and no part was ok"),
        },
    };
    let threshold = calibration.as_ref().map(Calibration::threshold);
    for pair in &mut pairs {
        pair.other_evaluation =
            threshold.map(|threshold| if pair.other_score > threshold { "not_ok" } else { "ok" }.to_owned());
    }
    let verdicts: Vec<(&str, &str)> = pairs
        .iter()
        .filter(|pair| matches!(pair.evaluation.as_str(), "ok" | "not_ok"))
        .filter_map(|pair| Some((pair.evaluation.as_str(), pair.other_evaluation.as_deref()?)))
        .collect();
    let ranks = [ranks(pairs.iter().map(|p| p.score)), ranks(pairs.iter().map(|p| p.other_score))];
    Agreement {
        bundle,
        part_count: pairs.len(),
        undecided_count,
        rank_correlation: (pairs.len() >= 3).then(|| correlation(&ranks[0], &ranks[1])).flatten(),
        threshold,
        threshold_from,
        compared_count: verdicts.len(),
        flip_count: verdicts.iter().filter(|(a, b)| a != b).count(),
        worst: worst(&pairs, &ranks),
    }
}

/// The parts whose ranks differ most, those with another verdict first.
fn worst(pairs: &[Pair], ranks: &[Vec<f64>; 2]) -> Vec<Pair> {
    let differs = |at: usize| (ranks[0][at] - ranks[1][at]).abs();
    let flips = |at: usize| pairs[at].other_evaluation.as_ref().is_some_and(|o| *o != pairs[at].evaluation);
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|&a, &b| flips(b).cmp(&flips(a)).then(differs(b).total_cmp(&differs(a))));
    order.into_iter().take(WORST_COUNT).map(|at| pairs[at].clone()).collect()
}

/// Ranks from 1; equal values share the mean of theirs.
#[expect(clippy::cast_precision_loss, reason = "counts of parts")]
fn ranks(values: impl Iterator<Item = f32>) -> Vec<f64> {
    let values: Vec<f32> = values.collect();
    let rank = |value: &f32| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| other.total_cmp(value).is_eq()).count();
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

/// Pearson's correlation; none when one side does not vary.
#[expect(clippy::cast_precision_loss, reason = "counts of parts")]
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - mean_a, y - mean_b)).sum::<f64>();
    let (ab, aa, bb) = (sum(&|x, y| x * y), sum(&|x, _| x * x), sum(&|_, y| y * y));
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(part_id: &str, score: f32, evaluation: &str, other_score: f32) -> Pair {
        let (part_id, evaluation) = (part_id.into(), evaluation.into());
        Pair { part_id, score, evaluation, other_score, other_evaluation: None }
    }

    #[test]
    fn ranks_share_ties_and_correlate() {
        assert_eq!(ranks([3.0, 1.0, 3.0].into_iter()).len(), 3);
        assert!((ranks([3.0, 1.0, 3.0].into_iter())[0] - 2.5).abs() < 1e-12);
        let up = ranks([1.0, 2.0, 4.0, 9.0].into_iter());
        let down = ranks([9.0, 4.0, 2.0, 1.0].into_iter());
        assert!((correlation(&up, &up).expect("it varies") - 1.0).abs() < 1e-12);
        assert!((correlation(&up, &down).expect("it varies") + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&[1.0, 1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn flips_are_counted_against_the_bundles_own_threshold_or_one_from_good_parts() {
        let pairs = vec![
            pair("a", 1.0, "ok", 10.0),
            pair("b", 2.0, "ok", 30.0),
            pair("c", 9.0, "not_ok", 12.0),
            pair("d", 3.0, "undefined", 11.0),
        ];
        let own = Calibration::new(vec![20.0, 20.0, 20.0], 0.5).expect("three scores");
        let found = agreement("x".into(), pairs.clone(), 1, Some(own), 0.05);
        assert_eq!((found.flip_count, found.compared_count, found.part_count), (2, 3, 4));
        assert_eq!(
            found.worst[0].other_evaluation.as_deref().map(|o| o == found.worst[0].evaluation),
            Some(false)
        );
        let made = agreement("x".into(), pairs, 0, None, 0.05);
        assert!(made.threshold.is_some() && made.threshold_from.contains("ok so far"));
        let none = agreement("x".into(), vec![pair("d", 3.0, "undefined", 1.0)], 0, None, 0.05);
        assert_eq!((none.threshold, none.rank_correlation, none.compared_count), (None, None, 0));
        assert!(none.words().contains("too few parts"));
    }
}
