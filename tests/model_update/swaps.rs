//! A bundle comes into charge and goes again while the daemon judges, by the tool and over MQTT.

use std::collections::BTreeMap;

use serde_json::Value;

use super::bundles::{self, light};
use super::device::Device;
use super::fake_broker::{Answer, FakeBroker};
use super::running::BASE;

/// Which bundle judged each seq.
fn judges(broker: &FakeBroker) -> BTreeMap<u64, String> {
    broker.on("result").iter().map(|r| (r.seq(), r.json()["bundle"].as_str().unwrap().to_owned())).collect()
}

fn last(broker: &FakeBroker, leaf: &str) -> Value {
    broker.on(leaf).last().map_or(Value::Null, super::fake_broker::Publish::json)
}

#[test]
fn a_good_bundle_is_swapped_in_confirmed_by_its_parts_and_rolled_back_without_a_part_lost() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let device = Device::new(broker.url(), "");
    let daemon = device.start();
    device.line.wait_for("birth", || !broker.on("birth").is_empty());
    let mut number = 0;
    let mut judge = |count: u64, bundle: &str| {
        for _ in 0..count {
            number += 1;
            device.hand_in(&format!("p{number:03}.npy"), number);
        }
        device.line.wait_for("the results", || judges(&broker).len() as u64 == number);
        let judged = judges(&broker);
        let fitting = (number - count + 1..=number).filter(|seq| judged[seq] == bundle).count() as u64;
        assert_eq!(fitting, count, "{bundle}: {judged:?}");
    };
    judge(2, "light-1.0");
    let said = device.model(&["install", &device.stick("new.zalb", &light().version("1.1").release())]);
    assert_eq!(said.code, Some(0), "{said:?}");
    device.line.wait_for("the swap", || last(&broker, "birth")["bundle"] == "light-1.1");
    let birth = last(&broker, "birth");
    assert_eq!(birth["bundle_sha256"], device.status()["current"]["sha256"]);
    assert!(birth["bundle_signer"].as_str().unwrap().starts_with("trusted key "), "{birth}");
    judge(3, "light-1.1");
    device.line.wait_for("the trial to count", || last(&broker, "update")["trial"]["parts_left"] == 1);
    judge(1, "light-1.1");
    device.line.wait_for("the confirmation", || last(&broker, "update")["state"] == "confirmed");
    assert_eq!(device.state(), "confirmed");

    assert_eq!(device.model(&["rollback"]).code, Some(0));
    device.line.wait_for("the swap back", || last(&broker, "birth")["bundle"] == "light-1.0");
    judge(2, "light-1.0");
    assert!(judges(&broker).keys().copied().eq(1..=8), "no seq is missing");
    let alarms = broker.on("model_rolled_back");
    assert!(alarms.iter().all(|alarm| alarm.json()["active"] == false), "somebody asked for it");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_bundle_is_installed_confirmed_and_rolled_back_over_mqtt() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let device = Device::new(broker.url(), "");
    let daemon = device.start();
    device.line.wait_for("birth", || !broker.on("birth").is_empty());
    let say = |verb: &str, body: Value| {
        broker.say(&format!("{BASE}/cmd/{verb}"), body.to_string().as_bytes(), false, &[]);
    };
    let answer = |id: &str| {
        device.line.wait_for(id, || broker.on(id).iter().any(|p| p.json()["outcome"] != "in_progress"));
        last(&broker, id)
    };
    let path = device.stick("new.zalb", &light().version("1.1").release());
    say("model_install", serde_json::json!({"request_id": "q1", "path": path, "manual_confirm": true}));
    let installed = answer("q1");
    assert_eq!((&installed["outcome"], &installed["data"]["outcome"]), (&"done".into(), &"trial".into()));
    assert_eq!(installed["data"]["bundle"], "light-1.1");
    device.line.wait_for("the swap", || last(&broker, "birth")["bundle"] == "light-1.1");
    device.line.wait_for("the trial", || last(&broker, "update")["trial"]["manual_confirm"] == true);
    let states: Vec<Value> = broker.on("update").iter().map(|p| p.json()["state"].clone()).collect();
    assert!(states.contains(&"testing".into()), "{states:?}");
    say("model_confirm", serde_json::json!({"request_id": "q2"}));
    assert_eq!(answer("q2")["outcome"], "done");
    device.line.wait_for("the confirmation", || last(&broker, "update")["state"] == "confirmed");
    say("model_rollback", serde_json::json!({"request_id": "q3"}));
    assert_eq!(answer("q3")["outcome"], "done");
    device.line.wait_for("the swap back", || last(&broker, "birth")["bundle"] == "light-1.0");

    let stranger = device.stick("dev.zalb", bundles::DEMO);
    say("model_install", serde_json::json!({"request_id": "q4", "path": stranger}));
    let refused = answer("q4");
    assert_eq!((&refused["outcome"], &refused["data"]["exit_code"]), (&"failed".into(), &77.into()));
    assert!(refused["text"].as_str().unwrap().contains("development key"), "{refused}");
    check_schemas(&broker);
    assert_eq!(daemon.terminate(), Some(0));
}

/// What was said on `/update` and in answers fits the committed schemas.
fn check_schemas(broker: &FakeBroker) {
    for (schema, leaf) in [("update", "update"), ("birth", "birth"), ("response", "q1"), ("response", "q4")] {
        let path = format!("{}/src/bin/zal/schema/{schema}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for publish in broker.on(leaf) {
            assert!(publish.leaf() != "update" || (publish.qos == 1 && publish.retain));
            let errors: Vec<_> = validator.iter_errors(&publish.json()).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{leaf}: {errors:?}");
        }
    }
}

#[test]
fn shadow_mode_says_how_another_bundle_agrees_and_switches_nothing() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let device = Device::new(broker.url(), "");
    let daemon = device.start();
    device.line.wait_for("birth", || !broker.on("birth").is_empty());
    let (twin, other) = (light().version("1.1").release(), bundles::other().release());
    let mut seed = 0;
    for (name, bytes) in [("twin.zalb", twin), ("other.zalb", other)] {
        let path = device.stick(name, &bytes);
        let agreement = std::thread::scope(|scope| {
            let shadow = scope.spawn(|| device.model(&["shadow", &path, "--parts", "4", "--json"]));
            while !shadow.is_finished() {
                seed += 1;
                device.hand_in(&format!("s{seed:03}.npy"), seed);
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
            shadow.join().unwrap()
        });
        assert_eq!(agreement.code, Some(0), "{agreement:?}");
        let agreement = agreement.json();
        let parts =
            agreement["part_count"].as_u64().unwrap() + agreement["undecided_count"].as_u64().unwrap();
        assert_eq!(parts, 4, "{agreement}");
        assert_eq!(
            agreement["worst"].as_array().unwrap().len() as u64,
            agreement["part_count"],
            "{agreement}"
        );
        if name == "twin.zalb" {
            assert!((agreement["rank_correlation"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{agreement}");
            for pair in agreement["worst"].as_array().unwrap() {
                let (a, b) = (pair["score"].as_f64().unwrap(), pair["other_score"].as_f64().unwrap());
                assert!((a - b).abs() <= 1e-4 * a.abs(), "the same bundle, the same scores: {pair}");
            }
        } else {
            let differ =
                agreement["worst"].as_array().unwrap().iter().any(|p| p["score"] != p["other_score"]);
            assert!(differ, "{agreement}");
        }
    }
    assert_eq!((device.current(), device.state()), ("light-1.0".into(), "idle".into()));
    assert_eq!(daemon.terminate(), Some(0));
}
