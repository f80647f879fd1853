//! The contact sheet: all families and all defects on one picture, to be looked at.
//!
//! Each tile is a pair: colour at the left, with the mask's outline where there is a defect;
//! shaded depth at the right, tinted by height over the table, black where nothing was measured.

use anyhow::{Context, Result};
use rayon::prelude::*;
use zal::scan::ColorImage;
use zal::synth::{Defect, Family, SynthParams, SynthScan, generate};

use crate::commands::label;

/// Side of a scan made for the sheet, pixels.
const SCAN: usize = 600;
/// Pixels of the scan that become one of the sheet along each axis: no grain is left, and the
/// file stays small.
const SHRINK: usize = 3;
/// Side of a panel, pixels.
const PANEL: usize = 132;
/// Pairs of panels in a row.
const PAIRS: usize = 4;
/// Height of a label's line, pixels.
const LINE: usize = 14;
/// Gap between pairs, pixels.
const GAP: usize = 6;
/// Behind everything.
const PAPER: [u8; 3] = [250, 250, 248];
/// Labels.
const INK: [u8; 3] = [40, 40, 46];
/// Outline of a mask.
const OUTLINE: [u8; 3] = [255, 40, 200];

/// Pieces on the sheet: two products of each family, chosen so that all kinds of surface are
/// seen, then each defect on a family that it fits.
const GOOD: [[u64; 2]; 10] = [[3, 5], [2, 7], [6, 7], [0, 7], [1, 9], [5, 8], [1, 6], [0, 2], [1, 4], [0, 5]];
const FLAWED: [(Defect, Family, u64, u64); 12] = [
    (Defect::Bump, Family::Ring, 9, 8),
    (Defect::Dent, Family::Ball, 6, 9),
    (Defect::Hole, Family::Tuber, 5, 8),
    (Defect::Crack, Family::Block, 3, 3),
    (Defect::Scratch, Family::Disc, 7, 4),
    (Defect::Cut, Family::Tyre, 5, 7),
    (Defect::Bend, Family::Rod, 9, 5),
    (Defect::MissingPiece, Family::Disc, 1, 6),
    (Defect::MissingThread, Family::Gland, 2, 6),
    (Defect::ForeignParticle, Family::Rope, 3, 8),
    (Defect::ForeignParticle, Family::Block, 6, 2),
    (Defect::Stain, Family::Cone, 9, 9),
];

/// Draws the sheet and encodes it as PNG.
///
/// # Errors
/// When the picture cannot be encoded.
pub fn draw() -> Result<Vec<u8>> {
    let mut tiles: Vec<(String, SynthParams)> = Vec::new();
    for (family, variants) in Family::ALL.into_iter().zip(GOOD) {
        for variant in variants {
            tiles.push((family.to_string(), SynthParams { variant, ..SynthParams::new(family, 7) }));
        }
    }
    for (defect, family, variant, seed) in FLAWED {
        let params = SynthParams { variant, defect: Some(defect), ..SynthParams::new(family, seed) };
        tiles.push((format!("{defect} on {family}"), params));
    }
    let panels: Vec<[Vec<[u8; 3]>; 2]> = tiles.par_iter().map(|(_, params)| pair(params)).collect();

    let rows = tiles.len().div_ceil(PAIRS);
    let (height, width) = (rows * (PANEL + LINE + GAP) + GAP, PAIRS * (2 * PANEL + GAP) + GAP);
    let mut sheet = ColorImage { height, width, pixels: vec![PAPER; height * width] };
    for (index, ((name, _), [color, depth])) in tiles.iter().zip(&panels).enumerate() {
        let left = GAP + index % PAIRS * (2 * PANEL + GAP);
        let top = GAP + index / PAIRS * (PANEL + LINE + GAP);
        label::write(&mut sheet, name, [left, top + 2], INK);
        paste(&mut sheet, color, [left, top + LINE - 2]);
        paste(&mut sheet, depth, [left + PANEL, top + LINE - 2]);
    }
    zal::scan::png::encode(&sheet).context("cannot encode the contact sheet")
}

