//! The picture of the activation map: the scan's shape, and beside it the map over the shape.
//!
//! The heat runs from the smallest to the largest value on measured pixels; the outline holds the top 5 %,
//! among which training picks its points, the ring marks the topmost.

use zal::picture::depth;
use zal::preprocess::{FRAME_SIZE, FrameWindow, PreparedScan};
use zal::scan::{ColorImage, Scan};

use super::NamedMap;
use crate::commands::label::{LETTER, write_enlarged};

/// Picture pixels per frame pixel.
const ZOOM: usize = 2;
/// Side of a panel.
const PANEL: usize = ZOOM * FRAME_SIZE;
/// Around and between panels.
const GAP: usize = 16;
/// Pixels of a letter's pixel.
const TEXT: usize = 2;
/// Height of a line of text with its gap.
const LINE: usize = TEXT * LETTER[1] + 12;
/// Height of the colour bar.
const BAR: usize = 14;
/// Share of the values outlined: those that training picks from.
const TOP_SHARE: f32 = 0.05;
/// Share of the heat in the colour of a pixel on the part.
const HEAT_OPACITY: f32 = 0.75;
/// Radius of the ring around the topmost pixel.
const RING: f32 = 13.0;

const PAPER: [u8; 3] = [252, 252, 250];
const INK: [u8; 3] = [36, 38, 44];
const PALE_INK: [u8; 3] = [110, 114, 122];
const WHITE: [u8; 3] = [255, 255, 255];
const SHADOW: [u8; 3] = [12, 12, 16];

/// Colours of the map, low to high, evenly spaced.
const HEAT: [[u8; 3]; 6] =
    [[30, 44, 130], [38, 120, 190], [70, 190, 170], [240, 222, 90], [244, 130, 36], [190, 18, 30]];

/// Draws scan and maps side by side.
pub(super) fn draw(scan: &Scan, prepared: &PreparedScan, maps: &[NamedMap]) -> ColorImage {
    let panels = 1 + maps.len();
    let height = GAP + LINE + PANEL + GAP / 2 + BAR + 6 + LINE;
    let width = GAP + panels * (PANEL + GAP);
    let mut image = ColorImage { height, width, pixels: vec![PAPER; height * width] };
    let shape = framed(&depth(scan), scan, &prepared.window);
    let top = GAP + LINE;
    text(&mut image, "SCAN", [GAP, GAP], INK);
    paste(&mut image, &shape, [GAP, top]);
    text(&mut image, "COLOUR SHOWS HEIGHT", [GAP, top + PANEL + GAP / 2 + BAR + 6], PALE_INK);
    for (index, map) in maps.iter().enumerate() {
        let left = GAP + (index + 1) * (PANEL + GAP);
        text(&mut image, &fitting(&map.title), [left, GAP], INK);
        paste(&mut image, &heated(&shape, prepared, map), [left, top]);
        bar(&mut image, [left, top + PANEL + GAP / 2]);
        let share = 100.0 * map.concentration.upper_half_share;
        let words = format!("{share:.0} % ABOVE HALF, OUTLINE TOP 5 %");
        text(&mut image, &words, [left, top + PANEL + GAP / 2 + BAR + 6], PALE_INK);
    }
    image
}

fn text(image: &mut ColorImage, words: &str, place: [usize; 2], ink: [u8; 3]) {
    write_enlarged(image, words, place, ink, TEXT);
}

/// As much of a title as a panel is wide.
fn fitting(title: &str) -> String {
    title.chars().take(PANEL / (TEXT * LETTER[0])).collect()
}

/// The frame's part of a picture of the scan, enlarged; picture pixels may stand for several scan pixels.
#[expect(clippy::cast_precision_loss, reason = "coordinates of a picture")]
fn framed(picture: &ColorImage, scan: &Scan, window: &FrameWindow) -> Vec<[u8; 3]> {
    let reduction = scan.cloud.width().div_ceil(picture.width).max(1) as f32;
    let place = |start: f32, pixel: usize| {
        let on_scan = start + (pixel as f32 + 0.5) / ZOOM as f32 * window.px_per_frame_px;
        on_scan / reduction - 0.5
    };
    (0..PANEL * PANEL)
        .map(|i| bilinear(picture, place(window.top_px, i / PANEL), place(window.left_px, i % PANEL)))
        .collect()
}

/// The picture between four pixels; dark beyond its edge.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie within the picture before the cast"
)]
fn bilinear(picture: &ColorImage, row: f32, column: f32) -> [u8; 3] {
    let (last_row, last_column) = (picture.height as f32 - 1.0, picture.width as f32 - 1.0);
    if !(-0.5..=last_row + 0.5).contains(&row) || !(-0.5..=last_column + 0.5).contains(&column) {
        return SHADOW;
    }
    let (row, column) = (row.clamp(0.0, last_row), column.clamp(0.0, last_column));
    let (r, c) = (row as usize, column as usize);
    let (below, right) = ((r + 1).min(picture.height - 1), (c + 1).min(picture.width - 1));
    let at = |r: usize, c: usize| picture.pixels[r * picture.width + c];
    let (upper, lower) = (
        mix(at(r, c), at(r, right), column - c as f32),
        mix(at(below, c), at(below, right), column - c as f32),
    );
    mix(upper, lower, row - r as f32)
}

