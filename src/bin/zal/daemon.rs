//! The daemon put together: intake, detector, recorder and publisher, and how they end.
//!
//! ```text
//! spool -> [intake] -> queue -> [detector] -> queue -> [recorder] -> journal -> [publisher] -> broker
//! ```
//!
//! `zal run` and `zal demo` start exactly this. Stopping goes along the same chain: the intake
//! claims nothing more, the scan in work is finished and recorded, what is recorded is
//! published for a few seconds, the broker hears `stopped`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tracing::{error, info, warn};
use zal::bundle::Bundle;
use zal::calibration::Calibration;
use zal::detector::Detector;

use crate::acquire::intake::{Acquired, Intake, Wake};
use crate::acquire::{Claim, Spool, Suspects};
use crate::alarms::AlarmCode;
use crate::config::{self, Config};
use crate::control::{Answers, ModelTool, SelfTest};
use crate::exit::{Exit, Failure};
use crate::journal::Journal;
use crate::message::EngineBody;
use crate::publish::Publisher;
use crate::record::{BundleOrigin, Feed, Identity, Recorder};
use crate::reference::{Line, RecipeRule, Requests};
use crate::signals::Asked;
use crate::telemetry::{Metrics, new_session, words_of};
use crate::worker::{Calibrator, Deadlines, Judge, Judged, Worker};
use crate::{clock, http};

/// How often the main thread looks after the others.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Results between the detector and the journal.
const JUDGED_LEN_MAX: usize = 8;

/// A running daemon.
pub struct Daemon {
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    signals: Signals,
    health: config::Health,
    waker: mpsc::Sender<Wake>,
    threads: Vec<JoinHandle<()>>,
    /// Keeps the publisher's feed open while it drains.
    _feed: watch::Sender<Feed>,
    publisher_stop: watch::Sender<bool>,
    publisher: tokio::task::JoinHandle<()>,
    stop_timeout: Duration,
    runtime: Runtime,
    engine: EngineBody,
}

/// Stops a daemon from another thread.
#[derive(Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    waker: mpsc::Sender<Wake>,
}

impl Stopper {
    /// Asks the daemon to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // The intake has ended when nobody listens.
        let _ = self.waker.send(Wake::Stop);
    }
}

/// What SIGTERM and SIGINT do.
#[derive(Clone)]
pub enum Signals {
    /// What was asked of the process: a stop in order, or a reload.
    Asked(Asked),
    /// What they do to any program.
    Default,
}

/// What the main thread sees at every look after the others.
pub struct Look<'a> {
    /// Counters and alarms of this run.
    pub metrics: &'a Metrics,
    /// Whether a reload was asked for.
    pub reload: bool,
}

/// A detector that is loaded and tested, with what it was loaded from.
pub struct Loaded {
    config: Config,
    bundle: String,
    origin: BundleOrigin,
    models: Option<ModelTool>,
    detector: Detector,
    /// What the self-test found wrong.
    wrong: Option<String>,
}

/// Loads the detector and judges the bundle's golden scans. Nothing of the line is touched.
///
/// # Errors
/// When the bundle cannot be loaded.
pub fn load(config: Config, bundle: &Bundle, origin: BundleOrigin) -> Result<Loaded, Failure> {
    let mut detector = bundle
        .detector(config.detector.mode, &config.engine_options())
        .map_err(|error| Failure::new(Exit::BadData, error))?;
    let wrong = if config.detector.selftest { self_test(bundle, &mut detector) } else { None };
    detector.set_clock(clock::monotonic);
    Ok(Loaded { config, bundle: bundle.name(), origin, models: None, detector, wrong })
}

