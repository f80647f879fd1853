//! [`PointTree`]: exact neighbours by kd-tree, for any set of points.
//!
//! The only file that names kiddo. The tree proposes candidates; distances are measured
//! again with [`distance_sq`] and ties are broken by index here, so that the answer does
//! not depend on the tree's inner order.

use std::num::NonZero;

use kiddo::{ImmutableKdTree, SquaredEuclidean};

use super::{NeighborList, Reach, distance_sq};

/// Candidates asked for beyond `k`, so that ties at the last place are seen.
const TIE_MARGIN: usize = 4;
/// With more than this many times `k` points at the last place's distance, the tree's own
/// (repeatable) choice among them stands: a heap of duplicates must not cost `n` per point.
const TIE_FACTOR_MAX: usize = 4;

/// A kd-tree over finite points.
pub struct PointTree<'a> {
    points: &'a [[f32; 3]],
    tree: Option<ImmutableKdTree<f32, 3>>,
}

impl<'a> PointTree<'a> {
    /// Builds the tree. Points must be finite, at most `u32::MAX` of them.
    #[must_use]
    pub fn new(points: &'a [[f32; 3]]) -> Self {
        let tree = if points.is_empty() { None } else { ImmutableKdTree::new_from_slice(points).ok() };
        Self { points, tree }
    }

    /// Finds the neighbours of point `index` and puts them into `out`.
    pub fn neighbors(&self, index: usize, reach: Reach, out: &mut NeighborList) {
        out.indices.clear();
        out.distances_sq.clear();
        let mut found = match reach {
            Reach::Nearest(k) => self.nearest(index, k),
            Reach::Within(radius_m) => self.within(index, radius_m),
        };
        found.sort_unstable_by_key(|(_, i)| *i);
        out.indices.extend(found.iter().map(|(_, i)| *i));
        out.distances_sq.extend(found.iter().map(|(d, _)| *d));
    }

    fn nearest(&self, index: usize, k: usize) -> Vec<(f32, u32)> {
        let others = k.min(self.points.len()).saturating_sub(1);
        if others == 0 {
            return Vec::new();
        }
        let mut asked = others + 1 + TIE_MARGIN;
        loop {
            let mut found = self.candidates(index, asked);
            found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let all_seen = found.len() + 1 >= self.points.len();
            let ties_seen = found.last().is_some_and(|last| last.0 > found[others - 1].0 * (1.0 + 1e-5));
            if all_seen || ties_seen || asked > TIE_FACTOR_MAX * k {
                found.truncate(others);
                return found;
            }
            asked *= 2;
        }
    }

    fn candidates(&self, index: usize, count: usize) -> Vec<(f32, u32)> {
        let (Some(tree), Some(count)) = (&self.tree, NonZero::new(count.min(self.points.len()))) else {
            return Vec::new();
        };
        let found = tree.query(&self.points[index]).nearest_n::<SquaredEuclidean<f32>>(count).execute();
        let mut others: Vec<_> = self.measured(index, found.iter().map(|f| f.item)).collect();
        // Among more duplicates than were asked for, the point itself may be missing.
        others.truncate(count.get() - usize::from(others.len() == count.get()));
        others
    }

    fn within(&self, index: usize, radius_m: f32) -> Vec<(f32, u32)> {
        let limit_sq = radius_m * radius_m;
        let (Some(tree), true) = (&self.tree, radius_m > 0.0) else {
            return Vec::new();
        };
        let query = tree.query(&self.points[index]);
        let found = query.within::<SquaredEuclidean<f32>>(limit_sq * (1.0 + 1e-5)).unsorted().execute();
        self.measured(index, found.iter().map(|f| f.item)).filter(|(d, _)| *d <= limit_sq).collect()
    }

    fn measured<'s>(
        &'s self,
        index: usize,
        items: impl Iterator<Item = u32> + 's,
    ) -> impl Iterator<Item = (f32, u32)> + 's {
        let center = self.points[index];
        items
            .filter(move |i| *i as usize != index)
            .map(move |i| (distance_sq(center, self.points[i as usize]), i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(points: &[[f32; 3]], index: usize, k: usize) -> Vec<u32> {
        let others = (0_u32..).zip(points).filter(|(i, _)| *i as usize != index);
        let mut all: Vec<_> = others.map(|(i, p)| (distance_sq(points[index], *p), i)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut nearest: Vec<_> = all.iter().take(k - 1).map(|a| a.1).collect();
        nearest.sort_unstable();
        nearest
    }

    #[test]
    fn ties_go_to_the_smaller_index() {
        let points: Vec<[f32; 3]> = (0_u8..64).map(|i| [f32::from(i % 8), f32::from(i / 8), 1.0]).collect();
        let tree = PointTree::new(&points);
        let mut list = NeighborList::default();
        for index in 0..points.len() {
            for k in [1, 2, 3, 5, 9, 30, 64, 100] {
                tree.neighbors(index, Reach::Nearest(k), &mut list);
                assert_eq!(list.indices, slow(&points, index, k), "point {index}, k {k}");
            }
        }
    }

    #[test]
    fn duplicates_are_neighbours_and_the_point_itself_is_not() {
        let points = vec![[0.5, 0.25, 1.0]; 1000];
        let tree = PointTree::new(&points);
        let mut list = NeighborList::default();
        tree.neighbors(700, Reach::Nearest(30), &mut list);
        assert_eq!(list.indices.len(), 29);
        assert!(!list.indices.contains(&700));
        tree.neighbors(7, Reach::Within(1e-3), &mut list);
        assert_eq!(list.indices.len(), 999);
    }

    #[test]
    fn few_points_give_few_neighbours() {
        let mut list = NeighborList::default();
        PointTree::new(&[[1.0; 3]]).neighbors(0, Reach::Nearest(30), &mut list);
        assert!(list.indices.is_empty());
        PointTree::new(&[[1.0; 3], [2.0; 3]]).neighbors(0, Reach::Nearest(0), &mut list);
        assert!(list.indices.is_empty());
        PointTree::new(&[[1.0; 3], [2.0; 3]]).neighbors(0, Reach::Within(-1.0), &mut list);
        assert!(list.indices.is_empty());
    }
}
