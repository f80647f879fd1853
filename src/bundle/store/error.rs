//! Why the store refuses.

use std::path::PathBuf;

use thiserror::Error;

use crate::bundle::BundleError;

/// Why a change of the store is refused. The store is then as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or folder of the store cannot be used.
    #[error("the bundle store cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bundle's source cannot be read.
    #[error("cannot read {path}: {source}; the store is unchanged, the copy goes on from here next time")]
    Source {
        /// The file on the stick.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The source is no file of a sensible size.
    #[error("{path} is {found}; expected a bundle file of at most {} GB", super::receive::SIZE_MAX_BYTES >> 30)]
    Unfit {
        /// The file on the stick.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The source changed while it was copied.
    #[error("{path} changed while it was copied: sha256 {found}, {expected} before; copy it again")]
    Changed {
        /// The file on the stick.
        path: PathBuf,
        /// Hash of the copy.
        found: String,
        /// Hash at first.
        expected: String,
    },
    /// Another process installs.
    #[error("another installation is running: wait until it has ended, `zal model status` shows it")]
    Busy,
    /// The file is no bundle that this device trusts.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Signed with the key that everybody has.
    #[error(
        "{bundle} is signed with the development key, whose secret half is public; expected a key of the plant's own \
         (allow the development key only on a machine that judges no real parts)"
    )]
    DevelopmentKey {
        /// The bundle.
        bundle: String,
    },
    /// Older than what the device may go back to.
    #[error("{bundle} is of security epoch {found}; this device takes {lowest} and above")]
    Epoch {
        /// The bundle.
        bundle: String,
        /// Its epoch.
        found: u32,
        /// The device's.
        lowest: u32,
    },
    /// Nothing is in the slot.
    #[error("there is no bundle {sha256} in the store; `zal model list` shows those that are")]
    NoSlot {
        /// Hash asked for.
        sha256: String,
    },
    /// No bundle is whole.
    #[error("the store {path} holds no whole bundle: install one with `zal model install FILE.zalb`")]
    Empty {
        /// The store.
        path: PathBuf,
    },
    /// Not now.
    #[error("found {found}; expected {expected}")]
    Phase {
        /// What is going on.
        found: String,
        /// What has to be.
        expected: &'static str,
    },
}
