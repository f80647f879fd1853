//! The networks in training: the fused passes against the framework's, and the framework's against the graphs that
//! are written.
#![allow(clippy::unwrap_used, reason = "a failed test says where")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array2, Array3};
use prost::Message;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zal::contract::{GraphContract, NORMALCY, POINTNET};
use zal::engine::{self, EngineChoice, EngineOptions, Input};
use zal::features::pointnet::group;
use zal_export::graphs::layer::Linear;
use zal_export::graphs::normalcy::{NormalcyWeights, normalcy_model};
use zal_export::graphs::pointnet::{PointNetWeights, pointnet_model};
use zal_export::networks::normalcy::Normalcy;
use zal_export::networks::pointnet::{GroupingRows, PointNet};
use zal_export::networks::{elements, fused};
use zal_export::onnx::WeightStorage;
use zal_export::onnx::proto::ModelProto;

/// More than one chunk, and the last one not full.
const PATCHES: usize = fused::CHUNK_PATCHES + 5;

fn number(rng: &mut ChaCha8Rng) -> f32 {
    f32::from(u16::try_from(rng.next_u32() >> 16).unwrap()) / 32768.0 - 1.0
}

fn patches(seed: u64) -> Array3<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut points = Array3::from_shape_simple_fn((PATCHES, 64, 3), || number(&mut rng));
    // A patch with few measured points repeats them: ties for every maximum.
    let few = points.slice(ndarray::s![2, ..20, ..]).to_owned();
    (20..64).for_each(|i| points.slice_mut(ndarray::s![2, i, ..]).assign(&few.row(i % 20)));
    points
}

fn rows(points: &Array3<f32>) -> Array2<f32> {
    points.to_shape((PATCHES * 64, 3)).unwrap().to_owned()
}

fn tensor(x: &Array2<f32>) -> Tensor<2> {
    let data = TensorData::new(x.iter().copied().collect::<Vec<_>>(), [x.nrows(), x.ncols()]);
    Tensor::from_data(data, &device())
}

fn device() -> Device {
    Device::flex().autodiff()
}

/// Seeded weights with biases, which a fresh network has not.
fn pointnet() -> PointNetWeights {
    let mut weights = PointNetWeights::seeded(3);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    weights.layers_mut().into_iter().for_each(|l| l.bias.mapv_inplace(|_| 0.2 * number(&mut rng)));
    weights
}

fn normalcy() -> NormalcyWeights {
    let mut weights = NormalcyWeights::seeded(5);
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    weights.layers_mut().into_iter().for_each(|l| l.bias.mapv_inplace(|_| 0.2 * number(&mut rng)));
    weights
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    assert!(largest > 0.0, "{what}: zeros show nothing");
    let off = found.iter().zip(expected).fold(0.0_f32, |m, (f, e)| m.max((f - e).abs()));
    assert!(off < tolerance * largest, "{what}: off by {off} of {largest}");
}

fn flat(layer: &Linear) -> Vec<f32> {
    layer.weight.iter().chain(&layer.bias).copied().collect()
}

/// A gradient from above: some weight on every output.
fn weights_of(count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    (0..count).map(|_| number(&mut rng)).collect()
}

#[test]
fn the_fused_descriptor_has_the_frameworks_values_and_gradients() {
    let (weights, points) = (pointnet(), patches(1));
    let grouping = group(&points);
    let forward = fused::pointnet::forward(&weights, &grouping);
    let embedding = forward.embedding();

    let network = PointNet::new(&weights, &device());
    let theirs = network.forward(GroupingRows::new(grouping, &device()));
    assert_close(
        "embedding",
        &embedding.iter().copied().collect::<Vec<_>>(),
        &elements(theirs.clone()),
        1e-5,
    );

    let top = Array2::from_shape_vec(embedding.dim(), weights_of(embedding.len())).unwrap();
    let ours = fused::pointnet::backward(&weights, &forward, top.view());
    let all = (theirs * tensor(&top)).sum().backward();
    for (index, (layer, ours)) in network.layers().zip(ours.layers()).enumerate() {
        assert_close(&format!("gradient of layer {index}"), &flat(ours), &flat(&layer.gradient(&all)), 1e-4);
    }
}

