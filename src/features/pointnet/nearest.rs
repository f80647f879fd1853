//! [`CellBoxes`]: the measured points nearest to one of them, exactly, on every s-th row and
//! column of the frame.
//!
//! The points of each 8 x 8 cell lie in a box. A search looks at the cells around its point
//! first, and then only at cells whose box reaches nearer than the farthest point found so far:
//! no bound on the surface's slope is assumed, and steps in depth cost nothing.

use crate::cloud::OrganizedCloud;
use crate::features::{GRID_SIZE, PATCH_SIZE, patch_of_pixel};
use crate::neighbors::distance_sq;
use crate::preprocess::FRAME_SIZE;

/// The smallest box around the measured points of each cell of a frame, made once and searched
/// many times.
#[derive(Debug, Clone, PartialEq)]
pub struct CellBoxes {
    /// Lower and upper corner, row-major; none without a measured point.
    boxes: Vec<Option<[[f32; 3]; 2]>>,
}

impl CellBoxes {
    /// Bounds the cells of a frame.
    ///
    /// # Panics
    /// When the cloud is not a frame (224 x 224).
    #[must_use]
    pub fn of(cloud: &OrganizedCloud) -> Self {
        assert_eq!((cloud.height(), cloud.width()), (FRAME_SIZE, FRAME_SIZE), "the cloud is a frame");
        let mut boxes = vec![None; GRID_SIZE * GRID_SIZE];
        for (pixel, point) in cloud.points().iter().enumerate().filter(|(pixel, _)| cloud.valid()[*pixel]) {
            let [low, high] = boxes[patch_of_pixel(pixel)].get_or_insert([*point; 2]);
            for axis in 0..3 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        Self { boxes }
    }

    /// The `count` measured points nearest to that of `pixel`, itself the first of them, among
    /// the rows and columns a multiple of `stride_px` away from it: pixels, nearest first, of two
    /// points at the same distance the one with the smaller index first. Fewer when the frame
    /// has fewer.
    ///
    /// # Panics
    /// When `pixel` or the stride is out of range. The boxes must be those of `cloud`.
    #[must_use]
    pub fn nearest(
        &self,
        cloud: &OrganizedCloud,
        pixel: usize,
        stride_px: usize,
        count: usize,
    ) -> Vec<usize> {
        assert!(stride_px > 0, "the stride is a positive number of pixels");
        let search = Search { cloud, pixel, stride_px, count };
        // On a flat part seen head-on the points found lie within half this many cells.
        let ring = (stride_px * count.isqrt()).div_ceil(PATCH_SIZE);
        let (near, far): (Vec<usize>, Vec<usize>) = (0..self.boxes.len())
            .filter(|cell| self.boxes[*cell].is_some())
            .partition(|cell| cells_apart(*cell, patch_of_pixel(pixel)) <= ring);
        let mut found = Vec::new();
        near.into_iter().for_each(|cell| search.collect(cell, &mut found));
        search.keep_nearest(&mut found);
        let reach_sq = found.get(count.wrapping_sub(1)).map_or(f32::INFINITY, |(d_sq, _)| *d_sq);
        for cell in far {
            if self.boxes[cell].is_some_and(|bounds| gap_sq(bounds, cloud.points()[pixel]) <= reach_sq) {
                search.collect(cell, &mut found);
            }
        }
        search.keep_nearest(&mut found);
        found.into_iter().map(|(_, pixel)| pixel).collect()
    }
}

/// What is sought.
struct Search<'a> {
    cloud: &'a OrganizedCloud,
    pixel: usize,
    stride_px: usize,
    count: usize,
}

impl Search<'_> {
    /// Adds a cell's measured points on the sub-lattice, with their squared distances.
    fn collect(&self, cell: usize, found: &mut Vec<(f32, usize)>) {
        let on_lattice = |first: usize, anchor: usize| {
            (first..first + PATCH_SIZE).filter(move |i| i % self.stride_px == anchor % self.stride_px)
        };
        for row in on_lattice(cell / GRID_SIZE * PATCH_SIZE, self.pixel / FRAME_SIZE) {
            for column in on_lattice(cell % GRID_SIZE * PATCH_SIZE, self.pixel % FRAME_SIZE) {
                let pixel = row * FRAME_SIZE + column;
                if self.cloud.valid()[pixel] {
                    let points = self.cloud.points();
                    found.push((distance_sq(points[self.pixel], points[pixel]), pixel));
                }
            }
        }
    }

    fn keep_nearest(&self, found: &mut Vec<(f32, usize)>) {
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.truncate(self.count);
    }
}

