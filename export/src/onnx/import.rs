//! Takes an ONNX backbone made elsewhere: its two outputs are named by the caller, everything else about it
//! is brought to the contract `rgb`.
//!
//! The input becomes `image [N,3,224,224]`, the two tensors become `stride8` and `stride16`; other outputs,
//! the nodes that only they need and constants that nothing reads are dropped; all shapes are inferred
//! afresh, and where an operator has no rule the graph is run once to see them. Versions of format and
//! operators stay as they are, so that no operator changes its meaning.

use std::collections::BTreeSet;

use ndarray::ArrayD;
use prost::Message;
use zal::contract::RGB;
use zal::engine::{EngineChoice, EngineOptions, Input};

use super::check::{Finish, finish_model, known, no_such_tensor, structure};
use super::proto::{GraphProto, IR_VERSION, ModelProto, NodeProto, ValueInfoProto, elem};
use super::shapes::{Extent, declare, infer};
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
    structure(&graph)?;
    let types = infer(&graph)?;
    if !graph.output.iter().all(|output| known(&types, &output.name)) {
        graph.output = measured_outputs(&source, &graph)?;
    }
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

/// Declares the outputs as one run of the graph gives them.
fn measured_outputs(source: &ModelProto, graph: &GraphProto) -> Result<Vec<ValueInfoProto>, OnnxError> {
    let mut model = ModelProto { graph: Some(graph.clone()), ..source.clone() };
    let open = [Extent::BATCH, Extent::Unknown, Extent::Unknown, Extent::Unknown];
    for output in model.graph.iter_mut().flat_map(|graph| &mut graph.output) {
        *output = declare(&output.name, elem::FLOAT, &open, BATCH);
    }
    let options = EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() };
    let mut engine = zal::engine::load(&RGB, &model.encode_to_vec(), &options)?;
    // Two images, so that a batch size written into the graph shows.
    let image = ArrayD::<f32>::zeros(vec![2, 3, 224, 224]);
    let outputs = engine.run(&[Input::F32(image.view())])?;
    let declared = graph.output.iter().zip(&outputs).map(|(output, found)| {
        let sizes = found.shape().iter().skip(1).map(|&size| Extent::Fixed(size));
        let dims: Vec<Extent> = std::iter::once(Extent::BATCH).chain(sizes).collect();
        declare(&output.name, elem::FLOAT, &dims, BATCH)
    });
    Ok(declared.collect())
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
        // Tensor names are unique, node names need not be, and tract refuses two alike.
        node.name = node.output.iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;
    use crate::onnx::proto::{AttributeProto, OperatorSetIdProto};

    /// A foreign backbone: convolutions of stride 8 and 2, a dead branch, and names that collide with ours.
    fn foreign() -> ModelProto {
        let mut graph = GraphBuilder::new("foreign", "batch");
        let x = graph.input("input", elem::FLOAT, &[3, 64, 64]);
        let window = |stride| [AttributeProto::ints("strides", &[stride; 2])];
        let w1 = graph.floats("image", &[4, 3, 1, 1], &[0.5; 12]);
        let w2 = graph.floats("w2", &[6, 4, 1, 1], &[0.5; 24]);
        let unused = graph.floats("unused", &[1], &[0.0]);
        let a = graph.node("Conv", "stride16", &[&x, &w1], &window(8));
        let b = graph.node("Conv", "stride8", &[&a, &w2], &window(2));
        let pooled = graph.node("GlobalAveragePool", "pooled", &[&b], &[]);
        let dead = graph.node("Add", "dead", &[&pooled, &unused], &[]);
        graph.output(&dead, "classes");
        let opset = OperatorSetIdProto { domain: String::new(), version: 13 };
        let graph = Some(graph.into_graph());
        ModelProto { ir_version: 4, opset_import: vec![opset], graph, ..ModelProto::default() }
    }

    fn import(source: ModelProto, stride8: &str, stride16: &str) -> Result<GraphProto, OnnxError> {
        let names = OutputNames { stride8, stride16 };
        let model = import_backbone(source, &names, WeightStorage::F32, Vec::new())?;
        assert_eq!(
            (model.ir_version, model.opset_import[0].version),
            (8, 13),
            "operators keep their version"
        );
        Ok(model.graph.expect("an imported model has a graph"))
    }

    fn refusal(source: ModelProto, stride8: &str, stride16: &str) -> String {
        import(source, stride8, stride16).expect_err("the backbone does not fit").to_string()
    }

    #[test]
    fn names_are_exchanged_and_dead_parts_dropped() {
        let graph = import(foreign(), "stride16", "stride8").unwrap();
        let ends: Vec<_> = graph.node.iter().map(|n| (n.input.join(" "), n.output[0].as_str())).collect();
        assert_eq!(
            ends,
            [("image image.inner".to_owned(), "stride8"), ("stride8 w2".to_owned(), "stride16")]
        );
        let constants: Vec<_> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(constants, ["image.inner", "w2"]);
        let expected = [Extent::BATCH, Extent::Fixed(6), Extent::Fixed(14), Extent::Fixed(14)];
        assert_eq!(graph.output[1], declare("stride16", elem::FLOAT, &expected, "N"));
    }

    #[test]
    fn initialisers_among_the_inputs_are_no_inputs() {
        let mut source = foreign();
        let graph = source.graph.as_mut().unwrap();
        graph.input.push(declare("w2", elem::FLOAT, &[Extent::Fixed(6)], "N"));
        assert_eq!(import(source, "stride16", "stride8").unwrap().input.len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let missing = refusal(foreign(), "stage2", "stride8");
        assert!(missing.contains("`stage2`") && missing.contains("`classes`"), "{missing}");
        let wrong_size = refusal(foreign(), "stride8", "stride16");
        assert!(wrong_size.contains("stride8") && wrong_size.contains("28"), "{wrong_size}");
        assert!(refusal(foreign(), "stride8", "stride8").contains("both outputs"));
        let mut controlled = foreign();
        let graph = controlled.graph.as_mut().unwrap();
        graph.node[0].attribute.push(AttributeProto { g: Some(Vec::new()), ..AttributeProto::default() });
        assert!(refusal(controlled, "stride16", "stride8").contains("sub-graph"));
        let mut external = foreign();
        external.graph.as_mut().unwrap().initializer[0].data_location = 1;
        assert!(refusal(external, "stride16", "stride8").contains("another file"));
        assert!(refusal(ModelProto::default(), "a", "b").contains("without a graph"));
    }

    #[test]
    fn sizes_that_no_rule_gives_are_measured() {
        let mut source = foreign();
        let graph = source.graph.as_mut().unwrap();
        graph.node[1].output[0] = "before".into();
        let floor = NodeProto {
            input: vec!["before".into()],
            output: vec!["stride8".into()],
            op_type: "Floor".into(),
            ..NodeProto::default()
        };
        graph.node.insert(2, floor);
        assert!(!infer(graph).unwrap().contains_key("stride8"), "Floor has no rule");
        let expected = [Extent::BATCH, Extent::Fixed(6), Extent::Fixed(14), Extent::Fixed(14)];
        let imported = import(source, "stride16", "stride8").unwrap();
        assert_eq!(imported.output[1], declare("stride16", elem::FLOAT, &expected, "N"));
    }

    #[test]
    fn an_operator_that_nobody_knows_is_refused() {
        let mut source = foreign();
        source.graph.as_mut().unwrap().node[1].op_type = "SomethingNew".into();
        let message = refusal(source, "stride16", "stride8");
        assert!(message.contains("no rule of shape inference"), "{message}");
    }
}
