//! Ed25519 signatures in minisign's format, checked on raw bytes.
//!
//! A technician can check a bundle with the stock tool:
//! `tar xf B.zalb manifest.json manifest.json.minisig && minisign -Vm manifest.json -P KEY`.

use minisign_verify::{PublicKey, Signature};

use super::BundleError;

/// Public half of the development key in `models/dev.key`. Everybody has the secret half:
/// it protects against accidents, not against people.
pub const DEV_PUBLIC_KEY: &str = "RWQJikBREM4dFZETbmaUQuPWyPkd0H7GY46Y4NaW5tFmbKHi+sNFCxrM";

/// Who signed a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The development key, whose secret half is public.
    Development,
    /// A key that the operator trusts.
    Trusted,
}

impl Signer {
    /// Name for status and results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development key",
            Self::Trusted => "trusted key",
        }
    }
}

/// Keys that a bundle may be signed with.
#[derive(Debug, Clone)]
pub struct TrustedKeys {
    keys: Vec<(Signer, PublicKey)>,
}

impl TrustedKeys {
    /// The development key and the given minisign public keys (the text of `.pub` files, or
    /// their base64 line alone).
    ///
    /// # Errors
    /// When a key does not parse.
    pub fn new(public_keys: &[String]) -> Result<Self, BundleError> {
        let mut keys = vec![(Signer::Development, parse_key(DEV_PUBLIC_KEY)?)];
        for text in public_keys {
            keys.push((Signer::Trusted, parse_key(text)?));
        }
        Ok(Self { keys })
    }
}

fn parse_key(text: &str) -> Result<PublicKey, BundleError> {
    let line = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or_default();
    PublicKey::from_base64(line.trim()).map_err(|error| BundleError::Signature {
        found: format!("public key `{line}` does not parse: {error}"),
    })
}

/// Checks the signature over the manifest's raw bytes; says whose it is.
///
/// # Errors
/// When the signature does not parse, does not fit the bytes, or is by no trusted key.
pub fn verify(manifest: &[u8], signature: &[u8], trusted: &TrustedKeys) -> Result<Signer, BundleError> {
    let refuse = |found: String| BundleError::Signature { found };
    let text = std::str::from_utf8(signature).map_err(|_| refuse("it is not text".into()))?;
    let signature = Signature::decode(text).map_err(|error| refuse(error.to_string()))?;
    let mut why = String::from("no key is trusted");
    for (signer, key) in &trusted.keys {
        match key.verify(manifest, &signature, false) {
            Ok(()) => return Ok(*signer),
            Err(error) => why = error.to_string(),
        }
    }
    Err(refuse(why))
}
