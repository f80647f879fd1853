//! SPFH and FPFH of points whose neighbours are given as lists: clouds without a grid, and
//! the points of an organised cloud that no window could prove.

use super::histogram::{FinishingRule, SpfhRow, drain_all, finish, weight};
use super::pair::{Counters, Degenerate, LANES, Lane, PAIRS_PER_FLUSH, Pairs, count};

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
    let (mut d, mut n2) = ([[0.0; LANES]; 3], [[0.0; LANES]; 3]);
    let mut member = [false; LANES];
    for (lane, neighbor) in neighbors.iter().enumerate() {
        let neighbor = *neighbor as usize;
        member[lane] = true;
        for axis in 0..3 {
            d[axis][lane] = points[neighbor][axis] - points[index][axis];
            n2[axis][lane] = normals[neighbor][axis];
        }
    }
    let n1 = normals[index].map(|component| [component; LANES]);
    let pairs = Pairs { d: refs(&d), n1: refs(&n1), n2: refs(&n2), member: &member };
    count(&pairs, degenerate_by(rule), counters);
}

#[inline(always)]
fn refs(lanes: &[Lane; 3]) -> [&Lane; 3] {
    lanes.each_ref()
}

/// What a rule does with pairs that have no frame.
#[inline(always)]
pub(crate) fn degenerate_by(rule: FinishingRule) -> Degenerate {
    if rule == FinishingRule::Open3d { Degenerate::Centre } else { Degenerate::Skip }
}

/// The descriptor of the point `index` from the SPFH rows of all points.
pub(crate) fn fpfh(
    spfhs: &[SpfhRow],
    index: usize,
    neighbors: &[u32],
    distances_sq: &[f32],
    rule: FinishingRule,
    out: &mut [f32],
) {
    let mut sums = [0.0; 32];
    for (neighbor, distance_sq) in neighbors.iter().zip(distances_sq) {
        let weight = weight(*distance_sq);
        for (sum, bin) in sums.iter_mut().zip(&spfhs[*neighbor as usize]) {
            *sum += weight * bin;
        }
    }
    finish(&sums, &spfhs[index], rule, out);
}