/// The map over the shape in grey.
fn heated(shape: &[[u8; 3]], prepared: &PreparedScan, map: &NamedMap) -> Vec<[u8; 3]> {
    let valid = prepared.cloud.valid();
    let pixel_of = |i: usize| i / PANEL / ZOOM * FRAME_SIZE + i % PANEL / ZOOM;
    let (low, high) = (map.concentration.min, map.concentration.max);
    let threshold = top_threshold(&map.values, valid);
    // A hole in the measurement is no border: the outline is that of the map.
    let top = |i: usize| !valid[pixel_of(i)] || map.values[pixel_of(i)] >= threshold;
    let drawn = |i: usize| valid[pixel_of(i)];
    let mut panel: Vec<[u8; 3]> = shape
        .iter()
        .enumerate()
        .map(|(i, color)| {
            let (gray, frame_pixel) = ([luminance(*color); 3], pixel_of(i));
            if !valid[frame_pixel] {
                return mix(gray, SHADOW, 0.45);
            }
            let position = (map.values[frame_pixel] - low) / (high - low);
            lit(mix(gray, heat(position), HEAT_OPACITY), gray[0])
        })
        .collect();
    outline(&mut panel, drawn, top);
    ring(&mut panel, map.concentration.peak);
    panel
}

/// The value that [`TOP_SHARE`] of the measured pixels reach.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count of pixels"
)]
fn top_threshold(values: &[f32], valid: &[bool]) -> f32 {
    let mut measured: Vec<f32> = values.iter().zip(valid).filter(|(_, v)| **v).map(|(x, _)| *x).collect();
    measured.sort_unstable_by(|a, b| b.total_cmp(a));
    let index = (TOP_SHARE * measured.len() as f32) as usize;
    measured.get(index).copied().unwrap_or(f32::INFINITY)
}

/// Draws the inner edge of the pixels where `inside` holds, two pixels wide, where `drawn` allows.
fn outline(panel: &mut [[u8; 3]], drawn: impl Fn(usize) -> bool, inside: impl Fn(usize) -> bool) {
    let within = |row: usize, column: usize| row < PANEL && column < PANEL && inside(row * PANEL + column);
    for (i, pixel) in panel.iter_mut().enumerate() {
        let (row, column) = (i / PANEL, i % PANEL);
        let surrounded = (within(row.wrapping_sub(2), column) || row < 2)
            && (within(row + 2, column) || row + 2 >= PANEL)
            && (within(row, column.wrapping_sub(2)) || column < 2)
            && (within(row, column + 2) || column + 2 >= PANEL);
        if drawn(i) && inside(i) && !surrounded {
            *pixel = WHITE;
        }
    }
}

/// A white ring with a shadow around a frame pixel, and a dot on it.
#[expect(clippy::cast_precision_loss, reason = "coordinates of a panel")]
fn ring(panel: &mut [[u8; 3]], peak: usize) {
    let centre = |i: usize| (i as f32 + 0.5) * ZOOM as f32;
    let (y, x) = (centre(peak / FRAME_SIZE), centre(peak % FRAME_SIZE));
    for (i, pixel) in panel.iter_mut().enumerate() {
        let distance = ((i / PANEL) as f32 + 0.5 - y).hypot((i % PANEL) as f32 + 0.5 - x);
        match distance {
            d if d < 3.0 || (d - RING).abs() < 1.6 => *pixel = WHITE,
            d if d < 4.5 || (d - RING).abs() < 3.2 => *pixel = SHADOW,
            _ => {}
        }
    }
}

/// The colours from low to high under a panel.
#[expect(clippy::cast_precision_loss, reason = "coordinates of a panel")]
fn bar(image: &mut ColorImage, [left, top]: [usize; 2]) {
    const INSET: usize = 64;
    for row in top..top + BAR {
        for column in INSET..PANEL - INSET {
            let position = (column - INSET) as f32 / (PANEL - 2 * INSET) as f32;
            image.pixels[row * image.width + left + column] = heat(position);
        }
    }
    text(image, "LOW", [left, top], PALE_INK);
    text(image, "HIGH", [left + PANEL - 4 * TEXT * LETTER[0], top], PALE_INK);
}

fn paste(image: &mut ColorImage, panel: &[[u8; 3]], [left, top]: [usize; 2]) {
    for (row, pixels) in panel.chunks(PANEL).enumerate() {
        let start = (top + row) * image.width + left;
        image.pixels[start..start + PANEL].copy_from_slice(pixels);
    }
}

/// Colour of a position 0..=1 between low and high.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position on a scale of a few colours, clamped first"
)]
fn heat(position: f32) -> [u8; 3] {
    let along = position.clamp(0.0, 1.0) * (HEAT.len() - 1) as f32;
    let first = (along as usize).min(HEAT.len() - 2);
    mix(HEAT[first], HEAT[first + 1], along - first as f32)
}

/// The colour under the light that the grey shape shows.
fn lit(color: [u8; 3], gray: u8) -> [u8; 3] {
    let light = 0.55 + 0.6 * f32::from(gray) / 170.0;
    color.map(|channel| byte(f32::from(channel) * light))
}

fn luminance(color: [u8; 3]) -> u8 {
    let [r, g, b] = color.map(f32::from);
    byte(0.299 * r + 0.587 * g + 0.114 * b)
}

/// `a` with a share of `b`.
fn mix(a: [u8; 3], b: [u8; 3], share: f32) -> [u8; 3] {
    [0, 1, 2].map(|c| {
        let (a, b) = (f32::from(a[c]), f32::from(b[c]));
        byte(a + (b - a) * share)
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
fn byte(level: f32) -> u8 {
    (level + 0.5).clamp(0.0, 255.0) as u8
}
