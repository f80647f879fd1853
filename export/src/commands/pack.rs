//! `zal-export pack`: artifacts, banks and their settings into one signed bundle.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use zal::bundle::manifest::FORMAT;
use zal::bundle::{
    Bundle, FileEntry, FileRole, GoldenResult, GoldenScan, Manifest, ModeSection, Provenance, TrustedKeys,
    write_archive,
};
use zal::scan::SensorProfile;

use super::train::TrainingRecord;
use crate::bank_build::{BankRecord, embedded_engine};
use crate::gate;
use crate::provenance;
use crate::signing;

/// The framework that trained, as pinned in Cargo.toml.
const BURN_VERSION: &str = "0.22.1";

/// Arguments of `zal-export pack`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the bundle: letters, digits, `.`, `_`, `-`
    #[arg(long)]
    pub(super) name: String,
    /// Version of the bundle
    #[arg(long)]
    pub(super) version: String,
    /// The colour backbone, from `zal-export backbone`
    #[arg(long, value_name = "ONNX")]
    pub(super) rgb: Option<PathBuf>,
    /// The PointNet++ descriptor
    #[arg(long, value_name = "ONNX")]
    pub(super) pointnet: Option<PathBuf>,
    /// The normalcy classifier
    #[arg(long, value_name = "ONNX")]
    pub(super) normalcy: Option<PathBuf>,
    /// Memory banks from `zal-export bank`, one for each mode; their records stand beside them
    #[arg(long, value_name = "BANK", required = true)]
    pub(super) bank: Vec<PathBuf>,
    /// Record of the training (`training.json`): its settings and data become part of the provenance
    #[arg(long, value_name = "JSON")]
    pub(super) training: Option<PathBuf>,
    /// Scans of good parts that go into the bundle with their scores: `zal selftest` judges them again. An xyz .tiff
    /// takes its colour along
    #[arg(long, value_name = "SCAN")]
    pub(super) golden: Vec<PathBuf>,
    /// The sensor's profile as JSON; metres in the camera frame without it
    #[arg(long, value_name = "JSON")]
    pub(super) sensor: Option<PathBuf>,
    /// Licence texts that go with the artifacts
    #[arg(long, value_name = "FILE")]
    pub(super) licence: Vec<PathBuf>,
    /// Figures of `zal-export gate` (`gate.json`) to record in the provenance: of the same graphs, banks and settings
    #[arg(long, value_name = "JSON")]
    pub(super) judged: Vec<PathBuf>,
    /// Secret key from `zal-export key`; the development key without it
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<PathBuf>,
    /// Bundles below the device's epoch are refused: raise it when an older model must not come back
    #[arg(long, default_value_t = 0)]
    pub(super) security_epoch: u32,
    /// The bundle to write
    #[arg(long, value_name = "ZALB")]
    pub(super) out: PathBuf,
}

/// Packs and signs a bundle, then opens it as a device would.
///
/// # Errors
/// When an artifact cannot be read, or the bundle that came out is not one.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut payload = Payload::default();
    payload.graph("rgb.onnx", FileRole::Rgb, args.rgb.as_deref())?;
    payload.graph("pointnet.onnx", FileRole::Pointnet, args.pointnet.as_deref())?;
    payload.graph("normalcy.onnx", FileRole::Normalcy, args.normalcy.as_deref())?;
    let mut modes = Vec::new();
    for bank in &args.bank {
        modes.push(payload.bank(bank)?);
    }
    for licence in &args.licence {
        let name = licence.file_name().and_then(|n| n.to_str()).context("a licence file needs a name")?;
        payload.push(name, FileRole::Licence, read(licence)?);
    }
    if let Some(path) = &args.training {
        payload.training(path)?;
    }
    let golden = payload.golden(&args.golden)?;
    payload.command(std::env::args());
    let mut manifest = Manifest {
        format: FORMAT.into(),
        name: args.name.clone(),
        version: args.version.clone(),
        security_epoch: args.security_epoch,
        sensor: sensor(args.sensor.as_deref())?,
        modes,
        files: payload.entries,
        golden,
        provenance: payload.provenance,
    };
    manifest.check()?;
    for path in &args.judged {
        let judgement = gate::judgement_for(path, &manifest)?;
        manifest.provenance.judged.push(judgement);
    }
    if !manifest.golden.is_empty() {
        // The results come from the bundle itself, opened as a device opens it.
        write(args, &manifest, &payload.bytes)?;
        expect_results(args, &mut manifest)?;
    }
    write(args, &manifest, &payload.bytes)?;
    check(args)
}

/// Files and their provenance, gathered.
#[derive(Default)]
struct Payload {
    entries: Vec<FileEntry>,
    bytes: Vec<Vec<u8>>,
    provenance: Provenance,
}

impl Payload {
    fn push(&mut self, path: &str, role: FileRole, bytes: Vec<u8>) {
        let sha256 = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        self.entries.push(FileEntry { path: path.into(), role, size_bytes: bytes.len() as u64, sha256 });
        self.bytes.push(bytes);
    }

    fn graph(&mut self, name: &str, role: FileRole, path: Option<&Path>) -> anyhow::Result<()> {
        let Some(path) = path else { return Ok(()) };
        let bytes = read(path)?;
        let origin =
            provenance::of_graph(&bytes).with_context(|| format!("{} is not ONNX", path.display()))?;
        self.provenance.weights.insert(name.into(), origin.weights);
        origin.command.into_iter().for_each(|command| self.made_by(command));
        self.push(name, role, bytes);
        Ok(())
    }

