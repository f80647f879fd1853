//! Neighbours of 16 neighbouring pixels at once, from a window around them.
//!
//! A block is [`LANES`] pixels of one row. Its squared distances to every offset of a
//! window are measured once; then a lane's neighbours are all pixels up to a limit, found
//! by a secant search on the number of pixels within it. The window is accepted when the
//! limit lies below everything that can be outside ([`PaddedGrid`]), else it is widened.
//! Only limits are kept: whoever needs the members measures again, with the same
//! roundings. Lanes whose window cannot be proven, or whose last place is tied, are left to
//! the kd-tree.

use std::hint::black_box;

use multiversion::multiversion;

use super::Reach;
use super::grid::{FAR_SQ, LANES, Lane, PaddedGrid};

/// Limit of a lane that has no members in any window.
pub const NO_LIMIT: f32 = -1.0;
/// Passes of the limit search; ties never converge, everything else takes about five.
const PASSES_MAX: usize = 24;
/// From this pass on every second step halves the bracket.
const PASSES_SECANT: usize = 8;

/// Extent of a window around each pixel of a block: up, down, left, right.
pub type Window = [usize; 4];

/// Half the side of the window that `k` points of an undisturbed surface fill.
fn half_of(k: usize) -> usize {
    (1..).find(|half| half * half * 3 >= k).unwrap_or(1)
}

/// Half the side of the window to begin with.
#[must_use]
pub fn spread_of(reach: Reach) -> usize {
    match reach {
        Reach::Nearest(k) => half_of(k) + 1,
        Reach::Within(_) => 4,
    }
}

/// How far windows may grow for a reach; `None` when the kd-tree is the better search.
#[must_use]
pub fn margin_for(reach: Reach) -> Option<usize> {
    match reach {
        Reach::Nearest(k) if (1..=K_MAX).contains(&k) => Some(3 * half_of(k) + 4),
        Reach::Within(radius_m) if radius_m > 0.0 && radius_m < RADIUS_MAX_M => Some(32),
        Reach::Nearest(_) | Reach::Within(_) => None,
    }
}

/// Larger neighbourhoods than this do not pay in windows.
const K_MAX: usize = 1000;
/// A limit from a radius beyond this would come near the missing points' distances.
const RADIUS_MAX_M: f32 = 1e3;

/// The search in one block; keeps its buffers from block to block.
pub struct BlockSearch<'g> {
    grid: &'g PaddedGrid,
    row: usize,
    column: usize,
    window: Window,
    distances_sq: Vec<Lane>,
    measured: [u32; LANES],
    active: [bool; LANES],
}

impl<'g> BlockSearch<'g> {
    /// A search on a grid; nothing is measured yet.
    #[must_use]
    pub fn new(grid: &'g PaddedGrid) -> Self {
        Self {
            grid,
            row: 0,
            column: 0,
            window: [0; 4],
            distances_sq: Vec::new(),
            measured: [0; LANES],
            active: [false; LANES],
        }
    }

    /// Moves to the block whose first pixel is given, and measures a first window. False
    /// when the block has no measured point.
    pub fn start(&mut self, row: usize, column: usize, window: Window) -> bool {
        (self.row, self.column) = (row, column);
        let at = self.grid.at(row, column);
        self.active.copy_from_slice(&self.grid.valid()[at..at + LANES]);
        let any = self.active.iter().any(|active| *active);
        if any {
            let largest = self.largest_window();
            self.window = std::array::from_fn(|side| window[side].min(largest[side]));
            self.measure();
        }
        any
    }

    /// The window measured last.
    #[must_use]
    pub const fn window(&self) -> Window {
        self.window
    }

    /// Squared distances of the window's offsets, row by row.
    #[must_use]
    pub fn distances_sq(&self) -> &[Lane] {
        &self.distances_sq
    }

    /// Which lanes hold a measured point.
    #[must_use]
    pub const fn active(&self) -> &[bool; LANES] {
        &self.active
    }

    /// Windows never reach beyond the margin, nor farther beyond the image than they must
    /// for the block's outer lanes.
    fn largest_window(&self) -> Window {
        let below = self.grid.height() - 1 - self.row;
        let left = self.column + LANES - 1;
        let right = self.grid.width() - 1 - self.column;
        [self.row, below, left, right].map(|side| side.min(self.grid.margin()))
    }

    fn measure(&mut self) {
        let at = self.grid.at(self.row, self.column);
        self.measured =
            measure(self.grid.planes(), self.grid.stride(), at, self.window, &mut self.distances_sq);
    }

    /// Finds each lane's limit for a reach, widening the window as far as needed. `guess`
    /// are limits to start from (those of the row above), not positive where unknown. A
    /// lane that is not active, or could not be settled, gets [`NO_LIMIT`].
    pub fn settle(&mut self, reach: Reach, guess: &Lane) -> Lane {
        loop {
            let limits = self.limits(reach, guess);
            let growth = self.missing_sides(&limits, reach);
            let largest = self.largest_window();
            let grown: Window =
                std::array::from_fn(|side| (self.window[side] + growth[side]).min(largest[side]));
            if grown == self.window {
                return self.settled(limits);
            }
            self.window = grown;
            self.measure();
        }
    }

