//! Log, counters and clocks of the daemon.

mod exposition;
mod histogram;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

use crate::alarms::{AlarmCode, Alarms};
use crate::message::{ClockBody, Counts, EvaluationBody, UpdateBody};
use exposition::disk_free_bytes;
use histogram::Histogram;

/// Stages that are told apart; the detector has about a dozen.
const STAGES_MAX: usize = 64;
/// Detections whose times are remembered, to compare one bundle with the next.
const DETECT_TIMES_MAX: usize = 64;

/// Starts the log on stderr; `RUST_LOG` overrides `level`. JSON lines when stderr is not a terminal
/// and `json` asks for it. Calling it twice is harmless.
pub fn start_log(level: &str, json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if json { builder.json().try_init() } else { builder.with_target(false).try_init() };
}

/// The time in UTC, RFC 3339, milliseconds.
pub fn utc_now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// A name for this run of the daemon that no other run has.
pub fn new_session() -> String {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write(utc_now().as_bytes());
    format!("{:016x}", hasher.finish())
}

/// An error and its causes in one line, without saying anything twice.
pub fn words_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}

/// The clocks now.
pub fn clock_now() -> ClockBody {
    let synced_file = std::path::Path::new("/run/systemd/timesync");
    ClockBody {
        synced: synced_file.exists().then(|| synced_file.join("synchronized").exists()),
        boot_id: boot().id.clone(),
        mono_ns: boot().uptime_ns + u64::try_from(boot().read.elapsed().as_nanos()).unwrap_or(u64::MAX),
    }
}

/// One boot of the machine, and a monotonic clock that counts from it.
struct Boot {
    id: String,
    uptime_ns: u64,
    read: Instant,
}

fn boot() -> &'static Boot {
    static BOOT: OnceLock<Boot> = OnceLock::new();
    BOOT.get_or_init(|| {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let uptime = read("/proc/uptime");
        let uptime_s: f64 = uptime.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or_default();
        let uptime_ns = Duration::try_from_secs_f64(uptime_s).unwrap_or_default().as_nanos();
        Boot {
            id: read("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            uptime_ns: u64::try_from(uptime_ns).unwrap_or_default(),
            read: Instant::now(),
        }
    })
}

/// Counters that every thread may raise and HTTP and MQTT show.
#[derive(Debug)]
pub struct Metrics {
    start: Instant,
    results: [AtomicU64; 4],
    stages: Mutex<BTreeMap<String, Histogram>>,
    overrun_count: AtomicU64,
    detect_last_us: AtomicU64,
    busy_since_ms: AtomicU64,
    queue_len: AtomicU64,
    journal_depth: AtomicU64,
    journal_age_s: AtomicU64,
    refused_count: AtomicU64,
    published_count: AtomicU64,
    connection_count: AtomicU64,
    mqtt_connected: AtomicBool,
    ready: AtomicBool,
    judged: Mutex<JudgedSoFar>,
    update: Mutex<Option<UpdateBody>>,
    alarms: Alarms,
    info: OnceLock<Vec<(&'static str, String)>>,
    disks: OnceLock<Vec<(&'static str, PathBuf)>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            start: Instant::now(),
            results: std::array::from_fn(|_| zero()),
            stages: Mutex::default(),
            overrun_count: zero(),
            detect_last_us: zero(),
            busy_since_ms: zero(),
            queue_len: zero(),
            journal_depth: zero(),
            journal_age_s: zero(),
            refused_count: zero(),
            published_count: zero(),
            connection_count: zero(),
            mqtt_connected: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            judged: Mutex::default(),
            update: Mutex::default(),
            alarms: Alarms::default(),
            info: OnceLock::new(),
            disks: OnceLock::new(),
        }
    }
}

/// What a bundle has done since it was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JudgedSoFar {
    /// Parts that have a score.
    pub scored_count: u64,
    /// Parts on which the detector itself failed.
    pub failed_count: u64,
    /// Microseconds of the newest detections that gave a score.
    detect_us: VecDeque<u64>,
}

impl JudgedSoFar {
    /// Median time of a detection; none while fewer than `least` are known.
    pub fn median_us(&self, least: usize) -> Option<u64> {
        let mut sorted: Vec<u64> = self.detect_us.iter().copied().collect();
        sorted.sort_unstable();
        (sorted.len() >= least.max(1)).then(|| sorted[sorted.len() / 2])
    }
}

