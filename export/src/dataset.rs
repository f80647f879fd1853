//! Walks a data set in the MVTec 3D-AD layout.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Name and xyz file of every normal training scan (`<class>/train/good/xyz/*.tiff`) of the
/// given classes, or of all, in a fixed order: classes as given, files by name.
///
/// # Errors
/// Names the folder that is missing or empty, and what is there instead.
pub fn normal_scans(root: &Path, classes: &[String]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let present = class_names(root)?;
    let wanted = if classes.is_empty() { present.clone() } else { classes.to_vec() };
    let mut scans = Vec::new();
    for class in &wanted {
        if !present.contains(class) {
            bail!("{} has no class `{class}`; it has {}", root.display(), present.join(", "));
        }
        let folder = root.join(class).join("train/good/xyz");
        let files = files_with_extension(&folder, "tiff")?;
        if files.is_empty() {
            bail!("{} holds no .tiff files; expected the normal scans of class `{class}`", folder.display());
        }
        for file in files {
            let stem = file.file_stem().and_then(|s| s.to_str()).context("a scan needs a name")?;
            scans.push((format!("{class}/train/good/{stem}"), file.clone()));
        }
    }
    Ok(scans)
}

/// Folders that hold `train/good/xyz`.
fn class_names(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = fs::read_dir(root).with_context(|| format!("cannot read the data set {}", root.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
        names.extend(name.filter(|_| path.join("train/good/xyz").is_dir()));
    }
    if names.is_empty() {
        bail!("{} has no CLASS/train/good/xyz; expected the MVTec 3D-AD layout", root.display());
    }
    names.sort();
    Ok(names)
}

fn files_with_extension(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
