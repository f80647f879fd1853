//! An installation from the file to the trial. What judges goes on judging until the last step, and an
//! installation that is killed at any moment leaves the store whole.

use std::path::{Path, PathBuf};

use zal::bundle::store::{Phase, Received, Setback, SetbackCode, Slot, Store, short};
use zal::bundle::{Bundle, TrustedKeys};

use super::probe::{self, Report, Request};
use super::say::Say;
use super::settings::Settings;
use super::{fetch, refusal, shadow};
use crate::exit::{Exit, Failure};
use crate::message::UpdateState;
use crate::telemetry::utc_now;

/// Times shorter than this differ by chance.
const SLOWER_LEAST_MS: f64 = 20.0;

/// Where a bundle comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    Path(PathBuf),
    /// An address.
    Url(String),
}

impl Origin {
    /// An address begins with `http://` or `https://`; everything else is a path.
    pub fn of(text: &str) -> Self {
        if text.starts_with("http://") || text.starts_with("https://") {
            Self::Url(text.into())
        } else {
            Self::Path(text.into())
        }
    }
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where the bundle comes from.
    pub origin: Origin,
    /// Parts that both bundles judge before anything is switched; 0 for none.
    pub shadow_parts: usize,
    /// Share of them that may be judged differently.
    pub flips_max: f64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It judges, on trial.
    Trial {
        /// The bundle's name.
        bundle: String,
        /// Its hash.
        sha256: String,
        /// How it did.
        report: Box<Report>,
        /// How the bundle before did the same work; none when there was none.
        before: Option<Box<Report>>,
        /// How the two agreed, when that was asked for.
        agreement: Option<Box<shadow::Agreement>>,
    },
    /// It is in charge already.
    InCharge {
        /// The bundle's name.
        bundle: String,
        /// Its hash.
        sha256: String,
    },
}

/// One installation.
pub struct Installation<'a> {
    /// The store, whose installer this is.
    pub store: Store,
    /// Engine, mode, rules.
    pub settings: &'a Settings,
    /// Keys that bundles may be signed with.
    pub trusted: TrustedKeys,
    /// Who hears how far it is.
    pub say: Say,
}

