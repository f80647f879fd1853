//! The MVTec 3D-AD folder layout: written for procedural scans, walked for any data set.
//!
//! ```text
//! <class>/calibration/camera_parameters.json
//! <class>/{train,validation}/good/{rgb,xyz}/NNN.{png,tiff}
//! <class>/test/<defect or good>/{rgb,xyz,gt}/NNN.{png,tiff,png}
//! ```
//!
//! xyz is a TIFF of `height x width x 3` f32 in metres, (0, 0, 0) where nothing was measured;
//! gt is an 8-bit PNG, 0 = good. The walker opens no picture: it gives paths.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tiff::encoder::colortype::RGB32Float;
use tiff::encoder::compression::DeflateLevel;
use tiff::encoder::{Compression, TiffEncoder};
use zal::cloud::OrganizedCloud;
use zal::synth::{Intrinsics, SynthScan};

/// A part of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// Good scans to learn from.
    Train,
    /// Good scans to set thresholds with.
    Validation,
    /// Good and defective scans with masks.
    Test,
}

impl Split {
    /// Name of the folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// One scan of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Part of the data set.
    pub split: Split,
    /// Folder of the defect; `good` without one.
    pub defect: String,
    /// The points; `zal::scan::read` finds the colour beside it.
    pub xyz: PathBuf,
    /// The mask, in the test split.
    pub gt: Option<PathBuf>,
}

/// Makes `root` ready to be written to: new or empty, so that no two data sets mix.
///
/// # Errors
/// When it holds anything, or cannot be made.
pub fn create_root(root: &Path) -> Result<()> {
    if let Ok(mut entries) = fs::read_dir(root) {
        ensure!(
            entries.next().is_none(),
            "{} is not empty; give a new or empty folder, so that no two data sets mix",
            root.display()
        );
    }
    fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))
}

/// Writes one procedural scan as `<class>/<split>/<defect>/.../<number>`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_scan(class: &Path, split: Split, defect: &str, number: usize, made: &SynthScan) -> Result<()> {
    let folder = class.join(split.name()).join(defect);
    let put = |kind: &str, ending: &str, bytes: &[u8]| -> Result<()> {
        let folder = folder.join(kind);
        let path = folder.join(format!("{number:03}.{ending}"));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, bytes))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    put("xyz", "tiff", &encode_xyz(&made.scan.cloud)?)?;
    if let Some(color) = &made.scan.color {
        put("rgb", "png", &zal::scan::png::encode(color)?)?;
    }
    if split == Split::Test {
        put("gt", "png", &made.encode_mask()?)?;
    }
    Ok(())
}

/// The points as a deflated TIFF.
fn encode_xyz(cloud: &OrganizedCloud) -> Result<Vec<u8>> {
    let (width, height) = (u32::try_from(cloud.width())?, u32::try_from(cloud.height())?);
    let mut bytes = Cursor::new(Vec::new());
    let encoder = TiffEncoder::new(&mut bytes)?;
    let mut encoder = encoder.with_compression(Compression::Deflate(DeflateLevel::Fast));
    encoder.write_image::<RGB32Float>(width, height, cloud.points().as_flattened())?;
    Ok(bytes.into_inner())
}

/// Width of a sensor pixel that the calibration file names, m.
const PIXEL_PITCH_M: f64 = 3.75e-6;

/// Writes the camera's parameters as the data set's own calibration files do: focal length in
/// metres, size of a pixel, principal point.
///
/// # Errors
/// When the file cannot be written.
pub fn write_camera(class: &Path, height: usize, width: usize) -> Result<()> {
    let camera = Intrinsics::new(height, width);
    let parameters = serde_json::json!({
        "camera_type": "area_scan_division",
        "focus": f64::from(camera.focal_px) * PIXEL_PITCH_M,
        "kappa": 0.0,
        "sx": PIXEL_PITCH_M,
        "sy": PIXEL_PITCH_M,
        "cx": camera.cx,
        "cy": camera.cy,
        "image_width": width,
        "image_height": height,
    });
    let folder = class.join("calibration");
    let path = folder.join("camera_parameters.json");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&path, format!("{parameters:#}\n")))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// All classes of a data set: the folders that hold a `train` or a `test`, by name.
