//! Greedy k-centre coreset: the few rows that leave no other row far from one of them.
//!
//! The picks are those of the plain algorithm, which measures every row against every pick,
//! but most measurements are proven needless:
//! - Rows are kept in clusters around the pick nearest to them. A new pick cannot be nearer
//!   to any row of a cluster whose centre is at least twice as far from it as the cluster's
//!   farthest row, nor to a single row that lies within half the distance of both picks
//!   (triangle inequality).
//! - The rest is compared by a few leading coordinates first (see [`super::basis`]): their
//!   distance never exceeds the true one, so a large one settles the matter.
//!
//! Every one of these tests allows for rounding, so ties and near ties come out as in the plain
//! algorithm, bit for bit.

use multiversion::multiversion;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::basis::{Basis, row_error};
use super::distance::{distance_sq, rounding_steps};
use super::numbers::{U32, to_f32, to_f64};
use super::search::VALUE_MAX;

/// Leading coordinates compared first; a cache line.
const FIRST_AXES: usize = 16;
/// Covers every underflow of a distance.
const TINY: f32 = 1e-15;

/// Picks `count` rows greedily: the row `start`, then again and again the row that is farthest
/// from all rows picked so far. Ties go to the lowest index; every pick is distinct, and all
/// rows are returned when `count` is not below their number.
///
/// # Panics
/// When `start` is not a row (an empty matrix gives an empty coreset), or a value is not finite
/// or larger than [`VALUE_MAX`].
#[must_use]
pub fn greedy_k_center(rows: ArrayView2<f32>, count: usize, start: usize) -> Vec<usize> {
    let count = count.min(rows.nrows());
    if count == 0 || rows.ncols() == 0 {
        return (0..count).collect();
    }
    assert!(start < rows.nrows(), "start is row {start}, there are {}", rows.nrows());
    assert!(rows.iter().all(|value| value.abs() <= VALUE_MAX), "values are finite, up to {VALUE_MAX:e}");
    let rows = rows.as_standard_layout();
    let mut greedy = Greedy::new(rows.view(), start);
    let mut picks = vec![start];
    while picks.len() < count {
        let farthest = greedy.farthest();
        picks.push(farthest);
        greedy.add_center(farthest);
    }
    picks
}

/// The state of the greedy algorithm.
struct Greedy<'a> {
    rows: ArrayView2<'a, f32>,
    /// Leading coordinates, `[rows, FIRST_AXES]`, zeros where there are fewer.
    first: Vec<f32>,
    /// What rounding may add to a coordinate distance.
    slack: f32,
    /// Relative error of a distance, with a reserve.
    relative: f32,
    clusters: Vec<Cluster>,
    /// Squared distance of each row to the nearest centre; -1 for the centres themselves.
    nearest_sq: Vec<f32>,
}

/// A centre and the rows nearer to it than to any other.
struct Cluster {
    center: usize,
    members: Vec<u32>,
    /// The farthest member's squared distance (-1 without members), and the member.
    farthest: (f32, usize),
}

impl<'a> Greedy<'a> {
    fn new(rows: ArrayView2<'a, f32>, start: usize) -> Self {
        let (first, norm_max) = Basis::fit(rows).leading(rows, FIRST_AXES);
        let dims = rows.ncols();
        let mut greedy = Self {
            rows,
            first,
            // Both rows' coordinate errors, with a reserve for the arithmetic on the slack itself.
            slack: to_f32(2.2 * row_error(dims) * norm_max) + TINY,
            relative: to_f32(1e-5 + 4.0 * to_f64(rounding_steps(dims) + FIRST_AXES) * U32),
            clusters: Vec::new(),
            nearest_sq: vec![f32::INFINITY; rows.nrows()],
        };
        greedy.nearest_sq[start] = -1.0;
        let members: Vec<usize> = (0..rows.nrows()).filter(|row| *row != start).collect();
        for &row in &members {
            greedy.nearest_sq[row] = greedy.measure(start, row);
        }
        let members = members.into_iter().map(narrow).collect();
        greedy.push_cluster(start, members);
        greedy
    }

    /// The row farthest from all centres, the lowest among equals.
    fn farthest(&self) -> usize {
        let mut best = (f32::NEG_INFINITY, usize::MAX);
        for cluster in &self.clusters {
            best = farther(best, cluster.farthest);
        }
        best.1
    }

