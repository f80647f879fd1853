//! `zal-export eval` from data to tables: every cell is there, what is wrong in the data is said by name, and
//! however the work is cut up or broken off, the tables are the same to the byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use std::time::Duration;

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

/// The result files of a run: everything but time, command and what it goes on from.
const RESULTS: [&str; 6] =
    ["run.json", "cells.csv", "summary.csv", "tables.csv", "tables.md", "confounds.csv"];

fn results(out: &Path) -> Vec<(&'static str, String)> {
    RESULTS.iter().map(|name| (*name, read(&out.join(name)))).collect()
}

fn same(found: &Path, expected: &Path) {
    for ((name, found), (_, expected)) in results(found).into_iter().zip(results(expected)) {
        assert_eq!(found, expected, "{name}");
    }
}

/// Settings of a training that is real, but small.
const SMALL_TRAINING: [&str; 8] =
    ["--methods", "without,3dzal", "--epochs", "1", "--set", "pool_scans=1", "--set", "pool_own_scans=2"];

#[test]
fn three_shards_put_together_are_one_run() {
    let data = Data::new();
    done(data.eval("whole", &[]));
    for shard in ["1/3", "2/3", "3/3"] {
        let out = format!("part{}", &shard[..1]);
        done(data.eval(&out, &["--shard", shard]));
        let tables = read(&data.out(&out).join("tables.md"));
        assert!(tables.contains(&format!("shard {shard} alone")), "{tables}");
    }
    done(merge(&data, &["part2", "part1", "part3"], "merged"));
    same(&data.out("merged"), &data.out("whole"));
    complaints_name_what_does_not_fit(&data);
}

fn merge(data: &Data, parts: &[&str], out: &str) -> Command {
    let mut command = zal_export();
    command.args(["eval", "--merge"]).args(parts.iter().map(|part| data.out(part)));
    command.arg("--out").arg(data.out(out));
    command
}

fn complaints_name_what_does_not_fit(data: &Data) {
    let refused = |parts: &[&str], expected: &[&str]| {
        let output = merge(data, parts, "refused").output().expect("the program starts");
        assert_eq!(output.status.code(), Some(1));
        let words = words(&output);
        expected.iter().for_each(|part| assert!(words.contains(part), "{part}: {words}"));
        assert!(!data.out("refused/run.json").exists());
    };
    refused(&["part1", "part3"], &["missing shards: 2/3"]);
    refused(&["part1", "part2", "part2", "part3"], &["shard 2/3 is in both", "part2"]);
    refused(&["whole", "part1"], &["whole holds a whole evaluation"]);
    refused(&["part1", "part2", "nothing"], &["nothing is no finished evaluation"]);
    fs::create_dir(data.out("other")).expect("a folder");
    let edit = |from: &str, name: &str, old: &str, new: &str| {
        for file in ["run.json", "cells.csv"] {
            fs::copy(data.out(from).join(file), data.out("other").join(file)).expect("copied");
        }
        let path = data.out("other").join(name);
        let text = read(&path);
        assert!(text.contains(old), "{text}");
        fs::write(path, text.replacen(old, new, 1)).expect("written");
    };
    edit("part3", "run.json", "\"fraction\": 0.1", "\"fraction\": 0.2");
    refused(&["part1", "part2", "other"], &["another evaluation", "`fraction`", "0.2"]);
    // The row of ball on ring is in part 1 and, by hand, in part 3.
    let cells = read(&data.out("part1/cells.csv"));
    let row = cells.lines().nth(1).expect("a row");
    edit("part3", "cells.csv", "\nset,0,ring", &format!("\n{row}\nset,0,ring"));
    refused(&["part1", "part2", "other"], &["the cell", "training on ball", "with the same figures"]);
    let changed = row.replacen(",2,2,0,", ",1,2,0,", 1);
    edit("part3", "cells.csv", "\nset,0,ring", &format!("\n{changed}\nset,0,ring"));
    refused(&["part1", "part2", "other"], &["training on ball", "with different figures"]);
    let last = read(&data.out("part3/cells.csv")).lines().last().expect("a row").to_owned();
    edit("part3", "cells.csv", &format!("{last}\n"), "");
    refused(
        &["part1", "part2", "other"],
        &["1 cells are in no shard", "training on ring", "test class cone"],
    );
}

