//! [`Finish`]: what a part's skin is like: relief, colour and gloss.
//!
//! A finish is a function of surface coordinates (s along the part, t around it, in mm),
//! so a thread follows the rod it is cut into. `detail` fades the relief: a missing thread
//! is the same skin with less detail.

use super::draw::Draw;
use super::noise::{floor, fractal, hash, mix_color, scale_color, smooth_step, triangle, value};

/// The kinds of skin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    /// Machined or moulded, no visible relief.
    Smooth,
    /// Cast, sanded or organic.
    Rough,
    /// Parallel ridges across s.
    Threaded,
    /// Crossed ridges.
    Knurled,
    /// A colour pattern without relief.
    Printed,
}

/// Colour patterns of a printed skin.
#[derive(Debug, Clone, Copy)]
enum Print {
    Stripes,
    Checks,
    Dots,
    Marks,
}

/// Relief, colour and gloss of a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    pub(super) surface: Surface,
    /// Colour in linear light, 0..1.
    pub(super) base: [f32; 3],
    second: [f32; 3],
    print: Print,
    /// Share of light mirrored, 0..1.
    pub(super) gloss: f32,
    /// Distance of ridges, mm.
    pub(super) pitch: f32,
    /// Height of ridges, mm.
    pub(super) depth: f32,
    seed: u32,
}

/// Colours in linear light with their gloss: what parts are made of.
const MATERIALS: [([f32; 3], f32); 9] = [
    ([0.40, 0.41, 0.42], 0.55),  // steel
    ([0.52, 0.38, 0.14], 0.45),  // brass
    ([0.50, 0.23, 0.12], 0.40),  // copper
    ([0.06, 0.06, 0.065], 0.25), // black plastic
    ([0.09, 0.16, 0.42], 0.30),  // blue plastic
    ([0.45, 0.08, 0.06], 0.30),  // red plastic
    ([0.58, 0.56, 0.50], 0.20),  // ivory
    ([0.12, 0.30, 0.15], 0.25),  // green paint
    ([0.50, 0.36, 0.20], 0.08),  // wood
];

impl Finish {
    /// Draws one of the `allowed` skins on any material.
    pub(super) fn draw(draw: &mut Draw, allowed: &[Surface]) -> Self {
        let surface = draw.pick(allowed);
        let (base, gloss) = draw.pick(&MATERIALS);
        let mut finish = Self::plain(draw, base, gloss);
        finish.surface = surface;
        finish.second = draw.pick(&MATERIALS).0;
        if luminance_gap(finish.base, finish.second) < 0.12 {
            finish.second = if base[1] > 0.3 { [0.05, 0.07, 0.16] } else { [0.6, 0.58, 0.52] };
        }
        if surface == Surface::Knurled {
            (finish.pitch, finish.depth) = (draw.range(2.4, 3.4), draw.range(0.6, 0.9));
        }
        finish
    }

    /// A smooth skin of the given colour.
    pub(super) fn plain(draw: &mut Draw, base: [f32; 3], gloss: f32) -> Self {
        let print = draw.pick(&[Print::Stripes, Print::Checks, Print::Dots, Print::Marks]);
        let (pitch, depth) = (draw.range(2.2, 3.2), draw.range(0.8, 1.2));
        let surface = Surface::Smooth;
        Self { surface, base, second: base, print, gloss, pitch, depth, seed: draw.bits() }
    }

    /// The same with another kind of skin.
    pub(super) const fn with_surface(mut self, surface: Surface) -> Self {
        self.surface = surface;
        self
    }

    /// Surface coordinate around a circle, in mm, stretched so that the pattern closes on itself.
    pub(super) fn around(&self, theta: f32, radius: f32) -> f32 {
        let period = if self.surface == Surface::Printed { 17.0 } else { self.pitch / 0.7 };
        let turns = (std::f32::consts::TAU * radius / period).round().max(1.0);
        theta / std::f32::consts::TAU * turns * period
    }

    /// Height of the skin over the part's nominal surface in mm, at most 0.3.
    pub(super) fn relief(&self, s: f32, t: f32, detail: f32) -> f32 {
        let (full, worn) = match self.surface {
            Surface::Smooth | Surface::Printed => (0.02 * value(self.seed, s * 0.8, t * 0.8), 0.0),
            Surface::Rough => (0.28 * fractal(self.seed, s * 0.35, t * 0.35, 3), 0.0),
            Surface::Threaded | Surface::Knurled => (self.ridge(s, t) - self.depth, -0.6 * self.depth),
        };
        worn + (full - worn) * detail
    }

    /// Height of the ridges, 0 at their root.
    fn ridge(&self, s: f32, t: f32) -> f32 {
        let wave = |phase: f32| (1.5 * triangle(phase)).clamp(-1.0, 1.0) * 0.5 + 0.5;
        match self.surface {
            Surface::Knurled => {
                let (a, b) = ((s + t) / self.pitch * 0.7, (s - t) / self.pitch * 0.7);
                self.depth * wave(a) * wave(b)
            }
            _ => self.depth * wave(s / self.pitch),
        }
    }

    /// Colour in linear light.
    pub(super) fn paint(&self, s: f32, t: f32, detail: f32) -> [f32; 3] {
        let mottle = 1.0 + 0.07 * fractal(self.seed ^ 0x51, s * 0.22, t * 0.22, 2);
        let color = match self.surface {
            Surface::Printed => mix_color(self.base, self.second, self.printed(s, t)),
            // Dirt and shade collect between the ridges.
            Surface::Threaded | Surface::Knurled => {
                scale_color(self.base, 1.0 - 0.3 * detail * (1.0 - self.ridge(s, t) / self.depth))
            }
            Surface::Rough => scale_color(self.base, 1.0 + 0.22 * fractal(self.seed, s * 0.35, t * 0.35, 3)),
            Surface::Smooth => self.base,
        };
        scale_color(color, mottle)
    }

    /// Share of the second colour.
    fn printed(&self, s: f32, t: f32) -> f32 {
        let edge = |v: f32| smooth_step(-0.12, 0.12, v);
        match self.print {
            Print::Stripes => edge(triangle((s + 0.35 * t) / 17.0) + 0.15),
            Print::Checks => edge(triangle(s / 18.0) * triangle(t / 18.0)),
            Print::Dots => {
                let (x, y) = (triangle(s / 12.0), triangle(t / 12.0));
                edge(x + y - 0.75)
            }
            Print::Marks => {
                let (column, row) = (floor(s / 2.2), floor(t / 2.8));
                let band = row.rem_euclid(4) < 2 && column.rem_euclid(11) < 8;
                f32::from(u8::from(band && !hash(self.seed, column, row.div_euclid(4)).is_multiple_of(3)))
            }
        }
    }
}

/// How well two colours can be told apart.
fn luminance_gap(a: [f32; 3], b: [f32; 3]) -> f32 {
    let luminance = |c: [f32; 3]| 0.25 * c[0] + 0.6 * c[1] + 0.15 * c[2];
    (luminance(a) - luminance(b)).abs()
}
