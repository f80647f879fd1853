//! TLS, client certificates, access rules and passwords against Debian's mosquitto.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![allow(dead_code, reason = "the tests share helpers, each uses some")]

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/line.rs"]
mod line;
#[path = "common/mosquitto.rs"]
mod mosquitto;
#[path = "common/subscriber.rs"]
mod subscriber;

use std::fs;
use std::path::Path;
use std::process::Command;

use certificates::Certificates;
use line::{BASE, Line};
use mosquitto::Mosquitto;
use rumqttc::{MqttOptions, TlsConfiguration, Transport};
use subscriber::Subscriber;

const ACL: &str = include_str!("../systemd/mosquitto/acl");

/// The committed access rules, for the test's device.
fn acl() -> String {
    let rules = ACL.replace("zal/v1/plant1/assembly/line3/cell2/cam1", BASE);
    assert!(rules.contains(BASE), "the template names its example device");
    rules
}

/// Certificates of a broker, a device and a technician.
fn certificates() -> Option<Certificates> {
    let made = Certificates::new()?;
    made.issue("broker", "ca", "broker", "DNS:localhost,IP:127.0.0.1", 365);
    made.issue("cam1", "ca", "cam1", "DNS:cam1", 365);
    made.issue("technician", "ca", "technician", "DNS:technician", 365);
    Some(made)
}

/// A mosquitto as `systemd/mosquitto/zal.conf` configures it.
fn broker(made: &Certificates, certificate: &str, acl: &str) -> Option<Mosquitto> {
    let settings = format!(
        "cafile {{dir}}/ca.pem\ncertfile {{dir}}/{certificate}.pem\nkeyfile {{dir}}/{certificate}.key\n\
         require_certificate true\nuse_identity_as_username true\nallow_anonymous false\nacl_file {{dir}}/acl\n"
    );
    Mosquitto::start_with(&settings, |folder| {
        made.copy_to(folder);
        fs::write(folder.join("acl"), acl).unwrap();
    })
}

/// The [mqtt] keys for a client certificate.
fn keys(made: &Certificates, ca: &str, name: &str) -> String {
    let path = |file: String| format!("{:?}", made.path(&file));
    format!(
        "ca_file = {}\nclient_cert_file = {}\nclient_key_file = {}",
        path(format!("{ca}.pem")),
        path(format!("{name}.pem")),
        path(format!("{name}.key"))
    )
}

fn technician(made: &Certificates, broker: &Mosquitto) -> Subscriber {
    let read = |name: &str| fs::read(made.path(name)).unwrap();
    let tls = TlsConfiguration::Simple {
        ca: read("ca.pem"),
        alpn: None,
        client_auth: Some((read("technician.pem"), read("technician.key"))),
    };
    let mut options = MqttOptions::new("technician", ("localhost", broker.address().port()));
    options.set_keep_alive(30).set_clean_start(true).set_transport(Transport::tls_with_config(tls));
    Subscriber::start(options)
}

fn url(broker: &Mosquitto) -> String {
    format!("mqtts://localhost:{}", broker.address().port())
}

