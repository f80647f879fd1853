//! The normalcy classifier C_w with gradients: layer for layer [`crate::graphs::normalcy`].

use burn::module::Module;
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};

use super::dense::{Dense, ParamIds, max_over_rows, rectified_all};
use crate::graphs::layer::Linear;
use crate::graphs::normalcy::{NormalcyWeights, POINTS};

/// C_w.
#[derive(Module, Debug)]
pub struct Normalcy {
    points: Vec<Dense>,
    head: Vec<Dense>,
}

impl Normalcy {
    /// The network with these weights.
    ///
    /// # Panics
    /// When a layer's sizes are not the network's: see [`NormalcyWeights::check`].
    #[must_use]
    pub fn new(weights: &NormalcyWeights, device: &Device) -> Self {
        weights.check().expect("the layers have the network's sizes");
        let mut ids = ParamIds::default();
        let mut layers = |list: &[Linear]| list.iter().map(|l| Dense::new(l, &mut ids, device)).collect();
        let points = layers(&weights.points);
        Self { points, head: layers(&weights.head) }
    }

    /// All layers, in the order of [`NormalcyWeights::layers`].
    pub fn layers(&self) -> impl Iterator<Item = &Dense> {
        self.points.iter().chain(&self.head)
    }

    /// The weights as they are now.
    ///
    /// # Panics
    /// When the device cannot be read.
    #[must_use]
    pub fn weights(&self) -> NormalcyWeights {
        NormalcyWeights {
            points: [0, 1, 2, 3].map(|i| self.points[i].linear()),
            head: [0, 1].map(|i| self.head[i].linear()),
        }
    }

    /// Logits of P patches given as rows `[P * 64, 3]`: `[P]`, higher is less normal.
    #[must_use]
    pub fn forward(&self, points: Tensor<2>) -> Tensor<1> {
        let pooled = max_over_rows(rectified_all(&self.points, points), POINTS);
        let logits = self.head[1].forward(self.head[0].rectified(pooled));
        let count = logits.dims()[0];
        logits.reshape([count])
    }

    /// Logits after the adversarial step (METHOD section 6): x' = x + epsilon sign(grad_x BCE(C_w(x), 0)). Of points
    /// that tie for a maximum burn moves the first; the written graph moves all copies of a repeated point.
    ///
    /// # Panics
    /// When the points lie on a device without gradients.
    #[must_use]
    pub fn perturbed(&self, points: Tensor<2>, epsilon: f32) -> Tensor<1> {
        let points = points.detach().require_grad();
        let loss = softplus(self.forward(points.clone()), 1.0).sum();
        let gradients = loss.backward();
        let gradient = points.grad(&gradients).expect("the points require a gradient");
        let step = Tensor::from_inner(gradient.sign().mul_scalar(epsilon));
        self.forward(points.detach() + step)
    }
}
