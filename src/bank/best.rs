//! The `k` nearest rows found so far.

use super::search::Neighbor;

/// The `k` smallest of the pairs offered, by distance, then row.
#[derive(Debug, Clone)]
pub(super) struct Best {
    pub(super) k: usize,
    /// Largest squared distance that may enter, while fewer than `k` rows are kept.
    limit_sq: f32,
    kept: Vec<(f32, usize)>,
}

impl Best {
    pub(super) fn new(k: usize) -> Self {
        Self { k, limit_sq: f32::INFINITY, kept: Vec::with_capacity(k.min(64) + 1) }
    }

    /// Nothing kept, but what was known about the limit stays.
    pub(super) fn emptied(&self) -> Self {
        Self { limit_sq: self.limit_sq(), ..Self::new(self.k) }
    }

    /// No pair farther than this can enter.
    pub(super) fn limit_sq(&self) -> f32 {
        if self.kept.len() < self.k { self.limit_sq } else { self.kept[self.k - 1].0 }
    }

    pub(super) fn offer(&mut self, distance_sq: f32, row: usize) {
        if distance_sq > self.limit_sq() {
            return;
        }
        let at = self.kept.partition_point(|kept| *kept < (distance_sq, row));
        self.kept.insert(at, (distance_sq, row));
        self.kept.truncate(self.k);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.kept.iter().for_each(|(distance_sq, row)| self.offer(*distance_sq, *row));
    }

    pub(super) fn neighbors(&self) -> impl Iterator<Item = Neighbor> {
        self.kept.iter().map(|(distance_sq, row)| Neighbor {
            row: u32::try_from(*row).expect("checked when the index was made"),
            distance: distance_sq.sqrt(),
        })
    }
}
