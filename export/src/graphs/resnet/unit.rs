//! A convolution and the batch normalisation behind it: sizes, weights, and folding one into the other.
//!
//! Folding is done in 64-bit arithmetic: w' = w g / sqrt(var + 1e-5), b' = beta - mean g / sqrt(var + 1e-5).

use super::ResnetWeights;
use crate::weights::checkpoint::WeightError;

/// torchvision's batch normalisation adds this to the variance, and so does ONNX's InstanceNormalization
/// when the graph does not say otherwise.
pub(super) const BATCH_NORM_EPSILON: f64 = 1e-5;

/// A convolution without bias and the batch normalisation behind it.
#[derive(Debug)]
pub(super) struct ConvUnit {
    pub(super) convolution: String,
    pub(super) normalisation: String,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
}

impl ConvUnit {
    pub(super) fn new(names: [&str; 2], [inputs, outputs]: [usize; 2], kernel: usize, stride: usize) -> Self {
        let [convolution, normalisation] = names.map(str::to_owned);
        Self { convolution, normalisation, inputs, outputs, kernel, stride }
    }

    pub(super) fn kernel_shape(&self) -> [usize; 4] {
        [self.outputs, self.inputs, self.kernel, self.kernel]
    }
}

/// Kernel `[out, in, k, k]` and the parameters of the batch normalisation, `[out]` each.
pub(super) struct UnitWeights {
    pub(super) kernel: Vec<f32>,
    pub(super) gamma: Vec<f32>,
    pub(super) beta: Vec<f32>,
    pub(super) mean: Vec<f32>,
    pub(super) variance: Vec<f32>,
}

/// Kernel `[out, in, k, k]` and bias `[out]` with the batch normalisation inside.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) kernel: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl ResnetWeights {
    /// Weights of one unit: drawn, or read from the checkpoint.
    pub(super) fn unit(&mut self, unit: &ConvUnit) -> Result<UnitWeights, WeightError> {
        match self {
            Self::Seeded(weights) => {
                let fan_in = unit.inputs * unit.kernel * unit.kernel;
                let kernel = weights.kaiming(fan_in * unit.outputs, fan_in);
                let (ones, zeros) = (vec![1.0; unit.outputs], vec![0.0; unit.outputs]);
                Ok(UnitWeights {
                    kernel,
                    gamma: ones.clone(),
                    beta: zeros.clone(),
                    mean: zeros,
                    variance: ones,
                })
            }
            Self::Checkpoint(file) => {
                let vector =
                    |name: &str| file.tensor(&format!("{}.{name}", unit.normalisation), &[unit.outputs]);
                Ok(UnitWeights {
                    kernel: file.tensor(&format!("{}.weight", unit.convolution), &unit.kernel_shape())?,
                    gamma: vector("weight")?,
                    beta: vector("bias")?,
                    mean: vector("running_mean")?,
                    variance: vector("running_var")?,
                })
            }
        }
    }
}

/// Folds a batch normalisation into the kernel before it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "folded in 64 bits, rounded once to the stored precision"
)]
pub(super) fn fold(weights: &UnitWeights) -> Folded {
    let outputs = weights.gamma.len();
    let scales: Vec<f64> = (0..outputs)
        .map(|i| f64::from(weights.gamma[i]) / (f64::from(weights.variance[i]) + BATCH_NORM_EPSILON).sqrt())
        .collect();
    let rows = weights.kernel.chunks_exact(weights.kernel.len() / outputs);
    let scaled =
        rows.zip(&scales).flat_map(|(row, scale)| row.iter().map(move |&w| (f64::from(w) * scale) as f32));
    let bias =
        (0..outputs).map(|i| (f64::from(weights.beta[i]) - f64::from(weights.mean[i]) * scales[i]) as f32);
    Folded { kernel: scaled.collect(), bias: bias.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_equals_convolution_and_normalisation_one_after_the_other() {
        let pixels = [0.3_f64, -2.0, 1.25];
        let weights = UnitWeights {
            kernel: vec![0.5, -1.5, 2.0, 0.25, 3.0, -0.125],
            gamma: vec![1.5, -0.5],
            beta: vec![0.1, 2.0],
            mean: vec![-3.0, 0.7],
            variance: vec![4.0, 1e-6],
        };
        let folded = fold(&weights);
        for i in 0..2 {
            let dot = |kernel: &[f32]| {
                kernel[3 * i..3 * i + 3].iter().zip(&pixels).map(|(&w, x)| f64::from(w) * x).sum::<f64>()
            };
            let centred = dot(&weights.kernel) - f64::from(weights.mean[i]);
            let deviation = (f64::from(weights.variance[i]) + 1e-5).sqrt();
            let expected = centred / deviation * f64::from(weights.gamma[i]) + f64::from(weights.beta[i]);
            let found = dot(&folded.kernel) + f64::from(folded.bias[i]);
            assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found} for {expected}");
        }
    }
}
