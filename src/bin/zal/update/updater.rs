//! The daemon's side of an update: loads what the store says, swaps it in beside the running detector,
//! and watches a bundle on trial.
//!
//! Nothing here stops the line. A bundle is loaded and tested while the former one judges; when that
//! fails, the store goes back and nothing was swapped. A bundle on trial that fails on a part, is far
//! slower than the one before, or keeps a scan for too long is taken back at once, and one that ends the
//! process is taken back when its starts are used up.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};
use zal::bundle::store::{Boot, Phase, Setback, SetbackCode, Slot, Store, Trial};
use zal::bundle::{Bundle, Signer};

use super::settings::Settings;
use super::{install, refusal, say, status};
use crate::alarms::AlarmCode;
use crate::config::Config;
use crate::daemon::{self, Loaded};
use crate::exit::Failure;
use crate::record::BundleOrigin;
use crate::telemetry::{JudgedSoFar, Metrics, utc_now};

/// Parts whose times make a median worth comparing.
const TIMED_PARTS_MIN: usize = 5;
/// Times shorter than this differ by chance.
const SLOWER_LEAST_US: u64 = 20_000;
/// What the daemon knows when a bundle is loaded for it.
type Next = (Loaded, Updater);

/// What tells one state of a file from the next: every change of the index is a new file.
type Stamp = (SystemTime, u64, u64);

/// Whether a start counts against a bundle on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The program starts, or a new bundle is swapped in.
    Counted,
    /// Only the settings are read again.
    Again,
}

/// Watches the store for one running daemon.
pub struct Updater {
    store: Store,
    config: Config,
    sha256: String,
    trial: Option<Trial>,
    begin: Instant,
    counted: u64,
    seen: Option<[Option<Stamp>; 2]>,
    /// The bundle that the store has in charge.
    wanted: Option<String>,
    loading: Option<JoinHandle<Result<Option<Next>, Failure>>>,
    /// What could not be loaded: it is not tried again until the store says another one.
    unusable: Option<String>,
}

/// Loads what the store says.
///
/// # Errors
/// When the store holds nothing that can be loaded.
pub fn boot(config: &Config, start: Start) -> Result<Next, Failure> {
    let settings = Settings::of(config);
    let mut store = settings.open_store()?;
    install::ensure_factory(&mut store, &settings, &settings.trusted_keys()?)?;
    let next = load(store, config, start, None)?;
    next.ok_or_else(|| refusal::no_store(&config.update.dir))
}

/// Loads the bundle in charge, going back as long as one on trial cannot be used; none when that is the
/// bundle `in_use`.
fn load(
    mut store: Store,
    config: &Config,
    start: Start,
    in_use: Option<&str>,
) -> Result<Option<Next>, Failure> {
    loop {
        let boot = match start {
            Start::Counted => store.boot(&utc_now()),
            Start::Again => store.in_charge(&utc_now()),
        }
        .map_err(refusal::failure)?;
        if let Some(setback) = &boot.rolled_back {
            warn!(%setback, "a bundle on trial was rolled back");
        }
        if in_use == Some(&*boot.slot.sha256) {
            return Ok(None);
        }
        let setback = match attempt(config, &boot.slot) {
            Ok(loaded) => match loaded.wrong().filter(|_| boot.trial.is_some()) {
                None => return Ok(Some((loaded, Updater::new(store, config, &boot)))),
                Some(wrong) => Setback::new(SetbackCode::SelfTest, wrong),
            },
            Err(failure) if boot.trial.is_none() => {
                return fall_back(store, config, &boot, failure).map(Some);
            }
            Err(failure) => Setback::new(SetbackCode::Load, format!("{:#}", failure.error)),
        };
        warn!(%setback, "the bundle on trial cannot be used; going back");
        store.roll_back(&setback, &utc_now()).map_err(refusal::failure)?;
    }
}

