//! Residual networks as torchvision builds them (version 1.5: the stride of a bottleneck sits in its 3x3
//! convolution), up to the stage of stride 16.
//!
//! The outputs are torchvision's `layer2` (`stride8`) and `layer3` (`stride16`); `layer4` and the classifier
//! serve nothing here and are not written. Batch normalisation is folded into the convolution before it, in
//! 64-bit arithmetic: w' = w g / sqrt(var + 1e-5), b' = beta - mean g / sqrt(var + 1e-5).

use zal::contract::RGB;

use crate::onnx::builder::{GraphBuilder, Value};
use crate::onnx::check::{Finish, finish};
use crate::onnx::proto::{AttributeProto, ModelProto, elem};
use crate::onnx::shapes::to_i64;
use crate::onnx::{OnnxError, WeightStorage};
use crate::weights::checkpoint::{Checkpoint, WeightError};
use crate::weights::seeded::SeededWeights;

/// A tensor that every such network has, whatever the file's prefix.
pub const ANCHOR: &str = "layer1.0.conv1.weight";

/// torchvision's batch normalisation adds this to the variance.
const BATCH_NORM_EPSILON: f64 = 1e-5;

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

    /// Blocks of layer1, layer2 and layer3.
    fn blocks(self) -> [usize; 3] {
        match self {
            Self::Resnet18 => [2, 2, 2],
            Self::Resnet50 | Self::WideResnet50x2 => [3, 4, 6],
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

/// A convolution without bias and the batch normalisation behind it.
#[derive(Debug)]
struct ConvUnit {
    convolution: String,
    normalisation: String,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
}

/// Kernel `[out, in, k, k]` and bias `[out]` with the batch normalisation inside.
#[derive(Debug)]
struct Folded {
    kernel: Vec<f32>,
    bias: Vec<f32>,
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
    let mut network = Network { graph: GraphBuilder::new(arch.name(), "N"), weights: &mut weights };
    let image = network.graph.input("image", elem::FLOAT, &[3, 224, 224]);
    let stem = network.unit(&ConvUnit::new(["conv1", "bn1"], [3, 64], 7, 2), &image)?;
    let stem = network.relu("relu", &stem);
    let mut x = network.graph.node("MaxPool", "maxpool", &[&stem], &window(3, 2));
    let mut channels = 64;
    for (i, blocks) in arch.blocks().into_iter().enumerate() {
        let (layer, width) = (i + 1, 64 << i);
        for block in 0..blocks {
            let stride = if layer > 1 && block == 0 { 2 } else { 1 };
            let place =
                Block { name: format!("layer{layer}.{block}"), arch, inputs: channels, width, stride };
            x = network.block(&place, &x)?;
            channels = place.outputs();
        }
        match layer {
            2 => network.graph.output(&x, "stride8"),
            3 => network.graph.output(&x, "stride16"),
            _ => {}
        }
    }
    let graph = network.graph.into_graph();
    Ok(finish(graph, &Finish { contract: &RGB, batch: "N", storage, metadata })?)
}

/// Where a residual block stands.
struct Block {
    name: String,
    arch: ResnetArch,
    inputs: usize,
    width: usize,
    stride: usize,
}

impl Block {
    fn outputs(&self) -> usize {
        match self.arch {
            ResnetArch::Resnet18 => self.width,
            ResnetArch::Resnet50 | ResnetArch::WideResnet50x2 => 4 * self.width,
        }
    }

    /// The convolutions on the residual side, in order.
    fn units(&self) -> Vec<ConvUnit> {
        let unit = |i: usize, channels, kernel, stride| {
            let names = [format!("{}.conv{i}", self.name), format!("{}.bn{i}", self.name)];
            ConvUnit::new([&names[0], &names[1]], channels, kernel, stride)
        };
        let (inputs, outputs) = (self.inputs, self.outputs());
        let inner = match self.arch {
            ResnetArch::Resnet18 => {
                return vec![unit(1, [inputs, outputs], 3, self.stride), unit(2, [outputs, outputs], 3, 1)];
            }
            ResnetArch::Resnet50 => self.width,
            ResnetArch::WideResnet50x2 => 2 * self.width,
        };
        vec![
            unit(1, [inputs, inner], 1, 1),
            unit(2, [inner, inner], 3, self.stride),
            unit(3, [inner, outputs], 1, 1),
        ]
    }

    /// The convolution beside them, where size or channels change.
    fn shortcut(&self) -> Option<ConvUnit> {
        if self.stride == 1 && self.inputs == self.outputs() {
            return None;
        }
        let names = [format!("{}.downsample.0", self.name), format!("{}.downsample.1", self.name)];
        Some(ConvUnit::new([&names[0], &names[1]], [self.inputs, self.outputs()], 1, self.stride))
    }
}

/// The graph under construction with its weights.
struct Network<'a> {
    graph: GraphBuilder,
    weights: &'a mut ResnetWeights,
}

impl Network<'_> {
    fn block(&mut self, block: &Block, x: &Value) -> Result<Value, WeightError> {
        let mut residual = x.clone();
        let units = block.units();
        for (i, unit) in units.iter().enumerate() {
            residual = self.unit(unit, &residual)?;
            if i + 1 < units.len() {
                residual = self.relu(&format!("{}.relu{}", block.name, i + 1), &residual);
            }
        }
        let shortcut = match block.shortcut() {
            Some(unit) => self.unit(&unit, x)?,
            None => x.clone(),
        };
        let sum = self.graph.node("Add", &format!("{}.add", block.name), &[&residual, &shortcut], &[]);
        Ok(self.relu(&format!("{}.relu", block.name), &sum))
    }

    fn unit(&mut self, unit: &ConvUnit, x: &Value) -> Result<Value, WeightError> {
        let folded = self.weights.folded(unit)?;
        let weight = format!("{}.weight", unit.convolution);
        let kernel = self.graph.floats(&weight, &unit.kernel_shape(), &folded.kernel);
        let bias = self.graph.floats(&format!("{}.bias", unit.convolution), &[unit.outputs], &folded.bias);
        let window = window(unit.kernel, unit.stride);
        Ok(self.graph.node("Conv", &unit.convolution, &[x, &kernel, &bias], &window))
    }

    fn relu(&mut self, name: &str, x: &Value) -> Value {
        self.graph.node("Relu", name, &[x], &[])
    }
}

