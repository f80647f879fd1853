//! Short coordinates whose distances never exceed those of the rows: the lower bound behind
//! the exact search and the coreset.
//!
//! A basis is a mean `m` and principal axes, the rows of a matrix `W`. The coordinates of a
//! vector `v` on the first axes are `y = W (v - m)` and, as the last one, the residual
//! `r = sqrt(|v - m|^2 - |y|^2)`. There are two sets: [`NEAR_AXES`] coordinates for the first
//! look, and for wide rows [`FAR_AXES`] for a second one.
//!
//! **They bound distances from below.** For every `W` whose spectral norm is at most 1, the
//! map `x -> (W x, S x)` with `S = (I - W^T W)^(1/2)` keeps lengths, and `|S x| = r`. So
//! `|a - b|^2 = |y_a - y_b|^2 + |S (a - b)|^2 >= |y_a - y_b|^2 + (r_a - r_b)^2`. Nothing else
//! is asked of `W`: it need be neither orthonormal nor principal, and a bad one costs time,
//! never a wrong answer. `certified` makes sure of the norm, on the f32 numbers that are used:
//! the largest absolute row sum of `W W^T` bounds its square, for a few leading rows as well.
//!
//! **Rounding of rows**, which are projected in f64. Let `u = 2^-53`, `z` the computed
//! `v - m`, `d` the columns; `|W|_F <= 16`, as `W` has fewer than 256 rows.
//! - `z` is rounded once, so it moves by at most `u |z|`.
//! - A dot product of `d` terms, summed in whatever order, errs by at most `1.01 d u |w| |z|`;
//!   over all axes by `e = 16.2 d u |z|`.
//! - `|z|^2` errs by `1.01 d u |z|^2` and `|y|^2` by `2.1 e |z|`, so `r^2` by at most
//!   `36 d u |z|^2`, and `r` by the root of that, `6.4e-8 sqrt(d) |z|`, because
//!   `|a - b|^2 <= |a^2 - b^2|` for `a, b >= 0`.
//! - Rounding the coordinates to f32 moves them by at most `6e-8 |z|` (and by 1e-43 where f32
//!   underflows).
//!
//! Together: within [`row_error`]` * |z|` of the exact ones.
//!
//! **Rounding of queries**, which are projected in f32 for speed, with `u = 2^-24`:
//! - `z` moves by at most `1.01 u |z|`.
//! - A product is summed by `CHUNK` columns, so a term goes through at most
//!   `n = CHUNK + d / CHUNK + 3` roundings; over all axes `e = 1.01 |W|_F n u |z|`.
//! - `|r'^2 - r^2| <= 2.1 e |z| + e^2 = t`, so `r` errs by at most the smaller of `sqrt(t)` and
//!   `t / r'`, and by `1e-7 |z|` more for the rest.
//!
//! The sum is computed for each query (`Projected`).

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::numbers::{U32, norm_sq, to_f32, to_f64};
use super::product::{CHUNK, pack_rows, products};

/// Coordinates of the first look at most. Narrower rows are their own coordinates.
pub const NEAR_AXES: usize = 64;
/// Coordinates of the second look.
pub const FAR_AXES: usize = 256;
/// Rows from this width on get a second look; below it costs as much as it saves.
const FAR_DIMS_MIN: usize = 2 * FAR_AXES;
/// Rows that the axes are fitted to.
const SAMPLE_ROWS: usize = 2048;
/// Axes carried beyond those kept, which speeds up the convergence of those kept.
const SPARE_AXES: usize = 8;
const POWER_ITERATIONS: usize = 2;
/// Rows converted to f64 at a time.
const PROJECT_ROWS: usize = 128;

/// A mean and axes; see the module's documentation.
#[derive(Debug, Clone)]
pub struct Basis {
    mean: Array1<f64>,
    axes: Option<Axes>,
}

#[derive(Debug, Clone)]
struct Axes {
    /// `[axes, dims]`, most energy first; values are f32 numbers.
    rows: Array2<f64>,
    /// The same, packed for the product with queries.
    packed: Vec<f32>,
}

/// Coordinates of rows in a [`Basis`].
#[derive(Debug, Clone, Default)]
pub struct Coordinates {
    /// `[rows, near]`, the residual last.
    pub near: Vec<f32>,
    /// `[rows, far]`, the residual last; empty when rows are not wide enough.
    pub far: Vec<f32>,
    /// Euclidean norm of each row after the mean is subtracted.
    pub norms: Vec<f64>,
}

