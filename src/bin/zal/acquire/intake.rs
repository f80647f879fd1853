//! The intake thread: watches the spool, claims scans in order, and reads them ahead of the
//! detector, never more than the queue holds. What waits for too long is answered at once.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, warn};
use zal::detector::Reason;
use zal::scan::{Scan, SensorProfile};

use super::pictures::LonePictures;
use super::watch::watch;
use super::{Claim, Spool, Stage, Suspects, Waiting};
use crate::alarms::AlarmCode;
use crate::telemetry::{Metrics, utc_now, words_of};
use crate::worker::{Deadlines, Judged};

/// An alarm about parts without a verdict stays for this long after the last of them.
const OVERRUN_CALM: Duration = Duration::from_secs(30);

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
    /// How long a .tiff waits for its picture.
    pub picture_wait: Duration,
    /// How often the daemon may end while it works on one scan.
    pub tries_max: u32,
    /// A scan that waited longer is not judged; zero for no limit.
    pub wait_max: Duration,
    /// When each part must be answered.
    pub deadlines: Deadlines,
    /// Takes the answers to what is not even read.
    pub answers: SyncSender<Judged>,
    /// Which scan is in hand.
    pub suspects: Suspects,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// What the intake remembers of `incoming/`.
#[derive(Default)]
struct Memory {
    sightings: HashMap<String, Sighting>,
    sighting_count: u64,
    pictures: LonePictures,
    /// Scans answered where they lie, as they were then.
    in_place: HashMap<String, (SystemTime, u64)>,
    last_overrun: Option<Instant>,
}

