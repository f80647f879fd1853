//! `zal-export eval` from data to tables: every cell is there, what is wrong in the data is said by name, and
//! however the work is cut up or broken off, the tables are the same to the byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use zal::synth::{Defect, Family, SynthParams, generate};
use zal_export::layout::{self, Split};

const FAMILIES: [Family; 3] = [Family::Ring, Family::Cone, Family::Ball];

/// A data set `set` of three classes: three normal scans, two good and two defective test scans each.
struct Data {
    folder: TempDir,
}

impl Data {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for family in FAMILIES {
            let class = folder.path().join("set").join(family.name());
            let put = |split: Split, kind: &str, number: usize, seed: u64, defect: Option<Defect>| {
                let params =
                    SynthParams { defect, height: 120, width: 130, ..SynthParams::new(family, seed) };
                layout::write_scan(&class, split, kind, number, &generate(&params)).expect("written");
            };
            for (number, seed) in (10..13).enumerate() {
                put(Split::Train, "good", number, seed, None);
            }
            for (number, seed) in (20..22).enumerate() {
                put(Split::Test, "good", number, seed, None);
                put(Split::Test, "bump", number, seed + 10, Some(Defect::Bump));
            }
        }
        Self { folder }
    }

    fn set(&self) -> PathBuf {
        self.folder.path().join("set")
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `zal-export eval` on the set, with tract and methods that need no training.
    fn eval(&self, out: &str, more: &[&str]) -> Command {
        let mut command = zal_export();
        command.arg("eval").arg("--data").arg(self.set()).arg("--out").arg(self.out(out));
        command.args(["--engine", "tract", "--jobs", "2"]);
        if !more.contains(&"--methods") {
            command.args(["--methods", "without"]);
        }
        command.args(more);
        command
    }
}

fn zal_export() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zal-export"));
    command.env_remove("ORT_DYLIB_PATH");
    command
}

fn done(mut command: Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", words(&output));
    output
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_class_is_judged_after_training_on_every_other() {
    let data = Data::new();
    let output = done(data.eval("out", &["--seeds", "3"]));
    let cells = read(&data.out("out/cells.csv"));
    let pairs: Vec<String> = cells
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields[..2], ["set", "3"], "{line}");
            assert_eq!(fields[6..9], ["2", "2", "0"], "{line}");
            format!("{} {}", fields[2], fields[5])
        })
        .collect();
    assert_eq!(pairs, ["ball cone", "ball ring", "cone ball", "cone ring", "ring ball", "ring cone"]);
    assert!(words(&output).contains("3/3 groups"), "{}", words(&output));
    let timing = read(&data.out("out/timing.txt"));
    assert!(timing.contains("check") && timing.contains("most memory"), "{timing}");
}