/// Cells between two, along the longer axis.
const fn cells_apart(a: usize, b: usize) -> usize {
    let rows = (a / GRID_SIZE).abs_diff(b / GRID_SIZE);
    let columns = (a % GRID_SIZE).abs_diff(b % GRID_SIZE);
    if rows > columns { rows } else { columns }
}

/// Squared distance to a box. It is rounded as [`distance_sq`] is, and rounding keeps the order,
/// so that no point of the box is found nearer than this.
fn gap_sq([low, high]: [[f32; 3]; 2], point: [f32; 3]) -> f32 {
    let gap = [0, 1, 2].map(|axis| (low[axis] - point[axis]).max(point[axis] - high[axis]).max(0.0));
    distance_sq([0.0; 3], gap)
}

#[cfg(test)]
mod tests {
    use super::super::tests::random_points;
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Every point of the cloud is measured against and sorted.
    fn slow_nearest(cloud: &OrganizedCloud, pixel: usize, stride_px: usize, count: usize) -> Vec<usize> {
        let aligned = |a: usize, b: usize| a.abs_diff(b).is_multiple_of(stride_px);
        let mut all: Vec<(f32, usize)> = cloud
            .valid_indices()
            .into_iter()
            .filter(|p| {
                aligned(p / FRAME_SIZE, pixel / FRAME_SIZE) && aligned(p % FRAME_SIZE, pixel % FRAME_SIZE)
            })
            .map(|p| (distance_sq(cloud.points()[pixel], cloud.points()[p]), p))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.into_iter().take(count).map(|(_, p)| p).collect()
    }

    fn grid_points(point: impl Fn(f32, f32) -> [f32; 3]) -> Vec<[f32; 3]> {
        let coordinate = |i: usize| f32::from(u8::try_from(i).expect("below 224")) - 111.5;
        (0..FRAME_SIZE * FRAME_SIZE)
            .map(|i| point(coordinate(i / FRAME_SIZE), coordinate(i % FRAME_SIZE)))
            .collect()
    }

    /// A smooth dome, a staircase with overhanging views, and points without any order, each with
    /// a share of missing points.
    fn clouds() -> Vec<OrganizedCloud> {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let dome = grid_points(|row, column| {
            let depth = 0.5 + (row * row + column * column) * 2e-6;
            [column * depth * 1e-3, row * depth * 1e-3, depth]
        });
        let stairs = grid_points(|row, column| {
            let depth = 0.4 + 0.03 * (column / 9.0).floor().rem_euclid(3.0);
            [column * depth * 1e-3, row * depth * 1e-3, depth]
        });
        let noise = random_points(&mut rng, FRAME_SIZE * FRAME_SIZE);
        [dome, stairs, noise]
            .into_iter()
            .zip([8, 3, 2])
            .map(|(points, missing_one_in)| {
                let keep = points.iter().map(|_| !rng.next_u32().is_multiple_of(missing_one_in)).collect();
                OrganizedCloud::with_mask(FRAME_SIZE, FRAME_SIZE, points, keep).expect("a frame")
            })
            .collect()
    }

    #[test]
    fn the_nearest_are_those_of_the_whole_cloud() {
        let mut rng = ChaCha8Rng::seed_from_u64(12);
        for cloud in clouds() {
            let boxes = CellBoxes::of(&cloud);
            let measured = cloud.valid_indices();
            for trial in 0..120_usize {
                let pixel = measured[rng.next_u32() as usize % measured.len()];
                let (stride_px, count) = (1 + trial % 4, [1, 64, 96, 1024][trial / 4 % 4]);
                let found = boxes.nearest(&cloud, pixel, stride_px, count);
                assert_eq!(
                    found,
                    slow_nearest(&cloud, pixel, stride_px, count),
                    "{pixel} {stride_px} {count}"
                );
                assert!(distance_sq(cloud.points()[found[0]], cloud.points()[pixel]) <= 0.0);
            }
        }
    }

    #[test]
    fn a_small_cloud_gives_all_it_has_and_none_are_asked_for_none() {
        let mut points = vec![[0.0; 3]; FRAME_SIZE * FRAME_SIZE];
        for pixel in [0, 5, FRAME_SIZE * FRAME_SIZE - 1] {
            points[pixel] = [f32::from(u8::try_from(pixel % 7).expect("small")), 1.0, 1.0];
        }
        let cloud = OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, points).expect("a frame");
        let boxes = CellBoxes::of(&cloud);
        assert_eq!(boxes.nearest(&cloud, 5, 1, 64), slow_nearest(&cloud, 5, 1, 64));
        assert_eq!(boxes.nearest(&cloud, 5, 1, 64).len(), 3);
        assert_eq!(boxes.nearest(&cloud, 5, 4, 64), [5], "the others are on other rows or columns");
        assert!(boxes.nearest(&cloud, 5, 1, 0).is_empty());
    }
}
