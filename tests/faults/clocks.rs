//! Clocks that jump, by an hour and by ten years, forth and back: verdicts come, in the order
//! of the parts.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fake_broker::{Answer, FakeBroker};
use crate::scans;
use crate::station::{Settings, Station};

/// libfaketime's library, where Debian puts it.
fn libfaketime() -> Option<PathBuf> {
    let folders =
        ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime"];
    let found = folders.iter().map(|f| Path::new(f).join("libfaketime.so.1")).find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: libfaketime is not installed (Debian's package libfaketime)");
    }
    found
}

/// The results in the order in which they were first heard; after a kill some come twice.
fn heard(broker: &FakeBroker) -> Vec<serde_json::Value> {
    let mut seen = std::collections::BTreeSet::new();
    let results = broker.on("result").into_iter().filter(|result| seen.insert(result.seq()));
    results.map(|result| result.json()).collect()
}

#[test]
fn jumping_clocks_change_neither_order_nor_verdicts() {
    let Some(library) = libfaketime() else { return };
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let keys = "wait_ms = 60000\npart_deadline_ms = 60000";
    let station = Station::new(Settings { broker: broker.url(), deadline_keys: keys, ..Settings::default() });
    let offset = station.path("offset");
    fs::write(&offset, "+0\n").unwrap();
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ];
    let mut daemon = station.start_with(&environment);
    let mut count = 0;
    for (index, jump) in ["+0", "+1h", "-1h", "+10y", "-10y", "+0"].iter().enumerate() {
        fs::write(&offset, format!("{jump}\n")).unwrap();
        for _ in 0..4 {
            count += 1;
            station.hand_in(&format!("p{count:03}.npy"), &scans::quick());
            station.wait_for("the result", || heard(&broker).len() == count);
        }
        // Half of the jumps are met by a restart, with scans that wait.
        if index % 2 == 1 {
            daemon.kill();
            for _ in 0..3 {
                count += 1;
                station.hand_in(&format!("p{count:03}.npy"), &scans::quick());
            }
            daemon = station.start_with(&environment);
            station.wait_for("the results", || heard(&broker).len() == count);
        }
    }
    assert_eq!(daemon.terminate(), Some(0));
    let results = heard(&broker);
    let years: std::collections::BTreeSet<_> =
        results.iter().map(|r| r["ts"].as_str().unwrap()[..4].to_owned()).collect();
    assert!(years.len() >= 3, "the clock did jump: {years:?}");
    let seqs: Vec<_> = results.iter().map(|r| r["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=u64::try_from(count).unwrap()).collect::<Vec<_>>());
    let parts: Vec<_> = results.iter().map(|r| r["part_id"].as_str().unwrap().to_owned()).collect();
    assert!(parts.is_sorted(), "in the order in which they came: {parts:?}");
    let codes: std::collections::BTreeSet<_> =
        results.iter().map(|r| r["reasons"][0]["code"].as_str().unwrap_or_default().to_owned()).collect();
    assert!(!codes.contains("overrun") && !codes.contains("deadline"), "a jump is no waiting: {codes:?}");
    assert!(station.names("work").is_empty());
}
