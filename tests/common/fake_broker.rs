//! A broker of a few lines that keeps every packet and confirms as it is told: what a real
//! broker hides (flags, order, what was confirmed when) is what these tests are about.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the broker does with a QoS 1 publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Confirm.
    Confirm,
    /// PUBACK with reason 0x87, not authorised.
    Refuse,
    /// Say nothing.
    Withhold,
}

/// Decides by topic.
pub type Rule = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// One CONNECT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connect {
    pub client_id: String,
    pub clean_start: bool,
    pub will_topic: String,
    pub will_payload: Vec<u8>,
    pub will_qos: u8,
    pub will_retain: bool,
}

/// What a CONNACK says beside success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Welcome {
    /// Session present, which a clean start does not allow.
    pub session_present: bool,
    /// Maximum packet size.
    pub packet_size_max: Option<u32>,
}

/// One PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Number of the connection, from 1.
    pub connection: usize,
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    /// Message expiry interval.
    pub expiry_s: Option<u32>,
    /// Correlation data.
    pub correlation: Option<Vec<u8>>,
    /// Bytes of the whole packet.
    pub packet_len: usize,
}

impl Publish {
    /// The body.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap()
    }

    /// Last level of the topic.
    pub fn leaf(&self) -> &str {
        self.topic.rsplit('/').next().unwrap()
    }

    /// Its seq, for results and alerts.
    pub fn seq(&self) -> u64 {
        self.json()["seq"].as_u64().unwrap()
    }
}

#[derive(Default)]
struct Heard {
    connects: Vec<Connect>,
    publishes: Vec<Publish>,
    disconnects: usize,
    subscriptions: Vec<String>,
    sockets: Vec<TcpStream>,
}

/// The broker. Its threads end with the test's process.
pub struct FakeBroker {
    url: String,
    heard: Arc<Mutex<Heard>>,
    rule: Arc<Mutex<Rule>>,
    welcome: Arc<Mutex<Welcome>>,
}

impl FakeBroker {
    /// Starts on a free port.
    pub fn start(rule: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), rule)
    }

    /// Starts on a port that was reserved before.
    pub fn start_on(listener: TcpListener, rule: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Heard::default()));
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Arc::new(rule)));
        let welcome = Arc::new(Mutex::new(Welcome::default()));
        let (shared, rules, welcomes) = (Arc::clone(&heard), Arc::clone(&rule), Arc::clone(&welcome));
        std::thread::spawn(move || {
            for (index, socket) in listener.incoming().enumerate() {
                let Ok(socket) = socket else { return };
                let (shared, rules) = (Arc::clone(&shared), Arc::clone(&rules));
                let welcome = *welcomes.lock().unwrap();
                std::thread::spawn(move || serve(socket, index + 1, welcome, &shared, &rules));
            }
        });
        Self { url, heard, rule, welcome }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers differently from now on.
    pub fn set_rule(&self, rule: impl Fn(&str) -> Answer + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Welcomes differently from the next connection on.
    pub fn set_welcome(&self, welcome: Welcome) {
        *self.welcome.lock().unwrap() = welcome;
    }

    /// Topic filters subscribed to so far.
    pub fn subscriptions(&self) -> Vec<String> {
        self.heard.lock().unwrap().subscriptions.clone()
    }

    /// Sends a QoS 0 message to every connection.
    pub fn say(&self, topic: &str, payload: &[u8], retain: bool, properties: &[u8]) {
        let topic_len = u16::try_from(topic.len()).unwrap().to_be_bytes();
        let head = [&topic_len[..], topic.as_bytes(), &[u8::try_from(properties.len()).unwrap()], properties]
            .concat();
        let mut packet = vec![0x30 | u8::from(retain)];
        let mut length = head.len() + payload.len();
        while length >= 0x80 {
            packet.push(0x80 | u8::try_from(length & 0x7F).unwrap());
            length >>= 7;
        }
        packet.push(u8::try_from(length).unwrap());
        packet.extend(head);
        packet.extend(payload);
        for socket in &mut self.heard.lock().unwrap().sockets {
            let _ = socket.write_all(&packet);
        }
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for socket in self.heard.lock().unwrap().sockets.drain(..) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// All CONNECTs so far.
    pub fn connects(&self) -> Vec<Connect> {
        self.heard.lock().unwrap().connects.clone()
    }

    /// Number of clean DISCONNECTs.
    pub fn disconnect_count(&self) -> usize {
        self.heard.lock().unwrap().disconnects
    }

    /// Number of PUBLISHes on a leaf so far.
    pub fn count(&self, leaf: &str) -> usize {
        self.heard.lock().unwrap().publishes.iter().filter(|p| p.leaf() == leaf).count()
    }

    /// All PUBLISHes on a leaf so far.
    pub fn on(&self, leaf: &str) -> Vec<Publish> {
        self.heard.lock().unwrap().publishes.iter().filter(|p| p.leaf() == leaf).cloned().collect()
    }
}

fn serve(
    mut socket: TcpStream,
    connection: usize,
    welcome: Welcome,
    heard: &Mutex<Heard>,
    rules: &Mutex<Rule>,
) {
    heard.lock().unwrap().sockets.push(socket.try_clone().unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    while let Some((head, body)) = read_packet(&mut socket) {
        let answer = match head >> 4 {
            1 => {
                heard.lock().unwrap().connects.push(read_connect(&body));
                connack(welcome)
            }
            3 => {
                let (publish, packet_id) = read_publish(head, &body, connection);
                assert!(welcome.packet_size_max.is_none_or(|max| publish.packet_len <= max as usize));
                let answer = (rules.lock().unwrap())(&publish.topic);
                heard.lock().unwrap().publishes.push(publish);
                match (packet_id, answer) {
                    (Some(id), Answer::Confirm) => vec![0x40, 2, id[0], id[1]],
                    (Some(id), Answer::Refuse) => vec![0x40, 3, id[0], id[1], 0x87],
                    _ => Vec::new(),
                }
            }
            8 => {
                let mut fields = Fields(&body);
                let id = fields.take(2);
                fields.properties();
                heard.lock().unwrap().subscriptions.push(fields.text());
                vec![0x90, 4, id[0], id[1], 0, 1]
            }
            12 => vec![0xD0, 0],
            14 => {
                heard.lock().unwrap().disconnects += 1;
                return;
            }
            other => panic!("the daemon sent a packet of type {other}"),
        };
        if socket.write_all(&answer).is_err() {
            return;
        }
    }
}

fn connack(welcome: Welcome) -> Vec<u8> {
    let properties =
        welcome.packet_size_max.map_or_else(Vec::new, |max| [&[0x27], &max.to_be_bytes()[..]].concat());
    let len = u8::try_from(properties.len()).unwrap();
    [&[0x20, 3 + len, u8::from(welcome.session_present), 0, len], &properties[..]].concat()
}

/// One packet: its first byte and its body.
fn read_packet(socket: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    match socket.read_exact(&mut byte) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
        Err(_) => return None,
    }
    let head = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        socket.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Reads fields one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(count);
        self.0 = tail;
        head
    }

    fn u16(&mut self) -> usize {
        let bytes = self.take(2);
        usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = self.u16();
        self.take(count).to_vec()
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    /// Length-prefixed properties (all of ours fit one length byte).
    fn properties(&mut self) -> &'a [u8] {
        let count = usize::from(self.take(1)[0]);
        assert!(count < 0x80);
        self.take(count)
    }
}

