//! Signing keys in minisign's format, without a password: the file's permissions protect it.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use anyhow::{Context, bail};
use minisign::{KeyPair, SecretKey, SecretKeyBox};

/// The development key's secret half, which everybody has.
const DEV_SECRET_KEY: &str = include_str!("../../models/dev.key");

/// Makes a key pair: `FILE.key` for signing, `FILE.pub` for the devices.
///
/// # Errors
/// When either file exists or cannot be written.
pub fn make_key(stem: &Path) -> anyhow::Result<()> {
    let pair = KeyPair::generate_unencrypted_keypair()?;
    let secret = pair.sk.to_box(Some("zal bundle signing key, secret"))?.into_string();
    let public = pair.pk.to_box()?.into_string();
    write_new(&stem.with_extension("key"), &secret, 0o600)?;
    write_new(&stem.with_extension("pub"), &public, 0o644)
}

/// Reads a secret key, or takes the development key.
///
/// # Errors
/// When the file is no unencrypted minisign secret key.
pub fn read_key(path: Option<&Path>) -> anyhow::Result<SecretKey> {
    let text = match path {
        Some(path) => {
            fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))?
        }
        None => DEV_SECRET_KEY.to_owned(),
    };
    let parsed = SecretKeyBox::from_string(&text).and_then(SecretKeyBox::into_unencrypted_secret_key);
    parsed.context("not an unencrypted minisign secret key; make one with `zal-export key`")
}

/// Signs raw bytes; the same bytes and key give the same signature.
///
/// # Errors
/// When minisign refuses the key.
pub fn sign(bytes: &[u8], key: &SecretKey, comment: &str) -> anyhow::Result<String> {
    let signature =
        minisign::sign(None, key, Cursor::new(bytes), Some(comment), Some("zal bundle manifest"))?;
    Ok(signature.into_string())
}

fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if path.exists() {
        bail!("{} exists; a key is never overwritten, choose another name", path.display());
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
