//! Exact nearest rows of a bank: a lower bound for every row, distances for the few it leaves.
//!
//! "Exact" means: the same rows and the same bits as computing [`distance_sq`] to every row,
//! ordered by distance and then by row. No row is ever passed over but on proof.
//!
//! 1. Each query becomes at most 64 coordinates (see [`super::basis`]), whose products with the
//!    rows' coordinates bound all distances from below.
//! 2. The k rows that look nearest (one in each k-th part) are measured: the farthest of them is
//!    an upper limit `U`.
//! 3. Rows whose bound does not exceed `U` get a second bound from 256 coordinates (when they
//!    are wide), and are measured in the order of it, which lowers `U` further. For real
//!    descriptors two in ten thousand rows are measured.
//! 4. A query that leaves too many rows takes part in one full matrix product instead, which
//!    again only decides which rows are measured. So no data costs much more than computing
//!    all distances; descriptors without any structure cost about that.
//!
//! **The proof.** Let `D` be the exact distance of query `q` and row `b`, `d2` the computed
//! square, and `u = 2^-24`.
//! - [`distance_sq`] sums non-negative terms, each through at most `n` roundings
//!   ([`super::distance::rounding_steps`]), so `D^2 <= d2 (1 + 2 n u) + tiny`, where `tiny` covers underflow. If
//!   `b` is among the k nearest, then `D <= R = sqrt(U (1 + 2 n u) + tiny)`.
//! - Then `|z_b| <= |z_q| + R` for the centred vectors, so `s = 2 |z_q| + R` bounds the sum of
//!   both norms: the margins depend on the query alone, an outlier in the bank costs nothing.
//! - A row's stored coordinates lie within `E |z_b|` of the exact ones ([`super::basis::row_error`]), the
//!   query's within `E_q`; the exact ones' distance is at most `D`. So
//!   `|y_q - y_b| <= R + E s + E_q`.
//! - The product computes `g = |y_b|^2 - 2 y_b.y_q` from `a` axes in f32: whatever the order
//!   of the sum, and fused or not, it errs by at most `(a + 3) u` times the sum of the terms'
//!   magnitudes, which is at most `1.01 s^2`.
//!
//! So every row among the k nearest has `g <= (R + E s + E_q)^2 - |y_q|^2 + 1.1 (a + 3) u s^2 + tiny`,
//! and rows above that are passed over. The full product of step 4 follows the same formula
//! with `E = E_q = 0`, the rows themselves as coordinates, and `d` for `a`.

use std::ops::Range;

use std::sync::Arc;

use ndarray::{ArcArray2, ArrayView2, Axis, s};
use rayon::prelude::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator, ParallelIterator,
};

use super::basis::{Basis, Projected};
use super::best::Best;
use super::bound::{Bound, Query};
use super::distance::distance_sq;
use super::limit::Limit;
use super::numbers::{norm_sq, to_f32};
use super::product::{LANES, pack_rows, positions_within, products, smallest};

/// A bank row near a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// The row.
    pub row: u32,
    /// Euclidean distance to it.
    pub distance: f32,
}

/// The nearest rows of every query.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    per_query: usize,
    all: Vec<Neighbor>,
}

impl Neighbors {
    /// Neighbours of a query, nearest first; equally near ones by ascending row. As many as
    /// were asked for, or all rows when there are fewer.
    ///
    /// # Panics
    /// When `query` is not below the number of queries.
    #[must_use]
    pub fn of(&self, query: usize) -> &[Neighbor] {
        &self.all[query * self.per_query..][..self.per_query]
    }

    /// Neighbours query by query.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[Neighbor]> {
        self.all.chunks_exact(self.per_query)
    }
}