/// Puts a panel on the sheet.
fn paste(sheet: &mut ColorImage, panel: &[[u8; 3]], [left, top]: [usize; 2]) {
    for (row, pixels) in panel.chunks(PANEL).enumerate() {
        let start = (top + row) * sheet.width + left;
        sheet.pixels[start..start + PANEL].copy_from_slice(pixels);
    }
}

/// The panels of one piece: colour and depth.
fn pair(params: &SynthParams) -> [Vec<[u8; 3]>; 2] {
    let made = generate(&SynthParams { height: SCAN, width: SCAN, ..params.clone() });
    let blocks: Vec<Block> = (0..PANEL * PANEL).map(|i| Block::read(&made, i / PANEL, i % PANEL)).collect();
    [outlined(&blocks), shaded(&blocks)]
}

/// A square of the scan's pixels: one of the sheet's.
struct Block {
    color: [u8; 3],
    point: Option<[f32; 3]>,
    flawed: bool,
}

impl Block {
    fn read(made: &SynthScan, row: usize, column: usize) -> Self {
        let cut = (SCAN - PANEL * SHRINK) / 2;
        let index = |i: usize| (cut + row * SHRINK + i / SHRINK) * SCAN + cut + column * SHRINK + i % SHRINK;
        let pixels = (0..SHRINK * SHRINK).map(index);
        let color = made
            .scan
            .color
            .as_ref()
            .map_or([0; 3], |color| mean_color(pixels.clone().map(|i| color.pixels[i])));
        let cloud = &made.scan.cloud;
        let (sum, count) = (pixels.clone().filter(|i| cloud.valid()[*i]))
            .fold(([0.0; 3], 0.0), |(sum, n): ([f32; 3], f32), i| {
                ([0, 1, 2].map(|c| sum[c] + cloud.points()[i][c]), n + 1.0)
            });
        let point = (count > 3.0).then(|| sum.map(|c| c / count));
        let marked = pixels.filter(|i| made.mask[*i] > 0).count();
        Self { color, point, flawed: 2 * marked > SHRINK * SHRINK }
    }
}

/// Mean colour, with its lowest three bits dropped: nobody sees them, and the file halves.
fn mean_color(pixels: impl Iterator<Item = [u8; 3]>) -> [u8; 3] {
    let (sum, count) =
        pixels.fold(([0_u32; 3], 0), |(sum, n), p| ([0, 1, 2].map(|c| sum[c] + u32::from(p[c])), n + 1));
    sum.map(|c| u8::try_from(c / count.max(1)).unwrap_or(255) & 0xf8 | 4)
}

/// The colour panel with the mask's outline.
fn outlined(blocks: &[Block]) -> Vec<[u8; 3]> {
    let flawed = |index: Option<usize>| index.and_then(|i| blocks.get(i)).is_some_and(|b| b.flawed);
    let paint = |(i, block): (usize, &Block)| {
        let beside = [i.checked_sub(1), Some(i + 1), i.checked_sub(PANEL), Some(i + PANEL)];
        let border = !block.flawed && beside.into_iter().any(flawed);
        if border { OUTLINE } else { block.color }
    };
    blocks.iter().enumerate().map(paint).collect()
}

/// The depth panel: lit from the upper left, tinted from blue (table) to yellow (top).
fn shaded(blocks: &[Block]) -> Vec<[u8; 3]> {
    let points = smoothed(blocks);
    let table = table_depth(&points);
    let height = |i: usize| {
        points[i].map_or(0.0, |p| {
            table[0] + table[1] * fraction(i % PANEL) + table[2] * fraction(i / PANEL) - p[2]
        })
    };
    let top = (0..points.len()).map(height).fold(1e-3, f32::max);
    let at = |row: usize, column: usize| points[row * PANEL + column];
    (0..PANEL * PANEL)
        .map(|i| {
            let (row, column) = (i / PANEL, i % PANEL);
            let Some(own) = at(row, column) else { return [14, 14, 18] };
            let beside = |back: Option<[f32; 3]>, on: Option<[f32; 3]>| match (back, on) {
                (Some(a), Some(b)) => [0, 1, 2].map(|c| b[c] - a[c]),
                (Some(a), None) => [0, 1, 2].map(|c| own[c] - a[c]),
                (None, Some(b)) => [0, 1, 2].map(|c| b[c] - own[c]),
                (None, None) => [1.0, 1.0, 0.0],
            };
            let last = PANEL - 1;
            let across = beside(at(row, column.saturating_sub(1)), at(row, (column + 1).min(last)));
            let down = beside(at(row.saturating_sub(1), column), at((row + 1).min(last), column));
            tint(height(i) / top, lambert(across, down))
        })
        .collect()
}

