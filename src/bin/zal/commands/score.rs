//! `zal score`: judges scans from files.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use zal::detector::{Detection, Evaluation};
use zal::features::GRID_SIZE;
use zal::scan::{ColorImage, Scan};
use zal::{picture, score};

use super::detector_args::{CalibrationFile, DetectorArgs, Judge, Origin, read_scan};
use crate::exit::{CommandResult, Exit, Failure};

/// Arguments of `zal score`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scans: .pcd, .ply or .npy files, or the xyz .tiff of an MVTec pair
    #[arg(required = true, value_name = "SCAN")]
    scans: Vec<PathBuf>,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Calibration made by `zal calibrate`; without one there is a score but no verdict
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Folder for each scan's overlay, depth picture and map (.npy, in the scan's pixels)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object a scan and line
    #[arg(long)]
    json: bool,
}

/// Runs the command. The exit code is that of the worst scan: not ok, then unreadable, then
/// not decidable.
///
/// # Errors
/// When the detector cannot be made, or the only scan cannot be read.
pub fn run(args: &Args) -> CommandResult {
    if let Some(missing) = args.scans.iter().find(|path| !path.exists()) {
        let error = anyhow::anyhow!("there is no scan {}", missing.display());
        return Err(Failure::new(Exit::NoInput, error));
    }
    let Judge { mut detector, origin } = args.detector.open()?;
    if let Some(path) = &args.calibration {
        let (calibration, note) = CalibrationFile::load(path, &origin)?;
        note.iter().for_each(|note| eprintln!("warning: {note}"));
        detector.set_calibration(Some(calibration));
    }
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the folder {}", dir.display()))
            .map_err(|error| Failure::new(Exit::Io, error))?;
    }
    let mut outcome = Outcome::default();
    for (path, name) in args.scans.iter().zip(unique_names(&args.scans)) {
        let scan = match read_scan(path) {
            Ok(scan) => scan,
            Err(failure) if args.scans.len() == 1 => return Err(failure),
            Err(failure) => {
                report_unreadable(args, path, &failure);
                outcome.unreadable = outcome.unreadable.or(Some(failure.exit));
                continue;
            }
        };
        let detection = detector.detect(&scan);
        let files = match &args.out {
            Some(dir) => write_pictures(dir, &name, &scan, &detection)
                .map_err(|error| Failure::new(Exit::Io, error))?,
            None => Vec::new(),
        };
        outcome.add(detection.evaluation);
        let text = if args.json {
            to_json(path, &detection, &origin, &files).to_string()
        } else {
            to_text(path, &detection, &origin, &files)
        };
        // A reader that has seen enough, such as `head`, is no reason to panic.
        writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::new(Exit::Io, error))?;
    }
    Ok(outcome.exit())
}

/// What was found so far.
#[derive(Debug, Default)]
struct Outcome {
    not_ok: bool,
    not_decidable: bool,
    unreadable: Option<Exit>,
}

impl Outcome {
    fn add(&mut self, evaluation: Evaluation) {
        self.not_ok |= evaluation == Evaluation::NotOk;
        self.not_decidable |= evaluation == Evaluation::NotDecidable;
    }

    fn exit(&self) -> Exit {
        match self.unreadable {
            _ if self.not_ok => Exit::NotOk,
            Some(exit) => exit,
            None if self.not_decidable => Exit::NotDecidable,
            None => Exit::Ok,
        }
    }
}

/// An unreadable scan among others: said where the results are, and the others go on.
fn report_unreadable(args: &Args, path: &Path, failure: &Failure) {
    if args.json {
        println!("{}", json!({ "scan": path, "error": format!("{:#}", failure.error) }));
    } else {
        eprintln!("error: {:#}", failure.error);
    }
}

/// A file name for each scan: its stem behind its folder's name, as MVTec pairs of different
/// defects are all called 000; numbered when that is not enough.
fn unique_names(paths: &[PathBuf]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut unique = |path: &PathBuf| {
        let folders = path.parent().into_iter().flat_map(Path::iter).rev();
        let folder =
            folders.map(|f| f.to_string_lossy()).find(|f| f != "xyz" && f != "/" && f != "." && f != "..");
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let base = folder.map_or_else(|| stem.to_string(), |folder| format!("{folder}-{stem}"));
        let numbered = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
        numbered.into_iter().find(|name| taken.insert(name.clone())).expect("the numbers do not end")
    };
    paths.iter().map(&mut unique).collect()
}

/// Writes overlay, depth picture and map; the files written.
fn write_pictures(
    dir: &Path,
    name: &str,
    scan: &Scan,
    detection: &Detection,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut write = |suffix: &str, bytes: Vec<u8>| -> anyhow::Result<()> {
        let path = dir.join(format!("{name}.{suffix}"));
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        files.push(path);
        Ok(())
    };
    if let Some(overlay) = picture::overlay(scan, detection) {
        write("overlay.png", png(&overlay)?)?;
    }
    write("depth.png", png(&picture::depth(scan))?)?;
    if let Some(map) = &detection.map {
        let shape = [map.window.scan_height, map.window.scan_width];
        let mut bytes = Vec::new();
        zal::scan::npy::write_f32(&mut bytes, &shape, &score::scan_map(map))?;
        write("map.npy", bytes)?;
    }
    Ok(files)
}

