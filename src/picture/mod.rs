//! Pictures for people: what the detector saw and where it found something.
//!
//! Pictures show, they do not decide: their colour scales are chosen for the eye, and no
//! number is read back from them. All are at most [`SIDE_MAX`] pixels wide and high.

mod colormap;
mod draw;
mod relief;

use crate::cloud::OrganizedCloud;
use crate::detector::{AnomalyMap, Detection, Evaluation};
use crate::preprocess::FRAME_SIZE;
use crate::scan::{ColorImage, Scan};
use crate::score;

use colormap::{HEAT, mix};
use draw::{Canvas, Reduction};

/// Longest side of a picture in pixels; a larger scan is reduced by a whole factor.
pub const SIDE_MAX: usize = 800;

/// Share of the heat colour where the map is highest, and where the colour begins.
const HEAT_OPACITY: (f32, f32) = (0.85, 0.15);
/// The heat begins this share of the way from the map's median to the region threshold.
const HEAT_START: f32 = 0.6;
/// Distances between median and region threshold from the median at which the heat is full:
/// a part's usual ups and downs never look like the worst of defects, however good the part.
const HEAT_FULL: (f32, f32) = (2.0, 4.0);

const WHITE: [u8; 3] = [255, 255, 255];
const SHADOW: [u8; 3] = [20, 20, 24];
const WINDOW: [u8; 3] = [150, 160, 175];
const TRUTH: [u8; 3] = [40, 225, 245];

/// The scan with its anomaly map laid over it: heat where the part is unusual, the outline
/// of what exceeds the map's own region threshold, a mark on each region's peak, the frame
/// that was looked at, and an edge in the colour of the verdict. None without a map.
#[must_use]
pub fn overlay(scan: &Scan, detection: &Detection) -> Option<ColorImage> {
    let map = detection.map.as_ref()?;
    let reduction = Reduction::of(&scan.cloud);
    let mut canvas = base(scan, &reduction);
    let values = reduction.pick(&score::scan_map(map), 0.0);
    let level = score::region_threshold(map);
    lay_heat(&mut canvas, &values, map, level);
    canvas.outline(|i| values[i] > level, WHITE);
    draw_window(&mut canvas, map, &reduction);
    for region in &detection.regions {
        let [left, top, width, height] = region.bbox_px.map(|px| reduction.to_picture(px));
        let bounds = [top, left, top + height + 1, left + width + 1];
        if let Some((row, column)) = canvas.peak_within(&values, bounds) {
            canvas.cross(row, column, WHITE, SHADOW);
        }
    }
    canvas.frame(verdict_color(detection.evaluation));
    Some(canvas.into_image())
}

/// The scan's shape: coloured by height above its background plane (by nearness when there
/// is none), shaded by slope; the background grey, what was not measured dark.
#[must_use]
pub fn depth(scan: &Scan) -> ColorImage {
    relief::colored(&scan.cloud).into_image()
}

/// The scan with the outline of the ground-truth mask (row-major on the scan's grid, 0 =
/// good).
///
/// # Panics
/// When the mask does not fill the scan's grid.
#[must_use]
pub fn mask_overlay(scan: &Scan, mask: &[u8]) -> ColorImage {
    assert_eq!(mask.len(), scan.cloud.points().len(), "the mask fills the scan's grid");
    let reduction = Reduction::of(&scan.cloud);
    let mut canvas = base(scan, &reduction);
    let marked = reduction.pick(mask, 0);
    canvas.blend(|i| (marked[i] > 0).then_some((TRUTH, 0.25)));
    canvas.outline(|i| marked[i] > 0, TRUTH);
    canvas.into_image()
}

/// The pictures in one row, tops aligned, on a dark ground.
#[must_use]
pub fn side_by_side(images: &[&ColorImage]) -> ColorImage {
    const GAP_PX: usize = 8;
    let height = images.iter().map(|image| image.height).max().unwrap_or(0);
    let gaps = GAP_PX * images.len().saturating_sub(1);
    let width = images.iter().map(|image| image.width).sum::<usize>() + gaps;
    let mut pixels = vec![SHADOW; height * width];
    let mut left = 0;
    for image in images {
        for row in 0..image.height {
            let line = &image.pixels[row * image.width..(row + 1) * image.width];
            pixels[row * width + left..][..image.width].copy_from_slice(line);
        }
        left += image.width + GAP_PX;
    }
    ColorImage { height, width, pixels }
}

/// What the marks are drawn on: the colour image, or the shaded relief without one.
fn base(scan: &Scan, reduction: &Reduction) -> Canvas {
    match &scan.color {
        Some(color) if fits(color, &scan.cloud) => reduction.average(color),
        _ => relief::gray(&scan.cloud),
    }
}

fn fits(color: &ColorImage, cloud: &OrganizedCloud) -> bool {
    (color.height, color.width) == (cloud.height(), cloud.width())
}

/// Mutes the picture and lays the heat over it.
fn lay_heat(canvas: &mut Canvas, values: &[f32], map: &AnomalyMap, level: f32) {
    let center = score::map_median(map);
    let peak = values.iter().copied().fold(level, f32::max);
    let unit = (level - center).max(f32::MIN_POSITIVE);
    let start = center + HEAT_START * unit;
    let full = peak.clamp(center + HEAT_FULL.0 * unit, center + HEAT_FULL.1 * unit);
    canvas.mute(0.35);
    canvas.blend(|i| {
        let value = values[i];
        let heat = (value - start) / (full - start);
        let shown = value.abs() > 0.0 && heat > 0.0;
        shown.then(|| (HEAT.at(heat), mix(HEAT_OPACITY.1, HEAT_OPACITY.0, heat.min(1.0))))
    });
}

/// The frame that the branches saw.
#[expect(clippy::cast_precision_loss, reason = "the frame's side is small")]
fn draw_window(canvas: &mut Canvas, map: &AnomalyMap, reduction: &Reduction) {
    let window = &map.window;
    let side = FRAME_SIZE as f32 * window.px_per_frame_px;
    let edges = [window.top_px, window.left_px, window.top_px + side, window.left_px + side];
    canvas.dashed_box(edges.map(|edge| edge / reduction.factor_f32()), WINDOW);
}

/// Colour of the picture's edge.
const fn verdict_color(evaluation: Evaluation) -> [u8; 3] {
    match evaluation {
        Evaluation::Ok => [60, 180, 90],
        Evaluation::NotOk => [225, 50, 50],
        Evaluation::NotDecidable => [240, 180, 40],
        Evaluation::Undefined => [130, 140, 150],
    }
}

#[cfg(test)]
mod tests;
