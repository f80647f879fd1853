//! Both engines on real graphs: against published values, and against each other.
//!
//! ONNX Runtime is used when its library is found as `zal` finds it (`ORT_DYLIB_PATH`, then
//! what `zal setup-runtime` installed, then the system); without it those tests say that
//! they were skipped.
#![expect(clippy::print_stderr, reason = "a skipped test must say so")]

use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::{Array, ArrayD};
use serde_json::Value;
use zal::contract::{Dim, Dtype, GraphContract, NORMALCY, POINTNET, RGB, TensorContract};
use zal::engine::{Engine, EngineChoice, EngineError, EngineOptions, Input, Provider, load};
use zal::features::pointnet;

/// Largest difference between two engines, relative to the largest value of the output.
const TOLERANCE: f32 = 1e-4;

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The library that `zal` itself would take.
fn runtime_library() -> Option<PathBuf> {
    let output = Command::new(env!("CARGO_BIN_EXE_zal"))
        .args(["setup-runtime", "--dry-run", "--json"])
        .output()
        .expect("the binary runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let library = report["found"]["library"].as_str().map(PathBuf::from);
    if library.is_none() {
        eprintln!(
            "SKIPPED: no ONNX Runtime library was found (set ORT_DYLIB_PATH or run `zal setup-runtime`)"
        );
    }
    library
}

fn tract(contract: &GraphContract, onnx: &[u8]) -> Box<dyn Engine> {
    let options = EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() };
    load(contract, onnx, &options).expect("tract takes the graph")
}

fn onnxruntime(contract: &GraphContract, onnx: &[u8], library: &Path) -> Box<dyn Engine> {
    let options = EngineOptions {
        choice: EngineChoice::Onnxruntime,
        runtime_library: Some(library.into()),
        ..EngineOptions::default()
    };
    load(contract, onnx, &options).expect("ONNX Runtime takes the graph")
}

/// `sin(i * step)`, the inputs that the published values were computed from.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the formula of the golden values"
)]
fn wave(shape: &[usize], step: f64) -> ArrayD<f32> {
    let values = (0..shape.iter().product()).map(|i: usize| (i as f64 * step).sin() as f32).collect();
    Array::from_shape_vec(shape.to_vec(), values).expect("the values fill the shape")
}

/// Three patches' indices, each within its own 32 rows.
fn indices() -> ArrayD<i64> {
    let values = (0..3_i64 * 128).map(|i| i * 7 % 32 + i / 128 * 32).collect();
    Array::from_shape_vec(vec![3, 8, 16], values).expect("the values fill the shape")
}

/// The fixture graphs with the inputs of their published values.
fn run_fixture(name: &str, engine: &mut dyn Engine) -> Vec<ArrayD<f32>> {
    let (g1, g2) = (wave(&[3, 32, 16, 3], 0.37), wave(&[3, 8, 16, 3], 0.53));
    let (image, points, i2) = (wave(&[2, 3, 224, 224], 0.37), wave(&[3, 64, 3], 0.37), indices());
    let inputs = match name {
        "rgb" => vec![Input::F32(image.view())],
        "pointnet" => vec![Input::F32(g1.view()), Input::F32(g2.view()), Input::I64(i2.view())],
        _ => vec![Input::F32(points.view())],
    };
    engine.run(&inputs).expect("the fixture runs")
}

const FIXTURES: [(&str, &GraphContract); 3] =
    [("rgb", &RGB), ("pointnet", &POINTNET), ("normalcy", &NORMALCY)];

fn max_abs(values: &ArrayD<f32>) -> f32 {
    values.iter().fold(0.0, |max, v| max.max(v.abs()))
}

fn assert_close(found: &ArrayD<f32>, expected: &ArrayD<f32>, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let scale = max_abs(expected);
    assert!(scale > 0.0, "{what}: the reference says nothing");
    let worst = max_abs(&(found - expected));
    assert!(worst <= TOLERANCE * scale, "{what}: off by {worst}, the largest value is {scale}");
}

fn assert_published(name: &str, contract: &GraphContract, outputs: &[ArrayD<f32>]) {
    let published: Value = serde_json::from_slice(&golden("engines.json")).expect("JSON");
    for (output, tensor) in outputs.iter().zip(contract.outputs) {
        let expected = &published[name][tensor.name];
        let shape: Vec<u64> = serde_json::from_value(expected["shape"].clone()).expect("a shape");
        assert!(output.shape().iter().map(|size| *size as u64).eq(shape), "{name} {}", tensor.name);
        let stride = usize::try_from(expected["stride"].as_u64().expect("a stride")).expect("small");
        let values: Vec<f32> = serde_json::from_value(expected["values"].clone()).expect("values");
        let found: Vec<f32> = output.iter().copied().step_by(stride).collect();
        assert_close(&Array::from(found).into_dyn(), &Array::from(values).into_dyn(), tensor.name);
    }
}

#[test]
fn tract_gives_the_published_values() {
    for (name, contract) in FIXTURES {
        let mut engine = tract(contract, &golden(&format!("{name}.onnx")));
        assert_published(name, contract, &run_fixture(name, &mut *engine));
    }
}

#[test]
fn a_patch_is_described_alike_in_any_batch() {
    let mut engine = tract(&POINTNET, &golden("pointnet.onnx"));
    let points = wave(&[70, 64, 3], 0.37).into_dimensionality().expect("three axes");
    let all = pointnet::describe(&mut *engine, &points).expect("runs").rows;
    assert_eq!(all.dim(), (70, 9));
    let last = points.slice(ndarray::s![69.., .., ..]).to_owned();
    let alone = pointnet::describe(&mut *engine, &last).expect("runs").rows;
    assert_close(
        &alone.into_dyn(),
        &all.slice(ndarray::s![69.., ..]).to_owned().into_dyn(),
        "the last patch",
    );
    assert!(max_abs(&(&all.row(0) - &all.row(69)).into_dyn()) > 0.0, "different patches differ");
}

