//! [`Panel`]: points drawn as balls, seen from one direction without perspective.
//!
//! A depth buffer decides what hides what. Panels are drawn at [`SAMPLES`] times their size and averaged, so
//! that edges are smooth.

use zal::scan::ColorImage;

use crate::pseudo::vector::{cross, dot, unit};

/// Samples along each axis of a pixel.
const SAMPLES: usize = 3;
/// Behind everything.
pub(super) const PAPER: [u8; 3] = [250, 250, 248];
/// Towards the light in the view: from the upper left, and from the viewer.
const LIGHT: [f32; 3] = [-0.45, -0.55, -0.70];
/// Share of a ball's colour that is left on its unlit side.
const AMBIENT: f32 = 0.45;
/// Share of the paper mixed into what lies half a panel farther away than the centre.
const HAZE: f32 = 0.45;

/// A direction to look in, what is in the middle, and how large.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// To the right of the picture.
    pub(super) right: [f32; 3],
    /// Downward in the picture.
    pub(super) down: [f32; 3],
    /// Away from the viewer.
    pub(super) away: [f32; 3],
    /// What is drawn in the middle, metres.
    pub(super) centre: [f32; 3],
    /// Metres from the middle to the edge.
    pub(super) reach_m: f32,
}

impl View {
    /// As the camera sees it.
    pub(super) const fn camera(centre: [f32; 3], reach_m: f32) -> Self {
        Self { right: [1.0, 0.0, 0.0], down: [0.0, 1.0, 0.0], away: [0.0, 0.0, 1.0], centre, reach_m }
    }

    /// From the side of a surface with this normal (towards the camera), a little from above: the normal
    /// points upward, the camera's right stays right.
    pub(super) fn side(centre: [f32; 3], normal: [f32; 3], reach_m: f32) -> Self {
        const ELEVATION_RAD: f32 = 0.3;
        let along = if normal[0].abs() > 0.95 { [0.0, 1.0, 0.0] } else { [1.0, 0.0, 0.0] };
        let lean = dot(along, normal);
        let right = unit([0, 1, 2].map(|i| along[i] - lean * normal[i]));
        let back = cross(right, normal);
        let (sin, cos) = ELEVATION_RAD.sin_cos();
        // The camera looks along +z, so that back is away from the viewer for a normal of -z.
        let away = [0, 1, 2].map(|i| cos * -back[i] - sin * normal[i]);
        let down = cross(away, right);
        Self { right, down, away, centre, reach_m }
    }

    /// Right, down and away of a point, in reaches from the middle.
    fn place(&self, point: [f32; 3]) -> [f32; 3] {
        let offset = [0, 1, 2].map(|i| point[i] - self.centre[i]);
        [self.right, self.down, self.away].map(|axis| dot(offset, axis) / self.reach_m)
    }
}

/// A square picture being drawn.
pub(super) struct Panel {
    side: usize,
    view: View,
    color: Vec<[f32; 3]>,
    depth: Vec<f32>,
}

impl Panel {
    /// An empty panel of `side` pixels.
    pub(super) fn new(side: usize, view: View) -> Self {
        let side = side * SAMPLES;
        let paper = PAPER.map(f32::from);
        Self { side, view, color: vec![paper; side * side], depth: vec![f32::INFINITY; side * side] }
    }

    /// Draws a lit ball.
    pub(super) fn ball(&mut self, point: [f32; 3], radius_m: f32, color: [u8; 3]) {
        let [_, _, away] = self.view.place(point);
        let radius = radius_m / self.view.reach_m;
        self.cover(point, radius_m, |x, y| {
            let z = -(1.0 - x * x - y * y).max(0.0).sqrt();
            Some((hazed(shaded(color, dot([x, y, z], LIGHT)), away), away + z * radius))
        });
    }

    /// Draws a flat dot lit like a surface of this normal (in the coordinates of the points).
    pub(super) fn dot(&mut self, point: [f32; 3], radius_m: f32, color: [u8; 3], normal: [f32; 3]) {
        let away = self.view.place(point)[2];
        let seen = [self.view.right, self.view.down, self.view.away].map(|axis| dot(normal, axis));
        let lit = shaded(color, dot(seen, LIGHT));
        self.cover(point, radius_m, |_, _| Some((lit, away)));
    }

