//! Which operators are quantised, and which tensors carry codes between them.

use std::collections::{BTreeMap, BTreeSet};

use super::{floats_of, sizes_of};
use crate::onnx::check::known;
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto, elem};
use crate::onnx::shapes::TensorType;

/// One Conv, Gemm or MatMul with a constant kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matrix {
    /// Its place among the nodes.
    pub(super) node: usize,
    /// Axis of the kernel along which its output channels lie.
    pub(super) axis: usize,
}

/// What is going to be quantised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) matrices: Vec<Matrix>,
    /// Tensors whose ranges are measured, in the order of the nodes.
    pub(super) tensors: Vec<String>,
    /// Outputs of maximum pooling, with the tensor whose scale they share.
    pub(super) pooled: Vec<(String, String)>,
}

/// Whether the operator multiplies with a kernel.
pub(super) fn is_matrix(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "Conv" | "Gemm" | "MatMul")
}

impl Plan {
    /// Finds the operators with constant kernels and inputs of known size, and the tensors around them. Those
    /// that no other such operator stands before see the image itself, and stay as they are.
    pub(super) fn of(graph: &GraphProto, types: &BTreeMap<String, TensorType>) -> Self {
        let view = View::of(graph);
        let mut matrices = Vec::new();
        let mut coded: BTreeSet<&str> = BTreeSet::new();
        let mut deep: BTreeSet<&str> = BTreeSet::new();
        for (index, node) in graph.node.iter().enumerate() {
            let reached = node.input.first().filter(|name| deep.contains(name.as_str()));
            if is_matrix(node) || node.input.iter().any(|name| deep.contains(name.as_str())) {
                deep.extend(node.output.iter().map(String::as_str));
            }
            let Some(axis) = view.kernel_axis(node) else { continue };
            let Some(input) = reached.filter(|name| known(types, name)) else { continue };
            matrices.push(Matrix { node: index, axis });
            coded.insert(input);
            coded.extend(view.result(node).filter(|name| known(types, name)));
        }
        let pools = graph.node.iter().filter(|node| node.op_type == "MaxPool");
        let pooled: Vec<(String, String)> = pools
            .filter_map(|node| Some((node.output.first()?.clone(), node.input.first()?.clone())))
            .filter(|(output, input)| coded.contains(output.as_str()) && coded.contains(input.as_str()))
            .collect();
        let made = graph.input.iter().map(|input| &input.name);
        let made = made.chain(graph.node.iter().flat_map(|node| &node.output));
        let tensors = made
            .filter(|name| coded.contains(name.as_str()) && !pooled.iter().any(|(output, _)| output == *name))
            .cloned()
            .collect();
        Self { matrices, tensors, pooled }
    }
}

/// The graph with its constants and readers at hand.
struct View<'a> {
    constants: BTreeMap<&'a str, &'a TensorProto>,
    readers: BTreeMap<&'a str, Vec<&'a NodeProto>>,
    outputs: BTreeSet<&'a str>,
}

impl<'a> View<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let mut readers: BTreeMap<&str, Vec<&NodeProto>> = BTreeMap::new();
        for node in &graph.node {
            for name in &node.input {
                readers.entry(name).or_default().push(node);
            }
        }
        Self {
            constants: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
            readers,
            outputs: graph.output.iter().map(|output| output.name.as_str()).collect(),
        }
    }

    /// The axis of output channels when the node has a constant kernel, and a constant bias or none.
    fn kernel_axis(&self, node: &NodeProto) -> Option<usize> {
        let kernel = self.constants.get(node.input.get(1)?.as_str()).copied()?;
        let sizes = sizes_of(kernel);
        let axis = match (node.op_type.as_str(), sizes.len()) {
            ("Conv", 3..) => 0,
            ("Gemm", 2) if plain_gemm(node) => usize::from(node.int_or("transB", 0) == 0),
            ("MatMul", 2) => 1,
            _ => return None,
        };
        let bias_fits = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => {
                let bias = self.constants.get(name.as_str()).copied();
                bias.is_some_and(|b| b.data_type == elem::FLOAT && sizes_of(b) == [sizes[axis]])
            }
            None => true,
        };
        let filled = floats_of(kernel)?.len() == sizes.iter().product::<usize>() && !sizes.contains(&0);
        (filled && bias_fits).then_some(axis)
    }

    /// The tensor that carries the node's result onwards in codes: behind its ReLU when that alone reads it,
    /// none when no other node reads it.
    fn result(&self, node: &'a NodeProto) -> Option<&'a str> {
        let own = node.output.first()?.as_str();
        let readers = self.readers.get(own)?;
        match readers[..] {
            [relu] if relu.op_type == "Relu" && !self.outputs.contains(own) => {
                let behind = relu.output.first()?.as_str();
                self.readers.contains_key(behind).then_some(behind)
            }
            _ => Some(own),
        }
    }
}

/// A general product without factors and without turning its data.
fn plain_gemm(node: &NodeProto) -> bool {
    let is_one = |name: &str| (node.float_or(name, 1.0) - 1.0).abs() < f32::EPSILON;
    is_one("alpha") && is_one("beta") && node.int_or("transA", 0) == 0
}