    fn add_center(&mut self, center: usize) {
        self.nearest_sq[center] = -1.0;
        let mut apart_sq = Vec::new();
        let centers = self.clusters.iter().map(|cluster| cluster.center);
        first_distances_sq(&self.first, self.first_of(center), centers, &mut apart_sq);
        let mut gained = Vec::new();
        for (cluster, first_sq) in apart_sq.into_iter().enumerate() {
            if let Some(apart) = self.reach(cluster, center, first_sq) {
                self.move_members(cluster, center, apart, &mut gained);
            }
        }
        self.push_cluster(center, gained);
    }

    /// The distance of a cluster's centre to a new one, or `None` when the new centre is
    /// certainly not nearer to any member. `first_sq` lies between their leading coordinates.
    fn reach(&self, cluster: usize, center: usize, first_sq: f32) -> Option<f32> {
        let cluster = &self.clusters[cluster];
        if cluster.members.is_empty() {
            return None;
        }
        let twice = 2.0 * cluster.farthest.0.sqrt();
        if self.certainly_beyond(first_sq, twice) {
            return None;
        }
        let apart = self.measure(center, cluster.center).sqrt();
        (apart < self.widened(twice)).then_some(apart)
    }

    /// Moves the members that are nearer to the new centre out of a cluster.
    fn move_members(&mut self, cluster: usize, center: usize, apart: f32, gained: &mut Vec<u32>) {
        let mut members = std::mem::take(&mut self.clusters[cluster].members);
        let mut first_sq = Vec::with_capacity(members.len());
        let rows = members.iter().map(|member| widen(*member));
        first_distances_sq(&self.first, self.first_of(center), rows, &mut first_sq);
        let mut farthest = (-1.0, usize::MAX);
        let mut first_sq = first_sq.into_iter();
        members.retain(|&member| {
            let (row, first_sq) = (widen(member), first_sq.next().unwrap_or(0.0));
            if row == center {
                return false;
            }
            let old_sq = self.nearest_sq[row];
            let new_sq = self.nearer(row, center, apart, first_sq);
            if let Some(new_sq) = new_sq {
                self.nearest_sq[row] = new_sq;
                gained.push(member);
            } else {
                farthest = farther(farthest, (old_sq, row));
            }
            new_sq.is_none()
        });
        self.clusters[cluster].members = members;
        self.clusters[cluster].farthest = farthest;
    }

    /// The squared distance of a row to the new centre, when it is less than that to its present
    /// one; `apart` lies between the two centres, `first_sq` between leading coordinates.
    fn nearer(&self, row: usize, center: usize, apart: f32, first_sq: f32) -> Option<f32> {
        let old_sq = self.nearest_sq[row];
        let old = old_sq.sqrt();
        if apart >= self.widened(2.0 * old) || self.certainly_beyond(first_sq, old) {
            return None;
        }
        Some(self.measure(center, row)).filter(|new_sq| *new_sq < old_sq)
    }

    fn push_cluster(&mut self, center: usize, members: Vec<u32>) {
        let with_distance = members.iter().map(|row| (self.nearest_sq[widen(*row)], widen(*row)));
        let farthest = with_distance.fold((-1.0, usize::MAX), farther);
        self.clusters.push(Cluster { center, members, farthest });
    }

    /// Whether the squared distance of leading coordinates proves that a computed distance is not
    /// below `distance`.
    fn certainly_beyond(&self, first_sq: f32, distance: f32) -> bool {
        let bar = self.widened(distance) + self.slack;
        first_sq >= bar * bar * (1.0 + self.relative)
    }

    /// A distance enlarged by more than rounding can have taken from it and from another.
    fn widened(&self, distance: f32) -> f32 {
        distance * (1.0 + self.relative) + TINY
    }

    fn first_of(&self, row: usize) -> &[f32; FIRST_AXES] {
        &self.first.as_chunks().0[row]
    }

    fn measure(&self, a: usize, b: usize) -> f32 {
        let columns = self.rows.ncols();
        let values = self.rows.to_slice().expect("the layout is standard");
        distance_sq(&values[a * columns..][..columns], &values[b * columns..][..columns])
    }
}

/// Appends the squared distances of some rows' leading coordinates to a centre's.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn first_distances_sq(
    first: &[f32],
    center: &[f32; FIRST_AXES],
    rows: impl Iterator<Item = usize>,
    to: &mut Vec<f32>,
) {
    let first = first.as_chunks::<FIRST_AXES>().0;
    to.extend(rows.map(|row| {
        let mut sums = [0.0_f32; FIRST_AXES];
        for lane in 0..FIRST_AXES {
            let difference = first[row][lane] - center[lane];
            sums[lane] = difference * difference;
        }
        // Halving, as `distance_sq` does: a running sum would wait for itself.
        let mut width = FIRST_AXES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        sums[0]
    }));
}

