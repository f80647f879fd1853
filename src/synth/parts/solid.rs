//! Parts without an axis: block, tuber.

use std::f32::consts::TAU;

use super::super::noise::{fractal, lattice, mix_color, scale_color, smooth_step};
use super::super::surface::{Finish, Surface};
use super::{Draws, Sample};

/// A milled block: rounded edges, a step, a slot, drilled corners.
#[derive(Debug)]
pub(crate) struct Block {
    half: [f32; 2],
    height: f32,
    step: f32,
    step_drop: f32,
    slot: [f32; 2],
    slot_depth: f32,
    hole_radius: f32,
    finish: Finish,
}

impl Block {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let surfaces = [Surface::Smooth, Surface::Rough, Surface::Printed, Surface::Knurled];
        let half = [draws.size(31.0, 39.0), draws.size(20.0, 27.0)];
        Self {
            half,
            height: draws.size(18.0, 27.0),
            step: half[0] * draws.size(0.45, 0.62),
            step_drop: if draws.product.chance(0.7) { draws.size(4.0, 9.0) } else { 0.0 },
            slot: [half[0] * draws.size(0.22, 0.34), half[1] * draws.size(0.2, 0.32)],
            slot_depth: if draws.product.chance(0.6) { draws.size(4.0, 9.0) } else { 0.0 },
            hole_radius: if draws.product.chance(0.7) { draws.size(2.4, 3.6) } else { 0.0 },
            finish: Finish::draw(&mut draws.product, &surfaces),
        }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        let inside = -rounded_box(x, y, self.half, 3.0);
        if inside <= 0.0 || self.in_hole(x, y) {
            return Sample::NONE;
        }
        let edge = 1.8 - (1.8 * 1.8 - (1.8 - inside.min(1.8)).powi(2)).max(0.0).sqrt();
        let step = self.step_drop * smooth_step(self.step - 0.4, self.step + 0.4, x);
        let pocket = rounded_box(x + self.half[0] * 0.2, y, self.slot, self.slot[1] * 0.9);
        let in_slot = smooth_step(0.25, -0.25, pocket);
        let skin = smooth_step(1.0, 2.5, inside) * smooth_step(1.0, 2.0, pocket.abs());
        let height =
            self.height - edge - step - self.slot_depth * in_slot + skin * self.finish.relief(x, y, detail);
        let plain = self.finish.with_surface(Surface::Smooth).paint(x, y, detail);
        let albedo = mix_color(plain, self.finish.paint(x, y, detail), skin * (1.0 - in_slot));
        Sample { height, albedo, gloss: self.finish.gloss }
    }

    fn in_hole(&self, x: f32, y: f32) -> bool {
        let (dx, dy) = (x.abs() - self.half[0] + 7.0, y.abs() - self.half[1] + 7.0);
        dx.hypot(dy) < self.hole_radius
    }
}

/// Signed distance to a rectangle with rounded corners, negative inside.
fn rounded_box(x: f32, y: f32, half: [f32; 2], corner: f32) -> f32 {
    let (dx, dy) = (x.abs() - half[0] + corner, y.abs() - half[1] + corner);
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - corner
}

/// A potato-like solid: every piece is a new shape.
#[derive(Debug)]
pub(crate) struct Tuber {
    axes: [f32; 2],
    height: f32,
    power: f32,
    lobes: [[f32; 2]; 3],
    eyes: [[f32; 3]; 9],
    seed: u32,
    finish: Finish,
}

impl Tuber {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let skins = [[0.42, 0.27, 0.12], [0.50, 0.36, 0.17], [0.36, 0.18, 0.11]];
        let base = draws.product.pick(&skins);
        let finish = Finish::plain(&mut draws.product, base, 0.06).with_surface(Surface::Rough);
        let piece = &mut draws.piece;
        let axes = [piece.range(36.0, 43.0), piece.range(26.0, 32.0)];
        let lobes = std::array::from_fn(|_| [piece.range(0.0, 0.05), piece.range(0.0, TAU)]);
        let eyes = std::array::from_fn(|_| {
            let (angle, share) = (piece.range(0.0, TAU), piece.unit().sqrt() * 0.8);
            [axes[0] * share * angle.cos(), axes[1] * share * angle.sin(), piece.range(1.0, 2.2)]
        });
        let (height, power, seed) = (piece.range(24.0, 30.0), piece.range(2.0, 2.5), piece.bits());
        Self { axes, height, power, lobes, eyes, seed, finish }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        let theta = y.atan2(x);
        let grown: f32 = self
            .lobes
            .iter()
            .zip([1.0, 2.0, 3.0])
            .map(|(lobe, k)| lobe[0] * (k * theta + lobe[1]).sin())
            .sum();
        let (u, v) = (x / (self.axes[0] * (1.0 + grown)), y / (self.axes[1] * (1.0 + grown)));
        let inside = 1.0 - u.abs().powf(self.power) - v.abs().powf(self.power);
        if inside <= 0.0 {
            return Sample::NONE;
        }
        let dome = self.height * (0.5 + 0.5 * inside.powf(1.0 / self.power));
        let low = 1.6 * fractal(self.seed, x * 0.05, y * 0.05, 2) * inside.min(1.0);
        let eye = self.eyes.iter().map(|e| eye_depth(x, y, *e)).fold(0.0, f32::max);
        let skin = self.finish.relief(x, y, detail);
        let spots = smooth_step(0.35, 0.65, fractal(self.seed ^ 5, x * 0.45, y * 0.45, 2));
        let blush = 1.0 + 0.18 * lattice_blush(self.seed, x, y) - 0.35 * spots - 0.4 * eye;
        let albedo = scale_color(self.finish.paint(x, y, detail), blush);
        Sample { height: dome + low + skin - 0.8 * eye, albedo, gloss: self.finish.gloss }
    }
}

/// Depth 0..1 of a tuber's eye: a short crescent.
fn eye_depth(x: f32, y: f32, [ex, ey, radius]: [f32; 3]) -> f32 {
    let (dx, dy) = ((x - ex) / (2.0 * radius), (y - ey) / radius);
    if dx.abs() > 1.5 || dy.abs() > 2.5 {
        return 0.0;
    }
    smooth_step(1.0, 0.2, dx.hypot(dy + dx * dx))
}

/// Broad change of the skin's colour over the piece, -1..1.
fn lattice_blush(seed: u32, x: f32, y: f32) -> f32 {
    0.8 * fractal(seed ^ 9, x * 0.03, y * 0.03, 2) + 0.2 * lattice(seed, 0, 0)
}
