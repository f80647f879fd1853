//! Configurations and commands mutated at random: what `tests/mutations.rs` does to the library's readers.
//! 20,000 of each in every run, a million with `ZAL_LONG=1`.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rumqttc::{Publish, QoS};

use crate::config::{self, ConfigError};
use crate::control;

#[path = "../../../tests/fuzz/mutate.rs"]
mod mutate;

/// Runs `check` on mutated copies of the seeds.
fn on_mutated(seeds: &[&str], check: impl Fn(&[u8])) {
    let count = if std::env::var_os("ZAL_LONG").is_some() { 1_000_000 } else { 20_000 };
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..count {
        let mut bytes = seeds[mutate::below(&mut random, seeds.len())].as_bytes().to_vec();
        let other = seeds[mutate::below(&mut random, seeds.len())].as_bytes();
        mutate::mutate(&mut bytes, other, &mut random);
        check(&bytes);
    }
}

#[test]
fn a_mutated_configuration_is_taken_or_refused_at_a_place() {
    let seeds = [
        "[device]\nsite = \"s\"\narea = \"a\"\nline = \"l\"\ncell = \"c\"\ndevice = \"d\"\n[spool]\ndir = \"s\"\n\
         [mqtt]\nurl = \"mqtt://h\"\nkeep_alive_s = 30\n",
        "[engine]\nproviders = [\"cuda\", \"cpu\"]\n[http]\nenabled = false\n[deadline]\nwait_ms = 3\n",
    ];
    on_mutated(&seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match config::parse_text(&text, Path::new("zal.toml")) {
            Ok(config) => assert!(!config.device.site.is_empty()),
            Err(ConfigError::Wrong { problems }) => {
                assert!(
                    !problems.is_empty() && problems.iter().all(|p| p.starts_with("zal.toml")),
                    "{problems:?}"
                );
            }
            Err(error) => panic!("a text gives problems at their places, not {error}"),
        }
    });
}

#[test]
fn a_mutated_command_is_taken_or_refused_and_answered_on_a_fit_topic() {
    let base = "zal/v1/s/a/l/c/d";
    let seeds = [
        r#"{"request_id": "a.1_B-2"}"#,
        r#"{"request_id": "r", "from": 3, "to": 9}"#,
        r#"{"request_id": "r", "from": 0, "to": 18446744073709551615}"#,
    ];
    on_mutated(&seeds, |bytes| {
        for verb in ["replay", "trigger", "selftest", "dance"] {
            let publish = Publish::new(format!("{base}/cmd/{verb}"), QoS::AtLeastOnce, bytes.to_vec(), None);
            let received = control::read(base, &publish);
            assert!(received.reply.topic.starts_with(&format!("{base}/rsp/")), "{}", received.reply.topic);
            assert!(!received.request_id.is_empty() && received.request_id.len() <= 64);
            assert!(received.command.is_err() || verb != "dance");
        }
    });
}
