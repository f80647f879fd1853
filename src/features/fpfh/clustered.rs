//! SPFH and FPFH of a cloud without a grid, 16 close points at once.
//!
//! The lanes are the points of a block, the loop runs over the block's candidates. SPFH
//! rows are kept in the order of the points; sums run over candidates ascending by index,
//! as everywhere, so that the result has the same bits as the other searches'.

use multiversion::multiversion;
use ndarray::Array2;
use rayon::prelude::*;

use super::histogram::{FPFH_DIMS, FinishingRule, SpfhRow, finish, weight};
use super::lanes::LaneCounts;
use super::listed::{Leftover, degenerate_by};
use super::pair::{Degenerate, Pairs};
use crate::neighbors::Reach;
use crate::neighbors::cluster::splat;
use crate::neighbors::grid::{LANES, Lane};
use crate::neighbors::window::NO_LIMIT;
use crate::normals::{ClusterBlock, Neighborhoods};

/// Describes the points of a cloud, `[n, 33]`.
pub(super) fn describe(
    points: &[[f32; 3]],
    normals: &[[f32; 3]],
    neighborhoods: &Neighborhoods,
    reach: Reach,
    rule: FinishingRule,
) -> Array2<f32> {
    let (blocks, leftover) = (&neighborhoods.blocks, Leftover::new(points, &neighborhoods.unresolved, reach));
    let counted: Vec<[SpfhRow; LANES]> = blocks
        .par_iter()
        .map(|block| {
            let mut rows = [[0.0; 32]; LANES];
            count_block(points, normals, block, degenerate_by(rule), &mut rows);
            rows
        })
        .collect();
    let mut spfhs = vec![[0.0; 32]; points.len()];
    for (block, rows) in blocks.iter().zip(counted) {
        for (index, row) in block.block.indices().iter().zip(rows) {
            spfhs[*index as usize] = row;
        }
    }
    for (index, row) in leftover.spfhs(normals, rule) {
        spfhs[index] = row;
    }
    let summed: Vec<[SpfhRow; LANES]> = blocks
        .par_iter()
        .map_init(Vec::new, |weights, block| sum_block(points, &spfhs, block, weights))
        .collect();
    let mut rows = Array2::zeros((points.len(), FPFH_DIMS));
    let out = rows.as_slice_mut().expect("a new array is contiguous");
    for (block, sums) in blocks.iter().zip(&summed) {
        for (index, sums) in block.block.indices().iter().map(|i| *i as usize).zip(sums) {
            finish(sums, &spfhs[index], rule, &mut out[index * FPFH_DIMS..(index + 1) * FPFH_DIMS]);
        }
    }
    for (index, row) in leftover.fpfhs(|index| &spfhs[index], rule) {
        out[index * FPFH_DIMS..(index + 1) * FPFH_DIMS].copy_from_slice(&row);
    }
    rows
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn count_block(
    points: &[[f32; 3]],
    normals: &[[f32; 3]],
    block: &ClusterBlock,
    degenerate: Degenerate,
    out: &mut [SpfhRow; LANES],
) {
    let (p1, n1) = (block.block.lanes(points), block.block.lanes(normals));
    let (p1, n1) = (p1.each_ref(), n1.each_ref());
    let own = block.block.padded();
    let mut counts = LaneCounts::default();
    for candidate in &block.candidates {
        let (p2, n2) = (splat(points[*candidate as usize]), splat(normals[*candidate as usize]));
        // No point is its own neighbour.
        let mut limits = block.limits;
        for l in 0..LANES {
            limits[l] = if own[l] == *candidate { NO_LIMIT } else { limits[l] };
        }
        counts.count(&Pairs { p1, n1, p2: p2.each_ref(), n2: n2.each_ref(), limits: &limits }, degenerate);
    }
    counts.finish(out);
}

fn sum_block(
    points: &[[f32; 3]],
    spfhs: &[SpfhRow],
    block: &ClusterBlock,
    weights: &mut Vec<Lane>,
) -> [SpfhRow; LANES] {
    let mut sums = [[0.0; 32]; LANES];
    weigh_candidates(points, block, weights);
    sum_lanes(spfhs, &block.candidates, weights, &mut sums);
    sums
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn weigh_candidates(points: &[[f32; 3]], block: &ClusterBlock, weights: &mut Vec<Lane>) {
    let center = block.block.lanes(points);
    weights.clear();
    for candidate in &block.candidates {
        let [x, y, z] = points[*candidate as usize];
        let mut lanes = [0.0; LANES];
        for l in 0..LANES {
            let (dx, dy, dz) = (x - center[0][l], y - center[1][l], z - center[2][l]);
            let distance_sq = dx * dx + dy * dy + dz * dz;
            let weight = weight(distance_sq);
            lanes[l] = if distance_sq <= block.limits[l] { weight } else { 0.0 };
        }
        weights.push(lanes);
    }
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn sum_lanes(spfhs: &[SpfhRow], candidates: &[u32], weights: &[Lane], sums: &mut [SpfhRow; LANES]) {
    for (l, sums) in sums.iter_mut().enumerate() {
        let mut sum = [0.0; 32];
        for (candidate, weights) in candidates.iter().zip(weights) {
            let (weight, row) = (weights[l], &spfhs[*candidate as usize]);
            for bin in 0..32 {
                sum[bin] += weight * row[bin];
            }
        }
        *sums = sum;
    }
}
