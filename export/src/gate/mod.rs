//! The quality gate: a shipped bundle judged by the daemon's own detector on scans of known truth.
//!
//! A study judges arms that are not bundles yet. This judges the very file that goes to the devices, opened as a device
//! opens it, on the test split of every class:
//! ```text
//! OUT/cells.csv scans.csv curves.csv     as a study or an evaluation leaves them
//! OUT/gate.json                          the figures with the hashes of bundle and data, for `zal-export pack --judged`
//! OUT/timing.txt                         stage times a scan and memory; not part of the result
//! OUT/report.html                        the page, with the worst scans in pictures
//! ```
//! A class whose normal scans fill the bundle's own bank is judged too, and marked: it is not zero-shot.

pub mod data;
mod judge;
pub mod record;
mod tables;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use zal::bundle::{Bundle, FileRole, Judgement, Signer, TrustedKeys};
use zal::detector::{Detector, Mode, NearestNormal};
use zal::engine::EngineOptions;
use zal::scan::{Scan, SensorProfile, read};

use crate::onnx::write_bytes;
use crate::report::gallery::{Explained, ScanRef, scan_path};
use crate::report::{self, Options};
use data::{TestClass, read_mask};
use judge::{JudgedClass, StageTimes};
use record::GateRecord;

/// What is judged, and on what.
#[derive(Debug, Clone)]
pub struct Request {
    /// The bundle.
    pub bundle: PathBuf,
    /// Public keys that may have signed it, as text, beside the development key.
    pub keys: Vec<String>,
    /// Data set in the MVTec 3D-AD layout.
    pub data: PathBuf,
    /// Classes to judge; all that have test scans when empty.
    pub classes: Vec<String>,
    /// Modes to judge in; all that the bundle has when empty.
    pub modes: Vec<Mode>,
    /// Where the results go.
    pub out: PathBuf,
    /// What runs the graphs.
    pub engine: EngineOptions,
    /// The data set that the bank was filled from, for pictures of its scans.
    pub bank_data: Option<PathBuf>,
    /// The command, as typed.
    pub command: String,
}

/// Judges the bundle and writes the results; the path of the page.
///
/// # Errors
/// Names what in bundle or data cannot be used.
pub fn run(request: &Request, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let bundle = open(request)?;
    let modes = modes(request, &bundle)?;
    let data = data::open(&request.data, &request.classes)?;
    let trained_on = bank_classes(&bundle)?;
    fs::create_dir_all(&request.out).with_context(|| format!("cannot make {}", request.out.display()))?;
    let mut judges = Vec::new();
    let (mut judged, mut times) = (Vec::new(), Vec::new());
    for mode in modes {
        let mut detector = bundle.detector(mode, &request.engine)?;
        detector.set_clock(judge::monotonic);
        let mut mode_times = StageTimes::new(mode);
        for class in &data.classes {
            let found = judge::class(&mut detector, &bundle.manifest().sensor, class, &mut mode_times)?;
            say(&found.words());
            judged.push(found);
        }
        times.push(mode_times);
        judges.push(detector);
    }
    let engine = judges.first().map(Detector::engine).context("a bundle has at least one mode")?;
    let record = GateRecord::new(request, &bundle, &engine, &data, &trained_on, &judged)?;
    write(request, &record, &data.name, &judged, &times)?;
    page(request, &bundle, &mut judges)
}

fn open(request: &Request) -> Result<Bundle> {
    let bundle = Bundle::open(&request.bundle, &TrustedKeys::new(&request.keys)?)
        .with_context(|| format!("{} cannot be judged", request.bundle.display()))?;
    Ok(bundle)
}

fn modes(request: &Request, bundle: &Bundle) -> Result<Vec<Mode>> {
    let present: Vec<Mode> = bundle.manifest().modes.iter().map(|section| section.mode).collect();
    if request.modes.is_empty() {
        return Ok(present);
    }
    for mode in &request.modes {
        let names: Vec<&str> = present.iter().map(|mode| mode.name()).collect();
        ensure!(
            present.contains(mode),
            "{}: found no mode `{}`, expected one of {}",
            request.bundle.display(),
            mode.name(),
            names.join(", ")
        );
    }
    Ok(request.modes.clone())
}

