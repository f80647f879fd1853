//! The MQTT contract of DESIGN section 4, seen by a broker that keeps every packet.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "the tests share helpers, each uses some")]

#[path = "common/fake_broker.rs"]
mod fake_broker;
#[path = "common/line.rs"]
mod line;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fake_broker::{Answer, FakeBroker, Publish};
use line::{BASE, Line};

fn seqs(publishes: &[Publish]) -> Vec<u64> {
    publishes.iter().map(Publish::seq).collect()
}

fn count_up(count: u64) -> Vec<u64> {
    (1..=count).collect()
}

#[test]
fn one_part_is_told_as_the_contract_says() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let line = Line::new(broker.url(), "");
    let daemon = line.start();
    line.hand_in("part1.npy");
    line.wait_for("an alert", || !broker.on("alert").is_empty() && !broker.on("result").is_empty());
    line.wait_for("metrics", || !broker.on("metrics").is_empty());
    assert_eq!(daemon.terminate(), Some(0));

    let connect = &broker.connects()[0];
    assert_eq!(connect.client_id, "zal-s-a-l-c-d");
    assert!(connect.clean_start);
    assert_eq!(connect.will_topic, format!("{BASE}/status"));
    assert_eq!((connect.will_qos, connect.will_retain), (1, true));
    let will: serde_json::Value = serde_json::from_slice(&connect.will_payload).unwrap();
    assert_eq!(will["status"], "offline");

    let status = broker.on("status");
    let words: Vec<_> = status.iter().map(|p| p.json()["status"].clone()).collect();
    assert_eq!(words, ["online", "stopped"]);
    assert!(status.iter().all(|p| p.json()["session"] == will["session"] && p.qos == 1 && p.retain));
    for leaf in ["birth", "state"] {
        assert!(broker.on(leaf).iter().all(|p| p.qos == 1 && p.retain), "{leaf}");
    }
    assert_eq!(broker.on("birth")[0].json()["next_seq"], 1);
    let metrics = &broker.on("metrics")[0];
    assert_eq!((metrics.qos, metrics.retain, metrics.expiry_s), (0, false, Some(60)));
    let (result, alert) = (&broker.on("result")[0], &broker.on("alert")[0]);
    for publish in [result, alert] {
        assert_eq!((publish.qos, publish.retain, publish.expiry_s), (1, false, None));
    }
    assert_eq!(result.payload, alert.payload, "an alert has the same body");
    assert_eq!(result.json()["part_id"], "part1");
    assert_eq!(result.json()["historical"], false);
    assert_eq!(broker.disconnect_count(), 1, "no last will after a clean stop");
}

#[test]
fn bodies_fit_the_committed_schemas() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let line = Line::new(broker.url(), "[calibration]\nfrom_first_count = 5");
    let daemon = line.start();
    line.hand_in("a b.npy");
    line.wait_for("a result", || !broker.on("result").is_empty() && !broker.on("metrics").is_empty());
    assert_eq!(daemon.terminate(), Some(0));
    for leaf in ["status", "birth", "state", "metrics", "result"] {
        let path = format!("{}/src/bin/zal/schema/{leaf}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let schema: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for publish in broker.on(leaf) {
            let body = publish.json();
            let errors: Vec<_> = validator.iter_errors(&body).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{leaf}: {errors:?} in {body}");
            assert!(body.as_object().is_some_and(|o| !o.is_empty()));
        }
    }
}

#[test]
fn results_wait_for_the_broker_and_come_in_order_as_historical() {
    // The port is known before anyone answers on it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let line = Line::new(&url, "");
    let daemon = line.start();
    for index in 1..=30 {
        line.hand_in(&format!("p{index:02}.npy"));
    }
    line.wait_for("30 settled scans", || line.settled_count() == 30);
    let broker = FakeBroker::start_on(listener, |_| Answer::Confirm);
    line.wait_for("30 results", || broker.on("result").len() >= 30 && broker.on("alert").len() >= 30);
    assert_eq!(daemon.terminate(), Some(0));
    for leaf in ["result", "alert"] {
        assert_eq!(seqs(&broker.on(leaf)), count_up(30), "{leaf}");
        assert!(broker.on(leaf).iter().all(|p| p.json()["historical"] == true), "{leaf}");
    }
}

