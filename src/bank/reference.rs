//! Reference scans: the distance of each query to the nearest row of every scan by itself.
//!
//! A [`ReferenceSet`] keeps the rows of each scan apart, so that a scan can be added or dropped
//! without touching the others (anchors, a rolling buffer of the line's own scans, or a bank
//! taken apart by [`super::RowOrigin`]), and a scan that is itself in the set can be left out. The
//! scans share one basis, fitted to the first: adding one costs its own projection, queries are
//! projected once for all, and every distance is exact as in [`super::search`].

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, Axis, s};

use super::MemoryBank;
use super::basis::Basis;
use super::search::{Neighbor, SearchError, SearchIndex, check_queries, project};

/// Why a reference set cannot be changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The rows cannot be searched.
    #[error("reference scan {scan}")]
    Rows {
        /// Name of the scan.
        scan: String,
        /// What is wrong with its rows.
        source: SearchError,
    },
    /// A scan of that name is there already.
    #[error("reference scan {scan} is in the set already: remove it first, or give another name")]
    Duplicate {
        /// Name of the scan.
        scan: String,
    },
    /// No scan of that name.
    #[error("there is no reference scan {scan} among the {count} of the set")]
    Unknown {
        /// Name asked for.
        scan: String,
        /// Number of scans.
        count: usize,
    },
    /// Not one patch for each row.
    #[error("reference scan {scan} has {found} patches for its rows: expected {expected}")]
    Patches {
        /// Name of the scan.
        scan: String,
        /// Number of patches.
        found: usize,
        /// Number of rows.
        expected: usize,
    },
}

/// Scans to compare with; see the module's documentation.
#[derive(Debug, Clone, Default)]
pub struct ReferenceSet {
    basis: Option<Arc<Basis>>,
    scans: Vec<ReferenceScan>,
}

/// One scan of a [`ReferenceSet`].
#[derive(Debug, Clone)]
pub struct ReferenceScan {
    name: String,
    patches: Vec<u16>,
    index: SearchIndex,
}

impl ReferenceScan {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The patch that each of its rows describes.
    #[must_use]
    pub fn patches(&self) -> &[u16] {
        &self.patches
    }

    /// Its rows `[rows, dims]`.
    #[must_use]
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        self.index.view()
    }
}

impl ReferenceSet {
    /// An empty set, whose first scan decides on columns and basis.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty set with a given basis, as a bank's index has ([`SearchIndex::basis`]).
    #[must_use]
    pub const fn with_basis(basis: Arc<Basis>) -> Self {
        Self { basis: Some(basis), scans: Vec::new() }
    }

    /// A bank taken apart by scan, some of its columns. The rows are copied; scans without a
    /// row are left out.
    ///
    /// # Errors
    /// When the rows cannot be searched, or two of the bank's scans bear the same name.
    ///
    /// # Panics
    /// When the columns are not the bank's.
    pub fn of_bank(bank: &MemoryBank, columns: Range<usize>) -> Result<Self, ReferenceError> {
        let rows = bank.rows.slice(s![.., columns]);
        let mut set = Self { basis: Some(Arc::new(Basis::fit(rows))), scans: Vec::new() };
        for (scan, name) in (0..).zip(&bank.scans) {
            let of_scan = |(row, origin): (usize, &super::RowOrigin)| (origin.scan == scan).then_some(row);
            let members: Vec<usize> = bank.origins.iter().enumerate().filter_map(of_scan).collect();
            if !members.is_empty() {
                let patches = members.iter().map(|row| bank.origins[*row].patch).collect();
                set.add(name.clone(), rows.select(Axis(0), &members), patches)?;
            }
        }
        Ok(set)
    }

    /// Adds a scan: its rows `[rows, dims]` and the patch that each describes.
    ///
    /// # Errors
    /// When the name is taken, the counts differ, or the rows cannot be searched (none, not
    /// finite, other columns than the scans before). The set is then as it was.
    pub fn add(&mut self, scan: String, rows: Array2<f32>, patches: Vec<u16>) -> Result<(), ReferenceError> {
        if self.scans.iter().any(|earlier| earlier.name == scan) {
            return Err(ReferenceError::Duplicate { scan });
        }
        if patches.len() != rows.nrows() {
            let (found, expected) = (patches.len(), rows.nrows());
            return Err(ReferenceError::Patches { scan, found, expected });
        }
        let index =
            self.prepare(rows).map_err(|source| ReferenceError::Rows { scan: scan.clone(), source })?;
        self.scans.push(ReferenceScan { name: scan, patches, index });
        Ok(())
    }

