//! The trained networks in burn: the same layers as the graphs in [`crate::graphs`], with gradients.
//!
//! Weights go in and out as the graphs' own weight structs, so that what was trained is what is written, and a
//! network starts from the seeded weights that `zal-export point-graphs` writes: burn's random numbers are
//! never used. Everything is computed on rows (`[rows, columns]` matrices), never on batched matrices: a
//! product over one tall matrix is what every backend does best.

mod dense;
pub mod device;
pub mod fused;
pub mod normalcy;
pub mod pointnet;

pub use dense::{Dense, elements};
