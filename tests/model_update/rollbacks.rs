//! Bundles that must not come into charge, offered while the line judges: each is turned away by itself,
//! and every part is judged by the bundle that is known to be good.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::bundles::{fatal, heavy, light, slow, wrong};
use super::device::Device;
use super::fake_broker::{Answer, FakeBroker};

/// Hands in part after part while `work` is done; how many.
fn while_parts_come(device: &Device, work: impl FnOnce()) -> u64 {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                device.hand_in(&format!("part{number:04}.npy"), 100 + number);
                std::thread::sleep(Duration::from_millis(400));
            }
        });
        // Also when the work panics, or the thread would never end.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    count.into_inner()
}

#[test]
fn wrong_slow_and_fatal_bundles_are_turned_away_while_the_line_judges_every_part() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let device = Device::new(broker.url(), "");
    let daemon = device.start();
    device.line.wait_for("birth", || !broker.on("birth").is_empty());
    let cases = [
        ("wrong", wrong().release(), 12, "self_test", "golden scans differ"),
        ("slow", slow().release(), 13, "latency", "times that is allowed"),
        ("fatal", fatal().release(), 13, "", ""),
    ];
    let parts = while_parts_come(&device, || {
        for (what, bytes, exit, code, word) in &cases {
            let said = device.model(&["install", &device.stick("new.zalb", bytes)]);
            assert_eq!(said.code, Some(*exit), "{what}: {said:?}");
            assert!(said.err.contains("the line goes on with the bundle it had"), "{what}: {said:?}");
            let status = device.status();
            let setback = &status["setback"];
            assert_eq!(
                (&status["state"], &status["current"]["name"]),
                (&"failed".into(), &"light-1.0".into())
            );
            assert!(setback["text"].as_str().unwrap().contains(word), "{what}: {status}");
            if *what == "fatal" {
                // Whether the allocation or the process fails first is the system's choice; never `load`,
                // which would be an orderly refusal.
                let ended = ["crash", "memory"].map(serde_json::Value::from);
                assert!(ended.contains(&setback["code"]), "{status}");
            } else {
                assert_eq!(setback["code"], *code, "{status}");
            }
        }
    });
    assert!(parts > 5, "only {parts} parts came");
    let results =
        || -> BTreeSet<u64> { broker.on("result").iter().map(super::fake_broker::Publish::seq).collect() };
    device.line.wait_for("every part's result", || results().len() as u64 == parts);
    for result in broker.on("result") {
        let body = result.json();
        assert_eq!(body["bundle"], "light-1.0", "{body}");
        assert!(body["score"].as_f64().is_some(), "{body}");
    }
    device.line.wait_for("what became of the last one", || {
        let update = broker.on("update").last().unwrap().json();
        update["state"] == "failed" && update["current"]["name"] == "light-1.0"
    });
    // The reference set's first threshold is worth a birth message, of the same session.
    let sessions: BTreeSet<String> =
        broker.on("birth").iter().map(|birth| birth.json()["session"].to_string()).collect();
    assert_eq!(sessions.len(), 1, "the daemon never began anew");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_bundle_that_turns_out_slow_on_the_line_is_taken_back_without_a_part_lost() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let device = Device::new(broker.url(), "");
    // Whoever installs it is told to let it pass; the daemon is not.
    let text = std::fs::read_to_string(device.line.path("zal.toml")).unwrap();
    let lenient = text.replace("trial_parts = 4", "trial_parts = 50\nslower_max = 1000.0");
    std::fs::write(device.line.path("lenient.toml"), lenient).unwrap();
    let daemon = device.start();
    let births = || -> Vec<String> {
        broker.on("birth").iter().map(|b| b.json()["bundle"].as_str().unwrap().to_owned()).collect()
    };
    device.line.wait_for("birth", || births().len() == 1);
    let results =
        || -> BTreeSet<u64> { broker.on("result").iter().map(super::fake_broker::Publish::seq).collect() };
    let mut parts = 0;
    let mut judge = |count: u64| {
        for _ in 0..count {
            parts += 1;
            device.hand_in(&format!("part{parts:04}.npy"), parts);
        }
        device.line.wait_for("every part's result", || results().len() as u64 == parts);
    };
    judge(6);
    let path = device.stick("heavy.zalb", &heavy().release());
    let said = device.model_with("lenient.toml", &["install", &path]);
    assert_eq!(said.code, Some(0), "{said:?}");
    device.line.wait_for("the swap", || births().len() == 2);
    judge(6);
    device.line.wait_for("the bundle before", || births().len() == 3);
    assert_eq!(births(), ["light-1.0", "heavy-1.0", "light-1.0"]);
    judge(2);
    assert!(results().into_iter().eq(1..=14), "no seq is missing");
    assert!(broker.on("result").iter().all(|result| result.json()["score"].as_f64().is_some()));
    let status = device.status();
    assert_eq!((&status["state"], &status["setback"]["code"]), (&"rolled_back".into(), &"latency".into()));
    device.line.wait_for("the alarm", || {
        broker.on("model_rolled_back").last().is_some_and(|alarm| alarm.json()["active"] == true)
    });
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_daemon_that_is_killed_again_and_again_on_trial_goes_back_and_an_orderly_end_does_not_count() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let device = Device::new(broker.url(), "trial_starts = 2");
    let said = device.model(&["install", &device.stick("new.zalb", &light().version("1.1").release())]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let births = || -> Vec<String> {
        broker.on("birth").iter().map(|b| b.json()["bundle"].as_str().unwrap().to_owned()).collect()
    };
    let mut expected = Vec::new();
    let mut run = |bundle: &str, orderly: bool| {
        let daemon = device.start();
        expected.push(bundle.to_owned());
        device.line.wait_for("birth", || births().len() == expected.len());
        assert_eq!(births(), expected);
        if orderly { assert_eq!(daemon.terminate(), Some(0)) } else { daemon.kill() }
    };
    for _ in 0..3 {
        run("light-1.1", true);
    }
    run("light-1.1", false);
    run("light-1.1", false);
    let daemon = device.start();
    let alarm = || broker.on("model_rolled_back").into_iter().map(|p| p.json()).find(|a| a["active"] == true);
    device.line.wait_for("the alarm", || alarm().is_some());
    assert!(alarm().unwrap()["text"].as_str().unwrap().contains("light-1.1"));
    assert_eq!(births().last().map(String::as_str), Some("light-1.0"));
    assert_eq!(daemon.terminate(), Some(0));
    let status = device.model(&["status", "--json"]);
    assert_eq!(status.code, Some(13), "{status:?}");
    assert_eq!(
        (&status.json()["state"], &status.json()["setback"]["code"]),
        (&"rolled_back".into(), &"boots".into())
    );
    assert_eq!(device.model(&["confirm"]).code, Some(0), "taken note of");
    assert_eq!(device.model(&["status"]).code, Some(0));
}

#[test]
fn a_damaged_slot_is_found_at_the_start_and_the_factory_bundle_judges() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let device = Device::new(broker.url(), "");
    device.model(&["install", &device.stick("new.zalb", &light().version("1.1").release())]);
    assert_eq!(device.model(&["confirm"]).code, Some(0));
    let sha256 = device.status()["current"]["sha256"].as_str().unwrap().to_owned();
    let slot = device.store("slots").join(format!("{sha256}.zalb"));
    let mut bytes = std::fs::read(&slot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&slot, bytes).unwrap();
    let daemon = device.start();
    device.line.wait_for("birth", || !broker.on("birth").is_empty());
    assert_eq!(broker.on("birth")[0].json()["bundle"], "light-1.0");
    assert_eq!(daemon.terminate(), Some(0));
    let status = device.status();
    assert_eq!((&status["state"], &status["setback"]["code"]), (&"rolled_back".into(), &"damaged".into()));
}
