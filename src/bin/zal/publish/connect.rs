//! One connection to the broker. It is never re-used: after a failure there is a fresh client,
//! and everything that the old one had not seen confirmed is taken from the journal again.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rumqttc::{
    AsyncClient, ConnAck, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS, TlsConfiguration,
    Transport,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::address::BrokerAddress;
use crate::config;

/// Publishes that may be unconfirmed at a time.
pub const IN_FLIGHT_MAX: u16 = 16;
/// Requests that the client queues; control messages beside the rows.
const REQUESTS_MAX: usize = 32;
/// How long the broker may take to answer CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A live connection.
pub struct Link {
    /// Takes publishes.
    pub client: AsyncClient,
    /// Ends with the reason why the connection is lost.
    pub ended: mpsc::Receiver<anyhow::Error>,
    poller: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// Connects and waits for the broker's welcome.
///
/// # Errors
/// When the credentials cannot be read or the broker does not take the connection.
pub async fn connect(mqtt: &config::Mqtt, client_id: &str, will: LastWill) -> anyhow::Result<Link> {
    let options = options(mqtt, client_id, will)?;
    let (client, events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
    let (ended_tx, ended) = mpsc::channel(1);
    let (welcome_tx, mut welcome) = mpsc::channel(1);
    let poller = tokio::spawn(poll(events, welcome_tx, ended_tx));
    let mut link = Link { client, ended, poller };
    let answered = tokio::time::timeout(CONNECT_TIMEOUT, async {
        tokio::select! {
            Some(_) = welcome.recv() => Ok(()),
            Some(error) = link.ended.recv() => Err(error),
            else => bail!("the connection ended without a reason"),
        }
    });
    answered.await.with_context(|| format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))??;
    Ok(link)
}

/// Drives the connection until it fails.
async fn poll(mut events: EventLoop, welcome: mpsc::Sender<ConnAck>, ended: mpsc::Sender<anyhow::Error>) {
    let error = loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(answer))) => {
                // A second welcome would mean that the client reconnected by itself.
                if welcome.try_send(answer).is_err() {
                    break anyhow::anyhow!("the client reconnected by itself");
                }
            }
            Ok(Event::Incoming(Packet::Disconnect(packet))) => {
                break anyhow::anyhow!("the broker disconnects: {:?}", packet.reason_code);
            }
            // Polling on would connect again.
            Ok(Event::Outgoing(Outgoing::Disconnect)) => break anyhow::anyhow!("disconnected as asked"),
            Ok(_) => {}
            Err(error) => break error.into(),
        }
    };
    // Nobody listens any more when the daemon let go of the connection first.
    let _ = ended.send(error).await;
}

fn options(mqtt: &config::Mqtt, client_id: &str, will: LastWill) -> anyhow::Result<MqttOptions> {
    let address = BrokerAddress::parse(&mqtt.url)?;
    let mut options = MqttOptions::new(client_id, (address.host.as_str(), address.port));
    options
        .set_keep_alive(mqtt.keep_alive_s)
        .set_clean_start(true)
        .set_connect_timeout(CONNECT_TIMEOUT)
        .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX)
        .set_last_will(will);
    if let Some(username) = &mqtt.username {
        options.set_username(username.clone());
    }
    if let Some(path) = &mqtt.password_file {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        options.set_password(text.lines().next().unwrap_or_default().to_owned());
    }
    if address.tls {
        options.set_transport(Transport::tls_with_config(tls(mqtt)?));
    }
    Ok(options)
}

/// The files are read for every connection, so that renewed certificates are taken.
fn tls(mqtt: &config::Mqtt) -> anyhow::Result<TlsConfiguration> {
    let read =
        |path: &std::path::PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let ca = mqtt.ca_file.as_ref().context("an mqtts:// broker needs ca_file")?;
    let client_auth = match (&mqtt.client_cert_file, &mqtt.client_key_file) {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        _ => None,
    };
    Ok(TlsConfiguration::Simple { ca: read(ca)?, alpn: None, client_auth })
}

/// A last will for `/status`.
pub fn will(topic: &str, body: String) -> LastWill {
    LastWill::new(topic, body, QoS::AtLeastOnce, true, None)
}
