//! [`Relief`]: the table with what lies on it, baked to a grid finer than the camera's pixels.
//!
//! Sampling a part costs far more than reading a grid, and a ray asks a dozen times. Cells
//! the part cannot reach are never sampled. Lengths are millimetres; the grid's centre is the
//! table's origin, x runs to the right and y down as in the image, heights towards the camera.

use rayon::prelude::*;

use super::noise::{coordinate, floor, mix};
use super::parts::Sample;

/// Cells a ceiling block has a side.
const BLOCK: usize = 16;
/// Distance over which a ceiling looks around for a ray between table and camera or projector, mm.
const STEEP_REACH_MM: f32 = 16.0;
/// The same for the slanting light of the lamp, mm.
const SLANTING_REACH_MM: f32 = 38.0;

/// Heights and skins on a grid.
#[derive(Debug, Clone)]
pub(super) struct Relief {
    columns: usize,
    rows: usize,
    /// Side of a cell, mm.
    pub(super) cell: f32,
    /// Cells in a mm.
    per_mm: f32,
    /// Heights, `[rows * columns]`, 0 on the table.
    heights: Vec<f32>,
    /// Colour times coverage, and coverage (0 on the table), `[rows * columns]`.
    skins: Vec<[f32; 4]>,
    gloss: Vec<f32>,
    /// Heights blurred over about 4 mm: what shades a point from around.
    surround: Vec<f32>,
    /// Largest height around each block, for steep and for slanting rays.
    ceilings: Vec<[f32; 2]>,
}

impl Relief {
    /// An empty table for an image of `height x width` pixels whose longer side covers `extent` mm.
    pub(super) fn table(height: usize, width: usize, extent: f32) -> Self {
        let longer = height.max(width);
        let side = (longer * 8 / 5).clamp(160, 2048);
        let cell = extent / coordinate(side);
        // A narrow image still holds the whole part, which may cast its shadow into it.
        let (rows, columns) = ((side * height / longer).max(side / 2), (side * width / longer).max(side / 2));
        let count = rows * columns;
        let blocks = rows.div_ceil(BLOCK) * columns.div_ceil(BLOCK);
        Self {
            columns,
            rows,
            cell,
            per_mm: 1.0 / cell,
            heights: vec![0.0; count],
            skins: vec![[0.0; 4]; count],
            gloss: vec![0.0; count],
            surround: vec![0.0; count],
            ceilings: vec![[0.0; 2]; blocks],
        }
    }

    /// Rows and columns of the grid.
    pub(super) const fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Position of a cell on the table, mm.
    pub(super) fn position(&self, row: usize, column: usize) -> [f32; 2] {
        let along =
            |index: usize, count: usize| (coordinate(index) - 0.5 * coordinate(count - 1)) * self.cell;
        [along(column, self.columns), along(row, self.rows)]
    }

    /// Height of a cell, mm.
    pub(super) fn cell_height(&self, row: usize, column: usize) -> f32 {
        self.heights[row * self.columns + column]
    }

    /// Samples the cells within `reach` of `centre` anew.
    pub(super) fn bake(&mut self, centre: [f32; 2], reach: f32, sample: impl Fn(f32, f32) -> Sample + Sync) {
        let columns = self.columns;
        let xs: Vec<f32> = (0..columns).map(|column| self.position(0, column)[0]).collect();
        let ys: Vec<f32> = (0..self.rows).map(|row| self.position(row, 0)[1]).collect();
        let heights = self.heights.par_chunks_mut(columns);
        let rows = heights.zip(self.skins.par_chunks_mut(columns)).zip(self.gloss.par_chunks_mut(columns));
        rows.zip(&ys).for_each(|(((heights, skins), gloss), &y)| {
            let half = (reach * reach - (y - centre[1]).powi(2)).max(0.0).sqrt();
            for column in (0..columns).filter(|&c| (xs[c] - centre[0]).abs() < half) {
                let seen = sample(xs[column], y);
                let covered = f32::from(u8::from(seen.height > 0.0));
                let [r, g, b] = seen.albedo;
                heights[column] = seen.height.max(0.0);
                skins[column] = [r * covered, g * covered, b * covered, covered];
                gloss[column] = seen.gloss * covered;
            }
        });
        self.settle();
    }

    /// Derives what depends on all heights.
    fn settle(&mut self) {
        let radius = usize::try_from(floor(2.2 / self.cell)).unwrap_or(1).max(1);
        self.surround = blur_rows(&self.heights, self.columns, radius);
        let turned = transpose(&self.surround, self.columns);
        self.surround = transpose(&blur_rows(&turned, self.rows, radius), self.rows);
        self.ceilings = self.raise_ceilings();
    }

    /// The largest height of each block and its surroundings.
    fn raise_ceilings(&self) -> Vec<[f32; 2]> {
        let (down, right) = (self.rows.div_ceil(BLOCK), self.columns.div_ceil(BLOCK));
        let mut own = vec![0.0_f32; down * right];
        for (row, heights) in self.heights.chunks(self.columns).enumerate() {
            for (block, part) in heights.chunks(BLOCK).enumerate() {
                let top = &mut own[row / BLOCK * right + block];
                *top = part.iter().copied().fold(*top, f32::max);
            }
        }
        let blocks = |reach_mm: f32| {
            usize::try_from(floor(reach_mm / (self.cell * coordinate(BLOCK)))).unwrap_or(0) + 1
        };
        let near = |row: usize, column: usize, reach: usize| {
            let rows = row.saturating_sub(reach)..(row + reach + 1).min(down);
            let columns = column.saturating_sub(reach)..(column + reach + 1).min(right);
            rows.flat_map(|r| &own[r * right..][columns.clone()]).copied().fold(0.0, f32::max)
        };
        let reaches = [STEEP_REACH_MM, SLANTING_REACH_MM].map(blocks);
        (0..down * right)
            .map(|index| reaches.map(|reach| near(index / right, index % right, reach)))
            .collect()
    }

