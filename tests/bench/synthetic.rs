//! Made-up descriptors for the benchmarks of searches.

use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Columns of the descriptors file: colour of both stages, and FPFH at its end.
pub const DIMS: usize = 1569;

/// Values between -0.5 and 0.5.
pub fn noise(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((rows, columns), || {
        let draw = u16::try_from(generator.next_u32() >> 16).expect("16 bits");
        f32::from(draw) / 65536.0 - 0.5
    })
}

/// Rows whose energy falls off over a hundred axes, as descriptors' does.
pub fn synthetic(rows: usize, seed: u64) -> Array2<f32> {
    let mut place = noise(rows, 100, seed);
    let mut weight = 8.0;
    for mut column in place.columns_mut() {
        column *= weight;
        weight *= 0.95;
    }
    place.dot(&noise(100, DIMS, 1)) + noise(rows, DIMS, seed + 1) * 0.5
}