fn attempt(config: &Config, slot: &Slot) -> Result<Loaded, Failure> {
    let trusted = Settings::of(config).trusted_keys()?;
    let bundle = Bundle::open(&slot.path, &trusted).map_err(crate::bundled::refused)?;
    if bundle.signer() == Signer::Development {
        warn!(bundle = bundle.name(), "signed with the development key, whose secret half is public");
    }
    let origin = BundleOrigin {
        path: Some(slot.path.clone()),
        sha256: Some(slot.sha256.clone()),
        signer: format!("{} {}", bundle.signer().name(), bundle.key_id()),
    };
    daemon::load(config.clone(), &bundle, origin)
}

/// A bundle that is confirmed cannot be loaded: another one of the store is better than none. The store
/// goes back only when that one can be loaded, so that a missing library changes nothing.
fn fall_back(mut store: Store, config: &Config, boot: &Boot, failure: Failure) -> Result<Next, Failure> {
    let index = store.index().map_err(refusal::failure)?;
    let others = [index.previous, store.factory().map_err(refusal::failure)?];
    for sha256 in others.into_iter().flatten().filter(|sha256| *sha256 != boot.slot.sha256) {
        let Ok(loaded) = attempt(config, &store.slot(&sha256)) else { continue };
        let setback = Setback::new(SetbackCode::Load, format!("{:#}", failure.error));
        // The first step back may lead to a bundle that cannot be loaded either.
        while store.index().map_err(refusal::failure)?.current.as_deref() != Some(&*sha256) {
            store.roll_back(&setback, &utc_now()).map_err(|_| clone_of(&failure))?;
        }
        error!(%setback, "another bundle of the store is used");
        let boot = store.in_charge(&utc_now()).map_err(refusal::failure)?;
        return Ok((loaded, Updater::new(store, config, &boot)));
    }
    Err(failure)
}

fn clone_of(failure: &Failure) -> Failure {
    Failure::new(failure.exit, anyhow::anyhow!("{:#}", failure.error))
}

impl Updater {
    fn new(store: Store, config: &Config, boot: &Boot) -> Self {
        Self {
            store,
            config: config.clone(),
            sha256: boot.slot.sha256.clone(),
            trial: boot.trial.clone(),
            begin: Instant::now(),
            counted: 0,
            seen: None,
            wanted: None,
            loading: None,
            unusable: None,
        }
    }

    /// Looks after trial and store; a loaded bundle when it is to be swapped in.
    pub fn look(&mut self, metrics: &Metrics) -> Option<(Config, Next)> {
        self.watch_trial(metrics);
        if self.has_changed() {
            self.note(metrics);
        }
        self.swap(metrics)
    }

    /// The daemon ended in order: the start says nothing against a bundle on trial.
    pub fn ended_in_order(&mut self) {
        if let Err(error) = self.store.return_boot() {
            warn!(%error, "the store cannot be written");
        }
    }

    /// Whether index or progress are others than when last looked at.
    fn has_changed(&mut self) -> bool {
        let stamp = |path: PathBuf| {
            let meta = path.metadata().ok()?;
            Some((meta.modified().ok()?, meta.len(), meta.ino()))
        };
        let now = [stamp(self.store.index_path()), stamp(say::path_in(self.store.root()))];
        let changed = self.seen != Some(now);
        self.seen = Some(now);
        changed
    }

    /// Takes note of what the store says now.
    fn note(&mut self, metrics: &Metrics) {
        let index = match self.store.index() {
            Ok(index) => index,
            Err(error) => return warn!(%error, "the bundle store cannot be read"),
        };
        self.wanted.clone_from(&index.current);
        self.trial = match index.phase {
            Phase::Trial(ref trial) if index.current.as_deref() == Some(&*self.sha256) => Some(trial.clone()),
            _ => None,
        };
        let body = Settings::of(&self.config)
            .trusted_keys()
            .map_err(|failure| failure.error)
            .and_then(|trusted| Ok(status::body(&self.store, &trusted)?));
        let body = match body {
            Ok(body) => body,
            Err(error) => return warn!(%error, "the update cannot be shown"),
        };
        // Nobody has to be told of what somebody asked for.
        let rolled_back =
            matches!(&index.phase, Phase::RolledBack { setback, .. } if setback.code != SetbackCode::Manual);
        let text = body.setback.as_ref().map(|s| format!("{}: {}: {}", s.bundle.name, s.code, s.text));
        metrics.alarms().set(AlarmCode::ModelRolledBack, rolled_back, &text.unwrap_or_default());
        metrics.set_update(body);
    }

