//! More than the daemon can judge, and a long time of it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::fake_broker::{Answer, FakeBroker};
use crate::scans;
use crate::station::{Settings, Station, is_long};

#[test]
fn five_times_the_rate_is_answered_part_by_part() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let settings = Settings { broker: broker.url(), deadline_keys: "wait_ms = 500", ..Settings::default() };
    let station = Station::new(settings);
    let scan = scans::slow();
    let daemon = station.start();
    station.hand_in("first.ply", &scan);
    station.wait_for("the first result", || broker.on("result").len() == 1);
    let timing = broker.on("result")[0].json()["timing_ms"].clone();
    let stages = timing.as_object().unwrap().iter().filter(|(name, _)| *name != "wait");
    let one_ms: f64 = stages.filter_map(|(_, ms)| ms.as_f64()).sum();
    let pause = Duration::from_secs_f64(one_ms / 1e3 / 5.0);
    let length = Duration::from_secs(if is_long() { 60 } else { 10 });
    let (start, mut count) = (Instant::now(), 1);
    while start.elapsed() < length {
        count += 1;
        station.hand_in(&format!("p{count:05}.ply"), &scan);
        std::thread::sleep(pause);
    }
    station.wait_for("a result for every part", || broker.on("result").len() >= count);
    assert_eq!(daemon.terminate(), Some(0));
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    let mut parts = std::collections::BTreeSet::new();
    for result in broker.on("result").iter().map(crate::fake_broker::Publish::json) {
        parts.insert(result["part_id"].as_str().unwrap().to_owned());
        let code = result["reasons"][0]["code"].as_str().unwrap_or("judged");
        let code = if result["score"].is_number() { "judged" } else { code };
        *codes.entry(code.to_owned()).or_default() += 1;
    }
    eprintln!("{count} parts in {} s, one takes {one_ms:.0} ms: {codes:?}", length.as_secs());
    assert_eq!(parts.len(), count, "each has its result");
    assert!(codes["judged"] > 1 && codes["overrun"] > 1 && codes.len() == 2, "{codes:?}");
    assert!(station.names("incoming").is_empty() && station.names("work").is_empty());
}

/// Resident memory and open files of a process.
fn resources(id: u32) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident_kb = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    (resident_kb, fs::read_dir(format!("/proc/{id}/fd")).unwrap().count())
}

#[test]
fn memory_and_files_do_not_grow_with_the_parts() {
    // Resident kB a part that would be a leak: a result alone has a whole one. Caches still fill in the short form.
    let slope_max_kb = if is_long() { 0.1 } else { 0.5 };
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let keys = "keep_done_count = 100";
    let station = Station::new(Settings { broker: broker.url(), spool_keys: keys, ..Settings::default() });
    let parts = if is_long() { 50_000 } else { 4_000 };
    let scan = scans::quick();
    let daemon = station.start();
    let mut samples = Vec::new();
    let mut handed_in = 0;
    while handed_in < parts {
        for _ in 0..200 {
            handed_in += 1;
            station.hand_in(&format!("p{handed_in:06}.npy"), &scan);
        }
        station.wait_for("the results", || broker.count("result") >= handed_in);
        // The first parts warm up caches and pools.
        if handed_in * 2 >= parts {
            let (resident_kb, files) = resources(daemon.id());
            samples.push((handed_in, resident_kb, files));
        }
    }
    assert_eq!(daemon.terminate(), Some(0));
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let slope_kb = (last.1 as f64 - first.1 as f64) / (last.0 - first.0) as f64;
    eprintln!(
        "{parts} parts: resident {} kB after {}, {} kB at the end ({:.1} bytes a part), {} and {} open files",
        first.1,
        first.0,
        last.1,
        slope_kb * 1024.0,
        first.2,
        last.2
    );
    assert!(slope_kb < slope_max_kb, "{samples:?}");
    assert!(last.2 <= first.2 + 3, "open files: {samples:?}");
    assert!(station.names("done").len() + station.names("bad").len() <= 2 * parts);
}
