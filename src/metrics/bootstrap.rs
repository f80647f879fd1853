//! Percentile intervals by resampling with a fixed seed: the same data give the same interval.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::as_f64;

/// Settings of an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Number of resamples.
    pub resamples: usize,
    /// Share of the resampled figures that lies within the interval.
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2000, level: 0.95, seed: 0 }
    }
}

/// Draws of one interval.
#[derive(Debug, Clone)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// An index below `count`. The bias of this multiplication is below `count / 2^32`.
    ///
    /// # Panics
    /// When `count` is 0.
    pub fn index(&mut self, count: usize) -> usize {
        assert!(count > 0, "an index is drawn from at least one");
        ((u64::from(self.0.next_u32()) * count as u64) >> 32) as usize
    }
}

impl Bootstrap {
    /// The interval of a figure that `resampled` computes of fresh draws: the smallest values that at
    /// least `(1 - level) / 2` and `(1 + level) / 2` of the figures do not exceed. Resamples without a
    /// figure are left out; none without any.
    pub fn interval(&self, mut resampled: impl FnMut(&mut Draws) -> Option<f64>) -> Option<[f64; 2]> {
        let mut draws = Draws(ChaCha8Rng::seed_from_u64(self.seed));
        let mut figures: Vec<f64> = (0..self.resamples).filter_map(|_| resampled(&mut draws)).collect();
        figures.sort_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        figures.first()?;
        Some([tail, 1.0 - tail].map(|share| figures[rank(share, figures.len())]))
    }
}

/// Index of the first of `count` ascending values that a share of them does not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the list before the cast"
)]
fn rank(share: f64, count: usize) -> usize {
    // A share such as 0.025 of 2000 is 50 and a rounding error, which must not lead to the 51st.
    let position = (share * as_f64(count) - 1e-9).ceil() - 1.0;
    position.clamp(0.0, as_f64(count - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranks_are_those_of_the_shares() {
        assert_eq!((rank(0.025, 2000), rank(0.975, 2000)), (49, 1949));
        assert_eq!((rank(0.025, 10), rank(0.975, 10)), (0, 9));
        assert_eq!((rank(0.5, 1), rank(0.0, 5), rank(1.0, 5)), (0, 0, 4));
    }

    #[test]
    fn the_interval_of_a_count_up_is_its_tails() {
        let mut next = 0_u16;
        let mut figure = |_: &mut Draws| {
            next += 1;
            Some(f64::from(next))
        };
        let settings = Bootstrap { resamples: 1000, level: 0.9, seed: 1 };
        assert_eq!(settings.interval(&mut figure), Some([50.0, 950.0]));
        assert_eq!(settings.interval(|_| None), None);
    }

    #[test]
    fn draws_reach_every_index_evenly_and_follow_the_seed() {
        let draw = |seed| {
            let mut draws = Draws(ChaCha8Rng::seed_from_u64(seed));
            (0..7000).map(|_| draws.index(7)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        for index in 0..7 {
            let found = draw(3).iter().filter(|i| **i == index).count();
            assert!((850..1150).contains(&found), "{index} was drawn {found} times of 7000");
        }
    }
}