impl Installation<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// When the bundle is refused or does not pass its test; the store has what judged before in charge.
    pub fn run(mut self, wanted: &Wanted) -> Result<Outcome, Failure> {
        let _installer = self.store.installer().map_err(refusal::failure)?;
        let received = self.receive(&wanted.origin)?;
        self.say.progress(UpdateState::Verified, "checking signature and hashes", 0, 0);
        let (slot, bundle) = self
            .store
            .stage(received, &self.trusted, self.settings.update.rules(), &utc_now())
            .map_err(refusal::failure)?;
        let name = bundle.name();
        self.say.line(&format!(
            "{name}: whole, signed with the {} {}, sha256 {}",
            bundle.signer().name(),
            bundle.key_id(),
            short(&slot.sha256)
        ));
        self.say.progress(UpdateState::Staged, "it has a slot", 0, 0);
        if let Some(there) = self.in_charge_already(&slot, &name)? {
            return Ok(there);
        }
        let epoch = bundle.manifest().security_epoch;
        self.store.begin_test(&slot, epoch, &utc_now()).map_err(refusal::failure)?;
        let tested = self.test(&slot, &bundle);
        let (report, before) = self.or_fail(&slot, &name, tested)?;
        self.store.ready(&slot, &utc_now()).map_err(refusal::failure)?;
        let agreement = self.shadow(&slot, &bundle, wanted)?;
        self.store
            .activate(&slot, self.settings.update.trial_rules(), &utc_now())
            .map_err(refusal::failure)?;
        self.clean_up();
        Ok(Outcome::Trial {
            bundle: name,
            sha256: slot.sha256,
            report: Box::new(report),
            before: before.map(Box::new),
            agreement: agreement.map(Box::new),
        })
    }

    fn receive(&mut self, origin: &Origin) -> Result<Received, Failure> {
        let say = &mut self.say;
        match origin {
            Origin::Path(path) => self
                .store
                .receive(path, &mut |done, total| {
                    say.progress(UpdateState::Receiving, "copying", done, total);
                })
                .map_err(refusal::failure),
            Origin::Url(url) => {
                let ca = self.settings.update.ca_file.as_deref();
                fetch::fetch(&mut self.store, url, ca, &mut |done, total| {
                    say.progress(UpdateState::Receiving, "downloading", done, total);
                })
            }
        }
    }

    /// The bundle that judges needs no installation.
    fn in_charge_already(&self, slot: &Slot, name: &str) -> Result<Option<Outcome>, Failure> {
        let index = self.store.index().map_err(refusal::failure)?;
        let same = index.current.as_deref() == Some(&*slot.sha256);
        Ok(same.then(|| Outcome::InCharge { bundle: name.into(), sha256: slot.sha256.clone() }))
    }

    /// Loads, judges and times the candidate in a process of its own, and the bundle in charge likewise.
    fn test(
        &mut self,
        slot: &Slot,
        bundle: &Bundle,
    ) -> Result<Result<(Report, Option<Report>), Setback>, Failure> {
        let mode = self.settings.mode;
        if bundle.manifest().mode(mode).is_none() {
            let has: Vec<&str> = bundle.manifest().modes.iter().map(|section| section.mode.name()).collect();
            let text = format!(
                "it has no mode `{}`, expected by this device; it has {}",
                mode.name(),
                has.join(", ")
            );
            return Ok(Err(Setback::new(SetbackCode::Load, text)));
        }
        let report = match self.probe(&slot.path, &slot.path, "the new bundle")? {
            Ok(report) => report,
            Err(setback) => return Ok(Err(setback)),
        };
        if !report.mismatches.is_empty() {
            let text = format!(
                "{} of {} golden scans differ: {}",
                report.mismatches.len(),
                report.golden_count,
                report.mismatches.join("; ")
            );
            return Ok(Err(Setback::new(SetbackCode::SelfTest, text)));
        }
        if report.golden_count == 0 {
            self.say
                .line("note: the bundle holds no golden scan of this mode, so its scores were not checked");
        }
        self.compare_times(slot, report)
    }

    /// A candidate that seems too slow is timed once more, since the machine may have been busy.
    fn compare_times(
        &mut self,
        slot: &Slot,
        report: Report,
    ) -> Result<Result<(Report, Option<Report>), Setback>, Failure> {
        let index = self.store.index().map_err(refusal::failure)?;
        let Some(current) = index.current.filter(|current| *current != slot.sha256) else {
            return Ok(Ok((report, None)));
        };
        let current = self.store.slot(&current);
        let Ok(before) = self.probe(&current.path, &slot.path, "the bundle in charge")? else {
            self.say.line("note: the bundle in charge cannot be timed here, so the times were not compared");
            return Ok(Ok((report, None)));
        };
        let slower_max = f64::from(self.settings.update.slower_max);
        if !is_slower(&report, &before, slower_max) {
            return Ok(Ok((report, Some(before))));
        }
        let again = match self.probe(&slot.path, &slot.path, "the new bundle once more")? {
            Ok(again) => again,
            Err(setback) => return Ok(Err(setback)),
        };
        if !is_slower(&again, &before, slower_max) {
            return Ok(Ok((again, Some(before))));
        }
        let text = format!(
            "a scan takes {:.0} ms ({:.0} ms of processor time), {:.0} ms ({:.0} ms) with the bundle in charge; at most {slower_max:.1} times that is allowed (update.slower_max)",
            again.scan_ms.min(report.scan_ms),
            again.cpu_ms.min(report.cpu_ms),
            before.scan_ms,
            before.cpu_ms
        );
        Ok(Err(Setback::new(SetbackCode::Latency, text)))
    }

    fn probe(
        &mut self,
        bundle: &Path,
        scans: &Path,
        whose: &str,
    ) -> Result<Result<Report, Setback>, Failure> {
        let request = Request { bundle, scans, settings: self.settings };
        let say = &mut self.say;
        probe::run(&request, &mut |stage| {
            say.progress(UpdateState::Testing, &format!("{whose}: {stage}"), 0, 0);
        })
    }

    /// Both bundles on the next parts of the line, when that is asked for.
    fn shadow(
        &mut self,
        slot: &Slot,
        bundle: &Bundle,
        wanted: &Wanted,
    ) -> Result<Option<shadow::Agreement>, Failure> {
        if wanted.shadow_parts == 0 {
            return Ok(None);
        }
        let Some(config) = &self.settings.config else {
            return Err(Failure::new(
                Exit::Usage,
                anyhow::anyhow!("--shadow needs the daemon's configuration"),
            )
            .hint("name it with --config"));
        };
        let agreement = shadow::run(bundle, config, wanted.shadow_parts, &mut self.say)?;
        self.say.line(&agreement.words());
        if agreement.flip_share() > wanted.flips_max {
            let text = format!(
                "{} of {} parts were judged differently, {:.0} % are allowed",
                agreement.flip_count,
                agreement.part_count,
                100.0 * wanted.flips_max
            );
            let setback = Setback::new(SetbackCode::Disagreement, text);
            return self.or_fail(slot, &bundle.name(), Ok(Err(setback)));
        }
        Ok(Some(agreement))
    }

    /// Writes a setback into the store.
    fn or_fail<T>(
        &mut self,
        slot: &Slot,
        name: &str,
        outcome: Result<Result<T, Setback>, Failure>,
    ) -> Result<T, Failure> {
        let setback = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(setback)) => setback,
            Err(failure) => {
                let words = format!("the test could not be made: {:#}", failure.error);
                let setback = Setback::new(SetbackCode::Interrupted, words);
                self.store.fail(slot, &setback, &utc_now()).map_err(refusal::failure)?;
                return Err(failure);
            }
        };
        self.store.fail(slot, &setback, &utc_now()).map_err(refusal::failure)?;
        self.clean_up();
        Err(refusal::setback_failure(name, &setback))
    }

    /// That an old bundle cannot be removed is no reason to fail.
    fn clean_up(&mut self) {
        if let Err(error) = self.store.collect_garbage(self.settings.update.keep_count, &utc_now()) {
            self.say.line(&format!("note: old bundles cannot be removed: {error}"));
        }
    }
}