/// Coordinates of queries, and how exact they are.
#[derive(Debug, Clone, Default)]
pub struct Projected {
    /// The coordinates.
    pub coordinates: Coordinates,
    /// How far each query's near coordinates may lie from the exact ones.
    pub near_error: Vec<f64>,
    /// The same of the far coordinates.
    pub far_error: Vec<f64>,
}

/// How far a row's stored coordinates may lie from the exact ones, relative to its norm.
#[must_use]
pub fn row_error(dims: usize) -> f64 {
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
        if rows.ncols() <= NEAR_AXES {
            return Self { mean, axes: None };
        }
        sample -= &mean;
        let count = if rows.ncols() >= FAR_DIMS_MIN { FAR_AXES - 1 } else { NEAR_AXES - 1 };
        let axes = certified(principal_axes(&sample, count));
        let packed = pack_rows(axes.mapv(to_f32).view());
        Self { mean, axes: Some(Axes { rows: axes, packed }) }
    }

    /// Columns of the rows.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.mean.len()
    }

    /// Near coordinates of a row.
    #[must_use]
    pub fn near_count(&self) -> usize {
        self.dims().min(NEAR_AXES)
    }

    /// Far coordinates of a row, when rows have them.
    #[must_use]
    pub fn far_count(&self) -> Option<usize> {
        self.axes.as_ref().map(|axes| axes.rows.nrows() + 1).filter(|count| *count > NEAR_AXES)
    }

    /// Coordinates of rows `[rows, dims]`, in f64 until they are stored.
    ///
    /// # Panics
    /// When the rows have other columns.
    #[must_use]
    pub fn project_rows(&self, rows: ArrayView2<f32>) -> Coordinates {
        assert_eq!(rows.ncols(), self.dims(), "the rows have the basis's columns");
        let mut to = Coordinates::default();
        for block in rows.axis_chunks_iter(Axis(0), PROJECT_ROWS) {
            let centred = block.mapv(f64::from) - &self.mean;
            let along = self.axes.as_ref().map(|axes| {
                let mut along = Array2::zeros((centred.nrows(), axes.rows.nrows()));
                general_mat_mul(1.0, &centred, &axes.rows.t(), 0.0, &mut along);
                along
            });
            for (index, row) in centred.rows().into_iter().enumerate() {
                let norm_sq = row.dot(&row);
                match &along {
                    None => to.near.extend(row.iter().map(|value| to_f32(*value))),
                    Some(along) => self.push(along.row(index).iter().copied(), norm_sq, &mut to),
                }
                to.norms.push(norm_sq.sqrt());
            }
        }
        to
    }

    /// The first `count` - 1 coordinates of rows and the residual beside them, `[rows, count]`,
    /// and the rows' largest norm after the mean is subtracted. Zeros fill what narrower rows
    /// leave. The errors are those of [`Self::project_rows`].
    ///
    /// # Panics
    /// When the rows have other columns, or `count` exceeds [`NEAR_AXES`].
    #[must_use]
    pub fn leading(&self, rows: ArrayView2<f32>, count: usize) -> (Vec<f32>, f64) {
        assert_eq!(rows.ncols(), self.dims(), "the rows have the basis's columns");
        assert!(count <= NEAR_AXES, "{count} coordinates, at most {NEAR_AXES}");
        let (mut to, mut norm_sq_max) = (Vec::with_capacity(rows.nrows() * count), 0.0_f64);
        let axes = self.axes.as_ref().map(|axes| axes.rows.slice(s![..count - 1, ..]));
        for block in rows.axis_chunks_iter(Axis(0), PROJECT_ROWS) {
            let centred = block.mapv(f64::from) - &self.mean;
            let along = axes.map_or_else(|| centred.clone(), |axes| centred.dot(&axes.t()));
            for (row, along) in centred.rows().into_iter().zip(along.rows()) {
                let norm_sq = row.dot(&row);
                norm_sq_max = norm_sq_max.max(norm_sq);
                if self.dims() < count {
                    to.extend(row.iter().map(|value| to_f32(*value)));
                    to.resize(to.len().next_multiple_of(count), 0.0);
                } else {
                    append(along.iter().copied().take(count - 1), norm_sq, &mut to);
                }
            }
        }
        (to, norm_sq_max.sqrt())
    }

    /// Coordinates of a few queries `[queries, dims]`, in f32.
    ///
    /// # Panics
    /// When the queries have other columns.
    #[must_use]
    pub fn project_queries(&self, queries: ArrayView2<f32>) -> Projected {
        assert_eq!(queries.ncols(), self.dims(), "the queries have the basis's columns");
        let Some(axes) = &self.axes else {
            let coordinates = self.project_rows(queries);
            let near_error = coordinates.norms.iter().map(|norm| norm * row_error(self.dims())).collect();
            return Projected { coordinates, near_error, far_error: Vec::new() };
        };
        let mut centred = Vec::with_capacity(queries.len());
        for row in queries.rows() {
            centred.extend(row.iter().zip(&self.mean).map(|(value, mean)| to_f32(f64::from(*value) - mean)));
        }
        let per_query = axes.packed.len() / self.dims();
        let mut along = vec![0.0; queries.nrows() * per_query];
        products(&centred, self.dims(), &axes.packed, &vec![0.0; per_query], &mut along);
        let mut to = Projected::default();
        for (row, along) in centred.chunks_exact(self.dims()).zip(along.chunks_exact(per_query)) {
            let norm_sq = norm_sq(row);
            let along = along[..axes.rows.nrows()].iter().map(|value| f64::from(*value));
            self.push(along, norm_sq, &mut to.coordinates);
            to.coordinates.norms.push(norm_sq.sqrt());
            let near = &to.coordinates.near;
            to.near_error.push(self.query_error(norm_sq.sqrt(), near[near.len() - 1], NEAR_AXES));
            if let Some(far) = to.coordinates.far.last() {
                to.far_error.push(self.query_error(norm_sq.sqrt(), *far, FAR_AXES));
            }
        }
        to
    }

    /// Appends the near and far coordinates of one row, given its products with the axes.
    fn push(&self, along: impl Iterator<Item = f64> + Clone, norm_sq: f64, to: &mut Coordinates) {
        append(along.clone().take(NEAR_AXES - 1), norm_sq, &mut to.near);
        if self.far_count().is_some() {
            append(along, norm_sq, &mut to.far);
        }
    }

    /// The bound on a query's error; the module's documentation has the proof.
    fn query_error(&self, norm: f64, residual: f32, axes: usize) -> f64 {
        let roundings = to_f64(CHUNK + self.dims() / CHUNK + 3);
        let along = 1.01 * to_f64(axes).sqrt() * roundings * U32 * norm;
        let residual_sq = 2.1 * along * norm + along * along;
        let of_residual = residual_sq.sqrt().min(residual_sq / f64::from(residual).max(f64::MIN_POSITIVE));
        along + of_residual + (2e-7 + row_error(self.dims())) * norm
    }
}

