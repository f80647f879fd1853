//! The recorder thread: evidence on disk, results into the journal, then the scan out of
//! `work/`, in this order. Results that are ready together are committed together, so a slow
//! disk costs one wait for several parts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::acquire::Spool;
use crate::config;
use crate::journal::{Entry, Journal, JournalError};
use crate::message::{CalibrationBody, EngineBody, EvaluationBody, ResultBody, ResultParts};
use crate::telemetry::{Metrics, clock_now, utc_now};
use crate::worker::Judged;
use crate::{npy_map, pictures};

/// Results committed together at most.
const BATCH_LEN_MAX: usize = 16;
/// Old files are looked for once in this many results.
const PRUNE_EVERY_COUNT: u64 = 32;
/// Pause before a failed commit is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What the publisher hears of the recorder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Feed {
    /// Seq of the next result: all smaller ones are committed.
    pub next_seq: u64,
    /// Where the threshold stands.
    pub calibration: CalibrationBody,
}

/// What every result of this run has in common.
#[derive(Debug, Clone)]
pub struct Identity {
    /// One run of the daemon.
    pub session: String,
    /// Recipe of the parts.
    pub recipe: String,
    /// `name-version` of the bundle.
    pub bundle: String,
    /// `line` or `paper`.
    pub mode: String,
    /// What runs the networks.
    pub engine: EngineBody,
    /// Hash of the configuration.
    pub config_hash: String,
}

impl Identity {
    /// Calibration scores are only good for what they were made with.
    pub fn calibration_key(&self) -> String {
        let engine = &self.engine;
        format!("{}|{}|{}|{}|{}", self.bundle, self.mode, self.recipe, engine.name, engine.provider)
    }
}

/// What the recorder thread needs.
pub struct Recorder {
    /// The journal.
    pub journal: Journal,
    /// The spool.
    pub spool: Spool,
    /// What all results share.
    pub identity: Arc<Identity>,
    /// Where pictures go.
    pub evidence: config::Evidence,
    /// Scans kept in `done/`.
    pub keep_done_count: usize,
    /// Tells the publisher.
    pub feed: watch::Sender<Feed>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set when the daemon stops: then a failing disk is not waited for.
    pub stop: Arc<AtomicBool>,
}

impl Recorder {
    /// Records until the detector thread ends.
    pub fn run(mut self, judged: &Receiver<Judged>) {
        let mut count = 0_u64;
        while let Ok(first) = judged.recv() {
            let mut batch = vec![first];
            batch.extend(judged.try_iter().take(BATCH_LEN_MAX - 1));
            if !self.record(&batch) {
                return;
            }
            let before = count / PRUNE_EVERY_COUNT;
            count += u64::try_from(batch.len()).unwrap_or_default();
            if count / PRUNE_EVERY_COUNT > before {
                self.prune();
            }
        }
    }

    /// Records a batch; false when that was given up because the daemon stops.
    fn record(&mut self, batch: &[Judged]) -> bool {
        let evidence: Vec<_> = batch.iter().map(|judged| self.write_evidence(judged)).collect();
        let seqs = loop {
            match self.commit(batch, &evidence) {
                Ok(seqs) => break seqs,
                Err(error) => {
                    self.metrics.set_journal_failing(true);
                    error!(%error, "results cannot be committed; their scans stay in work/");
                    if self.stop.load(Ordering::Relaxed) {
                        return false;
                    }
                    std::thread::sleep(RETRY_PAUSE);
                }
            }
        };
        self.metrics.set_journal_failing(false);
        for (judged, seq) in batch.iter().zip(&seqs) {
            self.settle(judged, *seq);
        }
        if let (Some(seq), Some(last)) = (seqs.iter().max(), batch.last()) {
            self.feed.send_modify(|feed| {
                feed.next_seq = feed.next_seq.max(seq + 1);
                feed.calibration.clone_from(&last.calibration);
            });
        }
        true
    }

