//! The recorder thread: evidence on disk, results into the journal, then the scan out of
//! `work/`, in this order. Results that are ready together are committed together, so a slow
//! disk costs one wait for several parts. When the disk takes nothing, results go on through
//! the journal's memory and their scans stay where they are until the disk has them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::acquire::{Claim, Spool};
use crate::alarms::AlarmCode;
use crate::config;
use crate::journal::{Committed, Disposition, Entry, Journal, JournalError, Trimmed};
use crate::message::{CalibrationBody, EngineBody, EvaluationBody, ResultBody, ResultParts};
use crate::reference::RecipeRule;
use crate::telemetry::{Metrics, clock_now, utc_now};
use crate::worker::Judged;
use crate::{npy_map, pictures};

/// Results committed together at most.
const BATCH_LEN_MAX: usize = 16;
/// Old files are looked for once in this many results.
const PRUNE_EVERY_COUNT: u64 = 32;
/// Pause before a failed commit is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often a disk that took nothing is tried again without new results.
const MEND_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Recipe of the parts whose name says none.
    pub recipe: String,
    /// Which recipe a part is made by.
    pub recipes: RecipeRule,
    /// `name-version` of the bundle.
    pub bundle: String,
    /// Its file and who signed it.
    pub origin: BundleOrigin,
    /// `line` or `paper`.
    pub mode: String,
    /// What runs the networks.
    pub engine: EngineBody,
    /// Hash of the configuration.
    pub config_hash: String,
}

/// Where a bundle in use comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleOrigin {
    /// Its file; none when it is within the program.
    pub path: Option<PathBuf>,
    /// Hash of the file, when it is of the bundle store.
    pub sha256: Option<String>,
    /// Which kind of key signed it, and the key's id.
    pub signer: String,
}

impl Identity {
    /// Calibration scores are only good for what they were made with.
    pub fn calibration_key(&self) -> String {
        let engine = &self.engine;
        format!("{}|{}|{}|{}|{}", self.bundle, self.mode, self.recipe, engine.name, engine.provider)
    }

