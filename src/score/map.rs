//! The anomaly map: 28 x 28 patch scores, bilinear to 224 x 224, then a Gaussian.
//!
//! Both steps are weighted by where there is a score at all. Plain interpolation would mix
//! the zeros of empty patches into the part's edge: a defect on the edge would fade, and an
//! edge between negative scores would glow.

use super::AnomalyMap;
use crate::cloud::OrganizedCloud;
use crate::features::{GRID_SIZE, PATCH_SIZE, PatchGrid};
use crate::preprocess::{FRAME_SIZE, FrameWindow};

/// Standard deviation of the map's Gaussian in frame pixels, as the paper's baseline.
pub const SIGMA_PX: f32 = 4.0;

/// The map of the patch scores (in the order of `grid.patches()`) on the frame of `cloud`:
/// row-major `[224 * 224]`, 0 where the cloud has no point or no patch near it has a score.
/// Scores of either sign; linear in them. `sigma_px` of 0 leaves the Gaussian out.
///
/// # Panics
/// When there is not one score a patch, or the cloud is not a frame.
#[must_use]
pub fn anomaly_map(
    grid: &PatchGrid,
    patch_scores: &[f32],
    sigma_px: f32,
    cloud: &OrganizedCloud,
) -> Vec<f32> {
    assert_eq!(patch_scores.len(), grid.count(), "one score a patch");
    assert_eq!((cloud.height(), cloud.width()), (FRAME_SIZE, FRAME_SIZE), "the cloud is a frame");
    let mut weighted = vec![0.0; GRID_SIZE * GRID_SIZE];
    let mut weight = vec![0.0; GRID_SIZE * GRID_SIZE];
    for (patch, score) in grid.patches().iter().zip(patch_scores) {
        weighted[usize::from(*patch)] = *score;
        weight[usize::from(*patch)] = 1.0;
    }
    let (mut values, mut weights) = (enlarge(&weighted), enlarge(&weight));
    divide(&mut values, &mut weights, cloud.valid());
    if sigma_px > 0.0 {
        let kernel = gaussian(sigma_px);
        values = blur(&values, &kernel);
        weights = blur(&weights, &kernel);
        divide(&mut values, &mut weights, cloud.valid());
    }
    values
}

/// Turns weighted sums into means on the object, with weight 1, and both into 0 elsewhere.
fn divide(values: &mut [f32], weights: &mut [f32], object: &[bool]) {
    for ((value, weight), on_object) in values.iter_mut().zip(weights).zip(object) {
        // A weight this small is the rounding of an empty neighbourhood.
        let scored = *on_object && *weight > 1e-6;
        *value = if scored { *value / *weight } else { 0.0 };
        *weight = f32::from(u8::from(scored));
    }
}

/// Bilinear 28 x 28 to 224 x 224, pixel centres aligned, edges held.
pub(super) fn enlarge(grid: &[f32]) -> Vec<f32> {
    let taps: Vec<(usize, usize, f32)> = (0..FRAME_SIZE).map(enlarge_tap).collect();
    let mut out = Vec::with_capacity(FRAME_SIZE * FRAME_SIZE);
    for (top, bottom, down) in &taps {
        let row = |r: usize| &grid[r * GRID_SIZE..(r + 1) * GRID_SIZE];
        let mixed: Vec<f32> = row(*top).iter().zip(row(*bottom)).map(|(a, b)| a + down * (b - a)).collect();
        out.extend(
            taps.iter().map(|(left, right, along)| mixed[*left] + along * (mixed[*right] - mixed[*left])),
        );
    }
    out
}

/// The two cells around a frame pixel's centre and the share of the second.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "coordinates of a 224-pixel frame, clamped to be positive"
)]
fn enlarge_tap(pixel: usize) -> (usize, usize, f32) {
    let position = ((pixel as f32 + 0.5) / PATCH_SIZE as f32 - 0.5).clamp(0.0, (GRID_SIZE - 1) as f32);
    let first = position as usize;
    (first, (first + 1).min(GRID_SIZE - 1), position - first as f32)
}

/// One half of the Gaussian from its centre out, cut at four standard deviations.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a radius of a few pixels, limited to the frame"
)]
fn gaussian(sigma_px: f32) -> Vec<f32> {
    let radius = (4.0 * sigma_px).ceil().clamp(1.0, FRAME_SIZE as f32) as usize;
    let half: Vec<f32> = (0..=radius).map(|i| (-0.5 * (i as f32 / sigma_px).powi(2)).exp()).collect();
    let sum = 2.0 * half.iter().sum::<f32>() - half[0];
    half.iter().map(|weight| weight / sum).collect()
}

/// Separable Gaussian; beyond the frame there is nothing (its weight is blurred alike).
fn blur(image: &[f32], kernel: &[f32]) -> Vec<f32> {
    let rows = blur_columns(image, kernel);
    transpose(&blur_columns(&transpose(&rows), kernel))
}

