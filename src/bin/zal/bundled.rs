//! Finding the bundle and the keys it may be signed with.

use std::path::{Path, PathBuf};

use zal::bundle::{Bundle, BundleError, TrustedKeys};

use crate::exit::{Exit, Failure};
use crate::runtime;

/// The demo bundle that the program carries, so that it works with nothing installed. The
/// device package leaves it out.
#[cfg(feature = "demo")]
pub const DEMO_BUNDLE: Option<&[u8]> = Some(DEMO_BYTES);
#[cfg(feature = "demo")]
const DEMO_BYTES: &[u8] = include_bytes!("../../../models/demo.zalb");

/// This build carries none.
#[cfg(not(feature = "demo"))]
pub const DEMO_BUNDLE: Option<&[u8]> = None;

/// Opens the bundle at `path`, or the embedded demo bundle.
///
/// # Errors
/// When the bundle is refused, or none is given and none is embedded.
pub fn open(path: Option<&Path>) -> Result<Bundle, Failure> {
    let trusted = trusted_keys(&key_folders())?;
    let Some(path) = path else { return open_embedded(&trusted) };
    Bundle::open(path, &trusted).map_err(refused)
}

#[cfg(feature = "demo")]
fn open_embedded(trusted: &TrustedKeys) -> Result<Bundle, Failure> {
    Bundle::from_bytes(DEMO_BYTES, trusted).map_err(refused)
}

#[cfg(not(feature = "demo"))]
fn open_embedded(_trusted: &TrustedKeys) -> Result<Bundle, Failure> {
    Err(Failure::new(Exit::Usage, anyhow::anyhow!("no bundle given, and this build carries no demo bundle"))
        .hint("name one with --bundle FILE.zalb"))
}

/// Where keys are looked for: `/etc/zal/keys` and `keys` in the state folder.
pub fn key_folders() -> Vec<PathBuf> {
    vec![PathBuf::from("/etc/zal/keys"), runtime::state_dir().join("keys")]
}

/// The development key and the `.pub` files of the folders, without those in their `revoked/`.
///
/// # Errors
/// When a key cannot be read or does not parse.
pub fn trusted_keys(folders: &[PathBuf]) -> Result<TrustedKeys, Failure> {
    let (mut trusted, mut revoked) = (Vec::new(), Vec::new());
    for folder in folders {
        trusted.extend(keys_in(folder)?);
        revoked.extend(keys_in(&folder.join("revoked"))?);
    }
    TrustedKeys::new(&trusted).and_then(|keys| keys.without(&revoked)).map_err(refused)
}

fn keys_in(folder: &Path) -> Result<Vec<String>, Failure> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let keys = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "pub"));
    keys.map(|path| {
        std::fs::read_to_string(&path).map_err(|error| {
            let error = anyhow::anyhow!("cannot read the key {}: {error}", path.display());
            Failure::new(Exit::Io, error).hint("without it nobody can say which bundles are trusted")
        })
    })
    .collect()
}

/// The exit code that fits why a bundle was refused.
pub fn refused(error: BundleError) -> Failure {
    match &error {
        BundleError::Read { .. } => Failure::new(Exit::NoInput, error).hint("give the path of a .zalb file"),
        BundleError::Signature { .. } => Failure::new(Exit::Refused, error)
            .hint("take the bundle from its maker again, or put the maker's .pub file into /etc/zal/keys"),
        _ => Failure::new(Exit::BadData, error).hint("copy the bundle again; if it stays, ask its maker"),
    }
}
