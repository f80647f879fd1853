//! Which points of the frame make a patch, and how they become the 64 points of one.
//!
//! A patch belongs to an *anchor*: a pixel, whose neighbourhood is the 8 x 8 pixels from 4 rows
//! above and 4 columns left of it to 3 below and 3 right, centred half a pixel before the anchor
//! on both axes. The anchor of a grid cell is its pixel (4, 4), so that the neighbourhood is the
//! cell. An anchor is usable when at least 16 points of its neighbourhood were measured: the
//! rule by which a cell of [`PatchGrid`] is valid. Device, training and pseudo anomalies all come through
//! [`slots_at`] and [`patch_of`]: a classifier learns every difference between two ways.

use ndarray::Array3;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{CellBoxes, PATCH_POINT_COUNT, PATCH_UNIT_PITCHES, mean};
use crate::cloud::OrganizedCloud;
use crate::features::{GRID_SIZE, PATCH_POINTS_MIN, PATCH_SIZE, PatchGrid};
use crate::preprocess::FRAME_SIZE;

/// Largest stride: 64 points then cover 32 x 32 pixels.
pub const STRIDE_PX_MAX: usize = 4;
/// Rows above, and columns left of, the anchor that its neighbourhood begins.
const BEFORE_ANCHOR: usize = PATCH_SIZE / 2;

/// Which points of the frame a patch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extraction {
    /// The 8 x 8 slots of the pixel lattice centred on the neighbourhood, `stride_px` apart: what
    /// was not measured stays missing, and a step in depth lies within the patch. When none of
    /// the slots was measured, the lattice moves so that its slot (4, 4) is the anchor's point.
    #[default]
    Lattice,
    /// The 64 measured points nearest in space to the anchor's point, on the rows and columns a
    /// multiple of `stride_px` away from it: nearest first, ties by pixel.
    Nearest,
}

/// How a patch's 64 points are taken from the frame. The default is a cell's own pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatchParams {
    /// Which points.
    pub extraction: Extraction,
    /// Rows and columns from one point to the next, 1 to [`STRIDE_PX_MAX`]; the patch, and the
    /// patch unit, grow with it.
    #[serde(deserialize_with = "read_stride")]
    pub stride_px: usize,
}

impl Default for PatchParams {
    fn default() -> Self {
        Self { extraction: Extraction::Lattice, stride_px: 1 }
    }
}

impl PatchParams {
    /// One patch unit in metres, for a scan of this point pitch: half a flat patch's side.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a stride of at most 4")]
    pub fn unit_m(&self, pitch_m: f32) -> f32 {
        pitch_m * PATCH_UNIT_PITCHES * self.stride_px as f32
    }
}

fn read_stride<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let found = usize::deserialize(deserializer)?;
    if (1..=STRIDE_PX_MAX).contains(&found) {
        return Ok(found);
    }
    let expected = format!("a stride of 1 to {STRIDE_PX_MAX} pixels");
    Err(de::Error::invalid_value(de::Unexpected::Unsigned(found as u64), &expected.as_str()))
}

/// The points of a patch in metres; none where nothing was measured.
pub type Slots = [Option<[f32; 3]>; PATCH_POINT_COUNT];

/// The 64 points of every valid patch, `[patches, 64, 3]`, in patch units around the mean of
/// the measured points, in the order of [`slots_at`]; what is missing is filled as by [`patch_of`].
///
/// # Panics
/// When the cloud is not a frame (224 x 224), the grid is not the cloud's, the pitch is not a
/// positive number, or the stride is out of range.
#[must_use]
pub fn patches(cloud: &OrganizedCloud, grid: &PatchGrid, pitch_m: f32, params: &PatchParams) -> Array3<f32> {
    check(cloud, params);
    assert!(pitch_m.is_finite() && pitch_m > 0.0, "the pitch {pitch_m} m is a positive number");
    let boxes = match params.extraction {
        Extraction::Lattice => None,
        Extraction::Nearest => Some(CellBoxes::of(cloud)),
    };
    let mut points = Array3::zeros((grid.count(), PATCH_POINT_COUNT, 3));
    for (mut out, patch) in points.outer_iter_mut().zip(grid.patches()) {
        let slots = slots_at(cloud, boxes.as_ref(), anchor_of(*patch), params);
        let filled = patch_of(&slots.expect("a valid patch holds measured points"), params.unit_m(pitch_m));
        out.iter_mut().zip(filled.as_flattened()).for_each(|(to, from)| *to = *from);
    }
    points
}

