//! Colour descriptors: maps of a frozen ImageNet ResNet, pooled to the patch grid
//! (METHOD section 4: average pool 3x3, resize to 28x28, concatenate).
//!
//! The backbone is any graph that meets [`crate::contract::RGB`]. Which of its two maps are
//! used, and how they are pooled, is the caller's choice: see [`RgbParams`].

use ndarray::{Array2, Array3, Array4, ArrayD, ArrayView3, Axis, Ix3, s};
use serde::{Deserialize, Serialize};

use super::{Branch, GRID_SIZE, PatchFeatures, PatchGrid};
use crate::engine::{Engine, EngineError, Input};
use crate::preprocess::FRAME_SIZE;
use crate::scan::ColorImage;

/// Mean of ImageNet's colours, red, green, blue, in 0..1.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of ImageNet's colours.
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Which maps of the backbone describe a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RgbStages {
    /// The stride-8 map only: as good as both on real scans, a third of the dimensions.
    #[default]
    Stride8,
    /// Both maps, stride 8 first, as in the paper.
    Both,
}

/// How a map becomes one row per patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RgbPooling {
    /// Mean of the 3x3 cells around each cell, of those inside the map; then bilinear to the
    /// grid. Every cell stays in its place.
    #[default]
    InPlace,
    /// As BTF: 3x3 without padding (two rows and columns fewer), then adaptive averages
    /// stretch the rest to the grid, which moves the outermost cells by up to a patch.
    Btf,
}

/// Settings of [`describe_with`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RgbParams {
    /// Which maps.
    pub stages: RgbStages,
    /// How they are pooled.
    pub pooling: RgbPooling,
}

/// The ImageNet-normalised image `[1, 3, 224, 224]` of a frame.
///
/// # Panics
/// When the image is not a frame (224 x 224).
#[must_use]
pub fn input_tensor(color: &ColorImage) -> Array4<f32> {
    assert_eq!((color.height, color.width), (FRAME_SIZE, FRAME_SIZE), "the image is a frame");
    assert_eq!(color.pixels.len(), FRAME_SIZE * FRAME_SIZE, "the pixels fill the frame");
    Array4::from_shape_fn((1, 3, FRAME_SIZE, FRAME_SIZE), |(_, channel, row, column)| {
        let value = f32::from(color.pixels[row * FRAME_SIZE + column][channel]) / 255.0;
        (value - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
    })
}

/// Describes the valid patches of a frame with the default pooling: rows `[patches, C]`,
/// C = C1 or C1 + C2.
///
/// # Errors
/// When the backbone fails.
///
/// # Panics
/// When the image is not a frame (224 x 224).
pub fn describe(
    engine: &mut dyn Engine,
    color: &ColorImage,
    grid: &PatchGrid,
    stages: RgbStages,
) -> Result<PatchFeatures, EngineError> {
    describe_with(engine, color, grid, &RgbParams { stages, ..RgbParams::default() })
}

/// As [`describe`], every setting given.
///
/// # Errors
/// When the backbone fails.
///
/// # Panics
/// When the image is not a frame (224 x 224).
pub fn describe_with(
    engine: &mut dyn Engine,
    color: &ColorImage,
    grid: &PatchGrid,
    params: &RgbParams,
) -> Result<PatchFeatures, EngineError> {
    let image = input_tensor(color);
    let maps = engine.run(&[Input::F32(image.view().into_dyn())])?;
    let used = match params.stages {
        RgbStages::Stride8 => &maps[..1],
        RgbStages::Both => &maps[..],
    };
    let pooled: Vec<Array3<f32>> = used.iter().map(|map| pool(&first_map(map), params.pooling)).collect();
    Ok(PatchFeatures { branch: Branch::Rgb, rows: gather(&pooled, grid) })
}

/// The map `[C, H, W]` of the only image in the batch.
fn first_map(batch: &ArrayD<f32>) -> ArrayView3<'_, f32> {
    let map = batch.index_axis(Axis(0), 0);
    map.into_dimensionality::<Ix3>().expect("the contract gives the maps four axes")
}

/// Rows `[patches, sum of C]` of the grid's valid patches.
fn gather(pooled: &[Array3<f32>], grid: &PatchGrid) -> Array2<f32> {
    let dims = pooled.iter().map(|map| map.shape()[0]).sum();
    let mut rows = Array2::zeros((grid.count(), dims));
    for (mut row, patch) in rows.outer_iter_mut().zip(grid.patches()) {
        let (r, c) = (usize::from(*patch) / GRID_SIZE, usize::from(*patch) % GRID_SIZE);
        let mut start = 0;
        for map in pooled {
            let end = start + map.shape()[0];
            row.slice_mut(s![start..end]).assign(&map.slice(s![.., r, c]));
            start = end;
        }
    }
    rows
}

