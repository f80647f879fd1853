//! What happens to results when broker or network fail: a real mosquitto behind a proxy, a
//! subscriber beside it, one fault after the other while parts come in.
//!
//! The short form runs each fault once. `ZAL_FAULT_RUNS=200` runs so many (tests/README.md).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a skipped test and the long form say so")]
#![allow(dead_code, reason = "the tests share helpers, each uses some")]

#[path = "common/line.rs"]
mod line;
#[path = "common/mosquitto.rs"]
mod mosquitto;
#[path = "common/proxy.rs"]
mod proxy;
#[path = "common/subscriber.rs"]
mod subscriber;

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use line::{BASE, Line, Running};
use mosquitto::Mosquitto;
use proxy::{Mode, Proxy};
use subscriber::Subscriber;

/// As `tests/common/line.rs` configures it.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Parts handed in around each fault.
const PARTS_PER_FAULT: usize = 6;

/// One thing that goes wrong, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The broker is killed and comes back.
    Kill,
    /// The broker stands still for so many seconds.
    Stop(u64),
    /// The network stands still for so many seconds.
    Freeze(u64),
    /// What is sent vanishes.
    HalfOpen(u64),
    /// All connections break.
    Reset,
    /// One byte a second.
    Trickle(u64),
    /// Connections are taken and dropped.
    Refuse(u64),
}

/// The long form's faults, by number: every kind, with other lengths each round.
fn fault(index: usize) -> Fault {
    let round = u64::try_from(index / 7).unwrap();
    let seconds = [1, 7, 2, 12, 4, 20, 1, 9][usize::try_from(round % 8).unwrap()];
    match index % 7 {
        0 => Fault::Kill,
        1 => Fault::Stop(if round % 16 == 15 { 60 } else { seconds }),
        2 => Fault::Freeze(seconds),
        3 => Fault::HalfOpen(seconds),
        4 => Fault::Reset,
        5 => Fault::Trickle(seconds),
        _ => Fault::Refuse(seconds.min(5)),
    }
}

/// A line behind a failing network.
struct Scene {
    broker: Mosquitto,
    proxy: Proxy,
    line: Line,
    daemon: Running,
    hearer: Subscriber,
    handed_in: usize,
}

impl Scene {
    fn start(broker_settings: &str) -> Option<Self> {
        let broker = Mosquitto::start(&format!("allow_anonymous true\n{broker_settings}"))?;
        let proxy = Proxy::start(broker.address());
        let line = Line::new(&format!("mqtt://{}", proxy.address()), "");
        let hearer = Subscriber::plain(broker.address());
        let daemon = line.start();
        line.wait_for("birth", || !hearer.on("birth").is_empty());
        Some(Self { broker, proxy, line, daemon, hearer, handed_in: 0 })
    }

    fn hand_in(&mut self, count: usize) {
        for _ in 0..count {
            self.handed_in += 1;
            self.line.hand_in(&format!("p{:05}.npy", self.handed_in));
        }
    }

    /// Brings a fault about and ends it; parts come in before, during and after.
    fn suffer(&mut self, fault: Fault) {
        let share = PARTS_PER_FAULT / 3;
        self.hand_in(share);
        let during = |scene: &mut Self, mode: Mode, seconds: u64| {
            scene.proxy.set(mode);
            scene.hand_in(share);
            sleep(Duration::from_secs(seconds));
            scene.proxy.set(Mode::Pass);
        };
        match fault {
            Fault::Kill => {
                self.broker.kill();
                self.hand_in(share);
                sleep(Duration::from_millis(500));
                self.broker.run();
            }
            Fault::Stop(seconds) => {
                self.broker.signal("STOP");
                self.hand_in(share);
                sleep(Duration::from_secs(seconds));
                self.broker.signal("CONT");
            }
            Fault::Freeze(seconds) => during(self, Mode::Freeze, seconds),
            Fault::HalfOpen(seconds) => during(self, Mode::Swallow, seconds),
            Fault::Trickle(seconds) => during(self, Mode::Trickle, seconds),
            Fault::Refuse(seconds) => {
                self.proxy.set(Mode::Refuse);
                self.proxy.reset();
                during(self, Mode::Refuse, seconds);
            }
            Fault::Reset => {
                self.proxy.reset();
                self.hand_in(share);
            }
        }
        self.hand_in(PARTS_PER_FAULT - 2 * share);
    }