///
/// # Errors
/// When the folder cannot be read or holds no class.
pub fn classes(root: &Path) -> Result<Vec<PathBuf>> {
    let is_class = |path: &PathBuf| [Split::Train, Split::Test].iter().any(|s| path.join(s.name()).exists());
    let found: Vec<PathBuf> = list(root)?.into_iter().filter(is_class).collect();
    if found.is_empty() {
        bail!(
            "{} holds no class in the MVTec 3D-AD layout; expected <class>/train/good/xyz/*.tiff below it",
            root.display()
        );
    }
    Ok(found)
}

/// Folders of a data set with nothing in them: classes that were not unpacked.
///
/// # Errors
/// When a folder cannot be read.
pub fn empty_folders(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in list(root)?.into_iter().filter(|path| path.is_dir()) {
        if list(&folder)?.is_empty() {
            found.push(folder);
        }
    }
    Ok(found)
}

/// Something in a data set that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}: found {found}, expected {expected}; {advice}", path.display())]
pub struct Problem {
    /// The file or folder.
    pub path: PathBuf,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// What to do.
    pub advice: String,
}

impl Problem {
    /// Names what is wrong with a file or folder.
    pub fn new(path: &Path, [found, expected, advice]: [&str; 3]) -> Self {
        let [found, expected, advice] = [found, expected, advice].map(ToOwned::to_owned);
        Self { path: path.into(), found, expected, advice }
    }
}

/// All scans of a split of a class, in order of defect and number. A split that is not there
/// has none.
///
/// # Errors
/// When a folder cannot be read, or a scan lacks its colour, or a test scan its mask.
pub fn entries(class: &Path, split: Split) -> Result<Vec<Entry>> {
    let (entries, problems) = survey(class, split);
    match problems.into_iter().next() {
        None => Ok(entries),
        Some(problem) => Err(problem.into()),
    }
}

/// As [`entries`], but goes past what cannot be used: the scans that are whole, and what is wrong
/// with the others.
#[must_use]
pub fn survey(class: &Path, split: Split) -> (Vec<Entry>, Vec<Problem>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let folder = class.join(split.name());
    if !folder.exists() {
        return (found, problems);
    }
    for kind in list_folder(&folder, &mut problems).into_iter().filter(|path| path.is_dir()) {
        let defect = kind.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for xyz in list_folder(&kind.join("xyz"), &mut problems) {
            if xyz.extension().is_some_and(|e| e == "tiff" || e == "tif") {
                match entry(split, &defect, &kind, xyz) {
                    Ok(entry) => found.push(entry),
                    Err(problem) => problems.push(problem),
                }
            }
        }
    }
    (found, problems)
}

/// The scan whose points are at `xyz`, with its other files checked for.
fn entry(split: Split, defect: &str, kind: &Path, xyz: PathBuf) -> Result<Entry, Problem> {
    let partner = |folder: &str, what: &str| {
        let path = kind.join(folder).join(xyz.file_name().unwrap_or_default()).with_extension("png");
        let expected = format!("the {what} of {}", xyz.display());
        let advice = "add the file, or take the scan out of the data set";
        if path.is_file() { Ok(path) } else { Err(Problem::new(&path, ["no file", &expected, advice])) }
    };
    partner("rgb", "colour")?;
    let gt = if split == Split::Test { Some(partner("gt", "mask")?) } else { None };
    Ok(Entry { split, defect: defect.into(), xyz, gt })
}

/// Paths in a folder, sorted; what keeps it from being read is a problem.
fn list_folder(folder: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    if folder.is_file() {
        let advice = "unpack the data set again: the layout has a folder there";
        problems.push(Problem::new(folder, ["a file", "a folder", advice]));
        return Vec::new();
    }
    list(folder).unwrap_or_else(|error| {
        let found = error.root_cause().to_string();
        let advice = "unpack the data set again, or look at the permissions";
        problems.push(Problem::new(folder, [&found, "a folder that can be read", advice]));
        Vec::new()
    })
}

