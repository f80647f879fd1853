//! The background plane, found by RANSAC in a strip along the scan's border.
//!
//! A part lies in the middle of the picture and its support reaches the border, so a plane
//! that runs along most of the border is the support. The border is that of the measured
//! area, which in depth registered to a colour camera ends a little within the picture. The
//! same rule keeps a scan that was cleaned before as it is: what was measured then ends far
//! within the picture, or does not fill its own bounding box.

use std::ops::Range;

use nalgebra::{Matrix3, SymmetricEigen, Vector3};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::cloud::OrganizedCloud;

use super::{Background, PreprocessParams};

/// RANSAC draws: a plane that holds a third of the strip is missed once in 10^6 scans.
const DRAW_COUNT: usize = 400;
/// Border points that RANSAC looks at, evenly spread; more cost time and change nothing.
const SAMPLE_COUNT_MAX: usize = 3000;
/// Width of the strip as a share of the shorter side, and at least [`STRIP_PX_MIN`].
const STRIP_SHARE: f32 = 0.03;
/// Narrowest strip in pixels.
const STRIP_PX_MIN: usize = 4;
/// Share of a side's strip that must lie on the plane for the side to support it.
const SIDE_SHARE_MIN: f32 = 0.25;
/// Sides that must support the plane: a part may cover one side, hardly two.
const SIDE_COUNT_MIN: usize = 3;
/// Share of the whole strip on the plane that is enough whatever the sides say.
const STRIP_SUPPORT: f32 = 0.5;
/// A row or column belongs to the measured area when at least this share of it was measured.
const LINE_SHARE_MIN: f32 = 0.1;
/// An area that ends within the picture must be measured at least this far: a part without
/// its background rarely fills its bounding box (a disc 0.79), a sensor's field does (0.89
/// and more on real ones).
const INSET_FILL_MIN: f32 = 0.84;
/// Removal distance in robust standard deviations of the plane's own points.
const NOISE_FACTOR: f32 = 5.0;

/// A plane `n.p = d` with unit normal towards the camera, and how far its points reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plane {
    /// Unit normal towards the camera (the origin).
    pub normal: [f32; 3],
    /// `n.p` of every point on the plane; negative, as the camera is on the positive side.
    pub offset: f32,
    /// Points lower than this above the plane belong to it.
    pub threshold_m: f32,
    /// Depth of the plane's farthest point in the border strip.
    pub depth_max_m: f32,
    /// Whether the strip lies within the picture's edge: weaker evidence.
    pub inset: bool,
}

impl Plane {
    /// Height of a point above the plane, towards the camera.
    pub(super) fn height(&self, point: [f32; 3]) -> f32 {
        dot(self.normal, point) - self.offset
    }
}

/// A measured point of the strip and the side of the picture it belongs to.
struct BorderPoint {
    point: [f32; 3],
    side: usize,
}

/// Finds the plane that runs along the border, or says why there is none.
pub(super) fn find(cloud: &OrganizedCloud, params: &PreprocessParams) -> Result<Plane, Background> {
    let area = measured_area(cloud, params.border_inset_max).ok_or(Background::BorderMissing)?;
    let inset = area.rows != (0..cloud.height()) || area.columns != (0..cloud.width());
    if inset && share(cloud.valid_count(), area.rows.len() * area.columns.len()) < INSET_FILL_MIN {
        return Err(Background::BorderMissing);
    }
    let strip = Strip::of(cloud, &area);
    if strip.points.len() < strip.pixel_count() / 5 {
        return Err(Background::BorderMissing);
    }
    let reach_m = reach(&strip, params);
    let best = ransac(&strip.points, reach_m, params.seed).ok_or(Background::NoPlane)?;
    let (normal, offset) = refine(&strip.points, best, reach_m);
    if !strip.supports(normal, offset, reach_m) {
        return Err(Background::NoPlane);
    }
    let height = |b: &&BorderPoint| (dot(normal, b.point) - offset).abs();
    let on_plane = || strip.points.iter().filter(|b| height(b) <= reach_m);
    let noise_m = 1.4826 * median(&mut on_plane().map(|b| height(&b)).collect::<Vec<f32>>());
    let threshold_m = (NOISE_FACTOR * noise_m).clamp(params.plane_threshold_min_m.min(reach_m), reach_m);
    let depth_max_m = on_plane().map(|b| b.point[2]).fold(0.0, f32::max);
    Ok(Plane { normal, offset, threshold_m, depth_max_m, inset })
}

