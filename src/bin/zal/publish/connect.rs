//! One connection to the broker. It is never re-used: after a failure there is a fresh client,
//! and everything that the old one had not seen confirmed is taken from the journal again.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rumqttc::{
    AsyncClient, ConnAck, Event, EventLoop, LastWill, LastWillProperties, MqttOptions, Outgoing, Packet,
    Publish, QoS, RetainForwardRule, SubAck, SubscribeFilterInput, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::address::BrokerAddress;
use super::tls;
use crate::config;

/// Publishes that may be unconfirmed at a time.
pub const IN_FLIGHT_MAX: u16 = 16;
/// Requests that the client queues; control messages beside the rows.
const REQUESTS_MAX: usize = 64;
/// Commands that wait for their execution; more are lost, as their sender sees by the missing answer.
const COMMANDS_MAX: usize = 16;
/// Largest packet that the broker may send; it drops larger ones instead of sending them.
const INCOMING_BYTES_MAX: u32 = 64 * 1024;
/// How long the broker may take to answer CONNECT, at most.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// What the broker sends on its own.
#[derive(Debug)]
pub enum Heard {
    /// A message on a subscribed topic.
    Message(Publish),
    /// The answer to the subscription.
    Subscribed(SubAck),
}

/// A live connection.
pub struct Link {
    /// Takes publishes.
    pub client: AsyncClient,
    /// Ends with the reason why the connection is lost.
    pub ended: mpsc::Receiver<anyhow::Error>,
    /// What the broker sends.
    pub heard: mpsc::Receiver<Heard>,
    /// Largest packet that the broker takes.
    pub packet_size_max: usize,
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
    let timeout = connect_timeout(mqtt);
    let options = options(mqtt, client_id, will)?;
    let (client, events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
    let (ended_tx, ended) = mpsc::channel(1);
    let (welcome_tx, mut welcome) = mpsc::channel(1);
    let (heard_tx, heard) = mpsc::channel(COMMANDS_MAX);
    let poller = tokio::spawn(poll(events, welcome_tx, heard_tx, ended_tx));
    let mut link = Link { client, ended, heard, packet_size_max: usize::MAX, poller };
    let answered = tokio::time::timeout(timeout, async {
        tokio::select! {
            Some(answer) = welcome.recv() => Ok(answer),
            Some(error) = link.ended.recv() => Err(error),
            else => bail!("the connection ended without a reason"),
        }
    });
    let answer = answered.await.with_context(|| format!("no answer within {} s", timeout.as_secs()))??;
    let size_max = answer.properties.and_then(|p| p.max_packet_size);
    link.packet_size_max = size_max.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
    Ok(link)
}

/// A broker that answers later than its keep-alive is of no use.
fn connect_timeout(mqtt: &config::Mqtt) -> Duration {
    Duration::from_secs(mqtt.keep_alive_s.into()).min(CONNECT_TIMEOUT_MAX)
}

/// The subscription to commands: the retain flag comes as sent, so that retained commands can
/// be refused, and those that were retained earlier do not come at all.
pub fn commands_of(base: &str) -> SubscribeFilterInput {
    SubscribeFilterInput::new(format!("{base}/cmd/+"), QoS::AtLeastOnce)
        .preserve_retain(true)
        .retain_forward_rule(RetainForwardRule::Never)
}

/// Drives the connection until it fails.
async fn poll(
    mut events: EventLoop,
    welcome: mpsc::Sender<ConnAck>,
    heard: mpsc::Sender<Heard>,
    ended: mpsc::Sender<anyhow::Error>,
) {
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
            // A flood of commands must not hold up the confirmations behind it.
            Ok(Event::Incoming(Packet::Publish(publish))) => drop(heard.try_send(Heard::Message(publish))),
            Ok(Event::Incoming(Packet::SubAck(answer))) => drop(heard.try_send(Heard::Subscribed(answer))),
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
        .set_connect_timeout(connect_timeout(mqtt))
        .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX)
        .set_max_packet_size(Some(INCOMING_BYTES_MAX))
        .set_last_will(will);
    // Two setters in a row would leave only what was set last.
    match (&mqtt.username, tls::password(mqtt)?) {
        (Some(username), Some(password)) => {
            options.set_credentials(username.clone(), password);
        }
        (Some(username), None) => {
            options.set_username(username.clone());
        }
        (None, _) => {}
    }
    if address.tls {
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls::client_config(mqtt)?)));
    }
    Ok(options)
}

/// A last will for `/status`.
pub fn will(topic: &str, body: String) -> LastWill {
    let properties = LastWillProperties {
        payload_format_indicator: Some(1),
        content_type: Some("application/json".into()),
        delay_interval: None,
        message_expiry_interval: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    LastWill::new(topic, body, QoS::AtLeastOnce, true, Some(properties))
}
