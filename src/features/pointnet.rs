//! Learned point descriptors: the points of each patch, sampled and grouped here so that the
//! graph holds only matrix products (METHOD section 4, PointNet++ on 64 points).
//!
//! The same functions feed training, the bank and the device, so a patch is always made in the
//! same way. Points lie in patch units: centred, and divided by [`PATCH_UNIT_PITCHES`] times
//! the scan's own point pitch, so a patch of a flat part seen head-on spans about -1..1 and
//! metric shape survives.

use ndarray::{Array2, Array3, Array4, ArrayD, Axis, concatenate};

use super::{Branch, GRID_SIZE, PATCH_SIZE, PatchFeatures, PatchGrid};
use crate::cloud::OrganizedCloud;
use crate::contract::PATCH_BATCH_SIZE;
use crate::engine::{Engine, EngineError, Input};
use crate::preprocess::FRAME_SIZE;

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

/// The graph's inputs for `n` patches, all in patch units.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    /// `[n, 32, 16, 3]`: neighbours of each first centre among the patch's points, relative to
    /// the centre, nearest first.
    pub g1: Array4<f32>,
    /// `[n, 8, 16, 3]`: neighbours of each second centre among the first centres, relative to it.
    pub g2: Array4<f32>,
    /// `[n, 8, 16]`: which first centres those are, as `patch * 32 + centre`.
    pub i2: Array3<i64>,
}

/// The 64 points of every valid patch, `[patches, 64, 3]`, in patch units around the mean of
/// the measured points, row-major within the patch.
///
/// A pixel without measurement repeats a measured point of the same patch: with m measured and
/// k missing points, the t-th missing one repeats the measured point number floor(t m / k), so
/// the repetitions spread evenly over the patch.
///
/// # Panics
/// When the cloud is not a frame (224 x 224), or the pitch is not a positive number.
#[must_use]
pub fn patches(cloud: &OrganizedCloud, grid: &PatchGrid, pitch_m: f32) -> Array3<f32> {
    assert_eq!((cloud.height(), cloud.width()), (FRAME_SIZE, FRAME_SIZE), "the cloud is a frame");
    assert!(pitch_m.is_finite() && pitch_m > 0.0, "the pitch {pitch_m} m is a positive number");
    let mut points = Array3::zeros((grid.count(), PATCH_POINT_COUNT, 3));
    for (mut out, patch) in points.outer_iter_mut().zip(grid.patches()) {
        let filled = fill_patch(cloud, usize::from(*patch), pitch_m * PATCH_UNIT_PITCHES);
        out.iter_mut().zip(filled.as_flattened()).for_each(|(to, from)| *to = *from);
    }
    points
}

/// The 64 points of one patch in patch units.
fn fill_patch(cloud: &OrganizedCloud, patch: usize, unit_m: f32) -> [[f32; 3]; PATCH_POINT_COUNT] {
    let (top, left) = (patch / GRID_SIZE * PATCH_SIZE, patch % GRID_SIZE * PATCH_SIZE);
    let pixel = |slot: usize| (top + slot / PATCH_SIZE) * FRAME_SIZE + left + slot % PATCH_SIZE;
    let measured: Vec<[f32; 3]> = (0..PATCH_POINT_COUNT)
        .map(pixel)
        .filter(|index| cloud.valid()[*index])
        .map(|index| cloud.points()[index])
        .collect();
    assert!(!measured.is_empty(), "a valid patch holds measured points");
    let centre = mean(&measured);
    let missing_count = PATCH_POINT_COUNT - measured.len();
    let (mut next_measured, mut next_missing) = (0, 0);
    std::array::from_fn(|slot| {
        let point = if cloud.valid()[pixel(slot)] {
            next_measured += 1;
            measured[next_measured - 1]
        } else {
            next_missing += 1;
            measured[(next_missing - 1) * measured.len() / missing_count]
        };
        std::array::from_fn(|axis| (point[axis] - centre[axis]) / unit_m)
    })
}

/// Mean in f64: a patch is millimetres wide and up to metres away.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "at most 64 points")]
fn mean(points: &[[f32; 3]]) -> [f32; 3] {
    std::array::from_fn(|axis| {
        let sum: f64 = points.iter().map(|point| f64::from(point[axis])).sum();
        (sum / points.len() as f64) as f32
    })
}

/// Samples centres and groups neighbours of patches `[n, 64, 3]`.
///
/// # Panics
/// When the patches do not hold 64 points of three coordinates.
#[must_use]
pub fn group(points: &Array3<f32>) -> Grouping {
    let (count, per_patch, axes) = points.dim();
    assert_eq!((per_patch, axes), (PATCH_POINT_COUNT, 3), "patches hold 64 points");
    let mut grouping = Grouping {
        g1: Array4::zeros((count, CENTRES_1, NEIGHBORS, 3)),
        g2: Array4::zeros((count, CENTRES_2, NEIGHBORS, 3)),
        i2: Array3::zeros((count, CENTRES_2, NEIGHBORS)),
    };
    let mut scratch = Vec::with_capacity(PATCH_POINT_COUNT);
    for (patch, rows) in points.outer_iter().enumerate() {
        let points: Vec<[f32; 3]> = rows.outer_iter().map(|p| [p[0], p[1], p[2]]).collect();
        group_patch(&points, patch, &mut grouping, &mut scratch);
    }
    grouping
}

