//! A linear layer with gradients.

use burn::module::{Module, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use ndarray::{Array1, Array2};

use crate::graphs::layer::Linear;

/// `y = x W + b` on rows, `W` of shape `[in, out]`.
#[derive(Module, Debug)]
pub struct Dense {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

/// Gives the parameters of one network their identities: 0, 1, 2, ... in the order of its layers, so that a
/// saved optimizer finds its parameters again in another process.
#[derive(Debug, Default)]
pub struct ParamIds(u64);

impl ParamIds {
    fn next(&mut self) -> ParamId {
        self.0 += 1;
        ParamId::from(self.0)
    }
}

impl Dense {
    /// A layer that starts from these weights.
    #[must_use]
    pub fn new(linear: &Linear, ids: &mut ParamIds, device: &Device) -> Self {
        let (inputs, outputs) = linear.weight.dim();
        let elements: Vec<f32> = linear.weight.iter().copied().collect();
        let weight = Tensor::from_data(TensorData::new(elements, [inputs, outputs]), device);
        let bias = Tensor::from_data(TensorData::new(linear.bias.to_vec(), [outputs]), device);
        Self {
            weight: Param::initialized(ids.next(), weight.require_grad()),
            bias: Param::initialized(ids.next(), bias.require_grad()),
        }
    }

    /// `x W + b` of rows `[n, in]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val()) + self.bias.val().unsqueeze_dim(0)
    }

    /// `max(x W + b, 0)` of rows `[n, in]`.
    #[must_use]
    pub fn rectified(&self, x: Tensor<2>) -> Tensor<2> {
        relu(self.forward(x))
    }

    /// Hands the gradient of this layer to an optimizer's step.
    pub fn register(&self, gradient: &Linear, gradients: &mut GradientsParams) {
        let device = self.weight.device().inner();
        let (inputs, outputs) = gradient.weight.dim();
        let elements: Vec<f32> = gradient.weight.iter().copied().collect();
        let weight = Tensor::<2>::from_data(TensorData::new(elements, [inputs, outputs]), &device);
        let bias = Tensor::<1>::from_data(TensorData::new(gradient.bias.to_vec(), [outputs]), &device);
        gradients.register(self.weight.id, weight);
        gradients.register(self.bias.id, bias);
    }

    /// The gradient of this layer, in its own shape.
    ///
    /// # Panics
    /// When the loss does not depend on the layer.
    #[must_use]
    pub fn gradient(&self, gradients: &Gradients) -> Linear {
        let weight = self.weight.val().grad(gradients).expect("the loss depends on every layer");
        let bias = self.bias.val().grad(gradients).expect("the loss depends on every layer");
        linear(weight, bias)
    }

    /// The weights as they are now.
    ///
    /// # Panics
    /// When the device cannot be read.
    #[must_use]
    pub fn linear(&self) -> Linear {
        linear(self.weight.val(), self.bias.val())
    }
}

fn linear(weight: Tensor<2>, bias: Tensor<1>) -> Linear {
    let [inputs, outputs] = weight.dims();
    Linear {
        weight: Array2::from_shape_vec((inputs, outputs), elements(weight))
            .expect("a tensor holds its shape"),
        bias: Array1::from_vec(elements(bias)),
    }
}

/// The elements of a tensor, row-major.
///
/// # Panics
/// When the device cannot be read: a GPU that was lost takes the training with it; the checkpoint stays.
#[must_use]
pub fn elements<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().expect("the elements were converted to f32")
}

/// A sequence of layers, each followed by ReLU.
#[must_use]
pub fn rectified_all(layers: &[Dense], x: Tensor<2>) -> Tensor<2> {
    layers.iter().fold(x, |x, layer| layer.rectified(x))
}

/// Maximum over each `group` consecutive rows: `[n * group, d]` -> `[n, d]`.
#[must_use]
pub fn max_over_rows(x: Tensor<2>, group: usize) -> Tensor<2> {
    let [rows, columns] = x.dims();
    let grouped: Tensor<3> = x.reshape([rows / group, group, columns]);
    grouped.max_dim(1).reshape([rows / group, columns])
}
