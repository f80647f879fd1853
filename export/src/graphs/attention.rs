//! The activation map of a residual network: the channel sum of |last stage|, the paper's way to find a place
//! on a scan that is worth taking a chunk from.
//!
//! The last stage is torchvision's `layer4` (7 x 7; 2048 channels for resnet50). It follows a ReLU, so that
//! |x| = x; Abs is written all the same, because the definition has it. An untrained network has no running
//! statistics: there every batch normalisation takes mean and variance of the image at hand. A trained one
//! has them, and they are folded.

use zal::contract::{Dim, Dtype, GraphContract, TensorContract};

use super::resnet::{BatchNorm, Network, ResnetArch, ResnetError, ResnetWeights};
use crate::onnx::WeightStorage;
use crate::onnx::check::{Finish, finish};
use crate::onnx::proto::{AttributeProto, ModelProto, elem};

/// Side of the activation map as the network gives it.
pub const MAP_SIZE: usize = 7;

/// `image [N,3,224,224]` (normalised coordinates as channels) -> `activation [N,7,7]`.
pub const ATTENTION: GraphContract = GraphContract {
    name: "attention",
    inputs: &[tensor("image", &[Dim::Batch, Dim::Fixed(3), Dim::Fixed(224), Dim::Fixed(224)])],
    outputs: &[tensor("activation", &[Dim::Batch, Dim::Fixed(MAP_SIZE), Dim::Fixed(MAP_SIZE)])],
    batch_size: 1,
};

const fn tensor(name: &'static str, dims: &'static [Dim]) -> TensorContract {
    TensorContract { name, dtype: Dtype::F32, dims }
}

/// The graph of the contract [`ATTENTION`]: with the image's own statistics for seeded weights, with those of
/// the checkpoint, folded, for trained ones.
///
/// # Errors
/// When the weights do not fit the network or are not finite.
pub fn attention_model(
    arch: ResnetArch,
    mut weights: ResnetWeights,
    metadata: Vec<(String, String)>,
) -> Result<ModelProto, ResnetError> {
    let batch_norm = match weights {
        ResnetWeights::Seeded(_) => BatchNorm::OwnStatistics,
        ResnetWeights::Checkpoint(_) => BatchNorm::Folded,
    };
    let mut network = Network::new("attention", &mut weights, batch_norm);
    let image = network.graph.input("image", elem::FLOAT, &[3, 224, 224]);
    let layers = network.layers(arch, &image, 4)?;
    let mut graph = network.graph;
    let magnitude = graph.node("Abs", "magnitude", &[&layers[3]], &[]);
    let channels = graph.integers("channels.axis", &[1]);
    let drop = [AttributeProto::int("keepdims", 0)];
    let sum = graph.node("ReduceSum", "channels.sum", &[&magnitude, &channels], &drop);
    graph.output(&sum, "activation");
    let options = Finish { contract: &ATTENTION, batch: "N", storage: WeightStorage::F32, metadata };
    Ok(finish(graph.into_graph(), &options)?)
}