fn png(image: &ColorImage) -> anyhow::Result<Vec<u8>> {
    Ok(zal::scan::png::encode(image)?)
}

/// One line of `--json`.
fn to_json(path: &Path, detection: &Detection, origin: &Origin, files: &[PathBuf]) -> Value {
    let timing: serde_json::Map<String, Value> =
        detection.timing.stages_ms.iter().map(|(stage, ms)| (stage.clone(), json!(ms))).collect();
    let shares: serde_json::Map<String, Value> =
        detection.branches.iter().map(|b| (b.branch.name().into(), json!(b.share))).collect();
    json!({
        "scan": path,
        "evaluation": detection.evaluation,
        "score": detection.score,
        "threshold": detection.threshold,
        "p_value": detection.p_value,
        "reasons": detection.reasons,
        "branch": shares,
        "regions": detection.regions,
        "nearest": detection.nearest,
        "timing_ms": timing,
        "mode": origin.mode,
        "bundle": origin.bundle,
        "engine": origin.engine,
        "files": files,
    })
}

/// What a person reads.
fn to_text(path: &Path, detection: &Detection, origin: &Origin, files: &[PathBuf]) -> String {
    let mut text = format!("{}: {}", path.display(), verdict(detection));
    for reason in &detection.reasons {
        let _ = write!(text, "\n  {}: {}", reason.code, reason.text);
    }
    if let Some(worst) = detection.regions.first() {
        let ([left, top, width, height], [x, y, z]) = (worst.bbox_px, worst.centroid_mm);
        let _ = write!(
            text,
            "\n  worst of {} regions: {:.1} mm2 at ({x:.1}, {y:.1}, {z:.1}) mm, {width} x {height} px at ({left}, {top})",
            detection.regions.len(),
            worst.area_mm2,
        );
    }
    let shares = detection.branches.iter().map(|b| format!("{} {:.0} %", b.branch.name(), 100.0 * b.share));
    let shares: Vec<String> = shares.collect();
    if !shares.is_empty() {
        let _ = write!(text, "\n  worst patch: {}", shares.join(", "));
    }
    if let Some(nearest) = &detection.nearest {
        let (row, column) = (usize::from(nearest.patch) / GRID_SIZE, usize::from(nearest.patch) % GRID_SIZE);
        let _ = write!(text, "\n  nearest normal: {}, patch row {row}, column {column}", nearest.scan);
    }
    let engine = &origin.engine;
    let _ = write!(
        text,
        "\n  mode {}, bundle {}, {} {} on {}",
        origin.mode.name(),
        origin.bundle,
        engine.engine,
        engine.version,
        engine.provider
    );
    if let Some((_, total)) = detection.timing.stages_ms.iter().find(|(stage, _)| stage == "total") {
        let _ = write!(text, ", {total:.0} ms");
    }
    for file in files {
        let _ = write!(text, "\n  wrote {}", file.display());
    }
    text
}

/// The verdict with its figures.
fn verdict(detection: &Detection) -> String {
    let score = detection.score.map_or(String::new(), |score| format!(", score {score:.3}"));
    let calibrated = match (detection.threshold, detection.p_value) {
        (Some(threshold), Some(p)) => format!(", threshold {threshold:.3}, p-value {p:.3}"),
        _ => String::new(),
    };
    match detection.evaluation {
        Evaluation::Ok => format!("ok{score}{calibrated}"),
        Evaluation::NotOk => format!("not ok{score}{calibrated}"),
        Evaluation::NotDecidable => "not decidable".into(),
        Evaluation::Undefined => format!(
            "no verdict{score}: there is no calibration; make one from good parts with `zal calibrate`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_tell_the_defect() {
        let paths = ["a/bump/xyz/000.tiff", "a/dent/xyz/000.tiff", "b/dent/xyz/000.tiff", "x.pcd", "./x.ply"];
        let names = unique_names(&paths.map(PathBuf::from));
        assert_eq!(names, ["bump-000", "dent-000", "dent-000-2", "x", "x-2"]);
    }

    #[test]
    fn the_worst_scan_decides_the_exit_code() {
        let of = |evaluations: &[Evaluation], unreadable| {
            let mut outcome = Outcome { unreadable, ..Outcome::default() };
            evaluations.iter().for_each(|e| outcome.add(*e));
            outcome.exit()
        };
        use Evaluation::{NotDecidable, NotOk, Ok, Undefined};
        assert_eq!(of(&[Ok, Undefined], None), Exit::Ok);
        assert_eq!(of(&[Ok, NotDecidable], None), Exit::NotDecidable);
        assert_eq!(of(&[NotDecidable, NotOk], Some(Exit::BadData)), Exit::NotOk);
        assert_eq!(of(&[NotDecidable], Some(Exit::BadData)), Exit::BadData);
    }
}