/// A generator for the moments of the kills: the same every time.
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn a_run_that_was_killed_again_and_again_ends_with_the_same_bytes() {
    let data = Data::new();
    let mut more = vec!["--training", "ring"];
    more.extend(SMALL_TRAINING);
    let start = std::time::Instant::now();
    done(data.eval("straight", &more));
    // Kills fall all over a run, however long the machine takes for it.
    let whole = u64::try_from(start.elapsed().as_millis()).expect("a short time").max(10);
    let (mut draws, mut kills) = (Draws(5), 0);
    let code = loop {
        let mut child = data.eval("killed", &more).spawn().expect("the program starts");
        if kills < 5 {
            std::thread::sleep(Duration::from_millis(draws.below(whole)));
            // On Unix this is SIGKILL; a run that has ended already is not to be killed.
            child.kill().expect("a signal can be sent");
            kills += 1;
        }
        let status = child.wait().expect("it ends");
        if let Some(code) = status.code() {
            break code;
        }
        assert!(!data.out("killed/run.json").exists(), "no record before the end");
    };
    assert_eq!(code, 0, "after {kills} kills");
    assert!(kills > 0);
    same(&data.out("killed"), &data.out("straight"));
    let trained = fs::read_dir(data.out("killed/trained")).expect("a folder");
    let folders = trained.map(|entry| entry.expect("an entry").path());
    assert_eq!(folders.filter(|path| path.extension().is_none()).count(), 1, "the training was kept once");
    let tables = read(&data.out("killed/tables.md"));
    assert!(tables.contains("Every value is zero-shot") && tables.contains("not comparable"), "{tables}");
    let record: serde_json::Value =
        serde_json::from_str(&read(&data.out("killed/run.json"))).expect("a record");
    for seen in record["seen"].as_array().expect("a list") {
        let pool = seen["pool"].as_array().expect("a list");
        let own = pool.contains(&seen["group"]["training"]);
        assert_eq!(own, seen["group"]["method"] == "3dzal", "the pool of a training is recorded: {seen}");
    }
}

/// Breaks the set, and gives what is to be said without and with `--keep-going`.
fn broken(data: &Data, expected: &[&str]) {
    let output = data.eval("out", &[]).output().expect("the program starts");
    let words_found = words(&output);
    assert_eq!(output.status.code(), Some(1), "{words_found}");
    expected.iter().for_each(|part| assert!(words_found.contains(part), "{part}: {words_found}"));
    assert!(words_found.contains("--keep-going"), "{words_found}");
    assert!(!data.out("out/cells.csv").exists() && !data.out("out/trained").exists(), "before any work");
}