#[test]
fn results_commands_and_schemas_over_tls_with_access_rules() {
    let Some(made) = certificates() else { return };
    let Some(broker) = broker(&made, "broker", &acl()) else { return };
    let hearer = technician(&made, &broker);
    let line = Line::new(&url(&broker), &keys(&made, "ca", "cam1"));
    let daemon = line.start();
    line.hand_in("p1.npy");
    line.wait_for("result and alert", || !hearer.on("result").is_empty() && !hearer.on("alert").is_empty());
    line.wait_for("metrics", || !hearer.on("metrics").is_empty());
    hearer.command("rebirth", &serde_json::json!({"request_id": "r1"}));
    line.wait_for("the response", || !hearer.on("rsp/r1").is_empty());
    assert_eq!(daemon.terminate(), Some(0));
    line.wait_for("the end", || hearer.on("status").last().is_some_and(|m| m.body["status"] == "stopped"));

    let topics = [
        ("status", "status"),
        ("birth", "birth"),
        ("state", "state"),
        ("metrics", "metrics"),
        ("result", "result"),
        ("result", "alert"),
        ("alarm", "alarm/disk_low"),
        ("response", "rsp/r1"),
        ("request", "cmd/rebirth"),
    ];
    for (schema, leaf) in topics {
        let path = format!("{}/src/bin/zal/schema/{schema}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let schema = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(!hearer.on(leaf).is_empty(), "nothing on {leaf}");
        for message in hearer.on(leaf) {
            let errors: Vec<_> = validator.iter_errors(&message.body).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{leaf}: {errors:?} in {}", message.body);
        }
    }
}

#[test]
fn what_the_access_rules_deny_is_noticed_kept_and_said() {
    let Some(made) = certificates() else { return };
    let rule = format!("topic write {BASE}/alert\n");
    assert!(acl().contains(&rule));
    let denied = acl().replace(&rule, "");
    let Some(broker) = broker(&made, "broker", &denied) else { return };
    let hearer = technician(&made, &broker);
    let line = Line::new(&url(&broker), &keys(&made, "ca", "cam1"));
    let daemon = line.start();
    line.hand_in("p1.npy");
    let raised =
        |code: &str| hearer.on(&format!("alarm/{code}")).into_iter().find(|m| m.body["active"] == true);
    line.wait_for("the alarm of the alert", || raised("publish_refused").is_some());
    line.wait_for("the result all the same", || hearer.seqs("result") == [1]);
    assert!(raised("publish_refused").unwrap().body["text"].as_str().unwrap().contains("alert"));
    assert!(hearer.on("alert").is_empty());
    assert!(hearer.on("state").last().unwrap().body["state"] == "degraded");
    assert_eq!(daemon.terminate(), Some(0));
}

/// Starts a daemon that cannot connect and waits for what it says.
fn refused(url: &str, keys: &str, words: &str) {
    let line = Line::new(url, keys);
    let daemon = line.start();
    line.wait_for(words, || line.log().contains(words));
    line.hand_in("p.npy");
    line.wait_for("the part judged all the same", || line.settled_count() == 1);
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn every_wrong_certificate_is_named() {
    let Some(made) = certificates() else { return };
    made.authority("stranger");
    made.issue("expired", "ca", "broker", "DNS:localhost,IP:127.0.0.1", -1);
    made.issue("elsewhere", "ca", "broker", "DNS:elsewhere.example", 365);
    made.issue("foreign", "stranger", "cam1", "DNS:cam1", 365);
    made.issue("late", "ca", "cam1", "DNS:cam1", -1);
    let start = |certificate: &str| broker(&made, certificate, &acl());
    let (Some(good), Some(expired), Some(elsewhere)) =
        (start("broker"), start("expired"), start("elsewhere"))
    else {
        return;
    };
    let cam1 = keys(&made, "ca", "cam1");
    refused(&url(&good), &keys(&made, "stranger", "cam1"), "is not signed by the authority in");
    refused(&url(&expired), &cam1, "has expired");
    refused(&url(&elsewhere), &cam1, "is for another name");
    refused(&url(&good), &format!("ca_file = {:?}", made.path("ca.pem")), "asks for a client certificate");
    for name in ["foreign", "late"] {
        refused(&url(&good), &keys(&made, "ca", name), "refuses this device's certificate");
    }
    let mixed = cam1.replace("cam1.key", "technician.key");
    refused(&url(&good), &mixed, "does not belong to the certificate");
    let nothing = cam1.replace("ca.pem", "names");
    refused(&url(&good), &nothing, "holds no certificate in PEM");
}

#[test]
fn renewed_certificates_are_taken_and_broken_ones_are_not() {
    let Some(made) = certificates() else { return };
    made.issue("device", "ca", "cam1", "DNS:cam1", 10);
    let Some(broker) = broker(&made, "broker", &acl()) else { return };
    let hearer = technician(&made, &broker);
    let line = Line::new(&url(&broker), &keys(&made, "ca", "device"));
    let daemon = line.start();
    let last = |code: &str| hearer.on(&format!("alarm/{code}")).last().cloned();
    let is_active = |code: &str| last(code).is_some_and(|m| m.body["active"] == true);
    line.wait_for("the alarm of the end that is near", || is_active("certificate_expiring"));
    let text = last("certificate_expiring").unwrap().body["text"].as_str().unwrap().to_owned();
    assert!(text.contains("device.pem ends in 9 days"), "{text}");

    let (good_key, good_cert) = (fs::read(made.path("device.key")), fs::read(made.path("device.pem")));
    fs::write(made.path("device.key"), "no key at all").unwrap();
    line.wait_for("the alarm of the broken key", || is_active("credentials_unusable"));
    line.hand_in("p1.npy");
    line.wait_for("a result on the old connection", || hearer.seqs("result") == [1]);
    fs::write(made.path("device.key"), good_key.unwrap()).unwrap();

    made.issue("device", "ca", "cam1", "DNS:cam1", 400);
    assert_ne!(fs::read(made.path("device.pem")).unwrap(), good_cert.unwrap());
    line.wait_for("the new connection", || {
        hearer.on("status").last().is_some_and(|m| m.body["status"] == "online" && m.body["connection"] != 1)
    });
    line.wait_for("the end of the alarms", || {
        !is_active("certificate_expiring") && !is_active("credentials_unusable")
    });
    line.hand_in("p2.npy");
    line.wait_for("the next result", || hearer.seqs("result") == [1, 2]);
    assert!(hearer.on("status").iter().all(|m| m.body["status"] != "offline"), "no last will");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_wrong_password_is_named_a_right_one_is_taken_without_a_restart_and_neither_is_logged() {
    let Some(broker) =
        Mosquitto::start_with("allow_anonymous false\npassword_file {dir}/passwords", |folder| {
            let made = Command::new("mosquitto_passwd")
                .args(["-b", "-c"])
                .arg(folder.join("passwords"))
                .args(["cam1", "right-secret"])
                .status();
            assert!(made.is_ok_and(|status| status.success()), "mosquitto_passwd comes with mosquitto");
        })
    else {
        return;
    };
    let line = Line::new(
        &format!("mqtt://{}", broker.address()),
        "username = \"cam1\"\npassword_file = \"password\"",
    );
    fs::write(line.path("password"), "wrong-secret\n").unwrap();
    let daemon = line.start();
    line.wait_for("the words", || line.log().contains("the broker refuses user name, password or client id"));
    fs::write(line.path("password"), "right-secret\n").unwrap();
    let mut options = MqttOptions::new("hearer", ("127.0.0.1", broker.address().port()));
    options.set_credentials("cam1", "right-secret").set_clean_start(true);
    let hearer = Subscriber::start(options);
    line.hand_in("p1.npy");
    line.wait_for("a result", || hearer.seqs("result") == [1]);
    assert_eq!(daemon.terminate(), Some(0));
    let log = line.log();
    assert!(!log.contains("-secret"), "{log}");
    let kept = everything_in(&line.path("spool")) + &fs::read_to_string(line.path("zal.toml")).unwrap();
    assert!(!kept.contains("-secret"));
}

fn everything_in(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries
        .map(|path| {
            if path.is_dir() {
                everything_in(&path)
            } else {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            }
        })
        .collect()
}