/// What is wrong with the detector's scores, in words. It is also the networks' warm-up.
fn self_test(bundle: &Bundle, detector: &mut Detector) -> Option<String> {
    match bundle.golden_test(detector) {
        Ok(outcomes) => {
            info!(scans = outcomes.len(), "self-test");
            let wrong: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
            let text = |o: &&zal::bundle::GoldenOutcome| {
                format!("{} deviates by {:.1e}, {:.0e} is allowed", o.points, o.deviation, o.tolerance)
            };
            (!wrong.is_empty()).then(|| wrong.iter().map(text).collect::<Vec<_>>().join("; "))
        }
        Err(error) => Some(words_of(&error)),
    }
}

/// Loads and starts the daemon.
///
/// # Errors
/// As [`load`] and [`Loaded::start`].
pub fn start(config: &Config, bundle: &Bundle, signals: Signals) -> Result<Daemon, Failure> {
    load(config.clone(), bundle, BundleOrigin::default())?.start(signals)
}

impl Loaded {
    /// What the self-test found wrong.
    pub fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// Takes commands to the bundle store over MQTT.
    pub fn with_models(self, models: Option<ModelTool>) -> Self {
        Self { models, ..self }
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// When spool, journal or the HTTP port cannot be used.
    pub fn start(self, signals: Signals) -> Result<Daemon, Failure> {
        let Self { config, bundle, origin, models, detector, wrong } = self;
        let identity = identity_of(&config, bundle, origin, &detector);
        let daemon = open(&config, identity, models, detector, signals)?;
        if let Some(text) = wrong {
            daemon.metrics.alarms().raise(AlarmCode::SelfTestFailed, text);
        }
        Ok(daemon)
    }
}

/// Opens everything that can fail, then starts the threads.
fn open(
    config: &Config,
    identity: Identity,
    models: Option<ModelTool>,
    detector: Detector,
    signals: Signals,
) -> Result<Daemon, Failure> {
    let identity = Arc::new(identity);
    let fallback = fallback_of(config, &detector);
    info!(
        session = identity.session,
        bundle = identity.bundle,
        engine = identity.engine.name,
        provider = identity.engine.provider,
        "detector loaded"
    );
    let spool = Spool::open(&config.spool.dir)
        .with_context(|| format!("cannot make the spool {}", config.spool.dir.display()))
        .map_err(|error| Failure::new(Exit::Io, error))?;
    if let Some(dir) = &config.evidence.dir {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the evidence folder {}", dir.display()))
            .map_err(|error| Failure::new(Exit::Io, error))?;
    }
    let base = config.device.topic_base();
    let (path, spill_dir) = (&config.journal.path, &config.journal.spill_dir);
    let io = |error| Failure::new(Exit::Io, error);
    let journal = Journal::open(path, &base, spill_dir).map_err(io)?;
    let acks = Journal::open_for_acks(path, spill_dir).map_err(io)?;
    let calibration = detector.calibration().cloned();
    let detector = Some(detector);
    let assembly =
        Assembly { config, identity, models, spool, journal, acks, detector, calibration, signals };
    let daemon = assembly.start()?;
    if let Some(text) = fallback {
        daemon.metrics.alarms().raise(AlarmCode::EngineFallback, text);
    }
    Ok(daemon)
}

/// What is to be said when another provider runs than the one that is expected.
fn fallback_of(config: &Config, detector: &Detector) -> Option<String> {
    let expected = serde_json::to_value(config.engine.expected_provider?).ok()?;
    let report = detector.engine();
    let why = report.passed_over.join("; ");
    (expected != report.provider.as_str())
        .then(|| format!("{expected} is expected, {} with {} runs: {why}", report.engine, report.provider))
}

fn identity_of(config: &Config, bundle: String, origin: BundleOrigin, detector: &Detector) -> Identity {
    let report = detector.engine();
    for reason in &report.passed_over {
        warn!(reason, "a better engine was passed over");
    }
    Identity {
        session: new_session(),
        recipe: config.spool.recipe.clone(),
        recipes: RecipeRule {
            default: config.spool.recipe.clone(),
            separator: config.spool.recipe_separator.clone(),
        },
        bundle,
        origin,
        mode: serde_json::to_value(config.detector.mode)
            .ok()
            .and_then(|mode| mode.as_str().map(str::to_owned))
            .unwrap_or_default(),
        engine: EngineBody { name: report.engine, version: report.version, provider: report.provider },
        config_hash: config.hash(),
    }
}

fn io_runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("zal-io")
        .enable_all()
        .build()
        .context("cannot start the I/O threads")
}

