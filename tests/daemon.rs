//! `zal run` as a line sees it: scans in, results out, over a real broker, through kills and
//! restarts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "the tests share helpers, each uses some")]

#[path = "common/line.rs"]
mod line;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use line::{BASE, Line, PATIENCE, wait_for, zal};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// A real broker on a free port, for the rest of the process.
fn start_broker() -> SocketAddr {
    // A port that one test found free must be taken before another test looks.
    static LOOKING: Mutex<()> = Mutex::new(());
    let _looking = LOOKING.lock().unwrap();
    let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 64 * 1024,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "t".into(), listen, tls: None, next_connection_delay_ms: 1, connections };
    let router = RouterConfig {
        max_connections: 64,
        max_outgoing_packet_count: 200,
        max_segment_size: 1 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let v5 = Some(HashMap::from([("t".to_owned(), server)]));
    let mut broker = Broker::new(Config { router, v5, ..Config::default() });
    std::thread::spawn(move || broker.start().unwrap());
    assert!(wait_for(|| TcpStream::connect(listen).is_ok()));
    listen
}

type Messages = Arc<Mutex<Vec<(String, serde_json::Value)>>>;

fn subscribe(broker: SocketAddr) -> Messages {
    subscribe_as(broker, "hearer")
}

/// Hears everything of the device.
fn subscribe_as(broker: SocketAddr, client_id: &str) -> Messages {
    let mut options = MqttOptions::new(client_id, (broker.ip().to_string(), broker.port()));
    options.set_keep_alive(30).set_clean_start(true);
    let (client, mut connection) = Client::builder(options).capacity(16).build();
    client.subscribe(format!("{BASE}/#"), QoS::AtLeastOnce).unwrap();
    let messages = Messages::default();
    let shared = Arc::clone(&messages);
    let (ready_tx, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _client = client;
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready_tx.send(())),
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                    let leaf = topic.rsplit('/').next().unwrap().to_owned();
                    shared.lock().unwrap().push((leaf, serde_json::from_slice(&publish.payload).unwrap()));
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    ready.recv_timeout(PATIENCE).unwrap();
    messages
}

fn on(messages: &Messages, leaf: &str) -> Vec<serde_json::Value> {
    messages.lock().unwrap().iter().filter(|(l, _)| l == leaf).map(|(_, body)| body.clone()).collect()
}

