//! The scans of a data set with the hashes of their bytes, found once.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::{cache, table, workers};
use crate::layout::{self, Entry, Split};

/// One scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanFile {
    /// `class/split/defect/stem`.
    pub name: String,
    /// The points; the colour lies beside them.
    pub xyz: PathBuf,
    /// The mask, of a test scan.
    pub gt: Option<PathBuf>,
    /// Whether the part has a defect.
    pub defective: bool,
    /// Hash of points and colour.
    pub key: String,
    /// Hash of the mask; empty without one.
    pub gt_key: String,
}

/// The scans of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its folder's name.
    pub name: String,
    /// Normal scans to learn from.
    pub train: Vec<ScanFile>,
    /// Scans to judge.
    pub test: Vec<ScanFile>,
}

/// A data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    /// Its folder's name.
    pub name: String,
    /// Where it is.
    pub root: PathBuf,
    /// Its classes, by name.
    pub classes: Vec<Class>,
    /// Hash of all that a training may read of it: names and bytes of the normal scans.
    pub key: String,
    /// Classes that are tested on; none: all that have test scans.
    pub tests: Option<Vec<String>>,
}

impl DataSet {
    /// Walks the data set and hashes its scans.
    ///
    /// # Errors
    /// When a file cannot be read, or a name cannot stand in the tables.
    pub fn open(root: &Path, jobs: usize) -> Result<Self> {
        let root = root.canonicalize().with_context(|| format!("there is no data set {}", root.display()))?;
        let name = name_of(&root);
        table::check_name(&name)?;
        let mut classes = Vec::new();
        for folder in layout::classes(&root)? {
            let class = name_of(&folder);
            table::check_name(&class)?;
            let scans = |split: Split| -> Result<Vec<ScanFile>> {
                let entries = layout::entries(&folder, split)?;
                workers::map(&entries, jobs, || (), |(): &mut (), entry| scan_file(&class, entry))
            };
            let (train, test) = (scans(Split::Train)?, scans(Split::Test)?);
            classes.push(Class { name: class, train, test });
        }
        Ok(Self::new(root, classes))
    }

    /// A data set of scans that were found already.
    #[must_use]
    pub fn new(root: PathBuf, classes: Vec<Class>) -> Self {
        let trained_on = classes.iter().flat_map(|class| &class.train);
        let parts: Vec<&str> = trained_on.flat_map(|scan| [scan.name.as_str(), &scan.key]).collect();
        let key = cache::key(&parts);
        Self { name: name_of(&root), root, classes, key, tests: None }
    }

    /// Hash of everything in it: names and bytes of all scans and masks.
    #[must_use]
    pub fn content_key(&self) -> String {
        let scans = self.classes.iter().flat_map(|class| class.train.iter().chain(&class.test));
        let parts = scans.flat_map(|scan| [scan.name.as_str(), &scan.key, &scan.gt_key]);
        cache::key(&parts.collect::<Vec<_>>())
    }

    /// The classes of a training.
    pub fn trained<'a>(&'a self, training: &'a [String]) -> impl Iterator<Item = &'a Class> {
        self.classes.iter().filter(|class| training.contains(&class.name))
    }

    /// All other classes that are tested on.
    pub fn others<'a>(&'a self, training: &'a [String]) -> impl Iterator<Item = &'a Class> {
        let wanted = |class: &&Class| self.tests.as_ref().is_none_or(|tests| tests.contains(&class.name));
        let other = |class: &&Class| !training.contains(&class.name) && !class.test.is_empty();
        self.classes.iter().filter(other).filter(wanted)
    }

    /// Checks that a training's classes are there, and others to test on.
    ///
    /// # Errors
    /// Names the class that is not there.
    pub fn check_training(&self, training: &[String]) -> Result<()> {
        let names: Vec<&str> = self.classes.iter().map(|class| class.name.as_str()).collect();
        if let Some(missing) = training.iter().find(|class| !names.contains(&class.as_str())) {
            bail!("{} has no class `{missing}`; it has {}", self.root.display(), names.join(", "));
        }
        ensure!(
            self.others(training).next().is_some(),
            "{} has no test scans of classes other than {}",
            self.root.display(),
            training.join(", ")
        );
        Ok(())
    }
}

/// The last part of a path.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Hashes the files of a scan.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn scan_file(class: &str, entry: &Entry) -> Result<ScanFile> {
    let stem = entry.xyz.file_stem().unwrap_or_default().to_string_lossy();
    let kind = entry.xyz.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    let color = kind.join("rgb").join(entry.xyz.file_name().unwrap_or_default()).with_extension("png");
    Ok(ScanFile {
        name: format!("{class}/{}/{}/{stem}", entry.split.name(), entry.defect),
        key: hash(&[&entry.xyz, &color])?,
        gt_key: entry.gt.as_ref().map_or_else(|| Ok(String::new()), |gt| hash(&[gt]))?,
        xyz: entry.xyz.clone(),
        gt: entry.gt.clone(),
        defective: entry.defect != "good",
    })
}

/// Hash of the files' bytes.
fn hash(paths: &[&Path]) -> Result<String> {
    let mut hasher = Sha256::new();
    for path in paths {
        let bytes = super::read_file(path)?;
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
