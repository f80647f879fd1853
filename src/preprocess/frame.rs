//! Cuts the 224 x 224 frame out of a scan: points by the nearest pixel (an average of two
//! points is a point that was never measured), colour by an antialiased bicubic filter.

use crate::cloud::OrganizedCloud;
use crate::scan::ColorImage;

use super::{FRAME_SIZE, FrameWindow};

/// What colour lies beyond the scan's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// The edge's own colour goes on: no artificial contour beside the part.
    Edge,
    /// Black, as the published preprocessing pads.
    Black,
}

/// The window of the frame's size around the object's bounding box, scaled down only when
/// the object is larger; none when the cloud is empty.
pub(super) fn object_window(cloud: &OrganizedCloud) -> Option<FrameWindow> {
    let [top, left, bottom, right] = bounding_box(cloud)?;
    let side = (bottom - top).max(right - left);
    let px_per_frame_px = (to_f32(side) / to_f32(FRAME_SIZE)).max(1.0);
    let edge = |first: usize, end: usize| {
        let edge = to_f32(first + end) * 0.5 - 0.5 * to_f32(FRAME_SIZE) * px_per_frame_px;
        // At the sensor's own resolution frame pixels are scan pixels, exactly.
        if side <= FRAME_SIZE { edge.floor() } else { edge }
    };
    Some(FrameWindow {
        top_px: edge(top, bottom),
        left_px: edge(left, right),
        px_per_frame_px,
        scan_height: cloud.height(),
        scan_width: cloud.width(),
    })
}

/// The whole scan in the middle of a square.
pub(super) fn whole_window(height: usize, width: usize) -> FrameWindow {
    let side = height.max(width);
    FrameWindow {
        top_px: -0.5 * to_f32(side - height),
        left_px: -0.5 * to_f32(side - width),
        px_per_frame_px: to_f32(side) / to_f32(FRAME_SIZE),
        scan_height: height,
        scan_width: width,
    }
}

/// Top, left, bottom and right (both exclusive) of the measured points.
fn bounding_box(cloud: &OrganizedCloud) -> Option<[usize; 4]> {
    let width = cloud.width();
    let measured = (0..cloud.valid().len()).filter(|i| cloud.valid()[*i]);
    measured.fold(None, |bounds, index| {
        let (row, column) = (index / width, index % width);
        let [top, left, bottom, right] = bounds.unwrap_or([row, column, row, column]);
        Some([top.min(row), left.min(column), bottom.max(row + 1), right.max(column + 1)])
    })
}

/// The frame's points, each the nearest of the scan; not measured beyond the scan's edge.
pub(super) fn resample_cloud(cloud: &OrganizedCloud, window: &FrameWindow) -> OrganizedCloud {
    let rows = nearest(window.top_px, window.px_per_frame_px, cloud.height());
    let columns = nearest(window.left_px, window.px_per_frame_px, cloud.width());
    let source = |row: Option<usize>, column: Option<usize>| Some(row? * cloud.width() + column?);
    let (points, valid) = rows
        .iter()
        .flat_map(|row| columns.iter().map(|column| source(*row, *column)))
        .map(|index| index.map_or(([0.0; 3], false), |i| (cloud.points()[i], cloud.valid()[i])))
        .unzip();
    OrganizedCloud::with_mask(FRAME_SIZE, FRAME_SIZE, points, valid).expect("the frame is filled row by row")
}

/// For each frame pixel of one axis the scan pixel that holds its centre.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie within the scan before the cast"
)]
fn nearest(start_px: f32, step_px: f32, len: usize) -> Vec<Option<usize>> {
    let center = |i: usize| (start_px + (to_f32(i) + 0.5) * step_px).floor();
    let within = |position: f32| (0.0..to_f32(len)).contains(&position).then_some(position as usize);
    (0..FRAME_SIZE).map(|i| within(center(i))).collect()
}

/// The frame's colour.
pub(super) fn resample_color(image: &ColorImage, window: &FrameWindow, padding: Padding) -> ColorImage {
    let step_px = window.px_per_frame_px;
    let rows = filter(window.top_px, step_px, image.height, padding);
    let columns = filter(window.left_px, step_px, image.width, padding);
    // Only the scan rows that some frame row uses are filtered along the row.
    let used = rows.iter().filter(|t| !t.weights.is_empty());
    let first = used.clone().map(|t| t.start).min().unwrap_or(0);
    let end = used.map(|t| t.start + t.weights.len()).max().unwrap_or(0);
    let narrow: Vec<[f32; 3]> = (first..end)
        .flat_map(|row| {
            let line = &image.pixels[row * image.width..(row + 1) * image.width];
            columns.iter().map(|taps| taps.apply(|i| line[i].map(f32::from)))
        })
        .collect();
    let pixels = rows.iter().flat_map(|taps| {
        (0..FRAME_SIZE).map(|column| taps.apply(|row| narrow[(row - first) * FRAME_SIZE + column]).map(to_u8))
    });
    ColorImage { height: FRAME_SIZE, width: FRAME_SIZE, pixels: pixels.collect() }
}

/// The weighted scan pixels that make one frame pixel along one axis.
struct Taps {
    start: usize,
    weights: Vec<f32>,
}

impl Taps {
    /// The weighted sum of the values at the taps.
    fn apply(&self, value: impl Fn(usize) -> [f32; 3]) -> [f32; 3] {
        let mut sum = [0.0; 3];
        for (weight, index) in self.weights.iter().zip(self.start..) {
            for (total, channel) in sum.iter_mut().zip(value(index)) {
                *total += weight * channel;
            }
        }
        sum
    }
}

/// Cubic taps of every frame pixel along one axis, widened by the step when scaling down so
/// that every scan pixel counts, and renormalised where the scan ends.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the scan before the cast"
)]
fn filter(start_px: f32, step_px: f32, len: usize, padding: Padding) -> Vec<Taps> {
    let scale = step_px.max(1.0);
    let clamp = |position: f32| position.clamp(0.0, to_f32(len)) as usize;
    let taps = |i: usize| {
        let center = start_px + (to_f32(i) + 0.5) * step_px;
        let (start, end) = (clamp(center - 2.0 * scale + 0.5), clamp(center + 2.0 * scale + 0.5));
        let outside = !(0.0..to_f32(len)).contains(&center);
        if outside || start >= end {
            let edge = if center < 0.0 { 0 } else { len - 1 };
            let weights = if padding == Padding::Edge { vec![1.0] } else { Vec::new() };
            return Taps { start: edge, weights };
        }
        let weights = (start..end).map(|p| cubic((to_f32(p) + 0.5 - center) / scale)).collect();
        normalized(Taps { start, weights })
    };
    (0..FRAME_SIZE).map(taps).collect()
}

fn normalized(mut taps: Taps) -> Taps {
    let sum: f32 = taps.weights.iter().sum();
    taps.weights.iter_mut().for_each(|weight| *weight /= sum);
    taps
}

/// Keys' cubic convolution kernel with a = -0.5, the usual "bicubic" of image libraries.
fn cubic(x: f32) -> f32 {
    const A: f32 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "pixel counts along one side are far below 2^24")]
fn to_f32(count: usize) -> f32 {
    count as f32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
fn to_u8(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as u8
}
