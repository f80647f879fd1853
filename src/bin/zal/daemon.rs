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
use zal::detector::Detector;

use crate::acquire::intake::{Acquired, Intake, Wake};
use crate::acquire::{Claim, Spool, Suspects};
use crate::alarms::AlarmCode;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::journal::Journal;
use crate::message::EngineBody;
use crate::publish::Publisher;
use crate::record::{Feed, Identity, Recorder};
use crate::telemetry::{Metrics, new_session};
use crate::worker::{Calibrator, Deadlines, Judged, Worker};
use crate::{clock, http};

/// One scan may keep the detector this long before the service manager is no longer assured
/// that the daemon lives.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How often the main thread looks after the others.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Results between the detector and the journal.
const JUDGED_LEN_MAX: usize = 8;

/// A running daemon.
pub struct Daemon {
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// They stop the daemon in order.
    Stop,
    /// What they do to any program.
    Default,
}

/// Starts the daemon.
///
/// # Errors
/// When the bundle cannot be loaded or spool, journal or the HTTP port cannot be used.
pub fn start(config: &Config, bundle: &Bundle, signals: Signals) -> Result<Daemon, Failure> {
    let mut detector = bundle
        .detector(config.detector.mode, &config.engine_options())
        .map_err(|error| Failure::new(Exit::BadData, error))?;
    detector.set_clock(clock::monotonic);
    let identity = Arc::new(identity_of(config, bundle, &detector));
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
    Assembly { config, identity, spool, journal, acks, detector, signals }.start()
}

fn identity_of(config: &Config, bundle: &Bundle, detector: &Detector) -> Identity {
    let report = detector.engine();
    for reason in &report.passed_over {
        warn!(reason, "a better engine was passed over");
    }
    Identity {
        session: new_session(),
        recipe: config.spool.recipe.clone(),
        bundle: bundle.name().to_owned(),
        mode: serde_json::to_value(config.detector.mode)
            .ok()
            .and_then(|mode| mode.as_str().map(str::to_owned))
            .unwrap_or_default(),
        engine: EngineBody { name: report.engine, version: report.version, provider: report.provider },
        config_hash: config.hash(),
    }
}

/// Stops on SIGTERM and SIGINT.
fn stop_on_signals(runtime: &Runtime, stopper: Stopper) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let _context = runtime.enter();
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    runtime.spawn(async move {
        tokio::select! {
            _ = term.recv() => info!("SIGTERM: stopping"),
            _ = int.recv() => info!("SIGINT: stopping"),
        }
        stopper.stop();
    });
    Ok(())
}

/// Everything that can fail has been opened; now the threads start.
struct Assembly<'a> {
    config: &'a Config,
    identity: Arc<Identity>,
    spool: Spool,
    journal: Journal,
    acks: Journal,
    detector: Detector,
    signals: Signals,
}

impl Assembly<'_> {
    fn start(self) -> Result<Daemon, Failure> {
        let io = |error: anyhow::Error| Failure::new(Exit::Io, error);
        let (suspects, in_hand) = Suspects::open(self.spool.work());
        let left_over = settle_left_over(&self.spool, &self.journal, &in_hand).map_err(io)?;
        let calibrator = self.calibrator().map_err(io)?;
        let metrics = Arc::new(Metrics::default());
        if let Some(text) = self.journal.damage() {
            metrics.alarms().raise(AlarmCode::JournalCorrupt, text);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("zal-io")
            .enable_all()
            .build()
            .context("cannot start the I/O threads")
            .map_err(io)?;
        let next_seq = self.journal.next_seq().map_err(|error| Failure::new(Exit::Io, error))?;
        let (feed, feed_rx) = watch::channel(Feed { next_seq, calibration: calibrator.body() });
        let (publisher_stop, stop_rx) = watch::channel(false);
        self.start_http(&runtime, &metrics, stop_rx.clone()).map_err(io)?;

        let (waker, wakes) = mpsc::channel();
        if self.signals == Signals::Stop {
            // Before any scan is claimed: a stop is clean from the first result on.
            let stopper = Stopper { stop: Arc::clone(&stop), waker: waker.clone() };
            stop_on_signals(&runtime, stopper).context("cannot catch signals").map_err(io)?;
        }
        let (acquired_tx, acquired_rx) = mpsc::sync_channel::<Acquired>(self.config.spool.queue_len_max);
        let (judged_tx, judged_rx) = mpsc::sync_channel::<Judged>(JUDGED_LEN_MAX);
        let deadlines = Deadlines::new(Duration::from_millis(self.config.deadline.part_deadline_ms));
        let intake = self.intake(&metrics, &deadlines, &suspects, judged_tx.clone());
        // Dropped with the detector thread: then nothing is due any more.
        let (detector_lives, detector_ended) = mpsc::channel::<()>();
        let (watched, due_tx) = (deadlines.clone(), judged_tx.clone());
        let publisher = self.publisher(feed_rx, stop_rx, &metrics);
        let engine = self.identity.engine.clone();
        let stop_timeout = publisher.stop_timeout;
        let worker = Worker {
            judge: judge_with(self.detector),
            calibrator,
            wait_max: Duration::from_millis(self.config.deadline.wait_ms),
            deadlines,
            suspects,
            metrics: Arc::clone(&metrics),
            stop: Arc::clone(&stop),
        };
        let recorder = Recorder {
            journal: self.journal,
            spool: self.spool,
            identity: self.identity,
            evidence: self.config.evidence.clone(),
            keep_done_count: self.config.spool.keep_done_count,
            journal_size_max_bytes: self.config.journal.size_max_mb.saturating_mul(1_000_000),
            unsettled: Vec::new(),
            feed: feed.clone(),
            metrics: Arc::clone(&metrics),
            stop: Arc::clone(&stop),
        };
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

    /// From the bundle, or from the first parts, of which the journal may already know some.
    fn calibrator(&self) -> anyhow::Result<Calibrator> {
        let settings = &self.config.calibration;
        if settings.from_first_count == 0 {
            return Ok(Calibrator::fixed(self.detector.calibration().cloned()));
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
    ) -> Publisher {
        Publisher {
            mqtt: self.config.mqtt.clone(),
            device: self.config.device.clone(),
            identity: Arc::clone(&self.identity),
            feed,
            stop,
            stop_timeout: Duration::from_millis(self.config.deadline.stop_ms),
            metrics: Arc::clone(metrics),
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
) -> impl FnMut(&zal::scan::Scan, Option<&zal::calibration::Calibration>) -> zal::detector::Detection {
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

    /// Looks after the daemon until it is stopped, then ends it in order.
    ///
    /// # Errors
    /// When a thread ended by itself, which is a bug.
    pub fn run_to_end(self) -> anyhow::Result<()> {
        let mut failed = None;
        while !self.stop.load(Ordering::Relaxed) && failed.is_none() {
            std::thread::sleep(LOOK_INTERVAL);
            failed = self
                .threads
                .iter()
                .find(|t| t.is_finished())
                .and_then(|t| t.thread().name())
                .map(str::to_owned);
            if !self.metrics.is_stuck(STUCK_AFTER) {
                // Outside of systemd there is nobody to tell.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
        let crashed = failed.filter(|_| !self.stop.load(Ordering::Relaxed));
        if let Some(name) = &crashed {
            error!(thread = name, "a thread ended by itself; stopping");
        }
        self.end();
        crashed.map_or(Ok(()), |name| Err(anyhow::anyhow!("the thread {name} ended by itself")))
    }

    /// Ends the threads along the chain, then the publisher.
    fn end(self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
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
