//! [`LaneCounts`]: the SPFH of 16 points, counted side by side.

use super::histogram::{SUM_SLOT, SpfhRow, as_f32, slot};
use super::pair::{Counters, Degenerate, LEVELS, PAIRS_PER_FLUSH, Pairs, count, count_at};
use crate::neighbors::grid::{LANES, Lane};

/// Counts so far: full fields in `levels`, the rest in the packed counters.
pub(super) struct LaneCounts {
    counters: Counters,
    counted: usize,
    levels: [Lane; 32],
    members: [u32; LANES],
}

impl Default for LaneCounts {
    fn default() -> Self {
        Self { counters: Counters::default(), counted: 0, levels: [[0.0; LANES]; 32], members: [0; LANES] }
    }
}

impl LaneCounts {
    /// Counts one pair per lane.
    #[inline(always)]
    pub(super) fn count(&mut self, pairs: &Pairs<'_>, degenerate: Degenerate) {
        count(pairs, degenerate, &mut self.counters);
        self.counted += 1;
        if self.counted == PAIRS_PER_FLUSH {
            self.flush();
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        let Counters { above, below, pairs, members } = &self.counters;
        for feature in 0..3 {
            for level in 1..=LEVELS {
                add_counts(&mut self.levels[slot(feature, level, false)], &above[feature], level);
                add_counts(&mut self.levels[slot(feature, level, true)], &below[feature], level);
            }
        }
        for l in 0..LANES {
            self.levels[SUM_SLOT][l] += as_f32(pairs[l]);
            self.members[l] += members[l];
        }
        self.counters = Counters::default();
        self.counted = 0;
    }

    /// Writes the rows: shares of a point's neighbours, in percent.
    #[inline(always)]
    pub(super) fn finish(mut self, out: &mut [SpfhRow; LANES]) {
        self.flush();
        for (l, row) in out.iter_mut().enumerate() {
            let members = self.members[l];
            let increment = if members > 0 { 100.0 / as_f32(members) } else { 0.0 };
            for (value, level) in row.iter_mut().zip(&self.levels) {
                *value = level[l] * increment;
            }
        }
    }
}

#[inline(always)]
fn add_counts(level_counts: &mut Lane, words: &[u32; LANES], level: usize) {
    for (count, word) in level_counts.iter_mut().zip(words) {
        *count += as_f32(count_at(*word, level));
    }
}
