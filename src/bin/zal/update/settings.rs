//! What an update is made with: the daemon's own settings, so that a bundle is tested as it will judge.

use std::path::{Path, PathBuf};

use zal::bundle::store::Store;
use zal::bundle::{Bundle, TrustedKeys};
use zal::detector::Mode;

use super::refusal;
use crate::config::{self, Config};
use crate::exit::Failure;
use crate::{bundled, runtime};

/// Settings of the tool and of the daemon.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[update]`.
    pub update: config::Update,
    /// `[engine]`.
    pub engine: config::Engine,
    /// The mode that judges.
    pub mode: Mode,
    /// The rest of the configuration, when there is one.
    pub config: Option<Config>,
}

impl Settings {
    /// Those of a daemon.
    pub fn of(config: &Config) -> Self {
        Self {
            update: config.update.clone(),
            engine: config.engine.clone(),
            mode: config.detector.mode,
            config: Some(config.clone()),
        }
    }

    /// Those of a machine without a daemon.
    pub fn without_config() -> Self {
        let dir = runtime::state_dir().join("models");
        Self {
            update: config::Update { dir, ..config::Update::default() },
            engine: config::Engine::default(),
            mode: Mode::default(),
            config: None,
        }
    }

    /// Where keys are looked for: also beside the store, which root and the daemon's user both see.
    pub fn key_folders(&self) -> Vec<PathBuf> {
        let mut folders = bundled::key_folders();
        let beside = self.update.dir.parent().unwrap_or(Path::new(".")).join("keys");
        if !folders.contains(&beside) {
            folders.push(beside);
        }
        folders
    }

    /// Keys that bundles may be signed with.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn trusted_keys(&self) -> Result<TrustedKeys, Failure> {
        bundled::trusted_keys(&self.key_folders())
    }

    /// Opens the store.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open_store(&self) -> Result<Store, Failure> {
        Store::open(&self.update.dir).map_err(refusal::failure)
    }

    /// Opens the store for reading: one that is not there is not made.
    ///
    /// # Errors
    /// When there is none.
    pub fn open_existing_store(&self) -> Result<Store, Failure> {
        let dir = &self.update.dir;
        if !dir.join("slots").is_dir() {
            return Err(refusal::no_store(dir));
        }
        self.open_store()
    }
}

/// The bundle that a start would load; the store is only looked at.
///
/// # Errors
/// When there is none, or it is damaged or not trusted.
pub fn bundle_in_charge(config: &Config) -> Result<Bundle, Failure> {
    if let Some(path) = &config.detector.bundle {
        return bundled::open(Some(path));
    }
    let settings = Settings::of(config);
    let store = settings.open_existing_store()?;
    let current = store.index().map_err(refusal::failure)?.current;
    let current = current.ok_or_else(|| refusal::no_store(&config.update.dir))?;
    Bundle::open(&store.slot(&current).path, &settings.trusted_keys()?).map_err(bundled::refused)
}