    /// Counts the trial's parts, and takes the bundle back when it does not prove itself.
    fn watch_trial(&mut self, metrics: &Metrics) {
        let Some(trial) = self.trial.clone() else { return };
        let judged = metrics.judged_so_far();
        let stuck = metrics.alarms().is_active(AlarmCode::DetectorStuck);
        if let Some(setback) = setback_of(&trial, &judged, stuck, self.config.update.slower_max) {
            self.take_back(&setback);
            return;
        }
        let news = judged.scored_count.saturating_sub(self.counted);
        self.counted = judged.scored_count;
        let minutes = self.config.update.trial_minutes;
        let is_old = minutes > 0 && self.begin.elapsed() > Duration::from_secs(u64::from(minutes) * 60);
        let outcome = if is_old && judged.scored_count > 0 && !trial.manual {
            self.store.confirm(&utc_now()).map(|()| None)
        } else if news > 0 {
            self.store.parts_judged(u32::try_from(news).unwrap_or(u32::MAX), &utc_now())
        } else {
            return;
        };
        match outcome {
            Ok(None) => {
                info!(bundle = self.sha256, "the bundle is confirmed");
                self.trial = None;
            }
            Ok(trial) => self.trial = trial,
            Err(error) => warn!(%error, "the trial's parts cannot be counted"),
        }
    }

    /// Back to the bundle before. A detector that hangs cannot be ended within a process, so the program
    /// begins anew in its place; the scan is taken up again.
    fn take_back(&mut self, setback: &Setback) {
        warn!(%setback, "the bundle on trial is taken back");
        self.trial = None;
        match self.store.roll_back(setback, &utc_now()) {
            Ok(slot) => info!(bundle = slot.sha256, "the bundle before judges again"),
            Err(error) => {
                error!(%error, "there is nothing to go back to");
                return;
            }
        }
        if setback.code == SetbackCode::Hang
            && let Ok(program) = std::env::current_exe()
        {
            let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).exec();
            error!(%error, "the program cannot begin anew; the service manager has to restart it");
        }
    }

    /// Loads another bundle when the store says so, beside the running detector.
    fn swap(&mut self, metrics: &Metrics) -> Option<(Config, Next)> {
        if let Some(loading) = self.loading.take_if(|loading| loading.is_finished()) {
            match loading.join() {
                Ok(Ok(Some(next))) => {
                    info!("another bundle is loaded; the daemon goes on with it");
                    return Some((self.config.clone(), next));
                }
                Ok(Ok(None)) => {}
                Ok(Err(failure)) => {
                    error!(error = format!("{:#}", failure.error), "the store's bundle cannot be loaded");
                    self.unusable = self.store.index().ok().and_then(|index| index.current);
                }
                Err(_) => {
                    error!("loading the store's bundle panicked");
                    self.unusable = self.store.index().ok().and_then(|index| index.current);
                }
            }
            // Whatever came of it, the index tells.
            self.seen = None;
            return None;
        }
        let wanted = self.wanted.clone()?;
        if wanted == self.sha256 || self.loading.is_some() || self.unusable.as_ref() == Some(&wanted) {
            return None;
        }
        info!(bundle = wanted, "the store has another bundle in charge; loading it");
        let baseline_us = metrics.judged_so_far().median_us(TIMED_PARTS_MIN);
        let (config, in_use) = (self.config.clone(), self.sha256.clone());
        let spawned = std::thread::Builder::new().name("zal-load".into()).spawn(move || {
            let mut store = Settings::of(&config).open_store()?;
            if let Some(baseline_us) = baseline_us {
                store.set_baseline(baseline_us).map_err(refusal::failure)?;
            }
            load(store, &config, Start::Counted, Some(&in_use))
        });
        match spawned {
            Ok(handle) => self.loading = Some(handle),
            Err(error) => error!(%error, "cannot start a thread to load the bundle"),
        }
        None
    }
}