#[expect(clippy::cast_possible_wrap, reason = "patches times 32 stays far below 2^63")]
fn group_patch(points: &[[f32; 3]], patch: usize, grouping: &mut Grouping, scratch: &mut Vec<(f32, usize)>) {
    let centres: Vec<[f32; 3]> =
        farthest_points::<CENTRES_1>(points).iter().map(|index| points[*index]).collect();
    for (c, centre) in centres.iter().enumerate() {
        for (k, index) in ball(*centre, points, RADIUS_1_PITCHES, scratch).iter().enumerate() {
            write(&mut grouping.g1, [patch, c, k], difference(points[*index], *centre));
        }
    }
    // A farthest-point sample in its order is its own prefix: the first 8 of the 32 centres
    // are the 8 that farthest-point sampling would take from them.
    for (c, centre) in centres[..CENTRES_2].iter().enumerate() {
        for (k, index) in ball(*centre, &centres, RADIUS_2_PITCHES, scratch).iter().enumerate() {
            write(&mut grouping.g2, [patch, c, k], difference(centres[*index], *centre));
            grouping.i2[[patch, c, k]] = (patch * CENTRES_1 + index) as i64;
        }
    }
}

fn write(tensor: &mut Array4<f32>, [a, b, c]: [usize; 3], point: [f32; 3]) {
    for (axis, value) in point.into_iter().enumerate() {
        tensor[[a, b, c, axis]] = value;
    }
}

/// Farthest-point sampling: starts at the point nearest the mean, then always takes the point
/// farthest from those taken. Ties go to the lower index.
fn farthest_points<const N: usize>(points: &[[f32; 3]]) -> [usize; N] {
    let centre = mean(points);
    let mut next = 0;
    for (index, point) in points.iter().enumerate() {
        if distance_sq(*point, centre) < distance_sq(points[next], centre) {
            next = index;
        }
    }
    let mut nearest_sq = [f32::INFINITY; PATCH_POINT_COUNT];
    std::array::from_fn(|_| {
        let taken = next;
        next = 0;
        for (index, point) in points.iter().enumerate() {
            nearest_sq[index] = nearest_sq[index].min(distance_sq(*point, points[taken]));
            if nearest_sq[index] > nearest_sq[next] {
                next = index;
            }
        }
        taken
    })
}

/// Ball query: the nearest 16 candidates within the radius, nearest first, ties by index.
/// Fewer are filled up with the nearest, which is the centre itself.
fn ball(
    centre: [f32; 3],
    candidates: &[[f32; 3]],
    radius_pitches: f32,
    scratch: &mut Vec<(f32, usize)>,
) -> [usize; NEIGHBORS] {
    let radius = radius_pitches / PATCH_UNIT_PITCHES;
    scratch.clear();
    for (index, point) in candidates.iter().enumerate() {
        let d_sq = distance_sq(*point, centre);
        if d_sq <= radius * radius {
            scratch.push((d_sq, index));
        }
    }
    scratch.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    std::array::from_fn(|k| scratch.get(k).unwrap_or(&scratch[0]).1)
}

