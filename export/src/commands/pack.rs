//! `zal-export pack`: artifacts, banks and their settings into one signed bundle.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use zal::bundle::manifest::FORMAT;
use zal::bundle::{
    Bundle, FileEntry, FileRole, Manifest, ModeSection, Provenance, TrustedKeys, write_archive,
};
use zal::scan::SensorProfile;

use crate::bank_build::BankRecord;
use crate::provenance;
use crate::signing;

/// Arguments of `zal-export pack`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the bundle: letters, digits, `.`, `_`, `-`
    #[arg(long)]
    name: String,
    /// Version of the bundle
    #[arg(long)]
    version: String,
    /// The colour backbone, from `zal-export backbone`
    #[arg(long, value_name = "ONNX")]
    rgb: Option<PathBuf>,
    /// The PointNet++ descriptor
    #[arg(long, value_name = "ONNX")]
    pointnet: Option<PathBuf>,
    /// The normalcy classifier
    #[arg(long, value_name = "ONNX")]
    normalcy: Option<PathBuf>,
    /// Memory banks from `zal-export bank`, one for each mode; their records stand beside them
    #[arg(long, value_name = "BANK", required = true)]
    bank: Vec<PathBuf>,
    /// The sensor's profile as JSON; metres in the camera frame without it
    #[arg(long, value_name = "JSON")]
    sensor: Option<PathBuf>,
    /// Licence texts that go with the artifacts
    #[arg(long, value_name = "FILE")]
    licence: Vec<PathBuf>,
    /// Secret key from `zal-export key`; the development key without it
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    /// Bundles below the device's epoch are refused: raise it when an older model must not come back
    #[arg(long, default_value_t = 0)]
    security_epoch: u32,
    /// The bundle to write
    #[arg(long, value_name = "ZALB")]
    out: PathBuf,
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
    payload.command(std::env::args());
    let manifest = Manifest {
        format: FORMAT.into(),
        name: args.name.clone(),
        version: args.version.clone(),
        security_epoch: args.security_epoch,
        sensor: sensor(args.sensor.as_deref())?,
        modes,
        files: payload.entries,
        provenance: payload.provenance,
    };
    manifest.check()?;
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
        self.provenance.commands.extend(origin.command);
        self.push(name, role, bytes);
        Ok(())
    }

    fn bank(&mut self, path: &Path) -> anyhow::Result<ModeSection> {
        let record_path = BankRecord::path_beside(path);
        let record: BankRecord = serde_json::from_slice(&read(&record_path)?)
            .with_context(|| format!("{} is not the record of a bank", record_path.display()))?;
        let name = format!("{}.bank", record.mode.name());
        self.provenance.commands.push(record.command);
        self.provenance.data.insert(name.clone(), record.data);
        self.push(&name, FileRole::Bank, read(path)?);
        Ok(ModeSection { mode: record.mode, bank: name, params: record.params })
    }

    fn command(&mut self, args: impl Iterator<Item = String>) {
        self.provenance.commands.push(provenance::command_line(args));
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.provenance.versions = BTreeMap::from([("zal-export".to_owned(), version)]);
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

/// Opens the bundle as a device does and loads every mode on the embedded engine.
fn check(args: &Args) -> anyhow::Result<()> {
    let public = match &args.key {
        None => Vec::new(),
        Some(key) => {
            let path = key.with_extension("pub");
            vec![String::from_utf8(read(&path)?).with_context(|| format!("{} is not text", path.display()))?]
        }
    };
    let bundle = Bundle::open(&args.out, &TrustedKeys::new(&public)?)?;
    for section in &bundle.manifest().modes {
        bundle.detector(section.mode, &crate::bank_build::embedded_engine())?;
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
