//! From a scan to the 224 x 224 frame that the branches see (METHOD section 3, 7b).
//!
//! Two steps: [`clean`] finds the background plane in the scan's border and takes it away,
//! [`prepare`] cuts the frame out of what is left. Neither changes the scan. What was done
//! is recorded ([`Background`], [`Removed`]), because a part that was wrongly taken for
//! background would otherwise pass unseen.

pub mod components;
mod clean;
mod frame;
mod plane;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cloud::OrganizedCloud;
use crate::scan::{ColorImage, Scan};

pub use clean::{Cleaned, clean};

/// Side of the frame in pixels.
pub const FRAME_SIZE: usize = 224;

/// A frame with fewer object points shows no part: not one patch in the middle of a surface
/// could be described.
pub const OBJECT_POINTS_MIN: usize = 64;

/// How the frame is cut out of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// The window at the sensor's own resolution around the object (mode `line`); only an
    /// object larger than the window is scaled down, none is scaled up.
    ObjectCrop,
    /// The whole scan, padded to a square and resampled (mode `paper`).
    WholeScan,
}

/// Settings of [`prepare`].
///
/// The distance from the plane within which points count as background is `5` times the
/// plane's own noise, but never outside `plane_threshold_min_m ..= plane_threshold_m`: a
/// fixed 5 mm would swallow every part lower than that, although the table of a good sensor
/// is flat to a fraction of a millimetre.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreprocessParams {
    /// How the frame is cut.
    pub framing: Framing,
    /// Points this near to a candidate plane support it; no point farther away than this
    /// from the background plane, on the camera's side, is removed with it.
    pub plane_threshold_m: f32,
    /// Points nearer than this to the background plane are always removed. Equal to
    /// `plane_threshold_m`, the threshold is fixed.
    pub plane_threshold_min_m: f32,
    /// Lower limit of `plane_threshold_m` as a share of the distance from the sensor, for
    /// deep scenes: the noise of a triangulating sensor grows with the distance. 0 = none.
    pub plane_threshold_per_depth: f32,
    /// The background is sought along the border of the measured area, as long as that is no
    /// farther within the picture than this share of its side: the depth of many sensors
    /// ends a little within the colour picture. 0 = along the picture's edge only.
    pub border_inset_max: f32,
    /// A detached cluster at least this large (area in m2) is always kept, provided it has
    /// 16 points: with fewer it cannot be told from noise.
    pub min_cluster_area_m2: f32,
    /// Neighbouring pixels farther apart than this belong to different clusters; doubled
    /// for every doubling of the distance from the sensor beyond half a metre.
    pub cluster_gap_m: f32,
    /// Seed of the plane's RANSAC.
    pub seed: u64,
}

impl PreprocessParams {
    /// Mode `line`: the object crop, and a threshold that follows the sensor's noise.
    #[must_use]
    pub const fn line() -> Self {
        Self {
            framing: Framing::ObjectCrop,
            plane_threshold_m: 0.005,
            plane_threshold_min_m: 0.0008,
            plane_threshold_per_depth: 0.01,
            border_inset_max: 0.25,
            min_cluster_area_m2: 4e-6,
            cluster_gap_m: 0.006,
            seed: 0,
        }
    }

    /// Mode `paper`: the whole scan, and the fixed 5 mm of the published preprocessing.
    #[must_use]
    pub const fn paper() -> Self {
        Self {
            framing: Framing::WholeScan,
            plane_threshold_min_m: 0.005,
            plane_threshold_per_depth: 0.0,
            ..Self::line()
        }
    }
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

/// What became of the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Background {
    /// A plane was found in the border and removed.
    Removed,
    /// Hardly anything was measured along the border: the scan was cleaned before, or shows
    /// the part alone. Nothing was removed.
    BorderMissing,
    /// The border is measured, but no plane runs along it. Nothing was removed.
    NoPlane,
}

/// Number of measured points that [`clean`] took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// On the background plane.
    pub plane_count: usize,
    /// Behind the plane, or beyond its farthest visible point.
    pub behind_count: usize,
    /// In clusters smaller than the stated size.
    pub cluster_count: usize,
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
    /// What became of the background.
    pub background: Background,
    /// What was removed from the scan.
    pub removed: Removed,
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
    let Cleaned { cloud, plane, background, removed } = clean(&scan.cloud, params);
    let no_object = |found| PreprocessError::NoObject { found, expected: OBJECT_POINTS_MIN };
    let window = match params.framing {
        Framing::ObjectCrop => frame::object_window(&cloud).ok_or_else(|| no_object(0))?,
        Framing::WholeScan => frame::whole_window(cloud.height(), cloud.width()),
    };
    let framed = frame::resample_cloud(&cloud, &window);
    let found = framed.valid_count();
    if found < OBJECT_POINTS_MIN {
        return Err(no_object(found));
    }
    let padding = match params.framing {
        Framing::ObjectCrop => frame::Padding::Edge,
        Framing::WholeScan => frame::Padding::Black,
    };
    let color = scan.color.as_ref().map(|image| frame::resample_color(image, &window, padding));
    let pitch_m = clean::median_pitch(&framed);
    Ok(PreparedScan { cloud: framed, color, window, pitch_m, plane, background, removed })
}

#[cfg(test)]
mod tests;
