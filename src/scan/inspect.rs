//! From a path to a [`Scan`] or an [`Inspection`]: the one way in for files.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::check::{self, Facts};
use super::error::{Details, ScanError};
use super::finding::Finding;
use super::place::{MissingCounts, Placed, PointState};
use super::profile::SensorProfile;
use super::source::{FILE_BYTES_MAX, Format, RawScan, Source};
use super::{ColorImage, Scan, npy, pcd, ply, png, tiff, tiff_tags};
use crate::cloud::OrganizedCloud;

/// What a file holds and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Its format, when it is one that is read.
    pub format: Option<Format>,
    /// Compression and number type, in words.
    pub encoding: Option<String>,
    /// What the file says about its rows and columns, in words.
    pub layout: Option<String>,
    /// Rows, when the points are organised.
    pub height: Option<usize>,
    /// Columns, when the points are organised.
    pub width: Option<usize>,
    /// Number of points, measured or not.
    pub point_count: usize,
    /// Number of points that count as measured.
    pub valid_count: usize,
    /// Points that do not, by reason.
    pub missing: MissingCounts,
    /// Smallest and largest x, y, z in metres of the measured points.
    pub extent_m: Option<[[f32; 3]; 2]>,
    /// The colour, when there is one.
    pub color: Option<ColorSummary>,
    /// Whether [`read`] accepts the file: no finding is an error.
    pub accepted: bool,
    /// Everything worth saying, the gravest first.
    pub findings: Vec<Finding>,
}

/// Where a scan's colour comes from, and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColorSummary {
    /// The picture; `None` when the colour is in the scan's own file.
    pub path: Option<PathBuf>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Inspection {
    /// Whether the file could not be opened at all.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.findings.iter().any(|f| f.code == "scan_unreadable")
    }

    /// Share of the points that count as measured, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
    pub fn valid_share(&self) -> f64 {
        self.valid_count as f64 / self.point_count.max(1) as f64
    }

    const fn nothing(path: PathBuf) -> Self {
        Self {
            path,
            format: None,
            encoding: None,
            layout: None,
            height: None,
            width: None,
            point_count: 0,
            valid_count: 0,
            missing: MissingCounts { nan: 0, infinite: 0, zero: 0, sentinel: 0, out_of_range: 0 },
            extent_m: None,
            color: None,
            accepted: false,
            findings: Vec::new(),
        }
    }
}

/// Reads one scan: an xyz .tiff with its colour in `../rgb/<stem>.png` (MVTec's pair) or
/// `<stem>.png` beside it, organised .pcd, organised .ply, or .npy `[height, width, 3]`.
/// The format is told by the content, not by the name. The picture is looked for whatever
/// the format, unless the file has colours of its own.
///
/// # Errors
/// When the file is not an organised cloud that fits the profile.
pub fn read(path: &Path, profile: &SensorProfile) -> Result<Scan, ScanError> {
    Intake::of_file(path, profile)?.into_scan(path)
}

/// As [`read`], of bytes that are in memory already (a scan within a bundle). The path only
/// names them in messages, and no picture is looked for.
///
/// # Errors
/// When the bytes are not an organised cloud that fits the profile.
pub fn decode(path: &Path, bytes: &[u8], profile: &SensorProfile) -> Result<Scan, ScanError> {
    Intake::of_bytes(Source { path, bytes }, profile, None)?.into_scan(path)
}

/// Says what a file holds and everything that is wrong with it. Never fails: a file that
/// cannot be read is a finding too.
#[must_use]
pub fn inspect(path: &Path, profile: &SensorProfile) -> Inspection {
    let mut inspection = Inspection::nothing(path.into());
    let intake = match Intake::of_file(path, profile) {
        Ok(intake) => intake,
        Err(error) => {
            inspection.findings.push(Finding::from(&error));
            return inspection;
        }
    };
    inspection.format = Some(intake.format);
    inspection.encoding = Some(intake.encoding);
    inspection.layout = Some(intake.layout);
    (inspection.height, inspection.width) = intake.grid.unzip();
    inspection.point_count = intake.placed.states.len();
    inspection.valid_count = intake.placed.count(PointState::Valid);
    inspection.missing = intake.placed.missing();
    let valid = extent(intake.placed.valid());
    inspection.extent_m = valid.or_else(|| extent(intake.placed.measured()));
    let path = intake.color_path;
    inspection.color =
        intake.color.map(|image| ColorSummary { path, height: image.height, width: image.width });
    inspection.accepted = intake.refusals.is_empty();
    inspection.findings.extend(intake.refusals.iter().map(Finding::from));
    inspection.findings.extend(intake.warnings);
    inspection
}

/// A file, read and examined.
struct Intake {
    format: Format,
    encoding: String,
    layout: String,
    grid: Option<(usize, usize)>,
    placed: Placed,
    color: Option<ColorImage>,
    color_path: Option<PathBuf>,
    refusals: Vec<ScanError>,
    warnings: Vec<Finding>,
}

impl Intake {
    fn of_file(path: &Path, profile: &SensorProfile) -> Result<Self, ScanError> {
        let bytes = read_bytes(path)?;
        Self::of_bytes(Source { path, bytes: &bytes }, profile, picture_path(path))
    }