fn difference(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

fn distance_sq(a: [f32; 3], b: [f32; 3]) -> f32 {
    difference(a, b).iter().map(|d| d * d).sum()
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
    fn random_points(rng: &mut ChaCha8Rng, count: usize) -> Vec<[f32; 3]> {
        let mut value =
            || f32::from(u8::try_from(rng.next_u32() % 128).expect("below 128")) / 1024.0 - 0.0625;
        (0..count).map(|_| [value(), value(), value()]).collect()
    }

    fn random_patches(seed: u64, count: usize) -> Array3<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let points = random_points(&mut rng, count * 64);
        Array3::from_shape_fn((count, 64, 3), |(p, i, axis)| points[p * 64 + i][axis] * 16.0)
    }

    fn slow_distance_sq(a: [f32; 3], b: [f32; 3]) -> f64 {
        (0..3).map(|axis| (f64::from(a[axis]) - f64::from(b[axis])).powi(2)).sum()
    }

    /// Farthest-point sampling that measures every distance anew.
    fn slow_farthest(points: &[[f32; 3]], count: usize, first: usize) -> Vec<usize> {
        let mut taken = vec![first];
        while taken.len() < count {
            let gap = |i: usize| {
                taken.iter().map(|t| slow_distance_sq(points[i], points[*t])).fold(f64::INFINITY, f64::min)
            };
            let best = (0..points.len()).fold(0, |best, i| if gap(i) > gap(best) { i } else { best });
            taken.push(best);
        }
        taken
    }

    #[test]
    fn farthest_points_are_those_of_the_slow_version() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let points = random_points(&mut rng, 64);
            let fast = farthest_points::<32>(&points);
            let centre = mean(&points);
            let nearest = (0..64).min_by(|a, b| {
                slow_distance_sq(points[*a], centre).total_cmp(&slow_distance_sq(points[*b], centre))
            });
            assert_eq!(Some(fast[0]), nearest);
            assert_eq!(fast.to_vec(), slow_farthest(&points, 32, fast[0]));
        }
    }

    #[test]
    fn the_first_centres_are_the_farthest_sample_of_the_centres() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let points = random_points(&mut rng, 64);
        let centres: Vec<[f32; 3]> = farthest_points::<32>(&points).iter().map(|i| points[*i]).collect();
        assert_eq!(slow_farthest(&centres, 8, 0), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_ball_holds_the_nearest_within_the_radius_and_is_filled_up() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut filled = 0;
        for radius in [0.1_f32, 0.2, 0.3, 10.0] {
            let points = random_points(&mut rng, 64);
            let limit = f64::from(radius / PATCH_UNIT_PITCHES).powi(2);
            let mut within: Vec<usize> =
                (0..64).filter(|i| slow_distance_sq(points[*i], points[7]) <= limit).collect();
            within.sort_by(|a, b| {
                slow_distance_sq(points[*a], points[7]).total_cmp(&slow_distance_sq(points[*b], points[7]))
            });
            let found = ball(points[7], &points, radius, &mut Vec::new());
            filled += usize::from(within.len() < 16);
            within.resize(16.max(within.len()), within[0]);
            assert_eq!(found[..], within[..16]);
        }
        assert!((1..4).contains(&filled), "both cases occur");
    }

    #[test]
    fn indices_point_at_the_rows_they_describe() {
        let points = random_patches(4, 3);
        let grouping = group(&points);
        for ((patch, centre, k), row) in grouping.i2.indexed_iter() {
            let row = usize::try_from(*row).expect("not negative");
            assert_eq!(row / CENTRES_1, patch);
            let first: Vec<[f32; 3]> =
                points.index_axis(Axis(0), patch).outer_iter().map(|p| [p[0], p[1], p[2]]).collect();
            let centres = farthest_points::<32>(&first);
            let expected = difference(first[centres[row % CENTRES_1]], first[centres[centre]]);
            let found: [f32; 3] = std::array::from_fn(|axis| grouping.g2[[patch, centre, k, axis]]);
            assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits));
        }
        assert!(
            grouping.g1.index_axis(Axis(2), 0).iter().all(|v| *v == 0.0),
            "a centre is nearest to itself"
        );
    }

    #[test]
    fn grouping_ignores_where_the_patch_lies() {
        let points = random_patches(5, 2);
        let moved = &points + 4.0;
        assert_eq!(group(&points), group(&moved));
    }

    #[test]
    fn identical_points_group_into_zeros() {
        let grouping = group(&Array3::from_elem((1, 64, 3), 0.25));
        assert!(grouping.g1.iter().chain(&grouping.g2).all(|v| *v == 0.0));
        assert!(grouping.i2.outer_iter().flatten().copied().eq((0..8).flat_map(|_| 0..16)));
    }

    /// A frame whose upper left patch holds the given points row by row; no other pixel is measured.
    fn frame(patch_points: &[Option<[f32; 3]>; 64]) -> OrganizedCloud {
        let mut points = vec![[0.0; 3]; FRAME_SIZE * FRAME_SIZE];
        for (slot, point) in patch_points.iter().enumerate() {
            points[slot / 8 * FRAME_SIZE + slot % 8] = point.unwrap_or([0.0; 3]);
        }
        OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, points).expect("a frame")
    }

    #[test]
    fn missing_points_repeat_measured_ones_evenly() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let random = random_points(&mut rng, 64);
        let mut slots: [Option<[f32; 3]>; 64] =
            std::array::from_fn(|i| Some([random[i][0], random[i][1], 1.0]));
        slots[40..].fill(None);
        let cloud = frame(&slots);
        let points = patches(&cloud, &PatchGrid::of(&cloud), 0.001);
        assert_eq!(points.dim(), (1, 64, 3));
        for missing in 0..24 {
            let repeated = points.slice(ndarray::s![0, missing * 40 / 24, ..]);
            assert_eq!(points.slice(ndarray::s![0, 40 + missing, ..]), repeated);
        }
        let sum: f32 = points.slice(ndarray::s![0, ..40, 0]).sum();
        assert!(sum.abs() < 1e-3, "the measured points are centred, sum {sum}");
    }

    #[test]
    fn a_flat_patch_spans_one_unit_to_each_side() {
        let pitch = 0.000_5;
        let at = |i: usize| f32::from(u8::try_from(i).expect("small")) * pitch;
        let cloud = frame(&std::array::from_fn(|slot| Some([at(slot % 8), at(slot / 8), 0.5])));
        let points = patches(&cloud, &PatchGrid::of(&cloud), pitch);
        assert!((points[[0, 63, 0]] - 0.875).abs() < 1e-3 && (points[[0, 0, 1]] + 0.875).abs() < 1e-3);
        let grouping = group(&points);
        let distances = grouping.g1.map_axis(Axis(3), |d| d.iter().map(|v| v * v).sum::<f32>().sqrt());
        assert!(distances.iter().all(|d| *d <= RADIUS_1_PITCHES / PATCH_UNIT_PITCHES));
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
