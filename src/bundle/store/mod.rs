//! The bundles of a device: which one judges, which one judged before, and how another one comes in.
//!
//! ```text
//! STORE/
//!   slots/<sha256>.zalb       whole bundles under the hash of their bytes; never changed
//!   receiving/<sha256>.part   a copy on its way in; a second try goes on where the first stopped
//!   index.json                current, previous, what the update does: replaced by one rename
//!   factory                   hash of the bundle that came with the device; written once
//!   log.jsonl                 what happened, a line each; only ever appended to
//!   lock  install.lock        held while the index changes; held by the one installer
//! ```
//!
//! One file holds all of the state, so that one rename changes all of it: there is no moment at which
//! `current` is new and `previous` is not yet, whatever is interrupted. Data are on disk before the name
//! that promises them ([`disk`]). An index that cannot be read is set aside, and the factory bundle
//! takes over.
//!
//! ```text
//! receive -> verify -> stage ─> testing ─> ready ─> trial ─> confirmed
//!                                  └> failed{code}     └> rolled_back{code}
//! ```
//!
//! The library runs no test and knows no clock: the caller tests the candidate in a process of its own
//! and says when it is.

pub mod disk;
pub mod index;
mod download;
mod error;
mod log;
mod receive;
mod slots;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

pub use download::Download;
pub use error::StoreError;
pub use index::{Index, Phase, Setback, SetbackCode, Trial, TrialRules};
pub use log::LogLine;
pub use receive::Received;

use super::{Bundle, Signer, TrustedKeys};
use disk::Disk;

/// Which bundles a device takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Take bundles that the development key signed, whose secret half is public.
    pub allow_development_key: bool,
}

/// A bundle in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Hash of the file, lower-case hexadecimal: its name.
    pub sha256: String,
    /// The file.
    pub path: PathBuf,
}

/// What judges from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The bundle to load.
    pub slot: Slot,
    /// The trial that it is on, as it is now.
    pub trial: Option<Trial>,
    /// That a trial ended here, since it had no start left.
    pub rolled_back: Option<Setback>,
}

/// A device's bundles.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    disk: Disk,
}

