//! Independent random streams, one for each purpose, epoch and frame: a batch does not depend on the order in which
//! threads made it, and a resumed training draws what the killed one would have drawn.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use crate::pseudo::random::unit;

/// What a stream is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// The patches that a frame offers.
    Examples = 1,
    /// Normal patches and pseudo anomalies of an epoch.
    Epoch = 2,
    /// The order of an epoch's patches.
    Shuffle = 3,
    /// The held-out patches.
    HeldOut = 4,
}

/// The stream of a purpose within an epoch and a frame.
#[must_use]
pub fn stream(seed: u64, purpose: Purpose, epoch: usize, frame: usize) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    for (part, value) in key.chunks_exact_mut(8).zip([seed, purpose as u64, epoch as u64, frame as u64]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A whole number below `end`.
///
/// # Panics
/// When `end` is 0.
pub fn below(rng: &mut ChaCha8Rng, end: usize) -> usize {
    assert!(end > 0, "there is something to choose from");
    // A bias of end / 2^64 is nothing.
    usize::try_from(rng.next_u64() % end as u64).expect("below a usize")
}

/// A random order.
pub fn shuffle<T>(rng: &mut ChaCha8Rng, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i + 1));
    }
}
