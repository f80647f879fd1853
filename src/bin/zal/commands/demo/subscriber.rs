//! The demo's subscriber: an MQTT client of its own that knows only the topic of the results,
//! as a line's control would.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::Context as _;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

use crate::message::ResultBody;
use crate::publish::address::BrokerAddress;

/// How long the broker may take to confirm the subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// A result as heard.
#[derive(Debug)]
pub struct Verdict {
    /// From the rename into the spool to the ear of the subscriber.
    pub latency: Duration,
    /// What was heard.
    pub result: ResultBody,
}

/// A subscription to the results of one device.
pub struct Subscriber {
    results: Receiver<ResultBody>,
}

impl Subscriber {
    /// Subscribes and waits until the broker has confirmed it.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub fn start(url: &str, topic_base: &str) -> anyhow::Result<Self> {
        let address = BrokerAddress::parse(url)?;
        let client_id = format!("zal-demo-subscriber-{}", std::process::id());
        let mut options = MqttOptions::new(client_id, (address.host.as_str(), address.port));
        options.set_keep_alive(10).set_clean_start(true);
        let (client, mut connection) = Client::builder(options).capacity(16).build();
        client.subscribe(format!("{topic_base}/result"), QoS::AtLeastOnce)?;
        let (results_tx, results) = mpsc::channel();
        let (ready_tx, ready) = mpsc::channel();
        std::thread::spawn(move || {
            // The client must outlive the loop, or its connection ends.
            let _client = client;
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready_tx.send(Ok(()))),
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        let Ok(result) = serde_json::from_slice(&message.payload) else { continue };
                        if results_tx.send(result).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => return drop(ready_tx.send(Err(error))),
                }
            }
        });
        ready.recv_timeout(SUBSCRIBE_TIMEOUT).with_context(|| format!("{url} does not answer"))??;
        Ok(Self { results })
    }

    /// The next result; none when none comes in time or the broker is gone.
    pub fn next(&self, timeout: Duration) -> Option<ResultBody> {
        self.results.recv_timeout(timeout).ok()
    }
}