/// What speaks against a bundle on trial.
fn setback_of(trial: &Trial, judged: &JudgedSoFar, stuck: bool, slower_max: f32) -> Option<Setback> {
    if stuck {
        return Some(Setback::new(SetbackCode::Hang, "one scan has kept it for longer than health.stuck_ms"));
    }
    if judged.failed_count > 0 {
        let text = format!("it failed on {} of the line's parts", judged.failed_count);
        return Some(Setback::new(SetbackCode::Crash, text));
    }
    let (now_us, before_us) = (judged.median_us(TIMED_PARTS_MIN)?, trial.baseline_us?);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a detection")]
    let ratio = now_us as f64 / before_us.max(1) as f64;
    (ratio > f64::from(slower_max) && now_us > before_us + SLOWER_LEAST_US).then(|| {
        let text = format!(
            "a part takes {} ms, {} ms with the bundle before; at most {slower_max:.1} times that is allowed (update.slower_max)",
            now_us / 1000,
            before_us / 1000
        );
        Setback::new(SetbackCode::Latency, text)
    })
}

#[cfg(test)]
mod tests {
    use zal::detector::{Detection, Reason};

    use super::*;
    use crate::worker::undecided;

    fn judged(times_ms: &[f32], failed: usize) -> JudgedSoFar {
        let metrics = Metrics::default();
        let reason = |code: &str| Reason { code: code.into(), text: String::new() };
        for ms in times_ms {
            let mut detection = Detection { score: Some(1.0), ..undecided(reason("x")) };
            detection.timing.stages_ms.push(("all".into(), *ms));
            metrics.note_judged(&detection);
        }
        for _ in 0..failed {
            metrics.note_judged(&undecided(reason("internal_error")));
        }
        metrics.judged_so_far()
    }

    fn trial(baseline_us: Option<u64>) -> Trial {
        Trial { boots_left: 3, parts_left: 20, manual: false, baseline_us }
    }

    #[test]
    fn a_bundle_on_trial_is_taken_back_for_failing_hanging_or_being_far_slower() {
        let of = |trial: &Trial, judged: &JudgedSoFar, stuck| {
            setback_of(trial, judged, stuck, 3.0).map(|setback| setback.code)
        };
        let (measured, unknown) = (trial(Some(100_000)), trial(None));
        assert_eq!(of(&measured, &judged(&[250.0; 9], 0), false), None);
        assert_eq!(of(&measured, &judged(&[1000.0; 9], 0), false), Some(SetbackCode::Latency));
        assert_eq!(of(&measured, &judged(&[1000.0; 4], 0), false), None, "too few to say");
        assert_eq!(
            of(&measured, &judged(&[100.0, 100.0, 100.0, 9000.0, 100.0], 0), false),
            None,
            "one outlier"
        );
        assert_eq!(of(&unknown, &judged(&[1000.0; 9], 0), false), None, "nothing to compare with");
        assert_eq!(of(&trial(Some(1000)), &judged(&[9.0; 9], 0), false), None, "by chance");
        assert_eq!(of(&unknown, &judged(&[], 1), false), Some(SetbackCode::Crash));
        assert_eq!(of(&unknown, &judged(&[], 0), true), Some(SetbackCode::Hang));
    }

    #[test]
    fn parts_without_a_score_prove_nothing() {
        let so_far = judged(&[10.0], 2);
        assert_eq!((so_far.scored_count, so_far.failed_count, so_far.median_us(1)), (1, 2, Some(10_000)));
        assert_eq!(so_far.median_us(2), None);
    }
}
