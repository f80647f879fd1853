//! [`Neighborhoods`]: the blocks of a cloud without a grid with everything that a second
//! and third pass over the points need, and the normals found on the way.

use multiversion::multiversion;
use rayon::prelude::*;

use super::eigen::{LaneMoments, normals_of_lanes};
use super::{Orientation, normal_of_list, oriented};
use crate::neighbors::cluster::{Block, ClusterSearch, Clusters, splat};
use crate::neighbors::grid::{LANES, Lane};
use crate::neighbors::spans::any_within;
use crate::neighbors::window::{NO_LIMIT, margin_for};
use crate::neighbors::{NeighborList, PointTree, Reach};

/// Blocks that one task works on; a task's first block starts from nothing.
const BLOCKS_PER_TASK: usize = 64;

/// One block's neighbourhoods.
pub(crate) struct ClusterBlock {
    pub(crate) block: Block,
    /// Squared distance up to which a candidate is a lane's neighbour.
    pub(crate) limits: Lane,
    /// The points that are a neighbour in some lane, ascending.
    pub(crate) candidates: Vec<u32>,
}

/// All blocks of a cloud.
pub(crate) struct Neighborhoods {
    pub(crate) blocks: Vec<ClusterBlock>,
    /// Points left to the kd-tree, ascending.
    pub(crate) unresolved: Vec<usize>,
}

impl Neighborhoods {
    /// Searches the neighbourhoods by `reach` and, when asked for, estimates normals, one
    /// per point. `None` when blocks would not pay.
    pub(crate) fn search(
        points: &[[f32; 3]],
        normals: Option<(Reach, Orientation)>,
        reach: Reach,
    ) -> Option<(Self, Vec<[f32; 3]>)> {
        let (reach_normals, orientation) = normals.unwrap_or((reach, Orientation::None));
        margin_for(reach_normals)?;
        margin_for(reach)?;
        let clusters = Clusters::new(points);
        let tasks = clusters.blocks().len().div_ceil(BLOCKS_PER_TASK);
        let search = |task: usize| {
            let first = task * BLOCKS_PER_TASK;
            let blocks = first..clusters.blocks().len().min(first + BLOCKS_PER_TASK);
            search_blocks(points, &clusters, blocks, [reach, reach_normals], normals.is_some())
        };
        let results: Vec<_> = (0..tasks).into_par_iter().map(search).collect();
        let mut found = vec![[0.0; 3]; if normals.is_some() { points.len() } else { 0 }];
        let (mut blocks, mut unresolved, mut unresolved_normals) = (Vec::new(), Vec::new(), Vec::new());
        for (block, limits_normals, lanes) in results.into_iter().flatten() {
            for (lane, index) in block.block.indices().iter().map(|i| *i as usize).enumerate() {
                if let Some(normal) = found.get_mut(index) {
                    let normal_found = lanes.map(|component| component[lane]);
                    *normal = oriented(normal_found, points[index], orientation);
                }
                unresolved.extend((block.limits[lane] == NO_LIMIT).then_some(index));
                unresolved_normals.extend((limits_normals[lane] == NO_LIMIT).then_some(index));
            }
            blocks.push(block);
        }
        unresolved.sort_unstable();
        if normals.is_some() {
            resolve_normals(points, &unresolved_normals, (reach_normals, orientation), &mut found);
        }
        Some((Self { blocks, unresolved }, found))
    }
}

/// Estimates the normals of points left to the kd-tree.
fn resolve_normals(
    points: &[[f32; 3]],
    unresolved: &[usize],
    (reach, orientation): (Reach, Orientation),
    normals: &mut [[f32; 3]],
) {
    if unresolved.is_empty() {
        return;
    }
    let tree = PointTree::new(points);
    let find = |list: &mut NeighborList, index: &usize| {
        tree.neighbors(*index, reach, list);
        normal_of_list(points, *index, &list.indices, orientation)
    };
    let found: Vec<_> = unresolved.par_iter().map_init(NeighborList::default, find).collect();
    for (index, normal) in unresolved.iter().zip(found) {
        normals[*index] = normal;
    }
}

/// A block, its limits for the normals, and the normals, not yet oriented.
type Found = (ClusterBlock, Lane, [Lane; 3]);

fn search_blocks(
    points: &[[f32; 3]],
    clusters: &Clusters<'_>,
    blocks: std::ops::Range<usize>,
    reaches: [Reach; 2],
    estimate: bool,
) -> Vec<Found> {
    let mut search = ClusterSearch::new(clusters);
    let mut found = Vec::with_capacity(blocks.len());
    for index in blocks {
        let block = clusters.blocks()[index];
        let [limits, limits_normals] = search.settle(index, reaches);
        let (candidates, distances_sq) = (search.candidates(), search.distances_sq());
        let mut normals = [[0.0; LANES]; 3];
        if estimate {
            estimate_block(
                points,
                candidates,
                &block.lanes(points),
                (distances_sq, &limits_normals),
                &mut normals,
            );
        }
        let members = candidates.iter().zip(distances_sq).filter(|(_, d)| any_within(d, &limits));
        let candidates = members.map(|(candidate, _)| *candidate).collect();
        found.push((ClusterBlock { block, limits, candidates }, limits_normals, normals));
    }
    found
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn estimate_block(
    points: &[[f32; 3]],
    candidates: &[u32],
    center: &[Lane; 3],
    (distances_sq, limits): (&[Lane], &Lane),
    out: &mut [Lane; 3],
) {
    let mut moments = LaneMoments::default();
    for (candidate, distances_sq) in candidates.iter().zip(distances_sq) {
        if any_within(distances_sq, limits) {
            let other = splat(points[*candidate as usize]);
            moments.add(center.each_ref(), other.each_ref(), distances_sq, limits);
        }
    }
    normals_of_lanes(&moments, out);
}
