//! Rows prepared for bounds: their coordinates, packed for the first look and row by row for
//! the second.

use std::sync::Arc;

use ndarray::ArrayView2;

use super::basis::{Basis, FAR_AXES, Projected};
use super::distance::dot;
use super::limit::Limit;
use super::numbers::{norm_sq, to_f32};
use super::product::{LANES, group_minima, pack_rows};

/// Rows that one minimum of the first look stands for.
pub(super) const GROUP_ROWS: usize = 4;

/// What the lower bounds of some rows need.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    basis: Arc<Basis>,
    near: Level,
    far: Option<Level>,
    /// Near coordinates times -2, packed.
    packed: Vec<f32>,
    /// Squared norms of the near coordinates, infinite in the lanes where no row is.
    start: Vec<f32>,
}

/// Coordinates and their squared norms, row by row.
#[derive(Debug, Clone)]
struct Level {
    axes: usize,
    coordinates: Vec<f32>,
    norms_sq: Vec<f32>,
}

/// A query on its way through the search.
pub(super) struct Query<'a> {
    /// Its values.
    pub(super) values: &'a [f32],
    near: &'a [f32],
    far: &'a [f32],
    near_limit: Limit,
    far_limit: Option<Limit>,
}

impl Query<'_> {
    /// Turns distances into thresholds of the first look.
    pub(super) const fn near_limit(&self) -> &Limit {
        &self.near_limit
    }

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
        let far = basis.far_count().map(|axes| Level::new(coordinates.far, axes));
        let near = Level::new(coordinates.near, basis.near_count());
        let doubled: Vec<f32> = near.coordinates.iter().map(|value| -2.0 * value).collect();
        let packed = pack_rows(&doubled, near.axes);
        let mut start = near.norms_sq.clone();
        start.resize(start.len().next_multiple_of(LANES), f32::INFINITY);
        Self { basis, near, far, packed, start }
    }

    pub(super) fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Minima of the first look for each query, `[queries, minima_count]`.
    pub(super) fn minima(&self, queries: &Projected) -> Vec<f32> {
        let near = &queries.coordinates.near;
        let mut least = vec![0.0; near.len() / self.near.axes * self.minima_count()];
        group_minima(near, self.near.axes, &self.packed, &self.start, GROUP_ROWS, &mut least);
        least
    }

    /// Minima of one query.
    pub(super) const fn minima_count(&self) -> usize {
        self.start.len().div_ceil(LANES * GROUP_ROWS) * LANES
    }

    /// The query `at` among those projected.
    pub(super) fn query<'a>(&self, values: &'a [f32], queries: &'a Projected, at: usize) -> Query<'a> {
        let (coordinates, dims) = (&queries.coordinates, self.basis.dims());
        let norm = coordinates.norms[at];
        let near = &coordinates.near[at * self.near.axes..][..self.near.axes];
        let near_limit = Limit::of_coordinates(near, queries.near_error[at], norm, dims);
        let far = coordinates.far.chunks_exact(FAR_AXES).nth(at).unwrap_or_default();
        let far_error = queries.far_error.get(at);
        let far_limit = far_error.map(|error| Limit::of_coordinates(far, *error, norm, dims));
        Query { values, near, far, near_limit, far_limit }
    }

    /// One promising row from each of `k` equal parts of the minima (fewer, when there are
    /// fewer minima).
    pub(super) fn seeds(&self, query: &Query, least: &[f32], k: usize) -> Vec<usize> {
        let part = least.len().div_ceil(k);
        let smallest = least.chunks(part).enumerate().filter_map(|(index, part_least)| {
            let smallest = part_least.iter().copied().fold(f32::INFINITY, f32::min);
            let at = part_least.iter().position(|value| *value <= smallest)?;
            Some(index * part + at)
        });
        smallest
            .filter_map(|minimum| {
                let rows = self.rows_of(minimum).map(|row| (self.near.lower(query.near, row), row));
                rows.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, row)| row)
            })
            .collect()
    }

    /// Rows of the surviving minima whose own bounds are within what `best_sq` allows, smallest
    /// first, with the last bound that there is.
    pub(super) fn rows_within(&self, query: &Query, survivors: &[usize], best_sq: f32) -> Vec<(f32, usize)> {
        let near_threshold = query.near_limit.threshold(best_sq);
        let rows = survivors.iter().flat_map(|minimum| self.rows_of(*minimum));
        let near = rows.map(|row| (self.near.lower(query.near, row), row));
        let near = near.filter(|(lower, _)| *lower <= near_threshold);
        let mut within: Vec<(f32, usize)> = match (&self.far, &query.far_limit) {
            (Some(far), Some(limit)) => {
                let threshold = limit.threshold(best_sq);
                let far = near.map(|(_, row)| (far.lower(query.far, row), row));
                far.filter(|(lower, _)| *lower <= threshold).collect()
            }
            _ => near.collect(),
        };
        within.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        within
    }

    /// The rows that a minimum stands for.
    fn rows_of(&self, minimum: usize) -> impl Iterator<Item = usize> {
        let first = minimum / LANES * LANES * GROUP_ROWS + minimum % LANES;
        (first..self.near.norms_sq.len()).step_by(LANES).take(GROUP_ROWS)
    }
}

impl Level {
    fn new(coordinates: Vec<f32>, axes: usize) -> Self {
        let norms_sq = coordinates.chunks_exact(axes).map(|row| to_f32(norm_sq(row))).collect();
        Self { axes, coordinates, norms_sq }
    }

    /// `|b|^2 - 2 b.q` of one row's coordinates.
    fn lower(&self, query: &[f32], row: usize) -> f32 {
        self.norms_sq[row] - 2.0 * dot(&self.coordinates[row * self.axes..][..self.axes], query)
    }
}
