//! Finding the bundle and the keys it may be signed with.

use std::path::{Path, PathBuf};

use zal::bundle::{Bundle, BundleError, TrustedKeys};

use crate::exit::{Exit, Failure};
use crate::runtime;

/// The demo bundle that the program carries, so that it works with nothing installed. The
/// device package leaves it out.
#[cfg(feature = "demo")]
const DEMO_BUNDLE: &[u8] = include_bytes!("../../../models/demo.zalb");

/// Opens the bundle at `path`, or the embedded demo bundle.
///
/// # Errors
/// When the bundle is refused, or none is given and none is embedded.
pub fn open(path: Option<&Path>) -> Result<Bundle, Failure> {
    let trusted = trusted_keys()?;
    let Some(path) = path else { return open_embedded(&trusted) };
    Bundle::open(path, &trusted).map_err(refused)
}

#[cfg(feature = "demo")]
fn open_embedded(trusted: &TrustedKeys) -> Result<Bundle, Failure> {
    Bundle::from_bytes(DEMO_BUNDLE, trusted).map_err(refused)
}

#[cfg(not(feature = "demo"))]
fn open_embedded(_trusted: &TrustedKeys) -> Result<Bundle, Failure> {
    Err(Failure::new(Exit::Usage, anyhow::anyhow!("no bundle given, and this build carries no demo bundle"))
        .hint("name one with --bundle FILE.zalb"))
}

/// The development key and the `.pub` files of `/etc/zal/keys` and `keys` in the state folder.
fn trusted_keys() -> Result<TrustedKeys, Failure> {
    let mut texts = Vec::new();
    for folder in [PathBuf::from("/etc/zal/keys"), runtime::state_dir().join("keys")] {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "pub"))
        {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Failure::new(
                    Exit::Io,
                    anyhow::anyhow!("cannot read the trusted key {}: {error}", path.display()),
                )
            })?;
            texts.push(text);
        }
    }
    TrustedKeys::new(&texts).map_err(refused)
}

/// The exit code that fits why a bundle was refused.
fn refused(error: BundleError) -> Failure {
    match &error {
        BundleError::Read { .. } => Failure::new(Exit::NoInput, error).hint("give the path of a .zalb file"),
        BundleError::Signature { .. } => Failure::new(Exit::Refused, error)
            .hint("take the bundle from its maker again, or put the maker's .pub file into /etc/zal/keys"),
        _ => Failure::new(Exit::BadData, error).hint("copy the bundle again; if it stays, ask its maker"),
    }
}
