//! Parts that lie on their side along x: gland, cone, rod, rope.

use std::f32::consts::{FRAC_PI_6, TAU};

use super::super::noise::{fractal, mix, mix_color, scale_color, smooth_step, triangle, value};
use super::super::surface::{Finish, Surface};
use super::{Draws, Sample, arc};

/// A cable gland: cable, ribbed cap, hexagon, collar, thread.
#[derive(Debug)]
pub(crate) struct Gland {
    /// Where cable, cap, hexagon, collar, thread start and the thread ends, mm.
    stops: [f32; 6],
    apothem: f32,
    cap: f32,
    thread: f32,
    roll: f32,
    body: Finish,
    cut: Finish,
}

impl Gland {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let mut body = Finish::draw(&mut draws.product, &[Surface::Smooth]);
        let mut cut = body.with_surface(Surface::Threaded);
        let lengths = [
            draws.size(8.0, 14.0),
            draws.size(17.0, 21.0),
            draws.size(9.0, 12.0),
            draws.size(2.2, 3.2),
            draws.size(24.0, 30.0),
        ];
        let mut stops = [-0.5 * lengths.iter().sum::<f32>(); 6];
        for i in 0..5 {
            stops[i + 1] = stops[i] + lengths[i];
        }
        let apothem = draws.size(17.0, 20.0);
        body.gloss = body.gloss.min(0.45);
        (cut.pitch, cut.depth) = (draws.product.range(2.5, 3.3), draws.product.range(1.2, 1.7));
        let (cap, thread) = (apothem * draws.size(0.84, 0.92), apothem * draws.size(0.7, 0.78));
        Self { stops, apothem, cap, thread, roll: draws.piece.range(0.0, TAU), body, cut }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        let [cable, cap, hexagon, collar, thread, end] = self.stops;
        if !(cable..end).contains(&x) {
            return Sample::NONE;
        }
        let (rise, finish) = if x < cap {
            (arc(self.cap * 0.45, y), None)
        } else if x < hexagon {
            (self.cap_rise(x - cap, hexagon - cap, y), Some(&self.body))
        } else if x < collar {
            let chamfer = (1.2 - (x - hexagon)).max(1.2 - (collar - x)).max(0.0);
            (self.hexagon_rise(y).map(|h| h - chamfer), Some(&self.body))
        } else if x < thread {
            (arc(self.apothem * 0.97, y), Some(&self.body))
        } else {
            let angle = (y / self.thread).clamp(-1.0, 1.0).asin() + self.roll;
            let along = x + self.cut.pitch * angle / TAU;
            let chamfer = (2.0 - (end - x)).max(0.0);
            (arc(self.thread + self.cut.relief(along, 0.0, detail) - chamfer, y), Some(&self.cut))
        };
        let Some(rise) = rise else { return Sample::NONE };
        let (albedo, gloss) = finish.map_or(([0.03; 3], 0.1), |finish| {
            let along = x + self.cut.pitch * ((y / self.thread).clamp(-1.0, 1.0).asin() + self.roll) / TAU;
            (finish.paint(if x < thread { x } else { along }, y, detail), finish.gloss)
        });
        Sample { height: self.apothem + rise, albedo, gloss }
    }

    /// Surface of the cap over the axis: a dome with grip ribs.
    fn cap_rise(&self, from_tip: f32, length: f32, y: f32) -> Option<f32> {
        let dome = smooth_step(-0.35 * length, 0.6 * length, from_tip).sqrt();
        let radius = self.cap * dome;
        let angle = (y / radius).clamp(-1.0, 1.0).asin() + self.roll;
        let grip =
            0.9 * smooth_step(0.2, 0.5, from_tip / length) * smooth_step(-0.4, 0.6, (angle * 10.0).sin());
        arc(radius - grip, y)
    }

    /// Surface of the hexagon over the axis: a flat on top, a flat down at either side.
    fn hexagon_rise(&self, y: f32) -> Option<f32> {
        let half_flat = self.apothem * FRAC_PI_6.tan();
        let beyond = y.abs() - half_flat;
        if beyond > half_flat {
            return None;
        }
        Some(self.apothem - beyond.max(0.0) * 3.0_f32.sqrt())
    }
}

/// A truncated cone lying on its side.
#[derive(Debug)]
pub(crate) struct Cone {
    half: f32,
    base: f32,
    tip: f32,
    collar: f32,
    finish: Finish,
}

impl Cone {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let surfaces = [Surface::Smooth, Surface::Rough, Surface::Printed, Surface::Threaded];
        let mut finish = Finish::draw(&mut draws.product, &surfaces);
        finish.pitch *= 1.6;
        Self {
            half: draws.size(36.0, 42.0),
            base: draws.size(20.0, 25.0),
            tip: draws.size(3.5, 7.0),
            collar: draws.size(3.0, 7.0),
            finish,
        }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        if x.abs() > self.half {
            return Sample::NONE;
        }
        let along = (x + self.half) / (2.0 * self.half);
        let on_collar = smooth_step(self.collar + 0.3, self.collar - 0.3, x + self.half);
        let cone = mix(self.base, self.tip, along);
        let nose = (1.0 - (self.half - x)).max(1.2 - (x + self.half)).max(0.0);
        let radius = cone + 1.8 * on_collar - nose;
        let t = (y / radius).clamp(-1.0, 1.0).asin() * radius;
        let relief = (1.0 - on_collar) * self.finish.relief(x, t, detail);
        let Some(rise) = arc(radius + relief, y) else { return Sample::NONE };
        Sample { height: cone + rise, albedo: self.finish.paint(x, t, detail), gloss: self.finish.gloss }
    }
}

