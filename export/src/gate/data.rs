//! The test scans of a data set and the hash of their bytes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use zal::scan::png;

use crate::layout::{self, Split};

/// A test scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestScan {
    /// `class/test/defect/number`.
    pub name: String,
    /// The points; the colour lies beside them.
    pub xyz: PathBuf,
    /// The mask.
    pub gt: PathBuf,
    /// Whether the part has a defect.
    pub defective: bool,
}

/// The test scans of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestClass {
    /// Name of its folder.
    pub name: String,
    /// In order of defect and number.
    pub scans: Vec<TestScan>,
}

/// The classes to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestData {
    /// Name of the data set's folder.
    pub name: String,
    /// By name.
    pub classes: Vec<TestClass>,
    /// Hash of the names and bytes of all scans and masks.
    pub sha256: String,
}

/// Finds the test scans of the classes named, or of all that have any.
///
/// # Errors
/// Names the class that is not there or has no test scans, or the file that cannot be read.
pub fn open(root: &Path, wanted: &[String]) -> Result<TestData> {
    let folders = layout::classes(root)?;
    let names: Vec<String> = folders.iter().map(|folder| folder_name(folder)).collect();
    if let Some(missing) = wanted.iter().find(|class| !names.contains(class)) {
        bail!("{} has no class `{missing}`; it has {}", root.display(), names.join(", "));
    }
    let mut classes = Vec::new();
    for (folder, name) in folders.iter().zip(names) {
        if wanted.is_empty() || wanted.contains(&name) {
            let scans = test_scans(folder, &name)?;
            ensure!(
                !scans.is_empty() || wanted.is_empty(),
                "{} has no test scans; expected {name}/test/<good or defect>/xyz/*.tiff",
                folder.display()
            );
            classes.push(TestClass { name, scans });
        }
    }
    classes.retain(|class| !class.scans.is_empty());
    ensure!(!classes.is_empty(), "{} has no test scans in any class", root.display());
    let sha256 = hash(&classes)?;
    Ok(TestData { name: name_of(root)?, classes, sha256 })
}

fn test_scans(folder: &Path, class: &str) -> Result<Vec<TestScan>> {
    let entries = layout::entries(folder, Split::Test)?;
    let scan = |entry: layout::Entry| {
        let stem = entry.xyz.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        TestScan {
            name: format!("{class}/{}/{}/{stem}", Split::Test.name(), entry.defect),
            gt: mask_path(&entry.xyz),
            xyz: entry.xyz,
            defective: entry.defect != "good",
        }
    };
    Ok(entries.into_iter().map(scan).collect())
}

/// The mask that lies beside a scan's points.
#[must_use]
pub fn mask_path(xyz: &Path) -> PathBuf {
    beside(xyz, "gt")
}

fn beside(xyz: &Path, folder: &str) -> PathBuf {
    let kind = xyz.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    kind.join(folder).join(xyz.file_name().unwrap_or_default()).with_extension("png")
}

/// Name of a data set: that of its folder.
///
/// # Errors
/// When there is no such folder.
pub fn name_of(root: &Path) -> Result<String> {
    let root = root.canonicalize().with_context(|| format!("there is no data set {}", root.display()))?;
    Ok(folder_name(&root))
}

fn folder_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn hash(classes: &[TestClass]) -> Result<String> {
    let mut hasher = Sha256::new();
    for scan in classes.iter().flat_map(|class| &class.scans) {
        hasher.update(scan.name.as_bytes());
        for path in [&scan.xyz, &beside(&scan.xyz, "rgb"), &scan.gt] {
            let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Ground truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Row-major, 0 = good.
    pub values: Vec<u8>,
    /// Rows and columns.
    pub size: [usize; 2],
}

/// Reads a mask: whatever is not 0 is defective.
///
/// # Errors
/// When the file is no picture.
pub fn read_mask(path: &Path) -> Result<Mask> {
    let bytes = fs::read(path).with_context(|| format!("cannot read the mask {}", path.display()))?;
    let image = png::decode(&bytes).with_context(|| format!("the mask {}", path.display()))?;
    let values = image.pixels.iter().map(|rgb| rgb.iter().copied().fold(0, u8::max)).collect();
    Ok(Mask { values, size: [image.height, image.width] })
}
