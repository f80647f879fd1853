//! Which pixels a defect altered: the frame with it compared with the frame without it.
//!
//! The core is where the part itself changed: its depth, or the colour of its skin. A defect
//! also shades its surroundings and hides them from the projector; such pixels count only
//! close to the core. Further away the shadow of a defect is not rendered at all: a mask with
//! patches on the bare table would punish a detector that is right.

use super::frame::Pixel;
use super::noise::floor;

/// Change of depth that counts: about twice the sensor's noise, mm.
const DEPTH_MM: f32 = 0.12;
/// Change of the skin's colour that counts, 0..1 in linear light.
const SKIN: f32 = 0.02;
/// Change of a colour level that counts: about five times the colour noise.
const LEVELS: f32 = 9.0;
/// How far beyond the core pixels count, mm.
const MARGIN_MM: f32 = 1.3;

/// Row-major: whether the pixel changed.
pub(super) fn altered(new: &[Pixel], old: &[Pixel], width: usize, pixel_mm: f32) -> Vec<bool> {
    let core: Vec<bool> = new.iter().zip(old).map(|(new, old)| is_core(new, old)).collect();
    let margin = usize::try_from(floor(MARGIN_MM / pixel_mm)).unwrap_or(0);
    let near = grow(&core, width, margin);
    let pixels = new.iter().zip(old).zip(core.iter().zip(near));
    pixels.map(|((new, old), (core, near))| *core || near && is_changed(new, old)).collect()
}

/// Whether the part itself changed at a pixel, so that it can be seen.
fn is_core(new: &Pixel, old: &Pixel) -> bool {
    let repainted = largest_gap(new.skin, old.skin) > SKIN && largest_gap(new.color, old.color) > LEVELS;
    repainted || (new.depth - old.depth).abs() > DEPTH_MM
}

/// Whether the sensor sees a pixel differently, for whatever reason.
fn is_changed(new: &Pixel, old: &Pixel) -> bool {
    largest_gap(new.color, old.color) > LEVELS || (new.measured - old.measured).abs() > 0.5
}

fn largest_gap(a: [f32; 3], b: [f32; 3]) -> f32 {
    (0..3).map(|c| (a[c] - b[c]).abs()).fold(0.0, f32::max)
}

/// The mask grown by `margin` pixels to a square neighbourhood.
fn grow(mask: &[bool], width: usize, margin: usize) -> Vec<bool> {
    let height = mask.len() / width;
    let reach = |index: usize, count: usize| index.saturating_sub(margin)..(index + margin + 1).min(count);
    let across: Vec<bool> =
        (0..mask.len()).map(|i| reach(i % width, width).any(|column| mask[i - i % width + column])).collect();
    (0..mask.len()).map(|i| reach(i / width, height).any(|row| across[row * width + i % width])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_reaches_a_square_and_stops_at_the_border() {
        let mut mask = vec![false; 35];
        mask[7] = true; // row 1, column 0 of 5 x 7
        let grown = grow(&mask, 7, 1);
        let marked: Vec<usize> = (0..35).filter(|i| grown[*i]).collect();
        assert_eq!(marked, [0, 1, 7, 8, 14, 15]);
        assert_eq!(grow(&mask, 7, 0), mask);
    }

    #[test]
    fn a_shadow_counts_only_beside_a_change_of_the_part() {
        let old = vec![Pixel::default(); 20];
        let mut new = old.clone();
        new[4].depth = 0.5;
        for shaded in [5, 12] {
            new[shaded].color = [30.0; 3];
        }
        let altered = altered(&new, &old, 20, 1.0);
        let marked: Vec<usize> = (0..20).filter(|i| altered[*i]).collect();
        assert_eq!(marked, [4, 5]);
    }
}
