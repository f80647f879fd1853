//! [`Surface`]: the normals of an organised cloud and the windows of its neighbourhoods,
//! found in one pass over the image.

use multiversion::multiversion;
use rayon::prelude::*;

use super::eigen::{LaneMoments, normals_of_lanes};
use super::{Orientation, normal_of_list, oriented};
use crate::cloud::OrganizedCloud;
use crate::neighbors::grid::{LANES, Lane, PaddedGrid};
use crate::neighbors::spans::{BAND_ROWS, Band, Windows, any_within, window_of};
use crate::neighbors::window::{BlockSearch, NO_LIMIT, Window, lane_at, margin_for, spread_of};
use crate::neighbors::{NeighborList, PointTree, Reach};

/// An organised cloud with its normals, and where every point's neighbours are.
pub(crate) struct Surface {
    grid: PaddedGrid,
    normals: [Vec<f32>; 3],
    windows: Windows,
    unresolved: Vec<usize>,
}

/// What one block of the pass yields.
struct BlockNormals {
    at: usize,
    normals: [Lane; 3],
}

/// What one band of the pass yields.
#[derive(Default)]
struct BandResult {
    band: Band,
    normals: Vec<BlockNormals>,
    /// Places whose normal, and whose neighbourhood, no window could prove.
    unresolved_normals: Vec<usize>,
    unresolved: Vec<usize>,
}

impl Surface {
    /// Searches the neighbourhoods by `reach` and, when asked for, estimates normals.
    /// `None` for clouds whose windows can prove nothing (a point is not in front of the
    /// camera) or need not be tried.
    pub(crate) fn search(
        cloud: &OrganizedCloud,
        normals: Option<(Reach, Orientation)>,
        reach: Reach,
    ) -> Option<Self> {
        let reach_normals = normals.map_or(reach, |(reach, _)| reach);
        let margin = margin_for(reach_normals)?.max(margin_for(reach)?);
        let grid = PaddedGrid::new(cloud, margin)?;
        let bands = grid.height().div_ceil(BAND_ROWS);
        let search = |band: usize| search_band(&grid, band * BAND_ROWS, normals, reach);
        let results: Vec<_> = (0..bands).into_par_iter().map(search).collect();
        let mut surface = Self {
            normals: std::array::from_fn(|_| vec![0.0; grid.len()]),
            windows: Windows { bands: Vec::with_capacity(bands) },
            unresolved: Vec::new(),
            grid,
        };
        let mut unresolved_normals = Vec::new();
        for result in results {
            for block in &result.normals {
                surface.set_block(block);
            }
            surface.windows.bands.push(result.band);
            surface.unresolved.extend(result.unresolved);
            unresolved_normals.extend(result.unresolved_normals);
        }
        if let Some((reach, orientation)) = normals.filter(|_| !unresolved_normals.is_empty()) {
            surface.resolve_normals(&unresolved_normals, reach, orientation);
        }
        Some(surface)
    }

    fn set_block(&mut self, block: &BlockNormals) {
        for (plane, lanes) in self.normals.iter_mut().zip(&block.normals) {
            plane[block.at..block.at + LANES].copy_from_slice(lanes);
        }
    }

    fn set_normal(&mut self, at: usize, normal: [f32; 3]) {
        for (plane, component) in self.normals.iter_mut().zip(normal) {
            plane[at] = component;
        }
    }

    /// Estimates the normals of places that no window could prove.
    fn resolve_normals(&mut self, places: &[usize], reach: Reach, orientation: Orientation) {
        let compact = Compact::new(&self.grid);
        let tree = PointTree::new(&compact.points);
        let find = |list: &mut NeighborList, at: &usize| {
            let index = compact.index_of(*at);
            tree.neighbors(index, reach, list);
            normal_of_list(&compact.points, index, &list.indices, orientation)
        };
        let normals: Vec<_> = places.par_iter().map_init(NeighborList::default, find).collect();
        for (at, normal) in places.iter().zip(normals) {
            self.set_normal(*at, normal);
        }
    }

    /// Replaces the normals by given ones, in the order of the measured points.
    pub(crate) fn replace_normals(&mut self, normals: &[[f32; 3]]) {
        for (at, normal) in Compact::new(&self.grid).places.into_iter().zip(normals) {
            self.set_normal(at, *normal);
        }
    }

    pub(crate) const fn grid(&self) -> &PaddedGrid {
        &self.grid
    }

    /// The normal at a place of the grid.
    pub(crate) fn normal(&self, at: usize) -> [f32; 3] {
        [self.normals[0][at], self.normals[1][at], self.normals[2][at]]
    }

