//! How large a bound may be before its row is passed over.

use super::basis::row_error;
use super::distance::rounding_steps;
use super::numbers::{U32, norm_sq, to_f32, to_f64};

/// Covers every underflow: more than the columns allowed times the smallest normal f32, and far
/// below the square of any difference that matters.
const TINY: f64 = 1e-31;

/// Turns the best distance so far into the largest bound that can still matter; the
/// documentation of [`super::search`] has the formula and its proof.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// `|z_q|`.
    norm: f64,
    /// `|y_q|^2`.
    coordinates_sq: f64,
    /// `E`.
    row_error: f64,
    /// `E_q`.
    query_error: f64,
    /// `1.1 (a + 3) u`.
    product_error: f64,
    /// `2 n u`.
    distance_error: f64,
}

impl Limit {
    /// For bounds from coordinates of a query with norm `norm` and `dims` columns.
    pub(super) fn of_coordinates(coordinates: &[f32], query_error: f64, norm: f64, dims: usize) -> Self {
        Self {
            norm,
            coordinates_sq: norm_sq(coordinates),
            row_error: row_error(dims),
            query_error,
            product_error: 1.1 * to_f64(coordinates.len() + 3) * U32,
            distance_error: 2.0 * to_f64(rounding_steps(dims)) * U32,
        }
    }

    /// For bounds from the query itself: its values are exact coordinates.
    pub(super) fn of_values(values: &[f32]) -> Self {
        let norm = norm_sq(values).sqrt();
        Self { row_error: 0.0, ..Self::of_coordinates(values, 0.0, norm, values.len()) }
    }

    /// Largest `|b|^2 - 2 b.q` of a row whose squared distance may be `best_sq` or less.
    pub(super) fn threshold(&self, best_sq: f32) -> f32 {
        let radius = (f64::from(best_sq) * (1.0 + self.distance_error) + TINY).sqrt();
        let scale = 2.0 * self.norm + radius;
        let reach = radius + self.row_error * scale + self.query_error;
        let largest = reach * reach - self.coordinates_sq + self.product_error * scale * scale + TINY;
        // The nearest f32 may lie just below.
        to_f32(largest).next_up()
    }
}
