//! Puts the codes into the graph.
//!
//! ```text
//! t -> QuantizeLinear -> t.u8 -> DequantizeLinear -> t.q       readers of t now read t.q
//! y.kernel.i8 -> DequantizeLinear(axis) -> y.kernel.q          second input of the operator that makes y
//! y.bias.i32 -> DequantizeLinear(axis 0) -> y.bias.q           third
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::codes::{Affine, Kernel, bias_codes, scale_min};
use super::fold::float_tensor;
use super::plan::{Matrix, Plan};
use super::{floats_of, sizes_of};
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, elem};
use crate::onnx::shapes::to_i64;

/// Rewrites the graph; `affine` holds every tensor of the plan.
pub(super) fn rewrite(graph: &mut GraphProto, plan: &Plan, affine: &BTreeMap<String, Affine>) {
    let matrices: BTreeMap<usize, &Matrix> =
        plan.matrices.iter().map(|matrix| (matrix.node, matrix)).collect();
    let mut coded = Coded { nodes: Vec::new(), constants: Vec::new(), affine };
    for input in &graph.input {
        coded.code(&input.name);
    }
    for (index, mut node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        if let Some(matrix) = matrices.get(&index) {
            coded.kernel(&graph.initializer, &mut node, matrix.axis);
        }
        for name in node.input.iter_mut().filter(|name| affine.contains_key(name.as_str())) {
            name.push_str(".q");
        }
        let outputs = node.output.clone();
        coded.nodes.push(node);
        outputs.iter().for_each(|name| coded.code(name));
    }
    let Coded { nodes, constants, .. } = coded;
    graph.node = nodes;
    graph.initializer.extend(constants);
    let read: BTreeSet<&str> = graph.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    graph.initializer.retain(|tensor| read.contains(tensor.name.as_str()));
}

/// The new nodes and constants.
struct Coded<'a> {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    affine: &'a BTreeMap<String, Affine>,
}

impl Coded<'_> {
    /// Adds the pair that codes a tensor, when it is one of those.
    fn code(&mut self, tensor: &str) {
        let Some(Affine { scale, zero_point }) = self.affine.get(tensor).copied() else { return };
        let [scale_name, zero_name, codes] = ["scale", "zero", "u8"].map(|part| format!("{tensor}.{part}"));
        self.constants.push(float_tensor(&scale_name, &[], &[scale]));
        self.constants.push(raw_tensor(&zero_name, elem::UINT8, &[], vec![zero_point]));
        let tail = [scale_name, zero_name];
        self.push("QuantizeLinear", &codes, tensor, &tail, None);
        self.push("DequantizeLinear", &format!("{tensor}.q"), &codes, &tail, None);
    }

    /// Replaces kernel and bias of the node by codes.
    fn kernel(&mut self, initialisers: &[TensorProto], node: &mut NodeProto, axis: usize) {
        let constant = |name: &String| {
            let tensor = initialisers.iter().find(|tensor| tensor.name == *name);
            let tensor = tensor.expect("the plan holds operators with constant kernel and bias only");
            (sizes_of(tensor), floats_of(tensor).expect("the plan looked at their elements"))
        };
        let input_scale = self.affine[&node.input[0]].scale;
        let output = node.output[0].clone();
        let (sizes, elements) = constant(&node.input[1]);
        let bias = node.input.get(2).filter(|name| !name.is_empty()).map(|name| constant(name).1);
        let least = match &bias {
            Some(bias) => scale_min(bias, input_scale),
            None => vec![0.0; sizes[axis]],
        };
        let kernel = Kernel::of(&elements, &sizes, axis, &least);
        node.input[1] = self.kernel_codes(&output, &sizes, axis, &kernel);
        if let Some(bias) = bias {
            let (codes, scales) = bias_codes(&bias, input_scale, &kernel.scales);
            node.input[2] = self.bias_codes(&output, &codes, &scales);
        }
    }

    fn kernel_codes(&mut self, output: &str, sizes: &[usize], axis: usize, kernel: &Kernel) -> String {
        let part = |part: &str| format!("{output}.kernel.{part}");
        let dims: Vec<i64> = sizes.iter().map(|&size| to_i64(size)).collect();
        let channels = [to_i64(kernel.scales.len())];
        let codes = kernel.codes.iter().map(|code| code.cast_unsigned()).collect();
        self.constants.push(raw_tensor(&part("i8"), elem::INT8, &dims, codes));
        self.constants.push(float_tensor(&part("scale"), &channels, &kernel.scales));
        self.constants.push(raw_tensor(&part("zero"), elem::INT8, &channels, vec![0; kernel.scales.len()]));
        self.push("DequantizeLinear", &part("q"), &part("i8"), &[part("scale"), part("zero")], Some(axis));
        part("q")
    }

    fn bias_codes(&mut self, output: &str, codes: &[i32], scales: &[f32]) -> String {
        let part = |part: &str| format!("{output}.bias.{part}");
        let channels = [to_i64(codes.len())];
        let raw = codes.iter().flat_map(|code| code.to_le_bytes()).collect();
        self.constants.push(raw_tensor(&part("i32"), elem::INT32, &channels, raw));
        self.constants.push(float_tensor(&part("scale"), &channels, scales));
        self.push("DequantizeLinear", &part("q"), &part("i32"), &[part("scale")], Some(0));
        part("q")
    }

    fn push(&mut self, op: &str, output: &str, input: &str, tail: &[String], axis: Option<usize>) {
        let inputs = std::iter::once(input.to_owned()).chain(tail.iter().cloned());
        self.nodes.push(NodeProto {
            input: inputs.collect(),
            output: vec![output.into()],
            name: output.into(),
            op_type: op.into(),
            attribute: axis.map(|axis| AttributeProto::int("axis", to_i64(axis))).into_iter().collect(),
            ..NodeProto::default()
        });
    }
}

fn raw_tensor(name: &str, data_type: i32, dims: &[i64], raw: Vec<u8>) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type,
        name: name.into(),
        raw_data: Some(raw),
        ..TensorProto::default()
    }
}
