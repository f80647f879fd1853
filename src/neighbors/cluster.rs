//! Neighbours of 16 close points at once, for clouds without a grid.
//!
//! Halving the cloud along its longest side until 16 points are left gives blocks of close
//! points, each with a box around it. A block's candidates are the points of all blocks
//! whose boxes lie within a radius of its own box; every other point is farther than that
//! from each of the block's points. A limit within the radius is therefore exact, as with
//! [`super::window`], and limits are found by the same search. Blocks with too many
//! candidates, and lanes whose last place is tied, are left to the kd-tree.

use multiversion::multiversion;

use super::Reach;
use super::grid::{FAR_SQ, LANES, Lane};
use super::window::{NO_LIMIT, nearest_limits};

/// A block with more candidates than this is left to the kd-tree: the lists of all blocks
/// are kept at once.
const CANDIDATES_MAX: usize = 2048;
/// Relative margin of box distances, for the rounding of squared distances.
const BOX_MARGIN: f32 = 1e-5;

/// An axis-parallel box: smallest and largest coordinates.
type Bounds = [[f32; 3]; 2];

/// A node of the halving: a block, or two nodes.
enum Node {
    Block { bounds: Bounds, block: usize },
    Halves { bounds: Bounds, nodes: [usize; 2] },
}

/// Indices of up to [`LANES`] close points.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    indices: [u32; LANES],
    count: usize,
}

/// A cloud cut into blocks.
pub struct Clusters<'a> {
    points: &'a [[f32; 3]],
    blocks: Vec<Block>,
    nodes: Vec<Node>,
    bounds: Vec<Bounds>,
}

impl Block {
    /// Indices of the block's points.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices[..self.count]
    }

    /// All lanes' indices; lanes beyond the last point repeat the first.
    #[must_use]
    pub const fn padded(&self) -> &[u32; LANES] {
        &self.indices
    }

    /// One coordinate list per axis; lanes beyond the last point repeat the first.
    #[must_use]
    pub fn lanes(&self, vectors: &[[f32; 3]]) -> [Lane; 3] {
        let vector = |lane: usize| vectors[self.indices[lane] as usize];
        std::array::from_fn(|axis| std::array::from_fn(|lane| vector(lane)[axis]))
    }
}

impl<'a> Clusters<'a> {
    /// Cuts a cloud of finite points, at most `u32::MAX` of them.
    #[must_use]
    pub fn new(points: &'a [[f32; 3]]) -> Self {
        let mut order: Vec<u32> = (0..).take(points.len()).collect();
        let mut clusters = Self { points, blocks: Vec::new(), nodes: Vec::new(), bounds: Vec::new() };
        if !order.is_empty() {
            clusters.cut(&mut order);
        }
        clusters
    }

    /// The blocks; close ones stand near each other.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    fn cut(&mut self, order: &mut [u32]) -> usize {
        let bounds = bounds_of(self.points, order);
        if order.len() <= LANES {
            let mut indices = [order[0]; LANES];
            indices[..order.len()].copy_from_slice(order);
            self.nodes.push(Node::Block { bounds, block: self.blocks.len() });
            self.blocks.push(Block { indices, count: order.len() });
            self.bounds.push(bounds);
        } else {
            let extent = |axis: &usize| bounds[1][*axis] - bounds[0][*axis];
            let axis = (0..3).max_by(|a, b| extent(a).total_cmp(&extent(b))).unwrap_or(0);
            // Only the last block may be partly filled.
            let half = (order.len() / 2).next_multiple_of(LANES).min(order.len() - 1);
            let coordinate = |index: u32| self.points[index as usize][axis];
            order.select_nth_unstable_by(half, |a, b| {
                coordinate(*a).total_cmp(&coordinate(*b)).then(a.cmp(b))
            });
            let (lower, upper) = order.split_at_mut(half);
            let nodes = [self.cut(lower), self.cut(upper)];
            self.nodes.push(Node::Halves { bounds, nodes });
        }
        self.nodes.len() - 1
    }

    /// Puts the points of all blocks within a radius of a block into `out`, ascending.
    fn candidates(&self, block: usize, radius_sq: f32, out: &mut Vec<u32>) {
        out.clear();
        let (bounds, limit) = (&self.bounds[block], radius_sq * (1.0 + BOX_MARGIN));
        let mut open = vec![self.nodes.len() - 1];
        while let Some(node) = open.pop() {
            match &self.nodes[node] {
                Node::Block { bounds: other, block } if box_distance_sq(bounds, other) <= limit => {
                    out.extend_from_slice(self.blocks[*block].indices());
                }
                Node::Halves { bounds: other, nodes } if box_distance_sq(bounds, other) <= limit => {
                    open.extend(nodes);
                }
                Node::Block { .. } | Node::Halves { .. } => {}
            }
        }
        out.sort_unstable();
    }
}