#[test]
fn unconfirmed_rows_come_again_after_a_cut_and_few_are_open() {
    let broker =
        FakeBroker::start(|topic| if topic.ends_with("result") { Answer::Withhold } else { Answer::Confirm });
    let line = Line::new(broker.url(), "");
    let daemon = line.start();
    for index in 1..=40 {
        line.hand_in(&format!("p{index:02}.npy"));
    }
    line.wait_for("40 settled scans", || line.settled_count() == 40);
    line.wait_for("the window filling", || broker.on("result").len() >= 12);
    line.wait_for("the alerts passing by", || broker.on("alert").len() == 40);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let open = broker.on("result");
    assert_eq!(seqs(&open), count_up(12), "16 places, 4 of them for alerts");
    broker.set_rule(|_| Answer::Confirm);
    broker.cut();
    line.wait_for("all results", || broker.on("result").len() >= 12 + 40);
    assert_eq!(daemon.terminate(), Some(0));
    let again: Vec<_> = broker.on("result").into_iter().filter(|p| p.connection > 1).collect();
    assert_eq!(seqs(&again), count_up(40), "nothing was confirmed, so all come again, in order");
}

#[test]
fn a_refused_row_is_kept_and_others_go_on() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refusals);
    let broker = FakeBroker::start(move |topic| {
        if !topic.ends_with("alert") {
            return Answer::Confirm;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Answer::Refuse
    });
    let line = Line::new(broker.url(), "");
    let daemon = line.start();
    (1..=5).for_each(|index| line.hand_in(&format!("p{index}.npy")));
    line.wait_for("results", || broker.on("result").len() == 5);
    line.wait_for("a refusal", || refusals.load(Ordering::Relaxed) > 0);
    line.wait_for("the degraded state", || {
        broker.on("state").iter().any(|p| p.json()["state"] == "degraded")
    });
    assert_eq!(daemon.terminate(), Some(0));
    let refused = refusals.load(Ordering::Relaxed);
    assert!(refused <= 10, "a refused row must not be sent in a loop, was {refused} times");
    assert!(line.log().contains("NotAuthorized"), "{}", line.log());

    broker.set_rule(|_| Answer::Confirm);
    let before = broker.on("alert").len();
    let daemon = line.start();
    line.wait_for("the alerts at last", || broker.on("alert").len() == before + 5);
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(seqs(&broker.on("alert")[before..]), count_up(5));
    assert_eq!(broker.on("result").len(), 5, "what was confirmed is not sent again");
}

#[test]
fn live_results_do_not_wait_behind_a_backlog() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let line = Line::new(&format!("mqtt://{}", listener.local_addr().unwrap()), "");
    let daemon = line.start();
    (1..=60).for_each(|index| line.hand_in(&format!("old{index:02}.npy")));
    line.wait_for("60 settled scans", || line.settled_count() == 60);
    // A slow broker: the backlog takes a while.
    let broker = FakeBroker::start_on(listener, |topic| {
        if topic.ends_with("result") || topic.ends_with("alert") {
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        Answer::Confirm
    });
    line.wait_for("the backlog beginning", || !broker.on("result").is_empty());
    line.hand_in("new.npy");
    line.wait_for("everything", || broker.on("result").len() == 61 && broker.on("alert").len() == 61);
    assert_eq!(daemon.terminate(), Some(0));
    let results = broker.on("result");
    let live = results.iter().position(|p| p.json()["part_id"] == "new").unwrap();
    assert!(live < 45, "the live result came as number {live} of 61");
    assert_eq!(results[live].json()["historical"], false);
    let mut rest = seqs(&results);
    rest.remove(live);
    assert_eq!(rest, count_up(60), "the backlog keeps its order");
}
