//! `zal-export gate` through the real binary: the demo bundle on a small procedural data set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use zal::bundle::{Bundle, Manifest, TrustedKeys};
use zal::detector::Mode;
use zal::engine::{EngineChoice, EngineOptions};
use zal::scan::read;
use zal_export::gate::judgement_for;
use zal_export::gate::record::GateRecord;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/demo.zalb")
}

fn open_demo() -> Bundle {
    Bundle::open(&demo(), &TrustedKeys::new(&[]).expect("no keys")).expect("the demo bundle")
}

/// Runs a command; what it says on both streams.
fn export(arguments: &[&str], folder: &Path) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zal-export"));
    let output = command.args(arguments).current_dir(folder).env_remove("ORT_DYLIB_PATH").output();
    let output = output.expect("the command starts");
    let words = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&words).into_owned())
}

fn gate(arguments: &[&str], folder: &Path) -> (bool, String) {
    let bundle = demo().to_string_lossy().into_owned();
    export(&[&["gate", "--bundle", &bundle, "--data", "data", "--out", "out"], arguments].concat(), folder)
}

/// A data set of two families: one in the demo bundle's bank, one not.
fn data_set(folder: &Path) {
    let arguments =
        ["synth", "--out", "data", "--families", "block,tuber", "--train", "1", "--test", "4", "--seed", "5"];
    let (done, words) = export(&arguments, folder);
    assert!(done, "{words}");
}

#[test]
fn the_demo_bundle_is_judged_as_the_detector_judges() {
    let folder = tempfile::tempdir().expect("a folder");
    data_set(folder.path());
    let (done, words) = gate(&["--mode", "line"], folder.path());
    assert!(done, "{words}");
    let out = folder.path().join("out");
    let text = |name: &str| fs::read_to_string(out.join(name)).expect(name);
    let record = GateRecord::read(&out.join("gate.json")).expect("a record");
    check_marks(&record);
    check_scores(&text("scans.csv"), folder.path());
    let rows: Vec<String> = text("cells.csv").lines().map(str::to_owned).collect();
    assert_eq!(rows.len(), 1 + record.judgement.classes.len(), "a row a class");
    assert!(rows[0].starts_with("data_set,seed,training,arm,mode,test_class,ok_scans"), "{}", rows[0]);
    assert!(text("curves.csv").lines().any(|row| row.contains(",pro_fg,")));
    assert!(text("timing.txt").contains("total"));
    let page = text("report.html");
    assert!(page.contains("Table 1. AUPRO in %") && page.contains("Overview"), "the tables are there");
    check_fit(&out.join("gate.json"));
}

/// Classes in the bundle's bank, and no others, are marked as not zero-shot.
fn check_marks(record: &GateRecord) {
    let bundle = open_demo();
    let bank_of = |mode: Mode| bundle.manifest().mode(mode).expect("the mode").bank.clone();
    let bank = zal::bank::file::read(&bundle.read(&bank_of(Mode::Line)).expect("read")).expect("a bank");
    for judged in &record.judgement.classes {
        let in_bank = bank.scans.iter().any(|scan| scan.starts_with(&format!("{}/", judged.class)));
        assert_eq!(judged.zero_shot, !in_bank, "{}", judged.class);
        assert_eq!(record.trained_on.contains(&judged.class), in_bank);
        assert!(judged.good_scans > 0 && judged.defective_scans > 0, "{judged:?}");
        let aupro = judged.figures.get("aupro_fg_published_0.3").expect("there are defects");
        assert!((0.0..=1.0).contains(aupro));
    }
    assert_eq!(record.judgement.data, "data");
    assert_eq!(record.judgement.data_sha256.len(), 64);
}

/// A scan's score is what the detector gives.
fn check_scores(scans: &str, folder: &Path) {
    let bundle = open_demo();
    let engine = EngineOptions { choice: EngineChoice::Tract, threads: 1, ..EngineOptions::default() };
    let mut detector = bundle.detector(Mode::Line, &engine).expect("mode line");
    let row = scans.lines().find(|row| row.contains(",true,")).expect("a defective scan");
    let fields: Vec<&str> = row.split(',').collect();
    let (place, number) = fields[6].rsplit_once('/').expect("class/test/defect/number");
    let path = folder.join("data").join(place).join("xyz").join(format!("{number}.tiff"));
    let scan = read(&path, &bundle.manifest().sensor).expect("a scan");
    let expected = detector.detect(&scan).score.expect("a score");
    let found: f32 = fields[8].parse().expect("a score");
    assert!((found - expected).abs() < 1e-4, "{}: found {found}, expected {expected}", fields[6]);
}

/// The figures go into the provenance of the same graphs, banks and settings, and of no others.
fn check_fit(path: &Path) {
    let manifest: Manifest = open_demo().manifest().clone();
    let judgement = judgement_for(path, &manifest).expect("the bundle that was judged");
    let mut packed = manifest.clone();
    packed.provenance.judged.push(judgement);
    let text = serde_json::to_vec(&packed).expect("a manifest");
    assert_eq!(Manifest::parse(&text).expect("it is read again"), packed);
    let refused =
        |manifest: &Manifest| format!("{:#}", judgement_for(path, manifest).expect_err("another bundle"));
    let mut other = manifest.clone();
    other.files.iter_mut().filter(|f| f.path == "line.bank").for_each(|f| f.sha256 = "0".repeat(64));
    assert!(refused(&other).contains("another line.bank"), "{}", refused(&other));
    let mut other = manifest.clone();
    other.modes[0].params.map_sigma_px += 1.0;
    assert!(refused(&other).contains("other settings"), "{}", refused(&other));
    fs::write(path, b"{}").expect("written");
    assert!(refused(&manifest).contains("not the record of a gate"));
}

#[test]
fn what_cannot_be_judged_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    data_set(folder.path());
    let refused = |arguments: &[&str]| {
        let (done, words) = gate(arguments, folder.path());
        assert!(!done, "{arguments:?} was not refused");
        words
    };
    assert!(refused(&["--class", "rope"]).contains("no class `rope`; it has block, tuber"));
    assert!(refused(&["--mode", "fast"]).contains("expected `line` or `paper`"));
    let gt = folder.path().join("data/block/test/good/gt");
    let mask = fs::read_dir(&gt).expect("masks").next().expect("one").expect("readable").path();
    let bytes = fs::read(&mask).expect("a mask");
    fs::write(&mask, &bytes[..bytes.len() / 2]).expect("written");
    let words = refused(&["--class", "block", "--mode", "line"]);
    assert!(words.contains("the mask") && words.contains("good/gt"), "{words}");
    fs::remove_dir_all(folder.path().join("data/tuber/test")).expect("removed");
    let words = refused(&["--class", "tuber"]);
    assert!(words.contains("tuber has no test scans"), "{words}");
    fs::write(folder.path().join("broken.zalb"), b"no bundle").expect("written");
    let arguments = ["gate", "--bundle", "broken.zalb", "--data", "data", "--out", "out"];
    let (done, words) = export(&arguments, folder.path());
    assert!(!done && words.contains("broken.zalb cannot be judged"), "{words}");
}