/// Paths in a folder, sorted.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect()
    };
    let mut paths = read().with_context(|| format!("cannot read the folder {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use tiff::decoder::{Decoder, DecodingResult};
    use zal::synth::{Defect, Family, SynthParams, generate};

    use super::*;

    fn made(defect: Option<Defect>) -> SynthScan {
        generate(&SynthParams { defect, height: 48, width: 64, ..SynthParams::new(Family::Ring, 3) })
    }

    #[test]
    fn what_is_written_is_walked() {
        let root = tempfile::tempdir().expect("a folder");
        let class = root.path().join("ring");
        write_camera(&class, 48, 64).expect("the camera is written");
        write_scan(&class, Split::Train, "good", 0, &made(None)).expect("written");
        write_scan(&class, Split::Test, "hole", 0, &made(Some(Defect::Hole))).expect("written");
        write_scan(&class, Split::Test, "good", 0, &made(None)).expect("written");

        assert_eq!(classes(root.path()).expect("a class"), std::slice::from_ref(&class));
        assert_eq!(entries(&class, Split::Validation).expect("none"), []);
        let train = entries(&class, Split::Train).expect("one");
        assert_eq!((train.len(), train[0].gt.as_ref()), (1, None));
        let test = entries(&class, Split::Test).expect("two");
        let defects: Vec<&str> = test.iter().map(|e| e.defect.as_str()).collect();
        assert_eq!(defects, ["good", "hole"]);
        assert_eq!(test[1].gt, Some(class.join("test/hole/gt/000.png")));
        assert!(test[1].xyz.ends_with("test/hole/xyz/000.tiff"));
    }

    #[test]
    fn points_survive_the_tiff() {
        let scan = made(None);
        let bytes = encode_xyz(&scan.scan.cloud).expect("encoded");
        let mut decoder = Decoder::new(Cursor::new(bytes)).expect("a tiff");
        assert_eq!(decoder.dimensions().expect("a size"), (64, 48));
        let DecodingResult::F32(values) = decoder.read_image().expect("an image") else { panic!("not f32") };
        assert_eq!(values, scan.scan.cloud.points().as_flattened());
    }

    #[test]
    fn the_calibration_file_names_the_camera_of_the_points() {
        let root = tempfile::tempdir().expect("a folder");
        write_camera(root.path(), 48, 64).expect("written");
        let text =
            fs::read_to_string(root.path().join("calibration/camera_parameters.json")).expect("a file");
        let camera: serde_json::Value = serde_json::from_str(&text).expect("json");
        let number = |key: &str| camera[key].as_f64().expect("a number");
        let (focal, cx, cy) = (number("focus") / number("sx"), number("cx"), number("cy"));
        let cloud = made(None).scan.cloud;
        for index in cloud.valid_indices() {
            let [x, y, z] = cloud.points()[index].map(f64::from);
            let [row, column] = [index / 64, index % 64].map(|i| f64::from(u8::try_from(i).expect("small")));
            assert!((x / z * focal + cx - column).abs() < 1e-3 && (y / z * focal + cy - row).abs() < 1e-3);
        }
    }

    #[test]
    fn a_folder_in_use_and_a_scan_without_its_mask_are_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let class = root.path().join("ring");
        create_root(root.path()).expect("empty is fine");
        write_scan(&class, Split::Test, "good", 0, &made(None)).expect("written");
        let refused = create_root(root.path()).expect_err("no longer empty").to_string();
        assert!(refused.contains("not empty"), "{refused}");

        fs::remove_file(class.join("test/good/gt/000.png")).expect("removed");
        let refused = entries(&class, Split::Test).expect_err("the mask is gone").to_string();
        assert!(refused.contains("gt/000.png"), "{refused}");
        let refused = classes(&class).expect_err("a class is no root").to_string();
        assert!(refused.contains("train/good/xyz"), "{refused}");
    }
}