    /// Reads and examines a scan; `picture` holds its colour, unless it has its own.
    fn of_bytes(
        source: Source,
        profile: &SensorProfile,
        picture: Option<PathBuf>,
    ) -> Result<Self, ScanError> {
        let path = source.path;
        if let Some((found, expected)) = profile.contradiction() {
            return Err(ScanError::Profile(Details::new(path, found, expected)));
        }
        let RawScan { format, encoding, grid, layout, points, colors } = read_raw(source)?;
        let mut refusals = Vec::new();
        let grid = organize(path, profile, grid, &layout, points.len()).map_err(|e| refusals.push(e)).ok();
        let placed = Placed::new(points, profile);
        let facts = Facts { path, profile, placed: &placed, grid };
        refusals.extend(check::refusals(&facts));
        let mut warnings = check::warnings(&facts);
        let (color, color_path) = match (colors, grid) {
            (Some(pixels), Some((height, width))) => (Some(ColorImage { height, width, pixels }), None),
            (Some(_), None) => (None, None),
            (None, _) => {
                let image = picture.as_deref().map(|p| read_picture(p, grid)).transpose();
                let image = image.map_err(|e| refusals.push(e)).ok().flatten();
                if picture.is_none() {
                    warnings.push(color_missing());
                }
                (image, picture)
            }
        };
        Ok(Self { format, encoding, layout, grid, placed, color, color_path, refusals, warnings })
    }

    /// The scan, or the gravest reason to refuse it.
    fn into_scan(self, path: &Path) -> Result<Scan, ScanError> {
        if let Some(error) = self.refusals.into_iter().next() {
            return Err(error);
        }
        let (height, width) = self.grid.expect("points without a grid are a refusal");
        let valid = self.placed.states.iter().map(|s| *s == PointState::Valid).collect();
        let cloud = OrganizedCloud::with_mask(height, width, self.placed.points, valid)
            .map_err(|e| ScanError::Malformed(Details::new(path, e.to_string(), "a full grid")))?;
        Ok(Scan { cloud, color: self.color })
    }
}

/// The whole file, when it is one and of a size that a scan can have.
fn read_bytes(path: &Path) -> Result<Vec<u8>, ScanError> {
    let failed = |source| ScanError::Read { path: path.into(), source };
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    if meta.len() > FILE_BYTES_MAX {
        let found = format!("{} bytes", meta.len());
        return Err(ScanError::TooLarge(Details::new(path, found, format!("at most {FILE_BYTES_MAX}"))));
    }
    fs::read(path).map_err(failed)
}

/// Chooses the reader by the first bytes.
fn read_raw(source: Source) -> Result<RawScan, ScanError> {
    let bytes = source.bytes;
    let expected = "TIFF, PCD, PLY or .npy";
    if bytes.is_empty() {
        return Err(ScanError::Empty(source.details("0 bytes", expected)));
    }
    if tiff_tags::is_tiff(bytes) {
        tiff::read(source)
    } else if pcd::is_pcd(bytes) {
        pcd::read(source)
    } else if ply::is_ply(bytes) {
        ply::read(source)
    } else if bytes.starts_with(npy::MAGIC) {
        npy::read_cloud(source)
    } else {
        let found = match bytes {
            [0x89, b'P', b'N', b'G', ..] => "a PNG picture (give the xyz file; its picture is found)".into(),
            [0xff, 0xd8, ..] => "a JPEG picture".into(),
            [b'P', b'K', ..] => "a zip archive (perhaps .npz)".into(),
            _ => format!("the first bytes {:02x?}", &bytes[..bytes.len().min(8)]),
        };
        Err(ScanError::UnknownFormat(source.details(found, expected)))
    }
}

/// Rows and columns: the file's own, else the profile's when they fit.
fn organize(
    path: &Path,
    profile: &SensorProfile,
    grid: Option<(usize, usize)>,
    layout: &str,
    count: usize,
) -> Result<(usize, usize), ScanError> {
    if let Some(grid) = grid {
        return Ok(grid);
    }
    match profile.grid {
        Some(grid) if grid.height.checked_mul(grid.width) == Some(count) => Ok((grid.height, grid.width)),
        Some(grid) => {
            let expected = format!("the profile's {} x {}", grid.height, grid.width);
            Err(ScanError::NotOrganized(Details::new(path, format!("{count} points ({layout})"), expected)))
        }
        None => {
            let expected = "rows and columns, at least 2 of each";
            Err(ScanError::NotOrganized(Details::new(path, format!("{count} points ({layout})"), expected)))
        }
    }
}

/// The picture that belongs to a file, when there is one.
fn picture_path(path: &Path) -> Option<PathBuf> {
    let mut name = path.file_stem()?.to_owned();
    name.push(".png");
    let folder = path.parent()?;
    let candidates = [folder.join("..").join("rgb").join(&name), folder.join(&name)];
    candidates.into_iter().find(|p| p.is_file())
}

/// The picture, when it is one of the grid's size.
fn read_picture(path: &Path, grid: Option<(usize, usize)>) -> Result<ColorImage, ScanError> {
    let bytes = read_bytes(path)?;
    let image = png::decode(&bytes)
        .map_err(|e| ScanError::Color(Details::new(path, e.to_string(), "a whole PNG")))?;
    let size = (image.height, image.width);
    match grid {
        Some((height, width)) if size != (height, width) => {
            let found = format!("a picture of {} x {}", image.height, image.width);
            let details = Details::new(path, found, format!("{height} x {width} as the cloud"));
            let turned = size == (width, height);
            Err(if turned { ScanError::Swapped(details) } else { ScanError::ColorSize(details) })
        }
        _ => Ok(image),
    }
}

fn color_missing() -> Finding {
    let expected = "../rgb/<name>.png, <name>.png beside the file, or colours in it";
    let advice = "only the shape can be judged; without colour a stain is not seen";
    Finding::warning("color_missing", "no colour".into(), expected, advice)
}

/// Smallest and largest coordinates.
fn extent(points: impl Iterator<Item = [f32; 3]>) -> Option<[[f32; 3]; 2]> {
    points.fold(None, |extent, p| {
        let [low, high] = extent.unwrap_or([p, p]);
        Some([std::array::from_fn(|k| p[k].min(low[k])), std::array::from_fn(|k| p[k].max(high[k]))])
    })
}
