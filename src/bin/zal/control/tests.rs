//! What a command may be and what is said of those that are not.

use rumqttc::QoS;

use super::*;

const BASE: &str = "zal/v1/s/a/l/c/d";

fn heard(verb: &str, body: &str) -> Received {
    read(BASE, &publish(verb, body))
}

fn publish(verb: &str, body: &str) -> Publish {
    Publish::new(format!("{BASE}/cmd/{verb}"), QoS::AtLeastOnce, body.to_owned(), None)
}

fn code(received: &Received) -> Option<RefusalCode> {
    received.command.as_ref().err().map(|refusal| refusal.code)
}

#[test]
fn verbs_are_read() {
    let plain = r#"{"request_id": "a.1_B-2"}"#;
    assert_eq!(heard("trigger", plain).command, Ok(Command::Trigger));
    assert_eq!(heard("selftest", plain).command, Ok(Command::SelfTest));
    assert_eq!(heard("rebirth", plain).command, Ok(Command::Rebirth));
    let replay = heard("replay", r#"{"request_id": "r", "from": 3, "to": 9}"#);
    assert_eq!(replay.command, Ok(Command::Replay(3..=9)));
    assert_eq!(replay.reply.topic, format!("{BASE}/rsp/r"));
    assert_eq!(replay.reply.properties.message_expiry_interval, Some(30));
}

#[test]
fn what_is_wrong_is_named() {
    let id = r#"{"request_id": "x"}"#;
    assert_eq!(code(&heard("explode", id)), Some(RefusalCode::UnknownVerb));
    assert_eq!(code(&heard("model_install", id)), Some(RefusalCode::BadValue));
    assert_eq!(heard("model_rollback", id).command, Ok(Command::Model(ModelVerb::Rollback)));
    let path = r#"{"request_id": "x", "path": "/b.zalb"}"#;
    assert_eq!(code(&heard("trigger", path)), Some(RefusalCode::BadValue));
    for body in ["", "{", "[]", "{}", r#"{"request_id": 3}"#, r#"{"request_id": "x", "extra": 1}"#, "\u{0}"] {
        let received = heard("trigger", body);
        assert_eq!(code(&received), Some(RefusalCode::BadJson), "{body}");
        assert_eq!(received.reply.topic, format!("{BASE}/rsp/unknown"));
    }
    for body in [r#"{"request_id": ""}"#, r#"{"request_id": "a/b"}"#, r#"{"request_id": "x", "from": 1}"#] {
        assert_eq!(code(&heard("trigger", body)), Some(RefusalCode::BadValue), "{body}");
    }
    for body in [
        id,
        r#"{"request_id": "x", "from": 1}"#,
        r#"{"request_id": "x", "from": 2, "to": 1}"#,
        r#"{"request_id": "x", "from": 1, "to": 18446744073709551615}"#,
    ] {
        assert_eq!(code(&heard("replay", body)), Some(RefusalCode::BadValue), "{body}");
    }
    let long = format!("{{\"request_id\": \"{}\"}}", "x".repeat(5000));
    assert_eq!(code(&heard("trigger", &long)), Some(RefusalCode::TooLarge));
    let retained = Publish { retain: true, ..publish("trigger", id) };
    assert_eq!(code(&read(BASE, &retained)), Some(RefusalCode::Retained));
}

#[test]
fn a_response_goes_where_it_was_asked_for_unless_that_does_harm() {
    let ask = |topic: &str| {
        let properties = PublishProperties {
            response_topic: Some(topic.into()),
            correlation_data: Some(b"42".to_vec().into()),
            ..PublishProperties::default()
        };
        let body = r#"{"request_id": "x"}"#;
        read(BASE, &Publish { properties: Some(properties), ..publish("rebirth", body) })
    };
    for topic in ["mes/answers/7", "zal/v1/s/a/l/c/d/rsp/other"] {
        let received = ask(topic);
        assert_eq!((received.reply.topic.as_str(), received.command), (topic, Ok(Command::Rebirth)));
        assert_eq!(received.reply.properties.correlation_data.as_deref(), Some(&b"42"[..]));
    }
    for topic in ["zal/v1/s/a/l/c/d/result", "zal/v1/s/a/l/c/e/cmd/trigger", "a/#", "$SYS/x", ""] {
        let received = ask(topic);
        assert_eq!(code(&received), Some(RefusalCode::BadValue), "{topic}");
        assert_eq!(received.reply.topic, format!("{BASE}/rsp/x"), "{topic}");
    }
}