/// Why rows cannot be searched.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// No rows, or no neighbours asked for.
    #[error("no {what}: expected at least one")]
    Empty {
        /// `rows`, `columns` or `neighbours asked for`.
        what: &'static str,
    },
    /// Queries are not as wide as the rows.
    #[error("queries have {found} columns, the index has {expected}: were they made by the same model?")]
    Dims {
        /// Columns of the queries.
        found: usize,
        /// Columns of the index.
        expected: usize,
    },
    /// Columns outside of the rows.
    #[error("columns up to {found} were asked for, the rows have {expected}")]
    Columns {
        /// End of the range.
        found: usize,
        /// Columns of the rows.
        expected: usize,
    },
    /// A value that distances cannot be computed with.
    #[error("{what} {row} holds {found}: expected finite values of magnitude up to {VALUE_MAX:e}")]
    Value {
        /// `row` or `query`.
        what: &'static str,
        /// Which one.
        row: usize,
        /// The value.
        found: f32,
    },
    /// More rows than a neighbour's number can tell.
    #[error("{found} rows: expected at most {}", u32::MAX)]
    TooMany {
        /// Number of rows.
        found: usize,
    },
}

/// Largest magnitude of a value: squares of differences then stay finite in f32.
pub const VALUE_MAX: f32 = 1e15;

/// Most columns of a row: with [`VALUE_MAX`], sums of squares then stay finite in f32.
pub const COLUMNS_MAX: usize = 1 << 20;
/// Up to this many rows every distance is computed: fitting a basis would cost more.
const SMALL_ROWS: usize = 256;
/// The same when the basis is given.
const TINY_ROWS: usize = 32;
/// A query whose first look leaves more than `rows / NEAR_SHARE` rows goes to the full product,
/// and one that has more than `rows / MEASURED_SHARE` rows to measure: looking at them one by
/// one would cost a good part of the product.
const NEAR_SHARE: usize = 8;
const MEASURED_SHARE: usize = 64;
/// Queries from which on the full product beats measuring every row.
const FULL_QUERIES_MIN: usize = 16;
/// Rows of one tile of the full product.
const TILE_ROWS: usize = 512;
/// Queries worked on together: their bounds stay in the cache.
const QUERY_BLOCK: usize = 24;

/// Rows prepared for searching. The rows are shared, not copied; the index adds 128 numbers
/// a row.
#[derive(Debug, Clone)]
pub struct SearchIndex {
    rows: ArcArray2<f32>,
    columns: Range<usize>,
    /// Shared: clones of a set cost little.
    bound: Option<Arc<Bound>>,
}

impl SearchIndex {
    /// Prepares the given columns of `rows` `[rows, dims]`.
    ///
    /// # Errors
    /// When there are no rows or columns, or a value is not finite or too large.
    pub fn new(rows: ArcArray2<f32>, columns: Range<usize>) -> Result<Self, SearchError> {
        let mut index = Self::unprepared(rows, columns)?;
        if index.count() > SMALL_ROWS {
            let basis = Arc::new(Basis::fit(index.view()));
            index.bound = Some(Arc::new(Bound::new(basis, index.view())));
        }
        Ok(index)
    }

    /// As [`Self::new`], with a basis fitted to other rows: the answers are the same, and
    /// preparing is quick. The basis need not fit well, but the better it does the faster.
    ///
    /// # Errors
    /// As [`Self::new`], or when the basis has other columns.
    pub fn with_basis(
        rows: ArcArray2<f32>,
        columns: Range<usize>,
        basis: Arc<Basis>,
    ) -> Result<Self, SearchError> {
        let mut index = Self::unprepared(rows, columns)?;
        if basis.dims() != index.dims() {
            return Err(SearchError::Dims { found: basis.dims(), expected: index.dims() });
        }
        if index.count() > TINY_ROWS {
            index.bound = Some(Arc::new(Bound::new(basis, index.view())));
        }
        Ok(index)
    }

