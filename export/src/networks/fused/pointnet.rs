//! E_theta: embeddings of a batch, and the gradient of its weights.

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use rayon::prelude::*;
use zal::features::pointnet::Grouping;

use super::normalcy::dense_gradient;
use super::shared_mlp::{self, Pass};
use super::{CHUNK_PATCHES, add, zero_like};
use crate::graphs::pointnet::{CENTRES_1, CENTRES_2, EMBEDDING, NEIGHBOURS, PointNetWeights};

/// A batch and what its forward pass keeps.
pub struct Forward {
    chunks: Vec<Chunk>,
}

struct Chunk {
    /// `[P * 32 * 16, 3]`.
    g1: Array2<f32>,
    /// `[P * 8 * 16, 3 + 64]`: relative coordinates, then what set abstraction 1 says of that centre.
    grouped: Array2<f32>,
    /// Row of [`Chunk::local`] behind each row of `grouped`.
    sources: Vec<usize>,
    local: Pass,
    middle: Pass,
    global: Pass,
    hidden: Array2<f32>,
    embedding: Array2<f32>,
}

impl Forward {
    /// Embeddings `[P, 33]`.
    ///
    /// # Panics
    /// When the batch is empty.
    #[must_use]
    pub fn embedding(&self) -> Array2<f32> {
        let parts: Vec<ArrayView2<'_, f32>> = self.chunks.iter().map(|c| c.embedding.view()).collect();
        concatenate(Axis(0), &parts).expect("all parts are as wide")
    }
}

/// Runs grouped patches.
#[must_use]
pub fn forward(weights: &PointNetWeights, grouping: &Grouping) -> Forward {
    let count = grouping.g1.dim().0;
    let starts: Vec<usize> = (0..count).step_by(CHUNK_PATCHES).collect();
    let run = |start: usize| chunk_forward(weights, grouping, start, (start + CHUNK_PATCHES).min(count));
    Forward { chunks: starts.into_par_iter().map(run).collect() }
}

fn chunk_forward(weights: &PointNetWeights, grouping: &Grouping, start: usize, end: usize) -> Chunk {
    let patches = end - start;
    let rows = |values: &ndarray::Array4<f32>| {
        let part = values.slice(s![start..end, .., .., ..]).to_owned();
        let count = part.len() / 3;
        part.into_shape_with_order((count, 3)).expect("a slice of whole patches is contiguous")
    };
    let (g1, g2) = (rows(&grouping.g1), rows(&grouping.g2));
    let local = shared_mlp::forward(&weights.sa1, g1.view(), NEIGHBOURS);
    let first = start * CENTRES_1;
    let indices = grouping.i2.slice(s![start..end, .., ..]);
    let sources: Vec<usize> =
        indices.iter().map(|i| usize::try_from(*i).expect("an index is not negative") - first).collect();
    let grouped = concatenate(Axis(1), &[g2.view(), local.pooled.select(Axis(0), &sources).view()])
        .expect("a row for every neighbour");
    let middle = shared_mlp::forward(&weights.sa2, grouped.view(), NEIGHBOURS);
    let global = shared_mlp::forward(std::slice::from_ref(&weights.global), middle.pooled.view(), CENTRES_2);
    let [hidden, out] = [0, 1].map(|i| &weights.head[i]);
    let hidden = (global.pooled.dot(&hidden.weight) + &hidden.bias).mapv(|v| v.max(0.0));
    let embedding = hidden.dot(&out.weight) + &out.bias;
    debug_assert_eq!(embedding.dim(), (patches, EMBEDDING));
    Chunk { g1, grouped, sources, local, middle, global, hidden, embedding }
}

/// Gradient of the weights, given the gradient `[P, 33]` of the embeddings.
#[must_use]
pub fn backward(
    weights: &PointNetWeights,
    forward: &Forward,
    gradient: ArrayView2<'_, f32>,
) -> PointNetWeights {
    let jobs: Vec<_> = forward.chunks.iter().zip(gradient.axis_chunks_iter(Axis(0), CHUNK_PATCHES)).collect();
    let parts: Vec<PointNetWeights> =
        jobs.into_par_iter().map(|(chunk, gradient)| chunk_backward(weights, chunk, gradient)).collect();
    let mut sum = weights.clone();
    sum.layers_mut().into_iter().for_each(|layer| *layer = zero_like(layer));
    for part in &parts {
        sum.layers_mut().into_iter().zip(part.layers()).for_each(|(sum, part)| add(sum, part));
    }
    sum
}

fn chunk_backward(
    weights: &PointNetWeights,
    chunk: &Chunk,
    gradient: ArrayView2<'_, f32>,
) -> PointNetWeights {
    let top = gradient.to_owned();
    let out_gradient = dense_gradient(&chunk.hidden, &top);
    let mut flowing = top.dot(&weights.head[1].weight.t());
    flowing.zip_mut_with(&chunk.hidden, |g, a| *g = if *a > 0.0 { *g } else { 0.0 });
    let hidden_gradient = dense_gradient(&chunk.global.pooled, &flowing);
    let pooled = flowing.dot(&weights.head[0].weight.t());
    let layer = std::slice::from_ref(&weights.global);
    let mut global = shared_mlp::backward(layer, chunk.middle.pooled.view(), &chunk.global, &pooled, true);
    let middle_top = global.input.take().expect("the input's gradient was asked for");
    let mut middle =
        shared_mlp::backward(&weights.sa2, chunk.grouped.view(), &chunk.middle, &middle_top, true);
    let grouped = middle.input.take().expect("the input's gradient was asked for");
    let mut local_top = Array2::zeros(chunk.local.pooled.dim());
    for (row, &source) in grouped.rows().into_iter().zip(&chunk.sources) {
        local_top.row_mut(source).scaled_add(1.0, &row.slice(s![3..]));
    }
    let local = shared_mlp::backward(&weights.sa1, chunk.g1.view(), &chunk.local, &local_top, false);
    PointNetWeights {
        sa1: local.layers.try_into().expect("one gradient a layer"),
        sa2: middle.layers.try_into().expect("one gradient a layer"),
        global: global.layers.swap_remove(0),
        head: [hidden_gradient, out_gradient],
    }
}