    /// What descriptors were made with: those of others are not comparable.
    pub fn made_with(&self) -> String {
        let engine = &self.engine;
        format!("{}|{}|{}|{}", self.bundle, self.mode, engine.name, engine.provider)
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
    /// Bytes that the journal may hold.
    pub journal_size_max_bytes: u64,
    /// Scans that are answered and could not be moved yet.
    pub unsettled: Vec<Unsettled>,
}

/// An answered scan that is still where it was.
#[derive(Debug)]
pub struct Unsettled {
    claim: Claim,
    disposition: Disposition,
    reason: String,
}

impl Recorder {
    /// Records until the detector thread ends.
    pub fn run(mut self, judged: &Receiver<Judged>) {
        let mut count = 0_u64;
        loop {
            let first = match judged.recv_timeout(MEND_INTERVAL) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.mend();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
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
        self.mend();
    }

    /// Tries again what the disk did not take.
    fn mend(&mut self) {
        if self.unsettled.is_empty() {
            return;
        }
        match self.journal.commit(&mut []) {
            Ok(committed) => self.note_disk(committed.only_in_memory.as_ref()),
            Err(error) => self.note_disk(Some(&error)),
        }
    }

    /// Raises or clears the alarm, and moves what waits for the disk.
    fn note_disk(&mut self, failure: Option<&JournalError>) {
        let alarms = self.metrics.alarms();
        if let Some(error) = failure {
            let text = format!("results are only in memory, and their scans stay: {error}");
            alarms.raise(AlarmCode::JournalFailing, text);
            return;
        }
        self.metrics.set_journal_failing(false);
        let waiting = std::mem::take(&mut self.unsettled);
        self.unsettled = waiting.into_iter().filter(|scan| !self.is_settled(scan)).collect();
    }

    /// Moves an answered scan; whether that was possible.
    fn is_settled(&self, scan: &Unsettled) -> bool {
        let settled = self.spool.settle(&scan.claim, scan.disposition, &scan.reason);
        let alarms = self.metrics.alarms();
        match &settled {
            Ok(()) => alarms.clear(AlarmCode::IntakeFailing),
            Err(error) => {
                let text = format!("the answered scan {} cannot be moved: {error}", scan.claim.id);
                alarms.raise(AlarmCode::IntakeFailing, text);
            }
        }
        settled.is_ok()
    }

    /// Records a batch; false when that was given up because the daemon stops.
    fn record(&mut self, batch: &[Judged]) -> bool {
        let evidence: Vec<_> = batch.iter().map(|judged| self.write_evidence(judged)).collect();
        let committed = loop {
            match self.commit(batch, &evidence) {
                Ok(committed) => break committed,
                Err(error) => {
                    let text = format!("results cannot be committed; their scans stay in work/: {error}");
                    self.metrics.alarms().raise(AlarmCode::JournalFailing, text);
                    if self.stop.load(Ordering::Relaxed) {
                        return false;
                    }
                    std::thread::sleep(RETRY_PAUSE);
                }
            }
        };
        let seqs = committed.seqs;
        for (judged, seq) in batch.iter().zip(&seqs) {
            self.note_result(judged, *seq);
        }
        self.note_disk(committed.only_in_memory.as_ref());
        let calibration = batch.iter().rev().find_map(|judged| judged.calibration.clone());
        if let Some(seq) = seqs.iter().max() {
            self.feed.send_modify(|feed| {
                feed.next_seq = feed.next_seq.max(seq + 1);
                feed.calibration = calibration.unwrap_or_else(|| std::mem::take(&mut feed.calibration));
            });
        }
        true
    }

    /// Commits the results of a batch.
    fn commit(&mut self, batch: &[Judged], evidence: &[Option<String>]) -> Result<Committed, JournalError> {
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

    /// After the commit: the result is counted, and its scan may leave `work/`.
    fn note_result(&mut self, judged: &Judged, seq: u64) {
        let evaluation = EvaluationBody::from(judged.detection.evaluation);
        self.metrics.count_result(evaluation);
        self.note_times(judged);
        let reasons: Vec<_> =
            judged.detection.reasons.iter().map(|r| format!("{}: {}", r.code, r.text)).collect();
        let reason = reasons.join("\n");
        info!(seq, part = judged.claim.part_id, evaluation = evaluation.as_str(), reason, "result");
        let (claim, disposition) = (judged.claim.clone(), judged.disposition);
        self.unsettled.push(Unsettled { claim, disposition, reason });
    }

    /// Counts the times of the stages, and whether the part waited too long.
    fn note_times(&self, judged: &Judged) {
        for (stage, ms) in judged.intake_ms.iter().chain(&judged.detection.timing.stages_ms) {
            self.metrics.note_stage(stage, Duration::try_from_secs_f32(ms / 1e3).unwrap_or_default());
        }
        self.metrics.note_judged(&judged.detection);
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

    /// Removes old scans and pictures, and what the journal may no longer hold.
    fn prune(&mut self) {
        match self.journal.trim(self.journal_size_max_bytes) {
            Ok(trimmed) => self.note_trimmed(trimmed),
            Err(error) => warn!(%error, "the journal cannot be kept within its limit"),
        }
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

impl Recorder {
    /// Says what had to go that should not have.
    fn note_trimmed(&self, trimmed: Trimmed) {
        let alarms = self.metrics.alarms();
        if trimmed.unacked_count > 0 {
            let text = format!(
                "{} results that are ok were removed before the broker had them",
                trimmed.unacked_count
            );
            let _ = self.journal.note_event(&utc_now(), "unacked_dropped", &text);
            alarms.raise(AlarmCode::JournalFull, text);
        } else if trimmed.excess_bytes > 0 {
            let text = format!(
                "{} bytes beyond the limit, all of them results that are not ok and not confirmed",
                trimmed.excess_bytes
            );
            alarms.raise(AlarmCode::JournalFull, text);
        } else {
            alarms.clear(AlarmCode::JournalFull);
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
            recipe: identity.recipes.of(&judged.claim.part_id),
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
