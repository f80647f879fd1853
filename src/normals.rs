//! Surface normals: the direction in which a point's neighbours spread least.
//!
//! The covariance of the neighbours (the point included) is summed in f64 from
//! differences to the point, and its smallest eigenvector taken; the result is exact to
//! the last bits of f32, so that descriptors built on it fall into the same bins as those
//! of a double-precision implementation. Points whose neighbours coincide or lie on one
//! line have no normal of their own: they get (0, 0, 1), oriented like all others.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::neighbors::{NeighborList, PointTree, Reach};

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

/// Sums over a point's neighbours: count, d, and the six products of d's components, where
/// d is the difference to the point.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    pub(crate) count: f64,
    pub(crate) sum: [f64; 3],
    /// xx, xy, xz, yy, yz, zz.
    pub(crate) products: [f64; 6],
}

impl Moments {
    /// The point alone.
    pub(crate) fn of_point() -> Self {
        Self { count: 1.0, ..Self::default() }
    }

    /// Adds the neighbour at difference `d`.
    #[inline(always)]
    pub(crate) fn add(&mut self, d: [f64; 3]) {
        self.count += 1.0;
        for axis in 0..3 {
            self.sum[axis] += d[axis];
        }
        let [x, y, z] = d;
        let products = [x * x, x * y, x * z, y * y, y * z, z * z];
        for (sum, product) in self.products.iter_mut().zip(products) {
            *sum += product;
        }
    }
}

/// Estimates the normal of every point of a cloud without a grid, `[n]` unit vectors.
#[must_use]
pub fn estimate_unorganized(points: &[[f32; 3]], reach: Reach, orientation: Orientation) -> Vec<[f32; 3]> {
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

/// The unit eigenvector of the smallest eigenvalue of the covariance.
///
/// The eigenvalue by Newton's method on the characteristic polynomial, from below, where
/// the steps cannot overshoot; the vector as the longest cross product of two rows of
/// A - lambda I. No branches: the window kernel runs it on 16 points at once.
#[expect(clippy::cast_possible_truncation, reason = "a unit vector is stored as f32")]
#[inline(always)]
pub(crate) fn smallest_eigenvector(moments: &Moments) -> [f32; 3] {
    let n = moments.count;
    let [sx, sy, sz] = moments.sum;
    let [xx, xy, xz, yy, yz, zz] = moments.products;
    // n times the covariance; only directions matter, so it is scaled to trace 1.
    let (a, b, c) = (xx - sx * sx / n, xy - sx * sy / n, xz - sx * sz / n);
    let (d, e, f) = (yy - sy * sy / n, yz - sy * sz / n, zz - sz * sz / n);
    let scale = 1.0 / (a + d + f);
    let (a, b, c, d, e, f) = (a * scale, b * scale, c * scale, d * scale, e * scale, f * scale);
    // det(A - t I) = -(t^3 - t^2 + minors t - det)
    let minors = a * d - b * b + a * f - c * c + d * f - e * e;
    let det = a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d);
    let mut t = 0.0;
    for _ in 0..NEWTON_STEPS {
        let value = ((t - 1.0) * t + minors) * t - det;
        let slope = (3.0 * t - 2.0) * t + minors;
        let step = value / slope;
        t -= if step < 0.0 { step } else { 0.0 };
    }
    let (a, d, f) = (a - t, d - t, f - t);
    let crosses = [
        [b * e - c * d, b * c - a * e, a * d - b * b],
        [b * f - c * e, c * c - a * f, a * e - b * c],
        [d * f - e * e, c * e - b * f, b * e - c * d],
    ];
    let mut best = crosses[0];
    let mut best_sq = norm_sq(best);
    for cross in &crosses[1..] {
        let longer = norm_sq(*cross) > best_sq;
        best_sq = if longer { norm_sq(*cross) } else { best_sq };
        for axis in 0..3 {
            best[axis] = if longer { cross[axis] } else { best[axis] };
        }
    }
    let inverse = 1.0 / best_sq.sqrt();
    let defined = best_sq > RANK_MIN;
    [0, 1, 2].map(|axis| if defined { (best[axis] * inverse) as f32 } else { NORMAL_OF_DEGENERATE[axis] })
}

/// Enough for convergence to f64 but where the two smallest eigenvalues nearly coincide,
/// and there no direction is better than another.
const NEWTON_STEPS: usize = 12;
/// With the covariance scaled to trace 1, a longest cross product below this (squared)
/// means that the points spread along at most one direction.
const RANK_MIN: f64 = 1e-22;

#[inline(always)]
fn norm_sq(v: [f64; 3]) -> f64 {
    v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
}

/// Turns a normal as the mode wants it.
#[inline(always)]
pub(crate) fn oriented(normal: [f32; 3], point: [f32; 3], orientation: Orientation) -> [f32; 3] {
    let away = normal[0] * point[0] + normal[1] * point[1] + normal[2] * point[2] > 0.0;
    if away && orientation == Orientation::Camera { normal.map(|c| -c) } else { normal }
}