/// Classes whose scans are in the bundle's banks, by the names of those scans: `class/train/good/number`.
fn bank_classes(bundle: &Bundle) -> Result<BTreeSet<String>> {
    let mut classes = BTreeSet::new();
    for file in bundle.manifest().files.iter().filter(|file| file.role == FileRole::Bank) {
        let bank = zal::bank::file::read(&bundle.read(&file.path)?)
            .with_context(|| format!("the bank {} of the bundle", file.path))?;
        let class_of = |scan: &String| scan.split('/').next().unwrap_or_default().to_owned();
        classes.extend(bank.scans.iter().map(class_of));
    }
    Ok(classes)
}

fn write(
    request: &Request,
    record: &GateRecord,
    data_name: &str,
    judged: &[JudgedClass],
    times: &[StageTimes],
) -> Result<()> {
    let put = |name: &str, text: String| write_bytes(&request.out.join(name), text.as_bytes());
    let place = tables::Place { data_set: data_name, training: &record.training(), arm: &record.bundle };
    put("cells.csv", tables::cells(&place, judged))?;
    put("scans.csv", tables::scans(&place, judged))?;
    put("curves.csv", tables::curves(&place, judged))?;
    put("timing.txt", judge::timing_text(times))?;
    record.write(&request.out)
}

/// Writes the page; its pictures judge their scans again.
fn page(request: &Request, bundle: &Bundle, judges: &mut [Detector]) -> Result<PathBuf> {
    let sensor = &bundle.manifest().sensor;
    let mut explain = |wanted: &ScanRef| {
        let detector = judges.iter_mut().find(|judge| judge.mode().name() == wanted.method.mode);
        let detector =
            detector.with_context(|| format!("there is no detector of mode {}", wanted.method.mode))?;
        explain_scan(detector, sensor, &request.data, &wanted.scan, request.bank_data.as_deref())
    };
    let options = Options {
        title: format!("Bundle {} on {}", bundle.name(), data::name_of(&request.data)?),
        command: Some(request.command.clone()),
        explain: Some(&mut explain),
    };
    report::write(&request.out, options)
}

/// Judges one scan of a data set again, for its pictures.
///
/// # Errors
/// When the scan is not there or cannot be judged.
pub fn explain_scan(
    detector: &mut Detector,
    sensor: &SensorProfile,
    root: &Path,
    name: &str,
    bank_data: Option<&Path>,
) -> Result<Explained> {
    let path = scan_path(root, name)?;
    let scan: Scan = read(&path, sensor)?;
    let mask = read_mask(&data::mask_path(&path))?;
    let detection = detector.detect(&scan);
    let reasons = || detection.reasons.iter().map(|r| r.text.clone()).collect::<Vec<_>>().join("; ");
    let map = detection.map.clone().with_context(|| format!("it cannot be judged: {}", reasons()))?;
    let nearest: Option<NearestNormal> = detection.nearest.clone();
    Ok(Explained { scan, mask: mask.values, map, nearest, nearest_data: bank_data.map(Path::to_owned) })
}

/// Whether the key that signed the bundle is the development key.
fn signer_name(signer: Signer) -> String {
    signer.name().to_owned()
}

/// The figures of a record, for a bundle's provenance.
///
/// # Errors
/// As [`record::GateRecord::read`], and when the record is of another bundle's files or settings.
pub fn judgement_for(path: &Path, manifest: &zal::bundle::Manifest) -> Result<Judgement> {
    let record = GateRecord::read(path)?;
    record.check_bundle(manifest).with_context(|| format!("{} does not fit", path.display()))?;
    Ok(record.judgement)
}

/// A class of the data set is judged zero-shot when none of its scans is in the bundle's banks.
fn is_zero_shot(class: &TestClass, trained_on: &BTreeSet<String>) -> bool {
    !trained_on.contains(&class.name)
}
