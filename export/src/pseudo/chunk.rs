//! [`Chunk`]: a piece of a task-irrelevant scan's surface, cut out around a peak of its activation map and
//! laid onto another scan (METHOD section 5, steps 2 and 3).
//!
//! The chunk keeps its metric shape. It is scaled only when the two scans' point pitches differ by more than
//! [`PITCH_RATIO_FREE`] (our choice): points twice as dense as the part's would tell a pseudo anomaly from a
//! defect, whose points are as dense as the sensor makes them.

use zal::preprocess::FRAME_SIZE;

use super::Frame;
use super::vector::{cross, dot, unit};

/// Difference of the point pitches, as a share, up to which a chunk is not scaled.
pub const PITCH_RATIO_FREE: f32 = 0.1;

/// Points of a surface, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunk {
    /// In the frame of the scan it lies on, metres.
    pub(super) points: Vec<[f32; 3]>,
    /// Unit normals, towards the camera of the scan it was cut from.
    pub(super) normals: Vec<[f32; 3]>,
    /// Pixels of the scan it was cut from.
    pub(super) pixels: Vec<usize>,
}

/// Where a chunk is laid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    /// The point that the peak comes to lie on (before the offset).
    pub(super) point: [f32; 3],
    /// The surface's unit normal there.
    pub(super) normal: [f32; 3],
    /// Turn about the normal, radians.
    pub(super) turn_rad: f32,
    /// Distance along the normal, metres.
    pub(super) offset_m: f32,
    /// Factor of the chunk's size.
    pub(super) scale: f32,
}

impl Chunk {
    /// The `count` measured points of `frame` nearest to the peak; the peak is the first.
    pub(super) fn cut(frame: &Frame, peak: usize, count: usize) -> Self {
        let pixels = frame.boxes.nearest(&frame.cloud, peak, 1, count);
        let points = pixels.iter().map(|pixel| frame.cloud.points()[*pixel]).collect();
        let normals = pixels.iter().map(|pixel| frame.normals[*pixel]).collect();
        Self { points, normals, pixels }
    }

    /// The chunk laid onto a seat: the peak on the seat's point, its normal on the seat's normal by the
    /// smallest turn, then turned about it and lifted.
    pub(super) fn laid_on(&self, seat: &Seat) -> Self {
        let peak = self.points[0];
        let rotation = product(about(seat.normal, seat.turn_rad), between(self.normals[0], seat.normal));
        let place = |point: &[f32; 3]| {
            let local = [0, 1, 2].map(|i| (point[i] - peak[i]) * seat.scale);
            let turned = apply(&rotation, local);
            [0, 1, 2].map(|i| seat.point[i] + turned[i] + seat.normal[i] * seat.offset_m)
        };
        Self {
            points: self.points.iter().map(place).collect(),
            normals: self.normals.iter().map(|normal| apply(&rotation, *normal)).collect(),
            pixels: self.pixels.clone(),
        }
    }

    /// Whether the point of this index lies on the rows and columns of its own scan that are a multiple of
    /// `stride_px` away from the peak.
    pub(super) fn is_on_lattice(&self, index: usize, stride_px: usize) -> bool {
        let (pixel, peak) = (self.pixels[index], self.pixels[0]);
        (pixel / FRAME_SIZE).abs_diff(peak / FRAME_SIZE).is_multiple_of(stride_px)
            && (pixel % FRAME_SIZE).abs_diff(peak % FRAME_SIZE).is_multiple_of(stride_px)
    }
}

/// Factor that gives a chunk of one pitch the density of a part of another; 1 when they hardly differ.
pub(super) fn density_scale(part_pitch_m: f32, chunk_pitch_m: f32) -> f32 {
    let ratio = part_pitch_m / chunk_pitch_m;
    let alike = (1.0 - PITCH_RATIO_FREE..=1.0 + PITCH_RATIO_FREE).contains(&ratio);
    if alike || !ratio.is_finite() || ratio <= 0.0 { 1.0 } else { ratio }
}

type Matrix = [[f32; 3]; 3];

/// The smallest rotation that takes unit vector `a` to unit vector `b` (Rodrigues); of the many between
/// opposite vectors, the half turn about an axis across them.
fn between(a: [f32; 3], b: [f32; 3]) -> Matrix {
    let cos = dot(a, b);
    if cos > -0.999_99 {
        let [x, y, z] = cross(a, b);
        let skew = [[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]];
        let square = product(skew, skew);
        return std::array::from_fn(|i| {
            std::array::from_fn(|j| identity(i, j) + skew[i][j] + square[i][j] / (1.0 + cos))
        });
    }
    let across = if a[0].abs() < 0.6 { [1.0, 0.0, 0.0] } else { [0.0, 1.0, 0.0] };
    about(unit(cross(a, across)), std::f32::consts::PI)
}

