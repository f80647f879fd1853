//! `gate.json`: which bundle did how well on which data.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zal::bundle::{Bundle, FileRole, Judgement, JudgementOfClass, Manifest};
use zal::engine::EngineReport;

use super::data::TestData;
use super::judge::JudgedClass;
use super::{Request, is_zero_shot, signer_name};
use crate::onnx::write_bytes;

/// Format of [`GateRecord`].
const FORMAT: &str = "zal.gate/1";

/// What stands in `gate.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRecord {
    /// `zal.gate/1`.
    pub format: String,
    /// `name-version` of the bundle.
    pub bundle: String,
    /// Hash of its file.
    pub bundle_sha256: String,
    /// Which kind of key signed it.
    pub signer: String,
    /// Graphs and banks of the bundle with their hashes.
    pub files: BTreeMap<String, String>,
    /// Hash of the modes' settings.
    pub settings_sha256: String,
    /// Classes whose scans are in its banks.
    pub trained_on: BTreeSet<String>,
    /// The command that judged it.
    pub command: String,
    /// The figures, as they go into a bundle's provenance.
    #[serde(rename = "judged")]
    pub judgement: Judgement,
}

impl GateRecord {
    /// The record of a gate.
    ///
    /// # Errors
    /// When the bundle cannot be read again.
    pub(super) fn new(
        request: &Request,
        bundle: &Bundle,
        engine: &EngineReport,
        data: &TestData,
        trained_on: &BTreeSet<String>,
        judged: &[JudgedClass],
    ) -> Result<Self> {
        let bytes =
            fs::read(&request.bundle).with_context(|| format!("cannot read {}", request.bundle.display()))?;
        let of_class = |found: &JudgedClass| JudgementOfClass {
            mode: found.mode,
            class: found.class.clone(),
            zero_shot: data
                .classes
                .iter()
                .find(|class| class.name == found.class)
                .is_some_and(|class| is_zero_shot(class, trained_on)),
            good_scans: found.count(false),
            defective_scans: found.count(true),
            undecided_scans: found.undecided(),
            figures: found
                .figures
                .iter()
                .filter_map(|(name, value)| value.map(|value| ((*name).to_owned(), rounded(value))))
                .collect(),
        };
        Ok(Self {
            format: FORMAT.into(),
            bundle: bundle.name(),
            bundle_sha256: sha256(&bytes),
            signer: signer_name(bundle.signer()),
            files: files(bundle.manifest()),
            settings_sha256: settings(bundle.manifest())?,
            trained_on: trained_on.clone(),
            command: request.command.clone(),
            judgement: Judgement {
                data: data.name.clone(),
                data_sha256: data.sha256.clone(),
                engine: format!("{} {} on {}", engine.engine, engine.version, engine.provider),
                version: env!("CARGO_PKG_VERSION").into(),
                classes: judged.iter().map(of_class).collect(),
            },
        })
    }

    /// Classes in the banks, joined as the tables have it.
    #[must_use]
    pub fn training(&self) -> String {
        if self.trained_on.is_empty() {
            return "none".into();
        }
        self.trained_on.iter().cloned().collect::<Vec<_>>().join("+")
    }

    /// Writes `OUT/gate.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(write_bytes(&out.join("gate.json"), text.as_bytes())?)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When the file is none.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let record: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is not the record of a gate; expected gate.json", path.display()))?;
        ensure!(
            record.format == FORMAT,
            "{}: found format `{}`, expected `{FORMAT}`",
            path.display(),
            record.format
        );
        Ok(record)
    }

    /// Whether the record is of these graphs, banks and settings.
    ///
    /// # Errors
    /// Names the file that is another one.
    pub fn check_bundle(&self, manifest: &Manifest) -> Result<()> {
        let expected = files(manifest);
        for name in self.files.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
            let words = |found: Option<&String>| found.map_or("no such file", String::as_str).to_owned();
            let (judged, packed) = (self.files.get(name), expected.get(name));
            if judged != packed {
                bail!(
                    "the bundle judged ({}) has another {name}: found {}, expected {}; judge the bundle that is packed",
                    self.bundle,
                    words(judged),
                    words(packed)
                );
            }
        }
        ensure!(
            self.settings_sha256 == settings(manifest)?,
            "the bundle judged ({}) has other settings of its modes; judge the bundle that is packed",
            self.bundle
        );
        Ok(())
    }
}

/// Graphs and banks: what the figures depend on.
fn files(manifest: &Manifest) -> BTreeMap<String, String> {
    let matters = |role: FileRole| !matches!(role, FileRole::Licence | FileRole::Golden);
    let files = manifest.files.iter().filter(|file| matters(file.role));
    files.map(|file| (file.path.clone(), file.sha256.clone())).collect()
}

fn settings(manifest: &Manifest) -> Result<String> {
    Ok(sha256(&serde_json::to_vec(&(&manifest.modes, &manifest.sensor))?))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Six decimals, as the tables have.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