impl Store {
    /// Opens the store, making its folders when they are missing.
    ///
    /// # Errors
    /// When a folder cannot be made or read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::with_disk(root, Disk::default())
    }

    fn with_disk(root: &Path, disk: Disk) -> Result<Self, StoreError> {
        let mut store = Self { root: root.into(), disk };
        for folder in [store.root.clone(), store.slots_dir(), store.receiving_dir()] {
            store.disk.make_dir(&folder)?;
        }
        Ok(store)
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The state as it is now. A damaged index is not mended here: the state is then that of a device
    /// with its factory bundle.
    ///
    /// # Errors
    /// When the index cannot be read for another reason than that it is not there or damaged.
    pub fn index(&self) -> Result<Index, StoreError> {
        let factory = self.factory()?;
        match index::read(&self.index_path())? {
            index::Read::Whole(index) => Ok(index),
            index::Read::Missing | index::Read::Damaged(_) => Ok(Index::of_factory(factory)),
        }
    }

    /// Claims the right to install: one at a time.
    ///
    /// # Errors
    /// When another process installs.
    pub fn installer(&self) -> Result<File, StoreError> {
        let path = self.root.join("install.lock");
        let file = disk::lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Busy),
            Err(std::fs::TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
        }
    }

    /// Checks a received file as a bundle and gives it its slot. The copy is checked, not the file it
    /// was made of: replacing that one changes nothing any more.
    ///
    /// # Errors
    /// When the bundle is refused: the copy is removed, and the store is as it was.
    pub fn stage(
        &mut self,
        received: Received,
        trusted: &TrustedKeys,
        rules: Rules,
        now_utc: &str,
    ) -> Result<(Slot, Bundle), StoreError> {
        let bundle = match self.verified(&received, trusted, rules) {
            Ok(bundle) => bundle,
            Err(error) => {
                self.disk.remove(&received.path)?;
                self.note(now_utc, "refused", &received.sha256, &error.to_string())?;
                return Err(error);
            }
        };
        let slot = self.keep(&received)?;
        self.note(now_utc, "staged", &slot.sha256, &bundle.name())?;
        Ok((slot, bundle))
    }

    fn verified(
        &self,
        received: &Received,
        trusted: &TrustedKeys,
        rules: Rules,
    ) -> Result<Bundle, StoreError> {
        let bundle = Bundle::open(&received.path, trusted)?;
        if bundle.signer() == Signer::Development && !rules.allow_development_key {
            return Err(StoreError::DevelopmentKey { bundle: bundle.name() });
        }
        let (found, lowest) = (bundle.manifest().security_epoch, self.index()?.security_epoch);
        if found < lowest {
            return Err(StoreError::Epoch { bundle: bundle.name(), found, lowest });
        }
        Ok(bundle)
    }

    /// Makes a staged bundle the one that came with the device. Only a store without one takes it.
    ///
    /// # Errors
    /// When there is a factory bundle already, or nothing is in the slot.
    pub fn set_factory(&mut self, slot: &Slot, security_epoch: u32, now_utc: &str) -> Result<(), StoreError> {
        self.check_slot(&slot.sha256)?;
        if let Some(factory) = self.factory()? {
            return Err(StoreError::Phase {
                found: format!("the factory bundle {}", short(&factory)),
                expected: "a store without one",
            });
        }
        self.disk.put(&self.root.join("factory"), slot.sha256.as_bytes())?;
        self.change(now_utc, "factory", |index| {
            index.epochs.insert(slot.sha256.clone(), security_epoch);
            // The index of a store without one says already that the factory bundle judges.
            if index.current.as_ref().is_none_or(|current| *current == slot.sha256) {
                index.current = Some(slot.sha256.clone());
                index.security_epoch = index.security_epoch.max(security_epoch);
            }
            Ok((slot.sha256.clone(), String::new()))
        })
    }

    /// Says that a staged bundle is being tested.
    ///
    /// # Errors
    /// While another one is on trial, or when nothing is in the slot.
    pub fn begin_test(&mut self, slot: &Slot, security_epoch: u32, now_utc: &str) -> Result<(), StoreError> {
        self.check_slot(&slot.sha256)?;
        self.change(now_utc, "testing", |index| {
            index.expect_no_trial()?;
            index.epochs.insert(slot.sha256.clone(), security_epoch);
            index.phase = Phase::Testing { candidate: slot.sha256.clone() };
            Ok((slot.sha256.clone(), String::new()))
        })
    }

    /// Says that the test of a candidate went wrong. What judges stays.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn fail(&mut self, slot: &Slot, setback: &Setback, now_utc: &str) -> Result<(), StoreError> {
        self.change(now_utc, "failed", |index| {
            index.phase = Phase::Failed { candidate: slot.sha256.clone(), setback: setback.clone() };
            Ok((slot.sha256.clone(), setback.to_string()))
        })
    }

    /// Says that the test of a candidate went well; it is not in use yet.
    ///
    /// # Errors
    /// When the candidate is not the one under test.
    pub fn ready(&mut self, slot: &Slot, now_utc: &str) -> Result<(), StoreError> {
        self.change(now_utc, "ready", |index| {
            index.expect_candidate(&slot.sha256)?;
            index.phase = Phase::Ready { candidate: slot.sha256.clone() };
            Ok((slot.sha256.clone(), String::new()))
        })
    }

    /// Puts a tested candidate in charge, on trial.
    ///
    /// # Errors
    /// When the candidate was not tested.
    pub fn activate(&mut self, slot: &Slot, rules: TrialRules, now_utc: &str) -> Result<(), StoreError> {
        self.check_slot(&slot.sha256)?;
        self.change(now_utc, "trial", |index| {
            index.expect_ready(&slot.sha256)?;
            index.switch_to(&slot.sha256, rules);
            Ok((slot.sha256.clone(), format!("{rules}")))
        })
    }

    /// What to load at a start. A start on trial is counted before anything is loaded, so that one that
    /// ends the process counts; when none is left, the bundle before is back in charge.
    ///
    /// # Errors
    /// When the store holds no bundle that is whole.
    pub fn boot(&mut self, now_utc: &str) -> Result<Boot, StoreError> {
        self.mend(now_utc)?;
        let (mut rolled_back, factory) = (None, self.factory()?);
        if matches!(self.index()?.phase, Phase::Trial(_)) {
            self.change(now_utc, "boot", |index| {
                rolled_back = index.count_boot(factory.as_deref());
                let words = rolled_back.as_ref().map_or_else(String::new, Setback::to_string);
                Ok((index.current.clone().unwrap_or_default(), words))
            })?;
        }
        let index = self.index()?;
        let slot = self.first_whole(&index, now_utc)?;
        let trial = self.trial_of(&slot)?;
        Ok(Boot { slot, trial, rolled_back })
    }

    /// What judges now, without counting a start: for a daemon that only reads its settings again.
    ///
    /// # Errors
    /// When the store holds no bundle that is whole.
    pub fn in_charge(&mut self, now_utc: &str) -> Result<Boot, StoreError> {
        self.mend(now_utc)?;
        let index = self.index()?;
        let slot = self.first_whole(&index, now_utc)?;
        let trial = self.trial_of(&slot)?;
        Ok(Boot { slot, trial, rolled_back: None })
    }

    fn trial_of(&self, slot: &Slot) -> Result<Option<Trial>, StoreError> {
        let index = self.index()?;
        Ok(match index.phase {
            Phase::Trial(trial) if index.current.as_deref() == Some(&*slot.sha256) => Some(trial),
            _ => None,
        })
    }

    /// Gives a start of a trial back: the daemon ended in order, which says nothing against the bundle.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn return_boot(&mut self) -> Result<(), StoreError> {
        if matches!(self.index()?.phase, Phase::Trial(_)) {
            self.change_quietly(|index| {
                index.return_boot();
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Keeps how long the bundle before took, as the measure for the one on trial.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn set_baseline(&mut self, baseline_us: u64) -> Result<(), StoreError> {
        self.change_quietly(|index| {
            if let Phase::Trial(trial) = &mut index.phase {
                trial.baseline_us = Some(baseline_us);
            }
            Ok(())
        })
    }

    /// Counts judged parts of a trial; confirms when none is left. The trial as it is then; none when
    /// there is none (any more).
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn parts_judged(&mut self, count: u32, now_utc: &str) -> Result<Option<Trial>, StoreError> {
        let (mut trial, mut proven) = (None, false);
        self.change_quietly(|index| {
            proven = index.count_parts(count);
            if let Phase::Trial(found) = &index.phase {
                trial = Some(found.clone());
            }
            Ok(())
        })?;
        if proven {
            self.confirm(now_utc)?;
            return Ok(None);
        }
        Ok(trial)
    }

    /// Ends a trial well, or takes note of a setback: what judges now is wanted. After a trial bundles of
    /// a lower security epoch are refused.
    ///
    /// # Errors
    /// When there is neither a trial nor a setback.
    pub fn confirm(&mut self, now_utc: &str) -> Result<(), StoreError> {
        self.change(now_utc, "confirmed", |index| {
            index.confirm()?;
            Ok((index.current.clone().unwrap_or_default(), String::new()))
        })
    }

    /// Puts the bundle before back in charge, or the factory's when there is none.
    ///
    /// # Errors
    /// When there is neither.
    pub fn roll_back(&mut self, setback: &Setback, now_utc: &str) -> Result<Slot, StoreError> {
        let factory = self.factory()?;
        let mut to = String::new();
        self.change(now_utc, "rolled_back", |index| {
            to = index.roll_back(factory.as_deref(), setback)?;
            Ok((to.clone(), setback.to_string()))
        })?;
        Ok(self.slot(&to))
    }

    /// Removes bundles that nothing refers to, but for the newest `keep_count` of them, and unfinished
    /// copies. What judges, what judged before, the factory's and a candidate are never touched. The caller is
    /// the installer.
    ///
    /// # Errors
    /// When the folder cannot be read or a file not removed.
    pub fn collect_garbage(&mut self, keep_count: usize, now_utc: &str) -> Result<Vec<Slot>, StoreError> {
        let _lock = self.lock()?;
        let index = self.index()?;
        let factory = self.factory()?;
        let in_use = |sha256: &str| index.refers_to(sha256) || factory.as_deref() == Some(sha256);
        let unused: Vec<Slot> =
            self.slots()?.into_iter().filter(|slot| !in_use(&slot.sha256)).skip(keep_count).collect();
        for slot in &unused {
            self.disk.remove(&slot.path)?;
            self.note(now_utc, "removed", &slot.sha256, "")?;
        }
        self.empty_receiving()?;
        Ok(unused)
    }
}

/// The first digits of a hash, as people read them.
#[must_use]
pub fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
