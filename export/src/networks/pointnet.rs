//! The point descriptor E_theta with gradients: layer for layer [`crate::graphs::pointnet`].

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use zal::features::pointnet::Grouping;

use super::dense::{Dense, ParamIds, max_over_rows, rectified_all};
use crate::graphs::layer::Linear;
use crate::graphs::pointnet::{CENTRES_2, NEIGHBOURS, PointNetWeights};

/// E_theta.
#[derive(Module, Debug)]
pub struct PointNet {
    sa1: Vec<Dense>,
    sa2: Vec<Dense>,
    global: Dense,
    head: Vec<Dense>,
}

/// A [`Grouping`] of P patches as rows on the device.
#[derive(Debug, Clone)]
pub struct GroupingRows {
    /// `[P * 32 * 16, 3]`.
    g1: Tensor<2>,
    /// `[P * 8 * 16, 3]`.
    g2: Tensor<2>,
    /// `[P * 8 * 16]`.
    i2: Tensor<1, Int>,
}

impl GroupingRows {
    /// Moves a grouping to the device.
    #[must_use]
    pub fn new(grouping: Grouping, device: &Device) -> Self {
        let rows = |values: ndarray::Array4<f32>| {
            let count = values.len() / 3;
            let (elements, _) = values.into_raw_vec_and_offset();
            Tensor::from_data(TensorData::new(elements, [count, 3]), device)
        };
        let (indices, _) = grouping.i2.into_raw_vec_and_offset();
        let count = indices.len();
        Self {
            g1: rows(grouping.g1),
            g2: rows(grouping.g2),
            i2: Tensor::from_data(TensorData::new(indices, [count]), device),
        }
    }
}

impl PointNet {
    /// The network with these weights.
    ///
    /// # Panics
    /// When a layer's sizes are not the network's: see [`PointNetWeights::check`].
    #[must_use]
    pub fn new(weights: &PointNetWeights, device: &Device) -> Self {
        weights.check().expect("the layers have the network's sizes");
        let mut ids = ParamIds::default();
        let mut layers = |list: &[Linear]| list.iter().map(|l| Dense::new(l, &mut ids, device)).collect();
        let (sa1, sa2): (Vec<Dense>, Vec<Dense>) = (layers(&weights.sa1), layers(&weights.sa2));
        let head = layers(&weights.head);
        Self { sa1, sa2, global: Dense::new(&weights.global, &mut ids, device), head }
    }

    /// All layers, in the order of [`PointNetWeights::layers`].
    pub fn layers(&self) -> impl Iterator<Item = &Dense> {
        self.sa1.iter().chain(&self.sa2).chain([&self.global]).chain(&self.head)
    }

    /// The weights as they are now.
    ///
    /// # Panics
    /// When the device cannot be read.
    #[must_use]
    pub fn weights(&self) -> PointNetWeights {
        let three = |layers: &[Dense]| [0, 1, 2].map(|i| layers[i].linear());
        PointNetWeights {
            sa1: three(&self.sa1),
            sa2: three(&self.sa2),
            global: self.global.linear(),
            head: [0, 1].map(|i| self.head[i].linear()),
        }
    }

    /// Embeddings f_theta of P patches, `[P, 33]`.
    #[must_use]
    pub fn forward(&self, patches: GroupingRows) -> Tensor<2> {
        let local = max_over_rows(rectified_all(&self.sa1, patches.g1), NEIGHBOURS);
        let grouped = Tensor::cat(vec![patches.g2, local.select(0, patches.i2)], 1);
        let middle = max_over_rows(rectified_all(&self.sa2, grouped), NEIGHBOURS);
        let global = max_over_rows(self.global.rectified(middle), CENTRES_2);
        self.head[1].forward(self.head[0].rectified(global))
    }
}
