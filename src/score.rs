//! Patch scores (modes `line` and `paper`), anomaly map, regions and image score.

use serde::{Deserialize, Serialize};

use crate::preprocess::FrameWindow;

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
    /// Row-major `[224 * 224]` scores, 0 outside the object.
    pub values: Vec<f32>,
    /// Where the frame lies in the scan.
    pub window: FrameWindow,
}
