//! [`Flaw`]: one defect, placed on one piece, as a change of what is sampled there.
//!
//! Sizes are drawn log-uniformly from one patch of the detector (about 3.4 mm) upward, so
//! small defects are as frequent as large ones. Depths stay above the sensor's noise.

use std::f32::consts::TAU;

use super::draw::Draw;
use super::noise::{fractal, mix, mix_color, scale_color, smooth_step, value};
use super::parts::Sample;
use super::{Defect, Family};

/// A defect with all its dimensions, mm.
#[derive(Debug, Clone)]
pub(super) struct Flaw {
    pub(super) defect: Defect,
    /// Where it is, on the table.
    pub(super) centre: [f32; 2],
    /// Its own first axis: along a crack, scratch or cut; outwards at an edge.
    axis: [f32; 2],
    /// Half its length or its radius.
    pub(super) size: f32,
    /// Half its width, where it has one.
    width: f32,
    depth: f32,
    aspect: f32,
    seed: u32,
    color: [f32; 3],
    bend: Bend,
}

/// How a bent part is deformed, in the part's own plane.
#[derive(Debug, Clone, Copy)]
enum Bend {
    /// The end of a long part beyond `start` turns aside.
    End { start: f32, curvature: f32 },
    /// The outline of a round part is pushed in at `at`.
    Push { at: [f32; 2], inward: [f32; 2], spread: f32 },
}

/// Colours of foreign matter in linear light: swarf, rubber, paint, plastic, wood.
const FOREIGN: [[f32; 3]; 6] = [
    [0.62, 0.62, 0.64],
    [0.02, 0.02, 0.02],
    [0.50, 0.06, 0.05],
    [0.08, 0.28, 0.50],
    [0.10, 0.42, 0.12],
    [0.62, 0.48, 0.10],
];

impl Flaw {
    /// Draws the defect's dimensions; its place is set later.
    pub(super) fn draw(defect: Defect, family: Family, draw: &mut Draw) -> Self {
        let size = Self::draw_size(defect, draw);
        let angle = draw.range(0.0, TAU);
        let width = match defect {
            Defect::Crack => draw.range(0.45, 0.8),
            Defect::Scratch => draw.range(0.4, 0.7),
            _ => draw.range(0.8, 1.8),
        };
        let depth = match defect {
            Defect::Bump | Defect::Dent => draw.range(0.25, 0.5) * size.min(6.0) + 0.4,
            Defect::Hole => draw.log_range(4.0, 25.0),
            Defect::Crack => draw.range(1.2, 3.0),
            Defect::Scratch => draw.range(0.3, 0.55),
            Defect::Cut => draw.range(3.0, 8.0),
            _ => draw.range(0.6, 1.2) * size.min(5.0),
        };
        let aspect =
            if defect == Defect::ForeignParticle { draw.log_range(1.0, 3.5) } else { draw.range(1.0, 1.6) };
        let (seed, color) = (draw.bits(), draw.pick(&FOREIGN));
        let bend = Bend::draw(family, draw);
        Self {
            defect,
            centre: [0.0; 2],
            axis: [angle.cos(), angle.sin()],
            size,
            width,
            depth,
            aspect,
            seed,
            color,
            bend,
        }
    }

    fn draw_size(defect: Defect, draw: &mut Draw) -> f32 {
        match defect {
            Defect::Hole => draw.log_range(1.8, 5.0),
            Defect::Crack | Defect::Scratch => draw.log_range(5.0, 18.0),
            Defect::Cut => draw.log_range(5.0, 12.0),
            Defect::MissingPiece => draw.log_range(3.5, 13.0),
            Defect::MissingThread => draw.log_range(4.0, 11.0),
            Defect::ForeignParticle => draw.log_range(1.8, 5.5),
            Defect::Stain => draw.log_range(2.2, 10.0),
            Defect::Bump | Defect::Dent | Defect::Bend => draw.log_range(1.9, 9.0),
        }
    }

    /// Puts the defect somewhere.
    pub(super) fn place(&mut self, centre: [f32; 2], axis: Option<[f32; 2]>) {
        self.centre = centre;
        self.axis = axis.unwrap_or(self.axis);
    }

    /// Nothing further than this from the centre is sampled differently, mm.
    pub(super) fn reach(&self) -> f32 {
        if self.defect == Defect::Bend { 200.0 } else { 1.6 * self.size + 2.0 }
    }

    /// Where a place of the deformed part was before, in the part's own plane.
    pub(super) fn unbend(&self, x: f32, y: f32) -> [f32; 2] {
        if self.defect == Defect::Bend { self.bend.undo(x, y) } else { [x, y] }
    }

