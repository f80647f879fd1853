//! The intake under difficult conditions: deadlines, scans that end the daemon, late pictures,
//! a spool over two disks.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use crate::fake_broker::{Answer, FakeBroker};
use crate::scans;
use crate::station::{Settings, Station};

fn reasons(broker: &FakeBroker) -> Vec<(String, String)> {
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let results = broker.on("result");
    results.iter().map(|r| r.json()).map(|r| (word(&r["part_id"]), word(&r["reasons"][0]["code"]))).collect()
}

#[test]
fn a_part_is_answered_at_its_deadline_though_the_detector_is_not_finished() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    // No detector judges a part of 400 x 400 points within 3 ms.
    let settings =
        Settings { broker: broker.url(), deadline_keys: "part_deadline_ms = 3", ..Settings::default() };
    let station = Station::new(settings);
    let daemon = station.start();
    for index in 1..=5 {
        station.hand_in(&format!("p{index}.ply"), &scans::slow());
    }
    station.wait_for("five answers", || broker.on("result").len() == 5);
    station.wait_for("every scan leaving work/", || station.names("work").is_empty());
    // What the detector says later is not used.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(daemon.terminate(), Some(0));
    let found = reasons(&broker);
    assert!(found.iter().all(|(_, code)| code == "deadline") && found.len() == 5, "{found:?}");
    let text = broker.on("result")[0].json()["reasons"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.ends_with(" ms after the scan was seen, 3 ms are allowed"), "{text}");
    assert_eq!(station.names("done").len(), 5, "nothing is known to be wrong with these scans");
}

#[test]
fn a_scan_that_ends_the_daemon_three_times_is_given_up_and_its_neighbours_are_not() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let station = Station::new(Settings { broker: broker.url(), ..Settings::default() });
    station.hand_in("a-killer.ply", &scans::slow());
    let in_hand = station.spool("work").join(".in-hand");
    for start in 1..=3 {
        let daemon = station.start();
        // The note of the run before counts only once this run has read it.
        station.wait_for("the start", || station.log().matches(" ready").count() == start);
        // As if the scan did it: the daemon ends while it is in the detector.
        station.wait_for("the scan in the detector", || {
            fs::read_to_string(&in_hand)
                .is_ok_and(|text| text.lines().nth(1).is_some_and(|l| l.contains("a-killer")))
        });
        daemon.kill();
        station.hand_in("b-neighbour.npy", &scans::quick());
    }
    let daemon = station.start();
    station.wait_for("both answers", || broker.on("result").len() >= 2);
    assert_eq!(daemon.terminate(), Some(0));
    let found = reasons(&broker);
    assert_eq!(found[0], ("a-killer".to_owned(), "crash_loop".to_owned()));
    assert!(found[1].0 == "b-neighbour" && found[1].1 != "crash_loop", "{found:?}");
    let bad: Vec<_> = station.names("bad").into_iter().filter(|name| name.ends_with("a-killer")).collect();
    assert_eq!(bad.len(), 1);
}

#[test]
fn a_picture_that_comes_after_its_scan_is_waited_for() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let keys = "picture_wait_ms = 5000";
    let station = Station::new(Settings { broker: broker.url(), spool_keys: keys, ..Settings::default() });
    let daemon = station.start();
    let tiff = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/scan/plain.tiff")).unwrap();
    station.hand_in("late.tiff", &tiff);
    std::thread::sleep(Duration::from_millis(500));
    station.hand_in("late.png", b"a picture, as far as the intake knows");
    station.wait_for("the answer", || broker.on("result").len() == 1);
    assert_eq!(daemon.terminate(), Some(0));
    let [reason] = reasons(&broker).try_into().unwrap();
    assert_eq!(reason, ("late".to_owned(), "color_unreadable".to_owned()), "the picture was read");
    assert!(station.names("incoming").is_empty());
}

#[test]
fn a_spool_over_two_disks_works_and_finishes_what_a_crash_interrupted() {
    let here = tempfile::tempdir().unwrap();
    let Ok(there) = tempfile::tempdir_in("/dev/shm") else { return };
    let device = |folder: &tempfile::TempDir| fs::metadata(folder.path()).unwrap().dev();
    if device(&here) == device(&there) {
        eprintln!("skipped: /dev/shm is not another disk than the temporary folder");
        return;
    }
    symlink(there.path(), here.path().join("incoming")).unwrap();
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let station = Station::new(Settings {
        broker: broker.url(),
        spool: Some(here.path().into()),
        ..Settings::default()
    });
    // As if the daemon had died between copying and removing.
    station.hand_in("half.npy", &scans::quick());
    let claim = station.spool("work").join("000000000-20260101T000000000Z-half");
    fs::create_dir_all(&claim).unwrap();
    fs::copy(there.path().join("half.npy"), claim.join("half.npy")).unwrap();
    let time = fs::metadata(there.path().join("half.npy")).unwrap().modified().unwrap();
    fs::File::options().write(true).open(claim.join("half.npy")).unwrap().set_modified(time).unwrap();
    for index in 1..=4 {
        station.hand_in(&format!("p{index}.npy"), &scans::quick());
    }
    let daemon = station.start();
    station.wait_for("five answers", || broker.on("result").len() == 5);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(daemon.terminate(), Some(0));
    let mut parts: Vec<_> = reasons(&broker).into_iter().map(|(part, _)| part).collect();
    parts.sort();
    assert_eq!(parts, ["half", "p1", "p2", "p3", "p4"], "each once");
    assert!(station.names("incoming").is_empty() && station.names("work").is_empty());
}
