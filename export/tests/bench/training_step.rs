//! Time of one training step (both networks, losses, Adam) on a batch of 256 normal patches and 256 pseudo anomalies:
//! the fused passes, and burn's own on its CPU backend. Prints one JSON object. `export/dev/training_step_vs_torch.sh`
//! runs it in turns with PyTorch.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::time::Instant;

use ndarray::{Array2, Array3};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zal_export::graphs::normalcy::NormalcyWeights;
use zal_export::graphs::pointnet::PointNetWeights;
use zal_export::networks::device::DeviceChoice;
use zal_export::training::TrainParams;
use zal_export::training::batches::Batch;
use zal_export::training::learner::Learner;

const NORMAL: usize = 256;

fn batch() -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut number = || f32::from(u16::try_from(rng.next_u32() >> 16).unwrap_or_default()) / 32768.0 - 1.0;
    Batch {
        points: Array3::from_shape_simple_fn((2 * NORMAL, 64, 3), &mut number),
        normal_count: NORMAL,
        fpfh: Array2::from_shape_simple_fn((NORMAL, 33), &mut number),
    }
}

fn measure(device: DeviceChoice, steps: usize) -> [f64; 2] {
    let weights = (PointNetWeights::seeded(1), NormalcyWeights::seeded(1));
    let open = device.open().expect("the CPU is always there");
    let mut learner = Learner::new(&weights.0, &weights.1, &open, device == DeviceChoice::Cpu);
    let (batch, params) = (batch(), TrainParams::default());
    learner.step(&batch, &params, 1e-3);
    let mut times: Vec<f64> = (0..steps)
        .map(|_| {
            let start = Instant::now();
            learner.step(&batch, &params, 1e-3);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    [times[0], times[steps / 2]]
}

fn main() {
    let [fused, burn] =
        [(DeviceChoice::Cpu, 12), (DeviceChoice::Flex, 4)].map(|(d, steps)| measure(d, steps));
    println!(
        "{{\"fused_min_ms\": {:.1}, \"fused_median_ms\": {:.1}, \"burn_flex_min_ms\": {:.1}, \"burn_flex_median_ms\": {:.1}}}",
        fused[0], fused[1], burn[0], burn[1]
    );
}