fn bounds_of(points: &[[f32; 3]], indices: &[u32]) -> Bounds {
    let mut bounds = [[f32::INFINITY; 3], [f32::NEG_INFINITY; 3]];
    for index in indices {
        for (axis, coordinate) in points[*index as usize].into_iter().enumerate() {
            bounds[0][axis] = bounds[0][axis].min(coordinate);
            bounds[1][axis] = bounds[1][axis].max(coordinate);
        }
    }
    bounds
}

fn box_distance_sq(a: &Bounds, b: &Bounds) -> f32 {
    let gap = |axis: usize| (b[0][axis] - a[1][axis]).max(a[0][axis] - b[1][axis]).max(0.0);
    gap(0) * gap(0) + gap(1) * gap(1) + gap(2) * gap(2)
}

/// The search in one block; keeps its buffers, and the last radius to start from.
pub struct ClusterSearch<'c> {
    clusters: &'c Clusters<'c>,
    radius_sq: f32,
    candidates: Vec<u32>,
    distances_sq: Vec<Lane>,
}

impl<'c> ClusterSearch<'c> {
    /// A search that has not looked at any block.
    #[must_use]
    pub const fn new(clusters: &'c Clusters<'c>) -> Self {
        Self { clusters, radius_sq: 0.0, candidates: Vec::new(), distances_sq: Vec::new() }
    }

    /// Finds each lane's limit for several reaches in one block. Lanes without a point, and
    /// those left to the kd-tree, get [`NO_LIMIT`].
    pub fn settle<const N: usize>(&mut self, block: usize, reaches: [Reach; N]) -> [Lane; N] {
        let center = self.clusters.blocks[block].lanes(self.clusters.points);
        let count = self.clusters.blocks[block].count;
        loop {
            self.clusters.candidates(block, self.radius_sq, &mut self.candidates);
            if self.candidates.len() > CANDIDATES_MAX {
                // The next block shall not begin with what was too much for this one.
                self.radius_sq *= 0.25;
                return [[NO_LIMIT; LANES]; N];
            }
            let measured = measure(self.clusters.points, &self.candidates, &center, &mut self.distances_sq);
            let most = measured[..count].iter().copied().min().unwrap_or(0);
            let all_seen = self.candidates.len() == self.clusters.points.len();
            if !all_seen
                && reaches.iter().any(|reach| matches!(reach, Reach::Nearest(k) if *k > most as usize))
            {
                self.widen(block);
                continue;
            }
            let limits = reaches.map(|reach| self.limits(reach, &measured, count));
            let needed_sq = limits.iter().flatten().fold(0.0, |a: f32, b| a.max(*b));
            if all_seen || needed_sq <= self.radius_sq {
                // Begin the next block with what this one needed.
                self.radius_sq = needed_sq;
                return limits;
            }
            self.radius_sq = needed_sq;
        }
    }

    fn widen(&mut self, block: usize) {
        let [low, high] = self.clusters.bounds[block];
        let diagonal_sq: f32 = (0..3).map(|axis| (high[axis] - low[axis]).powi(2)).sum();
        self.radius_sq = (self.radius_sq * 2.0).max(diagonal_sq * 0.25).max(f32::MIN_POSITIVE);
    }

    fn limits(&self, reach: Reach, measured: &[u32; LANES], count: usize) -> Lane {
        match reach {
            Reach::Within(radius_m) => {
                std::array::from_fn(|l| if l < count { radius_m * radius_m } else { NO_LIMIT })
            }
            Reach::Nearest(k) => {
                let k = u32::try_from(k).unwrap_or(u32::MAX);
                let searched = std::array::from_fn(|l| l < count && measured[l] >= k);
                nearest_limits(&self.distances_sq, k, &[0.0; LANES], &searched)
            }
        }
    }