    /// Commits the results of a batch.
    fn commit(&mut self, batch: &[Judged], evidence: &[Option<String>]) -> Result<Vec<u64>, JournalError> {
        let key = self.identity.calibration_key();
        let ts = utc_now();
        let mut bodies: Vec<_> = batch
            .iter()
            .zip(evidence)
            .map(|(judged, evidence)| body_maker(&self.identity, judged, &ts, evidence.as_deref()))
            .collect();
        let mut entries: Vec<Entry<'_>> = batch
            .iter()
            .zip(&mut bodies)
            .map(|(judged, body)| Entry {
                claim_id: &judged.claim.id,
                part_id: &judged.claim.part_id,
                evaluation: EvaluationBody::from(judged.detection.evaluation).as_str(),
                score: judged.detection.score,
                created_utc: &ts,
                session: &self.identity.session,
                disposition: judged.disposition,
                body,
                calibration: judged.calibration_score.map(|score| (key.as_str(), score)),
            })
            .collect();
        self.journal.commit(&mut entries)
    }

    /// After the commit: the scan leaves `work/`.
    fn settle(&self, judged: &Judged, seq: u64) {
        let evaluation = EvaluationBody::from(judged.detection.evaluation);
        self.metrics.count_result(evaluation);
        self.note_times(judged);
        let reasons: Vec<_> =
            judged.detection.reasons.iter().map(|r| format!("{}: {}", r.code, r.text)).collect();
        let reason = reasons.join("\n");
        info!(seq, part = judged.claim.part_id, evaluation = evaluation.as_str(), reason, "result");
        if let Err(error) = self.spool.settle(&judged.claim.id, judged.disposition, &reason) {
            warn!(%error, claim = judged.claim.id, "the scan stays in work/ until the next start");
        }
    }

    /// Counts the times of the stages, and whether the part waited too long.
    fn note_times(&self, judged: &Judged) {
        for (stage, ms) in judged.intake_ms.iter().chain(&judged.detection.timing.stages_ms) {
            self.metrics.note_stage(stage, Duration::try_from_secs_f32(ms / 1e3).unwrap_or_default());
        }
        if judged.detection.reasons.iter().any(|reason| reason.code == "overrun") {
            self.metrics.count_overrun();
        }
    }

    /// Writes the pictures of a result. Their failure is no failure of the result.
    fn write_evidence(&self, judged: &Judged) -> Option<String> {
        let (dir, scan) = (self.evidence.dir.as_deref()?, judged.scan.as_ref()?);
        if let Some(map) = judged.detection.map.as_ref().filter(|_| self.evidence.maps) {
            let path = dir.join(format!("{}.npy", judged.claim.id));
            npy_map::write(&path, map)
                .unwrap_or_else(|error| warn!(%error, path = %path.display(), "no map written"));
        }
        if !self.evidence.overlays {
            return None;
        }
        let image = zal::picture::overlay(scan, &judged.detection)?;
        let name = format!("{}.png", judged.claim.id);
        pictures::write_png(&dir.join(&name), &image)
            .inspect_err(|error| warn!(%error, name, "no overlay written"))
            .ok()?;
        Some(name)
    }

    /// Removes old scans and pictures.
    fn prune(&self) {
        let done = self.spool.prune_done(self.keep_done_count);
        let evidence = self.evidence.dir.as_deref().map_or(Ok(()), |dir| {
            let files_per_result = 1 + usize::from(self.evidence.maps);
            prune_files(dir, self.evidence.keep_count.saturating_mul(files_per_result))
        });
        for error in [done, evidence].into_iter().filter_map(Result::err) {
            warn!(%error, "old files cannot be removed");
        }
    }
}

/// Makes the JSON of a result once its seq is known.
fn body_maker<'a>(
    identity: &'a Identity,
    judged: &'a Judged,
    ts: &'a str,
    evidence: Option<&'a str>,
) -> impl FnMut(u64) -> String + 'a {
    move |seq| {
        let parts = ResultParts {
            seq,
            session: &identity.session,
            ts: ts.to_owned(),
            clock: clock_now(),
            part_id: &judged.claim.part_id,
            recipe: &identity.recipe,
            intake_ms: &judged.intake_ms,
            engine: &identity.engine,
            bundle: &identity.bundle,
            evidence: evidence.map(str::to_owned),
        };
        ResultBody::new(parts, &judged.detection).to_json()
    }
}

/// Removes the oldest files (by name, which begins with the time) beyond `keep_count`.
fn prune_files(dir: &Path, keep_count: usize) -> std::io::Result<()> {
    let mut paths: Vec<_> =
        std::fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    let surplus = paths.len().saturating_sub(keep_count);
    paths.iter().take(surplus).try_for_each(std::fs::remove_file)
}
