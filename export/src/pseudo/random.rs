//! Uniform draws from the caller's generator: the same stream gives the same pseudo anomalies on
//! every machine and any number of threads.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// Uniform in 0..1.
#[expect(clippy::cast_precision_loss, reason = "24 bits are exact in f32")]
#[must_use]
pub fn unit(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / 16_777_216.0
}

/// Uniform within the range.
pub(super) fn within(rng: &mut ChaCha8Rng, range: &RangeInclusive<f32>) -> f32 {
    range.start() + (range.end() - range.start()) * unit(rng)
}

/// Uniform in `0..count`; 0 when there is nothing to choose from.
pub(super) fn index(rng: &mut ChaCha8Rng, count: usize) -> usize {
    usize::try_from((u64::from(rng.next_u32()) * count as u64) >> 32).unwrap_or(0)
}

/// Uniform within the range, both ends included.
pub(super) fn count_within(rng: &mut ChaCha8Rng, range: &RangeInclusive<usize>) -> usize {
    range.start() + index(rng, range.end().saturating_sub(*range.start()) + 1)
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn draws_fill_their_range_and_never_leave_it() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut seen = [0_usize; 4];
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for _ in 0..4000 {
            seen[count_within(&mut rng, &(5..=8)) - 5] += 1;
            let value = within(&mut rng, &(-1.0..=3.0));
            (low, high) = (low.min(value), high.max(value));
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
        assert!((-1.0..-0.98).contains(&low) && (2.98..3.0).contains(&high), "{low} {high}");
        assert_eq!((count_within(&mut rng, &(7..=7)), index(&mut rng, 0)), (7, 0));
    }
}
