//! The networks' passes written out for the CPU: what burn does with a dozen whole-batch tensors is done here
//! patch after patch, while the activations are in the cache.
//!
//! Two things make it several times faster than the general backend (`export/dev/training_step_vs_torch.sh` measures it
//! beside PyTorch): the batch is cut into chunks whose rows stay near the processor, and the maximum over a group is used
//! for what it is. Only the row that holds a maximum gets a gradient, so the widest layer of every network, the one
//! before its maximum, needs one row per channel in the backward pass instead of all rows of the group.
//!
//! Chunks have a fixed size and their gradients are summed in order, so the result does not depend on the number of
//! threads. Tests hold both passes against burn's.

mod shared_mlp;
pub mod normalcy;
pub mod pointnet;

use ndarray::{Array1, Array2};

use crate::graphs::layer::Linear;

/// Patches of one chunk: their activations are a few megabytes.
pub const CHUNK_PATCHES: usize = 16;

/// The gradient of a layer, in the layer's own shape.
fn zero_like(layer: &Linear) -> Linear {
    Linear { weight: Array2::zeros(layer.weight.dim()), bias: Array1::zeros(layer.bias.dim()) }
}

fn add(sum: &mut Linear, part: &Linear) {
    sum.weight += &part.weight;
    sum.bias += &part.bias;
}
