//! Surface normals: the direction in which a point's neighbours spread least.
//!
//! The covariance of the neighbours (the point included) is summed in f64 from
//! differences to the point, and its smallest eigenvector taken; the result is exact to
//! the last bits of f32, so that descriptors built on it fall into the same bins as those
//! of a double-precision implementation. Points whose neighbours coincide or lie on one
//! line have no normal of their own: they get (0, 0, 1), oriented like all others.

mod clustered;
mod eigen;
mod windowed;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cloud::OrganizedCloud;
use crate::neighbors::{NeighborList, PointTree, Reach};
use eigen::{Moments, smallest_eigenvector};

pub(crate) use clustered::{ClusterBlock, Neighborhoods};
pub(crate) use windowed::{Compact, Surface};

/// The normal of a point that has none: along the optical axis.
pub const NORMAL_OF_DEGENERATE: [f32; 3] = [0.0, 0.0, 1.0];

/// Which of its two directions a normal points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    /// Towards the camera, which is the origin.
    #[default]
    Camera,
    /// As the eigenvector comes out: repeatable, but of arbitrary sign.
    None,
}

/// Estimates the normals of the measured points of an organised cloud: unit vectors in the
/// order of [`OrganizedCloud::valid_indices`].
#[must_use]
pub fn estimate(cloud: &OrganizedCloud, reach: Reach, orientation: Orientation) -> Vec<[f32; 3]> {
    let pixels = cloud.valid_indices();
    let Some(surface) = Surface::search(cloud, Some((reach, orientation)), reach) else {
        let points: Vec<_> = pixels.into_iter().map(|i| cloud.points()[i]).collect();
        return estimate_unorganized(&points, reach, orientation);
    };
    let at = |pixel: usize| surface.grid().at(pixel / cloud.width(), pixel % cloud.width());
    pixels.into_iter().map(|pixel| surface.normal(at(pixel))).collect()
}

/// Estimates the normal of every point of a cloud without a grid, `[n]` unit vectors.
#[must_use]
pub fn estimate_unorganized(points: &[[f32; 3]], reach: Reach, orientation: Orientation) -> Vec<[f32; 3]> {
    if let Some((_, normals)) = Neighborhoods::search(points, Some((reach, orientation)), reach) {
        return normals;
    }
    let tree = PointTree::new(points);
    let find = |list: &mut NeighborList, index: usize| {
        tree.neighbors(index, reach, list);
        normal_of_list(points, index, &list.indices, orientation)
    };
    (0..points.len()).into_par_iter().map_init(NeighborList::default, find).collect()
}

/// The normal of one point from its neighbours (the point itself not among them).
pub(crate) fn normal_of_list(
    points: &[[f32; 3]],
    index: usize,
    neighbors: &[u32],
    orientation: Orientation,
) -> [f32; 3] {
    let center = points[index];
    let mut moments = Moments::of_point();
    for neighbor in neighbors {
        let other = points[*neighbor as usize];
        moments.add([0, 1, 2].map(|axis| f64::from(other[axis] - center[axis])));
    }
    oriented(smallest_eigenvector(&moments), center, orientation)
}

/// Turns a normal as the mode wants it.
#[inline(always)]
pub(crate) fn oriented(normal: [f32; 3], point: [f32; 3], orientation: Orientation) -> [f32; 3] {
    let away = normal[0] * point[0] + normal[1] * point[1] + normal[2] * point[2] > 0.0;
    if away && orientation == Orientation::Camera { normal.map(|c| -c) } else { normal }
}