    fn unprepared(rows: ArcArray2<f32>, columns: Range<usize>) -> Result<Self, SearchError> {
        if rows.nrows() == 0 {
            return Err(SearchError::Empty { what: "rows" });
        }
        if columns.is_empty() {
            return Err(SearchError::Empty { what: "columns" });
        }
        if columns.end > rows.ncols() || columns.len() > COLUMNS_MAX {
            let expected = rows.ncols().min(COLUMNS_MAX);
            return Err(SearchError::Columns { found: columns.end, expected });
        }
        if u32::try_from(rows.nrows()).is_err() {
            return Err(SearchError::TooMany { found: rows.nrows() });
        }
        let rows = if rows.is_standard_layout() { rows } else { rows.as_standard_layout().into_shared() };
        let index = Self { rows, columns, bound: None };
        check_values("row", index.view())?;
        Ok(index)
    }

    /// The basis in use, to prepare other rows of the same kind with; few rows have none.
    #[must_use]
    pub fn basis(&self) -> Option<Arc<Basis>> {
        self.bound.as_ref().map(|bound| Arc::clone(bound.basis()))
    }

    /// Number of rows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.nrows()
    }

    /// Number of columns searched.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.columns.len()
    }

    /// The `k` nearest rows of each query `[queries, dims]`. Uses rayon's current thread pool;
    /// the result does not depend on its size.
    ///
    /// # Errors
    /// When `k` is 0, the queries have other columns, or a value is not finite or too large.
    pub fn nearest(&self, queries: ArrayView2<f32>, k: usize) -> Result<Neighbors, SearchError> {
        check_queries(queries, self.dims())?;
        let queries = queries.as_standard_layout();
        let projected = self.bound.as_ref().map(|bound| project(bound.basis(), queries.view()));
        self.nearest_projected(queries.view(), projected.as_deref(), k)
    }

    /// As [`Self::nearest`], for checked queries in standard layout whose coordinates (by
    /// [`project`] with the index's own basis) are at hand.
    pub(super) fn nearest_projected(
        &self,
        queries: ArrayView2<f32>,
        projected: Option<&[Projected]>,
        k: usize,
    ) -> Result<Neighbors, SearchError> {
        if k == 0 {
            return Err(SearchError::Empty { what: "neighbours asked for" });
        }
        let per_query = k.min(self.count());
        let found: Vec<Found> = match (&self.bound, projected) {
            (Some(bound), Some(projected)) => projected
                .par_iter()
                .zip(queries.axis_chunks_iter(Axis(0), QUERY_BLOCK).collect::<Vec<_>>())
                .flat_map_iter(|(projected, queries)| self.search_block(bound, queries, projected, per_query))
                .collect(),
            _ => (0..queries.nrows())
                .into_par_iter()
                .map(|query| self.measure_all(slice(&queries.row(query)), per_query))
                .collect(),
        };
        Ok(Neighbors { per_query, all: self.finish(queries, found) })
    }

    /// Steps 1 to 3 for at most [`QUERY_BLOCK`] queries.
    fn search_block(
        &self,
        bound: &Bound,
        queries: ArrayView2<f32>,
        projected: &Projected,
        k: usize,
    ) -> Vec<Found> {
        let bounds = bound.bounds(projected);
        let per_query = bounds.chunks_exact(bound.bounds_count()).zip(queries.rows()).enumerate();
        per_query
            .map(|(at, (bounds, values))| {
                let query = bound.query(slice(&values), projected, at);
                self.search_one(bound, &query, bounds, k)
            })
            .collect()
    }

    fn search_one(&self, bound: &Bound, query: &Query, bounds: &[f32], k: usize) -> Found {
        let mut best = Best::new(k);
        let seeds = bound.seeds(bounds, k);
        for &row in &seeds {
            best.offer(self.measure(query.values, row), row);
        }
        let count_max = self.count() / NEAR_SHARE + 16;
        let Some(mut candidates) = bound.rows_within(query, bounds, best.limit_sq(), count_max) else {
            return Found { best, done: false };
        };
        candidates.retain(|(_, row)| !seeds.contains(row));
        let done = self.measure_in_order(query, &candidates, self.count() / MEASURED_SHARE + 16, &mut best);
        Found { best, done }
    }

    /// Measures candidates, smallest bound first, until the next bound exceeds the limit.
    /// False when there are too many.
    fn measure_in_order(
        &self,
        query: &Query,
        candidates: &[(f32, usize)],
        count_max: usize,
        best: &mut Best,
    ) -> bool {
        for (measured, &(bound, row)) in candidates.iter().enumerate() {
            if bound > query.last_limit().threshold(best.limit_sq()) {
                return true;
            }
            if measured > count_max {
                return false;
            }
            best.offer(self.measure(query.values, row), row);
        }
        true
    }

    fn measure(&self, query: &[f32], row: usize) -> f32 {
        distance_sq(query, self.row(row))
    }

    fn measure_all(&self, query: &[f32], k: usize) -> Found {
        let mut best = Best::new(k);
        (0..self.count()).for_each(|row| best.offer(self.measure(query, row), row));
        Found { best, done: true }
    }

    /// Step 4 for the queries that need it, then the results of all.
    fn finish(&self, queries: ArrayView2<f32>, mut found: Vec<Found>) -> Vec<Neighbor> {
        let open: Vec<usize> = (0..found.len()).filter(|at| !found[*at].done).collect();
        if open.len() < FULL_QUERIES_MIN {
            let measured: Vec<Found> = open
                .par_iter()
                .map(|at| self.measure_all(slice(&queries.row(*at)), found[*at].best.k))
                .collect();
            open.iter().zip(measured).for_each(|(at, all)| found[*at] = all);
        } else {
            let selected = queries.select(Axis(0), &open);
            let doubled: Vec<f32> = selected.iter().map(|value| -2.0 * value).collect();
            let starts: Vec<usize> = (0..self.count()).step_by(TILE_ROWS).collect();
            let limits: Vec<Best> = open.iter().map(|at| found[*at].best.emptied()).collect();
            let tiles: Vec<Vec<Best>> = starts
                .into_par_iter()
                .map(|first| self.search_tile(first, selected.view(), &doubled, &limits))
                .collect();
            for (position, &at) in open.iter().enumerate() {
                found[at].best = Best::new(limits[position].k);
                tiles.iter().for_each(|tile| found[at].best.merge(&tile[position]));
            }
        }
        found.iter().flat_map(|found| found.best.neighbors()).collect()
    }

    /// The nearest rows among [`TILE_ROWS`] from `first` on, where they may be among the
    /// nearest of all.
    fn search_tile(
        &self,
        first: usize,
        queries: ArrayView2<f32>,
        doubled: &[f32],
        limits: &[Best],
    ) -> Vec<Best> {
        let to = (first + TILE_ROWS).min(self.count());
        let bounds = self.full_products(self.view().slice_move(s![first..to, ..]), doubled);
        let bounds = bounds.chunks_exact((to - first).next_multiple_of(LANES));
        let per_query = queries.rows().into_iter().zip(bounds).zip(limits);
        let nearest = per_query.map(|((query, bounds), best)| {
            self.search_bounds(slice(&query), first, &bounds[..to - first], best.clone())
        });
        nearest.collect()
    }

    /// Improves `best` by the rows from `first` on, given a bound for each.
    fn search_bounds(&self, query: &[f32], first: usize, bounds: &[f32], mut best: Best) -> Best {
        let limit = Limit::of_values(query);
        let least = smallest(bounds);
        if least > limit.threshold(best.limit_sq()) {
            return best;
        }
        // The row that looks nearest goes first: hardly any other is then left to measure.
        let seed = bounds.iter().position(|bound| *bound <= least).unwrap_or(0);
        best.offer(self.measure(query, first + seed), first + seed);
        let mut near = Vec::new();
        positions_within(bounds, limit.threshold(best.limit_sq()), &mut near);
        near.retain(|at| *at != seed);
        for at in near {
            if bounds[at] <= limit.threshold(best.limit_sq()) {
                best.offer(self.measure(query, first + at), first + at);
            }
        }
        best
    }

    /// `|b|^2 - 2 b.q` of whole rows `b`, `[queries, rows]` with the rows padded to full lanes.
    fn full_products(&self, rows: ArrayView2<f32>, doubled: &[f32]) -> Vec<f32> {
        let mut start: Vec<f32> = rows.rows().into_iter().map(|row| to_f32(norm_sq(slice(&row)))).collect();
        start.resize(start.len().next_multiple_of(LANES), f32::INFINITY);
        let mut out = vec![0.0; doubled.len() / self.dims() * start.len()];
        products(doubled, self.dims(), &pack_rows(rows), &start, &mut out);
        out
    }

    fn row(&self, row: usize) -> &[f32] {
        let values = self.rows.as_slice().expect("the layout was settled when the index was made");
        &values[row * self.rows.ncols()..][self.columns.clone()]
    }

    /// The rows and columns searched.
    pub(super) fn view(&self) -> ArrayView2<'_, f32> {
        self.rows.slice(s![.., self.columns.clone()])
    }
}

