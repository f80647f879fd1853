//! Debian's mosquitto on a free port, and a client that hears everything of the device.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

use crate::station::{BASE, PATIENCE, has_program, wait_for};

/// A running broker.
pub struct Mosquitto {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Mosquitto {
    /// Starts one; none, with a line that says so, when it is not installed.
    pub fn start() -> Option<Self> {
        if !has_program("mosquitto") {
            return None;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n");
        std::fs::write(&path, text).unwrap();
        let name = if std::path::Path::new("/usr/sbin/mosquitto").exists() {
            "/usr/sbin/mosquitto"
        } else {
            "mosquitto"
        };
        let mut command = Command::new(name);
        let child = command.arg("-c").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let broker = Self { child, port, _folder: folder };
        assert!(wait_for(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()));
        Some(broker)
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Hears everything of the device from now on.
    pub fn subscribe(&self) -> Heard {
        let mut options = MqttOptions::new("hearer", ("127.0.0.1", self.port));
        options.set_keep_alive(60).set_clean_start(true);
        let (client, mut connection) = Client::builder(options).capacity(16).build();
        client.subscribe(format!("{BASE}/#"), QoS::AtLeastOnce).unwrap();
        let heard = Heard::default();
        let shared = Arc::clone(&heard.messages);
        let (ready_tx, ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _client = client;
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready_tx.send(())),
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                        let leaf = topic.strip_prefix(BASE).unwrap().trim_start_matches('/').to_owned();
                        // A cleared retained topic has no body.
                        let body = serde_json::from_slice(&publish.payload).unwrap_or_default();
                        shared.lock().unwrap().push((leaf, body));
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
        ready.recv_timeout(PATIENCE).unwrap();
        heard
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was heard so far: topic below the base, body.
#[derive(Default)]
pub struct Heard {
    messages: Arc<Mutex<Vec<(String, serde_json::Value)>>>,
}

impl Heard {
    /// Number of messages on a topic.
    pub fn count(&self, leaf: &str) -> usize {
        self.messages.lock().unwrap().iter().filter(|(l, _)| l == leaf).count()
    }

    /// Seq and part of every result, in the order of arrival.
    pub fn results(&self) -> Vec<(u64, String)> {
        let messages = self.messages.lock().unwrap();
        let results = messages.iter().filter(|(leaf, _)| leaf == "result");
        results
            .map(|(_, r)| (r["seq"].as_u64().unwrap(), r["part_id"].as_str().unwrap().to_owned()))
            .collect()
    }
}