/// The order of the counters of results.
const EVALUATIONS: [EvaluationBody; 4] =
    [EvaluationBody::Ok, EvaluationBody::NotOk, EvaluationBody::NotDecidable, EvaluationBody::Undefined];

impl Metrics {
    /// Seconds since the daemon began.
    pub fn uptime_s(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Counts a committed result.
    pub fn count_result(&self, evaluation: EvaluationBody) {
        if let Some(index) = EVALUATIONS.iter().position(|e| *e == evaluation) {
            self.results[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Results by evaluation.
    pub fn counts(&self) -> Counts {
        let [ok, not_ok, not_decidable, undefined] =
            std::array::from_fn(|i| self.results[i].load(Ordering::Relaxed));
        Counts { ok, not_ok, not_decidable, undefined }
    }

    /// Notes that the detector begins a scan.
    pub fn begin_detect(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.busy_since_ms.store(now.max(1), Ordering::Relaxed);
    }

    /// Notes that the detector has finished a scan.
    pub fn end_detect(&self, elapsed: Duration) {
        self.busy_since_ms.store(0, Ordering::Relaxed);
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.detect_last_us.store(us, Ordering::Relaxed);
    }

    /// Counts the time of one stage of a scan.
    pub fn note_stage(&self, stage: &str, duration: Duration) {
        let mut stages = self.lock_stages();
        if let Some(histogram) = stages.get_mut(stage) {
            histogram.note(duration);
        } else if stages.len() < STAGES_MAX {
            stages.entry(stage.to_owned()).or_default().note(duration);
        }
    }

    /// Notes a committed detection, so that a bundle on trial can prove itself.
    pub fn note_judged(&self, detection: &zal::detector::Detection) {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.failed_count += u64::from(detection.reasons.iter().any(|r| r.code == "internal_error"));
        if detection.score.is_none() {
            return;
        }
        judged.scored_count += 1;
        if judged.detect_us.len() == DETECT_TIMES_MAX {
            judged.detect_us.pop_front();
        }
        let ms: f32 = detection.timing.stages_ms.iter().map(|(_, ms)| ms).sum();
        let time = Duration::try_from_secs_f32(ms / 1e3).unwrap_or_default();
        judged.detect_us.push_back(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// What this run's bundle has done.
    pub fn judged_so_far(&self) -> JudgedSoFar {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the update of the bundle does; none without a bundle store.
    pub fn update(&self) -> Option<UpdateBody> {
        self.update.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets [`Metrics::update`].
    pub fn set_update(&self, body: UpdateBody) {
        *self.update.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// Counts a part that waited too long.
    pub fn count_overrun(&self) {
        self.overrun_count.fetch_add(1, Ordering::Relaxed);
    }

    /// A thread that panicked while it held the map has left it whole.
    fn lock_stages(&self) -> MutexGuard<'_, BTreeMap<String, Histogram>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one scan has kept the detector for longer than `limit`.
    pub fn is_stuck(&self, limit: Duration) -> bool {
        let since = u128::from(self.busy_since_ms.load(Ordering::Relaxed));
        since > 0 && self.start.elapsed().as_millis().saturating_sub(since) > limit.as_millis()
    }

    /// Milliseconds of the last detection.
    pub fn detect_last_ms(&self) -> f64 {
        Duration::from_micros(self.detect_last_us.load(Ordering::Relaxed)).as_secs_f64() * 1e3
    }

    /// Scans claimed and not yet judged.
    pub fn queue_len(&self) -> u64 {
        self.queue_len.load(Ordering::Relaxed)
    }

    /// Sets [`Metrics::queue_len`].
    pub fn set_queue_len(&self, count: usize) {
        self.queue_len.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Results that the broker has not confirmed.
    pub fn journal_depth(&self) -> u64 {
        self.journal_depth.load(Ordering::Relaxed)
    }

    /// Sets [`Metrics::journal_depth`].
    pub fn set_journal_depth(&self, count: u64) {
        self.journal_depth.store(count, Ordering::Relaxed);
    }

    /// Seconds since the oldest result that the broker has not confirmed.
    pub fn journal_age_s(&self) -> u64 {
        self.journal_age_s.load(Ordering::Relaxed)
    }

    /// Sets [`Metrics::journal_age_s`].
    pub fn set_journal_age_s(&self, age_s: u64) {
        self.journal_age_s.store(age_s, Ordering::Relaxed);
    }

    /// Publishes that the broker refused.
    pub fn refused_count(&self) -> u64 {
        self.refused_count.load(Ordering::Relaxed)
    }

    /// Counts a publish that the broker refused.
    pub fn count_refused(&self) {
        self.refused_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a publish that the broker confirmed.
    pub fn count_published(&self) {
        self.published_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection to the broker.
    pub fn count_connection(&self) {
        self.connection_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the broker is connected.
    pub fn mqtt_connected(&self) -> bool {
        self.mqtt_connected.load(Ordering::Relaxed)
    }

    /// Sets [`Metrics::mqtt_connected`].
    pub fn set_mqtt_connected(&self, connected: bool) {
        self.mqtt_connected.store(connected, Ordering::Relaxed);
    }

    /// Whether the detector is loaded.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Sets [`Metrics::is_ready`].
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Says once what is running.
    pub fn set_info<const N: usize>(&self, labels: [(&'static str, String); N]) {
        let _ = self.info.set(labels.into());
    }

    /// Says once which folders' disks are to be watched, by their use.
    pub fn set_disks<const N: usize>(&self, folders: [(&'static str, PathBuf); N]) {
        let _ = self.disks.set(folders.into());
    }

    /// Raises an alarm while a watched disk has less than so much space.
    pub fn check_disks(&self, free_min_bytes: u64) {
        let low: Vec<String> = self
            .disks
            .get()
            .into_iter()
            .flatten()
            .filter_map(|(_, dir)| Some((dir, disk_free_bytes(dir)?)))
            .filter(|(_, free)| *free < free_min_bytes)
            .map(|(dir, free)| format!("{} MB are left for {}", free / 1_000_000, dir.display()))
            .collect();
        self.alarms.set(AlarmCode::DiskLow, !low.is_empty(), &low.join("; "));
    }

    /// Why parts are not judged and recorded, in words; empty when they are.
    pub fn why_not_ready(&self) -> Vec<String> {
        if !self.is_ready() {
            return vec!["the detector is not loaded".into()];
        }
        let alarms = self.alarms.active().into_iter().filter(|alarm| alarm.code.stops_the_work());
        alarms.map(|alarm| format!("{}: {}", alarm.code.as_str(), alarm.text)).collect()
    }

    /// What is wrong at present.
    pub const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Notes whether scans can be listed and claimed.
    pub fn set_intake_failing(&self, failing: bool) {
        self.alarms.set(AlarmCode::IntakeFailing, failing, "the spool cannot be read or moved");
    }

    /// Notes whether results can be committed.
    pub fn set_journal_failing(&self, failing: bool) {
        self.alarms.set(AlarmCode::JournalFailing, failing, "results cannot be committed to the journal");
    }

    /// What is wrong, in words.
    pub fn degraded(&self) -> Vec<String> {
        self.alarms
            .active()
            .into_iter()
            .map(|alarm| format!("{}: {}", alarm.code.as_str(), alarm.text))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stops_the_work_is_not_ready() {
        let metrics = Metrics::default();
        assert_eq!(metrics.why_not_ready(), ["the detector is not loaded"]);
        metrics.set_ready(true);
        metrics.alarms().raise(AlarmCode::BrokerUnreachable, "gone");
        assert!(metrics.why_not_ready().is_empty(), "results are kept");
        metrics.set_journal_failing(true);
        assert_eq!(metrics.why_not_ready().len(), 1);
        assert_eq!(metrics.degraded().len(), 2);
        metrics.set_journal_failing(false);
        assert!(metrics.why_not_ready().is_empty());
    }

    #[test]
    fn a_scan_that_never_ends_is_noticed_and_one_that_ends_is_not() {
        let metrics = Metrics::default();
        let limit = Duration::from_millis(20);
        assert!(!metrics.is_stuck(limit), "nothing to do is no hang");
        metrics.begin_detect();
        std::thread::sleep(Duration::from_millis(60));
        assert!(metrics.is_stuck(limit));
        metrics.end_detect(Duration::from_millis(60));
        assert!(!metrics.is_stuck(limit));
    }

    #[test]
    fn sessions_differ_and_the_time_is_utc() {
        assert_ne!(new_session(), new_session());
        let now = utc_now();
        assert!(now.ends_with('Z') && now.len() == "2026-01-01T00:00:00.000Z".len(), "{now}");
    }
}