/// Blurs down the columns: whole rows are added, which the compiler turns into vectors.
fn blur_columns(image: &[f32], kernel: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; image.len()];
    for (row, target) in out.chunks_exact_mut(FRAME_SIZE).enumerate() {
        let reach = kernel.len() - 1;
        for source in row.saturating_sub(reach)..(row + reach + 1).min(FRAME_SIZE) {
            let weight = kernel[source.abs_diff(row)];
            let line = &image[source * FRAME_SIZE..(source + 1) * FRAME_SIZE];
            target.iter_mut().zip(line).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    out
}

fn transpose(image: &[f32]) -> Vec<f32> {
    let pixel = |i: usize| image[(i % FRAME_SIZE) * FRAME_SIZE + i / FRAME_SIZE];
    (0..image.len()).map(pixel).collect()
}

/// Makes the scores of measured pixels positive without changing their order, and those of all
/// others 0: `ln(1 + e^s)`, nearly `s` itself where it matters. So 0 says "no score", lies
/// below every score, and pixels of the whole image can be ranked.
pub fn lift(values: &mut [f32], cloud: &OrganizedCloud) {
    for (value, valid) in values.iter_mut().zip(cloud.valid()) {
        let lifted = value.max(0.0) + (-value.abs()).exp().ln_1p();
        *value = if *valid { lifted.max(f32::MIN_POSITIVE) } else { 0.0 };
    }
}

/// The map as a detection shows it: [`anomaly_map`] of the patch scores, then [`lift`].
///
/// # Panics
/// When there is not one score a patch, or the cloud is not a frame.
#[must_use]
pub fn lifted_map(
    grid: &PatchGrid,
    patch_scores: &[f32],
    sigma_px: f32,
    cloud: &OrganizedCloud,
    window: FrameWindow,
) -> AnomalyMap {
    let mut values = anomaly_map(grid, patch_scores, sigma_px, cloud);
    lift(&mut values, cloud);
    AnomalyMap { values, window }
}

/// The map on the scan's own grid, row-major `[scan_height * scan_width]`: bilinear between
/// the frame's scored pixels, 0 outside the frame and where the nearest frame pixel has no
/// score.
#[must_use]
pub fn scan_map(map: &AnomalyMap) -> Vec<f32> {
    let [rows, columns] = scan_taps(&map.window);
    let value = |row: &Option<ScanTap>, column: &Option<ScanTap>| match (row, column) {
        (Some(row), Some(column)) => between_scored(&map.values, row, column),
        _ => 0.0,
    };
    rows.iter().flat_map(|row| columns.iter().map(move |column| value(row, column))).collect()
}

/// Which pixels of the scan show the object, row-major `[scan_height * scan_width]`: those whose
/// nearest pixel of the frame does. The same pixels that [`scan_map`] scores of a [`lift`]ed map.
///
/// # Panics
/// When `object` is not `[224 * 224]`.
#[must_use]
pub fn scan_mask(object: &[bool], window: &FrameWindow) -> Vec<bool> {
    assert_eq!(object.len(), FRAME_SIZE * FRAME_SIZE, "the mask is of a frame");
    let [rows, columns] = scan_taps(window);
    let shows = |row: &Option<ScanTap>, column: &Option<ScanTap>| match (row, column) {
        (Some(row), Some(column)) => object[row.nearest() * FRAME_SIZE + column.nearest()],
        _ => false,
    };
    rows.iter().flat_map(|row| columns.iter().map(move |column| shows(row, column))).collect()
}

/// Where the scan's rows and columns lie in the frame; none outside it.
fn scan_taps(window: &FrameWindow) -> [Vec<Option<ScanTap>>; 2] {
    [(window.scan_height, window.top_px), (window.scan_width, window.left_px)].map(|(len, start_px)| {
        (0..len).map(|pixel| scan_tap(pixel, start_px, window.px_per_frame_px)).collect()
    })
}

/// The two frame pixels around a scan pixel's centre and the share of the second.
struct ScanTap {
    pixels: [usize; 2],
    share: f32,
}

impl ScanTap {
    fn nearest(&self) -> usize {
        self.pixels[usize::from(self.share > 0.5)]
    }
}

/// The mean of the scored ones of four frame pixels, by their nearness; 0 when the nearest
/// has no score.
fn between_scored(values: &[f32], row: &ScanTap, column: &ScanTap) -> f32 {
    let at = |r: usize, c: usize| values[row.pixels[r] * FRAME_SIZE + column.pixels[c]];
    if values[row.nearest() * FRAME_SIZE + column.nearest()].abs() <= 0.0 {
        return 0.0;
    }
    let (mut sum, mut weight) = (0.0, 0.0);
    for (r, down) in [(0, 1.0 - row.share), (1, row.share)] {
        for (c, along) in [(0, 1.0 - column.share), (1, column.share)] {
            let scored = f32::from(u8::from(at(r, c).abs() > 0.0));
            sum += scored * down * along * at(r, c);
            weight += scored * down * along;
        }
    }
    sum / weight
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie within the frame before the cast"
)]
fn scan_tap(pixel: usize, start_px: f32, step_px: f32) -> Option<ScanTap> {
    let position = (pixel as f32 + 0.5 - start_px) / step_px - 0.5;
    if !(-0.5..FRAME_SIZE as f32 - 0.5).contains(&position) {
        return None;
    }
    let position = position.clamp(0.0, (FRAME_SIZE - 1) as f32);
    let first = position as usize;
    Some(ScanTap { pixels: [first, (first + 1).min(FRAME_SIZE - 1)], share: position - first as f32 })
}
