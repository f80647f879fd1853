//! The sensor's own marks: noise, quantisation, missing points, colour noise.
//!
//! All of it depends on seed, session and pixel only, never on what is seen there, so a part
//! and its twin without the defect are equal wherever the defect changed nothing.

use rayon::prelude::*;

use super::draw::Draw;
use super::frame::{Frame, Pixel};
use super::noise::{coordinate, fractal, value};

/// Depth is a multiple of this, mm.
const DEPTH_STEP_MM: f32 = 0.02;

/// A sensor in one session.
#[derive(Debug, Clone)]
pub(super) struct Sensor {
    key: [u64; 4],
    seed: u32,
    /// Deviation of the depth noise that is new at each pixel, mm.
    noise_mm: f32,
    /// Size of the depth noise shared by neighbours, mm.
    wave_mm: f32,
    /// Probability that a point is missing for no reason.
    dropout: f32,
    /// Level of the patch noise above which whole patches are missing.
    patch_level: f32,
    /// Pixels per mm on the table, to give patches the same size at all resolutions.
    scale: f32,
    /// Share of the width that the projector does not reach at the right.
    dark_share: f32,
}

/// A measured pixel: point in metres (origin when missing) and colour.
pub(super) type Reading = ([f32; 3], [u8; 3]);

impl Sensor {
    /// The sensor as it is in this session.
    pub(super) fn new(key: [u64; 4], session: &mut Draw, longer_side: usize) -> Self {
        let missing = session.log_range(0.5, 2.0);
        Self {
            key,
            seed: Draw::new(key).bits(),
            noise_mm: session.range(0.035, 0.06),
            wave_mm: session.range(0.02, 0.045),
            dropout: 0.004 * missing,
            patch_level: 0.86 - 0.06 * missing,
            scale: 170.0 / coordinate(longer_side),
            dark_share: session.range(0.0, 0.02),
        }
    }

    /// Reads a frame; `direction` gives the ray of column u and row v with z = 1.
    pub(super) fn read(
        &self,
        frame: &Frame,
        width: usize,
        direction: impl Fn(usize, usize) -> [f32; 3] + Sync,
    ) -> Vec<Reading> {
        let mut readings = vec![Reading::default(); frame.pixels.len()];
        let rows = readings.par_chunks_mut(width).zip(frame.pixels.par_chunks(width)).enumerate();
        rows.for_each(|(v, (readings, pixels))| {
            let [a, b, c, d] = self.key;
            let mut draw = Draw::new([a, b, c, d ^ (coordinate_key(v) << 40)]);
            for (u, (reading, pixel)) in readings.iter_mut().zip(pixels).enumerate() {
                let lit = coordinate(u) < coordinate(width) * (1.0 - self.dark_share);
                *reading = self.measure(pixel, [u, v], direction(u, v), &mut draw);
                if !lit {
                    reading.0 = [0.0; 3];
                }
            }
        });
        readings
    }

    /// One pixel. It takes the same draws whatever it sees.
    fn measure(&self, pixel: &Pixel, [u, v]: [usize; 2], direction: [f32; 3], draw: &mut Draw) -> Reading {
        let (noise, luck, grain) = (draw.normal(), draw.unit(), draw.normal());
        let (x, y) = (coordinate(u), coordinate(v));
        let wave = value(self.seed, x * 0.31, y * 0.31) + 0.8 * value(self.seed ^ 1, x * 0.05, y * 0.05);
        let patch = fractal(self.seed ^ 2, x * self.scale * 0.45, y * self.scale * 0.45, 2);
        let depth = pixel.depth + self.noise_mm * noise + self.wave_mm * wave;
        let depth = (depth / DEPTH_STEP_MM).round() * DEPTH_STEP_MM * 1e-3;
        let kept = luck < pixel.measured * (1.0 - self.dropout) && patch < self.patch_level;
        let point = if kept { direction.map(|c| c * depth) } else { [0.0; 3] };
        let tint = [0.4, -0.2, 0.3].map(|c| c * wave);
        (point, [0, 1, 2].map(|c| level(pixel.color[c] + 1.6 * grain + tint[c])))
    }
}

/// Row number as part of a stream's key; never the key of the seed itself.
fn coordinate_key(row: usize) -> u64 {
    u64::try_from(row).unwrap_or(0xFF_FFFE) + 1
}

/// A level rounded to 8 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..255 before")]
pub(super) fn level(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}
