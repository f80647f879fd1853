//! What a wrong configuration says, line by line.

use std::path::Path;

use super::*;

const GOOD: &str = include_str!("../../../../systemd/zal.toml");

fn problems(text: &str) -> Vec<String> {
    match parse_text(text, Path::new("zal.toml")) {
        Err(ConfigError::Wrong { problems }) => problems,
        other => panic!("expected problems, got {other:?}"),
    }
}

#[test]
fn the_example_is_accepted() {
    let config = parse_text(GOOD, Path::new("zal.toml")).unwrap();
    assert_eq!(config.device.topic_base(), "zal/v1/plant1/assembly/line3/cell2/cam1");
    assert_eq!(config.hash().len(), 16);
}

#[test]
fn every_misspelt_missing_and_mistyped_key_is_shown_at_once() {
    let text = "\
[device]
sitte = \"a\"
area = \"a\"
line = 3
cell = \"c\"
device = \"d\"

[spool]
dir = \"spool\"
poll_intervall_ms = 5

[detector]
bundle = \"b.zalb\"

[journal]

[mqtt]
url = \"mqtt://localhost\"

[htpp]
";
    assert_eq!(
        problems(text),
        [
            "zal.toml:1:2: `site` in [device] is missing",
            "zal.toml:2:1: unknown key `sitte` in [device]; did you mean `site`?",
            "zal.toml:4:8: `device.line` is of type integer, expected string",
            "zal.toml:10:1: unknown key `poll_intervall_ms` in [spool]; did you mean `poll_interval_ms`?",
            "zal.toml:15:2: `path` in [journal] is missing",
            "zal.toml:20:2: unknown key `htpp`; did you mean `http`?",
        ]
    );
}

#[test]
fn every_senseless_value_is_shown_at_once() {
    let text = GOOD
        .replace("site = \"plant1\"", "site = \"plant/1\"")
        .replace("queue_len_max = 2", "queue_len_max = 0")
        .replace("threads = 2", "threads = 0")
        .replace("url = \"mqtt://localhost:1883\"", "url = \"http://localhost\"")
        .replace("false_reject_rate = 0.05", "false_reject_rate = 5.0");
    let problems = problems(&text);
    let heads: Vec<&str> = problems.iter().filter_map(|p| p.split(": ").nth(1)).collect();
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert!(heads[0].starts_with("`site` is \"plant/1\", expected 1 to 64 letters"), "{}", heads[0]);
    assert!(heads[1].starts_with("`queue_len_max` is 0, expected 1 to 64"), "{}", heads[1]);
    assert!(heads[2].starts_with("`threads` is 0"), "{}", heads[2]);
    assert!(heads[3].starts_with("`false_reject_rate` is 5"), "{}", heads[3]);
    assert!(heads[4].contains("http://localhost"), "{}", heads[4]);
}

#[test]
fn a_wrong_choice_names_the_right_one() {
    let problems = problems(&GOOD.replace("mode = \"line\"", "mode = \"lime\""));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("did you mean `line`?"), "{problems:?}");
}

#[test]
fn broken_toml_is_shown_at_its_place() {
    let problems = problems("[device\nsite = 1");
    assert!(problems[0].starts_with("zal.toml:1:"), "{problems:?}");
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zal.toml");
    std::fs::write(&path, GOOD.replace("dir = \"/var/spool/zal\"", "dir = \"in\"")).unwrap();
    assert_eq!(load(&path).unwrap().spool.dir, folder.path().join("in"));
}

/// The configuration belongs to the binary, so it is mutated here and not in `tests/mutations.rs`.
#[test]
fn no_mutation_of_the_example_panics_and_every_problem_has_words() {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    const WORDS: [&str; 10] =
        ["[", "]", "=", "\"", "\n", "-1", "18446744073709551616", "nan", "ü", "[a.b.c]\n"];
    let count = if std::env::var_os("ZAL_LONG").is_some() { 200_000 } else { 300 };
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut below = |end: usize| random.next_u32() as usize % end.max(1);
    for execution in 0..count {
        let mut text: Vec<char> = GOOD.chars().collect();
        for _ in 0..=below(6) {
            let at = below(text.len());
            let end = (at + below(12)).min(text.len());
            let word = WORDS[below(WORDS.len())];
            drop(text.splice(at..end, word.chars()));
        }
        let text: String = text.into_iter().collect();
        match parse_text(&text, Path::new("zal.toml")) {
            Ok(_) => {}
            Err(ConfigError::Wrong { problems }) => {
                assert!(problems.iter().all(|p| p.starts_with("zal.toml")), "{execution}: {problems:?}");
            }
            Err(other) => panic!("{execution}: {other}"),
        }
    }
}
