//! SIGKILL at random moments, over a real broker: no seq missing, no part without a result,
//! no part judged twice, at most 16 duplicates a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::mosquitto::{Heard, Mosquitto};
use crate::scans;
use crate::station::{Settings, Station, is_long, wait_for};

/// Kills of the short and the long form.
const KILLS_SHORT: usize = 50;
const KILLS_LONG: usize = 1_000;

/// A number below `end`.
fn below(random: &mut ChaCha8Rng, end: u64) -> u64 {
    u64::from(random.next_u32()) % end
}

#[test]
fn nothing_is_lost_over_random_kills() {
    let Some(broker) = Mosquitto::start() else { return };
    let kills = if is_long() { KILLS_LONG } else { KILLS_SHORT };
    let heard = broker.subscribe();
    let url = broker.url();
    let station =
        Station::new(Settings { broker: &url, spool_keys: "keep_done_count = 50", ..Settings::default() });
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut parts, mut while_starting) = (0, 0);
    for kill in 0..kills {
        let daemon = station.start();
        let before = heard.count("result");
        for _ in 0..2 + below(&mut random, 18) {
            parts += 1;
            station.hand_in(&format!("part{parts:06}.npy"), &scans::quick());
        }
        if below(&mut random, 4) == 0 {
            // While it loads, or in its first results.
            while_starting += 1;
            std::thread::sleep(Duration::from_millis(below(&mut random, 1_500)));
        } else {
            assert!(wait_for(|| heard.count("result") > before), "kill {kill}: {}", station.log());
            std::thread::sleep(Duration::from_millis(below(&mut random, 150)));
        }
        daemon.kill();
    }
    let daemon = station.start();
    // One more, so that the daemon is at work when it is asked to stop.
    parts += 1;
    station.hand_in(&format!("part{parts:06}.npy"), &scans::quick());
    station.wait_for("a result for every part", || answered(&heard).len() == parts);
    station.wait_for("every scan leaving work/", || station.names("work").is_empty());
    assert_eq!(daemon.terminate(), Some(0));

    let results = heard.results();
    let mut parts_of_seq: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (seq, part) in &results {
        parts_of_seq.entry(*seq).or_default().insert(part.clone());
    }
    let duplicates = results.len() - parts_of_seq.len();
    eprintln!(
        "{kills} kills ({while_starting} from the start on), {parts} parts, {} seqs, {duplicates} duplicates",
        parts_of_seq.len()
    );
    let expected: Vec<u64> = (1..=u64::try_from(parts).unwrap()).collect();
    assert_eq!(parts_of_seq.keys().copied().collect::<Vec<_>>(), expected, "a gap, or a part judged twice");
    assert!(parts_of_seq.values().all(|parts| parts.len() == 1), "one part per seq: {parts_of_seq:?}");
    assert!(duplicates <= 16 * kills, "{duplicates} duplicates after {kills} kills");
}

fn answered(heard: &Heard) -> BTreeSet<String> {
    heard.results().into_iter().map(|(_, part)| part).collect()
}