/// One map `[C, H, W]` pooled to the grid: `[C, 28, 28]`.
fn pool(map: &ArrayView3<'_, f32>, pooling: RgbPooling) -> Array3<f32> {
    let (channels, height, width) = map.dim();
    let (rows, columns) = match pooling {
        RgbPooling::InPlace => (in_place_taps(height), in_place_taps(width)),
        RgbPooling::Btf => (btf_taps(height), btf_taps(width)),
    };
    let mut pooled = Array3::zeros((channels, GRID_SIZE, GRID_SIZE));
    let mut across = Array2::zeros((height, GRID_SIZE));
    for (plane, mut out) in map.outer_iter().zip(pooled.outer_iter_mut()) {
        for (line, mut narrow) in plane.outer_iter().zip(across.outer_iter_mut()) {
            for (value, taps) in narrow.iter_mut().zip(&columns) {
                *value = taps.iter().map(|tap| line[tap.index] * tap.weight).sum();
            }
        }
        for (mut line, taps) in out.outer_iter_mut().zip(&rows) {
            for tap in taps {
                line.scaled_add(tap.weight, &across.row(tap.index));
            }
        }
    }
    pooled
}

/// One source cell of a grid cell along one axis. Both poolings are separable (a box of 3,
/// then a linear resize), so a grid cell is a weighted sum along each axis.
#[derive(Debug, Clone, Copy)]
struct Tap {
    index: usize,
    weight: f32,
}

