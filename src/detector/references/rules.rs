//! [`ReferenceRules`]: how many scans a set holds, from when it judges, and how it guards itself.

use crate::bank::reference::Combination;

/// Settings of a reference set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferenceRules {
    /// Scans of the rolling buffer.
    pub buffer_len: usize,
    /// Anchors at most.
    pub anchors_max: usize,
    /// Turns of an anchor's colour, itself included.
    pub rotations: usize,
    /// How the distances to all references become one.
    pub combination: Combination,
    /// Whether the bundle's bank is one more reference.
    pub bank: bool,
    /// Verdicts from so many unlabelled scans on.
    pub scans_min: usize,
    /// Verdicts from so many anchors on.
    pub anchors_min: usize,
    /// Share of good parts that may be rejected.
    pub false_reject_rate: f32,
    /// The buffer changes the threshold by at most this share of it a scan.
    pub threshold_step_max: f32,
    /// A scan is a near-duplicate of a reference when, in every branch, its median patch is nearer to it
    /// than this share of what is usual between a scan and its nearest reference. 0: only the same scan.
    pub duplicate_ratio: f32,
}

impl Default for ReferenceRules {
    fn default() -> Self {
        Self {
            buffer_len: 32,
            anchors_max: 16,
            rotations: 12,
            combination: Combination::Minimum,
            bank: true,
            scans_min: 32,
            anchors_min: 4,
            false_reject_rate: 0.05,
            threshold_step_max: 0.02,
            duplicate_ratio: 0.5,
        }
    }
}

/// Patches of a frame: no scan has more rows a branch, an anchor's turns aside.
const PATCHES_MAX: usize = crate::features::GRID_SIZE * crate::features::GRID_SIZE;
/// Numbers of the search beside a row's own: its coordinates and norms.
const SEARCH_NUMBERS: usize = 64 + 256 + 2;

impl ReferenceRules {
    /// Most bytes of memory that a set of these rules takes when each patch has `dims` numbers in all,
    /// `rgb_dims` of them of the colour branch, in `branches` branches: every scan with all patches of the
    /// frame, every anchor turned.
    #[must_use]
    pub const fn bytes_max(&self, dims: usize, rgb_dims: usize, branches: usize) -> usize {
        let row = dims + branches * SEARCH_NUMBERS;
        // The scan's own distances, to the bank, the nearest, the anchors and a typical scan.
        let derived = 6 * branches + 1;
        let scan = PATCHES_MAX * (row + derived);
        let turns = if rgb_dims == 0 { 0 } else { self.rotations.saturating_sub(1) };
        let turned = turns * PATCHES_MAX * (rgb_dims + SEARCH_NUMBERS);
        4 * (self.buffer_len * scan + self.anchors_max * (scan + turned))
    }
}
