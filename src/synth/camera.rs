//! [`Camera`]: a pinhole about 0.55 m over a slightly tilted table, with a projector beside it.
//!
//! Rays walk over the baked relief and stop at its first crossing, so a tall part hides what
//! lies behind it; what the projector cannot reach is not measured.

use super::draw::Draw;
use super::noise::{coordinate, smooth_step};
use super::relief::Relief;

/// Working distance the field of view is named for, mm.
const NOMINAL_DISTANCE_MM: f32 = 550.0;
/// Field of view along the longer side at the nominal distance, mm.
const FIELD_OF_VIEW_MM: f32 = 170.0;
/// The shorter side sees at least this, so that a part fits into a long image, mm.
const SHORT_VIEW_MM: f32 = 118.0;
/// Rise over distance from which on a ray counts as steep: the projector's are, the lamp's not.
const STEEP_RISE: f32 = 3.5;
/// Longest step of a ray on its way down, mm.
const LONGEST_STEP_MM: f32 = 6.0;
/// Distance from camera to projector, mm: it stands to the left.
const BASELINE_MM: f32 = 120.0;

/// Pinhole camera: pixel (column u, row v) looks along `((u - cx) / focal, (v - cy) / focal, 1)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intrinsics {
    /// Focal length in pixels.
    pub focal_px: f32,
    /// Column of the principal point.
    pub cx: f32,
    /// Row of the principal point.
    pub cy: f32,
}

impl Intrinsics {
    /// The camera of every procedural scan of this size: at 0.55 m the longer side sees 0.17 m,
    /// or more in a narrow image, so that the part fits.
    #[must_use]
    pub fn new(height: usize, width: usize) -> Self {
        let focal_px = coordinate(height.max(width)) * NOMINAL_DISTANCE_MM / field_of_view(height, width);
        let centre = |count: usize| (coordinate(count) - 1.0) * 0.5;
        Self { focal_px, cx: centre(width), cy: centre(height) }
    }
}

/// What the longer side of an image sees at the nominal distance, mm.
pub(super) fn field_of_view(height: usize, width: usize) -> f32 {
    let ratio = coordinate(height.max(width)) / coordinate(height.min(width).max(1));
    FIELD_OF_VIEW_MM.max(SHORT_VIEW_MM * ratio.min(4.0))
}

/// Camera and table in one frame.
#[derive(Debug, Clone)]
pub(super) struct Camera {
    intrinsics: Intrinsics,
    /// Right, down and up of the table, in camera coordinates.
    axes: [[f32; 3]; 3],
    /// The camera's position on the table's axes, mm.
    eye: [f32; 3],
    /// The projector's, mm.
    projector: [f32; 3],
}

/// Where a ray ends.
pub(super) struct Hit {
    /// Position on the table's axes (right, down, up), mm.
    pub(super) position: [f32; 3],
    /// Distance along the optical axis, mm.
    pub(super) depth: f32,
    /// Direction from there to the camera, of length 1.
    pub(super) to_eye: [f32; 3],
}

impl Camera {
    /// Mounts the camera: distance and tilt are the station's, and shift a little each session.
    pub(super) fn mount(intrinsics: Intrinsics, station: &mut Draw, session: &mut Draw) -> Self {
        let distance = station.range(535.0, 575.0) + session.range(-4.0, 4.0);
        let mut tilt = || station.range(-0.035, 0.035) + session.range(-0.006, 0.006);
        let (right, down) = (tilt(), tilt());
        let x = unit([1.0, 0.0, right]);
        let y = unit(cross(unit([-right, -down, 1.0]), x));
        let up = cross(y, x);
        let axes = [x, y, up];
        let seen = |point: [f32; 3]| axes.map(|axis| dot(axis, point));
        let (eye, projector) = (seen([0.0, 0.0, -distance]), seen([-BASELINE_MM, 0.0, -distance]));
        Self { intrinsics, axes, eye, projector }
    }

    /// Direction of pixel (u, v) in camera coordinates, with z = 1.
    pub(super) fn direction(&self, u: usize, v: usize) -> [f32; 3] {
        let Intrinsics { focal_px, cx, cy } = self.intrinsics;
        [(coordinate(u) - cx) / focal_px, (coordinate(v) - cy) / focal_px, 1.0]
    }

    /// Where the ray of pixel (u, v) meets the relief.
    pub(super) fn look(&self, relief: &Relief, u: usize, v: usize) -> Hit {
        let seen = self.direction(u, v);
        let direction = self.axes.map(|axis| dot(axis, seen));
        let at = |t: f32| [0, 1, 2].map(|i| self.eye[i] + t * direction[i]);
        let ground = self.eye[2] / -direction[2];
        let [x, y, _] = at(ground);
        let [top, _] = relief.ceilings(x, y);
        let start = (self.eye[2] - top) / -direction[2];
        let depth = if top > 0.0 { first_crossing(relief, &at, start, ground) } else { ground };
        let length = dot(direction, direction).sqrt();
        Hit { position: at(depth), depth, to_eye: direction.map(|c| -c / length) }
    }