/// The 64 points of the patch at an anchor pixel, in patch units: at the anchor of a grid cell
/// exactly what [`patches`] gives for the cell. None when the anchor is not usable: fewer than 16
/// measured points in its neighbourhood.
///
/// # Panics
/// As [`patches`].
#[must_use]
pub fn patch_at(
    cloud: &OrganizedCloud,
    row: usize,
    column: usize,
    pitch_m: f32,
    params: &PatchParams,
) -> Option<[[f32; 3]; PATCH_POINT_COUNT]> {
    assert!(pitch_m.is_finite() && pitch_m > 0.0, "the pitch {pitch_m} m is a positive number");
    let slots = slots_at(cloud, None, (row, column), params)?;
    Some(patch_of(&slots, params.unit_m(pitch_m)))
}

/// The anchor (row, column) of a grid cell.
#[must_use]
pub const fn anchor_of(patch: u16) -> (usize, usize) {
    let patch = patch as usize;
    (patch / GRID_SIZE * PATCH_SIZE + BEFORE_ANCHOR, patch % GRID_SIZE * PATCH_SIZE + BEFORE_ANCHOR)
}

/// The measured points of the patch at an anchor (row, column), in metres: for a lattice one a
/// slot, row-major; for the nearest points one a rank, missing at the end. None when the anchor is not
/// usable. Callers that take many nearest patches from one frame bring its boxes.
///
/// # Panics
/// When the cloud is not a frame (224 x 224) or the stride is out of range.
#[must_use]
pub fn slots_at(
    cloud: &OrganizedCloud,
    boxes: Option<&CellBoxes>,
    anchor: (usize, usize),
    params: &PatchParams,
) -> Option<Slots> {
    check(cloud, params);
    let point = |pixel: usize| cloud.valid()[pixel].then(|| cloud.points()[pixel]);
    match params.extraction {
        Extraction::Lattice => {
            Some(lattice_pixels(cloud, anchor, params.stride_px)?.map(|pixel| point(pixel?)))
        }
        Extraction::Nearest => {
            let pixel = anchor_pixel(cloud, anchor)?;
            let search = |boxes: &CellBoxes| boxes.nearest(cloud, pixel, params.stride_px, PATCH_POINT_COUNT);
            let found = boxes.map_or_else(|| search(&CellBoxes::of(cloud)), search);
            Some(std::array::from_fn(|rank| point(*found.get(rank)?)))
        }
    }
}

/// A patch's points in patch units around the mean of the measured ones.
///
/// A slot without measurement repeats a measured point of the same patch: with m measured and
/// k missing points, the t-th missing one repeats the measured point number floor(t m / k), so
/// the repetitions spread evenly over the patch.
///
/// # Panics
/// When no slot was measured.
#[must_use]
pub fn patch_of(slots: &Slots, unit_m: f32) -> [[f32; 3]; PATCH_POINT_COUNT] {
    let measured: Vec<[f32; 3]> = slots.iter().flatten().copied().collect();
    assert!(!measured.is_empty(), "a patch holds measured points");
    let centre = mean(&measured);
    let missing_count = PATCH_POINT_COUNT - measured.len();
    let mut next_missing = 0;
    slots.map(|slot| {
        let point = slot.unwrap_or_else(|| {
            next_missing += 1;
            measured[(next_missing - 1) * measured.len() / missing_count]
        });
        std::array::from_fn(|axis| (point[axis] - centre[axis]) / unit_m)
    })
}

