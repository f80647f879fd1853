//! Connected regions of the anomaly map, measured on the part.

use super::fuse::median;
use super::{AnomalyMap, Region};
use crate::preprocess::components::{Components, components};
use crate::preprocess::{FRAME_SIZE, FrameWindow, PreparedScan};

/// Robust standard deviations above the median at which a pixel stands out.
const ROBUST_SD_COUNT: f32 = 3.5;
/// Standard deviation of a normal distribution over its median absolute deviation.
const SD_PER_MAD: f32 = 1.4826;
/// A step between neighbours longer than this many pitches is an edge, not surface.
const STEP_PITCHES_MAX: f32 = 5.0;

/// The region threshold to use while nothing is calibrated: 3.5 robust standard deviations
/// above the median of the map's object pixels. Only a guide for the eye: it says which
/// places stand out within this part, not that the part is bad. A flat map has none.
#[must_use]
pub fn region_threshold(map: &AnomalyMap) -> f32 {
    let scored = scored_values(map);
    let center = median(&scored);
    let deviations: Vec<f32> = scored.iter().map(|value| (value - center).abs()).collect();
    let spread = SD_PER_MAD * median(&deviations);
    // When over half of the pixels are equal, whatever differs at all would stand out.
    let fallback = scored.iter().copied().fold(center, f32::max);
    if spread > 0.0 { center + ROBUST_SD_COUNT * spread } else { fallback }
}

/// Median of the map's object pixels: the usual within this part.
#[must_use]
pub fn map_median(map: &AnomalyMap) -> f32 {
    median(&scored_values(map))
}

/// The map's values on the object.
fn scored_values(map: &AnomalyMap) -> Vec<f32> {
    map.values.iter().zip(&map.object).filter(|(_, object)| **object).map(|(value, _)| *value).collect()
}

/// The 8-connected regions of object pixels whose map value is above `threshold`, highest
/// peak first, at most `count_max`.
///
/// The area is the measured surface in mm2, tilt included; where the scan has no points
/// there is no area, so a deep hole shows as its rim. The box is in scan pixels.
///
/// # Panics
/// When map and frame differ in size.
#[must_use]
pub fn regions(map: &AnomalyMap, prepared: &PreparedScan, threshold: f32, count_max: usize) -> Vec<Region> {
    let valid = prepared.cloud.valid();
    assert_eq!(map.values.len(), valid.len(), "map and frame have the same pixels");
    let above = map.values.iter().zip(valid).map(|(value, valid)| *valid && *value > threshold);
    let found = components(&above.collect::<Vec<bool>>(), FRAME_SIZE, |_, _| true);
    let mut regions: Vec<Region> =
        pixels_of(&found).iter().map(|pixels| measure(pixels, map, prepared)).collect();
    regions.sort_by(|a, b| b.peak.total_cmp(&a.peak));
    regions.truncate(count_max);
    regions
}

/// The pixels of every component.
fn pixels_of(found: &Components) -> Vec<Vec<usize>> {
    let mut pixels = vec![Vec::new(); found.count];
    for (pixel, label) in found.labels.iter().enumerate() {
        if let Some(component) = pixels.get_mut(*label as usize) {
            component.push(pixel);
        }
    }
    pixels
}

/// Box, area, centroid and peak of one region.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "at most 224 * 224 pixels; the sums are in f64"
)]
fn measure(pixels: &[usize], map: &AnomalyMap, prepared: &PreparedScan) -> Region {
    let mut area_m2 = 0.0_f64;
    let mut center_m = [0.0_f64; 3];
    for &pixel in pixels {
        area_m2 += f64::from(pixel_area(prepared, pixel));
        for (sum, coordinate) in center_m.iter_mut().zip(prepared.cloud.points()[pixel]) {
            *sum += f64::from(coordinate) / pixels.len() as f64;
        }
    }
    Region {
        bbox_px: scan_box(pixels, &map.window),
        area_mm2: (area_m2 * 1e6) as f32,
        centroid_mm: center_m.map(|c| (c * 1e3) as f32),
        peak: pixels.iter().map(|p| map.values[*p]).fold(f32::NEG_INFINITY, f32::max),
    }
}

/// Surface that one frame pixel stands for, m2: the cross product of the steps along its row
/// and its column.
fn pixel_area(prepared: &PreparedScan, pixel: usize) -> f32 {
    let (row, column) = (pixel / FRAME_SIZE, pixel % FRAME_SIZE);
    let horizontal =
        step(prepared, pixel, (column > 0).then(|| pixel - 1), (column + 1 < FRAME_SIZE).then(|| pixel + 1));
    let vertical = step(
        prepared,
        pixel,
        (row > 0).then(|| pixel - FRAME_SIZE),
        (row + 1 < FRAME_SIZE).then(|| pixel + FRAME_SIZE),
    );
    let pitch = prepared.pitch_m;
    match (horizontal, vertical) {
        (Some(u), Some(v)) => norm(cross(u, v)),
        (Some(one), None) | (None, Some(one)) => norm(one) * pitch,
        (None, None) => pitch * pitch,
    }
}

/// The step to the next point along one axis: from the previous to the next point where both
/// belong to the same surface, else to the one that does.
fn step(
    prepared: &PreparedScan,
    pixel: usize,
    previous: Option<usize>,
    next: Option<usize>,
) -> Option<[f32; 3]> {
    let points = prepared.cloud.points();
    let here = points[pixel];
    let on_surface = |neighbor: Option<usize>, sign: f32| {
        let there = points[neighbor.filter(|i| prepared.cloud.valid()[*i])?];
        let step = [0, 1, 2].map(|axis| sign * (there[axis] - here[axis]));
        (norm(step) <= STEP_PITCHES_MAX * prepared.pitch_m).then_some(step)
    };
    match (on_surface(previous, -1.0), on_surface(next, 1.0)) {
        (Some(a), Some(b)) => Some([0, 1, 2].map(|axis| f32::midpoint(a[axis], b[axis]))),
        (one, other) => one.or(other),
    }
}

/// Left, top, width, height of the pixels in the scan, rounded outwards, within the scan.
fn scan_box(pixels: &[usize], window: &FrameWindow) -> [u32; 4] {
    let rows = pixels.iter().map(|p| p / FRAME_SIZE);
    let columns = pixels.iter().map(|p| p % FRAME_SIZE);
    let (top, bottom) = span(rows, window.top_px, window.px_per_frame_px, window.scan_height);
    let (left, right) = span(columns, window.left_px, window.px_per_frame_px, window.scan_width);
    [left, top, right - left, bottom - top]
}

/// First and last (exclusive) scan pixel of a range of frame pixels along one axis.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the scan before the cast"
)]
fn span(
    frame_px: impl Iterator<Item = usize> + Clone,
    start_px: f32,
    step_px: f32,
    len: usize,
) -> (u32, u32) {
    let first = frame_px.clone().min().unwrap_or(0) as f32;
    let end = frame_px.max().unwrap_or(0) as f32 + 1.0;
    let to_scan = |edge: f32| (start_px + edge * step_px).clamp(0.0, len as f32);
    (to_scan(first).floor() as u32, to_scan(end).ceil() as u32)
}

fn cross(u: [f32; 3], v: [f32; 3]) -> [f32; 3] {
    [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
}

fn norm(v: [f32; 3]) -> f32 {
    (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt()
}
