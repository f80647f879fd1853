//! Exact neighbours of a point: its `k` nearest, or all within a radius.
//!
//! Three searches, one answer. [`window`] looks only at the pixels around a point of an
//! organised cloud and proves that nothing outside can be nearer; [`cluster`] does the same
//! with boxes of close points for clouds without a grid; [`tree`] is a kd-tree for the
//! points and settings that neither can settle. All measure squared distances with [`distance_sq`], so that membership never depends on
//! which of them answered. Nothing here knows what the neighbours are for.

pub mod cluster;
pub mod grid;
pub mod spans;
pub mod tree;
pub mod window;

use serde::{Deserialize, Serialize};

pub use tree::PointTree;

/// Which neighbours belong to a point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The `k` nearest points, the point itself being the first of them. Of two points at
    /// the same distance the one with the smaller index is nearer. When the cloud has
    /// fewer points, all of them.
    Nearest(usize),
    /// All points within this distance in metres, border included.
    Within(f32),
}

impl Reach {
    /// The reach of a pair of settings: the radius when there is one, else the `k` nearest.
    #[must_use]
    pub const fn of(k: usize, radius_m: Option<f32>) -> Self {
        match radius_m {
            Some(radius_m) => Self::Within(radius_m),
            None => Self::Nearest(k),
        }
    }
}

/// The neighbours of one point, without the point itself, ascending by index. A scratch
/// buffer: searches clear and refill it.
#[derive(Debug, Clone, Default)]
pub struct NeighborList {
    /// Indices into the cloud's points.
    pub indices: Vec<u32>,
    /// Squared distances in m2, as [`distance_sq`] gives them.
    pub distances_sq: Vec<f32>,
}

/// Squared distance. Every search rounds in this order and without fused operations: a
/// threshold found by one then selects the same points in another.
#[inline(always)]
#[must_use]
pub fn distance_sq(a: [f32; 3], b: [f32; 3]) -> f32 {
    let (dx, dy, dz) = (b[0] - a[0], b[1] - a[1], b[2] - a[2]);
    dx * dx + dy * dy + dz * dz
}
