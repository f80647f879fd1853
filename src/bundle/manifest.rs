//! The manifest: what a bundle holds, how it is to be used and where it came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BundleError;
use super::golden::{self, GoldenScan};
use crate::detector::{Mode, ModeParams};
use crate::scan::SensorProfile;

/// The only manifest format so far.
pub const FORMAT: &str = "zal.bundle/1";
/// Most files that a bundle may hold.
const FILES_MAX: usize = 64;
/// Largest payload file.
const FILE_SIZE_MAX: u64 = 4 << 30;

/// What a payload file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRole {
    /// The colour backbone, ONNX.
    Rgb,
    /// The PointNet++ descriptor, ONNX.
    Pointnet,
    /// The normalcy classifier, ONNX.
    Normalcy,
    /// A memory bank.
    Bank,
    /// A licence text.
    Licence,
    /// A file of a golden scan.
    Golden,
}

/// One payload file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Name in the tar: letters, digits, `.`, `_` and `-`, no folders.
    pub path: String,
    /// What it is for.
    pub role: FileRole,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// One mode that the bundle can run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeSection {
    /// Which mode.
    pub mode: Mode,
    /// Its memory bank's file.
    pub bank: String,
    /// Everything the detector is set to.
    pub params: ModeParams,
}

/// Where the artifacts came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The commands that made the bundle, in order.
    pub commands: Vec<String>,
    /// Per artifact, where its weights came from, in words; random weights say so.
    pub weights: BTreeMap<String, String>,
    /// Per data set, what was used and its hash.
    pub data: BTreeMap<String, String>,
    /// Versions of the programs that made it.
    pub versions: BTreeMap<String, String>,
    /// How it did on scans of known truth, a data set each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judged: Vec<Judgement>,
}

/// How a bundle did on the test scans of a data set, judged by the detector itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// Name of the data set.
    pub data: String,
    /// Hash of its test scans and masks.
    pub data_sha256: String,
    /// What ran the graphs.
    pub engine: String,
    /// Version of the program that judged.
    pub version: String,
    /// Mode by mode, class by class.
    pub classes: Vec<JudgementOfClass>,
}

/// The figures of one class in one mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgementOfClass {
    /// The mode.
    pub mode: Mode,
    /// The class.
    pub class: String,
    /// Whether no scan of the class is in the bundle's own banks: only then the figures are zero-shot.
    pub zero_shot: bool,
    /// Good scans judged.
    pub good_scans: usize,
    /// Defective scans judged.
    pub defective_scans: usize,
    /// Scans of both kinds that the detector could not decide on.
    pub undecided_scans: usize,
    /// By name; rule and limit are part of it.
    pub figures: BTreeMap<String, f64>,
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
    /// Rollback is free within an epoch, never below.
    pub security_epoch: u32,
    /// The sensor that it fits.
    pub sensor: SensorProfile,
    /// Modes that it can run.
    pub modes: Vec<ModeSection>,
    /// Payload files in the order of the tar.
    pub files: Vec<FileEntry>,
    /// Scans with their expected results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golden: Vec<GoldenScan>,
    /// Where it came from.
    pub provenance: Provenance,
}

impl Manifest {
    /// Parses and checks the raw bytes, whose signature was checked before.
    ///
    /// # Errors
    /// When the JSON does not parse, or a field contradicts the format.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: String,
        }
        let unreadable = |error: serde_json::Error| BundleError::Manifest {
            found: error.to_string(),
            expected: format!("JSON of format {FORMAT}"),
        };
        let FormatOnly { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format != FORMAT {
            return Err(refused(format!("format {format}"), format!("{FORMAT}; update zal")));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks names, sizes and references.
    ///
    /// # Errors
    /// Names the first contradiction.
    pub fn check(&self) -> Result<(), BundleError> {
        for (what, text) in [("name", &self.name), ("version", &self.version)] {
            if !is_plain_name(text) {
                return Err(refused(format!("{what} `{text}`"), PLAIN_NAME.into()));
            }
        }
        if self.files.len() > FILES_MAX {
            return Err(refused(format!("{} files", self.files.len()), format!("at most {FILES_MAX}")));
        }
        for (index, file) in self.files.iter().enumerate() {
            check_file(file)?;
            if self.files[..index].iter().any(|f| f.path == file.path) {
                return Err(refused(format!("file {} twice", file.path), "every file once".into()));
            }
        }
        for section in &self.modes {
            if self.file(&section.bank, FileRole::Bank).is_none() {
                return Err(refused(
                    format!("bank {} of a mode", section.bank),
                    "a file of role bank".into(),
                ));
            }
        }
        if self.modes.is_empty() {
            return Err(refused("no modes".into(), "at least one".into()));
        }
        golden::check(self)
    }

    /// `name-version`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// The section of a mode.
    #[must_use]
    pub fn mode(&self, mode: Mode) -> Option<&ModeSection> {
        self.modes.iter().find(|s| s.mode == mode)
    }

    /// The first file of a role.
    #[must_use]
    pub fn role(&self, role: FileRole) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.role == role)
    }

    fn file(&self, path: &str, role: FileRole) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.path == path && f.role == role)
    }
}

const PLAIN_NAME: &str = "1 to 80 letters, digits, `.`, `_` or `-`, not starting with a dot";

fn is_plain_name(text: &str) -> bool {
    (1..=80).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn check_file(file: &FileEntry) -> Result<(), BundleError> {
    if !is_plain_name(&file.path) {
        return Err(refused(format!("file name `{}`", file.path), PLAIN_NAME.into()));
    }
    if file.size_bytes > FILE_SIZE_MAX {
        let found = format!("{} of {} bytes", file.path, file.size_bytes);
        return Err(refused(found, format!("at most {FILE_SIZE_MAX}")));
    }
    if file.sha256.len() != 64
        || !file.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return Err(refused(format!("sha256 `{}`", file.sha256), "64 lower-case hexadecimal digits".into()));
    }
    Ok(())
}

fn refused(found: String, expected: String) -> BundleError {
    BundleError::Manifest { found, expected }
}