/// A square window that leaves the size as it is but for the stride.
fn window(kernel: usize, stride: usize) -> [AttributeProto; 3] {
    let (kernel, stride) = (to_i64(kernel), to_i64(stride));
    [
        AttributeProto::ints("kernel_shape", &[kernel; 2]),
        AttributeProto::ints("pads", &[(kernel - 1) / 2; 4]),
        AttributeProto::ints("strides", &[stride; 2]),
    ]
}

impl ConvUnit {
    fn new(names: [&str; 2], [inputs, outputs]: [usize; 2], kernel: usize, stride: usize) -> Self {
        let [convolution, normalisation] = names.map(str::to_owned);
        Self { convolution, normalisation, inputs, outputs, kernel, stride }
    }

    fn kernel_shape(&self) -> [usize; 4] {
        [self.outputs, self.inputs, self.kernel, self.kernel]
    }
}

impl ResnetWeights {
    fn folded(&mut self, unit: &ConvUnit) -> Result<Folded, WeightError> {
        let shape = unit.kernel_shape();
        match self {
            Self::Seeded(weights) => {
                let fan_in = unit.inputs * unit.kernel * unit.kernel;
                let kernel = weights.kaiming(fan_in * unit.outputs, fan_in);
                let (ones, zeros) = (vec![1.0; unit.outputs], vec![0.0; unit.outputs]);
                Ok(fold(
                    &kernel,
                    &Normalisation { gamma: &ones, beta: &zeros, mean: &zeros, variance: &ones },
                ))
            }
            Self::Checkpoint(file) => {
                let kernel = file.tensor(&format!("{}.weight", unit.convolution), &shape)?;
                let vector =
                    |name: &str| file.tensor(&format!("{}.{name}", unit.normalisation), &[unit.outputs]);
                let (gamma, beta) = (vector("weight")?, vector("bias")?);
                let (mean, variance) = (vector("running_mean")?, vector("running_var")?);
                let normalisation =
                    Normalisation { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance };
                Ok(fold(&kernel, &normalisation))
            }
        }
    }
}

/// Parameters of a batch normalisation, `[out]` each.
struct Normalisation<'a> {
    gamma: &'a [f32],
    beta: &'a [f32],
    mean: &'a [f32],
    variance: &'a [f32],
}

/// Folds a batch normalisation into the kernel `[out, ...]` before it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "folded in 64 bits, rounded once to the stored precision"
)]
fn fold(kernel: &[f32], norm: &Normalisation<'_>) -> Folded {
    let outputs = norm.gamma.len();
    let scales: Vec<f64> = (0..outputs)
        .map(|i| f64::from(norm.gamma[i]) / (f64::from(norm.variance[i]) + BATCH_NORM_EPSILON).sqrt())
        .collect();
    let rows = kernel.chunks_exact(kernel.len() / outputs);
    let scaled =
        rows.zip(&scales).flat_map(|(row, scale)| row.iter().map(move |&w| (f64::from(w) * scale) as f32));
    let bias = (0..outputs).map(|i| (f64::from(norm.beta[i]) - f64::from(norm.mean[i]) * scales[i]) as f32);
    Folded { kernel: scaled.collect(), bias: bias.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_equals_convolution_and_normalisation_one_after_the_other() {
        let (kernel, pixels) = ([0.5_f32, -1.5, 2.0, 0.25, 3.0, -0.125], [0.3_f64, -2.0, 1.25]);
        let norm = Normalisation {
            gamma: &[1.5, -0.5],
            beta: &[0.1, 2.0],
            mean: &[-3.0, 0.7],
            variance: &[4.0, 1e-6],
        };
        let folded = fold(&kernel, &norm);
        for i in 0..2 {
            let dot = |weights: &[f32]| {
                weights[3 * i..3 * i + 3].iter().zip(&pixels).map(|(&w, x)| f64::from(w) * x).sum::<f64>()
            };
            let centred = dot(&kernel) - f64::from(norm.mean[i]);
            let deviation = (f64::from(norm.variance[i]) + 1e-5).sqrt();
            let expected = centred / deviation * f64::from(norm.gamma[i]) + f64::from(norm.beta[i]);
            let found = dot(&folded.kernel) + f64::from(folded.bias[i]);
            assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found} for {expected}");
        }
    }
}
