//! One step of training: losses, gradients, Adam.
//!
//! On the CPU the passes through the networks are the fused ones; losses and Adam are burn's everywhere.

use anyhow::Context;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array2, Array3, ArrayView2, s};
use zal::features::pointnet::{PATCH_POINT_COUNT, group};

use super::batches::Batch;
use super::params::TrainParams;
use crate::graphs::normalcy::NormalcyWeights;
use crate::graphs::pointnet::PointNetWeights;
use crate::losses::{binary_cross_entropy, contrastive, disentanglement, unit_rows};
use crate::networks::normalcy::Normalcy;
use crate::networks::pointnet::{GroupingRows, PointNet};
use crate::networks::{elements, fused};

/// Losses of one step or the means of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Losses {
    /// Contrastive.
    pub contrastive: f64,
    /// Disentanglement, before its weight.
    pub disentanglement: f64,
    /// Binary cross-entropy of the classifier.
    pub classifier: f64,
}

/// A network with its optimizer.
struct Trainee<M> {
    network: M,
    optimizer: ModuleOptimizer,
}

impl<M: Module> Trainee<M> {
    fn new(network: M) -> Self {
        Self { network, optimizer: AdamConfig::new().with_epsilon(1e-8).init() }
    }

    fn step(&mut self, learning_rate: f64, gradients: GradientsParams) {
        self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients);
    }
}

/// Both networks in training.
pub struct Learner {
    pointnet: Trainee<PointNet>,
    normalcy: Trainee<Normalcy>,
    device: Device,
    /// Whether the passes are the fused ones.
    fused: bool,
}

impl Learner {
    /// Starts from these weights.
    #[must_use]
    pub fn new(pointnet: &PointNetWeights, normalcy: &NormalcyWeights, device: &Device, fused: bool) -> Self {
        Self {
            pointnet: Trainee::new(PointNet::new(pointnet, device)),
            normalcy: Trainee::new(Normalcy::new(normalcy, device)),
            device: device.clone(),
            fused,
        }
    }

    /// The networks' weights as they are now.
    #[must_use]
    pub fn weights(&self) -> (PointNetWeights, NormalcyWeights) {
        (self.pointnet.network.weights(), self.normalcy.network.weights())
    }

    /// State of both optimizers, as bytes.
    ///
    /// # Errors
    /// When burn cannot write it.
    pub fn optimizer_bytes(&self) -> anyhow::Result<[Vec<u8>; 2]> {
        let bytes = |optimizer: &ModuleOptimizer| -> anyhow::Result<Vec<u8>> {
            Ok(optimizer.into_bytes().context("writing the optimizer's state")?.to_vec())
        };
        Ok([bytes(&self.pointnet.optimizer)?, bytes(&self.normalcy.optimizer)?])
    }

    /// Takes up the state that [`Learner::optimizer_bytes`] gave.
    ///
    /// # Errors
    /// When the bytes are not such a state.
    pub fn restore_optimizers(&mut self, [pointnet, normalcy]: [Vec<u8>; 2]) -> anyhow::Result<()> {
        let restored = |bytes: Vec<u8>| {
            let fresh = AdamConfig::new().with_epsilon(1e-8).init();
            fresh.from_bytes(burn::tensor::Bytes::from_bytes_vec(bytes)).context("the optimizer's state")
        };
        self.pointnet.optimizer = restored(pointnet)?;
        self.normalcy.optimizer = restored(normalcy)?;
        Ok(())
    }

    /// One step on a batch; the losses are those before it.
    pub fn step(&mut self, batch: &Batch, params: &TrainParams, learning_rate: f64) -> Losses {
        let Self { pointnet, normalcy, device, fused } = self;
        let mut embed = || embedding_step(pointnet, batch, params, learning_rate, (device, *fused));
        let mut classify = || classifier_step(normalcy, batch, learning_rate, (device, *fused));
        let ((contrastive, disentanglement), classifier) =
            if *fused { rayon::join(embed, classify) } else { (embed(), classify()) };
        Losses { contrastive, disentanglement, classifier }
    }

    /// Embeddings `[n, 33]` of patches `[n, 64, 3]`.
    #[must_use]
    pub fn embed(&self, points: &Array3<f32>) -> Array2<f32> {
        if self.fused {
            return fused::pointnet::forward(&self.pointnet.network.weights(), &group(points)).embedding();
        }
        to_array(self.pointnet.network.forward(GroupingRows::new(group(points), &self.device)))
    }

    /// Logits of patches `[n, 64, 3]` after a perturbation step of `epsilon`.
    #[must_use]
    pub fn classify(&self, points: &Array3<f32>, epsilon: f32) -> Vec<f32> {
        let rows = point_rows(points);
        let plain = epsilon.abs() <= 0.0;
        if self.fused && plain {
            return fused::normalcy::forward(&self.normalcy.network.weights(), rows.view()).logits();
        }
        let rows = tensor(rows.view(), &self.device);
        let network = &self.normalcy.network;
        elements(if plain { network.forward(rows) } else { network.perturbed(rows, epsilon) })
    }
}

