//! Log, counters and clocks of the daemon.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tracing_subscriber::EnvFilter;

use crate::alarms::{AlarmCode, Alarms};
use crate::message::{ClockBody, Counts, EvaluationBody};

/// Upper bounds of the histogram of detection times, milliseconds.
const DETECT_BUCKETS_MS: [u64; 8] = [25, 50, 100, 200, 400, 800, 1_600, 3_200];

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
        let uptime_ns = std::time::Duration::try_from_secs_f64(uptime_s).unwrap_or_default().as_nanos();
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
    detect_buckets: [AtomicU64; DETECT_BUCKETS_MS.len()],
    detect_count: AtomicU64,
    detect_sum_us: AtomicU64,
    detect_last_us: AtomicU64,
    busy_since_ms: AtomicU64,
    queue_len: AtomicU64,
    journal_depth: AtomicU64,
    refused_count: AtomicU64,
    published_count: AtomicU64,
    mqtt_connected: AtomicBool,
    ready: AtomicBool,
    alarms: Alarms,
}

impl Default for Metrics {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            start: Instant::now(),
            results: std::array::from_fn(|_| zero()),
            detect_buckets: std::array::from_fn(|_| zero()),
            detect_count: zero(),
            detect_sum_us: zero(),
            detect_last_us: zero(),
            busy_since_ms: zero(),
            queue_len: zero(),
            journal_depth: zero(),
            refused_count: zero(),
            published_count: zero(),
            mqtt_connected: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            alarms: Alarms::default(),
        }
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
    pub fn end_detect(&self, elapsed: std::time::Duration) {
        self.busy_since_ms.store(0, Ordering::Relaxed);
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.detect_last_us.store(us, Ordering::Relaxed);
        self.detect_sum_us.fetch_add(us, Ordering::Relaxed);
        self.detect_count.fetch_add(1, Ordering::Relaxed);
        for (bound_ms, bucket) in DETECT_BUCKETS_MS.iter().zip(&self.detect_buckets) {
            if us <= bound_ms * 1_000 {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether one scan has kept the detector for longer than `limit`.
    pub fn is_stuck(&self, limit: std::time::Duration) -> bool {
        let since = u128::from(self.busy_since_ms.load(Ordering::Relaxed));
        since > 0 && self.start.elapsed().as_millis().saturating_sub(since) > limit.as_millis()
    }

    /// Milliseconds of the last detection.
    pub fn detect_last_ms(&self) -> f64 {
        std::time::Duration::from_micros(self.detect_last_us.load(Ordering::Relaxed)).as_secs_f64() * 1e3
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

    /// The counters in Prometheus' text format.
    pub fn to_prometheus(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::from("# TYPE zal_results_total counter\n");
        for (evaluation, count) in EVALUATIONS.iter().zip(&self.results) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(text, "zal_results_total{{evaluation=\"{}\"}} {count}", evaluation.as_str());
        }
        text.push_str("# TYPE zal_detect_seconds histogram\n");
        for (bound_ms, bucket) in DETECT_BUCKETS_MS.iter().zip(&self.detect_buckets) {
            let bound_s = std::time::Duration::from_millis(*bound_ms).as_secs_f64();
            let count = bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "zal_detect_seconds_bucket{{le=\"{bound_s}\"}} {count}");
        }
        let count = self.detect_count.load(Ordering::Relaxed);
        let sum_s =
            std::time::Duration::from_micros(self.detect_sum_us.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(text, "zal_detect_seconds_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "zal_detect_seconds_sum {sum_s}\nzal_detect_seconds_count {count}");
        let published = self.published_count.load(Ordering::Relaxed);
        for (name, kind, value) in [
            ("zal_published_total", "counter", published),
            ("zal_publish_refused_total", "counter", self.refused_count()),
            ("zal_journal_unacked_rows", "gauge", self.journal_depth()),
            ("zal_queue_scans", "gauge", self.queue_len()),
            ("zal_mqtt_connected", "gauge", u64::from(self.mqtt_connected())),
            ("zal_degraded_conditions", "gauge", u64::try_from(self.degraded().len()).unwrap_or_default()),
        ] {
            let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
        }
        let _ = writeln!(text, "# TYPE zal_uptime_seconds gauge\nzal_uptime_seconds {:.3}", self.uptime_s());
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_histogram_is_cumulative() {
        let metrics = Metrics::default();
        for ms in [10, 60, 5_000] {
            metrics.end_detect(Duration::from_millis(ms));
        }
        let text = metrics.to_prometheus();
        assert!(text.contains("zal_detect_seconds_bucket{le=\"0.025\"} 1\n"), "{text}");
        assert!(text.contains("zal_detect_seconds_bucket{le=\"3.2\"} 2\n"), "{text}");
        assert!(text.contains("zal_detect_seconds_bucket{le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.contains("zal_detect_seconds_sum 5.07\n"), "{text}");
    }

    #[test]
    fn sessions_differ_and_the_time_is_utc() {
        assert_ne!(new_session(), new_session());
        let now = utc_now();
        assert!(now.ends_with('Z') && now.len() == "2026-01-01T00:00:00.000Z".len(), "{now}");
    }
}