#[test]
fn the_fused_classifier_has_the_frameworks_values_and_gradients() {
    let (weights, points) = (normalcy(), rows(&patches(2)));
    let forward = fused::normalcy::forward(&weights, points.view());
    let network = Normalcy::new(&weights, &device());
    let theirs = network.forward(tensor(&points));
    assert_close("logits", &forward.logits(), &elements(theirs.clone()), 1e-5);

    let top = weights_of(PATCHES);
    let ours = fused::normalcy::backward(&weights, points.view(), &forward, &top);
    let above = Tensor::<1>::from_data(TensorData::new(top, [PATCHES]), &device());
    let all = (theirs * above).sum().backward();
    for (index, (layer, ours)) in network.layers().zip(ours.layers()).enumerate() {
        assert_close(&format!("gradient of layer {index}"), &flat(ours), &flat(&layer.gradient(&all)), 1e-4);
    }
}

/// Both engines, or tract alone when no ONNX Runtime library is installed (said aloud).
fn run(
    contract: &'static GraphContract,
    model: &ModelProto,
    inputs: &[Input<'_>],
) -> Vec<(String, Vec<f32>)> {
    let onnx = model.encode_to_vec();
    let mut options = vec![EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() }];
    match std::env::var_os("ORT_DYLIB_PATH") {
        Some(path) => options.push(EngineOptions {
            choice: EngineChoice::Onnxruntime,
            runtime_library: Some(path.into()),
            ..EngineOptions::default()
        }),
        None => eprintln!("skipped: ONNX Runtime (set ORT_DYLIB_PATH to its library)"),
    }
    let run = |options: EngineOptions| {
        let mut engine = engine::load(contract, &onnx, &options).unwrap();
        let name = engine.report().engine.clone();
        (name, engine.run(inputs).unwrap().swap_remove(0).iter().copied().collect())
    };
    options.into_iter().map(run).collect()
}

#[test]
fn the_written_descriptor_is_the_trained_one() {
    let (weights, points) = (pointnet(), patches(7));
    let grouping = group(&points);
    let model = pointnet_model(&weights, WeightStorage::F32, Vec::new()).unwrap();
    let inputs = [
        Input::F32(grouping.g1.view().into_dyn()),
        Input::F32(grouping.g2.view().into_dyn()),
        Input::I64(grouping.i2.view().into_dyn()),
    ];
    let network = PointNet::new(&weights, &device());
    let expected = elements(network.forward(GroupingRows::new(grouping.clone(), &device())));
    for (engine, found) in run(&POINTNET, &model, &inputs) {
        assert_close(&engine, &found, &expected, 1e-4);
    }
    assert_eq!(network.weights(), weights, "weights come out as they went in");
}

#[test]
fn the_written_classifier_is_the_trained_one_with_its_perturbation() {
    // Without repeated points: burn gives a maximum's gradient to the first of its copies, the graph to all of them.
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let points = Array3::from_shape_simple_fn((PATCHES, 64, 3), || number(&mut rng));
    let weights = normalcy();
    for epsilon in [0.0, 0.01, -0.02] {
        let model = normalcy_model(&weights, epsilon, WeightStorage::F32, Vec::new()).unwrap();
        let network = Normalcy::new(&weights, &device());
        let expected = elements(network.perturbed(tensor(&rows(&points)), epsilon));
        for (engine, found) in run(&NORMALCY, &model, &[Input::F32(points.view().into_dyn())]) {
            assert_close(&format!("{engine}, epsilon {epsilon}"), &found, &expected, 1e-4);
        }
    }
}