/// Mean of the up to three cells around each cell, then linear interpolation at the grid's
/// cell centres, clamped at the border (the half-pixel rule of torch's `align_corners=False`).
#[expect(clippy::cast_precision_loss, reason = "map and grid sizes are below a thousand")]
fn in_place_taps(size: usize) -> Vec<Vec<Tap>> {
    let scale = size as f32 / GRID_SIZE as f32;
    (0..GRID_SIZE)
        .map(|cell| {
            let position = ((cell as f32 + 0.5) * scale - 0.5).clamp(0.0, (size - 1) as f32);
            let low = (0..size).rev().find(|i| *i as f32 <= position).unwrap_or(0);
            let high = (low + 1).min(size - 1);
            let share = position - low as f32;
            let mut taps = box_taps(low, size, 1.0 - share);
            taps.extend(box_taps(high, size, share));
            taps
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "at most three cells")]
fn box_taps(centre: usize, size: usize, weight: f32) -> Vec<Tap> {
    let cells = centre.saturating_sub(1)..(centre + 2).min(size);
    let each = weight / cells.len() as f32;
    cells.map(|index| Tap { index, weight: each }).collect()
}

/// `AvgPool2d(3, stride=1)` then `AdaptiveAvgPool2d(28)` along one axis.
#[expect(clippy::cast_precision_loss, reason = "map sizes are below a thousand")]
fn btf_taps(size: usize) -> Vec<Vec<Tap>> {
    let boxes = size - 2;
    (0..GRID_SIZE)
        .map(|cell| {
            let bins = cell * boxes / GRID_SIZE..((cell + 1) * boxes).div_ceil(GRID_SIZE);
            let weight = 1.0 / (3.0 * bins.len() as f32);
            bins.flat_map(|bin| (bin..bin + 3).map(move |index| Tap { index, weight })).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::OrganizedCloud;
    use crate::engine::EngineReport;

    /// A backbone that returns the same two maps for every image.
    struct FixedMaps {
        maps: Vec<ArrayD<f32>>,
        report: EngineReport,
    }

    impl Engine for FixedMaps {
        fn run(&mut self, inputs: &[Input<'_>]) -> Result<Vec<ArrayD<f32>>, EngineError> {
            assert!(matches!(inputs, [Input::F32(image)] if image.shape() == [1, 3, 224, 224]));
            Ok(self.maps.clone())
        }

        fn report(&self) -> &EngineReport {
            &self.report
        }
    }

    fn fixed_maps() -> FixedMaps {
        let wave = |shape: (usize, usize, usize, usize)| {
            let mut step = 0.0_f32;
            Array4::from_shape_simple_fn(shape, || {
                step += 0.7;
                step.sin()
            })
            .into_dyn()
        };
        let report = EngineReport {
            engine: "test".into(),
            version: "0".into(),
            provider: "cpu".into(),
            passed_over: vec![],
        };
        FixedMaps { maps: vec![wave((1, 3, 28, 28)), wave((1, 5, 14, 14))], report }
    }

    fn grey() -> ColorImage {
        ColorImage { height: FRAME_SIZE, width: FRAME_SIZE, pixels: vec![[128; 3]; FRAME_SIZE * FRAME_SIZE] }
    }

    /// Measured points in the upper left quarter only.
    fn quarter_grid() -> PatchGrid {
        let point = |i: usize| {
            if i / FRAME_SIZE < 112 && i % FRAME_SIZE < 112 { [0.1, 0.1, 1.0] } else { [0.0; 3] }
        };
        let points = (0..FRAME_SIZE * FRAME_SIZE).map(point).collect();
        PatchGrid::of(&OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, points).expect("a frame"))
    }

    #[test]
    fn the_image_is_normalised_channel_by_channel() {
        let mut color = grey();
        color.pixels[FRAME_SIZE + 2] = [255, 0, 51];
        let tensor = input_tensor(&color);
        let expected = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225];
        for (channel, value) in expected.iter().enumerate() {
            assert!((tensor[[0, channel, 1, 2]] - value).abs() < 1e-6);
        }
    }

    /// The 3x3 mean over the cells inside the map.
    fn slow_box(map: &ArrayView3<'_, f32>, channel: usize, row: usize, column: usize) -> f32 {
        let (_, height, width) = map.dim();
        let cells = map.slice(s![
            channel,
            row.saturating_sub(1)..(row + 2).min(height),
            column.saturating_sub(1)..(column + 2).min(width)
        ]);
        cells.mean().expect("never empty")
    }

    #[test]
    fn in_place_pooling_of_the_stride_8_map_is_the_mean_around_each_cell() {
        let maps = fixed_maps();
        let map = first_map(&maps.maps[0]);
        let pooled = pool(&map, RgbPooling::InPlace);
        for ((channel, row, column), value) in pooled.indexed_iter() {
            assert!((value - slow_box(&map, channel, row, column)).abs() < 1e-5);
        }
    }

    #[test]
    fn in_place_pooling_of_the_stride_16_map_is_bilinear() {
        let maps = fixed_maps();
        let map = first_map(&maps.maps[1]);
        let pooled = pool(&map, RgbPooling::InPlace);
        // Grid cell (5, 8) lies at 2.25, 3.75 of the 14 x 14 map.
        let corner = |r, c| slow_box(&map, 4, r, c);
        let expected = 0.75 * (0.25 * corner(2, 3) + 0.75 * corner(2, 4))
            + 0.25 * (0.25 * corner(3, 3) + 0.75 * corner(3, 4));
        assert!((pooled[[4, 5, 8]] - expected).abs() < 1e-5);
        assert!((pooled[[4, 0, 27]] - corner(0, 13)).abs() < 1e-5, "clamped at the border");
    }

    #[test]
    fn btf_pooling_is_valid_boxes_then_adaptive_averages() {
        let maps = fixed_maps();
        for map in maps.maps.iter().map(first_map) {
            let (_, height, _) = map.dim();
            let boxed = height - 2;
            let pooled = pool(&map, RgbPooling::Btf);
            for ((channel, row, column), value) in pooled.indexed_iter() {
                let bin = |cell: usize| cell * boxed / 28..((cell + 1) * boxed).div_ceil(28);
                let means: Vec<f32> = bin(row)
                    .flat_map(|r| bin(column).map(move |c| (r, c)))
                    .map(|(r, c)| map.slice(s![channel, r..r + 3, c..c + 3]).mean().expect("nine cells"))
                    .collect();
                let expected = ndarray::Array1::from(means).mean().expect("a bin is never empty");
                assert!((value - expected).abs() < 1e-5, "cell {row} {column}");
            }
        }
    }

    #[test]
    fn a_constant_map_stays_constant_under_both_poolings() {
        for size in [28, 14] {
            let map = Array3::from_elem((2, size, size), 3.5);
            for pooling in [RgbPooling::InPlace, RgbPooling::Btf] {
                assert!(pool(&map.view(), pooling).iter().all(|v| (v - 3.5_f32).abs() < 1e-5));
            }
        }
    }

    #[test]
    fn rows_follow_the_valid_patches_and_stages_are_concatenated() {
        let mut engine = fixed_maps();
        let grid = quarter_grid();
        assert_eq!(grid.count(), 14 * 14);
        let stride8 = describe(&mut engine, &grey(), &grid, RgbStages::Stride8).expect("runs");
        let both = describe(&mut engine, &grey(), &grid, RgbStages::Both).expect("runs");
        assert_eq!((stride8.rows.dim(), both.rows.dim()), ((196, 3), (196, 8)));
        assert_eq!(both.rows.slice(s![.., ..3]), stride8.rows);
        let expected = pool(&first_map(&engine.maps[1]), RgbPooling::InPlace);
        assert_eq!(both.rows.slice(s![14 + 2, 3..]), expected.slice(s![.., 1, 2]));
    }

    #[test]
    fn a_frame_without_patches_has_no_rows() {
        let points = vec![[0.0; 3]; FRAME_SIZE * FRAME_SIZE];
        let grid = PatchGrid::of(&OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, points).expect("a frame"));
        let features = describe(&mut fixed_maps(), &grey(), &grid, RgbStages::Both).expect("runs");
        assert_eq!(features.rows.dim(), (0, 8));
    }
}