/// Rows and columns between which points were measured.
struct Area {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// The rows and columns of which at least [`LINE_SHARE_MIN`] was measured, from the first to
/// the last; none when that leaves out more than `inset_max` of the picture on some side.
fn measured_area(cloud: &OrganizedCloud, inset_max: f32) -> Option<Area> {
    let (height, width) = (cloud.height(), cloud.width());
    let (mut in_row, mut in_column) = (vec![0_usize; height], vec![0_usize; width]);
    for (index, valid) in cloud.valid().iter().enumerate() {
        in_row[index / width] += usize::from(*valid);
        in_column[index % width] += usize::from(*valid);
    }
    Some(Area { rows: extent(&in_row, width, inset_max)?, columns: extent(&in_column, height, inset_max)? })
}

/// From the first to the last line with enough of its `len` pixels measured.
fn extent(counts: &[usize], len: usize, inset_max: f32) -> Option<Range<usize>> {
    let enough = |count: &usize| share(*count, len) >= LINE_SHARE_MIN;
    let (first, end) = (counts.iter().position(enough)?, counts.iter().rposition(enough)? + 1);
    let inset = share(first.max(counts.len() - end), counts.len());
    (inset <= inset_max).then_some(first..end)
}

#[expect(clippy::cast_precision_loss, reason = "pixel counts of one scan are far below 2^24")]
fn share(part: usize, whole: usize) -> f32 {
    part as f32 / whole.max(1) as f32
}

/// Distance within which a point supports a plane, for the distance the strip is at.
fn reach(strip: &Strip, params: &PreprocessParams) -> f32 {
    let mut depths: Vec<f32> = strip.points.iter().map(|b| b.point[2]).collect();
    params.plane_threshold_m.max(params.plane_threshold_per_depth * median(&mut depths))
}

/// The strip along the four sides.
struct Strip {
    points: Vec<BorderPoint>,
    /// Pixels of the top, bottom, left and right side; a corner belongs to top or bottom.
    side_pixels: [usize; 4],
}

impl Strip {
    fn of(cloud: &OrganizedCloud, area: &Area) -> Self {
        let size = (area.rows.len(), area.columns.len());
        let depth = strip_px(size.0.min(size.1));
        let mut strip = Self { points: Vec::new(), side_pixels: [0; 4] };
        for (row, scan_row) in area.rows.clone().enumerate() {
            for (column, scan_column) in area.columns.clone().enumerate() {
                let Some(side) = side_of(row, column, size, depth) else { continue };
                strip.side_pixels[side] += 1;
                let index = scan_row * cloud.width() + scan_column;
                if cloud.valid()[index] {
                    strip.points.push(BorderPoint { point: cloud.points()[index], side });
                }
            }
        }
        strip
    }

    fn pixel_count(&self) -> usize {
        self.side_pixels.iter().sum()
    }

    /// Whether the plane runs along enough of the border to be the background.
    fn supports(&self, normal: [f32; 3], offset: f32, reach_m: f32) -> bool {
        let mut on_plane = [0_usize; 4];
        for border in &self.points {
            on_plane[border.side] += usize::from((dot(normal, border.point) - offset).abs() <= reach_m);
        }
        let sides = on_plane.iter().zip(self.side_pixels);
        sides.filter(|&(&on, of)| share(on, of) >= SIDE_SHARE_MIN).count() >= SIDE_COUNT_MIN
            || share(on_plane.iter().sum(), self.pixel_count()) >= STRIP_SUPPORT
    }
}

/// Width of the strip for a picture whose shorter side has this many pixels.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a picture's side is a small positive number"
)]
fn strip_px(side: usize) -> usize {
    ((side as f32 * STRIP_SHARE) as usize).max(STRIP_PX_MIN).min(side.div_ceil(2))
}

