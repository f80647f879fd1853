//! Residual networks as torchvision builds them (version 1.5: the stride of a bottleneck sits in its 3x3
//! convolution).
//!
//! The colour backbone ends at the stage of stride 16: its outputs are torchvision's `layer2` (`stride8`) and
//! `layer3` (`stride16`), with batch normalisation folded into the convolutions. `layer4` serves the
//! activation map alone ([`super::attention`]); the classifier serves nothing here and is never written.

mod network;
mod unit;

use zal::contract::RGB;

use crate::onnx::check::{Finish, finish};
use crate::onnx::proto::{ModelProto, elem};
use crate::onnx::{OnnxError, WeightStorage};
use crate::weights::checkpoint::{Checkpoint, WeightError};
use crate::weights::seeded::SeededWeights;

pub(super) use network::{BatchNorm, Network};

/// A tensor that every such network has, whatever the file's prefix.
pub const ANCHOR: &str = "layer1.0.conv1.weight";

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ResnetArch {
    /// 18 layers, basic blocks: 128 and 256 channels out.
    #[value(name = "resnet18")]
    Resnet18,
    /// 50 layers, bottlenecks: 512 and 1024 channels out.
    #[value(name = "resnet50")]
    Resnet50,
    /// As resnet50 with bottlenecks twice as wide.
    #[value(name = "wide_resnet50_2")]
    WideResnet50x2,
}

impl ResnetArch {
    /// torchvision's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet18 => "resnet18",
            Self::Resnet50 => "resnet50",
            Self::WideResnet50x2 => "wide_resnet50_2",
        }
    }

    /// Blocks of layer1 to layer4.
    fn blocks(self) -> [usize; 4] {
        match self {
            Self::Resnet18 => [2, 2, 2, 2],
            Self::Resnet50 | Self::WideResnet50x2 => [3, 4, 6, 3],
        }
    }
}

/// Why a network could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResnetError {
    /// The weights could not be read.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// The graph could not be made.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

/// Where the weights come from.
#[derive(Debug)]
pub enum ResnetWeights {
    /// Kaiming kernels, batch normalisation as identity.
    Seeded(SeededWeights),
    /// A checkpoint with torchvision's tensor names.
    Checkpoint(Checkpoint),
}

/// The graph of the contract [`RGB`].
///
/// # Errors
/// When the weights do not fit the network, are not finite, or are too large for the storage.
pub fn resnet_model(
    arch: ResnetArch,
    mut weights: ResnetWeights,
    storage: WeightStorage,
    metadata: Vec<(String, String)>,
) -> Result<ModelProto, ResnetError> {
    let mut network = Network::new(arch.name(), &mut weights, BatchNorm::Folded);
    let image = network.graph.input("image", elem::FLOAT, &[3, 224, 224]);
    let layers = network.layers(arch, &image, 3)?;
    network.graph.output(&layers[1], "stride8");
    network.graph.output(&layers[2], "stride16");
    let graph = network.graph.into_graph();
    Ok(finish(graph, &Finish { contract: &RGB, batch: "N", storage, metadata })?)
}