    /// Components of the normals, laid out as the grid's planes.
    pub(crate) fn normal_planes(&self) -> [&[f32]; 3] {
        self.normals.each_ref().map(Vec::as_slice)
    }

    pub(crate) const fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Places whose neighbourhood no window could prove.
    pub(crate) fn unresolved(&self) -> &[usize] {
        &self.unresolved
    }
}

/// The measured points of a grid without its gaps, for the kd-tree.
pub(crate) struct Compact {
    /// Place of each point, ascending.
    pub(crate) places: Vec<usize>,
    /// The points.
    pub(crate) points: Vec<[f32; 3]>,
}

impl Compact {
    pub(crate) fn new(grid: &PaddedGrid) -> Self {
        let places: Vec<_> = (0..grid.len()).filter(|at| grid.valid()[*at]).collect();
        let points = places.iter().map(|at| grid.point(*at)).collect();
        Self { places, points }
    }

    /// Index of the point at a place that holds one.
    pub(crate) fn index_of(&self, at: usize) -> usize {
        self.places.partition_point(|place| *place < at)
    }
}

fn search_band(
    grid: &PaddedGrid,
    first_row: usize,
    normals: Option<(Reach, Orientation)>,
    reach: Reach,
) -> BandResult {
    let mut result = BandResult::default();
    let mut search = BlockSearch::new(grid);
    let blocks = grid.width().div_ceil(LANES);
    let fresh = [spread_of(reach); 4];
    // Per block column: window and limits of the row above.
    let mut windows = vec![fresh; blocks];
    let mut guesses = vec![[[0.0; LANES]; 2]; blocks];
    for row in first_row..grid.height().min(first_row + BAND_ROWS) {
        for block in 0..blocks {
            let column = block * LANES;
            if !search.start(row, column, windows[block]) {
                windows[block] = fresh;
                continue;
            }
            let limits = search.settle(reach, &guesses[block][0]);
            guesses[block][0] = limits;
            let at = grid.at(row, column);
            if let Some((reach_normals, orientation)) = normals {
                let limits_normals = if reach_normals == reach {
                    limits
                } else {
                    search.settle(reach_normals, &guesses[block][1])
                };
                guesses[block][1] = limits_normals;
                note_unresolved(&search, &limits_normals, at, &mut result.unresolved_normals);
                result.normals.push(block_normals(grid, &search, at, &limits_normals, orientation));
            }
            note_unresolved(&search, &limits, at, &mut result.unresolved);
            result.band.push((row, column), limits, search.window(), search.distances_sq());
            let spans = result.band.last_spans();
            windows[block] = if spans.is_empty() { fresh } else { window_of(spans) };
        }
    }
    result
}

fn note_unresolved(search: &BlockSearch<'_>, limits: &Lane, at: usize, places: &mut Vec<usize>) {
    let lanes = (0..LANES).filter(|l| search.active()[*l] && limits[*l] == NO_LIMIT);
    places.extend(lanes.map(|lane| at + lane));
}

fn block_normals(
    grid: &PaddedGrid,
    search: &BlockSearch<'_>,
    at: usize,
    limits: &Lane,
    orientation: Orientation,
) -> BlockNormals {
    let mut normals = [[0.0; LANES]; 3];
    let planes = grid.planes();
    estimate_lanes(planes, grid.stride(), at, search.window(), search.distances_sq(), limits, &mut normals);
    for lane in (0..LANES).filter(|lane| search.active()[*lane]) {
        let normal = normals.map(|component| component[lane]);
        let turned = oriented(normal, grid.point(at + lane), orientation);
        for (component, turned) in normals.iter_mut().zip(turned) {
            component[lane] = turned;
        }
    }
    BlockNormals { at, normals }
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
#[expect(clippy::too_many_arguments, reason = "a kernel on plain slices")]
fn estimate_lanes(
    planes: [&[f32]; 3],
    stride: usize,
    at: usize,
    window: Window,
    distances_sq: &[Lane],
    limits: &Lane,
    out: &mut [Lane; 3],
) {
    let [up, _, left, right] = window;
    let center = planes.map(|plane| lane_at(plane, at));
    let mut moments = LaneMoments::default();
    for (row, distances_sq) in distances_sq.chunks_exact(left + right + 1).enumerate() {
        let first = at + row * stride - up * stride - left;
        for (column, distances_sq) in distances_sq.iter().enumerate() {
            if any_within(distances_sq, limits) {
                let other = planes.map(|plane| lane_at(plane, first + column));
                moments.add(center, other, distances_sq, limits);
            }
        }
    }
    normals_of_lanes(&moments, out);
}