    /// How much of the skin's relief is left at a place of the table, 0..1.
    pub(super) fn detail(&self, x: f32, y: f32) -> f32 {
        if self.defect != Defect::MissingThread {
            return 1.0;
        }
        smooth_step(0.8, 1.0, self.distance(x, y))
    }

    /// Along and across the defect, mm.
    fn local(&self, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        [dx * self.axis[0] + dy * self.axis[1], dy * self.axis[0] - dx * self.axis[1]]
    }

    /// Distance from the centre: 1 at the defect's irregular outline.
    fn distance(&self, x: f32, y: f32) -> f32 {
        let [a, b] = self.local(x, y);
        let (a, b) = (a / self.size, b * self.aspect / self.size);
        a.hypot(b) * (1.0 + 0.22 * fractal(self.seed, a * 1.4, b * 1.4, 2))
    }

    /// What is seen at a place of the table, given what would be seen without the defect.
    pub(super) fn edit(&self, sample: Sample, x: f32, y: f32) -> Sample {
        let on_part = sample.height > 0.0;
        match self.defect {
            Defect::ForeignParticle => self.add_particle(sample, x, y),
            Defect::Bend | Defect::MissingThread => sample,
            _ if !on_part => sample,
            Defect::Bump => self.raise(sample, self.depth, x, y),
            Defect::Dent => self.raise(sample, -self.depth, x, y),
            Defect::Hole => self.drill(sample, x, y),
            Defect::Crack => self.crack(sample, x, y),
            Defect::Scratch => self.scratch(sample, x, y),
            Defect::Cut => self.cut(sample, x, y),
            Defect::MissingPiece => self.chip(sample, x, y),
            Defect::Stain => self.stain(sample, x, y),
        }
    }

    fn raise(&self, sample: Sample, depth: f32, x: f32, y: f32) -> Sample {
        let distance = self.distance(x, y).min(1.0);
        let dome = (1.0 - distance * distance).powi(2);
        Sample { height: (sample.height + depth * dome).max(0.2), ..sample }
    }

    fn drill(&self, sample: Sample, x: f32, y: f32) -> Sample {
        let inside = smooth_step(1.0, 0.86, self.distance(x, y));
        if inside <= 0.0 {
            return sample;
        }
        let floor = (sample.height - self.depth).max(0.3);
        let albedo = scale_color(sample.albedo, 1.0 - 0.6 * inside);
        Sample { height: mix(sample.height, floor, inside), albedo, gloss: sample.gloss * (1.0 - inside) }
    }

    fn crack(&self, sample: Sample, x: f32, y: f32) -> Sample {
        let [a, b] = self.local(x, y);
        let line = |a: f32, seed: u32| 0.22 * self.size * fractal(seed, a / self.size * 2.5, 0.0, 4);
        let taper = (1.0 - (a / self.size).abs()).max(0.0).powf(0.4);
        let main = (b - line(a, self.seed)).abs() / (self.width * taper).max(1e-3);
        // A branch leaves the main line and dies sooner.
        let from = a - 0.1 * self.size;
        let lead = line(0.1 * self.size, self.seed) + 0.6 * from + line(from, self.seed ^ 7)
            - line(0.0, self.seed ^ 7);
        let thin = 0.75 * self.width * (1.0 - from / (0.55 * self.size)).max(0.0).powf(0.4);
        let branch = if from > 0.0 { (b - lead).abs() / thin.max(1e-3) } else { 9.0 };
        let open = if taper > 0.0 { smooth_step(1.0, 0.35, main.min(branch)) } else { 0.0 };
        let albedo = scale_color(sample.albedo, 1.0 - 0.75 * open);
        Sample {
            height: (sample.height - self.depth * open).max(0.2),
            albedo,
            gloss: sample.gloss * (1.0 - open),
        }
    }

    fn scratch(&self, sample: Sample, x: f32, y: f32) -> Sample {
        let [a, b] = self.local(x, y);
        let line = |offset: f32, seed: u32| {
            let middle =
                offset + 0.08 * self.size * value(seed, a / self.size, 0.0) + 0.3 * offset * a / self.size;
            let end = self.size * (1.0 - 0.3 * value(seed, 5.0, 0.5).abs());
            let deep = smooth_step(end, 0.8 * end, a.abs()) * (0.8 + 0.2 * value(seed, a * 0.9, 3.0));
            smooth_step(self.width, 0.3 * self.width, (b - middle).abs()) * deep
        };
        let second = 0.8 * line(2.4 * self.width * self.aspect, self.seed ^ 1);
        let open = line(0.0, self.seed).max(second);
        // Bare material under dull skin is brighter; on bright parts the groove is dark with dirt.
        let bare = if sample.albedo[1] < 0.3 { [0.62, 0.61, 0.58] } else { scale_color(sample.albedo, 0.35) };
        let albedo = mix_color(sample.albedo, bare, 0.7 * open);
        Sample { height: (sample.height - self.depth * open).max(0.2), albedo, ..sample }
    }

