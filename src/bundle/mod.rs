//! The signed bundle: what a detector needs, in one file that cannot be half right.
//!
//! ```text
//! name-version.zalb = plain tar, regular files only, in this order, mtime 0
//!   manifest.json           UTF-8 JSON, see `Manifest`; names every other file
//!   manifest.json.minisig   minisign signature over the raw bytes of manifest.json
//!   <payload>               exactly the manifest's files, in its order, with its sizes
//! ```
//!
//! The signature is checked on the manifest's raw bytes before they are parsed, every
//! payload file against size and SHA-256 when the bundle is opened and again when the file
//! is read, so replacing the file in between changes nothing unnoticed. Payloads stay on
//! disk until a detector is made from them.

pub mod manifest;
mod archive;
mod assemble;
mod golden;
mod signature;
pub mod store;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use archive::write_archive;
pub use golden::{GoldenOutcome, GoldenResult, GoldenScan, MAP_QUANTILES};
pub use manifest::{FileEntry, FileRole, Judgement, JudgementOfClass, Manifest, ModeSection, Provenance};
pub use signature::{DEV_PUBLIC_KEY, Signed, Signer, TrustedKeys};

use crate::bank::BankError;
use crate::detector::{Detector, DetectorError, Mode};
use crate::engine::{EngineError, EngineOptions};
use crate::features::Branch;
use archive::Source;

/// Why a bundle is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file cannot be read.
    #[error("cannot read the bundle {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The container is not as drawn.
    #[error("the bundle is damaged: {found}; expected {expected}")]
    Archive {
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// The signature does not fit, or no trusted key made it.
    #[error("the bundle's signature is refused: {found}; expected a minisign signature by a trusted key")]
    Signature {
        /// What is wrong.
        found: String,
    },
    /// The manifest does not parse or contradicts itself.
    #[error("the manifest is refused: {found}; expected {expected}")]
    Manifest {
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A payload's bytes are not the ones that were signed.
    #[error("{path} in the bundle is not what was signed: found {found}, expected {expected}")]
    Payload {
        /// File within the bundle.
        path: String,
        /// Size or hash found.
        found: String,
        /// Size or hash signed.
        expected: String,
    },
    /// The bundle does not hold the mode asked for.
    #[error("the bundle {bundle} has no mode `{asked}`; it has {present}")]
    Mode {
        /// Name of the bundle.
        bundle: String,
        /// What was asked.
        asked: String,
        /// What it has.
        present: String,
    },
    /// The memory bank is refused.
    #[error("the memory bank {path} is refused: {source}")]
    Bank {
        /// File within the bundle.
        path: String,
        /// Why.
        source: BankError,
    },
    /// A graph is refused.
    #[error("the graph {path} is refused: {source}")]
    Graph {
        /// File within the bundle.
        path: String,
        /// Why.
        source: EngineError,
    },
    /// The parts do not fit together.
    #[error("the parts of the bundle do not fit together: {0}")]
    Detector(#[from] DetectorError),
}

/// A bundle whose signature and hashes were checked.
#[derive(Debug)]
pub struct Bundle {
    manifest: Manifest,
    signed: Signed,
    source: Source,
    /// Start of every manifest file in the source, in the manifest's order.
    offsets: Vec<u64>,
}

impl Bundle {
    /// Opens a bundle file, checking signature, sizes and hashes.
    ///
    /// # Errors
    /// When the file is not a whole, signed bundle.
    pub fn open(path: &Path, trusted: &TrustedKeys) -> Result<Self, BundleError> {
        Self::from_source(Source::file(path)?, trusted)
    }

    /// As [`Bundle::open`], from bytes that live as long as the program.
    ///
    /// # Errors
    /// When the bytes are not a whole, signed bundle.
    pub fn from_bytes(bytes: &'static [u8], trusted: &TrustedKeys) -> Result<Self, BundleError> {
        Self::from_source(Source::Memory(bytes), trusted)
    }

    /// What a file of the bundle store says of itself, without its payload being read: for showing it. The
    /// store has checked the payload when it took it in, and checks the whole file's hash at every start.
    ///
    /// # Errors
    /// When manifest and signature are not what a trusted key signed.
    pub fn peek(path: &Path, trusted: &TrustedKeys) -> Result<(Manifest, Signed), BundleError> {
        let head = archive::read_head(&mut Source::file(path)?)?;
        let signed = signature::verify(&head.manifest, &head.signature, trusted)?;
        Ok((Manifest::parse(&head.manifest)?, signed))
    }

    fn from_source(mut source: Source, trusted: &TrustedKeys) -> Result<Self, BundleError> {
        let head = archive::read_head(&mut source)?;
        let signed = signature::verify(&head.manifest, &head.signature, trusted)?;
        let manifest = Manifest::parse(&head.manifest)?;
        let offsets = archive::check_payload(&mut source, &manifest)?;
        Ok(Self { manifest, signed, source, offsets })
    }

    /// `name-version` of the bundle.
    #[must_use]
    pub fn name(&self) -> String {
        self.manifest.full_name()
    }

    /// What the bundle says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Which kind of key signed it.
    #[must_use]
    pub const fn signer(&self) -> Signer {
        self.signed.signer
    }

    /// Id of the key that signed it, as minisign shows it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.signed.key_id
    }

    /// Reads one payload file and checks it against the manifest again.
    ///
    /// # Errors
    /// When the file is not in the bundle or its bytes changed since it was opened.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, BundleError> {
        let position = self.manifest.files.iter().position(|f| f.path == path);
        let Some(index) = position else {
            return Err(BundleError::Archive {
                found: format!("no file {path}"),
                expected: "a file that the manifest names".into(),
            });
        };
        archive::read_payload(&self.source, &self.manifest.files[index], self.offsets[index])
    }

    /// Numbers that each branch of a mode describes a patch with, in the order of the settings.
    ///
    /// # Errors
    /// When the bundle lacks the mode, or its bank is refused.
    pub fn branch_dims(&self, mode: Mode) -> Result<Vec<(Branch, usize)>, BundleError> {
        assemble::branch_dims(self, mode)
    }

    /// Loads the graphs and the bank of one mode.
    ///
    /// # Errors
    /// When the bundle lacks the mode, or a graph or the bank does not meet its contract.
    pub fn detector(&self, mode: Mode, options: &EngineOptions) -> Result<Detector, BundleError> {
        assemble::detector(self, mode, options)
    }
}