/// Contrastive and disentanglement loss, and Adam's step on E_theta.
fn embedding_step(
    trainee: &mut Trainee<PointNet>,
    batch: &Batch,
    params: &TrainParams,
    learning_rate: f64,
    (device, fused): (&Device, bool),
) -> (f64, f64) {
    let grouping = group(&batch.points);
    let mut gradients = GradientsParams::new();
    let losses = if fused {
        let weights = trainee.network.weights();
        let forward = fused::pointnet::forward(&weights, &grouping);
        let embedding = tensor(forward.embedding().view(), device).require_grad();
        let (loss, losses) = embedding_loss(&embedding, batch, params, device);
        let all = loss.backward();
        let top = to_array(embedding.grad(&all).expect("the embedding requires a gradient"));
        let parts = fused::pointnet::backward(&weights, &forward, top.view());
        for (layer, part) in trainee.network.layers().zip(parts.layers()) {
            layer.register(part, &mut gradients);
        }
        losses
    } else {
        let embedding = trainee.network.forward(GroupingRows::new(grouping, device));
        let (loss, losses) = embedding_loss(&embedding, batch, params, device);
        gradients = GradientsParams::from_grads(loss.backward(), &trainee.network);
        losses
    };
    trainee.step(learning_rate, gradients);
    losses
}

/// L_con + weight L_rd, and both parts as numbers.
fn embedding_loss(
    embedding: &Tensor<2>,
    batch: &Batch,
    params: &TrainParams,
    device: &Device,
) -> (Tensor<1>, (f64, f64)) {
    let [count, _] = embedding.dims();
    let normal = embedding.clone().narrow(0, 0, batch.normal_count);
    let pseudo = embedding.clone().narrow(0, batch.normal_count, count - batch.normal_count);
    let unit = (unit_rows(normal.clone()), unit_rows(pseudo));
    let contrastive = contrastive(&unit.0, &unit.1, params.temperature, params.positives);
    let fpfh = tensor(batch.fpfh.view(), device);
    let apart = disentanglement(normal, fpfh, params.disentanglement);
    let parts = (number(contrastive.clone()), number(apart.clone()));
    (contrastive + apart.mul_scalar(params.disentanglement_weight), parts)
}

/// Binary cross-entropy, and Adam's step on C_w.
fn classifier_step(
    trainee: &mut Trainee<Normalcy>,
    batch: &Batch,
    learning_rate: f64,
    (device, fused): (&Device, bool),
) -> f64 {
    let rows = point_rows(&batch.points);
    let count = batch.points.dim().0;
    let loss_of = |logits: Tensor<1>| {
        let normal = logits.clone().narrow(0, 0, batch.normal_count);
        binary_cross_entropy(normal, logits.narrow(0, batch.normal_count, count - batch.normal_count))
    };
    let mut gradients = GradientsParams::new();
    let loss = if fused {
        let weights = trainee.network.weights();
        let forward = fused::normalcy::forward(&weights, rows.view());
        let data = TensorData::new(forward.logits(), [count]);
        let logits = Tensor::<1>::from_data(data, device).require_grad();
        let loss = loss_of(logits.clone());
        let all = loss.backward();
        let top = elements(logits.grad(&all).expect("the logits require a gradient"));
        let parts = fused::normalcy::backward(&weights, rows.view(), &forward, &top);
        for (layer, part) in trainee.network.layers().zip(parts.layers()) {
            layer.register(part, &mut gradients);
        }
        loss
    } else {
        let loss = loss_of(trainee.network.forward(tensor(rows.view(), device)));
        gradients = GradientsParams::from_grads(loss.backward(), &trainee.network);
        loss
    };
    trainee.step(learning_rate, gradients);
    number(loss)
}

/// Patches `[n, 64, 3]` as rows `[n * 64, 3]`.
fn point_rows(points: &Array3<f32>) -> Array2<f32> {
    let rows = points.dim().0 * PATCH_POINT_COUNT;
    points.to_shape((rows, 3)).expect("patches hold 64 points of 3 coordinates").to_owned()
}

fn tensor(values: ArrayView2<'_, f32>, device: &Device) -> Tensor<2> {
    let (rows, columns) = values.dim();
    let elements: Vec<f32> = values.slice(s![.., ..]).iter().copied().collect();
    Tensor::from_data(TensorData::new(elements, [rows, columns]), device)
}

fn to_array(tensor: Tensor<2>) -> Array2<f32> {
    let [rows, columns] = tensor.dims();
    Array2::from_shape_vec((rows, columns), elements(tensor)).expect("a tensor holds its shape")
}

fn number(loss: Tensor<1>) -> f64 {
    f64::from(loss.into_scalar::<f32>())
}