/// When a waiting scan was first seen, and since when it is unchanged.
struct Sighting {
    order: u64,
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
        let mut memory = Memory::default();
        let mut left_over = left_over.into_iter().peekable();
        let mut queue_len = 0_usize;
        // A scan that may have ended the daemon is worked on alone.
        let mut alone = false;
        loop {
            while queue_len < if alone { 1 } else { self.queue_len_max } {
                if left_over.peek().is_some_and(|claim| claim.tries > 0) && queue_len > 0 {
                    break;
                }
                let next = left_over.next().map(|claim| (claim, Instant::now()));
                let Some((claim, seen)) = next.or_else(|| self.claim_next(&mut memory)) else { break };
                alone = claim.tries > 0;
                self.deadlines.watch(&claim, seen);
                if out.send(self.read(claim, seen)).is_err() {
                    return;
                }
                queue_len += 1;
                self.metrics.set_queue_len(queue_len);
                if !drain(wakes, &mut queue_len) {
                    return;
                }
            }
            if !self.answer_overdue(&mut memory) {
                return;
            }
            memory.pictures.sweep(&self.spool, Instant::now());
            match wakes.recv_timeout(self.pause(&memory)) {
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
        // The intake is gone when nobody listens; there is nothing to wake then.
        let wake = move || {
            let _ = waker.send(Wake::Changed);
        };
        watch(self.spool.incoming(), wake).inspect_err(|error| warn!(%error, "the spool is only polled")).ok()
    }

    /// How long to sleep when nothing wakes the intake: less while something may become due.
    fn pause(&self, memory: &Memory) -> Duration {
        if memory.sightings.is_empty() {
            return self.poll_interval;
        }
        let due = [self.limit(), Some(self.picture_wait), Some(self.settle)];
        let due = due.into_iter().flatten().filter(|limit| !limit.is_zero()).min();
        due.map_or(self.poll_interval, |limit| {
            (limit / 4).max(Duration::from_millis(5)).min(self.poll_interval)
        })
    }

    /// How long a scan may wait unread.
    fn limit(&self) -> Option<Duration> {
        let wait_max = Some(self.wait_max).filter(|limit| !limit.is_zero());
        [wait_max, self.deadlines.limit()].into_iter().flatten().min()
    }

    /// Claims the scan that was seen first of those that are ready.
    fn claim_next(&self, memory: &mut Memory) -> Option<(Claim, Instant)> {
        let ready = self.ready(memory)?;
        ready.into_iter().find_map(|(scan, seen)| Some((self.take(&scan, memory)?, seen)))
    }

    /// What may be claimed, in the order in which it was seen; none when the spool cannot be
    /// listed.
    fn ready(&self, memory: &mut Memory) -> Option<Vec<(Waiting, Instant)>> {
        let waiting = match self.spool.waiting() {
            Ok(waiting) => waiting,
            Err(error) => {
                self.metrics.set_intake_failing(true);
                error!(%error, "cannot list the spool");
                return None;
            }
        };
        let now = Instant::now();
        memory.note(&waiting, now);
        let mut ready: Vec<_> = waiting.into_iter().filter(|scan| self.is_ready(scan, memory, now)).collect();
        // The times of files are of no use when the clock is set back.
        ready.sort_by_key(|scan| memory.sightings[&scan.name].order);
        let seen = |scan: &Waiting| memory.sightings[&scan.name].seen;
        Some(
            ready
                .into_iter()
                .map(|scan| {
                    let seen = seen(&scan);
                    (scan, seen)
                })
                .collect(),
        )
    }

    fn is_ready(&self, scan: &Waiting, memory: &Memory, now: Instant) -> bool {
        let sighting = &memory.sightings[&scan.name];
        let settled = now.duration_since(sighting.unchanged_since) >= self.settle;
        let complete =
            now.duration_since(sighting.seen) >= self.picture_wait || !self.spool.awaits_picture(&scan.name);
        settled && complete && memory.in_place.get(&scan.name) != Some(&sighting.state)
    }

    /// Claims a scan. One that cannot be moved is judged where it lies.
    fn take(&self, scan: &Waiting, memory: &mut Memory) -> Option<Claim> {
        match self.spool.claim(&scan.name, &utc_now()) {
            Ok(Some(claim)) => {
                self.metrics.set_intake_failing(false);
                Some(claim)
            }
            Ok(None) => {
                debug!(name = scan.name, "taken back by its writer");
                None
            }
            Err(error) => {
                let text = format!("{} cannot be claimed and is judged where it lies: {error}", scan.name);
                self.metrics.alarms().raise(AlarmCode::IntakeFailing, text);
                memory.in_place.insert(scan.name.clone(), (scan.modified, scan.size_bytes));
                Some(self.spool.in_place(scan))
            }
        }
    }

    /// Answers scans that have waited too long to be judged, without reading them: so every
    /// part is answered, however many come. False when nobody takes answers any more.
    fn answer_overdue(&self, memory: &mut Memory) -> bool {
        let Some(limit) = self.limit() else { return true };
        let now = Instant::now();
        let is_overdue = |(_, seen): &(Waiting, Instant)| now.duration_since(*seen) > limit;
        let overdue: Vec<_> = self.ready(memory).into_iter().flatten().filter(is_overdue).collect();
        for (scan, seen) in overdue {
            let Some(claim) = self.take(&scan, memory) else { continue };
            let waited = seen.elapsed();
            let reason = match self.deadlines.limit() {
                Some(deadline) if waited >= deadline => self.deadlines.reason(waited),
                _ => overrun(waited, self.wait_max),
            };
            memory.last_overrun = Some(now);
            let text = format!("part {} waited {} ms", claim.part_id, waited.as_millis());
            self.metrics.alarms().raise(AlarmCode::Overrun, text);
            if self.answers.send(Judged::unjudged(claim, reason, waited)).is_err() {
                return false;
            }
        }
        if memory.last_overrun.is_some_and(|last| now.duration_since(last) > OVERRUN_CALM) {
            memory.last_overrun = None;
            self.metrics.alarms().clear(AlarmCode::Overrun);
        }
        true
    }

    /// Reads the scan of a claim. A bad file must not stop the daemon, whatever it does to
    /// the reader.
    fn read(&self, claim: Claim, seen: Instant) -> Acquired {
        let start = Instant::now();
        if claim.tries >= self.tries_max {
            let reason = crash_loop(claim.tries, self.tries_max);
            return Acquired { claim, scan: Err(reason), read_ms: 0.0, seen };
        }
        self.suspects.begin(Stage::Reading, &claim.id);
        let scan = catch_unwind(AssertUnwindSafe(|| zal::scan::read(&claim.scan_path, &self.profile)));
        self.suspects.end(Stage::Reading);
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

impl Memory {
    /// Notes when scans were seen and whether they changed since.
    fn note(&mut self, waiting: &[Waiting], now: Instant) {
        let names: std::collections::HashSet<&str> = waiting.iter().map(|scan| scan.name.as_str()).collect();
        self.sightings.retain(|name, _| names.contains(name.as_str()));
        self.in_place.retain(|name, _| names.contains(name.as_str()));
        for scan in waiting {
            let state = (scan.modified, scan.size_bytes);
            let order = self.sighting_count;
            let sighting = self.sightings.entry(scan.name.clone()).or_insert_with(|| {
                self.sighting_count += 1;
                Sighting { order, seen: now, unchanged_since: now, state }
            });
            if sighting.state != state {
                sighting.state = state;
                sighting.unchanged_since = now;
            }
        }
    }
}

/// The reason given to a part that waited too long to be judged.
pub fn overrun(waited: Duration, wait_max: Duration) -> Reason {
    let text = format!("the part waited {} ms, {} ms are allowed", waited.as_millis(), wait_max.as_millis());
    Reason { code: "overrun".into(), text }
}

/// The reason given to a scan that is not tried again.
fn crash_loop(tries: u32, tries_max: u32) -> Reason {
    let text = format!(
        "zal ended {tries} times while it worked on this scan, {tries_max} are allowed; that is a bug in zal, please keep the scan"
    );
    Reason { code: "crash_loop".into(), text }
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
