//! A bundle over HTTP or HTTPS: goes on where the last try stopped, as long as the server still has the
//! same version.
//!
//! The encryption protects against curious eyes; what makes a bundle trustworthy is its signature.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rumqttc::tokio_rustls::rustls::crypto::ring;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};
use zal::bundle::store::{Download, Received, Store};

use super::refusal;
use crate::exit::{Exit, Failure};

/// Tries that bring nothing new before it is given up.
const TRIES_MAX: u32 = 4;
/// Pause before the second try; it grows with every further one.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Nothing is heard from a server that is alive for this long at most.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes read at a time.
const BLOCK_SIZE: usize = 1 << 16;
/// Where systems keep the authorities they trust.
const SYSTEM_CA_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// How a try ended that did not bring everything.
enum Broken {
    /// The network: worth another try.
    Network(anyhow::Error),
    /// Another try would end in the same way.
    Final(Failure),
}

/// Downloads a file into the store. `progress` hears bytes done and bytes in all.
///
/// # Errors
/// When the server cannot be reached, has no such file, or breaks off again and again; what came is kept
/// for the next time.
pub fn fetch(
    store: &mut Store,
    url: &str,
    ca_file: Option<&Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Received, Failure> {
    let agent = agent(url, ca_file).map_err(|error| Failure::new(Exit::Config, error))?;
    let mut download = store.download(url);
    let mut tries = 0;
    loop {
        let before = download.have();
        let error = match transfer(&agent, url, &mut download, progress) {
            Ok(()) => return download.finish().map_err(refusal::failure),
            Err(Broken::Final(failure)) => return Err(failure),
            Err(Broken::Network(error)) => error,
        };
        tries = if download.have() > before { 1 } else { tries + 1 };
        if tries >= TRIES_MAX {
            let have = download.have();
            let error =
                error.context(format!("cannot download {url}; {have} bytes are kept for the next try"));
            return Err(Failure::new(Exit::Unavailable, error)
                .hint("check network and address, then run the same command again: it goes on from there"));
        }
        std::thread::sleep(RETRY_PAUSE * tries);
    }
}

/// One request to its end.
fn transfer(
    agent: &Agent,
    url: &str,
    download: &mut Download<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Broken> {
    let wrong = |error| Broken::Final(refusal::failure(error));
    let network = |error: ureq::Error| Broken::Network(anyhow!(error));
    let mut request = agent.get(url);
    let resumed = download.resume_from();
    if let Some((have, tag)) = &resumed {
        request = request.header("Range", format!("bytes={have}-")).header("If-Range", tag.as_str());
    }
    let response = request.call().map_err(network)?;
    let total = match (response.status(), resumed) {
        (StatusCode::PARTIAL_CONTENT, Some((have, _))) => match range_of(response.headers()) {
            Some((start, total)) if start == have => {
                download.go_on().map_err(wrong)?;
                Some(total)
            }
            _ => {
                download.discard().map_err(wrong)?;
                return Err(Broken::Network(anyhow!("the server sent another range than the one asked for")));
            }
        },
        (StatusCode::OK, _) => {
            download.begin(validator(response.headers()).as_deref()).map_err(wrong)?;
            text(response.headers(), "content-length").and_then(|length| length.parse().ok())
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
            download.discard().map_err(wrong)?;
            return Err(Broken::Network(anyhow!("the server has a shorter file than was begun with")));
        }
        (status, _) => return Err(refused(url, status)),
    };
    take(response, download, total, progress)
}

/// Appends the body of a response.
fn take(
    response: Response<Body>,
    download: &mut Download<'_>,
    total: Option<u64>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Broken> {
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let mut block = vec![0; BLOCK_SIZE];
    loop {
        let count = body.read(&mut block).map_err(|error| Broken::Network(anyhow!(error)))?;
        if count == 0 {
            break;
        }
        download.append(&block[..count]).map_err(|error| Broken::Final(refusal::failure(error)))?;
        progress(download.have(), total.unwrap_or_default());
    }
    match total {
        Some(total) if download.have() != total => {
            Err(Broken::Network(anyhow!("the server broke off after {} of {total} bytes", download.have())))
        }
        _ => Ok(()),
    }
}

/// What a status other than success means.
fn refused(url: &str, status: StatusCode) -> Broken {
    let error = anyhow!("{url} answers {status}; expected 200 or 206");
    if status.is_server_error() {
        return Broken::Network(error);
    }
    let (exit, hint) = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => (Exit::NoInput, "is the address right?"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (Exit::Refused, "the server wants a name and password that zal does not send; use a file")
        }
        _ => (Exit::Unavailable, "ask whoever runs the server"),
    };
    Broken::Final(Failure::new(exit, error).hint(hint))
}

/// What the server calls this version: a strong ETag, or the date of its last change. A weak ETag names
/// content that is alike, not bytes that are the same.
fn validator(headers: &HeaderMap) -> Option<String> {
    let strong = text(headers, "etag").filter(|tag| tag.starts_with('"'));
    strong.or_else(|| text(headers, "last-modified"))
}

/// First byte and length in all, from `bytes 400-999/1000`.
fn range_of(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = text(headers, "content-range")?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()?))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn agent(url: &str, ca_file: Option<&Path>) -> anyhow::Result<Agent> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("zal/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(SILENCE_MAX))
        .timeout_recv_response(Some(SILENCE_MAX))
        .timeout_per_read(Some(SILENCE_MAX));
    if url.starts_with("https://") {
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&authorities(ca_file)?));
        config = config.tls_config(tls.build());
    }
    Ok(config.build().new_agent())
}

fn authorities(ca_file: Option<&Path>) -> anyhow::Result<Vec<Certificate<'static>>> {
    let system = || SYSTEM_CA_FILES.iter().map(PathBuf::from).find(|path| path.exists());
    let path = ca_file
        .map(Path::to_path_buf)
        .or_else(system)
        .context("this system has no list of authorities; name a PEM file with update.ca_file")?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let found: Vec<_> = parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        anyhow::bail!("{} holds no certificate in PEM", path.display());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&'static str, &str)]) -> HeaderMap {
        entries.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_what_names_bytes_is_a_validator() {
        let of = |entries: &[_]| validator(&headers(entries));
        assert_eq!(of(&[("etag", "\"a\""), ("last-modified", "Mon")]).as_deref(), Some("\"a\""));
        assert_eq!(of(&[("etag", "W/\"a\""), ("last-modified", "Mon")]).as_deref(), Some("Mon"));
        assert_eq!(of(&[("etag", "W/\"a\"")]), None);
    }

    #[test]
    fn a_range_that_cannot_be_read_is_none() {
        let of = |text| range_of(&headers(&[("content-range", text)]));
        assert_eq!(of("bytes 400-999/1000"), Some((400, 1000)));
        for wrong in ["bytes */1000", "400-999/1000", "bytes 400-999/*", "bytes x-9/10", ""] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
