//! The nodes of a residual network: stem, blocks, and the two ways of batch normalisation.

use super::unit::{ConvUnit, fold};
use super::{ResnetArch, ResnetWeights};
use crate::onnx::builder::{GraphBuilder, Value};
use crate::onnx::proto::AttributeProto;
use crate::onnx::shapes::to_i64;
use crate::weights::checkpoint::WeightError;

/// How the output of a convolution is normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graphs) enum BatchNorm {
    /// By the running statistics of the weights, folded into the convolution.
    Folded,
    /// By mean and variance of the present image's own activations, channel by channel: the statistics of
    /// a batch of that one image.
    OwnStatistics,
}

/// A residual network under construction.
pub(in crate::graphs) struct Network<'a> {
    pub(in crate::graphs) graph: GraphBuilder,
    weights: &'a mut ResnetWeights,
    batch_norm: BatchNorm,
}

impl<'a> Network<'a> {
    /// An empty graph with the symbol `N` for its batch.
    pub(in crate::graphs) fn new(name: &str, weights: &'a mut ResnetWeights, batch_norm: BatchNorm) -> Self {
        Self { graph: GraphBuilder::new(name, "N"), weights, batch_norm }
    }

    /// Stem and the first `count` layers on `image`; gives the output of each layer.
    pub(in crate::graphs) fn layers(
        &mut self,
        arch: ResnetArch,
        image: &Value,
        count: usize,
    ) -> Result<Vec<Value>, WeightError> {
        let stem = self.unit(&ConvUnit::new(["conv1", "bn1"], [3, 64], 7, 2), image)?;
        let stem = self.relu("relu", &stem);
        let mut x = self.graph.node("MaxPool", "maxpool", &[&stem], &window(3, 2));
        let mut channels = 64;
        let mut outputs = Vec::with_capacity(count);
        for (i, blocks) in arch.blocks().into_iter().enumerate().take(count) {
            let (layer, width) = (i + 1, 64 << i);
            for block in 0..blocks {
                let stride = if layer > 1 && block == 0 { 2 } else { 1 };
                let place =
                    Block { name: format!("layer{layer}.{block}"), arch, inputs: channels, width, stride };
                x = self.block(&place, &x)?;
                channels = place.outputs();
            }
            outputs.push(x.clone());
        }
        Ok(outputs)
    }

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
        match self.batch_norm {
            BatchNorm::Folded => self.folded_unit(unit, x),
            BatchNorm::OwnStatistics => self.normalised_unit(unit, x),
        }
    }

    fn folded_unit(&mut self, unit: &ConvUnit, x: &Value) -> Result<Value, WeightError> {
        let folded = fold(&self.weights.unit(unit)?);
        let weight = format!("{}.weight", unit.convolution);
        let kernel = self.graph.floats(&weight, &unit.kernel_shape(), &folded.kernel);
        let bias = self.graph.floats(&format!("{}.bias", unit.convolution), &[unit.outputs], &folded.bias);
        let window = window(unit.kernel, unit.stride);
        Ok(self.graph.node("Conv", &unit.convolution, &[x, &kernel, &bias], &window))
    }

    /// InstanceNormalization takes mean and variance over the pixels of each channel of each image, which is
    /// what batch normalisation does with a batch of one.
    fn normalised_unit(&mut self, unit: &ConvUnit, x: &Value) -> Result<Value, WeightError> {
        let weights = self.weights.unit(unit)?;
        let (convolution, normalisation) = (&unit.convolution, &unit.normalisation);
        let kernel =
            self.graph.floats(&format!("{convolution}.weight"), &unit.kernel_shape(), &weights.kernel);
        let gamma = self.graph.floats(&format!("{normalisation}.weight"), &[unit.outputs], &weights.gamma);
        let beta = self.graph.floats(&format!("{normalisation}.bias"), &[unit.outputs], &weights.beta);
        let window = window(unit.kernel, unit.stride);
        let map = self.graph.node("Conv", convolution, &[x, &kernel], &window);
        Ok(self.graph.node("InstanceNormalization", normalisation, &[&map, &gamma, &beta], &[]))
    }

    fn relu(&mut self, name: &str, x: &Value) -> Value {
        self.graph.node("Relu", name, &[x], &[])
    }
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