/// Top 0, bottom 1, left 2, right 3; none in the middle.
fn side_of(row: usize, column: usize, (height, width): (usize, usize), depth: usize) -> Option<usize> {
    if row < depth {
        Some(0)
    } else if row + depth >= height {
        Some(1)
    } else if column < depth {
        Some(2)
    } else if column + depth >= width {
        Some(3)
    } else {
        None
    }
}

/// The plane through three drawn points that most of the strip supports.
fn ransac(points: &[BorderPoint], reach_m: f32, seed: u64) -> Option<([f32; 3], f32)> {
    let stride = points.len().div_ceil(SAMPLE_COUNT_MAX).max(1);
    let sample: Vec<[f32; 3]> = points.iter().step_by(stride).map(|b| b.point).collect();
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut best = None;
    let mut support_best = 2;
    for _ in 0..DRAW_COUNT {
        let corners = [(); 3].map(|()| sample[draw(&mut generator, sample.len())]);
        let Some((normal, offset)) = plane_through(corners) else { continue };
        let support = sample.iter().filter(|p| (dot(normal, **p) - offset).abs() <= reach_m).count();
        if support > support_best {
            support_best = support;
            best = Some((normal, offset));
        }
    }
    best
}

/// A number below `count`, from the upper bits of one draw.
fn draw(generator: &mut ChaCha8Rng, count: usize) -> usize {
    ((u64::from(generator.next_u32()) * count as u64) >> 32) as usize
}

/// The plane through three points, unless they are nearly in line or it holds the camera.
fn plane_through([a, b, c]: [[f32; 3]; 3]) -> Option<([f32; 3], f32)> {
    let (u, v) = (Vector3::from(b) - Vector3::from(a), Vector3::from(c) - Vector3::from(a));
    let cross = u.cross(&v);
    if cross.norm() <= 1e-3 * u.norm() * v.norm() || cross.norm() <= f32::MIN_POSITIVE {
        return None;
    }
    Some(towards_camera(cross.normalize(), &Vector3::from(a)))
}

/// Turns the normal towards the camera and adds the plane's offset.
fn towards_camera(normal: Vector3<f32>, on_plane: &Vector3<f32>) -> ([f32; 3], f32) {
    let offset = normal.dot(on_plane);
    if offset > 0.0 { ((-normal).into(), -offset) } else { (normal.into(), offset) }
}

/// Least squares on the plane's own points, repeated as the points change a little.
fn refine(points: &[BorderPoint], start: ([f32; 3], f32), reach_m: f32) -> ([f32; 3], f32) {
    let mut plane = start;
    for _ in 0..3 {
        let near = points.iter().map(|b| b.point).filter(|p| (dot(plane.0, *p) - plane.1).abs() <= reach_m);
        let Some(fitted) = least_squares(near) else { break };
        plane = fitted;
    }
    plane
}

/// The plane of least squared distances: through the mean, along the two larger axes.
#[expect(clippy::cast_possible_truncation, reason = "points come in f32, the sums need f64")]
fn least_squares(points: impl Iterator<Item = [f32; 3]> + Clone) -> Option<([f32; 3], f32)> {
    let wide = points.map(|p| Vector3::from(p.map(f64::from)));
    let count = u32::try_from(wide.clone().count()).ok().filter(|n| *n >= 3)?;
    let mean = wide.clone().sum::<Vector3<f64>>() / f64::from(count);
    let scatter: Matrix3<f64> = wide.map(|p| (p - mean) * (p - mean).transpose()).sum();
    let eigen = SymmetricEigen::new(scatter);
    let normal: Vector3<f64> = eigen.eigenvectors.column(eigen.eigenvalues.imin()).into();
    let to_f32 = |v: Vector3<f64>| v.map(|c| c as f32);
    Some(towards_camera(to_f32(normal.normalize()), &to_f32(mean)))
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The middle value (the upper of two), 0 of nothing. Reorders the values.
pub(super) fn median(values: &mut [f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}