/// Appends coordinates along the axes, then the residual.
fn append(along: impl Iterator<Item = f64>, norm_sq: f64, to: &mut Vec<f32>) {
    let mut left = norm_sq;
    for value in along {
        to.push(to_f32(value));
        left -= value * value;
    }
    to.push(to_f32(left.max(0.0).sqrt()));
}

/// Leading principal axes `[count, dims]` of centred rows, most energy first.
fn principal_axes(centred: &Array2<f64>, count: usize) -> Array2<f64> {
    let carried = (count + SPARE_AXES).min(centred.ncols());
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let mut axes = Array2::from_shape_simple_fn((carried, centred.ncols()), || {
        f64::from(generator.next_u32()) / f64::from(u32::MAX) - 0.5
    });
    orthonormalise(&mut axes);
    for _ in 0..POWER_ITERATIONS {
        axes = axes.dot(&centred.t()).dot(centred);
        orthonormalise(&mut axes);
    }
    sort_by_energy(&axes, centred, count)
}

/// Turns the axes within their span to the principal ones, and keeps the leading.
fn sort_by_energy(axes: &Array2<f64>, centred: &Array2<f64>, keep: usize) -> Array2<f64> {
    let along = axes.dot(&centred.t());
    let energy = along.dot(&along.t());
    let count = axes.nrows();
    let eigen = SymmetricEigen::new(DMatrix::from_fn(count, count, |row, column| energy[[row, column]]));
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    order.truncate(keep);
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
            let shares = before.dot(&axis);
            axis -= &before.t().dot(&shares);
        }
        let left = axis.dot(&axis).sqrt();
        let scale = if left > 1e-10 * norm { left.recip() } else { 0.0 };
        axis.mapv_inplace(|value| value * scale);
    }
}

