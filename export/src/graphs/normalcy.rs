//! The normalcy classifier C_w with its adversarial perturbation, as one graph of ordinary operators.
//!
//! C_w is a PointNet: 3-64-64-128-256 on every point, the maximum over the 64 points, then 256-128-1. The
//! patch is moved before it is judged: x' = x + eps sign(grad_x BCE(C_w(x), normal)), and the graph gives
//! l = C_w(x'). With the label normal = 0, BCE(l, 0) = log(1 + e^l), so the gradient that enters the network
//! from above is sigmoid(l). From there the chain rule, written out:
//!
//! ```text
//! h = relu(m W4 + b4), l = h W5 + b5      d/dh = sigmoid(l) W5^T, times [h > 0]
//! m = max over points of a3               d/dm = d/dh W4^T
//!                                         d/da3 = d/dm where a3 equals m, shared equally among ties
//! a_i = relu(a_(i-1) W_i + b_i)           d/da_(i-1) = (d/da_i times [a_i > 0]) W_i^T,  a_(-1) = x
//! ```
//!
//! Points that tie for a maximum share its gradient equally, as a repeated point of a patch with few points
//! does with its copies; ReLU's derivative at 0 is 0. With eps = 0 the result is the plain C_w(x).

use zal::contract::NORMALCY;

use super::layer::{LayerConstants, LayerError, Linear};
use super::pointnet::maximum;
use crate::onnx::builder::{GraphBuilder, Value};
use crate::onnx::check::{Finish, finish};
use crate::onnx::proto::{AttributeProto, ModelProto, elem};
use crate::onnx::{OnnxError, WeightStorage};
use crate::weights::seeded::SeededWeights;

/// Points of a patch.
pub const POINTS: usize = 64;

const POINT_MLP: [usize; 5] = [3, 64, 64, 128, 256];
const HEAD: [usize; 3] = [256, 128, 1];

/// Weights of the normalcy classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalcyWeights {
    /// On every point: 3-64-64-128-256.
    pub points: [Linear; 4],
    /// After the maximum: 256-128-1, ReLU between.
    pub head: [Linear; 2],
}

impl NormalcyWeights {
    /// Random, untrained weights.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut weights = SeededWeights::new(seed);
        let points = [0, 1, 2, 3].map(|i| Linear::seeded(&mut weights, POINT_MLP[i], POINT_MLP[i + 1]));
        let head = [0, 1].map(|i| Linear::seeded(&mut weights, HEAD[i], HEAD[i + 1]));
        Self { points, head }
    }

    /// All layers: points, head.
    #[must_use]
    pub fn layers(&self) -> Vec<&Linear> {
        self.points.iter().chain(&self.head).collect()
    }

    /// All layers, in the order of [`NormalcyWeights::layers`].
    pub fn layers_mut(&mut self) -> Vec<&mut Linear> {
        self.points.iter_mut().chain(&mut self.head).collect()
    }

    /// Checks every layer's sizes.
    ///
    /// # Errors
    /// The first layer that does not fit.
    pub fn check(&self) -> Result<(), LayerError> {
        for (i, layer) in self.points.iter().enumerate() {
            layer.check(&format!("points.{i}"), POINT_MLP[i], POINT_MLP[i + 1])?;
        }
        for (i, layer) in self.head.iter().enumerate() {
            layer.check(&format!("head.{i}"), HEAD[i], HEAD[i + 1])?;
        }
        Ok(())
    }
}

/// The graph of the contract [`NORMALCY`]; `epsilon` is the step of the perturbation in patch units, signed.
///
/// # Errors
/// When a weight or `epsilon` is not finite or too large for the storage.
///
/// # Panics
/// When a layer's sizes are not the network's: see [`NormalcyWeights::check`].
pub fn normalcy_model(
    weights: &NormalcyWeights,
    epsilon: f32,
    storage: WeightStorage,
    metadata: Vec<(String, String)>,
) -> Result<ModelProto, OnnxError> {
    weights.check().expect("the layers have the network's sizes");
    let mut graph = GraphBuilder::new("normalcy", "P");
    let points = graph.input("points", elem::FLOAT, &[POINTS, 3]);
    let network = Network::new(&mut graph, weights);
    let plain = network.forward(&mut graph, "plain.", &points);
    let gradient = network.backward(&mut graph, &plain);
    let sign = graph.node("Sign", "gradient.sign", &[&gradient], &[]);
    let epsilon = graph.floats("epsilon", &[1], &[epsilon]);
    let step = graph.node("Mul", "step", &[&sign, &epsilon], &[]);
    let moved = graph.node("Add", "moved", &[&points, &step], &[]);
    let perturbed = network.forward(&mut graph, "moved.", &moved);
    let shape = graph.integers("logit.shape", &[-1]);
    let logit = graph.node("Reshape", "logit.flat", &[&perturbed.logit, &shape], &[]);
    graph.output(&logit, "logit");
    finish(graph.into_graph(), &Finish { contract: &NORMALCY, batch: "P", storage, metadata })
}