/// The anchor's point: the measured pixel of its neighbourhood nearest to the neighbourhood's
/// centre on the pixel grid, ties by index. None when the anchor is not usable.
///
/// # Panics
/// When the cloud is not a frame (224 x 224).
#[must_use]
pub fn anchor_pixel(cloud: &OrganizedCloud, (row, column): (usize, usize)) -> Option<usize> {
    assert_eq!((cloud.height(), cloud.width()), (FRAME_SIZE, FRAME_SIZE), "the cloud is a frame");
    let along =
        |anchor: usize| anchor.saturating_sub(BEFORE_ANCHOR)..(anchor + BEFORE_ANCHOR).min(FRAME_SIZE);
    let pixels = along(row).flat_map(|r| along(column).map(move |c| r * FRAME_SIZE + c));
    let measured: Vec<usize> = pixels.filter(|pixel| cloud.valid()[*pixel]).collect();
    // Twice the distance from the centre, which lies half a pixel before the anchor.
    let twice = |i: usize, anchor: usize| (2 * i + 1).abs_diff(2 * anchor);
    let off_centre_sq =
        |pixel: usize| twice(pixel / FRAME_SIZE, row).pow(2) + twice(pixel % FRAME_SIZE, column).pow(2);
    let nearest = measured.iter().copied().min_by_key(|pixel| (off_centre_sq(*pixel), *pixel));
    nearest.filter(|_| measured.len() >= PATCH_POINTS_MIN)
}

/// The pixels of a lattice patch's slots, row-major, measured or not; none beyond the frame's
/// edge. The slots are centred on the anchor's neighbourhood, to half a pixel. None at all when
/// the anchor is not usable.
///
/// # Panics
/// When the cloud is not a frame (224 x 224).
#[must_use]
pub fn lattice_pixels(
    cloud: &OrganizedCloud,
    (row, column): (usize, usize),
    stride_px: usize,
) -> Option<[Option<usize>; PATCH_POINT_COUNT]> {
    let nearest = anchor_pixel(cloud, (row, column))?;
    let before = ((PATCH_SIZE - 1) * stride_px).div_ceil(2);
    let pixels = lattice(row, column, before, stride_px);
    if pixels.iter().flatten().any(|pixel| cloud.valid()[*pixel]) {
        return Some(pixels);
    }
    Some(lattice(nearest / FRAME_SIZE, nearest % FRAME_SIZE, BEFORE_ANCHOR * stride_px, stride_px))
}

/// 8 x 8 pixels, `stride_px` apart, that begin `before` rows and columns before a pixel.
fn lattice(row: usize, column: usize, before: usize, stride_px: usize) -> [Option<usize>; PATCH_POINT_COUNT] {
    let along = |anchor: usize, i: usize| {
        (anchor + i * stride_px).checked_sub(before).filter(|position| *position < FRAME_SIZE)
    };
    std::array::from_fn(|slot| {
        Some(along(row, slot / PATCH_SIZE)? * FRAME_SIZE + along(column, slot % PATCH_SIZE)?)
    })
}