    /// Place on the table's axes that pixel (u, v) sees at a depth, mm.
    pub(super) fn position(&self, u: usize, v: usize, depth: f32) -> [f32; 3] {
        let seen = self.direction(u, v);
        [0, 1, 2].map(|i| self.eye[i] + depth * dot(self.axes[i], seen))
    }

    /// Direction from a place on the table to the projector, of length 1.
    pub(super) fn to_projector(&self, position: [f32; 3]) -> [f32; 3] {
        unit([0, 1, 2].map(|i| self.projector[i] - position[i]))
    }
}

/// Depth of the first place between `start` (above everything) and `ground` where the ray is
/// not above the relief: steps of a cell, then halving.
fn first_crossing(relief: &Relief, at: &impl Fn(f32) -> [f32; 3], start: f32, ground: f32) -> f32 {
    let above = |t: f32| {
        let [x, y, height] = at(t);
        height > relief.height(x, y)
    };
    let ([ax, ay, _], [bx, by, _]) = (at(ground - 1.0), at(ground));
    // The steps are counted from the ground, so that one place is found in one way whatever
    // else, higher or lower, stands near it.
    let step = (relief.cell / (ax - bx).hypot(ay - by).max(1e-6)).min(LONGEST_STEP_MM);
    let mut steps = ((ground - start) / step).ceil();
    let (mut near, mut far) = (ground - steps * step, ground - (steps - 1.0) * step);
    while steps > 1.0 && above(far) {
        steps -= 1.0;
        near = far;
        far = ground - (steps - 1.0) * step;
    }
    for _ in 0..9 {
        let middle = 0.5 * (near + far);
        if above(middle) {
            near = middle;
        } else {
            far = middle;
        }
    }
    0.5 * (near + far)
}

/// How much of a source in direction `towards` a place sees, 0..1; `softness` is the tangent
/// of the angle over which a source fades behind an edge.
pub(super) fn light_reaching(relief: &Relief, from: [f32; 3], towards: [f32; 3], softness: f32) -> f32 {
    let [x, y, height] = from;
    let [steep, slanting] = relief.ceilings(x, y);
    let flat = towards[0].hypot(towards[1]).max(1e-3);
    let (mut step, rise) = (1.5 * relief.cell, towards[2] / flat);
    let top = if rise > STEEP_RISE { steep } else { slanting };
    let direction = [towards[0] / flat, towards[1] / flat];
    let (mut clearance, mut walked) = (1.0_f32, step);
    while height + walked * rise < top && clearance > 0.0 {
        let over = relief.height(x + walked * direction[0], y + walked * direction[1]);
        // The lift keeps a slope from shading itself through the grid's own roughness.
        let gap = height + walked * rise + 0.15 - over;
        clearance = clearance.min(0.5 + gap / (walked * softness));
        // Far edges throw blurred shadows, which longer steps still find.
        step *= 1.12;
        walked += step;
    }
    smooth_step(0.0, 1.0, clearance)
}

/// Sum of products.
pub(super) fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// `a` brought to length 1.
pub(super) fn unit(a: [f32; 3]) -> [f32; 3] {
    let length = dot(a, a).sqrt();
    a.map(|c| c / length)
}

/// Cross product.
fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::super::parts::Sample;
    use super::*;

    fn camera() -> Camera {
        let draw = || Draw::new([9; 4]);
        Camera::mount(Intrinsics::new(120, 160), &mut draw(), &mut draw())
    }

    #[test]
    fn axes_are_orthonormal_and_up_faces_the_camera() {
        let camera = camera();
        for i in 0..3 {
            for j in 0..3 {
                let wanted = f32::from(u8::from(i == j));
                assert!((dot(camera.axes[i], camera.axes[j]) - wanted).abs() < 1e-5);
            }
        }
        assert!(camera.axes[2][2] < -0.99 && camera.eye[2] > 500.0);
    }

    #[test]
    fn a_ray_meets_the_empty_table_and_the_top_of_a_slab() {
        let camera = camera();
        let mut relief = Relief::table(120, 160, 196.0);
        assert!(camera.look(&relief, 80, 60).position[2].abs() < 1e-3);
        relief.bake([0.0; 2], 50.0, |_, _| Sample { height: 20.0, albedo: [0.5; 3], gloss: 0.0 });
        let hit = camera.look(&relief, 80, 60);
        assert!((hit.position[2] - 20.0).abs() < 0.05, "{}", hit.position[2]);
    }

    #[test]
    fn a_wall_keeps_light_from_what_lies_behind_it() {
        let mut relief = Relief::table(120, 120, 196.0);
        let wall = |x: f32, _: f32| Sample { height: if x.abs() < 2.0 { 30.0 } else { 0.0 }, ..NO_SKIN };
        relief.bake([0.0; 2], 50.0, wall);
        let from_left = unit([-1.0, 0.0, 1.0]);
        assert!(light_reaching(&relief, [10.0, 0.0, 0.0], from_left, 0.05) < 0.1);
        assert!(light_reaching(&relief, [-10.0, 0.0, 0.0], from_left, 0.05) > 0.9);
    }

    const NO_SKIN: Sample = Sample { height: 0.0, albedo: [0.0; 3], gloss: 0.0 };
}