#[test]
fn a_wrong_configuration_is_refused_with_all_its_problems() {
    let line = Line::new("mqtt://b", "[calibration]\nfalse_reject_rat = 0.1\n[htttp]\n");
    let path = line.path("zal.toml");
    let (code, out, err) = zal(&["run", "-c", path.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    let err = err.replace(path.to_str().unwrap(), "zal.toml");
    assert_eq!(
        err,
        "error: 2 problems in the configuration:\n\
         zal.toml:23:1: unknown key `false_reject_rat` in [calibration]; did you mean `false_reject_rate`?\n\
         zal.toml:24:2: unknown key `htttp`; did you mean `http`?\n\
         hint: systemd/zal.toml shows every key; --check only checks\n"
    );
    let (code, _, err) = zal(&["run", "-c", "/nowhere/zal.toml"]);
    assert_eq!(code, Some(66), "{err}");
    let good = Line::new("mqtt://b", "");
    assert_eq!(zal(&["run", "--check", "-c", good.path("zal.toml").to_str().unwrap()]).0, Some(0));
}

#[test]
fn scans_come_out_as_results_and_unfinished_files_stay() {
    let broker = start_broker();
    let messages = subscribe(broker);
    let line = Line::new(&format!("mqtt://{broker}"), "");
    fs::write(line.spool("incoming").join(".hidden.npy"), "half").unwrap();
    fs::write(line.spool("incoming").join("half.npy.tmp"), "half").unwrap();
    fs::write(line.spool("incoming").join("lonely.png"), "colour without a scan").unwrap();
    line.hand_in("before.npy");
    let daemon = line.start();
    line.wait_for("the first result", || !on(&messages, "result").is_empty());
    fs::write(line.spool("incoming").join(".broken"), "no scan at all").unwrap();
    fs::rename(line.spool("incoming").join(".broken"), line.spool("incoming").join("broken.pcd")).unwrap();
    line.wait_for("the second result", || on(&messages, "result").len() == 2);
    let folder = line.path("part9");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("xyz.tiff"), "no tiff").unwrap();
    fs::rename(&folder, line.spool("incoming").join("part9")).unwrap();
    line.wait_for("the third result", || on(&messages, "result").len() == 3);
    assert_eq!(daemon.terminate(), Some(0));

    let parts: Vec<_> = on(&messages, "result").iter().map(|r| r["part_id"].clone()).collect();
    assert_eq!(parts, ["before", "broken", "part9"]);
    let broken = &on(&messages, "result")[1];
    assert_eq!(broken["evaluation"], "not_decidable");
    assert!(!broken["reasons"][0]["code"].as_str().unwrap().is_empty());
    assert_eq!(line.names("incoming"), [".hidden.npy", "half.npy.tmp", "lonely.png"]);
    assert_eq!(line.names("work"), [".in-hand"], "the note of what is being worked on");
    assert!(line.names("bad").iter().any(|n| n.ends_with("-broken.reason.txt")), "{:?}", line.names("bad"));
    line.wait_for("the last status", || {
        on(&messages, "status").last().is_some_and(|s| s["status"] == "stopped")
    });
}

#[test]
fn a_late_subscriber_finds_status_birth_and_state_retained() {
    let broker = start_broker();
    let line = Line::new(&format!("mqtt://{broker}"), "");
    let early = subscribe_as(broker, "early");
    let daemon = line.start();
    line.wait_for("birth", || !on(&early, "birth").is_empty() && !on(&early, "state").is_empty());
    let late = subscribe_as(broker, "late");
    line.wait_for("retained messages", || {
        ["status", "birth", "state"].iter().all(|leaf| on(&late, leaf).len() == 1)
    });
    assert_eq!(on(&late, "status")[0]["status"], "online");
    daemon.kill();
    line.wait_for("the last will", || on(&late, "status").last().is_some_and(|s| s["status"] == "offline"));
    let online = &on(&late, "status")[0];
    assert_eq!(on(&late, "status").last().unwrap()["session"], online["session"]);
}

#[test]
fn nothing_is_lost_when_the_daemon_is_killed_again_and_again() {
    const PARTS: usize = 60;
    let broker = start_broker();
    let messages = subscribe(broker);
    let line = Line::new(&format!("mqtt://{broker}"), "");
    let (mut handed_in, mut kills) = (0, 0);
    while handed_in < PARTS {
        let daemon = line.start();
        let before = line.settled_count();
        for _ in 0..12 {
            handed_in += 1;
            line.hand_in(&format!("part{handed_in:03}.npy"));
        }
        // Killed while some are judged and some are not, at another moment each time.
        line.wait_for("progress", || line.settled_count() > before + kills);
        std::thread::sleep(Duration::from_millis(7 * u64::try_from(kills).unwrap()));
        daemon.kill();
        kills += 1;
    }
    let births = on(&messages, "birth").len();
    let daemon = line.start();
    // Before that it is still loading, and a signal ends it as it does any program.
    line.wait_for("the last birth", || on(&messages, "birth").len() > births);
    line.wait_for("all scans settled", || line.settled_count() == PARTS);
    let answered = || -> BTreeSet<String> {
        on(&messages, "result").iter().map(|r| r["part_id"].as_str().unwrap().to_owned()).collect()
    };
    line.wait_for("all results", || answered().len() == PARTS);
    assert_eq!(daemon.terminate(), Some(0));

    let mut by_seq: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let results = on(&messages, "result");
    for result in &results {
        let part = result["part_id"].as_str().unwrap().to_owned();
        by_seq.entry(result["seq"].as_u64().unwrap()).or_default().insert(part);
    }
    let expected: Vec<u64> = (1..=u64::try_from(PARTS).unwrap()).collect();
    assert_eq!(by_seq.keys().copied().collect::<Vec<_>>(), expected, "no gap, no part judged twice");
    assert!(by_seq.values().all(|parts| parts.len() == 1), "one part per seq: {by_seq:?}");
    let duplicates = results.len() - PARTS;
    assert!(duplicates <= 16 * kills, "{duplicates} duplicates after {kills} kills");
    assert!(line.names("incoming").is_empty() && line.names("work") == [".in-hand"]);
}