/// The better candidate for the next pick: the farther, then the lower.
fn farther(a: (f32, usize), b: (f32, usize)) -> (f32, usize) {
    if b.0 > a.0 || (b.0 >= a.0 && b.1 < a.1) { b } else { a }
}

fn narrow(row: usize) -> u32 {
    u32::try_from(row).expect("banks have fewer than 2^32 rows")
}

const fn widen(row: u32) -> usize {
    row as usize
}

/// Columns that keep all pairwise distances of `rows` points within `1 +- eps` with high
/// probability: the Johnson-Lindenstrauss lemma in the form of Dasgupta and Gupta,
/// `4 ln(rows) / (eps^2 / 2 - eps^3 / 3)`, as scikit-learn computes it.
///
/// # Panics
/// When `eps` is not between 0 and 1.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
pub fn johnson_lindenstrauss_dims(rows: usize, eps: f64) -> usize {
    assert!(eps > 0.0 && eps < 1.0, "eps is {eps}, expected a number between 0 and 1");
    let dims = 4.0 * to_f64(rows.max(1)).ln() / (eps * eps / 2.0 - eps * eps * eps / 3.0);
    dims as usize
}

/// Projects rows `[rows, columns]` to `dims` columns by a sparse random matrix (Li, Hastie and
/// Church, 2006): an entry is `+-sqrt(1 / (density * dims))`, with `density = 1 / sqrt(columns)`
/// in all, and 0 otherwise. Distances are kept on average; it only makes a coreset of wide rows
/// affordable, the coreset is of the rows themselves. The same seed gives the same matrix.
#[must_use]
pub fn sparse_random_projection(rows: ArrayView2<f32>, dims: usize, seed: u64) -> Array2<f32> {
    let density = to_f64(rows.ncols()).sqrt().recip();
    let scale = to_f32((density * to_f64(dims)).sqrt().recip());
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let matrix = Array2::from_shape_simple_fn((rows.ncols(), dims), || {
        let draw = f64::from(generator.next_u32()) / 2.0_f64.powi(32);
        if draw >= density {
            0.0
        } else if draw < density / 2.0 {
            -scale
        } else {
            scale
        }
    });
    let mut projected = Array2::zeros((rows.nrows(), dims));
    // Some rows at a time: the product packs its operands.
    for (from, mut to) in
        (0..).step_by(PROJECT_ROWS).zip(projected.axis_chunks_iter_mut(Axis(0), PROJECT_ROWS))
    {
        let rows = rows.slice(s![from..from + to.nrows(), ..]);
        general_mat_mul(1.0, &rows, &matrix, 0.0, &mut to);
    }
    projected
}