    fn bank(&mut self, path: &Path) -> anyhow::Result<ModeSection> {
        let record_path = BankRecord::path_beside(path);
        let record: BankRecord = serde_json::from_slice(&read(&record_path)?)
            .with_context(|| format!("{} is not the record of a bank", record_path.display()))?;
        let name = format!("{}.bank", record.mode.name());
        self.made_by(record.command);
        self.provenance.data.insert(name.clone(), record.data);
        self.push(&name, FileRole::Bank, read(path)?);
        Ok(ModeSection { mode: record.mode, bank: name, params: record.params })
    }

    /// What the training says of itself.
    fn training(&mut self, path: &Path) -> anyhow::Result<()> {
        let record: TrainingRecord = serde_json::from_slice(&read(path)?)
            .with_context(|| format!("{} is not the record of a training", path.display()))?;
        self.provenance.data.insert("training".into(), record.data);
        self.provenance.data.insert("pseudo anomalies".into(), record.pool.join(", "));
        self.provenance.data.insert("training settings".into(), serde_json::to_string(&record.params)?);
        Ok(())
    }

    /// Takes golden scans in; their results are not known yet.
    fn golden(&mut self, paths: &[PathBuf]) -> anyhow::Result<Vec<GoldenScan>> {
        let mut scans = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let scan = zal::scan::read(path, &SensorProfile::default())
                .with_context(|| format!("golden scan {}", path.display()))?;
            let ending = path.extension().unwrap_or_default().to_string_lossy();
            let points = format!("golden-{index}.{ending}");
            self.push(&points, FileRole::Golden, read(path)?);
            let color = match &scan.color {
                None => None,
                Some(image) => {
                    let name = format!("golden-{index}.png");
                    self.push(&name, FileRole::Golden, zal::scan::png::encode(image)?);
                    Some(name)
                }
            };
            scans.push(GoldenScan { points, color, expected: Vec::new() });
        }
        Ok(scans)
    }

    /// One command makes several files: it stands once.
    fn made_by(&mut self, command: String) {
        if !self.provenance.commands.contains(&command) {
            self.provenance.commands.push(command);
        }
    }

    fn command(&mut self, args: impl Iterator<Item = String>) {
        self.made_by(provenance::command_line(args));
        let versions = [("zal-export", env!("CARGO_PKG_VERSION")), ("burn", BURN_VERSION)];
        self.provenance.versions =
            versions.map(|(name, version)| (name.to_owned(), version.to_owned())).into_iter().collect();
    }
}

fn write(args: &Args, manifest: &Manifest, payload: &[Vec<u8>]) -> anyhow::Result<()> {
    let text = serde_json::to_vec_pretty(manifest)?;
    let key = signing::read_key(args.key.as_deref())?;
    let signature = signing::sign(&text, &key, &format!("zal bundle {}", manifest.full_name()))?;
    let mut files: Vec<(&str, &[u8])> =
        vec![("manifest.json", text.as_slice()), ("manifest.json.minisig", signature.as_bytes())];
    for (entry, bytes) in manifest.files.iter().zip(payload) {
        files.push((&entry.path, bytes));
    }
    let mut out = Vec::new();
    write_archive(&mut out, &files)?;
    fs::write(&args.out, out).with_context(|| format!("cannot write {}", args.out.display()))
}

/// Judges every golden scan in every mode on the embedded engine.
fn expect_results(args: &Args, manifest: &mut Manifest) -> anyhow::Result<()> {
    let bundle = open(args)?;
    for section in &bundle.manifest().modes {
        let mut detector = bundle.detector(section.mode, &embedded_engine())?;
        for golden in &mut manifest.golden {
            let detection = detector.detect(&bundle.golden_scan(golden)?);
            let result = GoldenResult::of(section.mode, &detector.engine(), &detection);
            let result = result.with_context(|| {
                format!(
                    "golden scan {} cannot be judged: {:?}; take another",
                    golden.points, detection.reasons
                )
            })?;
            golden.expected.push(result);
        }
    }
    Ok(())
}

/// Opens the bundle as a device does.
fn open(args: &Args) -> anyhow::Result<Bundle> {
    let public = match &args.key {
        None => Vec::new(),
        Some(key) => {
            let path = key.with_extension("pub");
            vec![String::from_utf8(read(&path)?).with_context(|| format!("{} is not text", path.display()))?]
        }
    };
    Ok(Bundle::open(&args.out, &TrustedKeys::new(&public)?)?)
}

/// Loads every mode on the embedded engine and tests the golden scans.
fn check(args: &Args) -> anyhow::Result<()> {
    let bundle = open(args)?;
    for section in &bundle.manifest().modes {
        let mut detector = bundle.detector(section.mode, &embedded_engine())?;
        for outcome in bundle.golden_test(&mut detector)? {
            if !outcome.passed() {
                bail!("golden scan {}: a second run gave another result, {outcome:?}", outcome.points);
            }
        }
    }
    let size = fs::metadata(&args.out)?.len();
    println!("{} {} bytes, signed with the {}", args.out.display(), size, bundle.signer().name());
    Ok(())
}

fn sensor(path: Option<&Path>) -> anyhow::Result<SensorProfile> {
    match path {
        None => Ok(SensorProfile::default()),
        Some(path) => serde_json::from_slice(&read(path)?)
            .with_context(|| format!("{} is not a sensor profile", path.display())),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_recorded_framework_is_the_one_in_use() {
        let pinned = format!("burn = {{ version = \"={}\"", super::BURN_VERSION);
        assert!(
            include_str!("../../Cargo.toml").contains(&pinned),
            "Cargo.toml pins another version of burn"
        );
    }
}
