//! The few number conversions that the bank's proofs speak of.

/// Unit roundoff of f32.
pub(super) const U32: f64 = f32::EPSILON as f64 / 2.0;

/// Rounds to f32; every caller's error bound includes it.
#[expect(clippy::cast_possible_truncation, reason = "the rounding is part of the error bound")]
pub(super) const fn to_f32(value: f64) -> f32 {
    value as f32
}

/// A count as f64, exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) const fn to_f64(count: usize) -> f64 {
    count as f64
}

/// Squared Euclidean norm, summed in f64, in lanes for speed.
pub(super) fn norm_sq(values: &[f32]) -> f64 {
    let (lanes, rest) = values.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for values in lanes {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>()
}
