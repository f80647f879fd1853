//! `zal-export backbone --int8`: through the real binary, and the graph in both engines.
//!
//! ONNX Runtime takes part when `ORT_DYLIB_PATH` names its library; without it those tests say that they were
//! skipped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a skipped test must say so")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::{Array4, ArrayD};
use prost::Message;
use serde_json::Value;
use zal::contract::RGB;
use zal::engine::{EngineChoice, EngineOptions, Input, Provider};
use zal::features::rgb::input_tensor;
use zal::preprocess::{PreprocessParams, prepare};
use zal::synth::{Family, SynthParams, generate};
use zal_export::graphs::resnet::{ResnetArch, ResnetWeights, resnet_model};
use zal_export::onnx::WeightStorage;
use zal_export::onnx::import::{OutputNames, import_backbone};
use zal_export::onnx::proto::ModelProto;
use zal_export::onnx::quantize::quantize;
use zal_export::weights::seeded::SeededWeights;

fn export(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zal-export"));
    command.args(arguments).current_dir(folder).env_remove("ORT_DYLIB_PATH").output().unwrap()
}

fn refusal(arguments: &[&str], folder: &Path) -> String {
    let output = export(arguments, folder);
    assert!(!output.status.success(), "{arguments:?} must fail");
    String::from_utf8(output.stderr).unwrap()
}

fn synth(folder: &Path) {
    let made = ["synth", "--out", "data", "--families", "ring,gland", "--train", "2", "--test", "0"];
    assert!(export(&made, folder).status.success());
}

const INT8: [&str; 8] = ["backbone", "--arch", "resnet18", "--seed", "1", "--int8", "--json", "--out"];