fn recorder(
    config: &Config,
    (journal, spool, identity): (Journal, Spool, Arc<Identity>),
    feed: &watch::Sender<Feed>,
    (metrics, stop): (&Arc<Metrics>, &Arc<AtomicBool>),
) -> Recorder {
    Recorder {
        journal,
        spool,
        identity,
        evidence: config.evidence.clone(),
        keep_done_count: config.spool.keep_done_count,
        journal_size_max_bytes: config.journal.size_max_mb.saturating_mul(1_000_000),
        unsettled: Vec::new(),
        feed: feed.clone(),
        metrics: Arc::clone(metrics),
        stop: Arc::clone(stop),
    }
}

/// Everything that can fail has been opened; now the threads start.
struct Assembly<'a> {
    config: &'a Config,
    identity: Arc<Identity>,
    models: Option<ModelTool>,
    spool: Spool,
    journal: Journal,
    acks: Journal,
    /// Taken by the judge.
    detector: Option<Detector>,
    /// The calibration of the bundle.
    calibration: Option<Calibration>,
    signals: Signals,
}

impl Assembly<'_> {
    /// Starts with the judge that the configuration asks for.
    fn start(mut self) -> Result<Daemon, Failure> {
        let metrics = self.metrics();
        if !self.config.uses_references() {
            let detector = self.detector.take().expect("nobody has taken it before");
            return self.start_with(judge_with(detector), metrics);
        }
        let line = self.line(&metrics);
        self.start_with(line, metrics)
    }

    /// The line judged against itself.
    fn line(&mut self, metrics: &Metrics) -> Line {
        let root = self.config.reference_dir();
        let alarms = metrics.alarms().clone();
        let requests = Requests::open(&root);
        if let Err(error) = &requests {
            let text = format!("{} cannot be used: {error}", root.display());
            alarms.raise(AlarmCode::ReferenceFailing, text);
        }
        let journal = &self.config.journal;
        let events = Journal::open_existing(&journal.path, &journal.spill_dir);
        let events = events.inspect_err(|error| warn!(%error, "what people say of parts is not noted")).ok();
        Line {
            detector: self.detector.take().expect("nobody has taken it before"),
            recipes: self.identity.recipes.clone(),
            rules: self.config.reference_rules(),
            sets_max: self.config.reference.recipes_max,
            made_with: self.identity.made_with(),
            spool: self.spool.clone(),
            profile: self.config.sensor.clone(),
            events,
            alarms,
            requests: requests.ok(),
            shelves: Vec::new(),
            pending: None,
            root,
        }
    }

    fn start_with(
        self,
        mut judge: impl Judge + Send + 'static,
        metrics: Arc<Metrics>,
    ) -> Result<Daemon, Failure> {
        let io = |error: anyhow::Error| Failure::new(Exit::Io, error);
        let (suspects, in_hand) = Suspects::open(self.spool.work());
        let left_over = settle_left_over(&self.spool, &self.journal, &in_hand).map_err(io)?;
        let calibrator = self.calibrator().map_err(io)?;
        let stop = Arc::new(AtomicBool::new(false));
        let runtime = io_runtime().map_err(io)?;
        let calibration = judge.calibration().unwrap_or_else(|| calibrator.body());
        let next_seq = self.journal.next_seq().map_err(|error| Failure::new(Exit::Io, error))?;
        let (feed, feed_rx) = watch::channel(Feed { next_seq, calibration });
        let (publisher_stop, stop_rx) = watch::channel(false);
        self.start_http(&runtime, &metrics, stop_rx.clone()).map_err(io)?;

        let (waker, wakes) = mpsc::channel();
        if let Signals::Asked(asked) = &self.signals {
            // Before any scan is claimed: a stop is clean from the first result on.
            asked.attach(Stopper { stop: Arc::clone(&stop), waker: waker.clone() });
        }
        let (acquired_tx, acquired_rx) = mpsc::sync_channel::<Acquired>(self.config.spool.queue_len_max);
        let (judged_tx, judged_rx) = mpsc::sync_channel::<Judged>(JUDGED_LEN_MAX);
        let deadlines = Deadlines::new(Duration::from_millis(self.config.deadline.part_deadline_ms));
        let intake = self.intake(&metrics, &deadlines, &suspects, judged_tx.clone());
        // Dropped with the detector thread: then nothing is due any more.
        let (detector_lives, detector_ended) = mpsc::channel::<()>();
        let (watched, due_tx) = (deadlines.clone(), judged_tx.clone());
        let publisher = self.publisher(feed_rx, stop_rx, &metrics, &waker);
        let engine = self.identity.engine.clone();
        let stop_timeout = publisher.stop_timeout;
        let worker = Worker {
            judge,
            calibrator,
            wait_max: Duration::from_millis(self.config.deadline.wait_ms),
            deadlines,
            suspects,
            metrics: Arc::clone(&metrics),
            stop: Arc::clone(&stop),
        };
        let recorder =
            recorder(self.config, (self.journal, self.spool, self.identity), &feed, (&metrics, &stop));
        let (intake_waker, worker_waker) = (waker.clone(), waker.clone());
        let threads = vec![
            spawn("zal-intake", move || intake.run(left_over, &wakes, intake_waker, &acquired_tx))
                .map_err(io)?,
            spawn("zal-detector", move || {
                let _lives = detector_lives;
                worker.run(&acquired_rx, &judged_tx, &worker_waker);
            })
            .map_err(io)?,
            spawn("zal-deadline", move || watched.run(&due_tx, &detector_ended)).map_err(io)?,
            spawn("zal-recorder", move || recorder.run(&judged_rx)).map_err(io)?,
        ];
        let publisher = runtime.spawn(publisher.run(self.acks));
        metrics.set_ready(true);
        Ok(Daemon {
            metrics,
            stop,
            signals: self.signals,
            health: self.config.health.clone(),
            waker,
            threads,
            _feed: feed,
            publisher_stop,
            publisher,
            stop_timeout,
            runtime,
            engine,
        })
    }

    /// Counters of this run, with what is known already.
    fn metrics(&self) -> Arc<Metrics> {
        let metrics = Arc::new(Metrics::default());
        metrics.set_info(self.info());
        metrics.set_disks(self.disks());
        if let Some(text) = self.journal.damage() {
            metrics.alarms().raise(AlarmCode::JournalCorrupt, text);
        }
        metrics
    }

    /// What is running, for the metrics.
    fn info(&self) -> [(&'static str, String); 6] {
        let (identity, engine) = (&self.identity, &self.identity.engine);
        [
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("bundle", identity.bundle.clone()),
            ("mode", identity.mode.clone()),
            ("engine", engine.name.clone()),
            ("engine_version", engine.version.clone()),
            ("provider", engine.provider.clone()),
        ]
    }

    /// The disks to watch.
    fn disks(&self) -> [(&'static str, std::path::PathBuf); 2] {
        let journal = self.config.journal.path.parent().map(std::path::Path::to_path_buf);
        [("spool", self.config.spool.dir.clone()), ("journal", journal.unwrap_or_default())]
    }

    /// From the bundle, or from the first parts, of which the journal may already know some.
    fn calibrator(&self) -> anyhow::Result<Calibrator> {
        let settings = &self.config.calibration;
        if settings.from_first_count == 0 {
            return Ok(Calibrator::fixed(self.calibration.clone()));
        }
        let scores = self.journal.calibration_scores(&self.identity.calibration_key())?;
        info!(have = scores.len(), need = settings.from_first_count, "the first parts set the threshold");
        Ok(Calibrator::from_first(settings.from_first_count, settings.rate(), scores))
    }

    fn intake(
        &self,
        metrics: &Arc<Metrics>,
        deadlines: &Deadlines,
        suspects: &Suspects,
        answers: mpsc::SyncSender<Judged>,
    ) -> Intake {
        Intake {
            spool: self.spool.clone(),
            profile: self.config.sensor.clone(),
            queue_len_max: self.config.spool.queue_len_max,
            poll_interval: Duration::from_millis(self.config.spool.poll_interval_ms),
            settle: Duration::from_millis(self.config.spool.settle_ms),
            picture_wait: Duration::from_millis(self.config.spool.picture_wait_ms),
            tries_max: self.config.spool.tries_max,
            wait_max: Duration::from_millis(self.config.deadline.wait_ms),
            deadlines: deadlines.clone(),
            answers,
            suspects: suspects.clone(),
            metrics: Arc::clone(metrics),
        }
    }

    fn publisher(
        &self,
        feed: watch::Receiver<Feed>,
        stop: watch::Receiver<bool>,
        metrics: &Arc<Metrics>,
        waker: &mpsc::Sender<Wake>,
    ) -> Publisher {
        Publisher {
            mqtt: self.config.mqtt.clone(),
            device: self.config.device.clone(),
            identity: Arc::clone(&self.identity),
            feed,
            stop,
            stop_timeout: Duration::from_millis(self.config.deadline.stop_ms),
            metrics: Arc::clone(metrics),
            waker: waker.clone(),
            selftest: SelfTest::new(self.config, self.identity.origin.path.as_deref()),
            models: self.models.clone(),
            model_runs: tokio::task::JoinSet::new(),
            requests: self
                .config
                .uses_references()
                .then(|| Requests::open(&self.config.reference_dir()).ok())
                .flatten(),
            raised: std::collections::BTreeSet::new(),
            answers: Answers::default(),
            selftests: tokio::task::JoinSet::new(),
        }
    }

    fn start_http(
        &self,
        runtime: &Runtime,
        metrics: &Arc<Metrics>,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let settings = &self.config.http;
        if !settings.enabled {
            return Ok(());
        }
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(settings.listen))
            .with_context(|| format!("cannot listen on {} for health and metrics", settings.listen))?;
        runtime.spawn(http::serve(listener, Arc::clone(metrics), stop));
        Ok(())
    }
}

