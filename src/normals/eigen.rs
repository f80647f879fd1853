//! The smallest eigenvector of a neighbourhood's covariance.

use super::NORMAL_OF_DEGENERATE;
use crate::neighbors::grid::{LANES, Lane};

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
        for (sum, component) in self.sum.iter_mut().zip(d) {
            *sum += component;
        }
        let [x, y, z] = d;
        let products = [x * x, x * y, x * z, y * y, y * z, z * z];
        for (sum, product) in self.products.iter_mut().zip(products) {
            *sum += product;
        }
    }
}

/// [`Moments`] of 16 points side by side.
#[derive(Default)]
pub(crate) struct LaneMoments {
    count: [f64; LANES],
    sum: [[f64; LANES]; 3],
    products: [[f64; LANES]; 6],
}

impl LaneMoments {
    /// Adds to every lane whose distance is within its limit.
    #[inline(always)]
    pub(crate) fn add(&mut self, center: [&Lane; 3], other: [&Lane; 3], distances_sq: &Lane, limits: &Lane) {
        for l in 0..LANES {
            let member = distances_sq[l] <= limits[l];
            let d = |axis: usize| if member { f64::from(other[axis][l] - center[axis][l]) } else { 0.0 };
            let (x, y, z) = (d(0), d(1), d(2));
            self.count[l] += if member { 1.0 } else { 0.0 };
            self.sum[0][l] += x;
            self.sum[1][l] += y;
            self.sum[2][l] += z;
            self.products[0][l] += x * x;
            self.products[1][l] += x * y;
            self.products[2][l] += x * z;
            self.products[3][l] += y * y;
            self.products[4][l] += y * z;
            self.products[5][l] += z * z;
        }
    }
}

/// The smallest eigenvectors of all lanes.
#[inline(always)]
pub(crate) fn normals_of_lanes(moments: &LaneMoments, out: &mut [Lane; 3]) {
    for l in 0..LANES {
        let normal = smallest_eigenvector(&Moments {
            count: moments.count[l],
            sum: [moments.sum[0][l], moments.sum[1][l], moments.sum[2][l]],
            products: std::array::from_fn(|i| moments.products[i][l]),
        });
        for (plane, component) in out.iter_mut().zip(normal) {
            plane[l] = component;
        }
    }
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