/// Place on a panel, 0..1.
fn fraction(index: usize) -> f32 {
    u16::try_from(index).map_or(0.0, f32::from) / u16::try_from(PANEL).map_or(1.0, f32::from)
}

/// Points averaged with their neighbours across and down: what is left of the noise would
/// fill the file.
fn smoothed(blocks: &[Block]) -> Vec<Option<[f32; 3]>> {
    let mean = |i: usize| {
        let own = blocks[i].point?;
        let beside = [i.checked_sub(1), Some(i + 1), i.checked_sub(PANEL), Some(i + PANEL)];
        let near = beside.into_iter().flatten().filter_map(|j| blocks.get(j)?.point);
        // Across a step, or from the end of one row to the start of the next, there is nothing
        // to average.
        let near = near.filter(|p| (p[2] - own[2]).abs() < 6e-4 && (p[0] - own[0]).abs() < 3e-3);
        let (sum, count) = near.fold((own, 1.0), |(sum, n), p| ([0, 1, 2].map(|c| sum[c] + p[c]), n + 1.0));
        Some(sum.map(|c: f32| c / count))
    };
    (0..blocks.len()).map(mean).collect()
}

/// Depth of the table: at the upper left corner, and its change across and down the panel.
fn table_depth(points: &[Option<[f32; 3]>]) -> [f32; 3] {
    const CORNER: usize = 8;
    let corner = |row: usize, column: usize| {
        let inside =
            (0..CORNER * CORNER).filter_map(|i| points[(row + i / CORNER) * PANEL + column + i % CORNER]);
        let (sum, count) = inside.fold((0.0, 0.0), |(sum, n), p| (sum + p[2], n + 1.0));
        sum / f32::max(count, 1.0)
    };
    let last = PANEL - CORNER;
    let origin = corner(0, 0);
    [origin, corner(0, last) - origin, corner(last, 0) - origin]
}

/// Light on the plane of two steps.
fn lambert(a: [f32; 3], b: [f32; 3]) -> f32 {
    let normal = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let length = normal.iter().map(|c| c * c).sum::<f32>().sqrt().max(1e-12);
    let towards = [0.45, 0.5, 0.74];
    (0..3).map(|c| normal[c] / length * towards[c]).sum::<f32>().max(0.0)
}

/// Colour of a height 0..1 under a light 0..1.
fn tint(height: f32, light: f32) -> [u8; 3] {
    const STOPS: [[f32; 3]; 4] =
        [[70.0, 86.0, 140.0], [60.0, 150.0, 160.0], [150.0, 190.0, 110.0], [250.0, 225.0, 110.0]];
    let place = height.clamp(0.0, 0.999) * 3.0;
    let (low, high) = match place {
        ..1.0 => (STOPS[0], STOPS[1]),
        1.0..2.0 => (STOPS[1], STOPS[2]),
        _ => (STOPS[2], STOPS[3]),
    };
    let share = place - place.floor();
    [0, 1, 2].map(|c| byte((low[c] + (high[c] - low[c]) * share) * (0.25 + 1.0 * light)) & 0xf0 | 8)
}

/// A level rounded to 8 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..255 before")]
fn byte(level: f32) -> u8 {
    level.round().clamp(0.0, 255.0) as u8
}