/// Rows projected at a time.
const PROJECT_ROWS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Values on a coarse lattice, so that ties and duplicates abound.
    fn lattice(rows: usize, columns: usize, levels: u32, seed: u64) -> Array2<f32> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_simple_fn((rows, columns), || {
            f32::from(u16::try_from(generator.next_u32() % levels).expect("small"))
        })
    }

    /// Clusters of different spread around random centres.
    fn clustered(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut unit = move || f64::from(generator.next_u32()) / f64::from(u32::MAX) - 0.5;
        let centers = Array2::from_shape_simple_fn((12, columns), &mut unit);
        Array2::from_shape_fn((rows, columns), |(row, column)| {
            let spread = 0.01 * to_f64(row % 7);
            to_f32(100.0 + 3.0 * centers[[row * row % 12, column]] + spread * unit())
        })
    }

    /// The plain algorithm: every row against every pick.
    fn naive(rows: ArrayView2<f32>, count: usize, start: usize) -> Vec<usize> {
        let count = count.min(rows.nrows());
        let mut nearest_sq = vec![f32::INFINITY; rows.nrows()];
        let mut picks = Vec::new();
        let mut next = start;
        while picks.len() < count {
            picks.push(next);
            for (row, nearest) in nearest_sq.iter_mut().enumerate() {
                let (a, b) = (rows.row(row).to_vec(), rows.row(next).to_vec());
                *nearest = nearest.min(distance_sq(&a, &b));
            }
            nearest_sq[next] = -1.0;
            for &pick in &picks {
                nearest_sq[pick] = -1.0;
            }
            let candidates = nearest_sq.iter().copied().zip(0..);
            next = candidates.fold((f32::NEG_INFINITY, usize::MAX), farther).1;
        }
        picks
    }

    #[test]
    fn picks_are_those_of_the_plain_algorithm() {
        let cases = [
            clustered(600, 90, 1),
            clustered(500, 20, 2),
            lattice(500, 3, 4, 3),
            lattice(400, 70, 2, 4),
            lattice(300, 1, 1000, 5),
            Array2::zeros((40, 5)),
        ];
        for (case, rows) in cases.iter().enumerate() {
            for (count, start) in [(rows.nrows() / 3, 0), (rows.nrows() / 10, 7)] {
                let found = greedy_k_center(rows.view(), count, start);
                assert_eq!(found, naive(rows.view(), count, start), "case {case}, from row {start}");
            }
        }
    }

    #[test]
    fn near_ties_of_large_numbers_are_picked_as_plainly() {
        // Steps of one unit in the last place, far from the origin.
        let rows = lattice(300, 80, 3, 6).mapv(|value| 1e6 + value * 0.0625);
        assert_eq!(greedy_k_center(rows.view(), 120, 0), naive(rows.view(), 120, 0));
        let tiny = lattice(300, 80, 50, 7).mapv(|value| value * 1e-22);
        assert_eq!(greedy_k_center(tiny.view(), 100, 0), naive(tiny.view(), 100, 0));
    }

    #[test]
    fn all_rows_are_picked_once_when_as_many_are_asked_for() {
        let rows = lattice(60, 2, 3, 8);
        let mut picks = greedy_k_center(rows.view(), 1000, 3);
        assert_eq!(picks[0], 3);
        picks.sort_unstable();
        assert_eq!(picks, (0..60).collect::<Vec<_>>());
    }

    #[test]
    fn degenerate_inputs() {
        assert!(greedy_k_center(Array2::zeros((0, 4)).view(), 5, 0).is_empty());
        assert!(greedy_k_center(Array2::zeros((3, 4)).view(), 0, 0).is_empty());
        assert_eq!(greedy_k_center(Array2::zeros((1, 4)).view(), 5, 0), [0]);
        assert_eq!(greedy_k_center(Array2::zeros((4, 4)).view(), 3, 2), [2, 0, 1], "equal rows by index");
    }

    #[test]
    fn no_row_is_farther_than_the_next_pick() {
        let rows = clustered(400, 33, 9);
        let picks = greedy_k_center(rows.view(), 41, 0);
        let distance = |a: usize, b: usize| distance_sq(&rows.row(a).to_vec(), &rows.row(b).to_vec());
        let nearest =
            |row: usize| picks[..40].iter().map(|pick| distance(row, *pick)).fold(f32::MAX, f32::min);
        let radius = nearest(picks[40]);
        assert!((0..400).all(|row| nearest(row) <= radius));
    }

    #[test]
    fn projection_dims_are_scikit_learns() {
        // sklearn.random_projection.johnson_lindenstrauss_min_dim(n, eps=eps)
        assert_eq!(johnson_lindenstrauss_dims(1_000_000, 0.5), 663);
        assert_eq!(johnson_lindenstrauss_dims(1_000_000, 0.1), 11_841);
        assert_eq!(johnson_lindenstrauss_dims(165_424, 0.9), 296);
    }

    #[test]
    fn a_projection_keeps_distances_on_average_and_repeats_by_seed() {
        let rows = clustered(40, 900, 10);
        let projected = sparse_random_projection(rows.view(), 256, 1);
        assert_eq!(projected, sparse_random_projection(rows.view(), 256, 1));
        assert_ne!(projected, sparse_random_projection(rows.view(), 256, 2));
        let mean_sq = |rows: &Array2<f32>| {
            let pairs = (0..40).flat_map(|a| (0..a).map(move |b| (a, b)));
            let all = pairs.map(|(a, b)| distance_sq(&rows.row(a).to_vec(), &rows.row(b).to_vec()));
            all.sum::<f32>() / 780.0
        };
        // 780 pairs of 12 clusters by 256 columns: a few percent off is usual, a third is not.
        let ratio = mean_sq(&projected) / mean_sq(&rows);
        assert!((0.75..1.33).contains(&ratio), "{ratio}");
    }
}
