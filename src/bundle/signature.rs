//! Ed25519 signatures in minisign's format, checked on raw bytes.
//!
//! A technician can check a bundle with the stock tool:
//! `tar xf B.zalb manifest.json manifest.json.minisig && minisign -Vm manifest.json -P KEY`.
//!
//! Keys are told apart by minisign's key id, the 16 digits that `minisign -V` and `.pub` files show.

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

/// One public key.
#[derive(Debug, Clone)]
struct Key {
    signer: Signer,
    public: PublicKey,
    id: String,
}

/// Keys that a bundle may be signed with, and those that it may not be signed with any more.
#[derive(Debug, Clone)]
pub struct TrustedKeys {
    keys: Vec<Key>,
    revoked: Vec<Key>,
}

impl TrustedKeys {
    /// The development key and the given minisign public keys (the text of `.pub` files, or
    /// their base64 line alone).
    ///
    /// # Errors
    /// When a key does not parse.
    pub fn new(public_keys: &[String]) -> Result<Self, BundleError> {
        let mut keys = vec![parse_key(Signer::Development, DEV_PUBLIC_KEY)?];
        for text in public_keys {
            keys.push(parse_key(Signer::Trusted, text)?);
        }
        Ok(Self { keys, revoked: Vec::new() })
    }

    /// Takes trust away: a key that is revoked counts no more, whether it is trusted as well or not.
    ///
    /// # Errors
    /// When a key does not parse.
    pub fn without(mut self, revoked_keys: &[String]) -> Result<Self, BundleError> {
        for text in revoked_keys {
            self.revoked.push(parse_key(Signer::Trusted, text)?);
        }
        Ok(self)
    }
}

fn parse_key(signer: Signer, text: &str) -> Result<Key, BundleError> {
    let line = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or_default().trim();
    match (PublicKey::from_base64(line), key_id(line)) {
        (Ok(public), Some(id)) => Ok(Key { signer, public, id }),
        (Err(error), _) => {
            Err(BundleError::Signature { found: format!("public key `{line}` does not parse: {error}") })
        }
        (Ok(_), None) => Err(BundleError::Signature { found: format!("public key `{line}` has no key id") }),
    }
}

/// The id of a key or signature as minisign shows it: bytes 2 to 9 of its base64 line, the last first.
fn key_id(base64: &str) -> Option<String> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes: Vec<u8> = Vec::new();
    for four in base64.as_bytes().get(..16)?.chunks(4) {
        let value = four.iter().try_fold(0_u32, |value, byte| {
            let digit = DIGITS.iter().position(|d| d == byte)?;
            Some(value << 6 | u32::try_from(digit).ok()?)
        })?;
        bytes.extend(&value.to_be_bytes()[1..]);
    }
    Some(bytes.get(2..10)?.iter().rev().map(|byte| format!("{byte:02X}")).collect())
}

/// Whose signature it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Which kind of key.
    pub signer: Signer,
    /// Its id, as minisign shows it.
    pub key_id: String,
}

/// Checks the signature over the manifest's raw bytes; says whose it is.
///
/// # Errors
/// When the signature does not parse, does not fit the bytes, or is by no trusted key.
pub fn verify(manifest: &[u8], signature: &[u8], trusted: &TrustedKeys) -> Result<Signed, BundleError> {
    let refuse = |found: String| BundleError::Signature { found };
    let text = std::str::from_utf8(signature).map_err(|_| refuse("it is not text".into()))?;
    let signature = Signature::decode(text).map_err(|error| refuse(error.to_string()))?;
    let fits = |key: &&Key| key.public.verify(manifest, &signature, false).is_ok();
    if let Some(key) = trusted.revoked.iter().find(fits) {
        return Err(refuse(format!("it was made with the key {}, which is revoked", key.id)));
    }
    if let Some(key) = trusted.keys.iter().find(fits) {
        return Ok(Signed { signer: key.signer, key_id: key.id.clone() });
    }
    let id = text.lines().nth(1).and_then(key_id).unwrap_or_default();
    let ids: Vec<&str> = trusted.keys.iter().map(|key| key.id.as_str()).collect();
    Err(refuse(if ids.contains(&id.as_str()) {
        format!("it names the key {id}, but does not fit: the manifest or the signature was changed")
    } else {
        format!("it was made with the key {id}, which is not among the trusted ones ({})", ids.join(", "))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_one_that_minisign_shows() {
        // The untrusted comment of `models/dev.pub` holds what minisign wrote there.
        let shown = include_str!("../../models/dev.pub").lines().next().expect("a comment");
        let id = key_id(DEV_PUBLIC_KEY).expect("a key");
        assert!(shown.contains(&id), "{shown} against {id}");
        assert_eq!((key_id("short"), key_id("!!!!!!!!!!!!!!!!")), (None, None));
    }

    #[test]
    fn a_revoked_key_that_does_not_parse_is_an_error() {
        let trusted = TrustedKeys::new(&[]).expect("the development key");
        assert!(trusted.without(&["no key".into()]).is_err());
    }
}
