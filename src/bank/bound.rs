//! Rows prepared for bounds: their coordinates, packed for the first look and row by row for
//! the second.

use std::sync::Arc;

use ndarray::ArrayView2;

use super::basis::{Basis, FAR_AXES, Projected};
use super::distance::dot;
use super::limit::Limit;
use super::numbers::{norm_sq, to_f32};
use super::product::{LANES, pack_rows, positions_within, products, smallest};

/// What the lower bounds of some rows need.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    basis: Arc<Basis>,
    rows: usize,
    /// Near coordinates, packed.
    near: Vec<f32>,
    /// Squared norms of the near coordinates, infinite in the lanes where no row is.
    near_sq: Vec<f32>,
    far: Option<Far>,
}

/// Far coordinates and their squared norms, row by row.
#[derive(Debug, Clone)]
struct Far {
    coordinates: Vec<f32>,
    norms_sq: Vec<f32>,
}

/// A query on its way through the search.
pub(super) struct Query<'a> {
    /// Its values.
    pub(super) values: &'a [f32],
    far: &'a [f32],
    near_limit: Limit,
    far_limit: Option<Limit>,
}

impl Query<'_> {
    /// Turns distances into thresholds of the last look that there is.
    pub(super) const fn last_limit(&self) -> &Limit {
        match &self.far_limit {
            Some(limit) => limit,
            None => &self.near_limit,
        }
    }
}

impl Bound {
    pub(super) fn new(basis: Arc<Basis>, rows: ArrayView2<f32>) -> Self {
        let coordinates = basis.project_rows(rows);
        let axes = basis.near_count();
        let near = ArrayView2::from_shape((rows.nrows(), axes), &coordinates.near);
        let near = pack_rows(near.expect("each row has its near coordinates"));
        let mut near_sq = norms_sq(&coordinates.near, axes);
        near_sq.resize(near_sq.len().next_multiple_of(LANES), f32::INFINITY);
        let far = basis
            .far_count()
            .map(|axes| Far { norms_sq: norms_sq(&coordinates.far, axes), coordinates: coordinates.far });
        Self { basis, rows: rows.nrows(), near, near_sq, far }
    }

    pub(super) const fn basis(&self) -> &Arc<Basis> {
        &self.basis
    }

    /// The first look: a bound for each query and row, `[queries, bounds_count]`; those beyond
    /// the number of rows are infinite.
    pub(super) fn bounds(&self, queries: &Projected) -> Vec<f32> {
        let mut bounds = vec![0.0; queries.coordinates.norms.len() * self.near_sq.len()];
        let near: Vec<f32> = queries.coordinates.near.iter().map(|value| -2.0 * value).collect();
        products(&near, self.basis.near_count(), &self.near, &self.near_sq, &mut bounds);
        bounds
    }

    /// Bounds of one query.
    pub(super) const fn bounds_count(&self) -> usize {
        self.near_sq.len()
    }

    /// The query `at` among those projected.
    pub(super) fn query<'a>(&self, values: &'a [f32], queries: &'a Projected, at: usize) -> Query<'a> {
        let (coordinates, dims) = (&queries.coordinates, self.basis.dims());
        let norm = coordinates.norms[at];
        let axes = self.basis.near_count();
        let near = &coordinates.near[at * axes..][..axes];
        let near_limit = Limit::of_coordinates(near, queries.near_error[at], norm, dims);
        let far = coordinates.far.chunks_exact(FAR_AXES).nth(at).unwrap_or_default();
        let far_error = queries.far_error.get(at);
        let far_limit = far_error.map(|error| Limit::of_coordinates(far, *error, norm, dims));
        Query { values, far, near_limit, far_limit }
    }

    /// The row with the smallest bound of each of `k` equal parts.
    pub(super) fn seeds(&self, bounds: &[f32], k: usize) -> Vec<usize> {
        let part = self.rows.div_ceil(k);
        let parts = bounds[..self.rows].chunks(part).enumerate();
        let seeds = parts.filter_map(|(index, bounds)| {
            let least = smallest(bounds);
            bounds.iter().position(|bound| *bound <= least).map(|at| index * part + at)
        });
        seeds.collect()
    }

    /// Rows whose bounds are within what `best_sq` allows, smallest first, with the last bound
    /// that there is; `None` when the first look leaves more than `count_max`.
    pub(super) fn rows_within(
        &self,
        query: &Query,
        bounds: &[f32],
        best_sq: f32,
        count_max: usize,
    ) -> Option<Vec<(f32, usize)>> {
        let mut near = Vec::new();
        positions_within(&bounds[..self.rows], query.near_limit.threshold(best_sq), &mut near);
        if near.len() > count_max {
            return None;
        }
        let mut within: Vec<(f32, usize)> = match (&self.far, &query.far_limit) {
            (Some(far), Some(limit)) => {
                let threshold = limit.threshold(best_sq);
                let far = near.iter().map(|row| (far.lower(query.far, *row), *row));
                far.filter(|(bound, _)| *bound <= threshold).collect()
            }
            _ => near.iter().map(|row| (bounds[*row], *row)).collect(),
        };
        within.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        Some(within)
    }
}

impl Far {
    /// `|b|^2 - 2 b.q` of one row's coordinates.
    fn lower(&self, query: &[f32], row: usize) -> f32 {
        self.norms_sq[row] - 2.0 * dot(&self.coordinates[row * FAR_AXES..][..FAR_AXES], query)
    }
}

fn norms_sq(coordinates: &[f32], axes: usize) -> Vec<f32> {
    coordinates.chunks_exact(axes).map(|row| to_f32(norm_sq(row))).collect()
}