fn check(cloud: &OrganizedCloud, params: &PatchParams) {
    assert_eq!((cloud.height(), cloud.width()), (FRAME_SIZE, FRAME_SIZE), "the cloud is a frame");
    let stride_px = params.stride_px;
    assert!(
        (1..=STRIDE_PX_MAX).contains(&stride_px),
        "the stride {stride_px} is 1 to {STRIDE_PX_MAX} pixels"
    );
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::super::tests::random_points;
    use super::super::{RADIUS_1_PITCHES, group};
    use super::*;

    const BOTH: [Extraction; 2] = [Extraction::Lattice, Extraction::Nearest];

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
        let points = patches(&cloud, &PatchGrid::of(&cloud), 0.001, &PatchParams::default());
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
        let points = patches(&cloud, &PatchGrid::of(&cloud), pitch, &PatchParams::default());
        assert!((points[[0, 63, 0]] - 0.875).abs() < 1e-3 && (points[[0, 0, 1]] + 0.875).abs() < 1e-3);
        let grouping = group(&points);
        let distances = grouping.g1.map_axis(Axis(3), |d| d.iter().map(|v| v * v).sum::<f32>().sqrt());
        assert!(distances.iter().all(|d| *d <= RADIUS_1_PITCHES / PATCH_UNIT_PITCHES));
    }

    /// A rough surface of one measured step a pixel, half a metre away, with a share of its points missing.
    fn surface(seed: u64, measured_of_8: u32) -> OrganizedCloud {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rough = random_points(&mut rng, FRAME_SIZE * FRAME_SIZE);
        let at = |i: usize| f32::from(u8::try_from(i).expect("below 224")) / 1024.0;
        let points = (0..FRAME_SIZE * FRAME_SIZE)
            .map(|i| [at(i % FRAME_SIZE), at(i / FRAME_SIZE), 0.5 + rough[i][2] / 16.0])
            .collect();
        let keep = (0..FRAME_SIZE * FRAME_SIZE).map(|_| rng.next_u32() % 8 < measured_of_8).collect();
        OrganizedCloud::with_mask(FRAME_SIZE, FRAME_SIZE, points, keep).expect("a frame")
    }

    /// The patch of a cell, slot by slot from its own pixels: an independent statement of the default.
    fn cell_patch(cloud: &OrganizedCloud, patch: usize, unit_m: f32) -> [[f32; 3]; 64] {
        let (top, left) = (patch / 28 * 8, patch % 28 * 8);
        let pixels: Vec<usize> = (0..64).map(|slot| (top + slot / 8) * 224 + left + slot % 8).collect();
        let measured: Vec<usize> = pixels.iter().copied().filter(|p| cloud.valid()[*p]).collect();
        let sources = pixels.iter().scan(0, |missing, pixel| {
            if cloud.valid()[*pixel] {
                return Some(*pixel);
            }
            *missing += 1;
            Some(measured[(*missing - 1) * measured.len() / (64 - measured.len())])
        });
        let points: Vec<[f32; 3]> = sources.map(|p| cloud.points()[p]).collect();
        let centre = mean(&measured.iter().map(|p| cloud.points()[*p]).collect::<Vec<_>>());
        std::array::from_fn(|i| [0, 1, 2].map(|axis| (points[i][axis] - centre[axis]) / unit_m))
    }

    fn bits(points: &[[f32; 3]]) -> Vec<u32> {
        points.as_flattened().iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn the_default_is_the_cells_own_pixels_bit_for_bit() {
        for (seed, measured_of_8) in [(1, 8), (2, 5), (3, 2)] {
            let cloud = surface(seed, measured_of_8);
            let grid = PatchGrid::of(&cloud);
            let points = patches(&cloud, &grid, 0.001, &PatchParams::default());
            assert!(grid.count() > 20);
            for (patch, rows) in grid.patches().iter().zip(points.outer_iter()) {
                let expected = cell_patch(&cloud, usize::from(*patch), 0.001 * PATCH_UNIT_PITCHES);
                assert!(rows.iter().map(|v| v.to_bits()).eq(bits(&expected)), "patch {patch}");
            }
        }
    }

    #[test]
    fn an_anchor_on_a_cell_gives_the_cells_patch_and_is_usable_with_it() {
        for (seed, measured_of_8) in [(4, 8), (5, 2)] {
            let cloud = surface(seed, measured_of_8);
            let grid = PatchGrid::of(&cloud);
            for (extraction, stride_px) in BOTH.into_iter().flat_map(|e| (1..=4).map(move |s| (e, s))) {
                let params = PatchParams { extraction, stride_px };
                let points = patches(&cloud, &grid, 0.001, &params);
                for cell in 0..784_u16 {
                    let (row, column) = anchor_of(cell);
                    let found = patch_at(&cloud, row, column, 0.001, &params);
                    let expected =
                        grid.patches().binary_search(&cell).ok().map(|i| points.index_axis(Axis(0), i));
                    match (found, expected) {
                        (None, None) => {}
                        (Some(a), Some(b)) => {
                            assert!(b.iter().map(|v| v.to_bits()).eq(bits(&a)), "cell {cell} {params:?}");
                        }
                        (found, _) => panic!("cell {cell}: anchor usable is {}", found.is_some()),
                    }
                }
            }
        }
    }

    #[test]
    fn nearest_patches_hold_the_nearest_of_the_whole_cloud() {
        let cloud = surface(6, 5);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for trial in 0..200 {
            let anchor = (rng.next_u32() as usize % 224, rng.next_u32() as usize % 224);
            let params = PatchParams { extraction: Extraction::Nearest, stride_px: 1 + trial % 4 };
            let Some(slots) = slots_at(&cloud, None, anchor, &params) else { continue };
            let pixel = anchor_pixel(&cloud, anchor).expect("usable");
            let aligned = |p: usize| {
                (p / 224).abs_diff(pixel / 224).is_multiple_of(params.stride_px)
                    && (p % 224).abs_diff(pixel % 224).is_multiple_of(params.stride_px)
            };
            let own = cloud.points()[pixel];
            let d_sq = |p: &usize| crate::neighbors::distance_sq(own, cloud.points()[*p]);
            let mut all: Vec<usize> = cloud.valid_indices().into_iter().filter(|p| aligned(*p)).collect();
            all.sort_by(|a, b| d_sq(a).total_cmp(&d_sq(b)).then(a.cmp(b)));
            let expected: Vec<_> = all[..64].iter().map(|p| Some(cloud.points()[*p])).collect();
            assert_eq!(slots.to_vec(), expected, "{anchor:?} {params:?}");
            let off = |p: usize| {
                let twice = |i: usize, a: usize| (2 * i + 1).abs_diff(2 * a);
                twice(p / 224, anchor.0).pow(2) + twice(p % 224, anchor.1).pow(2)
            };
            assert!(cloud.valid_indices().into_iter().all(|p| off(p) >= off(pixel)), "{anchor:?}");
        }
    }

    #[test]
    fn few_points_are_repeated_evenly_by_both_extractions() {
        let mut slots = [None; 64];
        for (i, slot) in slots.iter_mut().enumerate().take(20) {
            let place = f32::from(u8::try_from(i).expect("small"));
            *slot = Some([place / 512.0, place * place / 4096.0, 0.5]);
        }
        let cloud = frame(&slots);
        for extraction in BOTH {
            let params = PatchParams { extraction, stride_px: 1 };
            let patch = patch_at(&cloud, 4, 4, 0.001, &params).expect("20 points are enough");
            let mut counts = std::collections::BTreeMap::new();
            patch.iter().for_each(|point| *counts.entry(point.map(f32::to_bits)).or_insert(0) += 1);
            assert!(counts.len() == 20 && counts.values().all(|n| (3..=4).contains(n)), "{counts:?}");
        }
    }

    #[test]
    fn a_flat_lattice_spans_one_unit_at_every_stride() {
        let at = |i: usize| f32::from(u8::try_from(i).expect("below 224")) / 1024.0;
        let points = (0..224 * 224).map(|i| [at(i % 224), at(i / 224), 0.5]).collect();
        let cloud = OrganizedCloud::new(224, 224, points).expect("a frame");
        for (extraction, stride_px) in BOTH.into_iter().flat_map(|e| (1..=4).map(move |s| (e, s))) {
            let params = PatchParams { extraction, stride_px };
            let patch = patch_at(&cloud, 100, 60, 1.0 / 1024.0, &params).expect("all is measured");
            let (low, high) = patch.iter().fold((0.0_f32, 0.0_f32), |(a, b), p| (a.min(p[0]), b.max(p[0])));
            let expected = if extraction == Extraction::Lattice { 0.875..0.876 } else { 0.9..1.2 };
            assert!(expected.contains(&-low) && expected.contains(&high), "{params:?}: {low} to {high}");
            let slots = slots_at(&cloud, None, (100, 60), &params).expect("usable");
            let centre = mean(&slots.map(|slot| slot.expect("measured")));
            let off = [centre[0] * 1024.0 - 59.5, centre[1] * 1024.0 - 99.5];
            if extraction == Extraction::Lattice {
                assert!(off.iter().all(|d| d.abs() <= 0.51), "{params:?}: off by {off:?}");
            }
        }
    }

    #[test]
    fn a_patch_does_not_know_where_the_scan_lies() {
        let cloud = surface(8, 6);
        // A power of two: the shift is exact where the points are multiples of a coarser step.
        let shifted = cloud.points().iter().map(|p| [p[0] + 0.5, p[1] - 0.25, p[2] + 0.25]).collect();
        let moved = OrganizedCloud::with_mask(224, 224, shifted, cloud.valid().to_vec()).expect("a frame");
        for (extraction, stride_px) in BOTH.into_iter().flat_map(|e| (1..=4).map(move |s| (e, s))) {
            let params = PatchParams { extraction, stride_px };
            let [a, b] = [&cloud, &moved].map(|c| patch_at(c, 90, 91, 0.001, &params).expect("usable"));
            let apart = a.as_flattened().iter().zip(b.as_flattened()).map(|(a, b)| (a - b).abs());
            // One rounding of the mean of coordinates below 1 m, in units of 4 mm.
            assert!(apart.fold(0.0, f32::max) < 2e-5, "{params:?}");
        }
    }

    #[test]
    fn an_anchor_needs_sixteen_points_and_a_lattice_that_misses_them_all_moves() {
        let mut slots = [None; 64];
        // All on rows that no slot of stride 4 from (4, 4) lies on: those are 2 and 6.
        (0..8).for_each(|c| slots[c] = Some([f32::from(u8::try_from(c).expect("small")), 1.0, 1.0]));
        (0..7).for_each(|c| slots[32 + c] = Some([f32::from(u8::try_from(c).expect("small")), 2.0, 1.0]));
        let params = |extraction| PatchParams { extraction, stride_px: 4 };
        for extraction in BOTH {
            assert_eq!(patch_at(&frame(&slots), 4, 4, 0.001, &params(extraction)), None, "15 points");
            assert_eq!(patch_at(&frame(&slots), 200, 100, 0.001, &params(extraction)), None, "no points");
        }
        slots[39] = Some([7.0, 2.0, 1.0]);
        let cloud = frame(&slots);
        assert_eq!(anchor_pixel(&cloud, (4, 4)), Some(4 * 224 + 3), "of two at the same distance the first");
        let pixels = lattice_pixels(&cloud, (4, 4), 4).expect("16 points");
        assert_eq!(pixels[4 * 8 + 4], Some(4 * 224 + 3), "the moved lattice holds the anchor's point");
        assert!(patch_at(&cloud, 4, 4, 0.001, &params(Extraction::Lattice)).is_some());
        assert_eq!(pixels[0], None, "beyond the frame's edge");
    }

    #[test]
    fn settings_are_read_strictly_and_have_todays_default() {
        let read = |text: &str| serde_json::from_str::<PatchParams>(text).map_err(|e| e.to_string());
        assert_eq!(read("{}"), Ok(PatchParams { extraction: Extraction::Lattice, stride_px: 1 }));
        let nearest = PatchParams { extraction: Extraction::Nearest, stride_px: 3 };
        assert_eq!(read(r#"{"extraction":"nearest","stride_px":3}"#), Ok(nearest));
        let text = serde_json::to_string(&nearest).expect("written");
        assert_eq!(read(&text), Ok(nearest));
        for bad in [r#"{"stride_px":0}"#, r#"{"stride_px":5}"#] {
            assert!(read(bad).expect_err("out of range").contains("1 to 4"), "{bad}");
        }
        assert!(read(r#"{"stride":1}"#).is_err() && read(r#"{"extraction":"ball"}"#).is_err());
    }
}