/// A square window that leaves the size as it is but for the stride.
fn window(kernel: usize, stride: usize) -> [AttributeProto; 3] {
    let (kernel, stride) = (to_i64(kernel), to_i64(stride));
    [
        AttributeProto::ints("kernel_shape", &[kernel; 2]),
        AttributeProto::ints("pads", &[(kernel - 1) / 2; 4]),
        AttributeProto::ints("strides", &[stride; 2]),
    ]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array4, s};
    use prost::Message;
    use zal::contract::{Dim, Dtype, GraphContract, TensorContract};
    use zal::engine::Input;

    use super::super::unit::BATCH_NORM_EPSILON;
    use super::*;
    use crate::bank_build::embedded_engine;
    use crate::onnx::WeightStorage;
    use crate::onnx::check::{Finish, finish};
    use crate::onnx::proto::elem;
    use crate::weights::seeded::SeededWeights;

    const SIDE: usize = 9;

    const TINY: GraphContract = GraphContract {
        name: "tiny",
        inputs: &[tensor("image", &[Dim::Batch, Dim::Fixed(3), Dim::Fixed(SIDE), Dim::Fixed(SIDE)])],
        outputs: &[tensor("map", &[Dim::Batch, Dim::Fixed(4), Dim::Fixed(5), Dim::Fixed(5)])],
        batch_size: 1,
    };

    const fn tensor(name: &'static str, dims: &'static [Dim]) -> TensorContract {
        TensorContract { name, dtype: Dtype::F32, dims }
    }

    /// Convolution of stride 2, then every channel of every image by its own mean and variance, all in f64.
    fn plain(image: &Array4<f32>, kernel: &[f32]) -> Array4<f64> {
        let padded = |n: usize, c: usize, y: usize, x: usize| {
            let pixel = (y.checked_sub(1), x.checked_sub(1));
            let (Some(y), Some(x)) = pixel else { return 0.0 };
            image.get((n, c, y, x)).map_or(0.0, |value| f64::from(*value))
        };
        let weight =
            |o: usize, c: usize, y: usize, x: usize| f64::from(kernel[((o * 3 + c) * 3 + y) * 3 + x]);
        let mut map = Array4::from_shape_fn((image.dim().0, 4, 5, 5), |(n, o, row, column)| {
            let mut sum = 0.0;
            for (c, y, x) in (0..27).map(|i| (i / 9, i / 3 % 3, i % 3)) {
                sum += weight(o, c, y, x) * padded(n, c, 2 * row + y, 2 * column + x);
            }
            sum
        });
        for (n, o) in (0..image.dim().0).flat_map(|n| (0..4).map(move |o| (n, o))) {
            let mut channel = map.slice_mut(s![n, o, .., ..]);
            let mean = channel.sum() / 25.0;
            let variance = channel.mapv(|v| (v - mean).powi(2)).sum() / 25.0;
            channel.mapv_inplace(|v| (v - mean) / (variance + BATCH_NORM_EPSILON).sqrt());
        }
        map
    }

    #[test]
    fn own_statistics_are_those_of_each_channel_of_each_image() {
        let unit = ConvUnit::new(["conv", "bn"], [3, 4], 3, 2);
        let mut weights = ResnetWeights::Seeded(SeededWeights::new(5));
        let mut network = Network::new("tiny", &mut weights, BatchNorm::OwnStatistics);
        let image = network.graph.input("image", elem::FLOAT, &[3, SIDE, SIDE]);
        let map = network.unit(&unit, &image).expect("seeded weights fit");
        network.graph.output(&map, "map");
        let graph = network.graph.into_graph();
        let options =
            Finish { contract: &TINY, batch: "N", storage: WeightStorage::F32, metadata: Vec::new() };
        let model = finish(graph, &options).expect("the graph is sound");
        let mut engine =
            zal::engine::load(&TINY, &model.encode_to_vec(), &embedded_engine()).expect("tract takes it");
        // The second image is brighter and has more contrast: each must be normalised by itself.
        let mut step = 0.0_f32;
        let images = Array4::from_shape_fn((2, 3, SIDE, SIDE), |(n, ..)| {
            step += 0.37;
            if n == 0 { step.sin() } else { 3.0 + 5.0 * (1.7 * step).sin() }
        });
        let found = &engine.run(&[Input::F32(images.view().into_dyn())]).expect("it runs")[0];
        let kernel = SeededWeights::new(5).kaiming(4 * 27, 27);
        let expected = plain(&images, &kernel);
        for (a, b) in found.iter().zip(&expected) {
            // Values are of the size of 1; 32-bit sums of 27 and 25 terms.
            assert!((f64::from(*a) - b).abs() < 1e-5, "{a} for {b}");
        }
    }
}