    /// The candidates of the block settled last, ascending.
    #[must_use]
    pub fn candidates(&self) -> &[u32] {
        &self.candidates
    }

    /// Their squared distances to the block's points.
    #[must_use]
    pub fn distances_sq(&self) -> &[Lane] {
        &self.distances_sq
    }
}

/// The same vector in all lanes.
#[inline(always)]
pub(crate) fn splat(v: [f32; 3]) -> [Lane; 3] {
    v.map(|component| [component; LANES])
}

/// Measures the squared distances of a block's points to its candidates into `out`, and
/// counts those that are not absurdly far.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn measure(points: &[[f32; 3]], candidates: &[u32], center: &[Lane; 3], out: &mut Vec<Lane>) -> [u32; LANES] {
    let mut measured = [0; LANES];
    out.clear();
    for candidate in candidates {
        let [x, y, z] = points[*candidate as usize];
        let mut distances_sq = [0.0; LANES];
        for l in 0..LANES {
            let (dx, dy, dz) = (x - center[0][l], y - center[1][l], z - center[2][l]);
            distances_sq[l] = dx * dx + dy * dy + dz * dz;
            measured[l] += u32::from(distances_sq[l] < FAR_SQ);
        }
        out.push(distances_sq);
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::{NeighborList, PointTree};

    /// Points on a bent sheet, some doubled, and a few far away from all others.
    fn sheet() -> Vec<[f32; 3]> {
        let on_sheet = |i: u16| {
            let (row, column) = (f32::from(i / 29), f32::from(i % 29));
            [column * 1.01e-3, row * 0.97e-3, 0.5 + 1e-4 * f32::from(i.wrapping_mul(7919) % 101)]
        };
        let mut points: Vec<_> = (0..900).map(on_sheet).collect();
        points.extend((0..40).map(|i| on_sheet(i * 13)));
        points.extend((0_u8..5).map(|i| [f32::from(i), 7.0, -2.0 * f32::from(i)]));
        points
    }

    fn compare(points: &[[f32; 3]], reach: Reach) -> usize {
        let (clusters, tree) = (Clusters::new(points), PointTree::new(points));
        let (mut search, mut list) = (ClusterSearch::new(&clusters), NeighborList::default());
        let mut settled = 0;
        for (index, block) in clusters.blocks().iter().enumerate() {
            let [limits] = search.settle(index, [reach]);
            for (lane, point) in block.indices().iter().enumerate() {
                if limits[lane] < 0.0 {
                    continue;
                }
                settled += 1;
                let members = search.candidates().iter().zip(search.distances_sq());
                let members = members.filter(|(i, d)| d[lane] <= limits[lane] && *i != point);
                let found: Vec<u32> = members.map(|(i, _)| *i).collect();
                tree.neighbors(*point as usize, reach, &mut list);
                assert_eq!(found, list.indices, "point {point}, {reach:?}");
            }
        }
        settled
    }

    #[test]
    fn settled_lanes_have_the_neighbors_of_the_kd_tree() {
        let points = sheet();
        for reach in [Reach::Nearest(2), Reach::Nearest(30), Reach::Nearest(100), Reach::Within(4e-3)] {
            let settled = compare(&points, reach);
            assert!(settled * 10 > points.len() * 7, "{reach:?} settles {settled} of {}", points.len());
        }
    }

    #[test]
    fn every_point_is_in_one_block() {
        for count in [0, 1, 15, 16, 17, 33, 945] {
            let points = &sheet()[..count];
            let clusters = Clusters::new(points);
            let mut seen: Vec<u32> = clusters.blocks().iter().flat_map(|b| b.indices().to_vec()).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq((0..).take(count)), "{count} points");
        }
    }

    #[test]
    fn too_many_candidates_are_left_to_the_kd_tree() {
        let points = vec![[0.1, 0.2, 0.5]; CANDIDATES_MAX + 1];
        assert_eq!(compare(&points, Reach::Within(1e-3)), 0);
    }
}