fn read_connect(body: &[u8]) -> Connect {
    let mut fields = Fields(body);
    assert_eq!(fields.text(), "MQTT");
    assert_eq!(fields.take(1), [5], "MQTT 5");
    let flags = fields.take(1)[0];
    fields.u16();
    fields.properties();
    let client_id = fields.text();
    let mut connect = Connect { client_id, clean_start: flags & 2 != 0, ..Connect::default() };
    if flags & 4 != 0 {
        fields.properties();
        connect.will_topic = fields.text();
        connect.will_payload = fields.bytes();
        connect.will_qos = (flags >> 3) & 3;
        connect.will_retain = flags & 0x20 != 0;
    }
    connect
}

fn read_publish(head: u8, body: &[u8], connection: usize) -> (Publish, Option<[u8; 2]>) {
    let mut fields = Fields(body);
    let topic = fields.text();
    let qos = (head >> 1) & 3;
    let packet_id = (qos > 0).then(|| {
        let bytes = fields.take(2);
        [bytes[0], bytes[1]]
    });
    let (expiry_s, correlation) = read_properties(fields.properties());
    let payload = fields.0.to_vec();
    let packet_len = 1 + length_len(body.len()) + body.len();
    let publish =
        Publish { connection, topic, payload, qos, retain: head & 1 != 0, expiry_s, correlation, packet_len };
    (publish, packet_id)
}

/// Bytes of a remaining length.
fn length_len(length: usize) -> usize {
    [0x80, 0x4000, 0x20_0000].iter().filter(|bound| length >= **bound).count() + 1
}

/// Expiry and correlation data among the properties that zal sets.
fn read_properties(properties: &[u8]) -> (Option<u32>, Option<Vec<u8>>) {
    let mut fields = Fields(properties);
    let (mut expiry_s, mut correlation) = (None, None);
    while !fields.0.is_empty() {
        match fields.take(1)[0] {
            0x01 => drop(fields.take(1)),
            0x02 => {
                let bytes = fields.take(4);
                expiry_s = Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            }
            0x03 => drop(fields.text()),
            0x09 => correlation = Some(fields.bytes()),
            other => panic!("unexpected property {other}"),
        }
    }
    (expiry_s, correlation)
}
