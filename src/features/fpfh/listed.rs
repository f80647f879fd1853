//! SPFH and FPFH of points whose neighbours are given as lists: clouds without a grid, and
//! the points of an organised cloud that no window could prove.

use rayon::prelude::*;

use super::histogram::{FPFH_DIMS, FinishingRule, SpfhRow, drain_all, finish, weight};
use super::pair::{Counters, Degenerate, PAIRS_PER_FLUSH, Pairs, count};
use crate::neighbors::grid::{LANES, Lane};
use crate::neighbors::window::NO_LIMIT;
use crate::neighbors::{NeighborList, PointTree, Reach};

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

/// The points that the block searches left to the kd-tree. Their neighbours are searched
/// anew in each pass: kept lists could outgrow the memory when a radius spans the cloud.
pub(crate) struct Leftover<'a> {
    points: &'a [[f32; 3]],
    unresolved: &'a [usize],
    reach: Reach,
    tree: Option<PointTree<'a>>,
}

impl<'a> Leftover<'a> {
    pub(crate) fn new(points: &'a [[f32; 3]], unresolved: &'a [usize], reach: Reach) -> Self {
        let tree = (!unresolved.is_empty()).then(|| PointTree::new(points));
        Self { points, unresolved, reach, tree }
    }

    /// Their SPFH rows, with their indices.
    pub(crate) fn spfhs(&self, normals: &[[f32; 3]], rule: FinishingRule) -> Vec<(usize, SpfhRow)> {
        self.each(|list, index| spfh(self.points, normals, index, &list.indices, rule))
    }

    /// Their descriptors, with their indices, from the SPFH rows of all points.
    pub(crate) fn fpfhs<'s>(
        &self,
        row_of: impl Fn(usize) -> &'s SpfhRow + Sync,
        rule: FinishingRule,
    ) -> Vec<(usize, [f32; FPFH_DIMS])> {
        self.each(|list, index| {
            let mut row = [0.0; FPFH_DIMS];
            let rows = list.indices.iter().map(|i| row_of(*i as usize));
            fpfh(rows.zip(list.distances_sq.iter().copied()), row_of(index), rule, &mut row);
            row
        })
    }

    fn each<T: Send>(&self, describe: impl Fn(&NeighborList, usize) -> T + Sync) -> Vec<(usize, T)> {
        let Some(tree) = &self.tree else { return Vec::new() };
        let one = |list: &mut NeighborList, index: &usize| {
            tree.neighbors(*index, self.reach, list);
            (*index, describe(list, *index))
        };
        self.unresolved.par_iter().map_init(NeighborList::default, one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PCL's own unit test (test/features/test_pfh_estimation.cpp): SPFHs over the whole
    /// cloud bun0.pcd, then the weighting alone, the i-th point at the made-up squared
    /// distance i; `pcl_bun0_fpfh.json` holds its expected values and its tolerance 0.01.
    #[test]
    #[expect(clippy::cast_precision_loss, reason = "397 points")]
    fn pcl_unit_test_values() {
        let Some(shared) = std::env::var_os("ZAL_SHARED").map(std::path::PathBuf::from) else {
            eprintln!("skipped: ZAL_SHARED is not set, so bun0.pcd cannot be read");
            return;
        };
        let text = std::fs::read_to_string(shared.join("data/clouds/bun0.pcd")).unwrap();
        let json = std::fs::read(shared.join("vectors/fpfh/pcl_bun0_fpfh.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let lines = text.split("DATA ascii\n").nth(1).unwrap().lines();
        let values: Vec<Vec<f32>> =
            lines.map(|l| l.split(' ').map(|v| v.parse().unwrap()).collect()).collect();
        let points: Vec<_> = values.iter().map(|v| [v[0], v[1], v[2]]).collect();
        let normals: Vec<_> = values.iter().map(|v| [v[3], v[4], v[5]]).collect();
        let others = |index: u32| (0..397).filter(|i| *i != index).collect::<Vec<u32>>();
        let row = |index: u32| spfh(&points, &normals, index as usize, &others(index), FinishingRule::Pcl);
        let spfhs: Vec<_> = (0..397).map(row).collect();
        let mut found = [0.0; FPFH_DIMS];
        let neighbors = spfhs.iter().enumerate().map(|(i, row)| (row, i as f32));
        fpfh(neighbors, &spfhs[0], FinishingRule::Pcl, &mut found);
        for (bin, expected) in json["fpfh_point_0"].as_array().unwrap().iter().enumerate() {
            let difference = f64::from(found[bin]) - expected.as_f64().unwrap();
            assert!(difference.abs() < 1e-2, "bin {bin}: {} instead of {expected}", found[bin]);
        }
    }
}
