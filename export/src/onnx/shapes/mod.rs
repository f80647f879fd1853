//! Shape inference over the operators that backbones and our own graphs are made of.
//!
//! Sizes are exact, or a multiple of the batch, or unknown. An operator without a rule makes its output
//! unknown and is no error: what follows from it stays undeclared, and the contract check decides whether
//! that matters. Sizes that contradict each other are errors, with node, found and expected.

mod rules;
mod axes;
mod windows;

use std::collections::BTreeMap;

use super::OnnxError;
use super::proto::{
    DimensionProto, DimensionValue, GraphProto, NodeProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto, elem,
};

/// Size of one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Exactly this size.
    Fixed(usize),
    /// This many times the batch.
    PerBatch(usize),
    /// Not known.
    Unknown,
}

impl Extent {
    /// The batch itself.
    pub const BATCH: Self = Self::PerBatch(1);
}

/// What is known of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorType {
    /// Element type, see [`elem`].
    pub elem: i32,
    /// Shape.
    pub dims: Vec<Extent>,
    /// Elements of a small constant of integers: shapes, axes, pads.
    pub integers: Option<Vec<i64>>,
}

impl TensorType {
    /// A tensor whose elements are not known.
    #[must_use]
    pub fn new(elem: i32, dims: Vec<Extent>) -> Self {
        Self { elem, dims, integers: None }
    }
}

/// Two things that do not fit together; the caller adds the node.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch {
    found: String,
    expected: String,
}

impl Mismatch {
    fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { found: found.into(), expected: expected.into() }
    }
}

/// Types of all tensors of the graph for which there is a rule, by name.
///
/// # Errors
/// When a node's inputs contradict each other or its attributes.
pub fn infer(graph: &GraphProto) -> Result<BTreeMap<String, TensorType>, OnnxError> {
    let mut types = BTreeMap::new();
    let symbol = batch_symbol(graph);
    for input in &graph.input {
        if let Some(declared) = input.tensor() {
            types.insert(input.name.clone(), declared_type(declared, symbol));
        }
    }
    for tensor in &graph.initializer {
        types.insert(tensor.name.clone(), constant_type(tensor));
    }
    for node in &graph.node {
        let inputs: Vec<Option<&TensorType>> = node.input.iter().map(|name| types.get(name)).collect();
        let inferred = rules::output_type(node, &inputs).map_err(|mismatch| shape_error(node, mismatch))?;
        if let (Some(inferred), Some(name)) = (inferred, node.output.first()) {
            types.insert(name.clone(), inferred);
        }
    }
    Ok(types)
}

/// The symbol of the first axis of the first input: by it the batch is known elsewhere.
#[must_use]
pub fn batch_symbol(graph: &GraphProto) -> Option<&str> {
    match graph.input.first()?.tensor()?.shape.as_ref()?.dim.first()?.value.as_ref()? {
        DimensionValue::DimParam(symbol) => Some(symbol),
        DimensionValue::DimValue(_) => None,
    }
}

/// Declares an input or output; the batch axis carries `symbol`, every other size that is not fixed stays
/// open.
#[must_use]
pub fn declare(name: &str, elem_type: i32, dims: &[Extent], symbol: &str) -> ValueInfoProto {
    declare_with(name, elem_type, dims, Some(symbol))
}

/// Declares a tensor in between. Its batch stays open: a symbol there contradicts the fixed batch for which
/// tract plans a graph.
#[must_use]
pub fn declare_inner(name: &str, elem_type: i32, dims: &[Extent]) -> ValueInfoProto {
    declare_with(name, elem_type, dims, None)
}

fn declare_with(name: &str, elem_type: i32, dims: &[Extent], symbol: Option<&str>) -> ValueInfoProto {
    let axis = |extent: &Extent| {
        let value = match extent {
            Extent::Fixed(size) => Some(DimensionValue::DimValue(to_i64(*size))),
            Extent::PerBatch(1) => symbol.map(|symbol| DimensionValue::DimParam(symbol.into())),
            Extent::PerBatch(_) | Extent::Unknown => None,
        };
        DimensionProto { value }
    };
    let shape = TensorShapeProto { dim: dims.iter().map(axis).collect() };
    let tensor_type = TensorTypeProto { elem_type, shape: Some(shape) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
        ..ValueInfoProto::default()
    }
}

