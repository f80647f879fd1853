//! Linear layers: the weights of the point networks and their nodes.

use ndarray::{Array1, Array2};

use crate::onnx::builder::{GraphBuilder, Value};
use crate::onnx::proto::AttributeProto;
use crate::weights::seeded::SeededWeights;

/// A linear layer `y = x W + b`, `W` of shape `[in, out]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// `[in, out]`.
    pub weight: Array2<f32>,
    /// `[out]`.
    pub bias: Array1<f32>,
}

/// A layer whose sizes are not those of the network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("layer `{layer}`: found weight {found:?} and bias [{bias}], expected weight {expected:?} and bias [{}]",
    expected.1)]
pub struct LayerError {
    /// The layer.
    pub layer: String,
    /// Shape of its weight.
    pub found: (usize, usize),
    /// Length of its bias.
    pub bias: usize,
    /// Shape that the network needs.
    pub expected: (usize, usize),
}

impl Linear {
    /// Kaiming weights and zero bias.
    #[must_use]
    pub fn seeded(weights: &mut SeededWeights, inputs: usize, outputs: usize) -> Self {
        let elements = weights.kaiming(inputs * outputs, inputs);
        let weight = Array2::from_shape_vec((inputs, outputs), elements)
            .expect("as many elements are drawn as the shape holds");
        Self { weight, bias: Array1::zeros(outputs) }
    }

    /// Number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.weight.ncols()
    }

    /// Checks the sizes of weight and bias.
    ///
    /// # Errors
    /// When they are not those expected.
    pub fn check(&self, layer: &str, inputs: usize, outputs: usize) -> Result<(), LayerError> {
        let (found, bias, expected) = (self.weight.dim(), self.bias.len(), (inputs, outputs));
        if found == expected && bias == outputs {
            return Ok(());
        }
        Err(LayerError { layer: layer.into(), found, bias, expected })
    }
}

/// A layer's constants in a graph.
#[derive(Debug)]
pub(super) struct LayerConstants {
    name: String,
    weight: Value,
    bias: Value,
}

impl LayerConstants {
    pub(super) fn new(graph: &mut GraphBuilder, name: &str, layer: &Linear) -> Self {
        let (rows, columns) = layer.weight.dim();
        let elements: Vec<f32> = layer.weight.iter().copied().collect();
        let weight = graph.floats(&format!("{name}.weight"), &[rows, columns], &elements);
        let bias = graph.floats(&format!("{name}.bias"), &[columns], &layer.bias.to_vec());
        Self { name: name.into(), weight, bias }
    }

    /// `x W + b`; `prefix` tells apart several passes through the same layer.
    pub(super) fn linear(&self, graph: &mut GraphBuilder, prefix: &str, x: &Value) -> Value {
        let name = format!("{prefix}{}", self.name);
        let product = graph.node("MatMul", &format!("{name}.matmul"), &[x, &self.weight], &[]);
        graph.node("Add", &format!("{name}.add"), &[&product, &self.bias], &[])
    }

    /// `max(x W + b, 0)`.
    pub(super) fn rectified(&self, graph: &mut GraphBuilder, prefix: &str, x: &Value) -> Value {
        let sum = self.linear(graph, prefix, x);
        graph.node("Relu", &format!("{prefix}{}.relu", self.name), &[&sum], &[])
    }

    /// `g W^T`: the gradient by `x` of a gradient `g` by the layer's output. The run-time libraries fold the
    /// transposition of a constant when they load the graph.
    pub(super) fn backward(&self, graph: &mut GraphBuilder, gradient: &Value) -> Value {
        let order = [AttributeProto::ints("perm", &[1, 0])];
        let turned = format!("gradient.{}.weight", self.name);
        let weight = graph.node("Transpose", &turned, &[&self.weight], &order);
        graph.node("MatMul", &format!("gradient.{}.linear", self.name), &[gradient, &weight], &[])
    }
}