#[test]
fn the_command_measures_what_it_changed_and_writes_it_down() {
    let folder = tempfile::tempdir().unwrap();
    synth(folder.path());
    let run = |out: &'static str| {
        let output = export(&[&INT8[..], &[out, "--calibrate", "data"]].concat(), folder.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let report = run("q.onnx");
    let int8 = &report["int8"];
    assert_eq!((int8["quantized_count"].as_u64(), int8["matrix_count"].as_u64()), (Some(14), Some(15)));
    assert_eq!((int8["calibration_count"].as_u64(), int8["held_out_count"].as_u64()), (Some(3), Some(1)));
    let deviation = &int8["engines"][0]["deviation"];
    for output in ["stride8", "stride16"] {
        let number = |key: &str| deviation[output][key].as_f64().unwrap();
        assert!((0.001..0.1).contains(&number("relative_l2")), "{deviation}");
        assert!((0.99..0.999_999).contains(&number("cosine_mean")), "{deviation}");
        assert!(number("cosine_min") <= number("cosine_mean"), "{deviation}");
    }
    assert!(deviation["same_nearest_share"].as_f64().unwrap() > 0.7, "{deviation}");

    let model = zal_export::onnx::read(&folder.path().join("q.onnx")).unwrap();
    let find =
        |key: &str| model.metadata_props.iter().find(|p| p.key == key).map(|p| p.value.as_str()).unwrap();
    assert!(find("zal.weights").contains("8 bits, static, calibrated on 3 scans"), "{}", find("zal.weights"));
    assert_eq!(&serde_json::from_str::<Value>(find("zal.int8")).unwrap(), deviation);
    assert!(find("zal.command").contains("--int8"));
    let size = report["size_bytes"].as_u64().unwrap();
    assert!((2_700_000..3_000_000).contains(&size), "{size} bytes, a quarter of 11.1 million");
}

#[test]
fn what_cannot_be_calibrated_with_is_named() {
    let folder = tempfile::tempdir().unwrap();
    synth(folder.path());
    let with =
        |calibrate: &[&'static str]| refusal(&[&INT8[..], &["q.onnx"], calibrate].concat(), folder.path());
    assert!(with(&[]).contains("--calibrate"));
    let one = with(&["--calibrate", "data/ring/train/good/xyz/000.tiff"]);
    assert!(one.contains("found 1 scan, expected at least 2"), "{one}");
    let bare = folder.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    assert!(
        with(&["--calibrate", "bare"]).contains("holds neither classes nor training scans nor scan files")
    );
    for number in ["000", "001"] {
        let name = format!("{number}.tiff");
        std::fs::copy(folder.path().join("data/ring/train/good/xyz").join(&name), bare.join(&name)).unwrap();
    }
    let colourless = with(&["--calibrate", "bare"]);
    assert!(colourless.contains("000.tiff has no colour"), "{colourless}");
    assert!(with(&["--calibrate", "data", "--weights", "f16"]).contains("cannot be used with"));
    assert!(!folder.path().join("q.onnx").exists(), "nothing is written");
}

fn frames() -> Vec<Array4<f32>> {
    let frame = |family: Family| {
        let scan = generate(&SynthParams::new(family, 5)).scan;
        input_tensor(&prepare(&scan, &PreprocessParams::line()).unwrap().color.unwrap())
    };
    [Family::Ring, Family::Tyre, Family::Gland].map(frame).into()
}

fn run(model: &ModelProto, image: &Array4<f32>, options: &EngineOptions) -> Vec<ArrayD<f32>> {
    let mut engine = zal::engine::load(&RGB, &model.encode_to_vec(), options).unwrap();
    engine.run(&[Input::F32(image.view().into_dyn())]).unwrap()
}

fn tract() -> EngineOptions {
    EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() }
}

fn runtime() -> Option<EngineOptions> {
    let library = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    if library.is_none() {
        eprintln!("skipped: ORT_DYLIB_PATH is not set, so ONNX Runtime is not at hand");
    }
    Some(EngineOptions {
        choice: EngineChoice::Onnxruntime,
        runtime_library: Some(library?),
        providers: vec![Provider::Cpu],
        ..EngineOptions::default()
    })
}

fn relative_l2(found: &ArrayD<f32>, expected: &ArrayD<f32>) -> f64 {
    let square = |sum: f64, value: f64| sum + value * value;
    let apart = found.iter().zip(expected).map(|(a, b)| f64::from(a - b)).fold(0.0, square);
    (apart / expected.iter().map(|v| f64::from(*v)).fold(0.0, square)).sqrt()
}

/// Quantised on two frames, compared on the third; the engines must agree far better than 8 bits do.
fn assert_quantises(model: &ModelProto, limit: f64) {
    let frames = frames();
    let quantized = quantize(model.clone(), &RGB, &frames[..2]).unwrap();
    let expected = run(model, &frames[2], &tract());
    let embedded = run(&quantized.model, &frames[2], &tract());
    for (found, expected) in embedded.iter().zip(&expected) {
        let apart = relative_l2(found, expected);
        assert!(apart > 0.001 && apart < limit, "{apart}");
    }
    let Some(runtime) = runtime() else { return };
    for (found, embedded) in run(&quantized.model, &frames[2], &runtime).iter().zip(&embedded) {
        // A value between two codes may fall to either side; the integers themselves are exact in both.
        let apart = relative_l2(found, embedded);
        assert!(apart < limit / 4.0, "ONNX Runtime and tract differ by {apart}");
    }
}

#[test]
fn a_seeded_network_runs_alike_in_both_engines() {
    let weights = ResnetWeights::Seeded(SeededWeights::new(1));
    let model = resnet_model(ResnetArch::Resnet18, weights, WeightStorage::F32, Vec::new()).unwrap();
    assert_quantises(&model, 0.1);
}

#[test]
fn the_given_imagenet_backbone_runs_alike_in_both_engines() {
    let Some(shared) = std::env::var_os("ZAL_SHARED") else {
        eprintln!("skipped: ZAL_SHARED is not set, so the ImageNet backbone is not at hand");
        return;
    };
    let source =
        zal_export::onnx::read(&Path::new(&shared).join("data/weights/resnet50v2_stages123.onnx")).unwrap();
    let names = OutputNames { stride8: "stage2", stride16: "stage3" };
    let model = import_backbone(source, &names, WeightStorage::F32, Vec::new()).unwrap();
    assert_quantises(&model, 0.2);
}
