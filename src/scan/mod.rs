//! [`Scan`]: one acquisition (xyz and colour), its readers and the intake checks.
//!
//! [`read`] accepts a file or refuses it with one [`ScanError`]; [`inspect`] says everything
//! about it. Both go the same way: the bytes are read whole, a reader for the format returns
//! the points as written, the [`SensorProfile`] places them into metres and the camera frame
//! with one validity mask, and the checks compare the result with what the profile promises.

mod check;
mod error;
mod finding;
mod inspect;
pub mod npy;
mod pcd;
mod place;
mod ply;
pub mod png;
mod profile;
mod source;
mod tiff;
mod tiff_tags;

pub use error::{Details, ScanError};
pub use finding::{Finding, Severity};
pub use inspect::{ColorSummary, Inspection, decode, inspect, read};
pub use place::MissingCounts;
pub use profile::{Axes, Axis, ExpectedExtent, Grid, LengthUnit, SensorProfile};
pub use source::Format;

use crate::cloud::OrganizedCloud;

/// A colour image registered to the cloud: row-major 8-bit RGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColorImage {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[height * width]` RGB values.
    pub pixels: Vec<[u8; 3]>,
}

/// One acquisition: the organised cloud and, when the sensor has a camera, its colour
/// image of the same height and width.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Points in metres, camera frame.
    pub cloud: OrganizedCloud,
    /// Colour registered to the cloud's grid.
    pub color: Option<ColorImage>,
}
