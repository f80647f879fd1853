//! The MQTT contract of DESIGN section 4, seen by a broker that keeps every packet.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "the tests share helpers, each uses some")]

#[path = "common/fake_broker.rs"]
mod fake_broker;
#[path = "common/line.rs"]
mod line;
#[path = "common/running.rs"]
mod running;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fake_broker::{Answer, FakeBroker, Publish, Welcome};
use line::Line;
use running::BASE;

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
    line.wait_for("birth", || !broker.on("birth").is_empty());
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
    broker.say(&format!("{BASE}/cmd/replay"), br#"{"request_id": "q1", "from": 1, "to": 1}"#, false, &[]);
    line.wait_for("a response", || !broker.on("q1").is_empty());
    assert_eq!(daemon.terminate(), Some(0));
    for (leaf, topic) in [
        ("status", "status"),
        ("birth", "birth"),
        ("state", "state"),
        ("metrics", "metrics"),
        ("result", "result"),
        ("alarm", "disk_low"),
        ("response", "q1"),
    ] {
        let path = format!("{}/src/bin/zal/schema/{leaf}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let schema: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(!broker.on(topic).is_empty(), "nothing was said on {topic}");
        for publish in broker.on(topic) {
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

/// Sends a command and waits for the response.
fn ask(broker: &FakeBroker, line: &Line, verb: &str, id: &str, body: &str) -> serde_json::Value {
    let before = broker.on(id).len();
    broker.say(&format!("{BASE}/cmd/{verb}"), body.as_bytes(), false, &[]);
    line.wait_for("a response", || broker.on(id).len() > before);
    broker.on(id)[before].json()
}

#[test]
fn commands_are_answered_once_and_wrong_ones_with_the_reason() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let line = Line::new(broker.url(), "");
    let daemon = line.start();
    (1..=3).for_each(|index| line.hand_in(&format!("p{index}.npy")));
    line.wait_for("results", || broker.on("result").len() == 3);
    assert_eq!(broker.subscriptions(), [format!("{BASE}/cmd/+")]);

    let replay = r#"{"request_id": "r1", "from": 2, "to": 9}"#;
    let answer = ask(&broker, &line, "replay", "r1", replay);
    assert_eq!((&answer["outcome"], &answer["data"]["count"]), (&"done".into(), &2.into()));
    line.wait_for("the results again", || broker.on("result").len() == 5);
    assert_eq!(ask(&broker, &line, "replay", "r1", replay), answer, "answered, not repeated");

    let births = broker.on("birth").len();
    assert_eq!(ask(&broker, &line, "rebirth", "b1", r#"{"request_id": "b1"}"#)["outcome"], "done");
    line.wait_for("the birth again", || broker.on("birth").len() == births + 1);
    assert_eq!(ask(&broker, &line, "trigger", "t1", r#"{"request_id": "t1"}"#)["outcome"], "done");

    let code = |verb: &str, id: &str, body: &str| ask(&broker, &line, verb, id, body)["code"].clone();
    assert_eq!(code("model_install", "m1", r#"{"request_id": "m1"}"#), "bad_value");
    // The configuration of this line names its bundle.
    assert_eq!(code("model_install", "m2", r#"{"request_id": "m2", "path": "/b.zalb"}"#), "not_supported");
    assert_eq!(code("dance", "d1", r#"{"request_id": "d1"}"#), "unknown_verb");
    assert_eq!(code("trigger", "unknown", "{"), "bad_json");
    let endless = format!("{{\"request_id\": \"{}\"}}", "x".repeat(5_000));
    assert_eq!(code("trigger", "unknown", &endless), "too_large");

    // Correlation data and a response topic of the asker's own.
    let properties = [&b"\x08\x00\x05mes/7\x09\x00\x02\xff\x01"[..]].concat();
    broker.say(&format!("{BASE}/cmd/rebirth"), br#"{"request_id": "b2"}"#, false, &properties);
    line.wait_for("the response elsewhere", || !broker.on("7").is_empty());
    let response = &broker.on("7")[0];
    assert_eq!((response.topic.as_str(), response.correlation.as_deref()), ("mes/7", Some(&b"\xff\x01"[..])));
    assert_eq!((response.qos, response.retain, response.expiry_s), (1, false, Some(30)));
    broker.say(&format!("{BASE}/cmd/rebirth"), br#"{"request_id": "b3"}"#, true, &[]);
    line.wait_for("the refusal", || !broker.on("b3").is_empty());
    assert_eq!(broker.on("b3")[0].json()["code"], "retained");
    assert_eq!(daemon.terminate(), Some(0));
    let again: Vec<_> =
        broker.on("result").iter().skip(3).map(|p| (p.seq(), p.json()["historical"].clone())).collect();
    assert_eq!(again, [(2, true.into()), (3, true.into())], "sent again once, as historical");
    assert_eq!(broker.on("alert").len(), 3, "alerts are not repeated");
}

#[test]
fn a_self_test_by_command_judges_the_golden_scans() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let line = Line::new(broker.url(), "");
    let daemon = line.start();
    line.wait_for("birth", || !broker.on("birth").is_empty());
    broker.say(&format!("{BASE}/cmd/selftest"), br#"{"request_id": "s1"}"#, false, &[]);
    broker.say(&format!("{BASE}/cmd/selftest"), br#"{"request_id": "s1"}"#, false, &[]);
    line.wait_for("both answers", || broker.on("s1").len() == 2);
    assert_eq!(broker.on("s1")[0].json()["outcome"], "in_progress");
    let answer = broker.on("s1")[1].json();
    assert_eq!((&answer["outcome"], &answer["data"]["passed"]), (&"done".into(), &true.into()), "{answer}");
    assert!(!answer["data"]["scans"].as_array().unwrap().is_empty());
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn nothing_larger_than_the_broker_takes_is_sent_and_that_is_said() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    broker.set_welcome(Welcome { packet_size_max: Some(700), ..Welcome::default() });
    let line = Line::new(broker.url(), "");
    let daemon = line.start();
    line.hand_in("p1.npy");
    // The fake broker fails the test when a packet is too large.
    line.wait_for("the alarm", || broker.on("message_too_large").iter().any(|p| p.json()["active"] == true));
    assert!(broker.on("result").is_empty());
    assert_eq!(broker.connects().len(), 1, "the connection lives on");
    broker.set_welcome(Welcome::default());
    broker.cut();
    line.wait_for("the result at last", || broker.on("result").len() == 1);
    line.wait_for("the end of the alarm", || {
        broker.on("message_too_large").last().is_some_and(|p| p.json()["active"] == false)
    });
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_broker_that_claims_an_old_session_gets_everything_in_a_new_one() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    broker.set_welcome(Welcome { session_present: true, ..Welcome::default() });
    let line = Line::new(broker.url(), "");
    let daemon = line.start();
    (1..=5).for_each(|index| line.hand_in(&format!("p{index}.npy")));
    line.wait_for("a refused welcome", || broker.connects().len() >= 2);
    assert!(broker.on("result").is_empty());
    broker.set_welcome(Welcome::default());
    line.wait_for("the results", || broker.on("result").len() == 5);
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(seqs(&broker.on("result")), count_up(5));
}
