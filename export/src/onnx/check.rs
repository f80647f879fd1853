//! From a graph to a model: shapes declared, structure and contract checked.
//!
//! The structural rules are those of ONNX's own checker that a wrong builder could break: every name made
//! once, every name made before it is read, every initialiser as long as its shape says, every weight
//! finite. The checker itself is run by `export/dev/check_onnx.py`.

use std::collections::{BTreeMap, BTreeSet};

use zal::contract::{Dtype, GraphContract, TensorContract, TensorInfo};

use super::proto::{
    DimensionProto, DimensionValue, GraphProto, IR_VERSION, ModelProto, OPSET_VERSION, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, ValueInfoProto, elem,
};
use super::shapes::{Extent, TensorType, declare, declare_inner, infer};
use super::{OnnxError, WeightStorage, half};

/// What a finished model carries besides its graph.
#[derive(Debug, Clone)]
pub struct Finish<'a> {
    /// The contract it must meet.
    pub contract: &'a GraphContract,
    /// Symbol of the batch axis.
    pub batch: &'a str,
    /// How the weights are stored.
    pub storage: WeightStorage,
    /// Provenance, in the order in which it is written.
    pub metadata: Vec<(String, String)>,
}

/// Makes a model of a graph written for our operator set: infers and declares every shape, checks structure
/// and contract, stores the weights as asked.
///
/// # Errors
/// When the graph is malformed or does not meet the contract.
pub fn finish(graph: GraphProto, options: &Finish<'_>) -> Result<ModelProto, OnnxError> {
    let opset = OperatorSetIdProto { domain: String::new(), version: OPSET_VERSION };
    let model = ModelProto { ir_version: IR_VERSION, opset_import: vec![opset], ..ModelProto::default() };
    finish_model(model, graph, options)
}

/// As [`finish`], keeping the versions that `model` states.
///
/// # Errors
/// When the graph is malformed or does not meet the contract.
pub fn finish_model(
    mut model: ModelProto,
    mut graph: GraphProto,
    options: &Finish<'_>,
) -> Result<ModelProto, OnnxError> {
    if options.storage == WeightStorage::F16 {
        half::store_weights(&mut graph)?;
    }
    structure(&graph)?;
    let types = infer(&graph)?;
    declare_types(&mut graph, &types, options.batch);
    contract(&graph, options.contract)?;
    model.producer_name = "zal-export".into();
    model.producer_version = env!("CARGO_PKG_VERSION").into();
    for (key, value) in &options.metadata {
        model.metadata_props.retain(|entry| entry.key != *key);
        model.metadata_props.push(StringStringEntryProto { key: key.clone(), value: value.clone() });
    }
    model.graph = Some(graph);
    Ok(model)
}

fn declare_types(graph: &mut GraphProto, types: &BTreeMap<String, TensorType>, batch: &str) {
    for output in &mut graph.output {
        // Where inference does not reach, what the caller declared stays.
        if let Some(found) = types.get(&output.name).filter(|_| known(types, &output.name)) {
            *output = declare(&output.name, found.elem, &found.dims, batch);
        }
    }
    let outputs: BTreeSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let inner =
        graph.node.iter().flat_map(|node| &node.output).filter(|name| !outputs.contains(name.as_str()));
    graph.value_info = inner
        .filter_map(|name| types.get(name).map(|found| declare_inner(name, found.elem, &found.dims)))
        .collect();
}

/// Whether every size of the tensor but the batch is known.
pub(super) fn known(types: &BTreeMap<String, TensorType>, name: &str) -> bool {
    types.get(name).is_some_and(|found| found.dims.iter().skip(1).all(|dim| matches!(dim, Extent::Fixed(_))))
}

/// Checks names, order and initialisers.
///
/// # Errors
/// The first rule that is broken, with the tensor's or node's name.
pub fn structure(graph: &GraphProto) -> Result<(), OnnxError> {
    let mut made: BTreeSet<&str> = BTreeSet::new();
    for input in &graph.input {
        make(&mut made, &input.name)?;
    }
    for tensor in &graph.initializer {
        make(&mut made, &tensor.name)?;
        initialiser(tensor)?;
    }
    for node in &graph.node {
        if let Some(tensor) = node.input.iter().find(|name| !name.is_empty() && !made.contains(name.as_str()))
        {
            return Err(OnnxError::UnknownTensor {
                node: node.name.clone(),
                op: node.op_type.clone(),
                tensor: tensor.clone(),
            });
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            make(&mut made, name)?;
        }
    }
    match graph.output.iter().find(|output| !made.contains(output.name.as_str())) {
        Some(output) => Err(no_such_tensor(graph, &output.name)),
        None => Ok(()),
    }
}

/// The error for a tensor that is not there, naming what is.
pub(super) fn no_such_tensor(graph: &GraphProto, tensor: &str) -> OnnxError {
    let names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    OnnxError::NoSuchTensor { tensor: tensor.into(), available: format!("`{}`", names.join("`, `")) }
}

fn make<'a>(made: &mut BTreeSet<&'a str>, tensor: &'a str) -> Result<(), OnnxError> {
    if made.insert(tensor) { Ok(()) } else { Err(OnnxError::DuplicateTensor { tensor: tensor.into() }) }
}

