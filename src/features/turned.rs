//! Frames turned about their centre: an anchor's colour seen from other sides. The convolutions of the
//! colour branch know directions; FPFH does not, so its rows need no turning.

use super::{GRID_SIZE, PATCH_SIZE};
use crate::preprocess::FRAME_SIZE;
use crate::scan::ColorImage;

/// A turn about the frame's centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    sin: f32,
    cos: f32,
}

impl Turn {
    /// The `index`-th of `count` equal turns.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a few turns")]
    pub fn new(index: usize, count: usize) -> Self {
        let (sin, cos) = (std::f32::consts::TAU * index as f32 / count as f32).sin_cos();
        Self { sin, cos }
    }

    /// Where in the frame as it was a place (row, column; pixel centres at .5) of the turned frame lies.
    fn source(self, row: f32, column: f32) -> [f32; 2] {
        let half = to_f32(FRAME_SIZE) / 2.0;
        let (down, along) = (row - half, column - half);
        [half + self.cos * down - self.sin * along, half + self.sin * down + self.cos * along]
    }

    /// The turned object mask, `[224 * 224]`: the nearest pixel, nothing beyond the frame.
    #[must_use]
    pub fn mask(self, object: &[bool]) -> Vec<bool> {
        let pixel = |i: usize| {
            let [row, column] = self.source(center(i / FRAME_SIZE), center(i % FRAME_SIZE));
            pixel_of(row).zip(pixel_of(column)).is_some_and(|(r, c)| object[r * FRAME_SIZE + c])
        };
        (0..object.len()).map(pixel).collect()
    }

    /// The turned picture: bilinear, the edge's own colour going on beyond the frame.
    #[must_use]
    pub fn color(self, image: &ColorImage) -> ColorImage {
        let pixel = |i: usize| {
            let [row, column] = self.source(center(i / FRAME_SIZE), center(i % FRAME_SIZE));
            between(image, row - 0.5, column - 0.5)
        };
        let pixels = (0..image.pixels.len()).map(pixel).collect();
        ColorImage { height: image.height, width: image.width, pixels }
    }

    /// The patch of the frame as it was that the centre of a turned patch shows; at the edge the nearest.
    ///
    /// # Panics
    /// When the patch is not one of the grid.
    #[must_use]
    pub fn patch(self, patch: u16) -> u16 {
        let middle = |cell: usize| to_f32(cell * PATCH_SIZE + PATCH_SIZE / 2);
        let (row, column) = (usize::from(patch) / GRID_SIZE, usize::from(patch) % GRID_SIZE);
        let cell = |place: f32| pixel_of(place.clamp(0.0, to_f32(FRAME_SIZE - 1))).unwrap_or(0) / PATCH_SIZE;
        let [row, column] = self.source(middle(row), middle(column)).map(cell);
        u16::try_from(row * GRID_SIZE + column).expect("a patch of the grid")
    }
}

fn center(pixel: usize) -> f32 {
    to_f32(pixel) + 0.5
}

#[expect(clippy::cast_precision_loss, reason = "pixels of a frame")]
const fn to_f32(count: usize) -> f32 {
    count as f32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie in the frame")]
fn pixel_of(place: f32) -> Option<usize> {
    (0.0..to_f32(FRAME_SIZE)).contains(&place).then_some(place as usize)
}

/// The colour between four pixels, their centres at whole numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the picture")]
fn between(image: &ColorImage, row: f32, column: f32) -> [u8; 3] {
    let place = |at: f32, len: usize| {
        let at = at.clamp(0.0, to_f32(len - 1));
        let first = at as usize;
        (first, (first + 1).min(len - 1), at - to_f32(first))
    };
    let ((top, bottom, down), (left, right, along)) = (place(row, image.height), place(column, image.width));
    let value = |r: usize, c: usize, channel: usize| f32::from(image.pixels[r * image.width + c][channel]);
    [0, 1, 2].map(|channel| {
        let line = |r: usize| {
            let (a, b) = (value(r, left, channel), value(r, right, channel));
            a + along * (b - a)
        };
        (line(top) + down * (line(bottom) - line(top)) + 0.5) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color_of(i: usize) -> [u8; 3] {
        [0, 1, 2].map(|c: usize| u8::try_from((i * (c + 3) + i / 7) % 251).expect("below 251"))
    }

    #[test]
    fn four_quarter_turns_are_none_and_one_moves_corners_round() {
        let pixels = (0..FRAME_SIZE * FRAME_SIZE).map(color_of).collect();
        let image = ColorImage { height: FRAME_SIZE, width: FRAME_SIZE, pixels };
        let quarter = Turn::new(1, 4);
        assert_eq!(Turn::new(0, 12).color(&image), image);
        let once = quarter.color(&image);
        assert_ne!(once, image);
        let last = FRAME_SIZE - 1;
        // The turned frame's first pixel was the first of the last row.
        assert_eq!(once.pixels[0], image.pixels[last * FRAME_SIZE]);
        let round = quarter.color(&quarter.color(&quarter.color(&once)));
        let off = round.pixels.iter().zip(&image.pixels).flat_map(|(a, b)| a.iter().zip(b));
        assert!(off.map(|(a, b)| a.abs_diff(*b)).max().is_some_and(|off| off <= 4));
        let mut object = vec![false; FRAME_SIZE * FRAME_SIZE];
        object[last * FRAME_SIZE] = true;
        assert!(quarter.mask(&object)[0]);
        assert_eq!((quarter.patch(0), Turn::new(0, 5).patch(123)), (27 * 28, 123));
    }
}
