//! The demo's MQTT broker: rumqttd within this process, MQTT 5 without TLS, on a free port of
//! the loopback. It is not for production, and the device package leaves it out.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// How long the broker may take to open its port.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts a broker that lives as long as the process, and gives its URL.
///
/// # Errors
/// When no port is free or the broker does not open it.
pub fn start() -> anyhow::Result<String> {
    let address = free_address().context("no free port on the loopback")?;
    let mut broker = Broker::new(settings(address));
    std::thread::Builder::new()
        .name("broker".into())
        // It returns only when its port cannot be opened, which shows below.
        .spawn(move || drop(broker.start()))
        .context("cannot start the broker's thread")?;
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        if start.elapsed() > START_TIMEOUT {
            bail!("the embedded broker does not listen on {address}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(format!("mqtt://{address}"))
}

/// A port that was free a moment ago; rumqttd does not say which port it took for 0.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn settings(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 64 * 1024,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "demo".into(), listen, tls: None, next_connection_delay_ms: 1, connections };
    Config {
        router: RouterConfig {
            max_connections: 64,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v5: Some(HashMap::from([("demo".to_owned(), server)])),
        ..Config::default()
    }
}