/// A size as ONNX writes it.
///
/// # Panics
/// Never for the size of a tensor in memory.
#[must_use]
pub fn to_i64(size: usize) -> i64 {
    i64::try_from(size).expect("the size of a tensor in memory fits 63 bits")
}

fn shape_error(node: &NodeProto, mismatch: Mismatch) -> OnnxError {
    OnnxError::Shape {
        node: node.name.clone(),
        op: node.op_type.clone(),
        found: mismatch.found,
        expected: mismatch.expected,
    }
}

fn declared_type(declared: &TensorTypeProto, symbol: Option<&str>) -> TensorType {
    let axis = |dim: &DimensionProto| match &dim.value {
        Some(DimensionValue::DimValue(size)) => usize::try_from(*size).map_or(Extent::Unknown, Extent::Fixed),
        Some(DimensionValue::DimParam(name)) if Some(name.as_str()) == symbol => Extent::BATCH,
        Some(DimensionValue::DimParam(_)) | None => Extent::Unknown,
    };
    let dims = declared.shape.iter().flat_map(|shape| &shape.dim).map(axis).collect();
    TensorType::new(declared.elem_type, dims)
}

/// Type of a constant; the elements of short integer vectors come along.
pub(super) fn constant_type(tensor: &TensorProto) -> TensorType {
    let dims = tensor
        .dims
        .iter()
        .map(|&size| usize::try_from(size).map_or(Extent::Unknown, Extent::Fixed))
        .collect::<Vec<_>>();
    TensorType { elem: tensor.data_type, dims, integers: small_integers(tensor) }
}