    fn cut(&self, sample: Sample, x: f32, y: f32) -> Sample {
        let [a, b] = self.local(x, y);
        let shallow = smooth_step(-self.size, -0.4 * self.size, a);
        let wander = 0.3 * value(self.seed, a * 0.25, 0.0);
        let open = smooth_step(1.0, 0.3, (b - wander).abs() / self.width) * shallow;
        let open = if a.hypot(b) > 1.5 * self.size { 0.0 } else { open };
        let fresh = mix_color(scale_color(sample.albedo, 0.55), [0.3, 0.29, 0.27], 0.25);
        let albedo = mix_color(sample.albedo, fresh, open);
        Sample { height: (sample.height - self.depth * open).max(0.2), albedo, ..sample }
    }

    fn chip(&self, sample: Sample, x: f32, y: f32) -> Sample {
        let distance = self.distance(x, y);
        if distance >= 1.0 {
            return sample;
        }
        let rough = fractal(self.seed ^ 3, x * 0.6, y * 0.6, 3);
        let left = smooth_step(0.3, 1.0, distance).sqrt();
        let height = sample.height * left + 0.9 * rough * (1.0 - left);
        if distance < 0.42 || height < 0.4 {
            return Sample { height: 0.0, ..sample };
        }
        // The fracture shows the unpainted, unpolished inside.
        let fresh = mix_color(sample.albedo, [0.38, 0.36, 0.33], 0.4);
        let albedo = scale_color(mix_color(fresh, sample.albedo, left * left), 1.0 + 0.25 * rough);
        Sample { height: height.min(sample.height), albedo, gloss: 0.1 * sample.gloss }
    }

    fn add_particle(&self, sample: Sample, x: f32, y: f32) -> Sample {
        let distance = self.distance(x, y);
        if distance >= 1.0 {
            return sample;
        }
        let facet = 0.12 * fractal(self.seed ^ 4, x * 0.7, y * 0.7, 2);
        let rise = self.depth * ((1.0 - distance * distance).sqrt() * (0.9 + facet)).max(0.1);
        let albedo = scale_color(self.color, 1.0 + 2.0 * facet);
        Sample { height: sample.height.max(0.0) + rise, albedo, gloss: 0.25 }
    }

    fn stain(&self, sample: Sample, x: f32, y: f32) -> Sample {
        let ragged = 0.35 * fractal(self.seed ^ 6, x * 0.5, y * 0.5, 3);
        let distance = self.distance(x, y) + ragged;
        // Like a dried drop: most of the colour at its rim.
        let body = smooth_step(1.0, 0.85, distance) * (0.62 + 0.25 * smooth_step(0.5, 0.95, distance));
        let dark = sample.albedo[1] > 0.13;
        let tint = if dark { [0.035, 0.028, 0.02] } else { [0.42, 0.36, 0.24] };
        let body = if self.distance(x, y) > 1.5 { 0.0 } else { body };
        Sample {
            albedo: mix_color(sample.albedo, tint, body),
            gloss: sample.gloss * (1.0 - 0.6 * body),
            ..sample
        }
    }
}

impl Bend {
    fn draw(family: Family, draw: &mut Draw) -> Self {
        let side = if draw.chance(0.5) { 1.0 } else { -1.0 };
        let (start, amount, angle) = (draw.range(-12.0, 8.0), draw.log_range(3.0, 9.0), draw.range(0.0, TAU));
        let spread = draw.range(12.0, 18.0);
        match family {
            Family::Gland | Family::Cone | Family::Rod | Family::Rope => {
                Self::End { start, curvature: side * amount / (40.0 - start).powi(2) }
            }
            _ => {
                let inward = [-angle.cos(), -angle.sin()];
                Self::Push { at: inward.map(|c| -40.0 * c), inward: inward.map(|c| c * amount), spread }
            }
        }
    }

    fn undo(self, x: f32, y: f32) -> [f32; 2] {
        match self {
            Self::End { start, curvature } => {
                let beyond = (x - start).max(0.0);
                let slope = 2.0 * curvature * beyond;
                // Across a bent bar its width is measured at right angles to the bend.
                [x, (y - curvature * beyond * beyond) / (1.0 + slope * slope).sqrt()]
            }
            Self::Push { at, inward, spread } => {
                let square = (x - at[0]).powi(2) + (y - at[1]).powi(2);
                let share = (-square / (2.0 * spread * spread)).exp();
                [x - inward[0] * share, y - inward[1] * share]
            }
        }
    }
}
