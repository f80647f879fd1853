//! The learned point descriptor E_theta: a small PointNet++ on the 64 points of a patch.
//!
//! Layout (our choice; the paper gives none): set abstraction 1 over 32 centres of 16 neighbours, MLP
//! 3-32-32-64; set abstraction 2 over 8 centres of 16 neighbours, MLP 67-64-64-128; group-all 128-256;
//! linear 256-128-33. Each abstraction ends with a maximum over its group. Group-all works on the 128
//! features alone: the graph gets coordinates relative to their centres only (`g1`, `g2`), so it does not
//! know where the 8 centres lie.
//!
//! Sampling and grouping are done outside, and enter as indices and relative coordinates. The graph holds
//! only MatMul, Add, Relu, Gather, ReduceMax, Reshape and Concat: no loops, nothing that TensorRT refuses.

use zal::contract::POINTNET;

use super::layer::{LayerConstants, LayerError, Linear};
use crate::onnx::builder::{GraphBuilder, Value};
use crate::onnx::check::{Finish, finish};
use crate::onnx::proto::{AttributeProto, ModelProto, elem};
use crate::onnx::{OnnxError, WeightStorage};
use crate::weights::seeded::SeededWeights;

/// Centres of set abstraction 1.
pub const CENTRES_1: usize = 32;
/// Centres of set abstraction 2.
pub const CENTRES_2: usize = 8;
/// Neighbours of every centre.
pub const NEIGHBOURS: usize = 16;
/// Length of the embedding.
pub const EMBEDDING: usize = 33;

const SA1: [usize; 4] = [3, 32, 32, 64];
const SA2: [usize; 4] = [3 + SA1[3], 64, 64, 128];
const GLOBAL: usize = 256;
const HEAD: usize = 128;

/// Weights of the point descriptor.
#[derive(Debug, Clone, PartialEq)]
pub struct PointNetWeights {
    /// Set abstraction 1: 3-32-32-64.
    pub sa1: [Linear; 3],
    /// Set abstraction 2: 67-64-64-128; the inputs are 3 coordinates, then 64 features.
    pub sa2: [Linear; 3],
    /// Group-all: 128-256.
    pub global: Linear,
    /// Head: 256-128-33, ReLU between.
    pub head: [Linear; 2],
}

impl PointNetWeights {
    /// Random, untrained weights.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut weights = SeededWeights::new(seed);
        let mut mlp =
            |sizes: [usize; 4]| [0, 1, 2].map(|i| Linear::seeded(&mut weights, sizes[i], sizes[i + 1]));
        let (sa1, sa2) = (mlp(SA1), mlp(SA2));
        let global = Linear::seeded(&mut weights, SA2[3], GLOBAL);
        let head = [(GLOBAL, HEAD), (HEAD, EMBEDDING)].map(|(i, o)| Linear::seeded(&mut weights, i, o));
        Self { sa1, sa2, global, head }
    }

    /// All layers: sa1, sa2, global, head.
    #[must_use]
    pub fn layers(&self) -> Vec<&Linear> {
        self.sa1.iter().chain(&self.sa2).chain([&self.global]).chain(&self.head).collect()
    }

    /// All layers, in the order of [`PointNetWeights::layers`].
    pub fn layers_mut(&mut self) -> Vec<&mut Linear> {
        self.sa1.iter_mut().chain(&mut self.sa2).chain([&mut self.global]).chain(&mut self.head).collect()
    }

    /// Checks every layer's sizes.
    ///
    /// # Errors
    /// The first layer that does not fit.
    pub fn check(&self) -> Result<(), LayerError> {
        for i in 0..3 {
            self.sa1[i].check(&format!("sa1.{i}"), SA1[i], SA1[i + 1])?;
            self.sa2[i].check(&format!("sa2.{i}"), SA2[i], SA2[i + 1])?;
        }
        self.global.check("global", SA2[3], GLOBAL)?;
        self.head[0].check("head.0", GLOBAL, HEAD)?;
        self.head[1].check("head.1", HEAD, EMBEDDING)
    }
}

/// The graph of the contract [`POINTNET`].
///
/// # Errors
/// When a weight is not finite or too large for the storage.
///
/// # Panics
/// When a layer's sizes are not the network's: see [`PointNetWeights::check`].
pub fn pointnet_model(
    weights: &PointNetWeights,
    storage: WeightStorage,
    metadata: Vec<(String, String)>,
) -> Result<ModelProto, OnnxError> {
    weights.check().expect("the layers have the network's sizes");
    let mut graph = GraphBuilder::new("pointnet", "P");
    let g1 = graph.input("g1", elem::FLOAT, &[CENTRES_1, NEIGHBOURS, 3]);
    let g2 = graph.input("g2", elem::FLOAT, &[CENTRES_2, NEIGHBOURS, 3]);
    let i2 = graph.input("i2", elem::INT64, &[CENTRES_2, NEIGHBOURS]);
    let local = abstraction(&mut graph, "sa1", &weights.sa1, &g1);
    let grouped = regroup(&mut graph, &local, &g2, &i2);
    let middle = abstraction(&mut graph, "sa2", &weights.sa2, &grouped);
    let global =
        LayerConstants::new(&mut graph, "global", &weights.global).rectified(&mut graph, "", &middle);
    let pooled = maximum(&mut graph, "global.max", &global, 1);
    let hidden =
        LayerConstants::new(&mut graph, "head.0", &weights.head[0]).rectified(&mut graph, "", &pooled);
    let embedding =
        LayerConstants::new(&mut graph, "head.1", &weights.head[1]).linear(&mut graph, "", &hidden);
    graph.output(&embedding, "embedding");
    finish(graph.into_graph(), &Finish { contract: &POINTNET, batch: "P", storage, metadata })
}

/// Three layers on every neighbour, then the maximum over a centre's neighbours:
/// `[P, centres, 16, in]` -> `[P, centres, out]`.
fn abstraction(graph: &mut GraphBuilder, name: &str, layers: &[Linear; 3], x: &Value) -> Value {
    let mut x = x.clone();
    for (i, layer) in layers.iter().enumerate() {
        x = LayerConstants::new(graph, &format!("{name}.{i}"), layer).rectified(graph, "", &x);
    }
    maximum(graph, &format!("{name}.max"), &x, 2)
}

/// Picks the features of each centre's neighbours and sets their coordinates before them:
/// `[P, 32, 64]` -> `[P, 8, 16, 67]`. Row `p * 32 + j` of the flattened features is centre j of patch p.
fn regroup(graph: &mut GraphBuilder, features: &Value, g2: &Value, i2: &Value) -> Value {
    let shape = graph.integers("sa1.rows", &[-1, crate::onnx::shapes::to_i64(SA1[3])]);
    let rows = graph.node("Reshape", "sa1.flat", &[features, &shape], &[]);
    let picked = graph.node("Gather", "sa2.picked", &[&rows, i2], &[AttributeProto::int("axis", 0)]);
    graph.node("Concat", "sa2.grouped", &[g2, &picked], &[AttributeProto::int("axis", 3)])
}

/// Maximum over `axis`, which is dropped.
pub(super) fn maximum(graph: &mut GraphBuilder, name: &str, x: &Value, axis: i64) -> Value {
    let attributes = [AttributeProto::ints("axes", &[axis]), AttributeProto::int("keepdims", 0)];
    graph.node("ReduceMax", name, &[x], &attributes)
}