/// The detector as the worker takes it: the calibration is only passed on when it changes.
fn judge_with(
    mut detector: Detector,
) -> impl FnMut(&zal::scan::Scan, Option<&Calibration>) -> zal::detector::Detection {
    move |scan, calibration| {
        if detector.calibration() != calibration {
            detector.set_calibration(calibration.cloned());
        }
        detector.detect(scan)
    }
}

/// Claims of a former run: those that were answered are moved away, the others are judged.
/// `in_hand` are those that the former run was at when it ended.
fn settle_left_over(spool: &Spool, journal: &Journal, in_hand: &[String]) -> anyhow::Result<Vec<Claim>> {
    let mut open = Vec::new();
    let settle = |claim: &Claim| -> anyhow::Result<bool> {
        let Some(disposition) = journal.disposition_of(&claim.id)? else { return Ok(false) };
        spool
            .settle(claim, disposition, "see the journal")
            .unwrap_or_else(|error| warn!(%error, claim = claim.id, "the answered scan stays where it is"));
        Ok(true)
    };
    for claim in spool.left_over(in_hand).context("cannot list the spool's work folder")? {
        if !settle(&claim)? {
            open.push(claim);
        }
    }
    // Answered where they lay, because the disk did not let them be claimed.
    for waiting in spool.waiting().context("cannot list the spool")? {
        settle(&spool.in_place(&waiting))?;
    }
    if !open.is_empty() {
        info!(scans = open.len(), "taking up again what the last run left in work/");
    }
    Ok(open)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run).with_context(|| format!("cannot start {name}"))
}

