//! Certificates, keys and passwords: read anew for every connection, watched while it lasts,
//! and their errors in words that name the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use rumqttc::tokio_rustls::rustls::crypto::ring;
use rumqttc::tokio_rustls::rustls::pki_types::pem::PemObject as _;
use rumqttc::tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rumqttc::tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};
use sha2::{Digest, Sha256};

use super::certificate;
use crate::config;

/// The client's side of TLS.
///
/// # Errors
/// When a file cannot be read or used; the error names it.
pub fn client_config(mqtt: &config::Mqtt) -> anyhow::Result<Arc<ClientConfig>> {
    let ca = mqtt.ca_file.as_ref().context("an mqtts:// broker needs ca_file")?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).with_context(|| format!("{} holds no usable authority", ca.display()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("no TLS version to use")?
        .with_root_certificates(roots);
    let (Some(cert), Some(key)) = (&mqtt.client_cert_file, &mqtt.client_key_file) else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .with_context(|| format!("{} holds no private key in PEM", key.display()))?;
    let made = builder.with_client_auth_cert(certificates(cert)?, private);
    made.map(Arc::new).map_err(|error| match error {
        TlsError::InconsistentKeys(_) => {
            anyhow::anyhow!("the key {} does not belong to the certificate {}", key.display(), cert.display())
        }
        other => anyhow::anyhow!("cannot use {} with {}: {other}", cert.display(), key.display()),
    })
}

/// The password, when one is configured: the first line of its file.
///
/// # Errors
/// When the file cannot be read or is empty.
pub fn password(mqtt: &config::Mqtt) -> anyhow::Result<Option<String>> {
    let Some(path) = &mqtt.password_file else { return Ok(None) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Some(line.to_owned())),
        _ => bail!("{} is empty, expected the password on its first line", path.display()),
    }
}

/// What the files hold now, as one sum: another sum means that they were renewed.
pub fn fingerprint(mqtt: &config::Mqtt) -> [u8; 32] {
    let mut sum = Sha256::new();
    for path in files(mqtt) {
        let bytes = fs::read(path).unwrap_or_default();
        sum.update(u64::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
        sum.update(bytes);
    }
    sum.finalize().into()
}

/// Certificates that end within the configured days, or have ended, in words.
pub fn expiring(mqtt: &config::Mqtt, now: Timestamp) -> Vec<String> {
    let warn_from = now + SignedDuration::from_hours(24 * i64::from(mqtt.certificate_warn_days));
    let mut found = Vec::new();
    for path in [&mqtt.ca_file, &mqtt.client_cert_file].into_iter().flatten() {
        let ends = certificates(path).unwrap_or_default();
        let Some(end) = ends.iter().filter_map(|c| certificate::not_after(c)).min() else { continue };
        let name = path.display();
        if end <= now {
            found.push(format!("the certificate {name} has ended on {end}"));
        } else if end <= warn_from {
            let days = (end.as_second() - now.as_second()) / 86_400;
            found.push(format!("the certificate {name} ends in {days} days, on {end}"));
        }
    }
    found
}

/// What a failed connection means for whoever has to mend it, when the certificates or the
/// password are the reason. `words` are the error's own.
pub fn explain(mqtt: &config::Mqtt, words: &str) -> Option<String> {
    let ca = mqtt.ca_file.as_deref().unwrap_or(Path::new("ca_file")).display();
    let url = &mqtt.url;
    let has = |needles: &[&str]| needles.iter().any(|needle| words.contains(needle));
    let text = if has(&["UnknownIssuer", "BadSignature"]) {
        format!("the certificate of {url} is not signed by the authority in {ca}")
    } else if has(&["certificate expired", "invalid peer certificate: Expired"]) {
        format!("the certificate of {url} has expired (or this device's clock is wrong)")
    } else if has(&["not valid yet", "NotValidYet"]) {
        format!("the certificate of {url} is not valid yet (or this device's clock is wrong)")
    } else if has(&["not valid for name", "NotValidForName"]) {
        format!("the certificate of {url} is for another name than the one in mqtt.url")
    } else if has(&["UnsupportedCertVersion"]) {
        format!("the certificate of {url} is of X.509 version 1, expected version 3")
    } else if has(&["CertificateRequired"]) {
        "the broker asks for a client certificate: give client_cert_file and client_key_file".to_owned()
    } else if has(&["received fatal alert"]) {
        "the broker refuses this device's certificate: is it signed by an authority that the broker knows, and not expired?".to_owned()
    } else if has(&["InvalidContentType", "InvalidMessage", "corrupt message"]) {
        format!("{url} does not answer in TLS: is the port one for mqtts?")
    } else if has(&["BadUserNamePassword", "NotAuthorized"]) {
        "the broker refuses user name, password or client id".to_owned()
    } else {
        return None;
    };
    Some(text)
}

fn files(mqtt: &config::Mqtt) -> impl Iterator<Item = &PathBuf> {
    [&mqtt.ca_file, &mqtt.client_cert_file, &mqtt.client_key_file, &mqtt.password_file].into_iter().flatten()
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} is no PEM file", path.display()))?;
    if found.is_empty() {
        bail!("{} holds no certificate in PEM", path.display());
    }
    Ok(found)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