fn small_integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    const COUNT_MAX: usize = 64;
    if tensor.data_type != elem::INT64 || tensor.dims.len() > 1 {
        return None;
    }
    let integers: Vec<i64> = match &tensor.raw_data {
        Some(raw) if raw.len() <= 8 * COUNT_MAX => {
            raw.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
        }
        Some(_) => return None,
        None => tensor.int64_data.clone(),
    };
    (integers.len() <= COUNT_MAX).then_some(integers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::proto::AttributeProto;
    use Extent::{Fixed, PerBatch, Unknown};

    const BATCH: Extent = Extent::BATCH;

    fn graph(inner: &[usize]) -> (GraphBuilder, crate::onnx::builder::Value) {
        let mut graph = GraphBuilder::new("test", "N");
        let x = graph.input("x", elem::FLOAT, inner);
        (graph, x)
    }

    fn dims_of(graph: GraphBuilder, name: &str) -> Vec<Extent> {
        infer(&graph.into_graph()).unwrap()[name].dims.clone()
    }

    #[test]
    fn windows_slide_as_onnx_says() {
        let ints = AttributeProto::ints;
        let (mut g, x) = graph(&[3, 224, 225]);
        let kernel = g.floats("w", &[8, 3, 7, 7], &[0.0; 8 * 3 * 49]);
        g.node("Conv", "strided", &[&x, &kernel], &[ints("pads", &[3, 3, 3, 3]), ints("strides", &[2, 2])]);
        g.node("Conv", "dilated", &[&x, &kernel], &[ints("dilations", &[2, 1])]);
        let same =
            AttributeProto { name: "auto_pad".into(), s: Some(b"SAME_UPPER".to_vec()), ..Default::default() };
        g.node("Conv", "same", &[&x, &kernel], &[same, ints("strides", &[4, 4])]);
        let pooled = [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        g.node("MaxPool", "floor", &[&x], &pooled);
        let [a, b] = pooled;
        g.node("MaxPool", "ceil", &[&x], &[a, b, AttributeProto::int("ceil_mode", 1)]);
        let types = infer(&g.into_graph()).unwrap();
        let spatial = |name: &str| types[name].dims[2..].to_vec();
        assert_eq!(types["strided"].dims, [BATCH, Fixed(8), Fixed(112), Fixed(113)]);
        assert_eq!(spatial("dilated"), [Fixed(212), Fixed(219)]);
        assert_eq!(spatial("same"), [Fixed(56), Fixed(57)]);
        assert_eq!((spatial("floor"), spatial("ceil")), (vec![Fixed(112); 2], vec![Fixed(112), Fixed(113)]));
    }

    #[test]
    fn quantisation_changes_the_element_type_and_nothing_else() {
        let (mut g, x) = graph(&[4, 6]);
        let (scale, zero) = (g.floats("scale", &[], &[0.5]), g.bytes("zero", elem::INT8, &[], &[3]));
        let coded = g.node("QuantizeLinear", "coded", &[&x, &scale, &zero], &[]);
        g.node("QuantizeLinear", "unsigned", &[&x, &scale], &[]);
        g.node("DequantizeLinear", "back", &[&coded, &scale, &zero], &[]);
        let types = infer(&g.into_graph()).unwrap();
        let found = ["coded", "unsigned", "back"].map(|name| types[name].elem);
        assert_eq!(found, [elem::INT8, elem::UINT8, elem::FLOAT]);
        assert!(["coded", "unsigned", "back"].iter().all(|name| types[*name].dims == types["x"].dims));
    }

    #[test]
    fn a_general_product_turns_its_factors_first() {
        let (mut g, x) = graph(&[6]);
        let w = g.floats("w", &[3, 6], &[0.0; 18]);
        g.node("Gemm", "y", &[&x, &w], &[AttributeProto::int("transB", 1)]);
        assert_eq!(dims_of(g, "y"), [BATCH, Fixed(3)]);
        let (mut g, x) = graph(&[6]);
        let w = g.floats("w", &[3, 6], &[0.0; 18]);
        g.node("Gemm", "y", &[&x, &w], &[]);
        assert!(infer(&g.into_graph()).expect_err("6 and 3").to_string().contains("equal inner axes"));
    }

    #[test]
    fn a_reshape_carries_the_batch() {
        let (mut g, x) = graph(&[32, 64]);
        let rows = g.integers("rows", &[-1, 64]);
        let back = g.integers("back", &[-1, 8, 4, 64]);
        let flat = g.node("Reshape", "flat", &[&x, &rows], &[]);
        g.node("Reshape", "grouped", &[&flat, &back], &[]);
        let types = infer(&g.into_graph()).unwrap();
        assert_eq!(types["flat"].dims, [PerBatch(32), Fixed(64)]);
        assert_eq!(types["grouped"].dims, [BATCH, Fixed(8), Fixed(4), Fixed(64)]);
    }

    #[test]
    fn an_operator_without_a_rule_is_unknown_and_so_is_what_follows() {
        let (mut g, x) = graph(&[4]);
        let odd = g.node("SomethingNew", "odd", &[&x], &[]);
        g.node("Relu", "after", &[&odd], &[]);
        let types = infer(&g.into_graph()).unwrap();
        assert!(!types.contains_key("odd") && !types.contains_key("after"));
    }

    #[test]
    fn axes_count_from_the_end_and_unknown_sizes_stay_unknown() {
        let (mut g, x) = graph(&[5, 7]);
        let picks = g.integers("picks", &[0, 2]);
        let attributes = [AttributeProto::int("axis", -1)];
        let gathered = g.node("Gather", "gathered", &[&x, &picks], &attributes);
        g.node("ReduceMean", "mean", &[&gathered], &[AttributeProto::ints("axes", &[-2])]);
        assert_eq!(dims_of(g, "mean"), [BATCH, Fixed(1), Fixed(2)]);
        assert_eq!(rules::broadcast(&[Unknown, Fixed(1)], &[BATCH, Unknown]).unwrap(), [Unknown, Unknown]);
    }

    #[test]
    fn sizes_that_contradict_each_other_name_the_node() {
        let refused = |build: fn(&mut GraphBuilder, &crate::onnx::builder::Value)| {
            let (mut g, x) = graph(&[4, 6]);
            build(&mut g, &x);
            infer(&g.into_graph()).expect_err("the sizes contradict each other").to_string()
        };
        let product = refused(|g, x| {
            let w = g.floats("w", &[5, 2], &[0.0; 10]);
            g.node("MatMul", "bad", &[x, &w], &[]);
        });
        assert!(product.contains("node `bad` (MatMul)") && product.contains("Fixed(6)"), "{product}");
        let sum = refused(|g, x| {
            let w = g.floats("w", &[3], &[0.0; 3]);
            g.node("Add", "bad", &[x, &w], &[]);
        });
        assert!(sum.contains("expected axis 2 equal or 1"), "{sum}");
        let reshaped = refused(|g, x| {
            let shape = g.integers("shape", &[-1, 5]);
            g.node("Reshape", "bad", &[x, &shape], &[]);
        });
        assert!(reshaped.contains("divisible"), "{reshaped}");
        let axis = refused(|g, x| {
            g.node("ReduceMax", "bad", &[x], &[AttributeProto::ints("axes", &[3])]);
        });
        assert!(axis.contains("axis 3"), "{axis}");
    }
}
