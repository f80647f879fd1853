//! `zal run` as systemd and a monitoring system see it: notifications, reload, health, unit files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![allow(dead_code, reason = "the tests share helpers, each uses some")]

#[path = "common/fake_broker.rs"]
mod fake_broker;
#[path = "common/line.rs"]
mod line;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fake_broker::{Answer, FakeBroker};
use line::{Line, wait_for};

/// Stands in for systemd's side of sd_notify.
struct Notified {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Notified {
    fn new(line: &Line) -> Self {
        let path = line.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, path, heard: Vec::new() }
    }

    fn has(&mut self, word: &str) -> bool {
        let mut buffer = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..len]);
            self.heard.extend(text.lines().map(str::to_owned));
        }
        self.heard.iter().any(|heard| heard == word)
    }
}

#[test]
fn systemd_hears_ready_watchdog_and_stopping() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let line = Line::new(broker.url(), "");
    let mut notified = Notified::new(&line);
    let path = notified.path.clone();
    let daemon = line.start_with(|command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    line.wait_for("READY", || notified.has("READY=1"));
    line.wait_for("WATCHDOG", || notified.has("WATCHDOG=1"));
    assert!(!notified.has("STOPPING=1"));
    assert_eq!(daemon.terminate(), Some(0));
    assert!(notified.has("STOPPING=1"));
}

#[test]
fn a_reload_swaps_a_good_configuration_and_refuses_a_bad_one() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let line = Line::new(broker.url(), "");
    let daemon = line.start();
    line.wait_for("birth", || !broker.on("birth").is_empty());
    let good = fs::read_to_string(line.path("zal.toml")).unwrap();

    fs::write(line.path("zal.toml"), good.replace("keep_alive_s = 5", "keep_alive_s = \"five\"")).unwrap();
    daemon.signal("HUP");
    line.wait_for("the alarm", || broker.on("config_refused").iter().any(|p| p.json()["active"] == true));
    let alarm = broker.on("config_refused").into_iter().find(|p| p.json()["active"] == true).unwrap().json();
    assert!(alarm["text"].as_str().unwrap().contains("`mqtt.keep_alive_s` is of type string"), "{alarm}");
    line.hand_in("p1.npy");
    line.wait_for("the old configuration at work", || broker.on("result").len() == 1);
    assert_eq!(broker.on("birth").len(), 1);

    let spool = "dir = \"spool\"\nrecipe = \"other\"";
    fs::write(line.path("zal.toml"), good.replace("dir = \"spool\"", spool)).unwrap();
    daemon.signal("HUP");
    line.wait_for("the new birth", || broker.on("birth").last().unwrap().json()["recipe"] == "other");
    line.wait_for("the end of the alarm", || {
        broker.on("config_refused").last().is_some_and(|p| p.json()["active"] == false)
    });
    line.hand_in("p2.npy");
    line.wait_for("the next result", || broker.on("result").len() == 2);
    let last = broker.on("result")[1].json();
    assert_eq!((&last["seq"], &last["recipe"]), (&2.into(), &"other".into()));
    assert_eq!(daemon.terminate(), Some(0));

    // In order in itself, but of no use: the journal belongs to another device.
    fs::write(line.path("zal.toml"), &good).unwrap();
    let daemon = line.start();
    let births = broker.on("birth").len();
    line.wait_for("birth", || broker.on("birth").len() > births);
    fs::write(line.path("zal.toml"), good.replace("cell = \"c\"", "cell = \"moved\"")).unwrap();
    daemon.signal("HUP");
    line.wait_for("the alarm", || {
        broker.on("config_refused").last().is_some_and(|p| p.json()["active"] == true)
    });
    line.hand_in("p3.npy");
    line.wait_for("work with the old configuration", || broker.on("result").len() == 3);
    assert_eq!(daemon.terminate(), Some(0));
}

/// Status code and body of a GET.
fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(address).ok()?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: zal\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    let code = text.split(' ').nth(1)?.parse().ok()?;
    Some((code, text.split_once("\r\n\r\n")?.1.to_owned()))
}

#[test]
fn health_is_told_over_http_and_a_missing_broker_is_no_reason_to_be_unready() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (address, nobody) = (free(), free());
    let line = Line::new(&format!("mqtt://{nobody}"), "");
    let text = fs::read_to_string(line.path("zal.toml")).unwrap();
    let http = format!("enabled = true\nlisten = \"{address}\"");
    let text = text.replace("enabled = false", &http).replace("selftest = false", "selftest = true");
    fs::write(line.path("zal.toml"), text).unwrap();
    let daemon = line.start();
    line.wait_for("readiness", || get(address, "/readyz").is_some_and(|(code, _)| code == 200));
    assert_eq!(get(address, "/livez"), Some((200, "ok\n".into())));
    line.hand_in("p1.npy");
    line.wait_for("the result", || line.settled_count() == 1);
    let has = |needle: &str| get(address, "/metrics").is_some_and(|(_, text)| text.contains(needle));
    line.wait_for("the result counted", || has("zal_results_total{evaluation=\"not_decidable\"} 1\n"));
    line.wait_for("the journal counted", || has("zal_journal_unacked_results 1\n"));
    line.wait_for("the alarm", || has("zal_alarm_active{code=\"broker_unreachable\"} 1\n"));
    let (_, text) = get(address, "/metrics").unwrap();
    for part in [
        "zal_build_info{version=",
        "zal_mqtt_connected 0\n",
        "zal_disk_free_bytes{use=\"spool\"}",
        "stage=\"read\"",
        "zal_ready 1\n",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(line.log().contains("self-test"), "{}", line.log());

    // A spool that is gone is a reason.
    fs::remove_dir_all(line.spool("incoming")).unwrap();
    line.wait_for("unreadiness", || get(address, "/readyz").is_some_and(|(code, _)| code == 503));
    assert!(get(address, "/readyz").unwrap().1.starts_with("intake_failing: "));
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn the_units_are_as_closed_as_they_say() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("systemd");
    // Tenths, as systemd-analyze counts its threshold.
    for (unit, limit) in [("zal.service", "14"), ("zal-gpu.service", "16")] {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &format!("--threshold={limit}")])
            .arg(folder.join(unit))
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Overall exposure level"), "{said}");
        assert!(output.status.success(), "{unit} is more exposed than {limit} tenths:\n{said}");
    }
}

#[test]
fn a_stop_with_a_silent_broker_is_quick_enough_and_loses_nothing() {
    let broker = FakeBroker::start(|_| Answer::Withhold);
    let line = Line::new(broker.url(), "");
    let daemon = line.start();
    (1..=20).for_each(|index| line.hand_in(&format!("p{index:02}.npy")));
    line.wait_for("some results", || line.settled_count() > 2);
    assert_eq!(daemon.terminate(), Some(0));
    // Beside the scans stands the note of what is being worked on.
    let scans = |folder| line.names(folder).into_iter().filter(|name| !name.starts_with('.')).count();
    let left = scans("incoming") + scans("work");
    assert_eq!(line.settled_count() + left, 20, "every part is answered or still there");
    broker.set_rule(|_| Answer::Confirm);
    let before = broker.on("result").len();
    let daemon = line.start();
    line.wait_for("all parts", || line.settled_count() == 20);
    assert!(wait_for(|| broker.on("result").len() >= before + 20));
    assert_eq!(daemon.terminate(), Some(0));
}
