//! Power cuts: the daemon's own calls are recorded while it works, cut off at random moments,
//! what was not synced is dropped or torn, and the real daemon is started on what is left.
//!
//! A result counts as committed once it was published or its scan left `work/`. After every cut
//! the daemon starts, every committed result is in the journal under its seq, every part has a
//! result, and no seq means two parts.

mod disk;
mod recording;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::fake_broker::{Answer, FakeBroker};
use crate::scans;
use crate::station::{Settings, Station, has_program, is_long, wait_for};
use disk::{Disk, Names};
use recording::{Call, TRACED, parse};

const PARTS: usize = 16;
const IMAGES_SHORT: usize = 30;
const IMAGES_LONG: usize = 300;

/// Records a run over all parts; the disk before it, and the calls.
fn record(root: &Path) -> (Disk, Vec<Call>) {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let settings = Settings {
        broker: broker.url(),
        spool: Some(root.join("spool")),
        journal: Some(root.into()),
        ..Settings::default()
    };
    let station = Station::new(settings);
    for folder in ["incoming", "work", "done", "bad"] {
        fs::create_dir_all(station.spool(folder)).unwrap();
    }
    for index in 1..=PARTS {
        station.hand_in(&format!("p{index:02}.npy"), &scans::quick());
    }
    let disk = Disk::of(root);
    let log = station.path("strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-y", "-xx", "-qq", "-s", "200000", "-e", &format!("trace={TRACED}"), "-o"])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_zal"))
        .args(["run", "-c"])
        .arg(station.path("zal.toml"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(wait_for(|| broker.count("result") == PARTS && station.names("work").is_empty()));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.id())).unwrap();
    assert!(Command::new("kill").args(["-TERM", children.trim()]).status().unwrap().success());
    strace.wait().unwrap();
    (disk, parse(&fs::read_to_string(log).unwrap()))
}

/// Seq and part of the results in a message.
fn published(bytes: &[u8]) -> Vec<(u64, String)> {
    let text = String::from_utf8_lossy(bytes);
    let bodies = text.split("{\"schema\":\"zal.result/1\"").skip(1);
    let number = |body: &str| body.split_once("\"seq\":")?.1.split(',').next()?.parse().ok();
    let part = |body: &str| Some(body.split_once("\"part_id\":\"")?.1.split('"').next()?.to_owned());
    bodies.filter_map(|body| number(body).zip(part(body))).collect()
}

/// The parts whose scans have left `work/` in an image.
fn settled(station: &Station) -> BTreeSet<String> {
    let folders = ["done", "bad"].iter().flat_map(|folder| station.names(folder));
    folders.filter_map(|name| name.rsplit_once('-').map(|(_, part)| part.to_owned())).collect()
}

#[test]
fn committed_results_outlive_every_power_cut() {
    if !has_program("strace") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("device");
    fs::create_dir(&root).unwrap();
    let (before, calls) = record(&root);
    let sends = calls
        .iter()
        .filter(|call| matches!(call, Call::Send { bytes } if !published(bytes).is_empty()))
        .count();
    let syncs = calls.iter().filter(|call| matches!(call, Call::Sync { .. })).count();
    assert!(sends >= PARTS / 2 && syncs >= PARTS, "{sends} sends and {syncs} syncs in {} calls", calls.len());

    let images = if is_long() { IMAGES_LONG } else { IMAGES_SHORT };
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let (mut committed_count, mut judged_twice, mut starts) = (0, 0, Vec::new());
    for image in 0..images {
        let names = if image % 2 == 0 { Names::WithAnySync } else { Names::WithFolders };
        let cut = random.next_u32() as usize % (calls.len() + 1);
        let mut disk = before.clone();
        let mut committed: BTreeMap<u64, String> = BTreeMap::new();
        for call in &calls[..cut] {
            disk.apply(call, &root, names);
            if let Call::Send { bytes } = call {
                committed.extend(published(bytes));
            }
        }
        let target = tempfile::tempdir().unwrap();
        disk.write_image(&root, target.path(), &mut random);
        let what = format!("image {image}, call {cut}, {names:?}");
        let (twice, start) = check_image(target.path(), &committed, &what);
        committed_count += committed.len();
        judged_twice += twice;
        starts.push(start);
    }
    starts.sort_unstable();
    eprintln!(
        "{images} images of {} calls ({syncs} syncs): {committed_count} published results found again, \
         {judged_twice} parts judged a second time; from the start to the birth message: median {:?}, longest {:?}",
        calls.len(),
        starts[images / 2],
        starts[images - 1]
    );
    assert!(committed_count > images, "the cuts fall into the work");
}

/// Starts the daemon on an image; gives how many parts it judged again, and how long the start took.
fn check_image(root: &Path, committed: &BTreeMap<u64, String>, what: &str) -> (usize, Duration) {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let settings = Settings {
        broker: broker.url(),
        spool: Some(root.join("spool")),
        journal: Some(root.into()),
        ..Settings::default()
    };
    let station = Station::new(settings);
    let settled = settled(&station);
    let begin = Instant::now();
    let daemon = station.start();
    station.wait_for(&format!("{what}: the start"), || broker.count("birth") > 0);
    let start = begin.elapsed();
    station.wait_for(&format!("{what}: scans leaving incoming/ and work/"), || {
        station.names("incoming").is_empty() && station.names("work").is_empty()
    });
    // Everything that the journal holds comes again.
    let report: serde_json::Value = serde_json::from_str(&station.zal(&["report", "--json"])).unwrap();
    let count = usize::try_from(report["part_count"].as_u64().unwrap()).unwrap();
    let last = report["seq"][1].as_u64().unwrap();
    station.zal(&["replay", "--from", "1", "--to", &last.to_string()]);
    let mut held: BTreeMap<u64, String> = BTreeMap::new();
    station.wait_for(&format!("{what}: the replay"), || {
        for result in broker.on("result") {
            let part = result.json()["part_id"].as_str().unwrap().to_owned();
            let known = held.insert(result.seq(), part.clone());
            assert!(known.is_none_or(|known| known == part), "{what}: seq {} means two parts", result.seq());
        }
        held.len() == count
    });
    assert_eq!(daemon.terminate(), Some(0), "{what}");
    for (seq, part) in committed {
        assert_eq!(held.get(seq), Some(part), "{what}: the published result {seq} is lost or another part's");
    }
    let parts: BTreeSet<&String> = held.values().collect();
    assert!(settled.iter().all(|part| parts.contains(part)), "{what}: {settled:?} settled, {parts:?} held");
    assert_eq!(parts.len(), PARTS, "{what}: every part has a result");
    (held.len() - parts.len(), start)
}
