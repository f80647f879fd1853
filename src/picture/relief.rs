//! The shape of a cloud as a shaded relief.

use crate::cloud::OrganizedCloud;
use crate::preprocess::{PreprocessParams, clean};

use super::colormap::{HEIGHT, scaled};
use super::draw::{Canvas, Reduction};

/// Towards the light in the camera frame (x right, y down, z away): from the upper left.
const LIGHT: [f32; 3] = [-0.45, -0.55, -0.70];
/// Brightness of a surface turned away from the light, and what full light adds.
const SHADE: (f32, f32) = (0.30, 0.85);
/// What was not measured.
const MISSING: [u8; 3] = [16, 18, 24];
/// The background plane.
const GROUND: [u8; 3] = [120, 124, 132];
/// Pixels on either side that a point is averaged over before slopes are taken.
const SMOOTH_PX: usize = 2;
/// Neighbours farther apart in depth than this share of their depth are different surfaces.
const EDGE_SHARE: f32 = 0.01;
/// Shares of the points below the lowest and above the highest colour.
const TAILS: (f32, f32) = (0.01, 0.995);

/// Coloured by height, the background plane grey.
pub(super) fn colored(cloud: &OrganizedCloud) -> Canvas {
    let cleaned = clean(cloud, &PreprocessParams::line());
    let reduction = Reduction::of(cloud);
    let object = reduction.pick(cleaned.cloud.valid(), false);
    // Without a plane, nearness to the camera takes the place of height.
    let ([a, b, c], offset) = cleaned.plane.unwrap_or(([0.0, 0.0, -1.0], 0.0));
    let height = |p: [f32; 3]| a * p[0] + b * p[1] + c * p[2] - offset;
    let points = reduction.pick(cloud.points(), [0.0; 3]);
    let heights: Vec<f32> = points.iter().map(|p| height(*p)).collect();
    let (low, high) = spread(heights.iter().zip(&object).filter(|(_, on)| **on).map(|(h, _)| *h));
    let shade = shading(cloud, &reduction);
    let pixel = |index: usize| {
        let Some(light) = shade[index] else { return MISSING };
        let position = (heights[index] - low) / (high - low).max(f32::MIN_POSITIVE);
        scaled(if object[index] { HEIGHT.at(position) } else { GROUND }, light)
    };
    Canvas::new(reduction.size(), (0..shade.len()).map(pixel).collect())
}

/// In grey, for marks to be drawn on.
pub(super) fn gray(cloud: &OrganizedCloud) -> Canvas {
    let reduction = Reduction::of(cloud);
    let shade = shading(cloud, &reduction);
    let pixels = shade.iter().map(|light| light.map_or(MISSING, |light| scaled([170; 3], light)));
    Canvas::new(reduction.size(), pixels.collect())
}

/// The values between which the colours run.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count of pixels"
)]
fn spread(values: impl Iterator<Item = f32>) -> (f32, f32) {
    let mut sorted: Vec<f32> = values.collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |share: f32| {
        let last = sorted.len().saturating_sub(1);
        sorted.get((share * last as f32) as usize).copied().unwrap_or(0.0)
    };
    (at(TAILS.0), at(TAILS.1))
}

/// Brightness of every picture pixel; none where nothing was measured.
fn shading(cloud: &OrganizedCloud, reduction: &Reduction) -> Vec<Option<f32>> {
    let points = reduction.pick(cloud.points(), [0.0; 3]);
    let valid = reduction.pick(cloud.valid(), false);
    let (height, width) = reduction.size();
    let smooth = smoothed(&points, &valid, (height, width));
    let light = |index: usize| {
        let (row, column) = (index / width, index % width);
        let step = |stride: usize, position: usize, len: usize| {
            let before = if position > 0 { index - stride } else { index };
            let after = if position + 1 < len { index + stride } else { index };
            let near =
                |i: usize| if same_surface(&smooth, &valid, index, i) { smooth[i] } else { smooth[index] };
            [0, 1, 2].map(|axis| near(after)[axis] - near(before)[axis])
        };
        lit(step(1, column, width), step(width, row, height))
    };
    (0..points.len()).map(|index| valid[index].then(|| light(index))).collect()
}

/// Brightness of a surface with these steps along its row and its column.
fn lit(u: [f32; 3], v: [f32; 3]) -> f32 {
    let normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    let length = normal.iter().map(|c| c * c).sum::<f32>().sqrt();
    if length <= f32::MIN_POSITIVE {
        return SHADE.0 + 0.5 * SHADE.1;
    }
    // Rows run down and columns right, so this normal points away from the camera.
    let cosine = -normal.iter().zip(LIGHT).map(|(n, l)| n * l).sum::<f32>() / length;
    SHADE.0 + SHADE.1 * cosine.max(0.0)
}

/// Every point averaged with its neighbours on the same surface: slopes of raw points are
/// mostly noise.
fn smoothed(points: &[[f32; 3]], valid: &[bool], (height, width): (usize, usize)) -> Vec<[f32; 3]> {
    let mean = |index: usize| {
        let (row, column) = (index / width, index % width);
        let (mut sum, mut count) = ([0.0_f32; 3], 0.0_f32);
        for r in row.saturating_sub(SMOOTH_PX)..(row + SMOOTH_PX + 1).min(height) {
            for c in column.saturating_sub(SMOOTH_PX)..(column + SMOOTH_PX + 1).min(width) {
                let neighbor = r * width + c;
                if same_surface(points, valid, index, neighbor) {
                    sum.iter_mut().zip(points[neighbor]).for_each(|(total, value)| *total += value);
                    count += 1.0;
                }
            }
        }
        sum.map(|total| total / count.max(1.0))
    };
    (0..points.len()).map(|index| if valid[index] { mean(index) } else { [0.0; 3] }).collect()
}

/// Whether two pixels were both measured and lie at nearly the same depth.
fn same_surface(points: &[[f32; 3]], valid: &[bool], a: usize, b: usize) -> bool {
    valid[a] && valid[b] && (points[a][2] - points[b][2]).abs() <= EDGE_SHARE * points[a][2].abs()
}
