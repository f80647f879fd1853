//! The squared Euclidean distance that defines "nearest" in the bank.
//!
//! Sums run in [`LANES`] fixed lanes without fused operations, so that every processor gives
//! the same bits, and the distance of a row to itself is exactly 0.

use multiversion::multiversion;

/// Partial sums kept side by side.
pub const LANES: usize = 32;

/// Squared distance of two equally long vectors. All terms are non-negative, so the relative
/// error is at most that of [`rounding_steps`] roundings (plus underflow).
///
/// # Panics
/// When the lengths differ.
#[must_use]
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub fn distance_sq(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "both vectors have the same columns");
    let mut sums = [0.0_f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            let difference = x[lane] - y[lane];
            sums[lane] += difference * difference;
        }
    }
    for (sum, (x, y)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        let difference = x - y;
        *sum += difference * difference;
    }
    sum_of(&mut sums)
}

#[inline(always)]
fn sum_of(sums: &mut [f32; LANES]) -> f32 {
    // Halving keeps the order of the additions fixed and short.
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// Roundings that a term of [`distance_sq`] goes through at most: difference (twice, it is
/// squared), product, one addition for each chunk and five for the halving.
#[must_use]
pub const fn rounding_steps(dims: usize) -> usize {
    3 + dims.div_ceil(LANES) + 5
}

/// Dot product of two equally long vectors, in fixed lanes as [`distance_sq`].
///
/// # Panics
/// When the lengths differ.
#[must_use]
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "both vectors have the same columns");
    let mut sums = [0.0_f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    for (sum, (x, y)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += x * y;
    }
    sum_of(&mut sums)
}
