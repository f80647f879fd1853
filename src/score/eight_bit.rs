//! The anomaly map with 8 bits, as the published code of the baseline BTF makes it: for comparison with
//! it, never for a device.
//!
//! Patch distances are enlarged, divided by the map's own maximum, cut to 8 bits, blurred as an 8-bit
//! picture, and multiplied by the maximum again. So a map has at most 256 levels, and small differences
//! on a part with one loud place are lost. Patches without a score count as 0 and are blurred in, unlike in
//! [`anomaly_map`](super::anomaly_map).

use super::map::enlarge;
use crate::features::{GRID_SIZE, PatchGrid};
use crate::preprocess::FRAME_SIZE;

/// Box blurs that stand in for the Gaussian along each axis.
const PASSES: usize = 3;
/// Whole cells that a box reaches to either side; the next one counts by [`EDGE_WEIGHT`].
const REACH: isize = 3;
/// Weight of a whole cell, in units of 2^-24: a Gaussian of radius 4 by three boxes of radius 3.4375
/// (Gwosdek et al., SSVM 2011, equations 7 and 11: sigma^2 = 16 / 3, box length `2 r + 1`).
const CELL_WEIGHT: u32 = 2_130_440;
/// Weight of the cell beyond [`REACH`]: what the seven whole cells leave, halved.
const EDGE_WEIGHT: u32 = ((1 << 24) - 7 * CELL_WEIGHT) / 2;

/// The map of the patch scores (in the order of `grid.patches()`), row-major `[224 * 224]`. Scores are
/// distances: negative ones count as 0.
///
/// # Panics
/// When there is not one score a patch.
#[must_use]
pub fn eight_bit_map(grid: &PatchGrid, patch_scores: &[f32]) -> Vec<f32> {
    assert_eq!(patch_scores.len(), grid.count(), "one score a patch");
    let mut cells = vec![0.0; GRID_SIZE * GRID_SIZE];
    for (patch, score) in grid.patches().iter().zip(patch_scores) {
        cells[usize::from(*patch)] = score.max(0.0);
    }
    let enlarged = enlarge(&cells);
    let highest = enlarged.iter().copied().fold(0.0, f32::max);
    if highest <= 0.0 {
        return enlarged;
    }
    let picture: Vec<u8> = enlarged.iter().map(|value| to_level(value / highest)).collect();
    let blurred = blur(&picture, FRAME_SIZE);
    blurred.into_iter().map(|level| f32::from(level) / 255.0 * highest).collect()
}

/// 0 to 1 as a level, rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 255")]
fn to_level(share: f32) -> u8 {
    (share * 255.0).clamp(0.0, 255.0) as u8
}

/// Blurs a row-major picture along its rows, then along its columns; every pass is rounded to 8 bits.
fn blur(picture: &[u8], width: usize) -> Vec<u8> {
    let height = picture.len() / width;
    let rows = blur_rows(picture, width);
    transpose(&blur_rows(&transpose(&rows, width), height), height)
}

fn blur_rows(picture: &[u8], width: usize) -> Vec<u8> {
    let mut rows = picture.to_vec();
    for row in rows.chunks_exact_mut(width) {
        for _ in 0..PASSES {
            let blurred = box_blur(row);
            row.copy_from_slice(&blurred);
        }
    }
    rows
}

/// One box blur of a line; beyond its ends the last cells go on.
fn box_blur(line: &[u8]) -> Vec<u8> {
    let at =
        |index: usize, step: isize| u32::from(line[index.saturating_add_signed(step).min(line.len() - 1)]);
    let blurred = |index: usize| {
        let within: u32 = (-REACH..=REACH).map(|step| at(index, step)).sum();
        let beyond = at(index, -REACH - 1) + at(index, REACH + 1);
        let sum = within * CELL_WEIGHT + beyond * EDGE_WEIGHT;
        u8::try_from((sum + (1 << 23)) >> 24).expect("the weights add up to 2^24")
    };
    (0..line.len()).map(blurred).collect()
}

fn transpose(picture: &[u8], width: usize) -> Vec<u8> {
    let height = picture.len() / width;
    (0..picture.len()).map(|i| picture[(i % height) * width + i / height]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blur_is_pillows() {
        let pixel = |(y, x): (usize, usize)| {
            let level = if (10..30).contains(&y) && (20..40).contains(&x) {
                255
            } else if y >= 35 && x < 15 {
                0
            } else {
                (x * 37 + y * 91 + x * y * 5) % 256
            };
            u8::try_from(level).expect("a level")
        };
        let picture: Vec<u8> = (0..48 * 61).map(|i| pixel((i / 61, i % 61))).collect();
        let expected = include_bytes!("../../tests/golden/blur/expected_48x61.bin");
        assert_eq!(blur(&picture, 61), expected);
    }

    #[test]
    fn the_map_keeps_the_maximum_as_its_unit() {
        let patches: Vec<u16> = (0..28 * 28).collect();
        let grid = PatchGrid::from_patches(patches);
        let mut scores = vec![2.0; 28 * 28];
        assert!(eight_bit_map(&grid, &scores).iter().all(|v| (v - 2.0).abs() < 1e-6), "a flat map stays");
        // Between two equal cells their value is reached exactly.
        for offset in [0, 1, 28, 29] {
            scores[14 * 28 + 14 + offset] = 200.0;
        }
        let map = eight_bit_map(&grid, &scores);
        let step = 200.0 / 255.0;
        assert!(map.iter().all(|v| ((v / step) - (v / step).round()).abs() < 1e-3), "255 steps");
        let highest = map.iter().copied().fold(0.0, f32::max);
        assert!(highest > 20.0 && highest < 200.0, "{highest}");
        assert!((map[0] - 2.0 * step).abs() < 1e-4, "2 of 200 is level 2 of 255, rounded down: {}", map[0]);
    }

    #[test]
    fn nothing_stays_nothing() {
        let grid = PatchGrid::from_patches(vec![3, 4]);
        assert!(eight_bit_map(&grid, &[0.0, -1.0]).iter().all(|v| v.abs() <= 0.0));
        assert!(eight_bit_map(&PatchGrid::from_patches(Vec::new()), &[]).iter().all(|v| v.abs() <= 0.0));
    }
}
