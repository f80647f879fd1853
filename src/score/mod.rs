//! From patch distances to an anomaly map, regions and an image score (METHOD sections 7, 7b).
//!
//! Mode `line` fuses the branches late ([`fuse_line`]): each branch's distances are normalised
//! over the object's patches of the same scan and then added. Mode `paper` scores one
//! concatenated descriptor ([`image_score_paper`], [`joint`]). Both share the map and its
//! regions.

mod eight_bit;
mod fuse;
mod map;
mod regions;
mod repetition;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::features::Branch;
use crate::preprocess::FrameWindow;

pub use eight_bit::eight_bit_map;
pub use fuse::{BranchDistances, JointStats, LineScores, add_term, branch_shares, fuse_line, joint};
pub use fuse::{image_score, image_score_paper, median, worst_patch};
pub use map::{FrameScores, SIGMA_PX, anomaly_map, lifted_map, scan_map, scan_mask};
pub use regions::{map_median, region_threshold, regions};
pub use repetition::own_distances;

/// How much a branch contributed to the worst patch's score, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BranchShare {
    /// Which branch.
    pub branch: Branch,
    /// Its share.
    pub share: f32,
}

/// A connected region of the anomaly map above the region threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Left, top, width, height in pixels of the scan.
    pub bbox_px: [u32; 4],
    /// Area of the measured surface in mm2.
    pub area_mm2: f32,
    /// Centroid in millimetres, camera frame.
    pub centroid_mm: [f32; 3],
    /// Highest map value in the region.
    pub peak: f32,
}

/// An anomaly map on the 224 x 224 frame.
#[derive(Debug, Clone, PartialEq)]
pub struct AnomalyMap {
    /// Row-major `[224 * 224]` scores: above 0 on the object, fading over pixels without a measurement beside
    /// it, 0 elsewhere.
    pub values: Vec<f32>,
    /// Row-major `[224 * 224]`: where the object was measured.
    pub object: Vec<bool>,
    /// Where the frame lies in the scan.
    pub window: FrameWindow,
}
