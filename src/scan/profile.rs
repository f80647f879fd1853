//! [`SensorProfile`]: what the files of a sensor mean, in which unit, along which axes, and
//! where its points are expected.
//!
//! The default profile is MVTec 3D-AD's: metres, x right, y down, z away from the camera,
//! and nothing but NaN and (0, 0, 0) for missing points. As a file:
//!
//! ```toml
//! unit = "millimetre"
//! axes = ["x", "-y", "-z"]   # the camera's right, down and away, in the file's axes
//! sentinel = -32768.0        # depth written where nothing was measured, in the file's unit
//!
//! [grid]                     # only for files that do not say their rows and columns
//! height = 1200
//! width = 1944
//!
//! [extent]
//! z_min_m = 0.3
//! z_max_m = 0.9
//! size_min_m = 0.05
//! size_max_m = 0.5
//! ```

use serde::{Deserialize, Serialize};

/// Unit of the coordinates in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthUnit {
    /// Metres.
    #[default]
    Metre,
    /// Millimetres.
    Millimetre,
}

impl LengthUnit {
    /// Units in a metre. Dividing by it rounds once; 0.001 itself would be rounded already.
    #[must_use]
    pub const fn per_metre(self) -> f32 {
        match self {
            Self::Metre => 1.0,
            Self::Millimetre => 1000.0,
        }
    }

    /// The word for it, in the plural.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Metre => "metres",
            Self::Millimetre => "millimetres",
        }
    }
}

/// An axis of the file, with its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Axis {
    /// The first coordinate.
    #[serde(rename = "x")]
    X,
    /// The second coordinate.
    #[serde(rename = "y")]
    Y,
    /// The third coordinate.
    #[serde(rename = "z")]
    Z,
    /// The first coordinate, negated.
    #[serde(rename = "-x")]
    MinusX,
    /// The second coordinate, negated.
    #[serde(rename = "-y")]
    MinusY,
    /// The third coordinate, negated.
    #[serde(rename = "-z")]
    MinusZ,
}

impl Axis {
    /// Which coordinate of the file, and its sign.
    #[must_use]
    pub const fn source(self) -> (usize, f32) {
        match self {
            Self::X => (0, 1.0),
            Self::Y => (1, 1.0),
            Self::Z => (2, 1.0),
            Self::MinusX => (0, -1.0),
            Self::MinusY => (1, -1.0),
            Self::MinusZ => (2, -1.0),
        }
    }
}

/// The camera's right, down and away, each as one axis of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[Axis; 3]", into = "[Axis; 3]")]
pub struct Axes([Axis; 3]);

impl Axes {
    /// The three axes of the file in the camera's order; `None` when one is used twice.
    #[must_use]
    pub fn new(axes: [Axis; 3]) -> Option<Self> {
        let used = axes.iter().fold(0u8, |used, axis| used | (1 << axis.source().0));
        (used == 0b111).then_some(Self(axes))
    }

    /// A point of the file in the camera's axes.
    #[must_use]
    pub fn apply(self, point: [f32; 3]) -> [f32; 3] {
        self.0.map(|axis| {
            let (index, sign) = axis.source();
            sign * point[index]
        })
    }

    /// Index of the file's depth coordinate.
    #[must_use]
    pub const fn depth_index(self) -> usize {
        self.0[2].source().0
    }
}

impl Default for Axes {
    fn default() -> Self {
        Self([Axis::X, Axis::Y, Axis::Z])
    }
}

impl From<Axes> for [Axis; 3] {
    fn from(axes: Axes) -> Self {
        axes.0
    }
}

impl TryFrom<[Axis; 3]> for Axes {
    type Error = &'static str;

    fn try_from(axes: [Axis; 3]) -> Result<Self, Self::Error> {
        Self::new(axes).ok_or("axes must name each of x, y and z once, with or without a minus sign")
    }
}

/// Rows and columns of a sensor whose files do not say them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Where the points of a sensor are expected, in metres after unit and axes are applied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedExtent {
    /// Nearest depth; nearer points count as not measured.
    pub z_min_m: f32,
    /// Farthest depth; farther points count as not measured.
    pub z_max_m: f32,
    /// Smallest size of a scan across the view (the larger of its x and y ranges).
    pub size_min_m: f32,
    /// Largest size of a scan across the view.
    pub size_max_m: f32,
}

impl Default for ExpectedExtent {
    fn default() -> Self {
        Self { z_min_m: 0.01, z_max_m: 20.0, size_min_m: 0.001, size_max_m: 40.0 }
    }
}

/// What the files of a sensor mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SensorProfile {
    /// Unit of the coordinates.
    pub unit: LengthUnit,
    /// The camera's right, down and away in the file's axes.
    pub axes: Axes,
    /// Value of the file's depth coordinate, in the file's unit, where nothing was measured;
    /// beside NaN and (0, 0, 0), which always mean that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<f32>,
    /// Rows and columns, for files that do not say them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<Grid>,
    /// Where the points are expected.
    pub extent: ExpectedExtent,
}

impl SensorProfile {
    /// What contradicts itself in the profile, as found and expected; `None` when nothing does.
    #[must_use]
    pub fn contradiction(&self) -> Option<(String, String)> {
        let ExpectedExtent { z_min_m, z_max_m, size_min_m, size_max_m } = self.extent;
        for (name, low, high) in [("z", z_min_m, z_max_m), ("size", size_min_m, size_max_m)] {
            // Written so that NaN is refused too.
            if !(low.is_finite() && high.is_finite() && low < high) {
                let found = format!("{name}_min_m = {low}, {name}_max_m = {high}");
                return Some((found, "a smaller and a larger number".into()));
            }
        }
        if self.grid.is_some_and(|g| g.height < 2 || g.width < 2) {
            return Some(("a grid with fewer than 2 rows or columns".into(), "at least 2 x 2".into()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_a_signed_permutation() {
        let axes = Axes::new([Axis::Y, Axis::MinusX, Axis::MinusZ]).expect("each once");
        assert_eq!(axes.apply([1.0, 2.0, 3.0]).map(f32::to_bits), [2.0_f32, -1.0, -3.0].map(f32::to_bits));
        assert_eq!(axes.depth_index(), 2);
        assert_eq!(Axes::new([Axis::X, Axis::MinusX, Axis::Z]), None);
    }

    #[test]
    fn a_profile_is_strict_and_fills_in_defaults() {
        let read = |text: &str| serde_json::from_str::<SensorProfile>(text);
        assert_eq!(read("{}").expect("all defaults"), SensorProfile::default());
        let profile =
            read(r#"{"unit": "millimetre", "axes": ["x", "-y", "-z"], "extent": {"z_max_m": 1.5}}"#);
        let profile = profile.expect("a good profile");
        assert_eq!((profile.unit, profile.extent.z_max_m), (LengthUnit::Millimetre, 1.5));
        assert_eq!(read(&serde_json::to_string(&profile).expect("serialises")).expect("round trip"), profile);
        assert!(read(r#"{"units": "metre"}"#).is_err());
        assert!(read(r#"{"axes": ["x", "x", "z"]}"#).is_err());
        assert!(read(r#"{"extent": {"z_max_mm": 3}}"#).is_err());
    }

    #[test]
    fn a_contradicting_profile_is_named() {
        let mut profile = SensorProfile::default();
        assert_eq!(profile.contradiction(), None);
        profile.extent.z_min_m = f32::NAN;
        assert!(profile.contradiction().is_some());
        profile.extent = ExpectedExtent::default();
        profile.grid = Some(Grid { height: 1, width: 9 });
        assert!(profile.contradiction().is_some());
    }
}
