//! [`Canvas`]: a picture being drawn, and the reduction from scan pixels to picture pixels.

use crate::cloud::OrganizedCloud;
use crate::scan::ColorImage;

use super::SIDE_MAX;
use super::colormap::{blend, to_u8};

/// Every `factor`-th pixel of a scan becomes one pixel of its picture.
pub(super) struct Reduction {
    factor: usize,
    scan_width: usize,
    height: usize,
    width: usize,
}

impl Reduction {
    /// The smallest whole factor that makes the picture small enough.
    pub(super) fn of(cloud: &OrganizedCloud) -> Self {
        let (height, width) = (cloud.height(), cloud.width());
        let factor = height.max(width).div_ceil(SIDE_MAX);
        Self { factor, scan_width: width, height: height.div_ceil(factor), width: width.div_ceil(factor) }
    }

    /// Rows and columns of the picture.
    pub(super) const fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Scan pixels per picture pixel.
    #[expect(clippy::cast_precision_loss, reason = "a factor of a few")]
    pub(super) fn factor_f32(&self) -> f32 {
        self.factor as f32
    }

    /// The picture pixel of a scan coordinate.
    pub(super) fn to_picture(&self, scan_px: u32) -> usize {
        scan_px as usize / self.factor
    }

    /// One scan value a picture pixel; `missing` where the scan has none.
    pub(super) fn pick<T: Copy>(&self, values: &[T], missing: T) -> Vec<T> {
        let source = |row: usize, column: usize| row * self.factor * self.scan_width + column * self.factor;
        let pixels = (0..self.height).flat_map(|row| (0..self.width).map(move |column| source(row, column)));
        pixels.map(|index| values.get(index).copied().unwrap_or(missing)).collect()
    }

    /// The colour image, each picture pixel the mean of its scan pixels.
    #[expect(clippy::cast_precision_loss, reason = "the pixels of one block")]
    pub(super) fn average(&self, image: &ColorImage) -> Canvas {
        let block = |row: usize, column: usize| {
            let rows = row * self.factor..((row + 1) * self.factor).min(image.height);
            let columns = column * self.factor..((column + 1) * self.factor).min(image.width);
            let count = (rows.len() * columns.len()).max(1) as f32;
            let mut sum = [0.0_f32; 3];
            for r in rows {
                for pixel in &image.pixels[r * image.width..][columns.clone()] {
                    sum.iter_mut().zip(pixel).for_each(|(total, channel)| *total += f32::from(*channel));
                }
            }
            sum.map(|total| to_u8(total / count))
        };
        let pixels = (0..self.height).flat_map(|row| (0..self.width).map(move |column| (row, column)));
        let pixels = pixels.map(|(row, column)| block(row, column)).collect();
        Canvas { height: self.height, width: self.width, pixels }
    }
}

/// A picture being drawn.
pub(super) struct Canvas {
    height: usize,
    width: usize,
    pixels: Vec<[u8; 3]>,
}

impl Canvas {
    /// A picture of given pixels, row-major.
    pub(super) fn new((height, width): (usize, usize), pixels: Vec<[u8; 3]>) -> Self {
        assert_eq!(pixels.len(), height * width, "the pixels fill the picture");
        Self { height, width, pixels }
    }

    /// The finished picture.
    pub(super) fn into_image(self) -> ColorImage {
        ColorImage { height: self.height, width: self.width, pixels: self.pixels }
    }

    /// Takes a share of the colour out, so that the marks stand out.
    pub(super) fn mute(&mut self, share: f32) {
        for pixel in &mut self.pixels {
            let [r, g, b] = pixel.map(f32::from);
            let gray = to_u8(0.299 * r + 0.587 * g + 0.114 * b);
            *pixel = blend(*pixel, [gray; 3], share);
        }
    }

    /// Lays a colour with an opacity over each pixel that `layer` gives one for.
    pub(super) fn blend(&mut self, layer: impl Fn(usize) -> Option<([u8; 3], f32)>) {
        for (index, pixel) in self.pixels.iter_mut().enumerate() {
            if let Some((color, opacity)) = layer(index) {
                *pixel = blend(*pixel, color, opacity);
            }
        }
    }

