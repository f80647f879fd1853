//! Greedy k-centre coreset: the few rows that leave no other row far from one of them.

use ndarray::ArrayView2;

/// Picks `count` rows greedily: the row `start`, then again and again the row that is farthest
/// from all rows picked so far. Ties go to the lowest index; every pick is distinct, and all rows
/// are returned when `count` is not below their number.
///
/// # Panics
/// When `start` is not a row (an empty matrix gives an empty coreset).
#[must_use]
pub fn greedy_k_center(rows: ArrayView2<f32>, count: usize, start: usize) -> Vec<usize> {
    naive(rows, count, start)
}

fn naive(rows: ArrayView2<f32>, count: usize, start: usize) -> Vec<usize> {
    let count = count.min(rows.nrows());
    if count == 0 {
        return Vec::new();
    }
    assert!(start < rows.nrows(), "start is row {start}, there are {}", rows.nrows());
    let rows = rows.as_standard_layout();
    let mut nearest_sq = vec![f32::INFINITY; rows.nrows()];
    let mut picks = vec![start];
    while picks.len() < count {
        let newest = picks[picks.len() - 1];
        nearest_sq[newest] = -1.0;
        for (row, nearest) in nearest_sq.iter_mut().enumerate() {
            let d = super::distance::distance_sq(
                rows.row(newest).to_slice().expect("standard layout"),
                rows.row(row).to_slice().expect("standard layout"),
            );
            *nearest = nearest.min(d);
        }
        picks.push(argmax(&nearest_sq));
    }
    picks
}

fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