#[test]
fn onnxruntime_gives_the_published_values_and_agrees_with_tract() {
    let Some(library) = runtime_library() else { return };
    for (name, contract) in FIXTURES {
        let onnx = golden(&format!("{name}.onnx"));
        let (mut ours, mut embedded) = (onnxruntime(contract, &onnx, &library), tract(contract, &onnx));
        let outputs = run_fixture(name, &mut *ours);
        assert_published(name, contract, &outputs);
        for (a, b) in outputs.iter().zip(run_fixture(name, &mut *embedded)) {
            assert_close(&b, a, name);
        }
    }
}

#[test]
fn the_report_names_what_runs_and_why_not_something_better() {
    let Some(library) = runtime_library() else { return };
    let engine = onnxruntime(&RGB, &golden("rgb.onnx"), &library);
    let report = engine.report();
    assert_eq!(report.engine, "onnxruntime");
    assert!(report.version.starts_with("1."), "{}", report.version);
    let rung =
        ["tensorrt", "cuda", "cpu"].iter().position(|name| *name == report.provider).expect("a provider");
    assert_eq!(report.passed_over.len(), rung, "{:?}", report.passed_over);
    for (reason, provider) in report.passed_over.iter().zip(["tensorrt: ", "cuda: "]) {
        assert!(reason.starts_with(provider) && reason.len() > provider.len(), "{reason}");
    }
}

#[test]
fn a_ladder_without_a_working_rung_fails_or_falls_back() {
    let Some(library) = runtime_library() else { return };
    let mut options = EngineOptions {
        choice: EngineChoice::Onnxruntime,
        runtime_library: Some(library.clone()),
        providers: vec![Provider::Tensorrt, Provider::Cuda],
        ..EngineOptions::default()
    };
    match load(&RGB, &golden("rgb.onnx"), &options) {
        Ok(engine) => {
            assert_ne!(engine.report().provider, "cpu", "a GPU runs here, the CPU was not asked for")
        }
        Err(EngineError::NoProvider { reasons, .. }) => {
            assert_eq!(reasons.len(), 2);
            options.choice = EngineChoice::Auto;
            let engine = load(&RGB, &golden("rgb.onnx"), &options).expect("tract takes it");
            assert_eq!((engine.report().engine.as_str(), &engine.report().passed_over), ("tract", &reasons));
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_broken_contract_is_refused_by_the_runtime_too() {
    let Some(library) = runtime_library() else { return };
    let options = EngineOptions { runtime_library: Some(library), ..EngineOptions::default() };
    let error = load(&NORMALCY, &golden("rgb.onnx"), &options).err().expect("refused");
    assert_eq!(error.to_string(), "graph `normalcy`: its inputs are [image], expected [points]");
}

#[test]
fn a_second_runtime_library_is_refused() {
    let Some(library) = runtime_library() else { return };
    drop(onnxruntime(&RGB, &golden("rgb.onnx"), &library));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("libonnxruntime.so");
    std::fs::copy(&library, &copy).expect("copies");
    let options = EngineOptions {
        choice: EngineChoice::Onnxruntime,
        runtime_library: Some(copy),
        ..EngineOptions::default()
    };
    let error = load(&RGB, &golden("rgb.onnx"), &options).err().expect("refused");
    assert!(matches!(error, EngineError::OtherRuntimeLibrary { .. }), "{error}");
}

/// The given ImageNet backbone under its own names: stem and three stages.
const RESNET_STAGES: GraphContract = GraphContract {
    name: "resnet stages",
    inputs: &[tensor("input", &[Dim::Batch, Dim::Fixed(3), Dim::Fixed(224), Dim::Fixed(224)])],
    outputs: &[
        tensor("stage1", &[Dim::Batch, Dim::Fixed(256), Dim::Fixed(56), Dim::Fixed(56)]),
        tensor("stage2", &[Dim::Batch, Dim::Fixed(512), Dim::Fixed(28), Dim::Fixed(28)]),
        tensor("stage3", &[Dim::Batch, Dim::Fixed(1024), Dim::Fixed(14), Dim::Fixed(14)]),
    ],
    batch_size: 1,
};

const fn tensor(name: &'static str, dims: &'static [Dim]) -> TensorContract {
    TensorContract { name, dtype: Dtype::F32, dims }
}

#[test]
fn both_engines_agree_on_a_real_backbone() {
    let Some(shared) = std::env::var_os("ZAL_SHARED").map(PathBuf::from) else {
        eprintln!("SKIPPED: ZAL_SHARED does not name the shared data");
        return;
    };
    let path = shared.join("data/weights/resnet50v2_stages123.onnx");
    let onnx = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let image = wave(&[1, 3, 224, 224], 0.037);
    let inputs = [Input::F32(image.view())];
    let embedded = tract(&RESNET_STAGES, &onnx).run(&inputs).expect("tract runs it");
    assert_eq!(embedded.len(), 3);
    let Some(library) = runtime_library() else { return };
    let outputs = onnxruntime(&RESNET_STAGES, &onnx, &library).run(&inputs).expect("ONNX Runtime runs it");
    for ((a, b), tensor) in outputs.iter().zip(&embedded).zip(RESNET_STAGES.outputs) {
        assert_close(b, a, tensor.name);
    }
}