/// A query's nearest rows so far, and whether they are final.
struct Found {
    best: Best,
    done: bool,
}

fn slice<'a>(row: &ndarray::ArrayView1<'a, f32>) -> &'a [f32] {
    row.to_slice().expect("rows of a standard layout are contiguous")
}

/// Coordinates of checked queries, block by block.
pub(super) fn project(basis: &Basis, queries: ArrayView2<f32>) -> Vec<Projected> {
    let blocks: Vec<_> = queries.axis_chunks_iter(Axis(0), QUERY_BLOCK).collect();
    blocks.into_par_iter().map(|block| basis.project_queries(block)).collect()
}

/// Whether queries can be compared with rows of so many columns.
pub(super) fn check_queries(queries: ArrayView2<f32>, dims: usize) -> Result<(), SearchError> {
    if queries.ncols() != dims {
        return Err(SearchError::Dims { found: queries.ncols(), expected: dims });
    }
    check_values("query", queries)
}

fn check_values(what: &'static str, rows: ArrayView2<f32>) -> Result<(), SearchError> {
    for (row, values) in rows.rows().into_iter().enumerate() {
        if let Some(&found) = values.iter().find(|value| value.is_nan() || value.abs() > VALUE_MAX) {
            return Err(SearchError::Value { what, row, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// Pseudo-random values, one for each index.
    fn noise(index: usize) -> f32 {
        let mixed = (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        f32::from(u16::try_from(mixed >> 48).expect("16 bits")) / 65536.0 - 0.5
    }

    #[test]
    fn structure_is_settled_by_bounds_and_noise_by_the_full_product() {
        // On a line in 100 dimensions the coordinates tell nearly everything.
        let line = Array2::from_shape_fn((600, 100), |(row, column)| {
            noise(row) * noise(column + 7_000) * 40.0 + noise(row * 100 + column) * 0.1
        });
        let index = SearchIndex::new(line.clone().into_shared(), 0..100).expect("finite");
        assert!(found(&index, line.slice(s![..50, ..])).iter().all(|found| found.done));
        let noisy = Array2::from_shape_fn((600, 400), |(row, column)| noise(row * 400 + column));
        let index = SearchIndex::new(noisy.clone().into_shared(), 0..400).expect("finite");
        let queries = Array2::from_shape_fn((50, 400), |(row, column)| noise(900_000 + row * 400 + column));
        let open = found(&index, queries.view()).iter().filter(|found| !found.done).count();
        assert!(open >= FULL_QUERIES_MIN, "{open} queries take part in the full product");
    }

    fn found(index: &SearchIndex, queries: ArrayView2<f32>) -> Vec<Found> {
        let bound = index.bound.as_ref().expect("more than a few rows");
        let projected = project(bound.basis(), queries);
        let blocks = queries.axis_chunks_iter(Axis(0), QUERY_BLOCK).zip(&projected);
        blocks.flat_map(|(block, projected)| index.search_block(bound, block, projected, 1)).collect()
    }
}
