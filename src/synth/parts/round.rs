//! Parts that turn about the viewing axis: ring, disc, tyre, ball.

use std::f32::consts::TAU;

use super::super::noise::{floor, fractal, hash, mix_color, scale_color, smooth_step, triangle};
use super::super::surface::{Finish, Surface};
use super::{Draws, Sample, arc};

/// A torus: sealing ring, washer, bagel.
#[derive(Debug)]
pub(crate) struct Ring {
    radius: f32,
    tube: f32,
    flatness: f32,
    wobble: f32,
    seed: u32,
    finish: Finish,
}

impl Ring {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let surfaces = [Surface::Smooth, Surface::Rough, Surface::Printed, Surface::Knurled];
        Self {
            radius: draws.size(27.0, 33.0),
            tube: draws.size(9.0, 12.5),
            flatness: draws.size(0.8, 1.0),
            wobble: draws.piece.range(0.0, 0.015),
            seed: draws.piece.bits(),
            finish: Finish::draw(&mut draws.product, &surfaces),
        }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        let (rho, theta) = (x.hypot(y), y.atan2(x));
        let tube = self.tube * (1.0 + self.wobble * (2.0 * theta).sin());
        let offset = rho - self.radius;
        if offset.abs() > tube + 0.3 {
            return Sample::NONE;
        }
        let (s, t) = (self.finish.around(theta, self.radius), (offset / tube).clamp(-1.0, 1.0).asin() * tube);
        let Some(rise) = arc(tube + self.finish.relief(s, t, detail), offset) else { return Sample::NONE };
        let low = 0.12 * fractal(self.seed, x * 0.08, y * 0.08, 2);
        let height = self.flatness * (tube * 0.9 + rise) + low;
        Sample { height, albedo: self.finish.paint(s, t, detail), gloss: self.finish.gloss }
    }
}

/// A turned flange: rim, hub with bore, bolt holes.
#[derive(Debug)]
pub(crate) struct Disc {
    radius: f32,
    thickness: f32,
    rim: f32,
    hub: f32,
    hub_height: f32,
    bore: f32,
    holes: f32,
    hole_radius: f32,
    finish: Finish,
}

impl Disc {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let radius = draws.size(36.0, 43.0);
        let mut finish =
            Finish::draw(&mut draws.product, &[Surface::Threaded, Surface::Threaded, Surface::Knurled]);
        finish.depth *= 0.55;
        Self {
            radius,
            thickness: draws.size(8.0, 12.0),
            rim: draws.size(1.5, 4.0),
            hub: radius * draws.size(0.27, 0.34),
            hub_height: draws.size(3.0, 8.0),
            bore: radius * draws.size(0.10, 0.16),
            holes: draws.product.pick(&[4.0, 5.0, 6.0, 8.0]),
            hole_radius: draws.size(2.6, 3.8),
            finish,
        }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        let (rho, theta) = (x.hypot(y), y.atan2(x));
        if rho > self.radius || rho < self.bore || self.in_hole(rho, theta) {
            return Sample::NONE;
        }
        let rim_start = self.radius * 0.84;
        let on_web =
            smooth_step(self.hub, self.hub + 1.2, rho) * smooth_step(rim_start, rim_start - 1.2, rho);
        let (s, t) = (rho, self.finish.around(theta, self.radius));
        let mut height = self.thickness;
        height += self.hub_height * smooth_step(self.hub + 1.0, self.hub - 1.0, rho);
        height += self.rim * smooth_step(rim_start - 0.8, rim_start + 0.8, rho);
        // Chamfers: no machined edge is left sharp.
        height -= (1.5 - (self.radius - rho)).max(0.0) + (1.0 - (rho - self.bore)).max(0.0);
        height += on_web * self.finish.relief(s, t, detail);
        let plain = self.finish.with_surface(Surface::Smooth).paint(s, t, detail);
        let albedo = mix_color(plain, self.finish.paint(s, t, detail), on_web);
        Sample { height, albedo, gloss: self.finish.gloss }
    }

    fn in_hole(&self, rho: f32, theta: f32) -> bool {
        let step = TAU / self.holes;
        let angle = (theta / step - (theta / step).round()) * step;
        let circle = self.radius * 0.6;
        (rho * angle.cos() - circle).hypot(rho * angle.sin()) < self.hole_radius
    }
}

/// A tyre with lugs, ribbed side wall, raised marks and sometimes a spoked wheel in it.
#[derive(Debug)]
pub(crate) struct Tyre {
    outer: f32,
    inner: f32,
    height: f32,
    lugs: f32,
    skew: f32,
    lug_depth: f32,
    wheel: Option<[f32; 3]>,
    spokes: f32,
    seed: u32,
    finish: Finish,
}

