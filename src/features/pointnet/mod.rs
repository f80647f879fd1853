//! Learned point descriptors: the points of each patch, sampled and grouped here so that the
//! graph holds only matrix products (METHOD section 4, PointNet++ on 64 points).
//!
//! The same functions feed training, the bank and the device, so a patch is always made in the
//! same way. Points lie in patch units: centred, and divided by [`PATCH_UNIT_PITCHES`] times
//! the scan's own point pitch times the stride, so a patch of a flat part seen head-on spans
//! about -1..1 and metric shape survives. [`PatchParams`] says which points a patch takes.

mod extract;
mod group;
mod nearest;

use ndarray::{Array2, Array3, ArrayD, Axis, concatenate};

use super::{Branch, PATCH_SIZE, PatchFeatures};
use crate::contract::PATCH_BATCH_SIZE;
use crate::engine::{Engine, EngineError, Input};

pub use extract::{
    Extraction, PatchParams, STRIDE_PX_MAX, Slots, anchor_of, anchor_pixel, lattice_pixels, patch_at,
    patch_of, patches, slots_at,
};
pub use group::{Grouping, group};
pub use nearest::CellBoxes;

/// Points of one patch.
pub const PATCH_POINT_COUNT: usize = PATCH_SIZE * PATCH_SIZE;
/// One patch unit in point pitches: half a patch.
pub const PATCH_UNIT_PITCHES: f32 = 4.0;
/// Centres of the first set abstraction.
pub const CENTRES_1: usize = 32;
/// Centres of the second set abstraction: the first ones of the 32.
pub const CENTRES_2: usize = 8;
/// Neighbours of each centre.
pub const NEIGHBORS: usize = 16;
/// Ball of the first set abstraction in point pitches: 21 grid points on a flat patch.
pub const RADIUS_1_PITCHES: f32 = 2.5;
/// Ball of the second set abstraction in point pitches: about 16 of the 32 centres.
pub const RADIUS_2_PITCHES: f32 = 4.0;

/// Mean in f64: a patch is millimetres wide and up to metres away.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "at most 64 points")]
fn mean(points: &[[f32; 3]]) -> [f32; 3] {
    std::array::from_fn(|axis| {
        let sum: f64 = points.iter().map(|point| f64::from(point[axis])).sum();
        (sum / points.len() as f64) as f32
    })
}

/// Describes patches `[n, 64, 3]` made by [`patches`]: raw embeddings, rows `[n, d]`; no rows
/// and no dimensions for no patches.
///
/// # Errors
/// When the graph fails.
pub fn describe(engine: &mut dyn Engine, points: &Array3<f32>) -> Result<PatchFeatures, EngineError> {
    let embeddings = in_batches(points, |batch| {
        let grouping = group(batch);
        engine.run(&[
            Input::F32(grouping.g1.view().into_dyn()),
            Input::F32(grouping.g2.view().into_dyn()),
            Input::I64(grouping.i2.view().into_dyn()),
        ])
    })?;
    let rows = embeddings.map_or_else(
        || Array2::zeros((0, 0)),
        |rows| rows.into_dimensionality().expect("the contract gives the embedding two axes"),
    );
    Ok(PatchFeatures { branch: Branch::Point, rows })
}

/// The normalcy classifier's logits of patches `[n, 64, 3]` made by [`patches`].
///
/// # Errors
/// When the graph fails.
pub fn normalcy(engine: &mut dyn Engine, points: &Array3<f32>) -> Result<Vec<f32>, EngineError> {
    let logits = in_batches(points, |batch| engine.run(&[Input::F32(batch.view().into_dyn())]))?;
    Ok(logits.map_or_else(Vec::new, |logits| logits.iter().copied().collect()))
}

/// Runs batches of exactly [`PATCH_BATCH_SIZE`] patches, the last one filled up by repeating
/// its last patch, and joins the first outputs without the filling.
fn in_batches(
    points: &Array3<f32>,
    mut run: impl FnMut(&Array3<f32>) -> Result<Vec<ArrayD<f32>>, EngineError>,
) -> Result<Option<ArrayD<f32>>, EngineError> {
    let mut parts = Vec::new();
    for chunk in points.axis_chunks_iter(Axis(0), PATCH_BATCH_SIZE) {
        let count = chunk.len_of(Axis(0));
        let batch =
            Array3::from_shape_fn((PATCH_BATCH_SIZE, chunk.dim().1, chunk.dim().2), |(p, i, axis)| {
                chunk[[p.min(count - 1), i, axis]]
            });
        let output = run(&batch)?.swap_remove(0);
        parts.push(output.slice_axis(Axis(0), (0..count).into()).to_owned());
    }
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    if views.is_empty() {
        return Ok(None);
    }
    Ok(Some(concatenate(Axis(0), &views).expect("the batches of one graph have one shape")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineReport;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Multiples of 1/1024 m in -1/16..1/16, so that a shift by a power of two stays exact.
    pub(super) fn random_points(rng: &mut ChaCha8Rng, count: usize) -> Vec<[f32; 3]> {
        let mut value =
            || f32::from(u8::try_from(rng.next_u32() % 128).expect("below 128")) / 1024.0 - 0.0625;
        (0..count).map(|_| [value(), value(), value()]).collect()
    }

    /// Patches of such points, spread over -1..1.
    pub(super) fn random_patches(seed: u64, count: usize) -> Array3<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let points = random_points(&mut rng, count * 64);
        Array3::from_shape_fn((count, 64, 3), |(p, i, axis)| points[p * 64 + i][axis] * 16.0)
    }
    /// Returns the sum of each patch's first input and remembers the batch sizes.
    struct Summing {
        batches: Vec<usize>,
        report: EngineReport,
    }

    impl Engine for Summing {
        fn run(&mut self, inputs: &[Input<'_>]) -> Result<Vec<ArrayD<f32>>, EngineError> {
            let Some(Input::F32(first)) = inputs.first() else { panic!("the first input holds floats") };
            self.batches.push(first.shape()[0]);
            let sums: Vec<f32> = first.outer_iter().map(|patch| patch.sum()).collect();
            Ok(vec![ArrayD::from_shape_vec(vec![sums.len()], sums).expect("one sum per patch")])
        }

        fn report(&self) -> &EngineReport {
            &self.report
        }
    }

    #[test]
    fn batches_have_one_size_and_the_filling_is_dropped() {
        let report = EngineReport {
            engine: "test".into(),
            version: "0".into(),
            provider: "cpu".into(),
            passed_over: vec![],
        };
        let mut engine = Summing { batches: vec![], report };
        for count in [0, 1, 64, 130] {
            let points = random_patches(7, count);
            let logits = normalcy(&mut engine, &points).expect("runs");
            let expected: Vec<f32> = points.outer_iter().map(|patch| patch.sum()).collect();
            assert_eq!(logits, expected);
        }
        assert_eq!(engine.batches, [64; 1 + 1 + 3]);
        assert_eq!(describe(&mut engine, &random_patches(7, 0)).expect("runs").rows.dim(), (0, 0));
    }
}
