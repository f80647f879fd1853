//! Shading: what colour a place has under the cell's lamp.
//!
//! A large lamp from the upper left with soft shadows, an even sky, light that finds its way
//! into cavities only partly, a soft highlight. Computed in linear light and brought to 8-bit
//! levels with a square root, near enough to a display's gamma.

use super::camera::{dot, light_reaching, unit};
use super::draw::Draw;
use super::noise::{fractal, mix, mix_color, scale_color, smooth_step, value};
use super::relief::Relief;

/// Lamp, table and colour camera of a session.
#[derive(Debug, Clone)]
pub(super) struct Studio {
    lamp: [f32; 3],
    table: [f32; 3],
    table_seed: u32,
    weave: f32,
    /// Brightness of each channel.
    gain: [f32; 3],
}

/// From this gloss on a skin mirrors like metal.
const METAL_GLOSS: f32 = 0.36;

/// Colours of tables in linear light.
const TABLES: [[f32; 3]; 4] =
    [[0.15, 0.155, 0.165], [0.25, 0.25, 0.245], [0.11, 0.16, 0.145], [0.20, 0.185, 0.16]];

impl Studio {
    /// The station's lamp and table; brightness and white balance drift between sessions.
    pub(super) fn set_up(station: &mut Draw, session: &mut Draw) -> Self {
        let mut sway = || session.range(-0.05, 0.05);
        let lamp = unit([-0.33 + sway(), -0.40 + sway(), 0.85]);
        let brightness = session.range(0.8, 1.2);
        let gain = [(); 3].map(|()| brightness * session.range(0.97, 1.03));
        let weave = if station.chance(0.5) { 0.05 } else { 0.0 };
        Self { lamp, table: station.pick(&TABLES), table_seed: station.bits(), weave, gain }
    }

    /// Levels (0..255, not rounded) of a place with this normal, seen from `to_eye`.
    pub(super) fn shade(
        &self,
        relief: &Relief,
        at: [f32; 3],
        normal: [f32; 3],
        to_eye: [f32; 3],
    ) -> [f32; 3] {
        let [x, y, height] = at;
        let (skin, gloss) = relief.skin(x, y);
        let covered = [skin[0], skin[1], skin[2]];
        let albedo = if skin[3] < 1.0 {
            let table = self.table_color(x, y);
            [0, 1, 2].map(|c| covered[c] + (1.0 - skin[3]) * table[c])
        } else {
            covered
        };
        let buried = (relief.surround(x, y) - height).max(0.0);
        let open = 1.0 / (1.0 + 0.22 * buried);
        let lit = light_reaching(relief, at, self.lamp, 0.35);
        let diffuse = dot(normal, self.lamp).max(0.0);
        let sky = 0.5 + 0.5 * normal[2];
        let halfway = unit([0, 1, 2].map(|i| self.lamp[i] + to_eye[i]));
        let shine = dot(normal, halfway).max(0.0);
        let highlight = gloss * lit * (0.35 * shine.powi(60) + 0.08 * shine.powi(10));
        let light = 0.56 * sky * open + 0.95 * diffuse * lit;
        let metal = smooth_step(METAL_GLOSS, METAL_GLOSS + 0.03, gloss);
        let mirrored = open * (0.25 + 0.75 * lit) * surroundings(normal, to_eye);
        let body = mix(light, 0.35 * light + mirrored, metal);
        [0, 1, 2].map(|c| levels(self.gain[c] * (albedo[c] * body + highlight * open)))
    }

    /// Colour of the bare table.
    fn table_color(&self, x: f32, y: f32) -> [f32; 3] {
        let grain = 0.05 * value(self.table_seed, x * 1.7, y * 1.7)
            + 0.07 * fractal(self.table_seed, x * 0.03, y * 0.03, 3);
        let weave = self.weave * (x * 2.6).sin() * (y * 2.6).sin();
        let worn = mix_color(self.table, [0.3, 0.3, 0.29], (0.06 + grain).clamp(0.0, 1.0));
        scale_color(worn, 1.0 + grain + weave)
    }
}

/// Light that a mirror with this normal sends to the eye: a bright panel over the station, the
/// lamp's frame, dark walls.
fn surroundings(normal: [f32; 3], to_eye: [f32; 3]) -> f32 {
    let along = 2.0 * dot(normal, to_eye);
    let [x, y, up] = [0, 1, 2].map(|i| along * normal[i] - to_eye[i]);
    let panel = smooth_step(0.45, 0.95, up - 0.25 * (x + y));
    let frame = smooth_step(0.10, 0.03, (x + y + 0.55).abs());
    let floor = smooth_step(0.1, -0.6, up);
    0.16 + 0.85 * panel + 0.35 * frame + 0.12 * floor
}

/// Linear light to levels.
fn levels(light: f32) -> f32 {
    // A shoulder instead of a hard stop: metal keeps its shape in the highlight.
    let soft = if light > 0.7 { 0.7 + 0.3 * (1.0 - (-(light - 0.7) / 0.3).exp()) } else { light };
    255.0 * soft.max(0.0).sqrt()
}