    fn limits(&self, reach: Reach, guess: &Lane) -> Lane {
        match reach {
            Reach::Within(radius_m) => [radius_m * radius_m; LANES],
            Reach::Nearest(k) => {
                let k = u32::try_from(k).unwrap_or(u32::MAX);
                let searched = std::array::from_fn(|l| self.active[l] && self.measured[l] >= k);
                nearest_limits(&self.distances_sq, k, guess, &searched)
            }
        }
    }

    /// By how much each side must grow, as far as is known.
    fn missing_sides(&self, limits: &Lane, reach: Reach) -> Window {
        let mut growth = [0; 4];
        for lane in (0..LANES).filter(|lane| self.active[*lane]) {
            if self.too_few(lane, reach) {
                growth = growth.map(|g: usize| g.max(2));
            } else {
                let beyond_sq = self.beyond_sq(lane);
                for side in 0..4 {
                    growth[side] = growth[side].max(usize::from(beyond_sq[side] <= limits[lane]));
                }
            }
        }
        growth
    }

    fn too_few(&self, lane: usize, reach: Reach) -> bool {
        matches!(reach, Reach::Nearest(k) if (self.measured[lane] as usize) < k)
    }

    fn beyond_sq(&self, lane: usize) -> [f32; 4] {
        self.grid.beyond_sq(self.row, self.column + lane, self.window)
    }

    /// Takes the limits of lanes away whose window is not proven.
    fn settled(&self, mut limits: Lane) -> Lane {
        for (lane, limit) in limits.iter_mut().enumerate() {
            let proven = self.active[lane] && self.beyond_sq(lane).iter().all(|b| *b > *limit);
            *limit = if proven { *limit } else { NO_LIMIT };
        }
        limits
    }
}

/// Measures the squared distances of a block to every offset of a window into `out`, and
/// counts the measured points of each lane's window (its own among them).
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn measure(
    planes: [&[f32]; 3],
    stride: usize,
    at: usize,
    window: Window,
    out: &mut Vec<Lane>,
) -> [u32; LANES] {
    let [up, down, left, right] = window;
    let center = planes.map(|plane| lane_at(plane, at));
    let mut measured = [0; LANES];
    out.clear();
    for row in 0..=up + down {
        let first = at + row * stride - up * stride - left;
        for offset in first..=first + left + right {
            let (x, y, z) =
                (lane_at(planes[0], offset), lane_at(planes[1], offset), lane_at(planes[2], offset));
            let mut distances_sq = [0.0; LANES];
            for l in 0..LANES {
                let (dx, dy, dz) = (x[l] - center[0][l], y[l] - center[1][l], z[l] - center[2][l]);
                distances_sq[l] = dx * dx + dy * dy + dz * dz;
                measured[l] += u32::from(distances_sq[l] < FAR_SQ);
            }
            out.push(distances_sq);
        }
    }
    measured
}

/// The lanes starting at a place of a plane.
#[inline(always)]
pub(crate) fn lane_at(plane: &[f32], at: usize) -> &Lane {
    plane[at..at + LANES].try_into().expect("the slice has LANES values")
}

/// For each searched lane the limit within which exactly `k` offsets lie, or [`NO_LIMIT`]
/// when there is none because of a tie.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^24")]
pub(crate) fn nearest_limits(distances_sq: &[Lane], k: u32, guess: &Lane, searched: &[bool; LANES]) -> Lane {
    let target = k as f32;
    let mut limits = first_limits(distances_sq, target, guess, searched);
    let (mut low, mut low_count) = ([0.0; LANES], [0.0; LANES]);
    let (mut high, mut high_count) = ([f32::INFINITY; LANES], [0.0; LANES]);
    let mut open = *searched;
    for pass in 0..PASSES_MAX {
        let counts = count_within(distances_sq, &limits);
        let halve = pass > PASSES_SECANT && pass % 2 == 0;
        let mut any_open = false;
        for l in 0..LANES {
            open[l] &= counts[l] != k;
            any_open |= open[l];
            let (count, below) = (counts[l] as f32, counts[l] < k);
            (low[l], low_count[l]) = if below { (limits[l], count) } else { (low[l], low_count[l]) };
            (high[l], high_count[l]) = if below { (high[l], high_count[l]) } else { (limits[l], count) };
            let share = if halve { 0.5 } else { (target - low_count[l]) / (high_count[l] - low_count[l]) };
            let between = low[l] + (high[l] - low[l]) * share;
            let beyond = limits[l] * ((target + 0.5) / count).clamp(1.1, 4.0);
            let next = if high[l] < f32::INFINITY { between } else { beyond };
            limits[l] = if open[l] { next } else { limits[l] };
        }
        if !any_open {
            break;
        }
    }
    std::array::from_fn(|l| if open[l] || !searched[l] { NO_LIMIT } else { limits[l] })
}

/// Offsets counted between two uses of [`black_box`].
const COUNT_CHUNK: usize = 8;