/// A threaded or knurled rod with chamfered ends and, sometimes, a plain shank.
#[derive(Debug)]
pub(crate) struct Rod {
    half: f32,
    radius: f32,
    /// The relief starts here.
    shank_end: f32,
    roll: f32,
    finish: Finish,
}

impl Rod {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let mut finish = Finish::draw(&mut draws.product, &[Surface::Threaded, Surface::Knurled]);
        finish.pitch = finish.pitch.max(2.5);
        finish.depth = finish.depth.max(0.9);
        let half = draws.size(38.0, 44.0);
        let plain = draws.product.chance(0.5);
        Self {
            half,
            radius: draws.size(9.0, 13.0),
            shank_end: if plain { -half * draws.product.range(0.1, 0.45) } else { -half },
            roll: draws.piece.range(0.0, TAU),
            finish,
        }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        if x.abs() > self.half || y.abs() > self.radius + 0.3 {
            return Sample::NONE;
        }
        let angle = (y / self.radius).clamp(-1.0, 1.0).asin();
        let cut = smooth_step(self.shank_end - 0.5, self.shank_end + 0.5, x);
        let s = x + self.finish.pitch * (angle + self.roll) / TAU;
        let (s, t) =
            if self.finish.surface == Surface::Knurled { (x, angle * self.radius) } else { (s, 0.0) };
        let chamfer = (2.2 - (self.half - x.abs())).max(0.0);
        let relief = cut * self.finish.relief(s, t, detail) - 0.15 * (1.0 - cut);
        let Some(rise) = arc(self.radius + relief - chamfer, y) else { return Sample::NONE };
        let plain = self.finish.with_surface(Surface::Smooth).paint(x, y, detail);
        let albedo = mix_color(plain, self.finish.paint(s, t, detail), cut);
        Sample { height: self.radius + rise, albedo, gloss: self.finish.gloss }
    }
}

/// A twisted rope in an S.
#[derive(Debug)]
pub(crate) struct Rope {
    half: f32,
    radius: f32,
    strands: f32,
    lay: f32,
    swing: f32,
    wave: f32,
    phase: f32,
    tracer: Option<[f32; 3]>,
    seed: u32,
    finish: Finish,
}

impl Rope {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let colors = [[0.55, 0.48, 0.34], [0.62, 0.60, 0.54], [0.10, 0.22, 0.45], [0.45, 0.30, 0.14]];
        let base = draws.product.pick(&colors);
        let tracer =
            draws.product.chance(0.5).then(|| draws.product.pick(&[[0.4, 0.05, 0.05], [0.05, 0.2, 0.1]]));
        Self {
            half: draws.size(40.0, 44.0),
            radius: draws.size(8.5, 11.0),
            strands: 3.0,
            lay: draws.size(30.0, 38.0),
            swing: draws.piece.range(3.0, 9.0),
            wave: draws.piece.range(0.035, 0.055),
            phase: draws.piece.range(0.0, TAU),
            tracer,
            seed: draws.piece.bits(),
            finish: Finish::plain(&mut draws.product, base, 0.05),
        }
    }

    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        let argument = self.wave * x + self.phase;
        let slope = self.swing * self.wave * argument.cos();
        let across = (y - self.swing * argument.sin()) / (1.0 + slope * slope).sqrt();
        let frayed = 1.5 * value(self.seed, across * 1.5, 0.0);
        if across.abs() > self.radius || x.abs() > self.half + frayed {
            return Sample::NONE;
        }
        let angle = (across / self.radius).clamp(-1.0, 1.0).asin();
        let twist = self.strands * (x / self.lay + angle / TAU);
        let lobe = 2.0 * (twist - twist.floor()) - 1.0;
        let strand = (1.0 - 0.92 * lobe * lobe).max(0.0).sqrt();
        // Yarns run against the strands' twist, nearly along the rope.
        let yarn = triangle(1.9 * lobe - x / 6.0 + angle * 0.8);
        let fibre = fractal(self.seed, x * 0.9 + across, across * 2.5, 2);
        let relief = self.radius * (0.29 * strand - 0.29) + 0.16 * yarn + 0.15 * fibre;
        let worn = -0.12 * self.radius;
        let Some(rise) = arc(self.radius + worn + (relief - worn) * detail, across) else {
            return Sample::NONE;
        };
        let shade = 1.0 - detail * (0.45 * (1.0 - strand) + 0.10 * (1.0 - yarn) - 0.10 * fibre);
        let marked = self.tracer.filter(|_| floor_mod(twist, self.strands) < 1.0 && lobe.abs() < 0.45);
        let base = marked.unwrap_or_else(|| self.finish.paint(x, across, detail));
        Sample {
            height: self.radius * 0.9 + rise,
            albedo: scale_color(base, shade),
            gloss: self.finish.gloss,
        }
    }
}

/// `value` brought into `0..period`.
fn floor_mod(value: f32, period: f32) -> f32 {
    value - (value / period).floor() * period
}
