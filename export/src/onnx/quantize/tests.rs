//! Small networks, quantised and run by the embedded engine.

use ndarray::ArrayD;
use prost::Message;
use zal::contract::{Dim, Dtype, TensorContract};
use zal::engine::Input;

use super::codes::Kernel;
use super::*;
use crate::bank_build::embedded_engine;
use crate::onnx::builder::{GraphBuilder, Value};
use crate::onnx::check::finish;
use crate::onnx::proto::{AttributeProto, GraphProto};

const SMALL: GraphContract = GraphContract {
    name: "small",
    inputs: &[TensorContract {
        name: "image",
        dtype: Dtype::F32,
        dims: &[Dim::Batch, Dim::Fixed(3), Dim::Fixed(16), Dim::Fixed(16)],
    }],
    outputs: &[TensorContract {
        name: "y",
        dtype: Dtype::F32,
        dims: &[Dim::Batch, Dim::Any, Dim::Any, Dim::Any],
    }],
    batch_size: 1,
};

fn wave(count: usize, step: f32, size: f32) -> Vec<f32> {
    let mut angle = 0.0_f32;
    let next = || {
        angle += step;
        size * angle.sin()
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn image(step: f32) -> Array4<f32> {
    Array4::from_shape_vec((1, 3, 16, 16), wave(768, step, 2.0)).expect("768 elements")
}

fn window(kernel: i64, stride: i64) -> [AttributeProto; 3] {
    [
        AttributeProto::ints("kernel_shape", &[kernel; 2]),
        AttributeProto::ints("pads", &[kernel / 2; 4]),
        AttributeProto::ints("strides", &[stride; 2]),
    ]
}

fn conv(graph: &mut GraphBuilder, name: &str, x: &Value, [inputs, outputs, kernel]: [usize; 3]) -> Value {
    let count = outputs * inputs * kernel * kernel;
    let shape = [outputs, inputs, kernel, kernel];
    let w = graph.floats(&format!("{name}.w"), &shape, &wave(count, 0.61, 0.3));
    let b = graph.floats(&format!("{name}.b"), &[outputs], &wave(outputs, 1.3, 0.4));
    let kernel = i64::try_from(kernel).expect("small");
    graph.node("Conv", name, &[x, &w, &b], &window(kernel, 1))
}

/// A first convolution that gives the image itself: what follows is quantised.
fn identity(graph: &mut GraphBuilder) -> Value {
    let x = graph.input("image", elem::FLOAT, &[3, 16, 16]);
    let w = graph.floats("same.w", &[3, 3, 1, 1], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    graph.node("Conv", "same", &[&x, &w], &window(1, 1))
}

fn finished(graph: GraphBuilder) -> ModelProto {
    let options = Finish { contract: &SMALL, batch: "N", storage: WeightStorage::F32, metadata: Vec::new() };
    finish(graph.into_graph(), &options).expect("a sound graph")
}

/// Stem, pooling and one residual block, as networks have them.
fn residual() -> ModelProto {
    let mut graph = GraphBuilder::new("small", "N");
    let x = identity(&mut graph);
    let stem = conv(&mut graph, "stem", &x, [3, 8, 3]);
    let stem = graph.node("Relu", "stem.relu", &[&stem], &[]);
    let pooled = graph.node("MaxPool", "pool", &[&stem], &window(3, 2));
    let a = conv(&mut graph, "a", &pooled, [8, 8, 3]);
    let a = graph.node("Relu", "a.relu", &[&a], &[]);
    let b = conv(&mut graph, "b", &a, [8, 8, 1]);
    let sum = graph.node("Add", "sum", &[&b, &pooled], &[]);
    let y = graph.node("Relu", "out", &[&sum], &[]);
    graph.output(&y, "y");
    finished(graph)
}

fn run(model: &ModelProto, image: &Array4<f32>) -> ArrayD<f32> {
    let mut engine =
        zal::engine::load(&SMALL, &model.encode_to_vec(), &embedded_engine()).expect("tract takes it");
    engine.run(&[Input::F32(image.view().into_dyn())]).expect("it runs").remove(0)
}

fn relative_l2(found: &ArrayD<f32>, expected: &ArrayD<f32>) -> f32 {
    let apart = (found - expected).mapv(|v| v * v).sum();
    (apart / expected.mapv(|v| v * v).sum()).sqrt()
}

fn graph_of(quantized: &Quantized) -> &GraphProto {
    quantized.model.graph.as_ref().expect("a model has a graph")
}

#[test]
fn codes_stand_around_the_convolutions_and_the_output_stays_as_computed() {
    let quantized = quantize(residual(), &SMALL, &[image(0.37)]).expect("three convolutions");
    assert_eq!((quantized.matrix_count, quantized.quantized_count), (4, 3));
    let graph = graph_of(&quantized);
    let coded: Vec<&str> = (graph.node.iter())
        .filter(|node| node.op_type == "QuantizeLinear")
        .map(|node| node.input[0].as_str())
        .collect();
    assert_eq!(coded, ["same", "stem.relu", "pool", "a.relu", "b"], "behind the ReLU where there is one");
    let inputs = |name: &str| graph.node.iter().find(|n| n.name == name).expect("kept").input.clone();
    assert_eq!(inputs("stem"), ["same.q", "stem.kernel.q", "stem.bias.q"]);
    assert_eq!(inputs("same"), ["image", "same.w"], "the first convolution stays as it is");
    assert_eq!(inputs("stem.relu"), ["stem"], "nothing comes between a convolution and its ReLU");
    assert_eq!(inputs("sum"), ["b.q", "pool.q"]);
    let constant = |name: &str| graph.initializer.iter().find(|t| t.name == name).expect("kept").clone();
    assert_eq!(
        constant("pool.scale").raw_data,
        constant("stem.relu.scale").raw_data,
        "pooling needs no floats"
    );
    assert_eq!(constant("stem.relu.zero").raw_data, Some(vec![0]), "the ReLU is left to the rounding");
    assert_eq!(constant("a.kernel.i8").data_type, elem::INT8);
    let floats = graph.initializer.iter().filter(|t| t.name.ends_with(".w") || t.name.ends_with(".b"));
    assert_eq!(floats.map(|t| t.name.as_str()).collect::<Vec<_>>(), ["same.w"]);
    assert_eq!(graph.value_info.len() + 1, graph.node.len(), "every tensor in between is declared");
}

#[test]
fn a_quantised_network_says_nearly_the_same() {
    let model = residual();
    let quantized = quantize(model.clone(), &SMALL, &[image(0.37), image(0.53)]).expect("three convolutions");
    for step in [0.37, 0.53, 0.71] {
        let apart = relative_l2(&run(&quantized.model, &image(step)), &run(&model, &image(step)));
        // Kernels round to 1/128 of the largest weight, activations to 1/510 of their range, and the sums of
        // these waves largely cancel out.
        assert!(apart > 1e-4 && apart < 0.1, "{apart}");
    }
}

#[test]
fn one_convolution_equals_integers_computed_one_by_one() {
    let mut graph = GraphBuilder::new("small", "N");
    let x = identity(&mut graph);
    let y = conv(&mut graph, "c", &x, [3, 4, 1]);
    graph.output(&y, "y");
    let pixels = image(0.37);
    let quantized = quantize(finished(graph), &SMALL, std::slice::from_ref(&pixels)).expect("a convolution");
    let found = run(&quantized.model, &pixels);
    let lowest = pixels.iter().fold(0.0_f32, |min, v| min.min(*v));
    let highest = pixels.iter().fold(0.0_f32, |max, v| max.max(*v));
    let affine = Affine::of_range((lowest, highest));
    let kernel = Kernel::of(&wave(12, 0.61, 0.3), &[4, 3, 1, 1], 0, &[0.0; 4]);
    let bias = wave(4, 1.3, 0.4);
    let zero = i32::from(affine.zero_point);
    for ((_, o, row, column), value) in
        found.view().into_dimensionality::<ndarray::Ix4>().expect("four axes").indexed_iter()
    {
        let sum: i32 = (0..3)
            .map(|c| {
                let x = (pixels[[0, c, row, column]] / affine.scale).round_ties_even()
                    + f32::from(affine.zero_point);
                #[expect(clippy::cast_possible_truncation, reason = "a code")]
                let code = x.clamp(0.0, 255.0) as i32;
                (code - zero) * i32::from(kernel.codes[o * 3 + c])
            })
            .sum();
        // The bias is rounded to steps of the products it is added to.
        let step = affine.scale * kernel.scales[o];
        #[expect(clippy::cast_precision_loss, reason = "a sum of three products of codes")]
        let expected = (sum as f32 + (bias[o] / step).round_ties_even()) * step;
        assert!((value - expected).abs() < 1e-5, "channel {o}: {value} for {expected}");
    }
}

#[test]
fn products_of_matrices_are_coded_along_their_columns() {
    let mut graph = GraphBuilder::new("small", "N");
    let x = identity(&mut graph);
    let w = graph.floats("w", &[16, 5], &wave(80, 0.61, 1.0));
    let y = graph.node("MatMul", "product", &[&x, &w], &[]);
    graph.output(&y, "y");
    let model = finished(graph);
    let quantized = quantize(model.clone(), &SMALL, &[image(0.37)]).expect("a product");
    let scale = graph_of(&quantized).initializer.iter().find(|t| t.name == "y.kernel.scale").expect("coded");
    assert_eq!(scale.dims, [5]);
    let apart = relative_l2(&run(&quantized.model, &image(0.37)), &run(&model, &image(0.37)));
    assert!(apart > 1e-4 && apart < 0.05, "{apart}");
}

#[test]
fn batch_normalisation_behind_a_convolution_is_folded_and_another_kept() {
    let mut graph = GraphBuilder::new("small", "N");
    let x = identity(&mut graph);
    let norm = |graph: &mut GraphBuilder, name: &str, x: &Value, channels: usize| {
        let parts = [("gamma", 0.9_f32), ("beta", -0.2), ("mean", 0.1), ("variance", 1.7)];
        let [g, b, m, v] = parts.map(|(part, value)| {
            let elements: Vec<f32> = wave(channels, 0.9, 0.05).iter().map(|w| value + w).collect();
            graph.floats(&format!("{name}.{part}"), &[channels], &elements)
        });
        graph.node("BatchNormalization", name, &[x, &g, &b, &m, &v], &[])
    };
    let zeroth = norm(&mut graph, "zeroth", &x, 3);
    let open = graph.node("Relu", "open", &[&zeroth], &[]);
    let first = norm(&mut graph, "first", &open, 3);
    let map = conv(&mut graph, "c", &first, [3, 4, 3]);
    let y = norm(&mut graph, "second", &map, 4);
    graph.output(&y, "y");
    let model = finished(graph);
    let mut folded = model.clone();
    fold::batch_norms(folded.graph.as_mut().expect("a graph"));
    let kinds: Vec<&str> =
        folded.graph.iter().flat_map(|graph| &graph.node).map(|node| node.op_type.as_str()).collect();
    assert_eq!(kinds, ["Conv", "Relu", "BatchNormalization", "Conv"], "a ReLU stands before the one kept");
    let apart = relative_l2(&run(&folded, &image(0.37)), &run(&model, &image(0.37)));
    assert!(apart < 1e-6, "{apart}");
    assert_eq!(quantize(model, &SMALL, &[image(0.37)]).expect("a convolution").quantized_count, 1);
}

#[test]
fn what_cannot_be_quantised_is_said() {
    let mut graph = GraphBuilder::new("small", "N");
    let x = graph.input("image", elem::FLOAT, &[3, 16, 16]);
    let y = graph.node("Relu", "relu", &[&x], &[]);
    graph.output(&y, "y");
    let error = quantize(finished(graph), &SMALL, &[image(0.37)]).expect_err("no convolution").to_string();
    assert!(error.contains("(0 such operators in all)"), "{error}");
    let mut graph = GraphBuilder::new("small", "N");
    let y = identity(&mut graph);
    graph.output(&y, "y");
    let error = quantize(finished(graph), &SMALL, &[image(0.37)]).expect_err("the first alone").to_string();
    assert!(error.contains("(1 such operators in all)"), "{error}");
    assert!(matches!(quantize(residual(), &SMALL, &[]), Err(QuantizeError::NoImages)));
    let huge = Array4::from_elem((1, 3, 16, 16), f32::MAX);
    let error = quantize(residual(), &SMALL, &[image(0.37), huge]).expect_err("overflow").to_string();
    assert!(error.contains("calibration image 1: tensor `"), "{error}");
}