    /// Draws a ring: something that was here.
    pub(super) fn ring(&mut self, point: [f32; 3], radius_m: f32, color: [u8; 3]) {
        const INNER_SQ: f32 = 0.55;
        let away = self.view.place(point)[2];
        self.cover(point, radius_m, |x, y| {
            (x * x + y * y > INNER_SQ).then(|| (hazed(color.map(f32::from), away), away))
        });
    }

    /// Paints the samples within a radius of a point: `paint` gets the place within the circle (-1..1) and
    /// gives colour and depth.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a panel is hundreds of samples wide; places beyond it are clamped"
    )]
    fn cover(&mut self, point: [f32; 3], radius_m: f32, paint: impl Fn(f32, f32) -> Option<([f32; 3], f32)>) {
        let half = self.side as f32 / 2.0;
        let [right, down, _] = self.view.place(point);
        let centre = [right, down].map(|c| half + c * half);
        let radius = (radius_m / self.view.reach_m * half).max(0.5);
        let side = self.side;
        let along = |c: f32| {
            let edge = |place: f32| place.clamp(0.0, side as f32) as usize;
            edge(c - radius)..edge(c + radius + 1.0)
        };
        for row in along(centre[1]) {
            for column in along(centre[0]) {
                let x = (column as f32 + 0.5 - centre[0]) / radius;
                let y = (row as f32 + 0.5 - centre[1]) / radius;
                let index = row * side + column;
                if x * x + y * y <= 1.0
                    && let Some((color, depth)) = paint(x, y)
                    && depth < self.depth[index]
                {
                    self.color[index] = color;
                    self.depth[index] = depth;
                }
            }
        }
    }

    /// The picture.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "means of levels 0..255"
    )]
    pub(super) fn finish(self) -> ColorImage {
        let side = self.side / SAMPLES;
        let mean = |i: usize| {
            let first = i / side * SAMPLES * self.side + i % side * SAMPLES;
            let samples = (0..SAMPLES * SAMPLES).map(|s| first + s / SAMPLES * self.side + s % SAMPLES);
            let sum = samples.fold([0.0; 3], |sum: [f32; 3], s| [0, 1, 2].map(|c| sum[c] + self.color[s][c]));
            sum.map(|c| (c / (SAMPLES * SAMPLES) as f32).round().clamp(0.0, 255.0) as u8)
        };
        ColorImage { height: side, width: side, pixels: (0..side * side).map(mean).collect() }
    }
}

/// A colour under a light of -1..1.
fn shaded(color: [u8; 3], light: f32) -> [f32; 3] {
    let level = AMBIENT + (1.0 - AMBIENT) * light.max(0.0);
    color.map(|c| f32::from(c) * level)
}

/// A colour as it looks at a depth, in reaches from the middle: what is far is pale.
fn hazed(color: [f32; 3], away: f32) -> [f32; 3] {
    let share = (away * HAZE).clamp(0.0, HAZE);
    [0, 1, 2].map(|c| color[c] + (f32::from(PAPER[c]) - color[c]) * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_ball_hides_the_farther_one_from_every_order() {
        let view = View::camera([0.0, 0.0, 1.0], 1.0);
        let draw = |order: [usize; 2]| {
            let balls = [([0.0, 0.0, 0.9], [255, 0, 0]), ([0.0, 0.0, 1.1], [0, 0, 255])];
            let mut panel = Panel::new(21, view);
            order.iter().for_each(|i| panel.ball(balls[*i].0, 0.3, balls[*i].1));
            panel.finish().pixels
        };
        assert_eq!(draw([0, 1]), draw([1, 0]));
        let middle = draw([0, 1])[10 * 21 + 10];
        assert!(middle[0] > 100 && middle[2] < 60, "{middle:?}");
        assert_eq!(draw([0, 1])[0], PAPER);
    }

    #[test]
    fn the_side_view_has_the_normal_upward_and_is_no_mirror() {
        for normal in [[0.0, 0.0, -1.0], unit([0.4, -0.3, -0.8]), unit([-0.99, 0.0, -0.1])] {
            let view = View::side([0.0; 3], normal, 1.0);
            assert!(view.place(normal)[1] < -0.9, "upward: {:?}", view.place(normal));
            assert!(
                dot(cross(view.right, view.down), view.away) > 0.999,
                "right, down, away turn as the camera's"
            );
            assert!(view.place(normal)[0].abs() < 1e-6);
        }
    }
}
