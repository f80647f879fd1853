//! What the technician's commands print and how they end.

use super::bundles::{light, slow};
use super::device::Device;

#[test]
fn an_update_from_a_stick_says_what_happens_and_what_to_do() {
    let device = Device::new("mqtt://127.0.0.1:1", "");
    let said = device.model(&["status"]);
    assert_eq!(said.code, Some(66), "{said:?}");
    assert!(
        said.err.contains("there is no bundle store") && said.err.contains("zal model install"),
        "{said:?}"
    );

    let stick = device.stick("new.zalb", &light().version("1.1").release());
    let said = device.model(&["install", "--dry-run", &stick]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("light-1.1 would be copied, tested and put on trial"), "{said:?}");
    assert!(!device.store("slots").exists(), "a dry run makes nothing");

    let said = device.model(&["install", &stick]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("light-1.1: whole, signed with the trusted key"), "{said:?}");
    assert!(said.out.contains("1 golden scans as expected on native (cpu)"), "{said:?}");
    assert!(said.out.contains("is confirmed after 4 parts"), "{said:?}");
    assert_eq!(device.whole_slots(), 2, "the factory's and the new one");

    let status = device.status();
    assert_eq!(status["state"], "trial");
    assert_eq!(
        (&status["current"]["name"], &status["previous"]["name"], &status["factory"]["name"]),
        (&"light-1.1".into(), &"light-1.0".into(), &"light-1.0".into())
    );
    assert_eq!(status["trial"]["parts_left"], 4);
    let said = device.model(&["install", &stick]);
    assert_eq!(said.code, Some(69), "one update at a time: {said:?}");
    assert!(said.err.contains("on trial") && said.err.contains("zal model confirm"), "{said:?}");
    let said = device.model(&["status"]);
    assert!(said.out.contains("state     trial") && said.out.contains("4 parts to go"), "{said:?}");

    let before = device.fingerprint();
    assert!(
        device.model(&["rollback", "--dry-run"]).out.contains("light-1.0 would judge instead of light-1.1")
    );
    assert_eq!(device.model(&["confirm", "--dry-run"]).code, Some(0));
    assert_eq!(device.fingerprint(), before, "a dry run changes nothing");

    assert!(device.model(&["confirm"]).out.contains("light-1.1 is confirmed"));
    let again = device.model(&["confirm"]);
    assert_eq!(again.code, Some(64), "{again:?}");
    assert!(device.model(&["install", &stick]).out.contains("is in charge already"));
    assert!(device.model(&["rollback"]).out.contains("light-1.0 judges again instead of light-1.1"));
    assert_eq!(device.model(&["rollback"]).code, Some(64), "there is nothing before the factory's");
    let list = device.model(&["list"]).out;
    assert!(
        list.contains("light-1.0") && list.contains("current, factory") && list.contains("not in use"),
        "{list}"
    );
    let log = device.model(&["log"]).out;
    for event in ["factory", "staged", "testing", "ready", "trial", "confirmed", "rolled_back"] {
        assert!(log.contains(&format!("  {event} ")), "{event}: {log}");
    }
}

#[test]
fn bundles_are_verified_shown_and_compared() {
    let device = Device::new("mqtt://127.0.0.1:1", "");
    let [a, b] = ["1.1", "1.2"].map(|v| device.stick(&format!("{v}.zalb"), &light().version(v).release()));
    let said = device.model(&["verify", "--selftest", &a]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.contains("light-1.1: whole; 2 files") && said.out.contains("0 not as expected"),
        "{said:?}"
    );
    let wrong = device.stick("wrong.zalb", &super::bundles::wrong().release());
    let said = device.model(&["verify", "--selftest", &wrong]);
    assert_eq!(said.code, Some(12), "{said:?}");
    assert!(said.out.contains("1 not as expected"), "{said:?}");

    let shown = device.model(&["show", &a]).out;
    for word in
        ["bundle    light-1.1", "epoch     0", "mode      line with bank line.bank of fpfh", "golden-0.npy"]
    {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert_eq!(device.model(&["show", "--json", &a]).json()["manifest"]["version"], "1.1");
    let diff = device.model(&["diff", &a, &b]);
    assert_eq!(diff.out, "light-1.1 -> light-1.2: 1 fields differ\n  version: 1.1 -> 1.2\n");
    let other = device.stick("slow.zalb", &slow().release());
    let rows = device.model(&["diff", "--json", &a, &other]).json();
    let fields: Vec<_> =
        rows["differences"].as_array().unwrap().iter().map(|row| row["field"].clone()).collect();
    assert!(fields.contains(&"files.rgb.onnx.sha256".into()) && fields.contains(&"name".into()), "{rows}");
    assert_eq!(device.model(&["show", "nothing-here.zalb"]).code, Some(66));
}