/// The axes as f32 numbers, shrunk until their spectral norm is certainly at most 1. Axes that
/// are not finite become zero: the bound is then the difference of the norms.
fn certified(axes: Array2<f64>) -> Array2<f64> {
    // Far more than the rounding of the row sums and of shrinking, and too little to weaken
    // the bound.
    const SLACK: f64 = 1e-6;
    let rounded = axes.mapv(|value| f64::from(to_f32(value)));
    let gram = rounded.dot(&rounded.t());
    let row_sums = gram.rows().into_iter().map(|row| row.iter().map(|value| value.abs()).sum::<f64>());
    // Written so that NaN counts as the largest.
    let largest = row_sums.fold(1.0, |largest: f64, sum| if sum <= largest { largest } else { sum });
    let shrink = (largest * (1.0 + SLACK)).sqrt().recip();
    if shrink > 0.0 && shrink.is_finite() {
        rounded.mapv(|value| f64::from(to_f32(value * shrink)))
    } else {
        Array2::zeros(axes.dim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_simple_fn((rows, columns), || {
            to_f32(f64::from(generator.next_u32()) / f64::from(u32::MAX) - 0.5)
        })
    }

    fn distance(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
    }

    /// Coordinate distances of queries to rows, checked against the distances themselves.
    fn check_bounds(basis: &Basis, rows: &Array2<f32>, queries: &Array2<f32>) {
        let of_rows = basis.project_rows(rows.view());
        let of_queries = basis.project_queries(queries.view());
        let (near, far) = (basis.near_count(), basis.far_count());
        for (q, query) in queries.rows().into_iter().enumerate() {
            for (b, row) in rows.rows().into_iter().enumerate() {
                let exact = distance(&query.to_vec(), &row.to_vec());
                let of_row = row_error(basis.dims()) * of_rows.norms[b];
                let at = |all: &[f32], count: usize, at: usize| all[at * count..][..count].to_vec();
                let bound = distance(&at(&of_queries.coordinates.near, near, q), &at(&of_rows.near, near, b));
                assert!(bound <= exact + of_row + of_queries.near_error[q]);
                if let Some(far) = far {
                    let bound = distance(&at(&of_queries.coordinates.far, far, q), &at(&of_rows.far, far, b));
                    assert!(bound <= exact + of_row + of_queries.far_error[q]);
                }
            }
        }
    }

    #[test]
    fn coordinates_bound_distances_from_below() {
        for (dims, offset) in [(3, 0.0), (64, 5.0), (65, 1e4), (530, 0.0), (530, 1e3)] {
            let rows = noise(80, dims, 1).mapv(|value| value + offset);
            let mut queries = noise(12, dims, 2).mapv(|value| value + offset);
            queries.row_mut(3).assign(&rows.row(5));
            check_bounds(&Basis::fit(rows.view()), &rows, &queries);
            check_bounds(&Basis::fit(noise(9, dims, 3).view()), &rows, &queries);
        }
    }

    #[test]
    fn coordinates_of_few_dimensional_rows_keep_their_distances() {
        let place = noise(100, 5, 4);
        let rows = place.dot(&noise(5, 600, 5));
        let basis = Basis::fit(rows.view());
        let near = basis.project_rows(rows.view()).near;
        let (a, b) = (&near[..NEAR_AXES], &near[NEAR_AXES..2 * NEAR_AXES]);
        let exact = distance(&rows.row(0).to_vec(), &rows.row(1).to_vec());
        assert!((distance(a, b) - exact).abs() < 1e-3 * exact, "{} for {exact}", distance(a, b));
    }

    #[test]
    fn axes_are_shrunk_until_they_are_certainly_short_enough() {
        // Three equal axes of length 1 have a spectral norm of sqrt(3).
        let mut axes = Array2::zeros((3, 10));
        axes.column_mut(4).fill(1.0);
        let short = certified(axes.clone());
        assert!(short.iter().map(|value| value * value).sum::<f64>() <= 1.0);
        assert!(short[[0, 4]] > 0.57, "and no shorter than needed: {}", short[[0, 4]]);
        for bad in [f64::NAN, f64::INFINITY, 1e300] {
            axes[[1, 4]] = bad;
            assert!(certified(axes.clone()).iter().all(|value| *value == 0.0), "{bad}");
        }
    }

    #[test]
    fn leading_coordinates_bound_distances_too() {
        for dims in [3, 16, 40, 90] {
            let rows = noise(60, dims, 6);
            let (first, norm_max) = Basis::fit(rows.view()).leading(rows.view(), 16);
            for (a, b) in [(0, 1), (2, 59), (30, 31)] {
                let bound = distance(&first[a * 16..][..16], &first[b * 16..][..16]);
                let exact = distance(&rows.row(a).to_vec(), &rows.row(b).to_vec());
                assert!(bound <= exact + 2.0 * row_error(dims) * norm_max);
                assert!(bound > 0.1 * exact, "it says something");
            }
        }
    }
}