    fn prepare(&mut self, rows: Array2<f32>) -> Result<SearchIndex, SearchError> {
        let columns = 0..rows.ncols();
        let rows = rows.into_shared();
        let index = match &self.basis {
            Some(basis) => SearchIndex::with_basis(rows, columns, Arc::clone(basis))?,
            None => SearchIndex::new(rows, columns)?,
        };
        let basis = self.basis.take().or_else(|| index.basis());
        let basis = basis.unwrap_or_else(|| Arc::new(Basis::fit(index.view())));
        self.basis = Some(basis);
        Ok(index)
    }

    /// Drops a scan.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn remove(&mut self, scan: &str) -> Result<(), ReferenceError> {
        let unknown = || ReferenceError::Unknown { scan: scan.to_owned(), count: self.scans.len() };
        let at = self.scans.iter().position(|earlier| earlier.name == scan).ok_or_else(unknown)?;
        self.scans.remove(at);
        Ok(())
    }

    /// The scans, in the order they were added.
    #[must_use]
    pub fn scans(&self) -> &[ReferenceScan] {
        &self.scans
    }

    /// The nearest row of every scan to each query `[queries, dims]`.
    ///
    /// # Errors
    /// When the set is empty, the queries have other columns, or a value is not finite.
    pub fn nearest_per_scan(&self, queries: ArrayView2<f32>) -> Result<PerScan, SearchError> {
        let basis = self.basis.as_ref().filter(|_| !self.scans.is_empty());
        let basis = basis.ok_or(SearchError::Empty { what: "reference scans" })?;
        check_queries(queries, basis.dims())?;
        let queries = queries.as_standard_layout();
        let projected = project(basis, queries.view());
        let mut all = vec![Neighbor { row: 0, distance: 0.0 }; queries.nrows() * self.scans.len()];
        for (at, scan) in self.scans.iter().enumerate() {
            let nearest = scan.index.nearest_projected(queries.view(), Some(&projected), 1)?;
            for (to, nearest) in all.chunks_exact_mut(self.scans.len()).zip(nearest.iter()) {
                to[at] = nearest[0];
            }
        }
        Ok(PerScan { scans: self.scans.len(), all })
    }
}

/// How the distances to several scans become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Combination {
    /// The smallest.
    Minimum,
    /// The mean of the lowest share (0 to 1) of them, of one at least.
    LowestShare(f32),
    /// The median: how far a typical scan is, not the nearest.
    Median,
}

/// The nearest row of every scan to each query.
#[derive(Debug, Clone, PartialEq)]
pub struct PerScan {
    scans: usize,
    all: Vec<Neighbor>,
}

impl PerScan {
    /// The nearest row of each scan to a query, scan by scan.
    ///
    /// # Panics
    /// When `query` is not below the number of queries.
    #[must_use]
    pub fn of(&self, query: usize) -> &[Neighbor] {
        &self.all[query * self.scans..][..self.scans]
    }

    /// The nearest of all scans to a query and its row there, leaving out one scan if asked to;
    /// the first of equally near ones. `None` when no scan is left.
    ///
    /// # Panics
    /// When `query` is not below the number of queries.
    #[must_use]
    pub fn nearest(&self, query: usize, without: Option<usize>) -> Option<(usize, Neighbor)> {
        let scans = self.of(query).iter().copied().enumerate().filter(|(scan, _)| Some(*scan) != without);
        scans.min_by(|a, b| a.1.distance.total_cmp(&b.1.distance))
    }

    /// Number of scans.
    #[must_use]
    pub const fn scan_count(&self) -> usize {
        self.scans
    }

    /// One distance for each query, leaving out one scan if asked to (a scan of the set itself
    /// would find itself at distance 0). `None` when no scan is left.
    #[must_use]
    pub fn combine(&self, combination: Combination, without: Option<usize>) -> Option<Vec<f32>> {
        self.combine_of(combination, |scan| Some(scan) != without, None)
    }

