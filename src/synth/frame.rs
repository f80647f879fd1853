//! [`Frame`]: what an ideal sensor would see: depth, colour, and how surely a point is measured.

use rayon::prelude::*;

use super::camera::{Camera, dot, light_reaching, unit};
use super::color::Studio;
use super::noise::smooth_step;
use super::relief::Relief;

/// Step in depth at which neighbouring pixels fuse into a wrong point that sensors drop, mm.
const EDGE_STEP_MM: f32 = 2.2;
/// How far a change of the relief can throw its shadow or hide what lies behind it, mm.
const SHADOW_REACH_MM: f32 = 28.0;

/// One pixel without noise.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pixel {
    /// Distance along the optical axis, mm.
    pub(super) depth: f32,
    /// Probability that the sensor measures the point.
    pub(super) measured: f32,
    /// Levels 0..255.
    pub(super) color: [f32; 3],
    /// Colour of the skin itself, whatever light falls on it, 0..1; 0 on the table.
    pub(super) skin: [f32; 3],
}

/// A picture without noise, row-major `[height * width]`.
pub(super) struct Frame {
    width: usize,
    /// As the rays saw it: sharp colours, edges not yet dropped.
    sharp: Vec<Pixel>,
    /// As the sensor would deliver it.
    pub(super) pixels: Vec<Pixel>,
}

impl Frame {
    /// Renders the relief, row by row in parallel.
    pub(super) fn render(relief: &Relief, camera: &Camera, studio: &Studio, shape: [usize; 2]) -> Self {
        let [height, width] = shape;
        let mut sharp = vec![Pixel::default(); height * width];
        sharp.par_chunks_mut(width).enumerate().for_each(|(v, row)| {
            for (u, pixel) in row.iter_mut().enumerate() {
                *pixel = see(relief, camera, studio, u, v);
            }
        });
        Self::finish(sharp, width)
    }

    /// Renders anew what lies within `reach` of `centre` on the table, or takes light from there.
    pub(super) fn render_near(
        &self,
        relief: &Relief,
        camera: &Camera,
        studio: &Studio,
        (centre, reach): ([f32; 2], f32),
    ) -> Self {
        let mut sharp = self.sharp.clone();
        let far = reach + SHADOW_REACH_MM;
        sharp.par_chunks_mut(self.width).enumerate().for_each(|(v, row)| {
            for (u, pixel) in row.iter_mut().enumerate() {
                let [x, y, _] = camera.position(u, v, pixel.depth);
                if (x - centre[0]).hypot(y - centre[1]) < far {
                    *pixel = see(relief, camera, studio, u, v);
                }
            }
        });
        Self::finish(sharp, self.width)
    }

    fn finish(sharp: Vec<Pixel>, width: usize) -> Self {
        let pixels = blur_color(&drop_edges(&sharp, width), width);
        Self { width, sharp, pixels }
    }
}

/// The pixel at column u and row v.
fn see(relief: &Relief, camera: &Camera, studio: &Studio, u: usize, v: usize) -> Pixel {
    let hit = camera.look(relief, u, v);
    let [x, y, _] = hit.position;
    let bare = relief.ceilings(x, y)[1] <= 0.0;
    let [dx, dy] = if bare { [0.0; 2] } else { relief.slope(x, y) };
    let normal = unit([-dx, -dy, 1.0]);
    let to_projector = camera.to_projector(hit.position);
    let seen = smooth_step(0.16, 0.34, dot(normal, hit.to_eye));
    let lit = smooth_step(0.06, 0.24, dot(normal, to_projector));
    let reached = smooth_step(0.3, 0.7, light_reaching(relief, hit.position, to_projector, 0.02));
    let color = studio.shade(relief, hit.position, normal, hit.to_eye);
    // Little light comes back from black rubber, and none but the highlight from a mirror.
    let bright = smooth_step(4.0, 60.0, color[1]) * (1.0 - 0.5 * smooth_step(246.0, 254.0, color[1]));
    let ([r, g, b, _], _) = relief.skin(x, y);
    Pixel { depth: hit.depth, measured: seen * lit * reached * (0.7 + 0.3 * bright), color, skin: [r, g, b] }
}

/// Lowers the probability beside steps in depth.
fn drop_edges(pixels: &[Pixel], width: usize) -> Vec<Pixel> {
    let step = |a: &Pixel, b: Option<&Pixel>| b.map_or(0.0, |b| (a.depth - b.depth).abs());
    let edge = |(index, pixel): (usize, &Pixel)| {
        let left = (index % width > 0).then(|| &pixels[index - 1]);
        let right = (index % width + 1 < width).then(|| &pixels[index + 1]);
        let over = index.checked_sub(width).map(|i| &pixels[i]);
        let under = pixels.get(index + width);
        let largest = [left, right, over, under].into_iter().map(|b| step(pixel, b)).fold(0.0, f32::max);
        let kept = 1.0 - 0.9 * smooth_step(0.5 * EDGE_STEP_MM, 1.5 * EDGE_STEP_MM, largest);
        Pixel { measured: pixel.measured * kept, ..*pixel }
    };
    pixels.iter().enumerate().map(edge).collect()
}

/// Blurs the colours by a lens's point spread of about a pixel.
fn blur_color(pixels: &[Pixel], width: usize) -> Vec<Pixel> {
    let along = |from: &[Pixel], index: usize, before: Option<usize>, after: Option<usize>| {
        let own = from[index].color;
        let side = |other: Option<usize>| other.map_or(own, |i| from[i].color);
        let (a, b) = (side(before), side(after));
        let color = [0, 1, 2].map(|c| 0.2 * a[c] + 0.6 * own[c] + 0.2 * b[c]);
        Pixel { color, ..from[index] }
    };
    let count = pixels.len();
    let rows = |i: usize| {
        along(
            pixels,
            i,
            (!i.is_multiple_of(width)).then(|| i - 1),
            (!(i + 1).is_multiple_of(width)).then_some(i + 1),
        )
    };
    let across: Vec<Pixel> = (0..count).map(rows).collect();
    let columns =
        |i: usize| along(&across, i, i.checked_sub(width), (i + width < count).then_some(i + width));
    (0..count).map(columns).collect()
}
