//! Takes an ONNX backbone made elsewhere: its two outputs are named by the caller, everything else about it
//! is brought to the contract `rgb`.
//!
//! The input becomes `image [N,3,224,224]`, the two tensors become `stride8` and `stride16`; other outputs,
//! the nodes that only they need and constants that nothing reads are dropped; all shapes are inferred
//! afresh. Versions of format and operators stay as they are, so that no operator changes its meaning.

use std::collections::BTreeSet;

use zal::contract::RGB;

use super::check::{Finish, finish_model, no_such_tensor};
use super::proto::{GraphProto, IR_VERSION, ModelProto, NodeProto, ValueInfoProto, elem};
use super::shapes::{Extent, declare};
use super::{OnnxError, WeightStorage};

/// Symbol of the batch axis.
const BATCH: &str = "N";

/// Tensors of the foreign graph that become the outputs.
#[derive(Debug, Clone, Copy)]
pub struct OutputNames<'a> {
    /// 1/8 of the image's size.
    pub stride8: &'a str,
    /// 1/16 of the image's size.
    pub stride16: &'a str,
}

/// Brings a foreign backbone to the contract [`RGB`].
///
/// # Errors
/// When it uses parts of ONNX that are not supported, lacks the named tensors, or does not meet the contract.
pub fn import_backbone(
    mut source: ModelProto,
    names: &OutputNames<'_>,
    storage: WeightStorage,
    metadata: Vec<(String, String)>,
) -> Result<ModelProto, OnnxError> {
    supported(&source)?;
    let mut graph = source.graph.take().ok_or_else(|| unsupported("a model without a graph", "a graph"))?;
    drop_constant_inputs(&mut graph);
    keep_only(&mut graph, &[names.stride8, names.stride16])?;
    name_ends(&mut graph, names)?;
    graph.name = "rgb".into();
    source.ir_version = source.ir_version.max(IR_VERSION);
    finish_model(source, graph, &Finish { contract: &RGB, batch: BATCH, storage, metadata })
}

fn unsupported(found: impl Into<String>, expected: impl Into<String>) -> OnnxError {
    OnnxError::Unsupported { found: found.into(), expected: expected.into() }
}

/// Refuses what would be lost or misread.
fn supported(model: &ModelProto) -> Result<(), OnnxError> {
    if !model.functions.is_empty() {
        return Err(unsupported("model-local functions", "a graph of standard operators alone"));
    }
    let Some(graph) = &model.graph else { return Ok(()) };
    if !graph.sparse_initializer.is_empty() {
        return Err(unsupported("sparse initialisers", "dense ones"));
    }
    match graph.node.iter().find(|node| holds_subgraph(node)) {
        Some(node) => Err(unsupported(
            format!("node `{}` ({}) with a sub-graph", node.name, node.op_type),
            "a backbone without control flow",
        )),
        None => Ok(()),
    }
}

fn holds_subgraph(node: &NodeProto) -> bool {
    node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
}

/// Old files list every initialiser among the inputs as well; only real inputs stay.
fn drop_constant_inputs(graph: &mut GraphProto) {
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    graph.input.retain(|input| !constants.contains(input.name.as_str()));
}

/// Drops nodes and constants that the wanted tensors do not need.
fn keep_only(graph: &mut GraphProto, wanted: &[&str]) -> Result<(), OnnxError> {
    let mut needed: BTreeSet<String> = wanted.iter().map(|&name| name.to_owned()).collect();
    for name in wanted {
        if !graph.node.iter().any(|node| node.output.iter().any(|output| output == name)) {
            return Err(no_such_tensor(graph, name));
        }
    }
    let mut kept = Vec::with_capacity(graph.node.len());
    while let Some(node) = graph.node.pop() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| needed.contains(&tensor.name));
    graph.quantization_annotation.clear();
    Ok(())
}

/// Gives input and outputs the contract's names, and the input its shape.
fn name_ends(graph: &mut GraphProto, names: &OutputNames<'_>) -> Result<(), OnnxError> {
    let input = single_input(graph)?;
    if names.stride8 == names.stride16 {
        return Err(unsupported(format!("`{}` named for both outputs", names.stride8), "two tensors"));
    }
    let new_names =
        [(input, "image"), (names.stride8.into(), "stride8"), (names.stride16.into(), "stride16")];
    rename_all(graph, &new_names);
    let dims = [Extent::BATCH, Extent::Fixed(3), Extent::Fixed(224), Extent::Fixed(224)];
    graph.input = vec![declare("image", elem::FLOAT, &dims, BATCH)];
    graph.output = ["stride8", "stride16"]
        .map(|name| ValueInfoProto { name: name.into(), ..ValueInfoProto::default() })
        .into();
    Ok(())
}

fn single_input(graph: &GraphProto) -> Result<String, OnnxError> {
    let [input] = &graph.input[..] else {
        let names: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
        return Err(unsupported(format!("{} inputs ({})", names.len(), names.join(", ")), "one image"));
    };
    match input.tensor().map_or(0, |tensor| tensor.elem_type) {
        elem::FLOAT => Ok(input.name.clone()),
        other => Err(unsupported(format!("an input of element type {other}"), "32-bit floats (1)")),
    }
}

/// Renames all pairs at once, so that names may be exchanged. A tensor that only happens to carry one of the
/// new names makes way.
fn rename_all(graph: &mut GraphProto, pairs: &[(String, &str)]) {
    let renamed = |name: &mut String| {
        if let Some((_, new)) = pairs.iter().find(|(old, _)| old == name) {
            *name = (*new).into();
        } else if pairs.iter().any(|(_, new)| new == name) {
            name.push_str(".inner");
        }
    };
    graph.initializer.iter_mut().for_each(|tensor| renamed(&mut tensor.name));
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(renamed);
    }
}
