//! C_w: logits of a batch, and the gradient of its weights.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::shared_mlp::{self, Pass};
use super::{CHUNK_PATCHES, add, zero_like};
use crate::graphs::layer::Linear;
use crate::graphs::normalcy::{NormalcyWeights, POINTS};

/// What the forward pass of a batch keeps.
pub struct Forward {
    chunks: Vec<Chunk>,
}

struct Chunk {
    pass: Pass,
    hidden: Array2<f32>,
    logits: Array1<f32>,
}

impl Forward {
    /// Logits, one a patch.
    #[must_use]
    pub fn logits(&self) -> Vec<f32> {
        self.chunks.iter().flat_map(|chunk| chunk.logits.iter().copied()).collect()
    }
}

/// Runs patches given as rows `[P * 64, 3]`.
#[must_use]
pub fn forward(weights: &NormalcyWeights, points: ArrayView2<'_, f32>) -> Forward {
    let rows: Vec<_> = points.axis_chunks_iter(Axis(0), CHUNK_PATCHES * POINTS).collect();
    let run = |points: ArrayView2<'_, f32>| {
        let pass = shared_mlp::forward(&weights.points, points, POINTS);
        let hidden = (pass.pooled.dot(&weights.head[0].weight) + &weights.head[0].bias).mapv(|v| v.max(0.0));
        let logits = hidden.dot(&weights.head[1].weight.column(0)) + weights.head[1].bias[0];
        Chunk { pass, hidden, logits }
    };
    Forward { chunks: rows.into_par_iter().map(run).collect() }
}

/// Gradient of the weights, given the gradient of each logit.
#[must_use]
pub fn backward(
    weights: &NormalcyWeights,
    points: ArrayView2<'_, f32>,
    forward: &Forward,
    gradient: &[f32],
) -> NormalcyWeights {
    let jobs: Vec<_> = forward
        .chunks
        .iter()
        .zip(points.axis_chunks_iter(Axis(0), CHUNK_PATCHES * POINTS))
        .zip(gradient.chunks(CHUNK_PATCHES))
        .collect();
    let parts: Vec<NormalcyWeights> = jobs
        .into_par_iter()
        .map(|((chunk, points), gradient)| chunk_backward(weights, points, chunk, gradient))
        .collect();
    let mut sum = weights.clone();
    sum.layers_mut().into_iter().for_each(|layer| *layer = zero_like(layer));
    for part in &parts {
        sum.layers_mut().into_iter().zip(part.layers()).for_each(|(sum, part)| add(sum, part));
    }
    sum
}

fn chunk_backward(
    weights: &NormalcyWeights,
    points: ArrayView2<'_, f32>,
    chunk: &Chunk,
    gradient: &[f32],
) -> NormalcyWeights {
    let top = Array2::from_shape_fn((gradient.len(), 1), |(p, _)| gradient[p]);
    let [hidden, logit] = [0, 1].map(|i| &weights.head[i]);
    let logit_gradient = dense_gradient(&chunk.hidden, &top);
    let mut flowing = top.dot(&logit.weight.t());
    flowing.zip_mut_with(&chunk.hidden, |g, a| *g = if *a > 0.0 { *g } else { 0.0 });
    let hidden_gradient = dense_gradient(&chunk.pass.pooled, &flowing);
    let pooled = flowing.dot(&hidden.weight.t());
    let below = shared_mlp::backward(&weights.points, points, &chunk.pass, &pooled, false);
    let points = below.layers.try_into().expect("one gradient a layer");
    NormalcyWeights { points, head: [hidden_gradient, logit_gradient] }
}

/// Gradient of a layer, given its input rows and the gradient of its output rows.
pub(super) fn dense_gradient(x: &Array2<f32>, gradient: &Array2<f32>) -> Linear {
    Linear { weight: x.t().dot(gradient), bias: gradient.slice(s![.., ..]).sum_axis(Axis(0)) }
}