    /// Indices and weights of the four cells around a place, clamped to the grid.
    #[inline]
    fn corners(&self, x: f32, y: f32) -> ([usize; 4], f32, f32) {
        let (along, fx) = place(x * self.per_mm, self.columns);
        let (down, fy) = place(y * self.per_mm, self.rows);
        let first = down * self.columns + along;
        ([first, first + 1, first + self.columns, first + self.columns + 1], fx, fy)
    }

    /// Height over the table, mm.
    #[inline]
    pub(super) fn height(&self, x: f32, y: f32) -> f32 {
        let (corners, fx, fy) = self.corners(x, y);
        blend(corners.map(|c| self.heights[c]), fx, fy)
    }

    /// Mean height around, mm.
    pub(super) fn surround(&self, x: f32, y: f32) -> f32 {
        let (corners, fx, fy) = self.corners(x, y);
        blend(corners.map(|c| self.surround[c]), fx, fy)
    }

    /// Colour times coverage, coverage, and gloss.
    pub(super) fn skin(&self, x: f32, y: f32) -> ([f32; 4], f32) {
        let (corners, fx, fy) = self.corners(x, y);
        let color = std::array::from_fn(|channel| blend(corners.map(|c| self.skins[c][channel]), fx, fy));
        (color, blend(corners.map(|c| self.gloss[c]), fx, fy))
    }

    /// Slope of the heights in x and y.
    pub(super) fn slope(&self, x: f32, y: f32) -> [f32; 2] {
        let (step, span) = (self.cell, 2.0 * self.cell);
        let dx = self.height(x + step, y) - self.height(x - step, y);
        let dy = self.height(x, y + step) - self.height(x, y - step);
        [dx / span, dy / span]
    }

    /// No height around the place exceeds these: as far as a steep ray reaches, and a slanting one.
    pub(super) fn ceilings(&self, x: f32, y: f32) -> [f32; 2] {
        let (corners, ..) = self.corners(x, y);
        let (row, column) = (corners[0] / self.columns / BLOCK, corners[0] % self.columns / BLOCK);
        self.ceilings[row * self.columns.div_ceil(BLOCK) + column]
    }
}

/// Cell before a place, counted in cells from the middle, and the share of the way to the next one.
#[inline]
fn place(cells: f32, count: usize) -> (usize, f32) {
    let position = (cells + 0.5 * coordinate(count - 1)).clamp(0.0, coordinate(count) - 1.01);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the grid")]
    let index = position as usize;
    (index, position - coordinate(index))
}

/// Bilinear mix of four corners.
fn blend([a, b, c, d]: [f32; 4], fx: f32, fy: f32) -> f32 {
    mix(mix(a, b, fx), mix(c, d, fx), fy)
}

/// Box blur along rows of `columns` values; beyond the border lies the table (0).
fn blur_rows(values: &[f32], columns: usize, radius: usize) -> Vec<f32> {
    let share = 1.0 / coordinate(2 * radius + 1);
    let mut blurred = vec![0.0; values.len()];
    for (row, out) in values.chunks(columns).zip(blurred.chunks_mut(columns)) {
        let mut sum: f32 = row.iter().take(radius).sum();
        for (column, mean) in out.iter_mut().enumerate() {
            sum += row.get(column + radius).copied().unwrap_or(0.0);
            *mean = sum * share;
            sum -= column.checked_sub(radius).map_or(0.0, |first| row[first]);
        }
    }
    blurred
}

/// Rows become columns.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let mut turned = Vec::with_capacity(values.len());
    for column in 0..columns {
        turned.extend((0..rows).map(|row| values[row * columns + column]));
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slab of height 5 for x > 0.
    fn slab(x: f32, _: f32) -> Sample {
        Sample { height: if x > 0.0 { 5.0 } else { -1.0 }, albedo: [0.5; 3], gloss: 0.2 }
    }

    #[test]
    fn baked_heights_are_those_sampled() {
        let mut relief = Relief::table(100, 100, 196.0);
        relief.bake([0.0; 2], 40.0, slab);
        assert!((relief.height(20.0, 3.0) - 5.0).abs() < 1e-6);
        assert!(relief.height(-20.0, 3.0).abs() < 1e-6 && relief.height(60.0, 0.0).abs() < 1e-6);
        let (skin, gloss) = relief.skin(10.0, 0.0);
        assert!((skin[3] - 1.0).abs() < 1e-6 && (gloss - 0.2).abs() < 1e-6);
    }

    #[test]
    fn ceilings_bound_the_heights_around() {
        let mut relief = Relief::table(100, 160, 196.0);
        relief.bake([0.0; 2], 40.0, slab);
        assert!(relief.ceilings(-5.0, 0.0)[0] >= 5.0);
        for x in [-90.0, -30.0, 5.0, 44.0, 99.0] {
            assert!(relief.ceilings(x, 1.0)[0] >= relief.height(x, 1.0));
        }
    }

    #[test]
    fn blur_keeps_the_mean_of_an_impulse() {
        let mut values = vec![0.0; 30];
        values[15] = 3.0;
        let blurred = blur_rows(&values, 30, 2);
        assert!((blurred.iter().sum::<f32>() - 3.0).abs() < 1e-5);
        assert!((blurred[13] - 0.6).abs() < 1e-6 && blurred[12].abs() < 1e-6);
    }
}
