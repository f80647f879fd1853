//! `zal model install` killed at random moments: the store always has a whole bundle in charge, and the
//! same command goes through afterwards.

use std::time::Instant;

use super::bundles::light;
use super::device::Device;

/// Kills the process and its children, as when the machine is taken away from them.
fn kill_group(id: u32) {
    let group = format!("-{id}");
    let _ = std::process::Command::new("kill").args(["-KILL", "--", &group]).status();
}

#[test]
fn an_installation_that_is_killed_at_random_moments_leaves_a_whole_bundle_in_charge() {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    let kills = if std::env::var_os("ZAL_LONG").is_some() { 1_000 } else { 20 };
    let device = Device::new("mqtt://127.0.0.1:1", "");
    let sticks = ["1.1", "1.2"].map(|v| device.stick(&format!("{v}.zalb"), &light().version(v).release()));
    // How long an installation takes here; the moments are spread over all of it.
    let begin = Instant::now();
    assert_eq!(device.model(&["install", &sticks[0]]).code, Some(0));
    let duration = begin.elapsed();
    assert_eq!(device.model(&["confirm"]).code, Some(0));
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut switched = 0;
    for kill in 0..kills {
        let current = device.current();
        let stick = &sticks[usize::from(current == "light-1.1")];
        let mut child = device.start_model(&["install", stick]);
        let permille = random.next_u32() % 1_100;
        std::thread::sleep(duration * permille / 1_000);
        kill_group(child.id());
        child.wait().unwrap();
        device.whole_slots();
        let status = device.status();
        let now = status["current"]["name"].as_str().unwrap();
        assert!(["light-1.1", "light-1.2"].contains(&now), "kill {kill}: {status}");
        if status["state"] == "trial" {
            switched += usize::from(now != current);
            assert_eq!(device.model(&["confirm"]).code, Some(0), "kill {kill}: {status}");
        } else {
            assert_eq!(now, current, "kill {kill}: {status}");
        }
    }
    let stick = &sticks[usize::from(device.current() == "light-1.1")];
    let said = device.model(&["install", stick]);
    assert_eq!(said.code, Some(0), "nothing needs a hand: {said:?}");
    assert!(switched < kills, "every kill came too late");
    eprintln!("{kills} kills, {switched} of them after the switch");
}