/// The rotation about a unit axis (Rodrigues).
fn about(axis: [f32; 3], angle_rad: f32) -> Matrix {
    let (sin, cos) = angle_rad.sin_cos();
    let [x, y, z] = axis;
    let skew = [[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]];
    let square = product(skew, skew);
    std::array::from_fn(|i| {
        std::array::from_fn(|j| identity(i, j) + sin * skew[i][j] + (1.0 - cos) * square[i][j])
    })
}

const fn identity(i: usize, j: usize) -> f32 {
    if i == j { 1.0 } else { 0.0 }
}

fn product(a: Matrix, b: Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

fn apply(matrix: &Matrix, vector: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|i| dot(matrix[i], vector))
}

#[cfg(test)]
mod tests {
    use super::super::tests::frames;
    use super::*;

    fn apart(a: [f32; 3], b: [f32; 3]) -> f32 {
        let d = [0, 1, 2].map(|i| a[i] - b[i]);
        dot(d, d).sqrt()
    }

    #[test]
    fn rotations_take_one_direction_to_the_other_and_keep_lengths() {
        let directions = [[0.0, 0.0, -1.0], [0.6, 0.0, -0.8], [0.0, 0.0, 1.0], unit([0.3, -0.9, 0.2])];
        for a in directions {
            for b in directions {
                let rotation = between(a, b);
                assert!(apart(apply(&rotation, a), b) < 1e-6, "{a:?} to {b:?}");
                let determinant = dot(cross(rotation[0], rotation[1]), rotation[2]);
                assert!((determinant - 1.0).abs() < 1e-5, "no mirror: {determinant}");
                let turned = apply(&about(b, 1.234), b);
                assert!(apart(turned, b) < 1e-6, "the axis stays");
            }
        }
        let quarter = apply(&about([0.0, 0.0, 1.0], std::f32::consts::FRAC_PI_2), [1.0, 0.0, 0.0]);
        assert!(apart(quarter, [0.0, 1.0, 0.0]) < 1e-6);
    }

    #[test]
    fn a_chunk_keeps_its_metric_shape_and_lies_where_it_is_laid() {
        let [_, frame] = frames();
        let peak = frame.cloud.valid_indices()[frame.cloud.valid_count() / 2];
        let chunk = Chunk::cut(frame, peak, 300);
        let normal = unit([0.2, -0.4, -0.9]);
        let seat = Seat { point: [0.02, 0.03, 0.6], normal, turn_rad: 2.0, offset_m: 0.002, scale: 1.0 };
        let laid = chunk.laid_on(&seat);
        let lifted = [0, 1, 2].map(|i| seat.point[i] + 0.002 * normal[i]);
        assert!(apart(laid.points[0], lifted) < 1e-6 && apart(laid.normals[0], normal) < 1e-5);
        for i in (0..300).step_by(7) {
            for j in (0..300).step_by(11) {
                let (before, after) =
                    (apart(chunk.points[i], chunk.points[j]), apart(laid.points[i], laid.points[j]));
                assert!((before - after).abs() < 1e-6, "{before} m became {after} m");
            }
        }
        let twice = chunk.laid_on(&Seat { scale: 2.0, ..seat });
        let stretch = apart(twice.points[0], twice.points[299]) / apart(chunk.points[0], chunk.points[299]);
        assert!((stretch - 2.0).abs() < 1e-3, "{stretch}");
    }

    #[test]
    fn only_pitches_that_differ_scale_a_chunk() {
        let cases =
            [(0.000_5, 0.000_5), (0.000_54, 0.000_5), (0.001, 0.000_5), (0.000_5, 0.001), (0.001, 0.0)];
        let scales = cases.map(|(part, chunk)| density_scale(part, chunk));
        let expected = [1.0, 1.0, 2.0, 0.5, 1.0];
        assert!(scales.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{scales:?}");
    }

    #[test]
    fn a_lattice_of_a_chunk_is_its_own_scans() {
        let [_, frame] = frames();
        let peak = frame.cloud.valid_indices()[500];
        let chunk = Chunk::cut(frame, peak, 400);
        let on: Vec<usize> = (0..400).filter(|i| chunk.is_on_lattice(*i, 3)).collect();
        assert!(on[0] == 0 && (30..60).contains(&on.len()), "{}", on.len());
        let row = |i: usize| chunk.pixels[i] / FRAME_SIZE % 3;
        assert!(on.iter().all(|i| row(*i) == row(0)));
    }
}
