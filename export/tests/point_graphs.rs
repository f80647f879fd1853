//! The point graphs against plain 64-bit versions written from the formulas, run by zal's own engine.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array1, Array2, Array3, ArrayD, Axis, Ix1, Ix2, s};
use prost::Message;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zal::contract::{GraphContract, NORMALCY, POINTNET};
use zal::engine::{EngineChoice, EngineOptions, Input, load};
use zal_export::graphs::layer::Linear;
use zal_export::graphs::normalcy::{NormalcyWeights, normalcy_model};
use zal_export::graphs::pointnet::{PointNetWeights, pointnet_model};
use zal_export::onnx::WeightStorage;
use zal_export::onnx::proto::ModelProto;

fn run(contract: &GraphContract, model: &ModelProto, inputs: &[Input<'_>]) -> ArrayD<f32> {
    let options = EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() };
    let mut engine = load(contract, &model.encode_to_vec(), &options).unwrap();
    engine.run(inputs).unwrap().remove(0)
}

/// Numbers within -1..1 with biases that matter, in place of the seeded zero biases.
struct Numbers(ChaCha8Rng);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn one(&mut self) -> f32 {
        f32::from(u16::try_from(self.0.next_u32() >> 16).unwrap()) / 32_768.0 - 1.0
    }

    fn shift_biases<'a>(&mut self, layers: impl IntoIterator<Item = &'a mut Linear>) {
        for layer in layers {
            layer.bias.mapv_inplace(|_| 0.2 * self.one());
        }
    }

    fn points(&mut self, patches: usize) -> Array3<f32> {
        Array3::from_shape_simple_fn((patches, 64, 3), || 2.0 * self.one())
    }
}

fn classifier(seed: u64) -> NormalcyWeights {
    let mut weights = NormalcyWeights::seeded(seed);
    Numbers::new(seed).shift_biases(weights.points.iter_mut().chain(&mut weights.head));
    weights
}

fn linear(layer: &Linear, x: &Array2<f64>) -> Array2<f64> {
    x.dot(&layer.weight.mapv(f64::from)) + layer.bias.mapv(f64::from)
}

fn relu(x: Array2<f64>) -> Array2<f64> {
    x.mapv_into(|v| v.max(0.0))
}

fn maximum(x: &Array2<f64>) -> Array1<f64> {
    x.fold_axis(Axis(0), f64::NEG_INFINITY, |a, b| a.max(*b))
}

/// C_w(x) of one patch `[64, 3]`.
fn logit(weights: &NormalcyWeights, x: &Array2<f64>) -> f64 {
    let top = weights.points.iter().fold(x.clone(), |x, layer| relu(linear(layer, &x)));
    let pooled = maximum(&top).insert_axis(Axis(0));
    let hidden = relu(linear(&weights.head[0], &pooled));
    linear(&weights.head[1], &hidden)[[0, 0]]
}

fn loss(weights: &NormalcyWeights, x: &Array2<f64>) -> f64 {
    logit(weights, x).exp().ln_1p()
}

/// Gradient of the loss by central differences: knows nothing of any backward pass.
fn numeric_gradient(weights: &NormalcyWeights, x: &Array2<f64>) -> Array2<f64> {
    const STEP: f64 = 1e-6;
    Array2::from_shape_fn(x.dim(), |at| {
        let moved = |step: f64| {
            let mut moved = x.clone();
            moved[at] += step;
            loss(weights, &moved)
        };
        (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
    })
}

/// The perturbed logit from the numeric gradient.
fn perturbed_logit(weights: &NormalcyWeights, x: &Array2<f64>, epsilon: f64) -> f64 {
    let gradient = numeric_gradient(weights, x);
    // Rounding of the differences is about 1e-10: below that the gradient is exactly zero.
    let sign = gradient.mapv(|g| if g.abs() < 1e-8 { 0.0 } else { g.signum() });
    logit(weights, &(x + &(sign * epsilon)))
}

fn assert_close(found: &[f32], expected: &[f64]) {
    let scale = expected.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error < 1e-4 * scale, "row {i}: {found} for {expected}, scale {scale}");
    }
}

fn check_classifier(weights: &NormalcyWeights, points: &Array3<f32>, epsilon: f32) -> Vec<f32> {
    let model = normalcy_model(weights, epsilon, WeightStorage::F32, Vec::new()).unwrap();
    let logits = run(&NORMALCY, &model, &[Input::F32(points.view().into_dyn())]);
    let logits = logits.into_dimensionality::<Ix1>().unwrap().to_vec();
    let expected: Vec<f64> = points
        .axis_iter(Axis(0))
        .map(|patch| perturbed_logit(weights, &patch.mapv(f64::from), f64::from(epsilon)))
        .collect();
    assert_eq!(logits.len(), expected.len());
    assert_close(&logits, &expected);
    logits
}

#[test]
fn the_classifier_moves_the_points_along_the_numeric_gradient() {
    let (weights, points) = (classifier(3), Numbers::new(4).points(3));
    let plain = check_classifier(&weights, &points, 0.0);
    let up = check_classifier(&weights, &points, 0.01);
    let down = check_classifier(&weights, &points, -0.01);
    for i in 0..3 {
        assert!(
            down[i] < plain[i] && plain[i] < up[i],
            "a positive step raises the logit, a negative lowers it"
        );
    }
}