/// The network's constants, shared by both passes.
struct Network {
    points: Vec<LayerConstants>,
    head: Vec<LayerConstants>,
    zero: Value,
}

/// What the backward pass needs of a forward pass.
struct Forward {
    /// Outputs of the layers on points, `[P, 64, out]`.
    activations: Vec<Value>,
    /// Their maximum over points, kept as `[P, 1, 256]`.
    peak: Value,
    /// Output of the head's first layer, `[P, 128]`.
    hidden: Value,
    /// `[P, 1]`.
    logit: Value,
}

impl Network {
    fn new(graph: &mut GraphBuilder, weights: &NormalcyWeights) -> Self {
        let mut constants = |name: &str, layers: &[Linear]| {
            let numbered = layers.iter().enumerate();
            numbered.map(|(i, layer)| LayerConstants::new(graph, &format!("{name}.{i}"), layer)).collect()
        };
        let points = constants("points", &weights.points);
        let head = constants("head", &weights.head);
        Self { points, head, zero: graph.floats("zero", &[1], &[0.0]) }
    }

    fn forward(&self, graph: &mut GraphBuilder, pass: &str, x: &Value) -> Forward {
        let mut activations: Vec<Value> = Vec::with_capacity(self.points.len());
        for layer in &self.points {
            let below = activations.last().unwrap_or(x).clone();
            activations.push(layer.rectified(graph, pass, &below));
        }
        let top = activations.last().expect("the network has four layers on points").clone();
        let keep = [AttributeProto::ints("axes", &[1]), AttributeProto::int("keepdims", 1)];
        let peak = graph.node("ReduceMax", &format!("{pass}peak"), &[&top], &keep);
        let pooled = maximum(graph, &format!("{pass}pooled"), &peak, 1);
        let hidden = self.head[0].rectified(graph, pass, &pooled);
        let logit = self.head[1].linear(graph, pass, &hidden);
        Forward { activations, peak, hidden, logit }
    }

    /// Gradient of BCE(l, 0) by the points, `[P, 64, 3]`.
    fn backward(&self, graph: &mut GraphBuilder, forward: &Forward) -> Value {
        let top = graph.node("Sigmoid", "gradient.logit", &[&forward.logit], &[]);
        let hidden = self.head[1].backward(graph, &top);
        let hidden = self.rectifier(graph, "head.0", &hidden, &forward.hidden);
        let pooled = self.head[0].backward(graph, &hidden);
        let mut gradient = spread(graph, forward, &pooled);
        for (i, layer) in self.points.iter().enumerate().rev() {
            let open = self.rectifier(graph, &format!("points.{i}"), &gradient, &forward.activations[i]);
            gradient = layer.backward(graph, &open);
        }
        gradient
    }

    /// The gradient where the rectified `activation` is positive, 0 elsewhere.
    fn rectifier(&self, graph: &mut GraphBuilder, name: &str, gradient: &Value, activation: &Value) -> Value {
        let open = graph.node("Greater", &format!("gradient.{name}.open"), &[activation, &self.zero], &[]);
        graph.node("Where", &format!("gradient.{name}.relu"), &[&open, gradient, &self.zero], &[])
    }
}

/// The maximum's gradient `[P, 256]` on the points that reach it, shared among ties: `[P, 64, 256]`.
fn spread(graph: &mut GraphBuilder, forward: &Forward, pooled: &Value) -> Value {
    let top = &forward.activations[forward.activations.len() - 1];
    let float = [AttributeProto::int("to", i64::from(elem::FLOAT))];
    let reaches = graph.node("Equal", "gradient.reaches", &[top, &forward.peak], &[]);
    let reaches = graph.node("Cast", "gradient.reaching", &[&reaches], &float);
    let points_axis = graph.integers("gradient.points.axis", &[1]);
    let ties = graph.node(
        "ReduceSum",
        "gradient.ties",
        &[&reaches, &points_axis],
        &[AttributeProto::int("keepdims", 1)],
    );
    let kept = graph.integers("gradient.pooled.shape", &[-1, 1, crate::onnx::shapes::to_i64(HEAD[0])]);
    let pooled = graph.node("Reshape", "gradient.pooled", &[pooled, &kept], &[]);
    let share = graph.node("Div", "gradient.share", &[&pooled, &ties], &[]);
    graph.node("Mul", "gradient.points", &[&reaches, &share], &[])
}