    /// Seqs that the subscriber has not heard on a topic.
    fn missing(&self, leaf: &str) -> Vec<u64> {
        let heard: BTreeSet<u64> = self.hearer.seqs(leaf).into_iter().collect();
        (1..=u64::try_from(self.handed_in).unwrap()).filter(|seq| !heard.contains(seq)).collect()
    }

    /// Waits until the subscriber has everything; gives how long that took.
    fn settle(&self, fault: Fault) -> Duration {
        let start = Instant::now();
        self.line.wait_for(&format!("all results after {fault:?}"), || {
            self.missing("result").is_empty() && self.missing("alert").is_empty()
        });
        start.elapsed()
    }

    /// As [`Scene::settle`], where the broker may have lost what it had confirmed: the
    /// subscriber sees the gap and asks for it, as the contract says.
    fn settle_with_replay(&self, fault: Fault) -> usize {
        let handed_in = self.handed_in;
        self.line.wait_for("all results judged", || self.line.settled_count() == handed_in);
        sleep(KEEP_ALIVE);
        let lost = self.missing("result");
        if let (Some(from), Some(to)) = (lost.first(), lost.last()) {
            let id = format!("gap-{handed_in}");
            self.hearer.command("replay", &serde_json::json!({"request_id": id, "from": from, "to": to}));
        }
        self.line.wait_for(&format!("all results after {fault:?}"), || self.missing("result").is_empty());
        lost.len()
    }

