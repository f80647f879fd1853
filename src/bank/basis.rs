//! Short coordinates whose distances never exceed those of the rows: the lower bound behind
//! the exact search and the coreset.
//!
//! A basis is a mean `m` and up to [`AXES`] - 1 principal axes, the rows of a matrix `W`. The
//! coordinates of a vector `v` are `y = W (v - m)` and, as the last one, the residual
//! `r = sqrt(|v - m|^2 - |y|^2)`.
//!
//! **They bound distances from below.** For every `W` whose spectral norm is at most 1, the
//! map `x -> (W x, S x)` with `S = (I - W^T W)^(1/2)` keeps lengths, and `|S x| = r`. So
//! `|a - b|^2 = |y_a - y_b|^2 + |S (a - b)|^2 >= |y_a - y_b|^2 + (r_a - r_b)^2`. Nothing else
//! is asked of `W`: it need be neither orthonormal nor principal, and a bad one costs time,
//! never a wrong answer. `certify` makes sure of the norm: the largest absolute row sum of
//! `W W^T` bounds its square.
//!
//! **Rounding.** Let `u = 2^-53`, `z` the computed `v - m`, `d` the columns and `|W|_F <= 8`.
//! - `z` is rounded once, so it moves by at most `u |z|`.
//! - A dot product of `d` terms, summed in whatever order, errs by at most
//!   `1.01 d u |w| |z|`; over all axes by `e = 8.1 d u |z|`.
//! - `|z|^2` errs by `1.01 d u |z|^2` and `|y|^2` by `2.1 e |z|`, so `r^2` by at most
//!   `20 d u |z|^2`, and `r` by the root of that, `4.8e-8 sqrt(d) |z|`, because
//!   `|a - b|^2 <= |a^2 - b^2|` for `a, b >= 0`.
//! - Rounding the coordinates to f32 moves them by at most `6e-8 |z|` (and 1e-44 where f32
//!   underflows).
//!
//! Together the stored coordinates lie within [`relative_error`]` * |z|` of the exact ones,
//! with a factor of two to spare.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Coordinates of a row at most. Narrower rows are their own coordinates.
pub const AXES: usize = 64;
/// Rows that the axes are fitted to.
const SAMPLE_ROWS: usize = 2048;
/// Axes carried beyond those kept, which speeds up the convergence of those kept.
const SPARE_AXES: usize = 8;
const POWER_ITERATIONS: usize = 3;
/// Rows converted to f64 at a time.
const PROJECT_ROWS: usize = 128;

/// A mean and axes; see the module's documentation.
#[derive(Debug, Clone)]
pub struct Basis {
    mean: Array1<f64>,
    /// `[axes, dims]`, or `None` when rows are their own coordinates.
    axes: Option<Array2<f64>>,
}

/// Coordinates of rows in a [`Basis`].
#[derive(Debug, Clone, Default)]
pub struct Coordinates {
    /// `[rows, axes]`, the most telling axis first, the residual last.
    pub values: Vec<f32>,
    /// Euclidean norm of each row after the mean is subtracted.
    pub norms: Vec<f64>,
}

/// How far stored coordinates may lie from the exact ones, relative to the row's norm.
#[must_use]
pub fn relative_error(dims: usize) -> f64 {
    1e-7 * to_f64(dims).sqrt() + 2e-7
}

impl Basis {
    /// Fits a basis to rows `[rows, dims]`: the principal axes of an evenly spread sample, by
    /// subspace iteration. Deterministic.
    ///
    /// # Panics
    /// When there is no row or no column.
    #[must_use]
    pub fn fit(rows: ArrayView2<f32>) -> Self {
        let step = rows.nrows().div_ceil(SAMPLE_ROWS);
        let mut sample = rows.slice(s![..;step, ..]).mapv(f64::from);
        let mean = sample.mean_axis(Axis(0)).expect("there are rows");
        if rows.ncols() <= AXES {
            return Self { mean, axes: None };
        }
        sample -= &mean;
        let mut axes = principal_axes(&sample);
        certify(&mut axes);
        Self { mean, axes: Some(axes) }
    }

