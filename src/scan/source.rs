//! What the readers share: the bytes of a file with its path, bounds that are checked before
//! anything is allocated, numbers of stated types, and [`RawScan`], what a reader returns.

use std::path::Path;

use super::error::{Details, ScanError};

/// Most points of a scan: beyond every sensor, and 0.75 GiB of coordinates.
pub(crate) const POINTS_MAX: usize = 64 << 20;
/// Largest file read: the points above as f64 with colour.
pub(crate) const FILE_BYTES_MAX: u64 = 2 << 30;

/// A file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// TIFF with x, y, z per pixel; MVTec's layout when a colour picture lies beside it.
    Tiff,
    /// Point Cloud Library's .pcd.
    Pcd,
    /// Stanford's .ply.
    Ply,
    /// NumPy's .npy.
    Npy,
}

impl Format {
    /// The format's usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tiff => "TIFF",
            Self::Pcd => "PCD",
            Self::Ply => "PLY",
            Self::Npy => ".npy",
        }
    }
}

/// The points of a file as they stand in it: the file's unit and axes, missing ones as written.
#[derive(Debug)]
pub(crate) struct RawScan {
    pub(crate) format: Format,
    /// In words: compression, number type.
    pub(crate) encoding: String,
    /// Height and width, when the file has both.
    pub(crate) grid: Option<(usize, usize)>,
    /// What the file says about its rows and columns, in words.
    pub(crate) layout: String,
    /// Row-major when there is a grid.
    pub(crate) points: Vec<[f32; 3]>,
    /// RGB, as many as points.
    pub(crate) colors: Option<Vec<[u8; 3]>>,
}

/// The bytes of a file, and its path for messages.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: &'a [u8],
}

impl Source<'_> {
    pub(crate) fn details(&self, found: impl Into<String>, expected: impl Into<String>) -> Details {
        Details::new(self.path, found, expected)
    }

    pub(crate) fn malformed(&self, found: impl Into<String>, expected: impl Into<String>) -> ScanError {
        ScanError::Malformed(self.details(found, expected))
    }

    /// The file must reach to byte `end`.
    pub(crate) fn require(&self, end: u128) -> Result<(), ScanError> {
        if (self.bytes.len() as u128) < end {
            let found = format!("the end at byte {}", self.bytes.len());
            return Err(ScanError::Truncated(self.details(found, format!("{end} bytes"))));
        }
        Ok(())
    }

    /// A number cut in two is still a number: in text only the line's end proves it whole.
    pub(crate) fn require_last_line(&self) -> Result<(), ScanError> {
        if self.bytes.last() == Some(&b'\n') {
            return Ok(());
        }
        let found = format!("a last line without its end, at byte {}", self.bytes.len());
        Err(ScanError::Truncated(self.details(found, "a line feed after the last number")))
    }

    /// Number of points of a grid, when that many are read.
    pub(crate) fn point_count(&self, height: u64, width: u64) -> Result<usize, ScanError> {
        let count = height.checked_mul(width).and_then(|n| usize::try_from(n).ok());
        count.filter(|n| *n <= POINTS_MAX).ok_or_else(|| {
            let found = format!("{height} x {width} points");
            ScanError::TooLarge(self.details(found, format!("at most {POINTS_MAX}")))
        })
    }
}

/// A number's type in PCD and PLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Scalar {
    /// Size in bytes.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    pub(crate) const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The number in the first bytes; `None` when they are too few.
    #[expect(clippy::cast_precision_loss, reason = "64-bit integers are never coordinates or colours")]
    pub(crate) fn read(self, bytes: &[u8], big_endian: bool) -> Option<f64> {
        macro_rules! number {
            ($type:ty) => {{
                let bytes = *bytes.first_chunk()?;
                if big_endian { <$type>::from_be_bytes(bytes) } else { <$type>::from_le_bytes(bytes) }
            }};
        }
        Some(match self {
            Self::I8 => f64::from(number!(i8)),
            Self::U8 => f64::from(number!(u8)),
            Self::I16 => f64::from(number!(i16)),
            Self::U16 => f64::from(number!(u16)),
            Self::I32 => f64::from(number!(i32)),
            Self::U32 => f64::from(number!(u32)),
            Self::I64 => number!(i64) as f64,
            Self::U64 => number!(u64) as f64,
            Self::F32 => f64::from(number!(f32)),
            Self::F64 => number!(f64),
        })
    }
}

/// Coordinates are kept as f32: a tenth of a micrometre at one metre.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is asked for")]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}