    /// One distance for each query over the scans that `keep` says, and over `beside`: one more
    /// distance a query, from what is no scan of the set. `None` when there is nothing to combine.
    ///
    /// # Panics
    /// When `beside` has not one distance a query.
    #[must_use]
    pub fn combine_of(
        &self,
        combination: Combination,
        keep: impl Fn(usize) -> bool,
        beside: Option<&[f32]>,
    ) -> Option<Vec<f32>> {
        let kept: Vec<usize> = (0..self.scans).filter(|scan| keep(*scan)).collect();
        if kept.is_empty() {
            return beside.map(<[f32]>::to_vec);
        }
        let mut distances = Vec::with_capacity(kept.len() + 1);
        let per_query = self.all.chunks_exact(self.scans).enumerate().map(|(query, nearest)| {
            distances.clear();
            distances.extend(kept.iter().map(|scan| nearest[*scan].distance));
            distances.extend(beside.map(|beside| beside[query]));
            distances.sort_unstable_by(f32::total_cmp);
            combined(&distances, combination)
        });
        Some(per_query.collect())
    }
}

/// Combines ascending distances, of which there is at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "scans are few, and a share outside 0..1 is clamped"
)]
fn combined(distances: &[f32], combination: Combination) -> f32 {
    match combination {
        Combination::Minimum => distances[0],
        Combination::LowestShare(share) => {
            let count = ((share * distances.len() as f32).ceil() as usize).clamp(1, distances.len());
            distances[..count].iter().sum::<f32>() / count as f32
        }
        Combination::Median => distances[distances.len() / 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::distance::distance_sq;
    use crate::bank::{Block, RowOrigin};
    use crate::features::Branch;

    /// Rows that differ by scan and row, `[rows, dims]`.
    fn rows(scan: u16, rows: u16, dims: u16) -> Array2<f32> {
        Array2::from_shape_fn((rows.into(), dims.into()), |(row, column)| {
            let (row, column) = (u16::try_from(row).expect("small"), u16::try_from(column).expect("small"));
            let at = f32::from(row * 31 + column * 7 + scan * 1013);
            (at * 0.713).sin() * (f32::from(column) * 0.1).cos() + f32::from(scan % 3) * 0.1
        })
    }

    fn patches(count: u16) -> Vec<u16> {
        (0..count).collect()
    }

    fn set_of(scans: &[u16]) -> ReferenceSet {
        let mut set = ReferenceSet::new();
        for &scan in scans {
            set.add(format!("scan {scan}"), rows(scan, 50 + scan, 70), patches(50 + scan)).expect("valid");
        }
        set
    }

    fn slow(query: &[f32], rows: &Array2<f32>) -> (u32, f32) {
        let all = (0..).zip(rows.rows()).map(|(at, row)| (distance_sq(query, &row.to_vec()), at));
        let (sq, row) = all.min_by(|a, b| a.partial_cmp(b).expect("no NaN")).expect("rows");
        (row, sq.sqrt())
    }

    #[test]
    fn every_scan_is_searched_by_itself() {
        let scans = [0, 3, 7, 1];
        let queries = rows(20, 30, 70);
        let found = set_of(&scans).nearest_per_scan(queries.view()).expect("valid");
        for (at, query) in queries.rows().into_iter().enumerate() {
            let query = query.to_vec();
            let expected = scans.map(|scan| slow(&query, &rows(scan, 50 + scan, 70)));
            let per_scan: Vec<_> = found.of(at).iter().map(|found| (found.row, found.distance)).collect();
            assert_eq!(per_scan, expected);
        }
    }

    #[test]
    fn adding_and_removing_equals_building_anew() {
        let mut set = set_of(&[0, 1, 2]);
        set.remove("scan 1").expect("it is there");
        set.add("scan 5".into(), rows(5, 55, 70), patches(55)).expect("valid");
        let queries = rows(9, 20, 70);
        let anew = set_of(&[0, 2, 5]).nearest_per_scan(queries.view());
        assert_eq!(set.nearest_per_scan(queries.view()), anew);
        assert_eq!(
            set.scans().iter().map(ReferenceScan::name).collect::<Vec<_>>(),
            ["scan 0", "scan 2", "scan 5"]
        );
    }

    #[test]
    fn a_scan_of_the_set_can_be_left_out() {
        let own = rows(2, 52, 70);
        let found = set_of(&[0, 2, 4]).nearest_per_scan(own.view()).expect("valid");
        let with = found.combine(Combination::Minimum, None).expect("three scans");
        assert!(with.iter().all(|distance| *distance == 0.0), "it finds itself");
        let without = found.combine(Combination::Minimum, Some(1)).expect("two scans");
        for (query, distance) in without.iter().enumerate() {
            let others = found.of(query)[0].distance.min(found.of(query)[2].distance);
            assert_eq!((*distance, true), (others, others > 0.0));
            assert_eq!(found.nearest(query, Some(1)).map(|(_, nearest)| nearest.distance), Some(others));
        }
    }

    #[test]
    fn combinations() {
        let neighbor = |distance| Neighbor { row: 0, distance };
        let found = PerScan { scans: 4, all: [4.0, 1.0, 3.0, 2.0].map(neighbor).to_vec() };
        assert_eq!(found.combine(Combination::Minimum, None), Some(vec![1.0]));
        assert_eq!(found.combine(Combination::LowestShare(0.5), None), Some(vec![1.5]));
        assert_eq!(found.combine(Combination::LowestShare(0.51), None), Some(vec![2.0]));
        assert_eq!(found.combine(Combination::LowestShare(0.0), None), Some(vec![1.0]), "one at least");
        assert_eq!(found.combine(Combination::LowestShare(9.0), None), Some(vec![2.5]), "all at most");
        assert_eq!(found.combine(Combination::LowestShare(1.0), Some(1)), Some(vec![3.0]));
        assert_eq!(found.combine(Combination::Median, Some(0)), Some(vec![2.0]), "of 1, 2 and 3");
        let beside = |keep: fn(usize) -> bool| found.combine_of(Combination::Minimum, keep, Some(&[2.5]));
        assert_eq!((beside(|scan| scan == 0), beside(|_| true)), (Some(vec![2.5]), Some(vec![1.0])));
        assert_eq!(beside(|_| false), Some(vec![2.5]), "nothing but what stands beside");
        let alone = PerScan { scans: 1, all: vec![neighbor(1.0)] };
        assert_eq!(alone.combine(Combination::Minimum, Some(0)), None, "nothing is left");
        assert_eq!(alone.nearest(0, Some(0)), None);
    }

    #[test]
    fn a_bank_is_taken_apart_by_scan() {
        let origins = (0..60).map(|row| RowOrigin { scan: [2, 0, 2][usize::from(row % 3)], patch: row });
        let block = |branch, dims| Block { branch, dims, mean_norm: 1.0 };
        let bank = MemoryBank::new(
            vec![block(Branch::Rgb, 5), block(Branch::Fpfh, 4)],
            rows(0, 60, 9),
            origins.collect(),
            vec!["a".into(), "no rows".into(), "c".into()],
        );
        let bank = bank.expect("valid");
        let columns = bank.block_columns(Branch::Fpfh).expect("it has the block");
        let set = ReferenceSet::of_bank(&bank, columns).expect("valid");
        assert_eq!(set.scans().iter().map(ReferenceScan::name).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(set.scans()[0].patches()[..3], [1, 4, 7]);
        let queries = bank.rows.slice(s![.., 5..9]);
        let found = set.nearest_per_scan(queries).expect("valid");
        for (row, origin) in bank.origins.iter().enumerate() {
            let scan = usize::from(origin.scan == 2);
            let own = found.of(row)[scan];
            let patch = set.scans()[scan].patches()[usize::try_from(own.row).expect("small")];
            assert_eq!((own.distance, patch), (0.0, origin.patch));
        }
    }

    #[test]
    fn refusals_leave_the_set_as_it_was() {
        let mut set = ReferenceSet::new();
        let queries = rows(0, 2, 70);
        assert!(matches!(set.nearest_per_scan(queries.view()), Err(SearchError::Empty { .. })));
        let empty = set.add("empty".into(), Array2::zeros((0, 70)), vec![]);
        assert!(matches!(empty, Err(ReferenceError::Rows { .. })));
        set.add("other".into(), rows(1, 40, 30), patches(40)).expect("the refused scan fixed nothing");
        set.remove("other").expect("it is there");
        let mut set = set_of(&[0]);
        let again = set.add("scan 0".into(), rows(0, 50, 70), patches(50));
        assert_eq!(again, Err(ReferenceError::Duplicate { scan: "scan 0".into() }));
        let count = set.add("b".into(), rows(0, 50, 70), patches(49));
        assert!(matches!(count, Err(ReferenceError::Patches { found: 49, expected: 50, .. })));
        let dims = set.add("b".into(), rows(0, 50, 71), patches(50));
        assert!(matches!(dims, Err(ReferenceError::Rows { .. })));
        let mut nan = rows(0, 50, 70);
        nan[[7, 7]] = f32::NAN;
        assert!(matches!(set.add("b".into(), nan, patches(50)), Err(ReferenceError::Rows { .. })));
        assert!(matches!(set.remove("b"), Err(ReferenceError::Unknown { count: 1, .. })));
        assert_eq!(set.scans().len(), 1);
    }
}
