//! The intake thread: watches the spool, claims scans in order, and reads them ahead of the
//! detector, never more than the queue holds.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use notify::Watcher;
use tracing::{debug, error, warn};
use zal::detector::Reason;
use zal::scan::{Scan, SensorProfile};

use super::{Claim, Spool, Waiting};
use crate::telemetry::{Metrics, utc_now, words_of};

/// What wakes the intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Something moved in the spool.
    Changed,
    /// The detector took a scan from the queue and answered it.
    Judged,
    /// No more scans are to be claimed.
    Stop,
}

/// A claimed scan, read or not.
#[derive(Debug)]
pub struct Acquired {
    /// The claim.
    pub claim: Claim,
    /// The scan, or why it cannot be read.
    pub scan: Result<Scan, Reason>,
    /// Milliseconds that reading took.
    pub read_ms: f32,
    /// When the scan was first seen in the spool.
    pub seen: Instant,
}

/// What the intake thread needs.
pub struct Intake {
    /// The spool.
    pub spool: Spool,
    /// What the files mean.
    pub profile: SensorProfile,
    /// Scans read ahead.
    pub queue_len_max: usize,
    /// The slow look.
    pub poll_interval: Duration,
    /// How long a file must be unchanged.
    pub settle: Duration,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// When a waiting scan was first seen, and since when it is unchanged.
struct Sighting {
    seen: Instant,
    unchanged_since: Instant,
    state: (SystemTime, u64),
}

impl Intake {
    /// Runs until told to stop or the detector is gone. `left_over` are claims of a former run.
    pub fn run(
        self,
        left_over: Vec<Claim>,
        wakes: &Receiver<Wake>,
        waker: Sender<Wake>,
        out: &SyncSender<Acquired>,
    ) {
        let _watcher = self.watch(waker);
        let mut sightings = HashMap::new();
        let mut left_over = left_over.into_iter();
        let mut queue_len = 0_usize;
        loop {
            while queue_len < self.queue_len_max {
                let next = left_over
                    .next()
                    .map(|claim| (claim, Instant::now()))
                    .or_else(|| self.claim_next(&mut sightings));
                let Some((claim, seen)) = next else { break };
                if out.send(self.read(claim, seen)).is_err() {
                    return;
                }
                queue_len += 1;
                self.metrics.set_queue_len(queue_len);
                if !drain(wakes, &mut queue_len) {
                    return;
                }
            }
            match wakes.recv_timeout(self.poll_interval) {
                Ok(Wake::Stop) | Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
                Ok(Wake::Judged) => queue_len = queue_len.saturating_sub(1),
                Ok(Wake::Changed) | Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            }
            if !drain(wakes, &mut queue_len) {
                return;
            }
            self.metrics.set_queue_len(queue_len);
        }
    }

    /// Asks the system to wake the intake on changes. Without it the slow look remains.
    fn watch(&self, waker: Sender<Wake>) -> Option<notify::RecommendedWatcher> {
        let on_event = move |_: notify::Result<notify::Event>| {
            // The intake is gone when nobody listens; there is nothing to wake then.
            let _ = waker.send(Wake::Changed);
        };
        let start = || {
            let mut watcher = notify::recommended_watcher(on_event)?;
            watcher.watch(self.spool.incoming(), notify::RecursiveMode::NonRecursive)?;
            Ok::<_, notify::Error>(watcher)
        };
        start().inspect_err(|error| warn!(%error, "the spool is only polled")).ok()
    }

    /// Claims the oldest scan that is ready.
    fn claim_next(&self, sightings: &mut HashMap<String, Sighting>) -> Option<(Claim, Instant)> {
        let waiting = match self.spool.waiting() {
            Ok(waiting) => waiting,
            Err(error) => {
                self.metrics.set_intake_failing(true);
                error!(%error, "cannot list the spool");
                return None;
            }
        };
        sightings.retain(|name, _| waiting.iter().any(|w| w.name == *name));
        let now = Instant::now();
        waiting.iter().for_each(|w| note(sightings, w, now));
        for scan in &waiting {
            let sighting = &sightings[&scan.name];
            if now.duration_since(sighting.unchanged_since) < self.settle {
                continue;
            }
            match self.spool.claim(&scan.name, &utc_now()) {
                Ok(Some(claim)) => {
                    self.metrics.set_intake_failing(false);
                    return Some((claim, sighting.seen));
                }
                Ok(None) => debug!(name = scan.name, "taken back by its writer"),
                Err(error) => {
                    self.metrics.set_intake_failing(true);
                    error!(name = scan.name, %error, "cannot claim the scan; it stays in incoming/");
                }
            }
        }
        None
    }

    /// Reads the scan of a claim. A bad file must not stop the daemon, whatever it does to
    /// the reader.
    fn read(&self, claim: Claim, seen: Instant) -> Acquired {
        let start = Instant::now();
        let scan = catch_unwind(AssertUnwindSafe(|| zal::scan::read(&claim.scan_path, &self.profile)));
        let scan = match scan {
            Ok(Ok(scan)) => Ok(scan),
            Ok(Err(error)) => Err(Reason { code: error.code().into(), text: words_of(&error) }),
            Err(_) => Err(Reason {
                code: "internal_error".into(),
                text: "the reader failed on this file, which is a bug in zal; please keep the file".into(),
            }),
        };
        Acquired { claim, scan, read_ms: start.elapsed().as_secs_f32() * 1e3, seen }
    }
}

/// Notes when a scan was seen and whether it changed since.
fn note(sightings: &mut HashMap<String, Sighting>, scan: &Waiting, now: Instant) {
    let state = (scan.modified, scan.size_bytes);
    let fresh = || Sighting { seen: now, unchanged_since: now, state };
    let sighting = sightings.entry(scan.name.clone()).or_insert_with(fresh);
    if sighting.state != state {
        sighting.state = state;
        sighting.unchanged_since = now;
    }
}

/// Takes the wakes that have gathered; false when the intake is to stop.
fn drain(wakes: &Receiver<Wake>, queue_len: &mut usize) -> bool {
    wakes.try_iter().all(|wake| {
        if wake == Wake::Judged {
            *queue_len = queue_len.saturating_sub(1);
        }
        wake != Wake::Stop
    })
}
