//! `zal-export train` and `make` as processes: same seed same bytes, killed and resumed, from scans to a bundle that
//! judges.
#![allow(clippy::unwrap_used, reason = "a failed test says where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Small enough for a test: one framing, a handful of steps.
const SETTINGS: &str = r#"
epochs = 4
batch_patches = 64
patches_per_frame = 32
frames = ["line"]
pool_scans = 1
pool_own_scans = 1
epsilons = [0.0, 0.01, -0.01]
"#;

fn zal_export(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zal-export"));
    command.args(args);
    command
}

fn run(args: &[&str]) -> Output {
    zal_export(args).output().unwrap()
}

fn run_well(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A data set of two families and the settings beside it.
fn data_set(root: &Path) -> (PathBuf, PathBuf) {
    let data = root.join("data");
    let sizes = ["--train", "5", "--test", "2", "--size", "160x160", "--seed", "3"];
    let mut args = vec!["synth", "--out", data.to_str().unwrap(), "--families", "ring,tuber"];
    args.extend(sizes);
    run_well(&args);
    let settings = root.join("settings.toml");
    fs::write(&settings, SETTINGS).unwrap();
    (data, settings)
}

fn train_args<'a>(data: &'a Path, settings: &'a Path, out: &'a Path) -> Vec<&'a str> {
    let [data, settings, out] = [data, settings, out].map(|p| p.to_str().unwrap());
    vec!["train", "--data", data, "--class", "ring", "--params", settings, "--seed", "5", "--out", out]
}

const ARTIFACTS: [&str; 4] = ["pointnet.onnx", "normalcy.onnx", "training.json", "training.html"];

fn artifacts(folder: &Path) -> Vec<Vec<u8>> {
    ARTIFACTS.iter().map(|name| fs::read(folder.join(name)).unwrap()).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_killed_or_not() {
    let root = TempDir::new().unwrap();
    let (data, settings) = data_set(root.path());
    let [whole, killed, other] = ["whole", "killed", "other"].map(|name| root.path().join(name));
    run_well(&train_args(&data, &settings, &whole));

    // SIGKILL once after the first epoch's checkpoint, again after the second's.
    for _ in 0..2 {
        let checkpoint = killed.join("checkpoint.safetensors");
        let before = fs::read(&checkpoint).ok();
        let mut child =
            zal_export(&train_args(&data, &settings, &killed)).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while fs::read(&checkpoint).ok() == before && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(300), "no checkpoint came");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(checkpoint.exists());
    }
    let output = run(&train_args(&data, &settings, &killed));
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("going on after epoch"), "{said}");
    for (name, (a, b)) in ARTIFACTS.iter().zip(artifacts(&whole).iter().zip(&artifacts(&killed))) {
        assert!(a == b, "{name} differs after a kill");
    }

    let mut args = train_args(&data, &settings, &other);
    args[8] = "6";
    run_well(&args);
    assert!(artifacts(&whole)[0] != artifacts(&other)[0], "another seed gives another network");
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let root = TempDir::new().unwrap();
    let (data, settings) = data_set(root.path());
    let out = root.path().join("out");
    run_well(&train_args(&data, &settings, &out));
    let mut args = train_args(&data, &settings, &out);
    args[8] = "6";
    let output = run(&args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("other settings"), "{said}");

    let checkpoint = out.join("checkpoint.safetensors");
    let bytes = fs::read(&checkpoint).unwrap();
    for end in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&checkpoint, &bytes[..end]).unwrap();
        let output = run(&train_args(&data, &settings, &out));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("not a checkpoint"), "{end} bytes: {said}");
    }
}

#[test]
fn bad_scans_and_settings_are_named_before_anything_is_trained() {
    let root = TempDir::new().unwrap();
    let (data, settings) = data_set(root.path());
    let out = root.path().join("out");
    let refused = |args: &[&str]| {
        let output = run(args);
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let mut args = train_args(&data, &settings, &out);
    args[4] = "rung";
    assert!(refused(&args).contains("no class `rung`"));

    for (text, wanted) in [
        ("epoch = 3", "epoch"),
        ("epochs = 0", "`epochs`"),
        ("batch_patches = 7", "even"),
        ("temperature = -1.0", "`temperature`"),
        ("[pseudo.patch]\nstride_px = 9", "stride"),
    ] {
        fs::write(&settings, text).unwrap();
        let said = refused(&train_args(&data, &settings, &out));
        assert!(said.contains(wanted), "{text}: {said}");
    }
    fs::write(&settings, SETTINGS).unwrap();
    let broken = data.join("ring/train/good/xyz/002.tiff");
    let bytes = fs::read(&broken).unwrap();
    fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let said = refused(&train_args(&data, &settings, &out));
    assert!(said.contains("002.tiff"), "{said}");
    assert!(!out.join("checkpoint.safetensors").exists(), "nothing was trained");
}

#[test]
fn one_command_makes_a_bundle_that_judges_another_family() {
    let root = TempDir::new().unwrap();
    let (data, settings) = data_set(root.path());
    let bundle = root.path().join("ring.zalb");
    let [d, s, b] = [&data, &settings, &bundle].map(|p| p.to_str().unwrap());
    run_well(&["make", "--data", d, "--class", "ring", "--params", s, "--rows-max", "200", "--out", b]);

    let keys = zal::bundle::TrustedKeys::new(&[]).unwrap();
    let bundle = zal::bundle::Bundle::open(&bundle, &keys).unwrap();
    let manifest = bundle.manifest();
    assert!(
        manifest.provenance.weights["pointnet.onnx"].contains("trained on ring"),
        "{:?}",
        manifest.provenance
    );
    assert!(manifest.provenance.data["training settings"].contains("\"epochs\":4"));
    assert_eq!(manifest.golden.len(), 1);
    let scan =
        zal::scan::read(&data.join("tuber/test/good/xyz/000.tiff"), &zal::scan::SensorProfile::default())
            .unwrap();
    for mode in [zal::detector::Mode::Line, zal::detector::Mode::Paper] {
        let options = zal_export::bank_build::embedded_engine();
        let mut detector = bundle.detector(mode, &options).unwrap();
        assert!(bundle.golden_test(&mut detector).unwrap().iter().all(zal::bundle::GoldenOutcome::passed));
        let detection = detector.detect(&scan);
        assert!(detection.score.is_some_and(f32::is_finite), "{:?}", detection.reasons);
    }
}
