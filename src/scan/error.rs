//! [`ScanError`]: why a scan is refused, with a stable reason code and the way out.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The file, what stands in it, and what would have been accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: found {found}, expected {expected}")]
pub struct Details {
    /// The file.
    pub path: PathBuf,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl Details {
    /// Names a file, what was found in it and what was expected.
    pub fn new(path: &Path, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { path: path.into(), found: found.into(), expected: expected.into() }
    }
}

/// Why a scan is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("the file is empty: {0}")]
    Empty(Details),
    /// The first bytes belong to no format that is read.
    #[error("unknown format: {0}")]
    UnknownFormat(Details),
    /// The header, or the values after it, contradict the format.
    #[error("malformed file: {0}")]
    Malformed(Details),
    /// The file ends before its values do.
    #[error("the file is cut off: {0}")]
    Truncated(Details),
    /// The file, or the size it claims, is beyond what a scan can be.
    #[error("too large: {0}")]
    TooLarge(Details),
    /// A compression or variant that is not read.
    #[error("this encoding is not read: {0}")]
    Encoding(Details),
    /// The values are no floating point coordinates.
    #[error("wrong type of values: {0}")]
    SampleType(Details),
    /// x, y and z lie in separate planes of a TIFF.
    #[error("planar TIFF: {0}")]
    Planar(Details),
    /// The coordinates are the first dimension instead of the last.
    #[error("the coordinates do not come last: {0}")]
    ChannelsFirst(Details),
    /// One value a pixel: a depth image.
    #[error("not xyz: {0}")]
    DepthOnly(Details),
    /// There are no coordinates at all.
    #[error("no coordinates: {0}")]
    NoXyz(Details),
    /// The points do not lie on an image grid.
    #[error("not organised: {0}")]
    NotOrganized(Details),
    /// Rows and columns are exchanged.
    #[error("rows and columns look swapped: {0}")]
    Swapped(Details),
    /// The coordinates are in another unit than the profile says.
    #[error("wrong unit: {0}")]
    Unit(Details),
    /// The points do not lie where the profile expects them.
    #[error("out of range: {0}")]
    OutOfRange(Details),
    /// The points lie behind the camera.
    #[error("behind the camera: {0}")]
    BehindCamera(Details),
    /// Not a single point was measured.
    #[error("nothing was measured: {0}")]
    NothingMeasured(Details),
    /// The colour image cannot be decoded.
    #[error("unreadable colour: {0}")]
    Color(Details),
    /// The colour image has another size than the cloud.
    #[error("colour of another size: {0}")]
    ColorSize(Details),
    /// The sensor profile contradicts itself.
    #[error("the sensor profile is wrong: {0}")]
    Profile(Details),
}

impl ScanError {
    /// The stable code of the reason, as it stands in results and in `zal inspect --json`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "scan_unreadable",
            Self::Empty(_) => "empty_file",
            Self::UnknownFormat(_) => "unknown_format",
            Self::Malformed(_) => "malformed_file",
            Self::Truncated(_) => "truncated",
            Self::TooLarge(_) => "too_large",
            Self::Encoding(_) => "unsupported_encoding",
            Self::SampleType(_) => "wrong_value_type",
            Self::Planar(_) => "planar_tiff",
            Self::ChannelsFirst(_) => "channels_first",
            Self::DepthOnly(_) => "depth_only",
            Self::NoXyz(_) => "no_xyz",
            Self::NotOrganized(_) => "not_organized",
            Self::Swapped(_) => "rows_columns_swapped",
            Self::Unit(_) => "unit_mismatch",
            Self::OutOfRange(_) => "out_of_range",
            Self::BehindCamera(_) => "behind_camera",
            Self::NothingMeasured(_) => "nothing_measured",
            Self::Color(_) => "color_unreadable",
            Self::ColorSize(_) => "color_size",
            Self::Profile(_) => "profile_invalid",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path, the permissions and the disk",
            Self::Empty(_) => "write the scan under another name and rename it when it is complete",
            Self::UnknownFormat(_) => "export the scan as xyz .tiff, organised .pcd or .ply, or .npy",
            Self::Malformed(_) => "export the scan again; if it repeats, the writer breaks the format",
            Self::Truncated(_) => {
                "transfer the file again, and rename it into place only when it is complete"
            }
            Self::TooLarge(_) => "reduce the resolution in the sensor's settings",
            Self::Encoding(_) => "save it uncompressed or with deflate or LZW (TIFF), or as another format",
            Self::SampleType(_) => "export the coordinates as 32-bit floating point",
            Self::Planar(_) => "save with interleaved samples (PlanarConfiguration 1, 'contig')",
            Self::ChannelsFirst(_) => "transpose to [height, width, 3] before saving",
            Self::DepthOnly(_) => "export x, y and z per pixel, not the depth alone",
            Self::NoXyz(_) => "export the fields x, y and z",
            Self::NotOrganized(_) => {
                "export the organised cloud (one point per camera pixel, missing ones as NaN), or, when the \
                 points are complete and in raster order, state the profile's grid"
            }
            Self::Swapped(_) => "transpose the scan, or state the sensor's axes in the profile",
            Self::Unit(_) => "set the profile's unit to what the sensor writes",
            Self::OutOfRange(_) => "check the sensor's position, or the profile's extent",
            Self::BehindCamera(_) => {
                "state the sensor's axes in the profile (for example [\"x\", \"-y\", \"-z\"])"
            }
            Self::NothingMeasured(_) => {
                "check exposure, working distance and the profile's sentinel and extent"
            }
            Self::Color(_) => "save the colour image as 8-bit PNG",
            Self::ColorSize(_) => "export the colour registered to the cloud's grid, or remove the picture",
            Self::Profile(_) => "correct the sensor profile",
        }
    }

    /// The file, what was found and what was expected; `None` when it could not be read.
    #[must_use]
    pub const fn details(&self) -> Option<&Details> {
        match self {
            Self::Read { .. } => None,
            Self::Empty(d)
            | Self::UnknownFormat(d)
            | Self::Malformed(d)
            | Self::Truncated(d)
            | Self::TooLarge(d)
            | Self::Encoding(d)
            | Self::SampleType(d)
            | Self::Planar(d)
            | Self::ChannelsFirst(d)
            | Self::DepthOnly(d)
            | Self::NoXyz(d)
            | Self::NotOrganized(d)
            | Self::Swapped(d)
            | Self::Unit(d)
            | Self::OutOfRange(d)
            | Self::BehindCamera(d)
            | Self::NothingMeasured(d)
            | Self::Color(d)
            | Self::ColorSize(d)
            | Self::Profile(d) => Some(d),
        }
    }
}
