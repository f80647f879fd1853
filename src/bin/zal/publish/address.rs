//! The broker's address: `mqtt://host[:1883]` or `mqtts://host[:8883]`.

use thiserror::Error;

/// Why an address is refused.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the broker's url is {found:?}, expected mqtt://host[:port] or mqtts://host[:port]")]
pub struct AddressError {
    found: String,
}

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl BrokerAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is not of the form above.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        Self::parts(url).ok_or_else(|| AddressError { found: url.into() })
    }

    fn parts(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (tls, default_port) = match scheme {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let named = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']);
        let port = port.map_or(Some(default_port), |p| p.parse().ok().filter(|p| *p > 0))?;
        named.then(|| Self { host: host.into(), port, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |url| BrokerAddress::parse(url).map(|a| (a.host, a.port, a.tls)).ok();
        assert_eq!(read("mqtt://broker"), Some(("broker".into(), 1883, false)));
        assert_eq!(read("mqtts://broker/"), Some(("broker".into(), 8883, true)));
        assert_eq!(read("mqtt://10.0.0.1:99"), Some(("10.0.0.1".into(), 99, false)));
        assert_eq!(read("mqtt://[::1]:99"), Some(("::1".into(), 99, false)));
        for wrong in
            ["", "broker", "http://b", "mqtt://", "mqtt://b:0", "mqtt://b:x", "mqtt://u@b", "mqtt://b/c"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