#[test]
fn repeated_points_share_a_maximum() {
    let weights = classifier(5);
    let mut points = Numbers::new(6).points(1);
    let first = points.slice(s![.., ..8, ..]).to_owned();
    (1..8).for_each(|i| points.slice_mut(s![.., 8 * i..8 * i + 8, ..]).assign(&first));
    let model = normalcy_model(&weights, 0.01, WeightStorage::F32, Vec::new()).unwrap();
    let found = run(&NORMALCY, &model, &[Input::F32(points.view().into_dyn())]);
    // All copies move alike, as the 8 points would without repetition.
    let alone = first.index_axis(Axis(0), 0).mapv(f64::from);
    assert_close(&[found[[0]]], &[perturbed_logit(&weights, &alone, 0.01)]);
}

#[test]
fn a_dead_network_has_no_gradient_and_moves_nothing() {
    let mut weights = classifier(7);
    weights.points[3].bias.fill(-1000.0);
    let points = Numbers::new(8).points(2);
    let logits = check_classifier(&weights, &points, 0.5);
    assert!(logits.iter().all(|l| l.is_finite()));
}

/// The embedding of one patch, group by group.
fn embedding(
    weights: &PointNetWeights,
    g1: &Array3<f64>,
    g2: &Array3<f64>,
    rows: &[Vec<usize>],
) -> Array1<f64> {
    let mlp = |layers: &[Linear], x: Array2<f64>| layers.iter().fold(x, |x, layer| relu(linear(layer, &x)));
    let local: Vec<Array1<f64>> =
        g1.axis_iter(Axis(0)).map(|group| maximum(&mlp(&weights.sa1, group.to_owned()))).collect();
    let mut middle = Array2::zeros((rows.len(), 128));
    for (centre, neighbours) in rows.iter().enumerate() {
        let mut group = Array2::zeros((neighbours.len(), 67));
        for (k, &row) in neighbours.iter().enumerate() {
            group.slice_mut(s![k, ..3]).assign(&g2.slice(s![centre, k, ..]));
            group.slice_mut(s![k, 3..]).assign(&local[row]);
        }
        middle.row_mut(centre).assign(&maximum(&mlp(&weights.sa2, group)));
    }
    let global = maximum(&relu(linear(&weights.global, &middle))).insert_axis(Axis(0));
    linear(&weights.head[1], &relu(linear(&weights.head[0], &global))).remove_axis(Axis(0))
}

#[test]
fn the_descriptor_equals_its_plain_version() {
    const PATCHES: usize = 3;
    let mut weights = PointNetWeights::seeded(9);
    let mut numbers = Numbers::new(10);
    let layers = weights.sa1.iter_mut().chain(&mut weights.sa2).chain(&mut weights.head);
    numbers.shift_biases(layers.chain(std::iter::once(&mut weights.global)));
    let g1 = ndarray::Array4::from_shape_simple_fn((PATCHES, 32, 16, 3), || numbers.one());
    let g2 = ndarray::Array4::from_shape_simple_fn((PATCHES, 8, 16, 3), || numbers.one());
    let own = Array3::from_shape_simple_fn((PATCHES, 8, 16), || {
        usize::try_from(numbers.0.next_u32() % 32).unwrap()
    });
    let i2 = Array3::from_shape_fn(own.dim(), |(p, c, k)| i64::try_from(32 * p + own[[p, c, k]]).unwrap());
    let model = pointnet_model(&weights, WeightStorage::F32, Vec::new()).unwrap();
    let inputs = [
        Input::F32(g1.view().into_dyn()),
        Input::F32(g2.view().into_dyn()),
        Input::I64(i2.view().into_dyn()),
    ];
    let found = run(&POINTNET, &model, &inputs).into_dimensionality::<Ix2>().unwrap();
    assert_eq!(found.dim(), (PATCHES, 33));
    for p in 0..PATCHES {
        let rows: Vec<Vec<usize>> =
            own.index_axis(Axis(0), p).rows().into_iter().map(|r| r.to_vec()).collect();
        let (g1, g2) = (g1.index_axis(Axis(0), p).mapv(f64::from), g2.index_axis(Axis(0), p).mapv(f64::from));
        assert_close(&found.row(p).to_vec(), &embedding(&weights, &g1, &g2, &rows).to_vec());
    }
}

/// Operators of the point graphs, all in TensorRT's support matrix for ONNX (opset 9 to 20).
const TENSORRT_OPERATORS: [&str; 17] = [
    "Add",
    "Cast",
    "Concat",
    "Div",
    "Equal",
    "Gather",
    "Greater",
    "MatMul",
    "Mul",
    "ReduceMax",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Sign",
    "Transpose",
    "Where",
];

#[test]
fn the_point_graphs_hold_only_operators_that_tensorrt_takes() {
    let graphs = [
        pointnet_model(&PointNetWeights::seeded(1), WeightStorage::F32, Vec::new()).unwrap(),
        normalcy_model(&NormalcyWeights::seeded(1), 0.01, WeightStorage::F32, Vec::new()).unwrap(),
    ];
    let mut used = std::collections::BTreeSet::new();
    for model in &graphs {
        assert_eq!(model.opset_import[0].version, 17);
        for node in &model.graph.as_ref().unwrap().node {
            assert!(TENSORRT_OPERATORS.contains(&node.op_type.as_str()), "{} is {}", node.name, node.op_type);
            used.insert(node.op_type.as_str());
        }
    }
    assert_eq!(used.len(), TENSORRT_OPERATORS.len(), "the list holds nothing that is not used: {used:?}");
}
