//! Builds a graph node by node.
//!
//! A node's output carries the node's name, so that a tensor in a profile or an error message points to one
//! line of the code that made it. Shapes are not given here: [`super::check::finish`] infers them.

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, elem};
use super::shapes::Extent;

/// A tensor of the graph under construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

/// A graph under construction.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: GraphProto,
    batch: &'static str,
    renames: Vec<(String, String)>,
}

impl GraphBuilder {
    /// An empty graph; `batch` is the symbol of the batch axis, `N` or `P`.
    #[must_use]
    pub fn new(name: &str, batch: &'static str) -> Self {
        let graph = GraphProto { name: name.into(), ..GraphProto::default() };
        Self { graph, batch, renames: Vec::new() }
    }

    /// Adds an input of element type `elem_type` and shape `[batch, inner...]`.
    pub fn input(&mut self, name: &str, elem_type: i32, inner: &[usize]) -> Value {
        let mut dims = vec![Extent::BATCH];
        dims.extend(inner.iter().map(|&size| Extent::Fixed(size)));
        self.graph.input.push(super::shapes::declare(name, elem_type, &dims, self.batch));
        Value(name.into())
    }

    /// Adds a constant of 32-bit floats.
    ///
    /// # Panics
    /// When the number of elements does not fit the shape: shapes are checked where weights are read.
    pub fn floats(&mut self, name: &str, shape: &[usize], elements: &[f32]) -> Value {
        assert_eq!(shape.iter().product::<usize>(), elements.len(), "elements of `{name}` fit its shape");
        let raw = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        self.constant(name, elem::FLOAT, shape, raw)
    }

    /// Adds a constant vector of 64-bit integers.
    pub fn integers(&mut self, name: &str, elements: &[i64]) -> Value {
        let raw = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        self.constant(name, elem::INT64, &[elements.len()], raw)
    }

    /// Adds a constant of 8-bit integers, given as bytes; `elem_type` says whether they have a sign.
    ///
    /// # Panics
    /// When the number of elements does not fit the shape.
    pub fn bytes(&mut self, name: &str, elem_type: i32, shape: &[usize], elements: &[u8]) -> Value {
        assert_eq!(shape.iter().product::<usize>(), elements.len(), "elements of `{name}` fit its shape");
        self.constant(name, elem_type, shape, elements.to_vec())
    }

    fn constant(&mut self, name: &str, data_type: i32, shape: &[usize], raw: Vec<u8>) -> Value {
        let dims = shape.iter().map(|&size| super::shapes::to_i64(size)).collect();
        self.graph.initializer.push(TensorProto {
            dims,
            data_type,
            name: name.into(),
            raw_data: Some(raw),
            ..TensorProto::default()
        });
        Value(name.into())
    }

    /// Adds a node with one output, which carries the node's name.
    pub fn node(&mut self, op: &str, name: &str, inputs: &[&Value], attributes: &[AttributeProto]) -> Value {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: vec![name.into()],
            name: name.into(),
            op_type: op.into(),
            attribute: attributes.to_vec(),
            ..NodeProto::default()
        });
        Value(name.into())
    }

    /// Makes `value` an output of the graph under `name`.
    pub fn output(&mut self, value: &Value, name: &str) {
        self.renames.push((value.0.clone(), name.into()));
        self.graph.output.push(ValueInfoProto { name: name.into(), ..ValueInfoProto::default() });
    }

    /// The graph as built; [`super::check::finish`] makes a model of it.
    #[must_use]
    pub fn into_graph(mut self) -> GraphProto {
        for (from, to) in &self.renames {
            rename(&mut self.graph, from, to);
        }
        self.graph
    }
}

/// Renames a tensor wherever nodes make or read it.
fn rename(graph: &mut GraphProto, from: &str, to: &str) {
    for node in &mut graph.node {
        for name in node.input.iter_mut().chain(&mut node.output) {
            if name == from {
                *name = to.into();
            }
        }
    }
}
