//! Random weights whose bytes depend on the seed alone.
//!
//! ChaCha8's stream is fixed by its specification, and the numbers are drawn uniformly: a normal law would
//! need logarithm and cosine, whose last bit differs between machines, where a product and a square root do
//! not.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of weights.
#[derive(Debug)]
pub struct SeededWeights {
    rng: ChaCha8Rng,
}

impl SeededWeights {
    /// The stream of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Kaiming weights for a layer followed by ReLU: uniform within `sqrt(6 / fan_in)`, so that the mean
    /// square of the activations is the same before and after (He et al. 2015, equation 10).
    pub fn kaiming(&mut self, count: usize, fan_in: usize) -> Vec<f32> {
        let bound = (6.0 / as_f64(fan_in.max(1))).sqrt();
        (0..count).map(|_| self.uniform(bound)).collect()
    }

    /// A number within `-bound..bound`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a weight is rounded to the precision it is stored in"
    )]
    fn uniform(&mut self, bound: f64) -> f32 {
        let unit = f64::from(self.rng.next_u32()) / 2.0_f64.powi(31) - 1.0;
        (unit * bound) as f32
    }
}

#[expect(clippy::cast_precision_loss, reason = "the size of a layer is far below 2^53")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_weights_and_another_seed_others() {
        let draw = |seed| SeededWeights::new(seed).kaiming(100, 9);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn variance_is_two_over_fan_in() {
        let weights = SeededWeights::new(3).kaiming(100_000, 50);
        let mean_square = weights.iter().map(|w| f64::from(w * w)).sum::<f64>() / 100_000.0;
        assert!((mean_square - 0.04).abs() < 0.001, "mean square {mean_square}");
        assert!(weights.iter().all(|w| w.abs() <= 0.12_f32.sqrt() + 1e-6));
    }
}
