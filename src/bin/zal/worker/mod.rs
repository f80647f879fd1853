//! The detector thread: one scan after the other, and the threshold from the first of them.
//!
//! The detector comes in as a closure, so that this file can be tested without networks.
//! Whatever a scan does to the detector, it is answered: a panic becomes
//! `not_decidable{internal_error}`, and the thread lives on.

mod deadline;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use tracing::{debug, error, info, info_span};
use zal::calibration::Calibration;
use zal::detector::{Detection, Evaluation, Reason, Timing};
use zal::scan::Scan;

use crate::acquire::intake::{Acquired, Wake, overrun};
use crate::acquire::{Claim, Stage, Suspects};
use crate::journal::Disposition;
use crate::message::CalibrationBody;
use crate::telemetry::Metrics;
pub use deadline::Deadlines;

/// A scan and everything said of it, on its way to the journal.
pub struct Judged {
    /// The claim that is answered.
    pub claim: Claim,
    /// The scan, when it could be read.
    pub scan: Option<Scan>,
    /// What is said of it.
    pub detection: Detection,
    /// Where its files go.
    pub disposition: Disposition,
    /// Milliseconds of the stages before the detector.
    pub intake_ms: Vec<(String, f32)>,
    /// Its score, when it is one of those that set the threshold.
    pub calibration_score: Option<f32>,
    /// Where the threshold stands after this part, when the detector thread answered it.
    pub calibration: Option<CalibrationBody>,
}

impl Judged {
    /// The answer to a part that is not judged, though nothing is known to be wrong with it.
    pub fn unjudged(claim: Claim, reason: Reason, waited: Duration) -> Self {
        Self {
            claim,
            scan: None,
            detection: undecided(reason),
            disposition: Disposition::Done,
            intake_ms: vec![("wait".to_owned(), waited.as_secs_f32() * 1e3)],
            calibration_score: None,
            calibration: None,
        }
    }
}

/// Gathers the scores of the first parts and makes the threshold of them.
pub struct Calibrator {
    need_count: usize,
    rate: f32,
    scores: Vec<f32>,
    calibration: Option<Calibration>,
}

impl Calibrator {
    /// Keeps the calibration that the bundle brings, if any.
    pub const fn fixed(calibration: Option<Calibration>) -> Self {
        Self { need_count: 0, rate: 0.0, scores: Vec::new(), calibration }
    }

    /// Takes the first `need_count` scores, of which `scores` are already known.
    pub fn from_first(need_count: usize, rate: f32, mut scores: Vec<f32>) -> Self {
        scores.truncate(need_count);
        let mut calibrator = Self { need_count, rate, scores, calibration: None };
        calibrator.complete();
        calibrator
    }

    /// The calibration in use.
    pub const fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Takes a detection made while calibrating: its score is kept and no verdict is given.
    /// Gives the score that was taken.
    fn take(&mut self, detection: &mut Detection) -> Option<f32> {
        if self.need_count == 0 || self.scores.len() >= self.need_count {
            return None;
        }
        let judged = detection.evaluation != Evaluation::NotDecidable;
        let score = detection.score.filter(|s| judged && s.is_finite())?;
        self.scores.push(score);
        detection.evaluation = Evaluation::Undefined;
        detection.reasons.push(Reason {
            code: "calibrating".into(),
            text: format!("part {} of the {} that set the threshold", self.scores.len(), self.need_count),
        });
        self.complete();
        Some(score)
    }

    fn complete(&mut self) {
        if self.need_count == 0 || self.scores.len() < self.need_count {
            return;
        }
        match Calibration::new(self.scores.clone(), self.rate) {
            Ok(calibration) => {
                info!(
                    threshold = calibration.threshold(),
                    parts = self.need_count,
                    promised_rate = calibration.promised_rate(),
                    "calibrated from the first parts"
                );
                self.calibration = Some(calibration);
            }
            Err(error) => error!(%error, "cannot calibrate"),
        }
    }

    /// As published in `/birth`.
    pub fn body(&self) -> CalibrationBody {
        let in_use = self.calibration.as_ref();
        CalibrationBody {
            threshold: in_use.map(Calibration::threshold),
            have_count: in_use.map_or(self.scores.len(), |c| c.scores().len()),
            need_count: self.need_count,
            promised_rate: in_use.map(Calibration::promised_rate),
        }
    }
}

/// How often a detector thread without scans looks for other work.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);

/// What judges scans, and what it does when the answer is on its way.
pub trait Judge {
    /// Judges one scan with the calibration in use.
    fn judge(&mut self, claim: &Claim, scan: &Scan, calibration: Option<&Calibration>) -> Detection;

    /// Called when the answer to a scan has been handed on.
    fn after(&mut self) {}

    /// Called now and then while no scan comes.
    fn idle(&mut self) {}

