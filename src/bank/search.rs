//! Exact nearest rows of a bank.

use std::ops::Range;

use ndarray::{ArcArray2, ArrayView2};
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::distance::distance_sq;

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

/// Rows prepared for searching. The rows are shared, not copied.
#[derive(Debug, Clone)]
pub struct SearchIndex {
    rows: ArcArray2<f32>,
    columns: Range<usize>,
}

impl SearchIndex {
    /// Prepares the given columns of `rows` `[rows, dims]`.
    ///
    /// # Errors
    /// When there are no rows or columns, or a value is not finite or too large.
    pub fn new(rows: ArcArray2<f32>, columns: Range<usize>) -> Result<Self, SearchError> {
        if rows.nrows() == 0 {
            return Err(SearchError::Empty { what: "rows" });
        }
        if columns.is_empty() {
            return Err(SearchError::Empty { what: "columns" });
        }
        if columns.end > rows.ncols() {
            return Err(SearchError::Columns { found: columns.end, expected: rows.ncols() });
        }
        if u32::try_from(rows.nrows()).is_err() {
            return Err(SearchError::TooMany { found: rows.nrows() });
        }
        let rows = if rows.is_standard_layout() { rows } else { rows.as_standard_layout().into_shared() };
        let index = Self { rows, columns };
        check_values("row", index.view())?;
        Ok(index)
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

    /// The `k` nearest rows of each query `[queries, dims]`.
    ///
    /// # Errors
    /// When `k` is 0, the queries have other columns, or a value is not finite or too large.
    pub fn nearest(&self, queries: ArrayView2<f32>, k: usize) -> Result<Neighbors, SearchError> {
        if k == 0 {
            return Err(SearchError::Empty { what: "neighbours asked for" });
        }
        if queries.ncols() != self.dims() {
            return Err(SearchError::Dims { found: queries.ncols(), expected: self.dims() });
        }
        check_values("query", queries)?;
        let per_query = k.min(self.count());
        let queries = queries.as_standard_layout();
        let all = (0..queries.nrows())
            .into_par_iter()
            .with_min_len(8)
            .flat_map_iter(|query| {
                let query = queries.row(query);
                self.scan(query.as_slice().expect("standard layout"), per_query)
            })
            .collect();
        Ok(Neighbors { per_query, all })
    }

    fn scan(&self, query: &[f32], per_query: usize) -> Vec<Neighbor> {
        let mut best: Vec<(f32, u32)> = (0_u32..)
            .zip(self.rows.rows())
            .map(|(row, values)| {
                let values = &values.to_slice().expect("standard layout")[self.columns.clone()];
                (distance_sq(query, values), row)
            })
            .collect();
        best.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        best.iter().take(per_query).map(|(sq, row)| Neighbor { row: *row, distance: sq.sqrt() }).collect()
    }

    fn view(&self) -> ArrayView2<'_, f32> {
        self.rows.slice(ndarray::s![.., self.columns.clone()])
    }
}

fn check_values(what: &'static str, rows: ArrayView2<f32>) -> Result<(), SearchError> {
    for (row, values) in rows.rows().into_iter().enumerate() {
        // Written so that NaN fails the test as well.
        if let Some(&found) = values.iter().find(|value| !(value.abs() <= VALUE_MAX)) {
            return Err(SearchError::Value { what, row, found });
        }
    }
    Ok(())
}