/// Goes past what is broken: exit status 3, what was left out is listed, the rest is there.
fn gone_past(data: &Data, cell_count: usize, left_out: &[&str]) {
    let output = data.eval("past", &["--keep-going"]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    let cells = read(&data.out("past/cells.csv"));
    assert_eq!(cells.lines().count() - 1, cell_count, "{cells}");
    let tables = read(&data.out("past/tables.md"));
    let listed = tables.split("## Left out").nth(1).expect("the list");
    left_out.iter().for_each(|part| assert!(listed.contains(part), "{part}: {listed}"));
    let place = data.folder.path().display().to_string();
    assert!(!listed.contains(&place), "the same words on every machine: {listed}");
}

#[test]
fn a_missing_mask_costs_its_scan() {
    let data = Data::new();
    fs::remove_file(data.set().join("ring/test/bump/gt/000.png")).expect("removed");
    broken(&data, &["ring/test/bump/gt/000.png: found no file, expected the mask of"]);
    gone_past(&data, 6, &["set: one test scan of ring: set/ring/test/bump/gt/000.png"]);
    let cells = read(&data.out("past/cells.csv"));
    assert!(cells.contains("ring,2,1,0,"), "the other defective scan is judged: {cells}");
}

#[test]
fn a_scan_that_cannot_be_read_is_named_with_all_others_at_once() {
    let data = Data::new();
    let cut = data.set().join("cone/train/good/xyz/001.tiff");
    let bytes = fs::read(&cut).expect("a scan");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("cut");
    fs::write(data.set().join("ball/test/good/xyz/000.tiff"), "no tiff").expect("written");
    broken(&data, &["cone/train/good/xyz/001.tiff", "ball/test/good/xyz/000.tiff", "(2 findings)"]);
    // Nothing is trained on cone, as a training reads its class whole; one scan of ball is left out.
    gone_past(&data, 4, &["set: training on cone", "set: one test scan of ball"]);
    let cells = read(&data.out("past/cells.csv"));
    assert!(!cells.contains("set,0,cone") && cells.contains("cone,2,2,0,"), "{cells}");
}

#[test]
fn sizes_that_differ_are_said_with_both() {
    let data = Data::new();
    let small = generate(&SynthParams { height: 100, width: 110, ..SynthParams::new(Family::Cone, 1) });
    let other = data.folder.path().join("other");
    layout::write_scan(&other, Split::Test, "good", 0, &small).expect("written");
    let copy = |from: &str, to: &str| {
        fs::copy(other.join("test/good").join(from), data.set().join(to)).expect("copied");
    };
    copy("rgb/000.png", "cone/test/good/rgb/001.png");
    copy("gt/000.png", "ball/test/good/gt/001.png");
    broken(
        &data,
        &[
            "cone/test/good/rgb/001.png",
            "color_size",
            "ball/test/good/gt/001.png: found a mask of 100 x 110 pixels, expected 120 x 130",
        ],
    );
    gone_past(&data, 6, &["one test scan of cone", "one test scan of ball"]);
}

#[test]
fn a_class_without_defects_or_good_scans_is_no_test_class() {
    let data = Data::new();
    fs::remove_dir_all(data.set().join("ring/test/bump")).expect("removed");
    fs::remove_dir_all(data.set().join("cone/test/good")).expect("removed");
    broken(
        &data,
        &["ring/test: found no usable defective test scans", "cone/test: found no usable good test scans"],
    );
    // Ball alone is tested, after training on ring and cone.
    gone_past(&data, 2, &["set: testing on cone", "set: testing on ring"]);
}

#[test]
fn an_empty_class_and_a_file_in_place_of_a_folder_are_named() {
    let data = Data::new();
    fs::create_dir(data.set().join("gland")).expect("a folder");
    let xyz = data.set().join("cone/test/bump/xyz");
    fs::remove_dir_all(&xyz).expect("removed");
    fs::write(&xyz, "a file").expect("written");
    broken(
        &data,
        &[
            "gland: found an empty folder, expected a class",
            "cone/test/bump/xyz: found a file, expected a folder",
            "cone/test: found no usable defective test scans",
        ],
    );
    gone_past(&data, 4, &["set: training on gland", "set: testing on gland", "set: testing on cone"]);
}

#[test]
fn a_scan_of_nothing_but_nan_is_named() {
    let data = Data::new();
    let path = data.set().join("ball/test/bump/xyz/000.tiff");
    let file = fs::File::create(&path).expect("a file");
    let mut encoder = tiff::encoder::TiffEncoder::new(file).expect("a tiff");
    let values = vec![f32::NAN; 120 * 130 * 3];
    encoder.write_image::<tiff::encoder::colortype::RGB32Float>(130, 120, &values).expect("written");
    broken(&data, &["ball/test/bump/xyz/000.tiff", "all missing (15600 NaN", "nothing_measured"]);
    gone_past(&data, 6, &["one test scan of ball"]);
}

#[test]
fn masks_that_contradict_their_folder_are_named() {
    let data = Data::new();
    let (good, bump) =
        (data.set().join("ring/test/good/gt/000.png"), data.set().join("ring/test/bump/gt/000.png"));
    let (zeros, marked) = (fs::read(&good).expect("a mask"), fs::read(&bump).expect("a mask"));
    fs::write(&good, marked).expect("written");
    fs::write(&bump, zeros).expect("written");
    broken(
        &data,
        &["good/gt/000.png: found a mask with marked pixels", "bump/gt/000.png: found a mask of zeros"],
    );
}

#[test]
fn what_is_asked_for_and_not_there_is_named() {
    let data = Data::new();
    let refused = |more: &[&str], expected: &[&str]| {
        let output = data.eval("out", more).output().expect("the program starts");
        let words = words(&output);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{words}");
        expected.iter().for_each(|part| assert!(words.contains(part), "{part}: {words}"));
    };
    refused(&["--training", "rope"], &["no class `rope`", "ball, cone, ring"]);
    refused(&["--test", "rope"], &["no class `rope`"]);
    refused(&["--training", "ring", "--test", "ring"], &["no test class beside it"]);
    refused(&["--training", "ring,ring"], &["twice"]);
    refused(&["--seeds", "1,1"], &["each seed once"]);
    refused(&["--methods", "3dsr"], &["`3dsr`", "3dzal"]);
    refused(&["--shard", "4/3"], &["4/3"]);
    refused(&["--set", "epoch=3"], &["unknown field `epoch`"]);
    refused(&["--set", "seed=3"], &["--seeds"]);
    let file = data.folder.path().join("file");
    fs::write(&file, "no folder").expect("written");
    let mut command = zal_export();
    command.arg("eval").arg("--data").arg(&file).arg("--out").arg(data.out("out"));
    let output = command.output().expect("the program starts");
    assert!(
        words(&output).contains("file: found a file, expected the folder of a data set"),
        "{}",
        words(&output)
    );
}

#[test]
fn a_test_class_that_was_seen_is_not_called_zero_shot() {
    let data = Data::new();
    // A training scan of ring is a test scan of cone too.
    for (kind, ending) in [("xyz", "tiff"), ("rgb", "png")] {
        let path = |class: &str, split: &str| {
            data.set().join(class).join(split).join("good").join(kind).join(format!("000.{ending}"))
        };
        fs::copy(path("ring", "train"), path("cone", "test")).expect("copied");
    }
    done(data.eval("out", &[]));
    let tables = read(&data.out("out/tables.md"));
    assert!(tables.contains("**Not zero-shot**"), "{tables}");
    let why = "† without, training on ring, test class cone: cone/test/good/000 has the bytes of the training scan \
               ring/train/good/000";
    assert!(tables.contains(why), "{tables}");
    let rows: Vec<&str> = tables.lines().filter(|line| line.starts_with("| ring |")).collect();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.contains('†')), "{rows:?}");
    let ball = tables.lines().find(|line| line.starts_with("| ball |")).expect("a row");
    assert!(!ball.contains('†'), "{ball}");
    let csv = read(&data.out("out/tables.csv"));
    assert!(csv.lines().any(|line| line.contains(",ring,") && line.ends_with(",cone")), "{csv}");
}

#[test]
fn pseudo_anomalies_of_other_classes_are_said() {
    let data = Data::new();
    let mut more = vec!["--training", "ring", "--test", "cone", "--set", "pool=paper_like"];
    more.extend(SMALL_TRAINING);
    done(data.eval("out", &more));
    let tables = read(&data.out("out/tables.md"));
    assert!(tables.contains("Every value is zero-shot"), "cone is in no pool: {tables}");
    assert!(tables.contains("Pool `paper_like`") && tables.contains("(ball)"), "{tables}");
}