    /// Columns of the rows.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.mean.len()
    }

    /// Coordinates of a row.
    #[must_use]
    pub fn count(&self) -> usize {
        self.axes.as_ref().map_or(self.dims(), |axes| axes.nrows() + 1)
    }

    /// Coordinates of rows `[rows, dims]`.
    ///
    /// # Panics
    /// When the rows have other columns.
    #[must_use]
    pub fn project(&self, rows: ArrayView2<f32>) -> Coordinates {
        assert_eq!(rows.ncols(), self.dims(), "the rows have the basis's columns");
        let mut coordinates = Coordinates {
            values: Vec::with_capacity(rows.nrows() * self.count()),
            norms: Vec::with_capacity(rows.nrows()),
        };
        for block in rows.axis_chunks_iter(Axis(0), PROJECT_ROWS) {
            let centred = block.mapv(f64::from) - &self.mean;
            self.project_block(&centred, &mut coordinates);
        }
        coordinates
    }

    fn project_block(&self, centred: &Array2<f64>, to: &mut Coordinates) {
        let norms_sq = centred.rows().into_iter().map(|row| row.dot(&row));
        let Some(axes) = &self.axes else {
            to.norms.extend(norms_sq.map(f64::sqrt));
            to.values.extend(centred.iter().map(|value| to_f32(*value)));
            return;
        };
        let mut along = Array2::zeros((centred.nrows(), axes.nrows()));
        general_mat_mul(1.0, centred, &axes.t(), 0.0, &mut along);
        for (row, norm_sq) in along.rows().into_iter().zip(norms_sq) {
            to.norms.push(norm_sq.sqrt());
            to.values.extend(row.iter().map(|value| to_f32(*value)));
            to.values.push(to_f32((norm_sq - row.dot(&row)).max(0.0).sqrt()));
        }
    }
}

/// Leading principal axes `[AXES - 1, dims]` of centred rows, most energy first.
fn principal_axes(centred: &Array2<f64>) -> Array2<f64> {
    let count = (AXES - 1 + SPARE_AXES).min(centred.ncols());
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let mut axes = Array2::from_shape_simple_fn((count, centred.ncols()), || {
        f64::from(generator.next_u32()) / f64::from(u32::MAX) - 0.5
    });
    orthonormalise(&mut axes);
    for _ in 0..POWER_ITERATIONS {
        axes = axes.dot(&centred.t()).dot(centred);
        orthonormalise(&mut axes);
    }
    sort_by_energy(&axes, centred)
}

/// Turns the axes within their span to the principal ones, and keeps the leading.
fn sort_by_energy(axes: &Array2<f64>, centred: &Array2<f64>) -> Array2<f64> {
    let along = axes.dot(&centred.t());
    let energy = along.dot(&along.t());
    let count = axes.nrows();
    let eigen = SymmetricEigen::new(DMatrix::from_fn(count, count, |row, column| energy[[row, column]]));
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    order.truncate(AXES - 1);
    let turn =
        Array2::from_shape_fn((order.len(), count), |(to, from)| eigen.eigenvectors[(from, order[to])]);
    turn.dot(axes)
}

/// Gram-Schmidt, twice for accuracy. An axis within the span of those before it becomes zero,
/// which is a valid, useless axis.
fn orthonormalise(axes: &mut Array2<f64>) {
    for index in 0..axes.nrows() {
        let (before, mut rest) = axes.view_mut().split_at(Axis(0), index);
        let mut axis = rest.row_mut(0);
        let norm = axis.dot(&axis).sqrt();
        for _ in 0..2 {
            for earlier in before.rows() {
                let share = earlier.dot(&axis);
                axis.scaled_add(-share, &earlier);
            }
        }
        let left = axis.dot(&axis).sqrt();
        let scale = if left > 1e-10 * norm { left.recip() } else { 0.0 };
        axis.mapv_inplace(|value| value * scale);
    }
}

/// Shrinks the axes until their spectral norm is certainly at most 1. Axes that are not
/// finite become zero: the bound is then the difference of the norms.
fn certify(axes: &mut Array2<f64>) {
    // Far more than the rounding of the row sums, far less than would weaken the bound.
    const SLACK: f64 = 1e-9;
    let gram = axes.dot(&axes.t());
    let row_sum = gram.rows().into_iter().map(|row| row.iter().map(|value| value.abs()).sum::<f64>());
    let largest = row_sum.fold(0.0, |largest: f64, sum| if sum <= largest { largest } else { sum });
    if largest.is_finite() {
        let shrink = (largest.max(1.0) * (1.0 + SLACK)).sqrt().recip();
        axes.mapv_inplace(|value| value * shrink);
    } else {
        axes.fill(0.0);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is part of the error bound")]
const fn to_f32(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_precision_loss, reason = "column counts are far below 2^53")]
const fn to_f64(count: usize) -> f64 {
    count as f64
}