    fn memory_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

/// How many faults the environment asks for.
fn long_runs() -> Option<usize> {
    std::env::var("ZAL_FAULT_RUNS").ok().and_then(|text| text.parse().ok())
}

/// Every fault that a broker survives: nothing is missing and nothing has to be asked for.
#[test]
fn nothing_is_missing_whatever_the_network_does() {
    let Some(mut scene) = Scene::start("") else { return };
    let short = [
        Fault::Reset,
        Fault::Stop(2),
        Fault::Freeze(9),
        Fault::HalfOpen(3),
        Fault::Trickle(4),
        Fault::Refuse(2),
    ];
    let faults: Vec<Fault> = match long_runs() {
        Some(count) => (0..).map(fault).filter(|f| *f != Fault::Kill).take(count).collect(),
        None => short.to_vec(),
    };
    let (mut waits, mut memory_before) = (Vec::new(), 0);
    for (index, fault) in faults.iter().enumerate() {
        scene.suffer(*fault);
        waits.push(scene.settle(*fault));
        if index == 5 {
            memory_before = scene.memory_mb();
        }
    }
    let memory_after = scene.memory_mb();
    let duplicates = scene.hearer.on("result").len() - scene.handed_in;
    waits.sort_unstable();
    eprintln!(
        "{} faults, {} parts, 0 missing, {duplicates} duplicates; to the last part heard: median {:?}, longest {:?}; \
         resident {memory_before} MB after 6 faults, {memory_after} MB at the end",
        faults.len(),
        scene.handed_in,
        waits[waits.len() / 2],
        waits[waits.len() - 1],
    );
    assert!(memory_after < memory_before + 48, "memory grew from {memory_before} MB to {memory_after} MB");
    assert_eq!(scene.daemon.terminate(), Some(0));
    assert!(scene.hearer.on("result").iter().all(|m| m.topic == format!("{BASE}/result")));
}

/// A broker that is killed forgets what it had confirmed and not yet passed on. What is
/// missing then can be asked for.
#[test]
fn a_killed_broker_costs_at_most_a_replay() {
    let count = long_runs().map_or(2, |count| count / 7);
    for settings in ["persistence false", "persistence true\nautosave_on_changes true\nautosave_interval 1"] {
        let Some(mut scene) = Scene::start(settings) else { return };
        let mut lost = 0;
        for _ in 0..count {
            scene.suffer(Fault::Kill);
            lost += scene.settle_with_replay(Fault::Kill);
        }
        eprintln!(
            "{settings:?}: {count} kills, {} parts, {lost} asked for again, 0 missing",
            scene.handed_in
        );
        assert_eq!(scene.daemon.terminate(), Some(0));
    }
}

/// Alerts while a backlog of 20,000 rows drains: not a test but a measurement.
/// `cargo test --workspace --test mqtt_faults -- --ignored --nocapture alert_latency`
#[test]
#[ignore = "a measurement of minutes"]
fn alert_latency_beside_a_backlog() {
    const BACKLOG: u64 = 20_000;
    const ALERTS: usize = 300;
    let Some(broker) = Mosquitto::start("allow_anonymous true\n") else { return };
    let proxy = Proxy::start(broker.address());
    proxy.set(Mode::Refuse);
    let line = Line::new(&format!("mqtt://{}", proxy.address()), "");
    let daemon = line.start();
    line.hand_in("first.npy");
    line.wait_for("the first result", || line.settled_count() == 1);
    assert_eq!(daemon.terminate(), Some(0));
    multiply_rows(&line, BACKLOG);
    let hearer = Subscriber::plain(broker.address());
    let daemon = line.start();
    proxy.set(Mode::Pass);
    line.wait_for("the backlog beginning", || !hearer.on("result").is_empty());
    let start = Instant::now();
    for index in 0..ALERTS {
        line.hand_in(&format!("live{index:04}.npy"));
        sleep(Duration::from_millis(50));
    }
    let live = || -> Vec<_> {
        let live = hearer.on("alert").into_iter().filter(|m| m.body["historical"] == false);
        live.collect()
    };
    line.wait_for("the live alerts", || live().len() >= ALERTS);
    let drained = hearer.seqs("result").len();
    let took = start.elapsed();
    let mut latencies: Vec<f64> = live().iter().map(milliseconds_since_verdict).collect();
    latencies.sort_by(f64::total_cmp);
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 100];
    eprintln!(
        "{} live alerts, verdict to subscriber: median {:.0} ms, 99th percentile {:.0} ms, longest {:.0} ms; \
         {drained} of {BACKLOG} backlog results heard meanwhile, in {:.0} s",
        latencies.len(),
        at(50),
        at(99),
        at(100),
        took.as_secs_f64()
    );
    assert!(drained > ALERTS, "the backlog drained at the same time");
    drop(daemon);
}

/// Copies the journal's only row until there are `count`.
fn multiply_rows(line: &Line, count: u64) {
    let journal = rusqlite::Connection::open(line.path("journal.db")).unwrap();
    journal
        .execute_batch(&format!(
            "WITH RECURSIVE more (seq) AS (SELECT 2 UNION ALL SELECT seq + 1 FROM more WHERE seq < {count})
             INSERT INTO results (seq, claim_id, part_id, evaluation, score, created_utc, session, body,
                 disposition, alert)
             SELECT more.seq, claim_id || '-' || more.seq, part_id, evaluation, score, created_utc, session,
                 json_set(body, '$.seq', more.seq), disposition, alert FROM results, more WHERE results.seq = 1;
             UPDATE meta SET value = CAST({count} + 1 AS TEXT) WHERE key = 'next_seq';"
        ))
        .unwrap();
}

fn milliseconds_since_verdict(message: &subscriber::Message) -> f64 {
    let verdict: jiff::Timestamp = message.body["ts"].as_str().unwrap().parse().unwrap();
    let heard = jiff::Timestamp::try_from(message.at).unwrap();
    heard.duration_since(verdict).as_secs_f64() * 1e3
}