/// Offsets within each lane's limit.
///
/// Without the opaque use of the counts the compiler turns the loop inside out and gathers
/// one lane's distances of 16 offsets at a time, which is six times slower.
#[inline(always)]
fn count_within(distances_sq: &[Lane], limits: &Lane) -> [u32; LANES] {
    let mut counts = [0; LANES];
    let (chunks, rest) = distances_sq.as_chunks::<COUNT_CHUNK>();
    let mut last = [[f32::INFINITY; LANES]; COUNT_CHUNK];
    last[..rest.len()].copy_from_slice(rest);
    for chunk in chunks.iter().chain([&last]) {
        let [a, b, c, d, e, f, g, h] = chunk;
        for l in 0..LANES {
            let within = |distances_sq: &Lane| u32::from(distances_sq[l] <= limits[l]);
            counts[l] += within(a) + within(b) + within(c) + within(d);
            counts[l] += within(e) + within(f) + within(g) + within(h);
        }
        black_box(&mut counts);
    }
    counts
}

/// Where the search starts: the guess, or what the nearest pixel's distance suggests for
/// `k` points on a disc.
#[inline(always)]
fn first_limits(distances_sq: &[Lane], target: f32, guess: &Lane, searched: &[bool; LANES]) -> Lane {
    if (0..LANES).all(|l| guess[l] > 0.0 || !searched[l]) {
        return *guess;
    }
    let mut nearest = [FAR_SQ; LANES];
    for distances_sq in distances_sq {
        for l in 0..LANES {
            let nearer = distances_sq[l] > 0.0 && distances_sq[l] < nearest[l];
            nearest[l] = if nearer { distances_sq[l] } else { nearest[l] };
        }
    }
    let from_pitch = |l: usize| nearest[l] * target * std::f32::consts::FRAC_1_PI;
    std::array::from_fn(|l| if guess[l] > 0.0 { guess[l] } else { from_pitch(l) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::OrganizedCloud;
    use crate::neighbors::{NeighborList, PointTree};

    /// A slanted, rippled surface with a hole and a lone point in the hole.
    fn cloud(height: u16, width: u16) -> OrganizedCloud {
        let point = |i: u16| {
            let (row, column) = (i / width, i % width);
            let in_hole = row.abs_diff(height / 2) < 8 && column.abs_diff(width / 2) < 8;
            let lone = row == height / 2 && column == width / 2;
            if in_hole && !lone {
                return [0.0; 3];
            }
            let z = 0.5 + 8e-4 * f32::from(column) + 1e-4 * f32::from(i.wrapping_mul(7919) % 101);
            [(f32::from(column) - 20.0) * 2e-3 * z, (f32::from(row) - 20.0) * 2e-3 * z, z]
        };
        let points = (0..height * width).map(point).collect();
        OrganizedCloud::new(height.into(), width.into(), points).unwrap()
    }

    /// Pixels whose neighbours agree, and pixels left to the kd-tree.
    fn compare(cloud: &OrganizedCloud, reach: Reach) -> (usize, usize) {
        let grid = PaddedGrid::new(cloud, margin_for(reach).unwrap()).unwrap();
        let pixels = cloud.valid_indices();
        let points: Vec<_> = pixels.iter().map(|i| cloud.points()[*i]).collect();
        let (tree, mut list) = (PointTree::new(&points), NeighborList::default());
        let mut search = BlockSearch::new(&grid);
        let (mut settled, mut left) = (0, 0);
        for (index, pixel) in pixels.iter().enumerate() {
            let (row, column) = (pixel / cloud.width(), pixel % cloud.width());
            let (first, lane) = (column - column % LANES, column % LANES);
            assert!(search.start(row, first, [2; 4]));
            let limit = search.settle(reach, &[0.0; LANES])[lane];
            if limit < 0.0 {
                left += 1;
                continue;
            }
            tree.neighbors(index, reach, &mut list);
            let within = search.distances_sq().iter().filter(|d| d[lane] <= limit).count();
            assert_eq!(within, list.indices.len() + 1, "pixel {pixel}, {reach:?}");
            assert!(list.distances_sq.iter().all(|d| *d <= limit), "pixel {pixel}, {reach:?}");
            settled += 1;
        }
        (settled, left)
    }

    #[test]
    fn settled_lanes_have_the_neighbors_of_the_kd_tree() {
        let cloud = cloud(44, 50);
        for reach in [Reach::Nearest(2), Reach::Nearest(30), Reach::Nearest(100), Reach::Within(5e-3)] {
            let (settled, left) = compare(&cloud, reach);
            assert!(left * 20 < settled, "{reach:?}: {settled} settled, {left} left");
        }
    }

    #[test]
    fn a_window_that_cannot_grow_ends_the_search() {
        // More neighbours than there are points: every lane is left, and the loop ends.
        let cloud = cloud(20, 20);
        assert_eq!(compare(&cloud, Reach::Nearest(1000)).0, 0);
        // A radius larger than the margin of 32 pixels can show.
        let cloud = self::cloud(3, 120);
        assert!(compare(&cloud, Reach::Within(0.06)).1 > 0);
    }
}