/// Makes the bundle that the device comes with the first of its store, when there is none.
///
/// # Errors
/// When it is refused or cannot be copied.
pub fn ensure_factory(store: &mut Store, settings: &Settings, trusted: &TrustedKeys) -> Result<(), Failure> {
    if store.factory().map_err(refusal::failure)?.is_some() {
        return Ok(());
    }
    let _installer = store.installer().map_err(refusal::failure)?;
    let mut rules = settings.update.rules();
    let received = match (&settings.update.factory, crate::bundled::DEMO_BUNDLE) {
        (Some(path), _) => store.receive(path, &mut |_, _| {}),
        (None, Some(bytes)) => {
            // It is as trustworthy as the program that carries it.
            rules.allow_development_key = true;
            store.receive_bytes(bytes, Path::new("the demo bundle within the program"))
        }
        (None, None) => return Ok(()),
    };
    let now = utc_now();
    let received = received.map_err(refusal::failure)?;
    let (slot, bundle) = store.stage(received, trusted, rules, &now).map_err(refusal::failure)?;
    store.set_factory(&slot, bundle.manifest().security_epoch, &now).map_err(refusal::failure)
}

/// A trial that runs, in words.
///
/// # Errors
/// While a bundle is on trial: one update at a time.
pub fn expect_no_trial(store: &Store) -> Result<(), Failure> {
    let index = store.index().map_err(refusal::failure)?;
    let Phase::Trial(trial) = index.phase else { return Ok(()) };
    let current = index.current.unwrap_or_default();
    let error = anyhow::anyhow!(
        "found {} on trial, {} parts to go; expected no trial",
        short(&current),
        trial.parts_left
    );
    Err(Failure::new(Exit::Unavailable, error)
        .hint("wait for its end, or end it with `zal model confirm` or `zal model rollback`"))
}

/// By the clock, or by the processor's time, which other programs do not change.
fn is_slower(new: &Report, before: &Report, slower_max: f64) -> bool {
    let exceeds = |ms: f64, before_ms: f64| ms > before_ms * slower_max && ms > before_ms + SLOWER_LEAST_MS;
    exceeds(new.scan_ms, before.scan_ms) || exceeds(new.cpu_ms, before.cpu_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_path() {
        assert_eq!(Origin::of("https://p/b.zalb"), Origin::Url("https://p/b.zalb".into()));
        assert_eq!(Origin::of("/media/http.zalb"), Origin::Path("/media/http.zalb".into()));
    }

    #[test]
    fn slower_is_slower_by_more_than_chance() {
        let report = |scan_ms: f64, cpu_ms: f64| Report {
            engine: zal::engine::EngineReport {
                engine: "tract".into(),
                version: "0".into(),
                provider: "cpu".into(),
                passed_over: vec![],
            },
            load_ms: 0.0,
            golden_count: 1,
            mismatches: vec![],
            scan_ms,
            cpu_ms,
            timed_count: 5,
        };
        let of =
            |new: (f64, f64), old: (f64, f64)| is_slower(&report(new.0, new.1), &report(old.0, old.1), 3.0);
        assert!(of((1000.0, 10.0), (100.0, 10.0)) && !of((290.0, 290.0), (100.0, 100.0)));
        assert!(of((9000.0, 900.0), (9000.0, 90.0)), "on a busy machine the clock shows nothing");
        assert!(!of((15.0, 10.0), (1.0, 0.0)), "milliseconds differ by chance");
    }
}