/// Whether the service manager may be told that the daemon lives: only while the detector
/// makes progress. Looks after the alarms that time raises, too.
fn assured(metrics: &Metrics, health: &config::Health) -> bool {
    metrics.check_disks(health.disk_low_mb.saturating_mul(1_000_000));
    let stuck = metrics.is_stuck(Duration::from_millis(health.stuck_ms));
    let text = format!("one scan has kept the detector for more than {} ms", health.stuck_ms);
    metrics.alarms().set(AlarmCode::DetectorStuck, stuck, &text);
    !stuck
}

impl Daemon {
    /// Counters of this run.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What runs the networks.
    pub const fn engine(&self) -> &EngineBody {
        &self.engine
    }

    /// A handle that stops this daemon.
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop), waker: self.waker.clone() }
    }

    /// Looks after the daemon until it is stopped, then ends it in order. Every look calls
    /// `on_look`; when that gives something, the daemon ends too and hands it out.
    ///
    /// # Errors
    /// When a thread ended by itself, which is a bug.
    pub fn run_to_end<T>(self, mut on_look: impl FnMut(Look<'_>) -> Option<T>) -> anyhow::Result<Option<T>> {
        let mut failed = None;
        let mut next = None;
        while !self.stop.load(Ordering::Relaxed) && failed.is_none() && next.is_none() {
            std::thread::sleep(LOOK_INTERVAL);
            failed = self
                .threads
                .iter()
                .find(|t| t.is_finished())
                .and_then(|t| t.thread().name())
                .map(str::to_owned);
            if assured(&self.metrics, &self.health) {
                // Outside of systemd there is nobody to tell.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
            let reload = matches!(&self.signals, Signals::Asked(asked) if asked.take_reload());
            next = on_look(Look { metrics: &self.metrics, reload });
        }
        if self.stop.load(Ordering::Relaxed) {
            // Asked while the configuration was loaded: the stop counts.
            next = None;
        }
        let crashed = failed.filter(|_| !self.stop.load(Ordering::Relaxed));
        if let Some(name) = &crashed {
            error!(thread = name, "a thread ended by itself; stopping");
        }
        self.end(next.is_some());
        crashed.map_or(Ok(next), |name| Err(anyhow::anyhow!("the thread {name} ended by itself")))
    }

    /// Ends the threads along the chain, then the publisher.
    fn end(self, for_reload: bool) {
        if !for_reload {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        }
        self.stopper().stop();
        drop(self.waker);
        for thread in self.threads {
            // A thread that panicked has already said so.
            let _ = thread.join();
        }
        self.publisher_stop.send_replace(true);
        let patience = self.stop_timeout + Duration::from_secs(2);
        let ended = self.runtime.block_on(async { tokio::time::timeout(patience, self.publisher).await });
        if ended.is_err() {
            warn!("the publisher did not end in time; what is not confirmed is published at the next start");
        }
        self.runtime.shutdown_timeout(Duration::from_millis(200));
        info!("stopped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_by_progress_alone() {
        let metrics = Metrics::default();
        let health = config::Health { stuck_ms: 100, ..config::Health::default() };
        assert!(assured(&metrics, &health), "an idle detector lives");
        metrics.begin_detect();
        std::thread::sleep(Duration::from_millis(250));
        assert!(!assured(&metrics, &health));
        assert_eq!(metrics.alarms().active()[0].code, AlarmCode::DetectorStuck);
        metrics.end_detect(Duration::from_millis(250));
        assert!(assured(&metrics, &health));
        assert!(metrics.alarms().active().is_empty());
    }
}