fn initialiser(tensor: &TensorProto) -> Result<(), OnnxError> {
    if tensor.data_location != 0 || !tensor.external_data.is_empty() {
        return Err(OnnxError::Unsupported {
            found: format!("initialiser `{}` in another file", tensor.name),
            expected: "all weights inside the .onnx file".into(),
        });
    }
    let Some(raw) = &tensor.raw_data else { return Ok(()) };
    let Some(element_bytes) = element_bytes(tensor.data_type) else { return Ok(()) };
    let expected = tensor
        .dims
        .iter()
        .try_fold(element_bytes, |bytes, &size| bytes.checked_mul(usize::try_from(size).ok()?))
        .unwrap_or(usize::MAX);
    if raw.len() != expected {
        return Err(OnnxError::InitialiserSize {
            tensor: tensor.name.clone(),
            dims: tensor.dims.clone(),
            found: raw.len(),
            expected,
        });
    }
    if tensor.data_type == elem::FLOAT { finite(&tensor.name, raw) } else { Ok(()) }
}

fn element_bytes(data_type: i32) -> Option<usize> {
    match data_type {
        elem::BOOL | elem::UINT8 | elem::INT8 => Some(1),
        elem::FLOAT16 => Some(2),
        elem::FLOAT | elem::INT32 => Some(4),
        elem::INT64 | elem::DOUBLE => Some(8),
        _ => None,
    }
}

fn finite(name: &str, raw: &[u8]) -> Result<(), OnnxError> {
    let elements = raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    match elements.enumerate().find(|(_, value)| !value.is_finite()) {
        Some((index, value)) => {
            Err(OnnxError::WeightRange { tensor: name.into(), index, value, limit: f32::MAX, hint: "" })
        }
        None => Ok(()),
    }
}

/// Checks names, element types and shapes of inputs and outputs against the contract. Nothing but the batch
/// may be open: who reads the file learns the channels from it.
///
/// # Errors
/// When something differs or is open.
pub fn contract(graph: &GraphProto, contract: &GraphContract) -> Result<(), OnnxError> {
    let inputs = tensor_infos(&graph.input, contract, contract.inputs)?;
    let outputs = tensor_infos(&graph.output, contract, contract.outputs)?;
    contract.check(&inputs, &outputs)?;
    match outputs.iter().find(|output| output.dims.iter().skip(1).any(Option::is_none)) {
        Some(output) => Err(OnnxError::OpenShape { tensor: output.name.clone(), dims: output.dims.clone() }),
        None => Ok(()),
    }
}

fn tensor_infos(
    declared: &[ValueInfoProto],
    contract: &GraphContract,
    expected: &[TensorContract],
) -> Result<Vec<TensorInfo>, OnnxError> {
    let infos = declared.iter().enumerate().map(|(i, value)| {
        let Some(tensor) = value.tensor() else {
            return Err(OnnxError::OpenShape { tensor: value.name.clone(), dims: Vec::new() });
        };
        let dims = tensor.shape.iter().flat_map(|shape| &shape.dim).map(fixed_size).collect();
        match (Dtype::from_onnx(tensor.elem_type), expected.get(i)) {
            (Some(dtype), _) => Ok(TensorInfo { name: value.name.clone(), dtype, dims }),
            (None, wanted) => {
                let found = format!("element type {}", tensor.elem_type);
                let wanted = wanted.map_or(Dtype::F32, |tensor| tensor.dtype);
                Err(contract.dtype_error(&value.name, &found, wanted).into())
            }
        }
    });
    infos.collect()
}

fn fixed_size(dim: &DimensionProto) -> Option<usize> {
    match dim.value {
        Some(DimensionValue::DimValue(size)) => usize::try_from(size).ok(),
        Some(DimensionValue::DimParam(_)) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;

    fn graph() -> GraphProto {
        let mut graph = GraphBuilder::new("test", "N");
        let x = graph.input("x", elem::FLOAT, &[2]);
        let w = graph.floats("w", &[2], &[1.0, 2.0]);
        let sum = graph.node("Add", "sum", &[&x, &w], &[]);
        graph.output(&sum, "y");
        graph.into_graph()
    }

    fn refusal(change: fn(&mut GraphProto)) -> String {
        let mut graph = graph();
        change(&mut graph);
        structure(&graph).expect_err("the graph is broken").to_string()
    }

    #[test]
    fn a_sound_graph_passes() {
        assert!(structure(&graph()).is_ok());
    }

    #[test]
    fn every_broken_rule_is_named() {
        assert!(refusal(|g| g.node[0].input[1] = "v".into()).contains("reads `v`"));
        assert!(refusal(|g| g.node.push(g.node[0].clone())).contains("`y` is made twice"));
        assert!(refusal(|g| g.output[0].name = "z".into()).contains("no tensor named `z`"));
        assert!(refusal(|g| g.initializer[0].dims = vec![3]).contains("holds 8 bytes"));
        assert!(refusal(|g| g.initializer[0].dims = vec![i64::MAX, 8]).contains("holds 8 bytes"));
        let infinite = |g: &mut GraphProto| {
            let raw = [1.0_f32, f32::INFINITY].iter().flat_map(|x| x.to_le_bytes()).collect();
            g.initializer[0].raw_data = Some(raw);
        };
        assert!(refusal(infinite).contains("`w` holds inf at index 1"));
    }
}