    /// Where the threshold stands, when it is this judge's own.
    fn calibration(&mut self) -> Option<CalibrationBody> {
        None
    }
}

impl<F: FnMut(&Scan, Option<&Calibration>) -> Detection> Judge for F {
    fn judge(&mut self, _: &Claim, scan: &Scan, calibration: Option<&Calibration>) -> Detection {
        self(scan, calibration)
    }
}

/// What the detector thread needs.
pub struct Worker<J> {
    /// Judges one scan with the calibration in use.
    pub judge: J,
    /// Where the threshold comes from.
    pub calibrator: Calibrator,
    /// A scan that waited longer is not judged; zero for no limit.
    pub wait_max: Duration,
    /// When each part must be answered.
    pub deadlines: Deadlines,
    /// Which scan is in hand.
    pub suspects: Suspects,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set when no further scan is to be begun.
    pub stop: Arc<AtomicBool>,
}

impl<J: Judge> Worker<J> {
    /// Judges until the intake ends or the daemon stops; what is still queued then stays in
    /// `work/` for the next start.
    pub fn run(mut self, scans: &Receiver<Acquired>, judged: &SyncSender<Judged>, waker: &Sender<Wake>) {
        loop {
            let acquired = match scans.recv_timeout(IDLE_INTERVAL) {
                Ok(acquired) => acquired,
                Err(RecvTimeoutError::Timeout) => {
                    self.unwound("idle", Judge::idle);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Some(answer) = self.answer(acquired)
                && judged.send(answer).is_err()
            {
                return;
            }
            // The intake has ended when nobody listens.
            let _ = waker.send(Wake::Judged);
            self.unwound("after a scan", Judge::after);
        }
    }

    /// Answers one scan, whatever it is; none when its deadline has answered it.
    fn answer(&mut self, acquired: Acquired) -> Option<Judged> {
        let Acquired { claim, scan, read_ms, seen } = acquired;
        let _span = info_span!("scan", scan_id = claim.id).entered();
        if !self.deadlines.is_open(&claim) {
            return None;
        }
        let waited = seen.elapsed();
        let intake_ms =
            vec![("wait".to_owned(), waited.as_secs_f32() * 1e3 - read_ms), ("read".to_owned(), read_ms)];
        let (scan, mut detection) = match scan {
            Err(reason) => (None, undecided(reason)),
            Ok(scan) if !self.wait_max.is_zero() && waited > self.wait_max => {
                (Some(scan), undecided(overrun(waited, self.wait_max)))
            }
            Ok(scan) => {
                self.suspects.begin(Stage::Judging, &claim.id);
                let detection = self.detect(&claim, &scan);
                self.suspects.end(Stage::Judging);
                (Some(scan), detection)
            }
        };
        if !self.deadlines.finish(&claim) {
            info!(evaluation = ?detection.evaluation, "judged after its deadline; the verdict is not used");
            return None;
        }
        let calibration_score = self.calibrator.take(&mut detection);
        debug!(evaluation = ?detection.evaluation, score = detection.score, "judged");
        Some(Judged {
            disposition: if scan.is_some() { Disposition::Done } else { Disposition::Bad },
            claim,
            scan,
            detection,
            intake_ms,
            calibration_score,
            calibration: Some(self.judge.calibration().unwrap_or_else(|| self.calibrator.body())),
        })
    }

    /// Lets the judge do other work, and survives its panics.
    fn unwound(&mut self, when: &str, work: fn(&mut J)) {
        let judge = &mut self.judge;
        if catch_unwind(AssertUnwindSafe(|| work(judge))).is_err() {
            error!(when, "the reference set failed, which is a bug in zal");
        }
    }

    /// Runs the detector and survives its panics.
    fn detect(&mut self, claim: &Claim, scan: &Scan) -> Detection {
        let start = Instant::now();
        self.metrics.begin_detect();
        let (judge, calibration) = (&mut self.judge, self.calibrator.calibration());
        let detection = catch_unwind(AssertUnwindSafe(|| judge.judge(claim, scan, calibration)));
        self.metrics.end_detect(start.elapsed());
        detection.unwrap_or_else(|_| {
            error!("the detector failed on this scan, which is a bug in zal; the scan is kept in done/");
            undecided(Reason {
                code: "internal_error".into(),
                text: "the detector failed on this scan, which is a bug in zal; please keep the scan".into(),
            })
        })
    }
}

/// A detection that says only why there is none.
pub fn undecided(reason: Reason) -> Detection {
    Detection {
        evaluation: Evaluation::NotDecidable,
        score: None,
        threshold: None,
        p_value: None,
        reasons: vec![reason],
        branches: Vec::new(),
        regions: Vec::new(),
        nearest: None,
        map: None,
        against: None,
        timing: Timing::default(),
    }
}

#[cfg(test)]
mod tests;
