//! What is made simpler before codes are put in: constants in one place, batch normalisation inside the
//! convolution before it (w' = w g / sqrt(var + eps), in 64 bits).

use std::collections::BTreeMap;

use super::floats_of;
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto, elem};
use crate::onnx::shapes::to_i64;

/// Turns Constant nodes into initialisers.
pub(super) fn constants_to_initialisers(graph: &mut GraphProto) {
    let (constants, nodes): (Vec<NodeProto>, Vec<NodeProto>) =
        std::mem::take(&mut graph.node).into_iter().partition(|node| {
            node.op_type == "Constant" && node.attribute("value").is_some_and(|v| v.t.is_some())
        });
    graph.node = nodes;
    for mut node in constants {
        let value = node.attribute.iter_mut().find_map(|attribute| attribute.t.take());
        if let (Some(mut tensor), Some(name)) = (value, node.output.pop()) {
            tensor.name = name;
            graph.initializer.push(tensor);
        }
    }
}

/// Folds every batch normalisation that alone reads a convolution with constant kernel.
pub(super) fn batch_norms(graph: &mut GraphProto) {
    while let Some(fold) = find(graph) {
        let Fold { convolution, normalisation, kernel, bias } = fold;
        let removed = graph.node.remove(normalisation);
        let node = &mut graph.node[convolution];
        let output = removed.output.into_iter().next().unwrap_or_default();
        node.input.truncate(1);
        node.input.extend([format!("{output}.folded.weight"), format!("{output}.folded.bias")]);
        node.output = vec![output.clone()];
        node.name = output;
        graph.initializer.extend([
            float_tensor(&node.input[1], &kernel.0, &kernel.1),
            float_tensor(&node.input[2], &[to_i64(bias.len())], &bias),
        ]);
    }
    let read: std::collections::BTreeSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    graph.initializer.retain(|tensor| read.contains(&tensor.name));
}

/// One pair to be folded: places of its nodes, shape and elements of the new kernel, the new bias.
struct Fold {
    convolution: usize,
    normalisation: usize,
    kernel: (Vec<i64>, Vec<f32>),
    bias: Vec<f32>,
}

fn find(graph: &GraphProto) -> Option<Fold> {
    let constants: BTreeMap<&str, &TensorProto> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    graph.node.iter().enumerate().find_map(|(normalisation, norm)| {
        let folds = norm.op_type == "BatchNormalization" && norm.int_or("training_mode", 0) == 0;
        let source = norm.input.first().filter(|_| folds)?;
        let convolution = graph
            .node
            .iter()
            .position(|node| node.op_type == "Conv" && node.output.first() == Some(source))?;
        let readers = graph.node.iter().flat_map(|node| &node.input).filter(|name| *name == source).count();
        if readers != 1 || graph.output.iter().any(|output| output.name == *source) {
            return None;
        }
        let (kernel, bias) = folded(&graph.node[convolution], norm, &constants)?;
        Some(Fold { convolution, normalisation, kernel, bias })
    })
}

type Weights = ((Vec<i64>, Vec<f32>), Vec<f32>);

#[expect(clippy::cast_possible_truncation, reason = "folded in 64 bits, rounded once")]
fn folded(conv: &NodeProto, norm: &NodeProto, constants: &BTreeMap<&str, &TensorProto>) -> Option<Weights> {
    let constant = |name: &String| constants.get(name.as_str()).copied();
    let kernel = constant(conv.input.get(1)?)?;
    let elements = floats_of(kernel)?;
    let outputs = usize::try_from(*kernel.dims.first()?).ok().filter(|&count| count > 0)?;
    let bias = match conv.input.get(2).filter(|name| !name.is_empty()) {
        Some(name) => floats_of(constant(name)?)?,
        None => vec![0.0; outputs],
    };
    let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| floats_of(constant(norm.input.get(i)?)?));
    let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
    if [&bias, &gamma, &beta, &mean, &variance].iter().any(|vector| vector.len() != outputs) {
        return None;
    }
    let epsilon = f64::from(norm.float_or("epsilon", 1e-5));
    let scale = |i: usize| f64::from(gamma[i]) / (f64::from(variance[i]) + epsilon).sqrt();
    let per_channel = elements.len() / outputs;
    let scaled = elements.iter().enumerate().map(|(i, w)| (f64::from(*w) * scale(i / per_channel)) as f32);
    let shifted = (0..outputs)
        .map(|i| ((f64::from(bias[i]) - f64::from(mean[i])) * scale(i) + f64::from(beta[i])) as f32);
    Some(((kernel.dims.clone(), scaled.collect()), shifted.collect()))
}

/// A constant of 32-bit floats.
pub(super) fn float_tensor(name: &str, dims: &[i64], elements: &[f32]) -> TensorProto {
    let raw = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
    TensorProto {
        dims: dims.to_vec(),
        data_type: elem::FLOAT,
        name: name.into(),
        raw_data: Some(raw),
        ..TensorProto::default()
    }
}
