//! A subscriber as a line's control would be: its own connection, a persistent session, every
//! message kept with the moment it came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rumqttc::{Client, Event, MqttOptions, Packet, PublishOptions, QoS};

use crate::line::{BASE, PATIENCE};

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    pub topic: String,
    pub body: serde_json::Value,
    pub retain: bool,
    pub at: SystemTime,
}

impl Message {
    /// The topic below the device's base.
    pub fn leaf(&self) -> &str {
        self.topic.strip_prefix(BASE).unwrap_or(&self.topic).trim_start_matches('/')
    }
}

/// A subscription to everything of the device.
pub struct Subscriber {
    client: Client,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Subscriber {
    /// Subscribes and waits until the broker has confirmed it; connects again when it must.
    pub fn start(options: MqttOptions) -> Self {
        let (client, mut connection) = Client::builder(options).capacity(64).build();
        let messages: Arc<Mutex<Vec<Message>>> = Arc::default();
        let (shared, again) = (Arc::clone(&messages), client.clone());
        let (ready_tx, ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        let _ = again.try_subscribe(format!("{BASE}/#"), QoS::AtLeastOnce);
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready_tx.send(())),
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                        let body = serde_json::from_slice(&publish.payload).unwrap_or_default();
                        let message = Message { topic, body, retain: publish.retain, at: SystemTime::now() };
                        shared.lock().unwrap().push(message);
                    }
                    Ok(_) => {}
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        });
        ready.recv_timeout(PATIENCE).expect("the broker confirms the subscription");
        Self { client, messages }
    }

    /// Without TLS.
    pub fn plain(broker: SocketAddr) -> Self {
        let mut options = MqttOptions::new("hearer", (broker.ip().to_string(), broker.port()));
        options.set_keep_alive(30).set_clean_start(false).set_session_expiry_interval(Some(3600));
        Self::start(options)
    }

    /// Everything on a topic below the base so far.
    pub fn on(&self, leaf: &str) -> Vec<Message> {
        self.messages.lock().unwrap().iter().filter(|m| m.leaf() == leaf).cloned().collect()
    }

    /// The seqs heard on a topic, each once, in order.
    pub fn seqs(&self, leaf: &str) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.on(leaf).iter().filter_map(|m| m.body["seq"].as_u64()).collect();
        seqs.sort_unstable();
        seqs.dedup();
        seqs
    }

    /// Sends a command.
    pub fn command(&self, verb: &str, body: &serde_json::Value) {
        let topic = format!("{BASE}/cmd/{verb}");
        self.client.publish(topic, body.to_string(), PublishOptions::at_least_once()).unwrap();
    }
}
