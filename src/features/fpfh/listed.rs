//! SPFH and FPFH of points whose neighbours are given as lists: clouds without a grid, and
//! the points of an organised cloud that no window could prove.

use super::histogram::{FinishingRule, SpfhRow, drain_all, finish, weight};
use super::pair::{Counters, Degenerate, PAIRS_PER_FLUSH, Pairs, count};
use crate::neighbors::grid::{LANES, Lane};
use crate::neighbors::window::NO_LIMIT;

/// The SPFH of the point `index`, whose neighbours (itself not among them) are listed.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^24 neighbours keep their count exact")]
pub(crate) fn spfh(
    points: &[[f32; 3]],
    normals: &[[f32; 3]],
    index: usize,
    neighbors: &[u32],
    rule: FinishingRule,
) -> SpfhRow {
    let mut row = [0.0; 32];
    if neighbors.is_empty() {
        return row;
    }
    for neighbors in neighbors.chunks(LANES * PAIRS_PER_FLUSH) {
        let mut counters = Counters::default();
        for neighbors in neighbors.chunks(LANES) {
            count_chunk(points, normals, index, neighbors, rule, &mut counters);
        }
        drain_all(&counters, &mut row);
    }
    let increment = 100.0 / neighbors.len() as f32;
    row.map(|pairs| pairs * increment)
}

#[inline(always)]
fn count_chunk(
    points: &[[f32; 3]],
    normals: &[[f32; 3]],
    index: usize,
    neighbors: &[u32],
    rule: FinishingRule,
    counters: &mut Counters,
) {
    let (mut p2, mut n2) = ([[0.0; LANES]; 3], [[0.0; LANES]; 3]);
    let mut limits = [NO_LIMIT; LANES];
    for (lane, neighbor) in neighbors.iter().enumerate() {
        let neighbor = *neighbor as usize;
        limits[lane] = f32::INFINITY;
        for axis in 0..3 {
            p2[axis][lane] = points[neighbor][axis];
            n2[axis][lane] = normals[neighbor][axis];
        }
    }
    let (p1, n1) = (splat(points[index]), splat(normals[index]));
    let (p1, n1, p2, n2) = (p1.each_ref(), n1.each_ref(), p2.each_ref(), n2.each_ref());
    count(&Pairs { p1, n1, p2, n2, limits: &limits }, degenerate_by(rule), counters);
}

#[inline(always)]
fn splat(v: [f32; 3]) -> [Lane; 3] {
    v.map(|component| [component; LANES])
}

/// What a rule does with pairs that have no frame.
#[inline(always)]
pub(crate) fn degenerate_by(rule: FinishingRule) -> Degenerate {
    if rule == FinishingRule::Open3d { Degenerate::Centre } else { Degenerate::Skip }
}

/// The descriptor of a point from its neighbours' SPFH rows and squared distances.
pub(crate) fn fpfh<'a>(
    neighbors: impl Iterator<Item = (&'a SpfhRow, f32)>,
    own: &SpfhRow,
    rule: FinishingRule,
    out: &mut [f32],
) {
    let mut sums = [0.0; 32];
    for (row, distance_sq) in neighbors {
        let weight = weight(distance_sq);
        for (sum, bin) in sums.iter_mut().zip(row) {
            *sum += weight * bin;
        }
    }
    finish(&sums, own, rule, out);
}
