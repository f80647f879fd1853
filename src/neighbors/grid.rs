//! [`PaddedGrid`]: an organised cloud laid out for the window search, and the planes that
//! bound what lies outside a window.
//!
//! Seen from the camera, all pixels from a column on to the right lie in one half-space
//! through the origin, X >= t Z, where t is the smallest X/Z found there; the same holds
//! to the left, and for rows with Y/Z. A point's distance to that half-space is a lower
//! bound of its distance to all those pixels. No camera model is needed, only Z > 0.

use crate::cloud::OrganizedCloud;

/// Points worked on side by side: neighbouring pixels of one row.
pub const LANES: usize = 16;
/// One value per lane.
pub type Lane = [f32; LANES];

/// Coordinate of a missing point: farther than anything a window may accept.
const FAR: f32 = 1e15;
/// Larger coordinates would come near [`FAR`].
const COORDINATE_MAX: f32 = 1e9;
/// Squared distances above this are to missing points.
pub(crate) const FAR_SQ: f32 = 1e28;

/// One side's half-spaces: `a[i] Z + b[i] X` is the distance of a point (X, Z) to all
/// pixels beyond column (or row) `i - margin - 1`; infinite where there are none.
#[derive(Debug, Clone)]
struct Bounds {
    a: Vec<f64>,
    b: Vec<f64>,
}

/// Coordinate planes with a margin of far-away points on all sides.
#[derive(Debug, Clone)]
pub struct PaddedGrid {
    height: usize,
    width: usize,
    margin: usize,
    stride: usize,
    planes: [Vec<f32>; 3],
    valid: Vec<bool>,
    left: Bounds,
    right: Bounds,
    above: Bounds,
    below: Bounds,
}

impl PaddedGrid {
    /// Lays out a cloud with `margin` pixels on each side. `None` when the bounds do not
    /// hold for it: a point is not in front of the camera, or absurdly far.
    #[must_use]
    pub fn new(cloud: &OrganizedCloud, margin: usize) -> Option<Self> {
        let (height, width) = (cloud.height(), cloud.width());
        let measured = || cloud.points().iter().zip(cloud.valid()).filter(|(_, valid)| **valid);
        let bounded = |p: &[f32; 3]| p[2] > 0.0 && p.iter().all(|c| c.abs() < COORDINATE_MAX);
        if !measured().all(|(p, _)| bounded(p)) {
            return None;
        }
        let stride = width.next_multiple_of(LANES) + 2 * margin;
        let len = (height + 2 * margin) * stride;
        let mut planes = [vec![FAR; len], vec![FAR; len], vec![FAR; len]];
        let mut valid = vec![false; len];
        for (pixel, point) in cloud.valid_indices().into_iter().map(|i| (i, cloud.points()[i])) {
            let at = (pixel / width + margin) * stride + margin + pixel % width;
            valid[at] = true;
            for axis in 0..3 {
                planes[axis][at] = point[axis];
            }
        }
        let (mut columns, mut rows) = (vec![EMPTY_RANGE; width], vec![EMPTY_RANGE; height]);
        for (pixel, point) in cloud.valid_indices().into_iter().map(|i| (i, cloud.points()[i])) {
            let [x, y, z] = point.map(f64::from);
            widen(&mut columns[pixel % width], x / z);
            widen(&mut rows[pixel / width], y / z);
        }
        let ((left, right), (above, below)) = (bounds(&columns, margin), bounds(&rows, margin));
        Some(Self { height, width, margin, stride, planes, valid, left, right, above, below })
    }

    /// Rows of the image.
    #[must_use]
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Columns of the image.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Pixels around the image.
    #[must_use]
    pub const fn margin(&self) -> usize {
        self.margin
    }

    /// Distance of vertical neighbours in the planes.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// Length of a plane.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.valid.len()
    }

    /// Whether there is no pixel at all; never, as an organised cloud has some.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.valid.is_empty()
    }

    /// Place of an image pixel in the planes.
    #[must_use]
    pub const fn at(&self, row: usize, column: usize) -> usize {
        (row + self.margin) * self.stride + self.margin + column
    }

    /// The x, y and z planes.
    #[must_use]
    pub fn planes(&self) -> [&[f32]; 3] {
        self.planes.each_ref().map(Vec::as_slice)
    }

    /// Which places hold a measured point.
    #[must_use]
    pub fn valid(&self) -> &[bool] {
        &self.valid
    }

    /// The point at a place.
    #[must_use]
    pub fn point(&self, at: usize) -> [f32; 3] {
        [self.planes[0][at], self.planes[1][at], self.planes[2][at]]
    }

    /// For the point at a pixel: squared distances that no pixel beyond a window reaches,
    /// in the order up, down, left, right. The margin of 1e-6 covers the rounding of the
    /// squared distances they are compared with (at most 5 roundings of 6e-8 each).
    #[expect(clippy::cast_possible_truncation, reason = "rounding is covered by the margin")]
    pub(crate) fn beyond_sq(&self, row: usize, column: usize, window: [usize; 4]) -> [f32; 4] {
        let [x, y, z] = self.point(self.at(row, column)).map(f64::from);
        let [up, down, left, right] = window;
        let (row, column) = (row + self.margin + 1, column + self.margin + 1);
        let distances = [
            self.above.distance(row - up - 1, y, z),
            self.below.distance(row + down + 1, y, z),
            self.left.distance(column - left - 1, x, z),
            self.right.distance(column + right + 1, x, z),
        ];
        // A plane's coefficients are rounded to about 1e-16 of the coordinates.
        let slack = 1e-14 * (x.abs() + y.abs() + z.abs());
        distances.map(|distance| {
            let distance = (distance - slack).max(0.0);
            (distance * distance * (1.0 - 1e-6)) as f32
        })
    }
}

impl Bounds {
    fn distance(&self, index: usize, across: f64, z: f64) -> f64 {
        self.a[index] * z + self.b[index] * across
    }
}

/// Smallest and largest tangent of a column or row without points.
const EMPTY_RANGE: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);

fn widen(range: &mut (f64, f64), tangent: f64) {
    *range = (range.0.min(tangent), range.1.max(tangent));
}

/// The bounds of everything up to a line (first) and from a line on (second). Index
/// `i + margin + 1` belongs to line `i`, so that any window's border is inside.
fn bounds(ranges: &[(f64, f64)], margin: usize) -> (Bounds, Bounds) {
    let len = ranges.len() + 2 * margin + 2 + LANES;
    let none = Bounds { a: vec![f64::INFINITY; len], b: vec![0.0; len] };
    let (mut before, mut after) = (none.clone(), none);
    let mut largest = f64::NEG_INFINITY;
    for index in margin + 1..len {
        largest = ranges.get(index - margin - 1).map_or(largest, |range| largest.max(range.1));
        if largest.is_finite() {
            // X <= t Z: the distance is (X - t Z) / sqrt(1 + t^2).
            let inverse = 1.0 / largest.hypot(1.0);
            (before.a[index], before.b[index]) = (-largest * inverse, inverse);
        }
    }
    let mut smallest = f64::INFINITY;
    for index in (0..ranges.len() + margin + 1).rev() {
        let line = index.checked_sub(margin + 1).and_then(|line| ranges.get(line));
        smallest = line.map_or(smallest, |range| smallest.min(range.0));
        if smallest.is_finite() {
            // X >= t Z: the distance is (t Z - X) / sqrt(1 + t^2).
            let inverse = 1.0 / smallest.hypot(1.0);
            (after.a[index], after.b[index]) = (smallest * inverse, -inverse);
        }
    }
    (before, after)
}
