//! [`Draw`]: seeded random numbers, one independent stream a purpose.
//!
//! Every decision (design, pose, defect, noise of one row) has its own stream, so that a
//! scan does not depend on the order in which rows are computed, and a part keeps its
//! shape and noise when a defect is added to it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream named by four numbers.
    pub(super) fn new(key: [u64; 4]) -> Self {
        let mut seed = [0; 32];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(key) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// 32 random bits.
    pub(super) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in 0..1.
    #[expect(clippy::cast_precision_loss, reason = "24 bits are exact in f32")]
    pub(super) fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / 16_777_216.0
    }

    /// Uniform in `low..high`.
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Log-uniform in `low..high`: as many small things as large ones.
    pub(super) fn log_range(&mut self, low: f32, high: f32) -> f32 {
        low * (high / low).powf(self.unit())
    }

    /// True with the given probability.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..count`.
    pub(super) fn index(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        usize::try_from((u64::from(self.bits()) * count) >> 32).unwrap_or(0)
    }

    /// One of the choices.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// About normal with deviation 1: the sum of four uniform 16-bit numbers, which needs no
    /// transcendental function and never exceeds 3.47.
    pub(super) fn normal(&mut self) -> f32 {
        let bits = self.0.next_u64().to_le_bytes();
        let sum: u32 = bits.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))).sum();
        let centred = f64::from(sum) / 65_536.0 - 2.0 + 2.0 / 65_536.0;
        #[expect(clippy::cast_possible_truncation, reason = "a number of size 3 rounds to f32")]
        let value = (centred * 1.732_050_8) as f32;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_has_mean_zero_and_deviation_one() {
        let mut draw = Draw::new([1, 2, 3, 4]);
        let values: Vec<f32> = (0..20_000).map(|_| draw.normal()).collect();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
    }

    #[test]
    fn index_stays_in_range_and_reaches_all() {
        let mut draw = Draw::new([0; 4]);
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[draw.index(5)] = true);
        assert_eq!(seen, [true; 5]);
    }
}
