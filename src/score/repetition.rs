//! How a patch differs from the other patches of its own scan: threads, treads and weaves repeat over a
//! part, a defect does not. Needs no bank; what it knows of normal is the part itself.
//!
//! As mutual scoring of an image's patches (`MuSc`, ICLR 2024) with the one scan in place of a batch.

use ndarray::{ArrayView1, ArrayView2};

use crate::features::GRID_SIZE;

/// Distance of every patch to the `rank`-th nearest (1: nearest) patch of the same scan that is more
/// than `margin` cells of the grid away: nearer ones show the same place of the part.
///
/// ```text
/// d_i = rank-th smallest of { |f_i - f_j| : max(|row_i - row_j|, |column_i - column_j|) > margin }
/// ```
///
/// `rows` is `[patches, dims]`, `patches` their places on the grid. With fewer than `rank` such patches
/// the farthest of them counts, and 0 where there is none.
///
/// # Panics
/// When there is not one row a patch.
#[must_use]
pub fn own_distances(rows: ArrayView2<'_, f32>, patches: &[u16], rank: usize, margin: usize) -> Vec<f32> {
    assert_eq!(rows.nrows(), patches.len(), "one row a patch");
    // |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, as one product. Rounding matters little: ranks near 0 are the
    // same patch twice, which is what "repeats" means.
    let products = rows.dot(&rows.t());
    let norms: Vec<f32> = (0..rows.nrows()).map(|i| products[[i, i]]).collect();
    let mut others = Vec::with_capacity(patches.len());
    let distance = |i: usize, products: ArrayView1<'_, f32>, others: &mut Vec<f32>| {
        others.clear();
        let far = |j: &usize| cells_apart(patches[i], patches[*j]) > margin;
        let squared = |j: usize| (norms[i] + norms[j] - 2.0 * products[j]).max(0.0);
        others.extend((0..patches.len()).filter(far).map(squared));
        let Some(last) = others.len().checked_sub(1) else { return 0.0 };
        let wanted = rank.saturating_sub(1).min(last);
        others.select_nth_unstable_by(wanted, f32::total_cmp).1.sqrt()
    };
    (0..patches.len()).map(|i| distance(i, products.row(i), &mut others)).collect()
}

/// Chebyshev distance of two patches of the grid.
fn cells_apart(a: u16, b: u16) -> usize {
    let (a, b) = (usize::from(a), usize::from(b));
    (a / GRID_SIZE).abs_diff(b / GRID_SIZE).max((a % GRID_SIZE).abs_diff(b % GRID_SIZE))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// A thread along the columns with period 4, and one patch that is like no other.
    fn threaded() -> (Vec<u16>, Array2<f32>) {
        let patches: Vec<u16> = (0..16 * 28).collect();
        let mut rows = Array2::from_shape_fn((patches.len(), 2), |(i, axis)| {
            let phase = f32::from(u8::try_from(i % 28 % 4).expect("small")) * std::f32::consts::FRAC_PI_2;
            10.0 * if axis == 0 { phase.sin() } else { phase.cos() }
        });
        rows[[5 * 28 + 9, 0]] += 6.0;
        (patches, rows)
    }

    #[test]
    fn what_repeats_is_near_itself_and_a_defect_is_not() {
        let (patches, rows) = threaded();
        let found = own_distances(rows.view(), &patches, 3, 2);
        let highest = (0..found.len()).max_by(|a, b| found[*a].total_cmp(&found[*b]));
        assert_eq!(highest, Some(5 * 28 + 9));
        assert!(found.iter().filter(|d| **d > 0.1).count() == 1, "everything else repeats");
    }

    #[test]
    fn it_equals_sorting_all_pairs() {
        let patches: Vec<u16> = vec![0, 1, 2, 30, 33, 60, 200, 203, 500, 783];
        let rows = Array2::from_shape_fn((10, 3), |(i, j)| {
            f32::from(u8::try_from((i * 37 + j * 11) % 23).expect("small"))
        });
        for (rank, margin) in [(1, 0), (1, 1), (2, 2), (5, 3), (100, 0), (1, 30)] {
            let found = own_distances(rows.view(), &patches, rank, margin);
            for (i, found) in found.iter().enumerate() {
                let mut all: Vec<f32> = (0..10)
                    .filter(|j| cells_apart(patches[i], patches[*j]) > margin)
                    .map(|j| rows.row(i).iter().zip(rows.row(j)).map(|(a, b)| (a - b).powi(2)).sum::<f32>())
                    .collect();
                all.sort_by(f32::total_cmp);
                let expected = all.get(rank - 1).or(all.last()).map_or(0.0, |d| d.sqrt());
                assert!((found - expected).abs() < 1e-3, "rank {rank}, margin {margin}: {found} {expected}");
            }
        }
    }
}