    /// Draws the inner edge of the pixels where `inside` holds.
    pub(super) fn outline(&mut self, inside: impl Fn(usize) -> bool, color: [u8; 3]) {
        for row in 0..self.height {
            for column in 0..self.width {
                let index = row * self.width + column;
                if inside(index) && !self.surrounded(row, column, &inside) {
                    self.pixels[index] = color;
                }
            }
        }
    }

    /// Whether all four neighbours are inside; beyond the picture counts as inside.
    fn surrounded(&self, row: usize, column: usize, inside: impl Fn(usize) -> bool) -> bool {
        let index = row * self.width + column;
        (row == 0 || inside(index - self.width))
            && (row + 1 == self.height || inside(index + self.width))
            && (column == 0 || inside(index - 1))
            && (column + 1 == self.width || inside(index + 1))
    }

    /// Row and column of the highest value within top, left, bottom, right (exclusive).
    pub(super) fn peak_within(&self, values: &[f32], bounds: [usize; 4]) -> Option<(usize, usize)> {
        let [top, left, bottom, right] = bounds;
        let rows = top..bottom.min(self.height);
        let pixels = rows.flat_map(|row| (left..right.min(self.width)).map(move |column| (row, column)));
        let value = |(row, column): (usize, usize)| values[row * self.width + column];
        pixels.max_by(|a, b| value(*a).total_cmp(&value(*b)))
    }

    /// An open cross with a shadow: it points at a pixel without covering it.
    pub(super) fn cross(&mut self, row: usize, column: usize, color: [u8; 3], shadow: [u8; 3]) {
        const INNER_PX: usize = 4;
        let outer = (self.height.max(self.width) / 60).max(9);
        for (offset, ink) in [(1, shadow), (0, color)] {
            for reach in INNER_PX..outer {
                self.put(row.checked_sub(reach), Some(column + offset), ink);
                self.put(Some(row + reach), Some(column + offset), ink);
                self.put(Some(row + offset), column.checked_sub(reach), ink);
                self.put(Some(row + offset), Some(column + reach), ink);
            }
        }
    }

    /// Sets a pixel when it lies within the picture.
    fn put(&mut self, row: Option<usize>, column: Option<usize>, color: [u8; 3]) {
        if let (Some(row), Some(column)) = (row, column)
            && row < self.height
            && column < self.width
        {
            self.pixels[row * self.width + column] = color;
        }
    }

    /// A dashed box with the given edges (top, left, bottom, right), as far as it is within
    /// the picture.
    pub(super) fn dashed_box(&mut self, [top, left, bottom, right]: [f32; 4], color: [u8; 3]) {
        const DASH_PX: usize = 6;
        let (rows, columns) = (pixel_range(top, bottom, self.height), pixel_range(left, right, self.width));
        let dash = |position: usize| (position / DASH_PX).is_multiple_of(2);
        for row in rows.clone().filter(|row| dash(*row)) {
            for edge in [left, right - 1.0] {
                self.put(Some(row), pixel_of(edge, self.width), color);
            }
        }
        for column in columns.filter(|column| dash(*column)) {
            for edge in [top, bottom - 1.0] {
                self.put(pixel_of(edge, self.height), Some(column), color);
            }
        }
    }

    /// An edge around the whole picture.
    pub(super) fn frame(&mut self, color: [u8; 3]) {
        let thick = (self.height.max(self.width) / 160).max(2);
        for row in 0..self.height {
            for column in 0..self.width {
                let inner = row >= thick
                    && row + thick < self.height
                    && column >= thick
                    && column + thick < self.width;
                if !inner {
                    self.pixels[row * self.width + column] = color;
                }
            }
        }
    }
}

/// The picture pixels between two edges.
fn pixel_range(first: f32, end: f32, len: usize) -> std::ops::Range<usize> {
    clamp_px(first, len)..clamp_px(end, len)
}

/// The picture pixel at a coordinate, when it is within the picture.
fn pixel_of(position: f32, len: usize) -> Option<usize> {
    (position >= 0.0).then(|| clamp_px(position, len)).filter(|pixel| *pixel < len)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the picture before the cast"
)]
fn clamp_px(position: f32, len: usize) -> usize {
    position.clamp(0.0, len as f32) as usize
}