impl Tyre {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let rubber = draws.product.range(0.035, 0.07);
        let finish = Finish::plain(&mut draws.product, [rubber, rubber, rubber * 1.05], 0.12);
        let color =
            draws.product.pick(&[[0.5, 0.5, 0.5], [0.55, 0.45, 0.1], [0.5, 0.1, 0.08], [0.1, 0.2, 0.5]]);
        Self {
            outer: draws.size(41.0, 45.0),
            inner: draws.size(19.0, 23.0),
            height: draws.size(20.0, 26.0),
            lugs: draws.product.pick(&[22.0, 24.0, 28.0]),
            skew: draws.product.range(-1.1, 1.1),
            lug_depth: draws.size(1.6, 2.4),
            wheel: draws.product.chance(0.6).then_some(color),
            spokes: draws.product.pick(&[5.0, 6.0, 8.0]),
            seed: draws.product.bits(),
            finish,
        }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        let (rho, theta) = (x.hypot(y), y.atan2(x));
        let (middle, half) = ((self.outer + self.inner) * 0.5, (self.outer - self.inner) * 0.5);
        let across = (rho - middle) / half;
        if across > 1.0 {
            return Sample::NONE;
        }
        if across < -1.0 {
            return self.wheel(rho, theta);
        }
        let profile = self.height * (0.42 + 0.58 * (1.0 - across.abs().powf(2.6)).sqrt());
        let relief = self.relief(rho, across, theta);
        let worn = self.lug_depth * -0.55 * smooth_step(0.25, 0.4, across);
        let height = profile + worn + (relief - worn) * detail;
        let (s, t) = (theta * middle, rho);
        let dust = 1.0 + 0.35 * (relief / self.lug_depth).max(-1.0) * detail;
        Sample {
            height,
            albedo: scale_color(self.finish.paint(s, t, detail), dust),
            gloss: self.finish.gloss,
        }
    }

    /// Height of tread, ribs and marks over the carcass, mm.
    fn relief(&self, rho: f32, across: f32, theta: f32) -> f32 {
        let lug_zone = smooth_step(0.26, 0.36, across);
        let phase = theta * self.lugs / TAU + self.skew * across;
        let lug = smooth_step(-0.05, 0.25, triangle(phase) + 0.35);
        // Every second groove reaches further in: the shoulder blocks of an off-road tyre.
        let short = smooth_step(0.5, 0.6, across) * smooth_step(0.55, 0.8, triangle(phase * 2.0 + 0.5));
        let tread = lug_zone * self.lug_depth * ((lug - 1.0) - 0.5 * short);
        let rib = 0.4 * smooth_step(0.5, 0.9, triangle((rho - self.inner) / 2.9));
        let ribs = rib * smooth_step(-0.9, -0.8, across) * smooth_step(-0.4, -0.5, across);
        tread + ribs + 0.55 * self.mark(rho, across, theta)
    }

    /// 1 on the raised letters of the side wall.
    fn mark(&self, rho: f32, across: f32, theta: f32) -> f32 {
        if !(-0.3..0.18).contains(&across) || (theta * 1.5 / TAU * 2.0).sin() < 0.0 {
            return 0.0;
        }
        let (column, row) = (floor(theta * rho.max(30.0).round() / 1.15), floor((across + 0.3) * 8.0));
        let blank = column.rem_euclid(4) == 3;
        f32::from(u8::from(!blank && hash(self.seed, column, row) % 5 > 1))
    }

    /// The wheel inside the tyre.
    fn wheel(&self, rho: f32, theta: f32) -> Sample {
        let Some(color) = self.wheel else { return Sample::NONE };
        let edge = rho / self.inner;
        if edge < 0.17 {
            return Sample::NONE;
        }
        let spoke = triangle(theta * self.spokes / TAU) > -0.1;
        if (0.42..0.8).contains(&edge) && !spoke {
            return Sample { height: 2.0, albedo: scale_color(color, 0.35), gloss: 0.1 };
        }
        let height = self.height * 0.45 + 3.0 * smooth_step(0.4, 0.3, edge);
        Sample { height, albedo: color, gloss: 0.4 }
    }
}

/// A ball, resting in the table's plane.
#[derive(Debug)]
pub(crate) struct Ball {
    radius: f32,
    seam: f32,
    finish: Finish,
}

impl Ball {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let surfaces = [Surface::Smooth, Surface::Rough, Surface::Printed, Surface::Knurled];
        Self {
            radius: draws.size(24.0, 30.0),
            seam: draws.size(5.0, 14.0),
            finish: Finish::draw(&mut draws.product, &surfaces),
        }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        let rho = x.hypot(y);
        let Some(z) = arc(self.radius, rho) else { return Sample::NONE };
        let (s, t) = (x.atan2(z) * self.radius, y.atan2(z) * self.radius);
        // Near the rim the skin is seen edge on; its relief would tear the outline.
        let fade = smooth_step(self.radius, self.radius * 0.9, rho);
        let normal_z = (z / self.radius).max(0.3);
        let curve = (t - self.seam - 4.0 * (s / 14.0).sin()).abs();
        let seam = smooth_step(1.3, 0.5, curve) * fade;
        let relief = fade * self.finish.relief(s, t, detail) - 0.8 * seam;
        let albedo = scale_color(self.finish.paint(s, t, detail), 1.0 - 0.35 * seam);
        Sample { height: self.radius + z + relief / normal_z, albedo, gloss: self.finish.gloss }
    }
}
