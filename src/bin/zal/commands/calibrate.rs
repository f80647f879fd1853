//! `zal calibrate`: a threshold from scans of good parts.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use zal::calibration::Calibration;

use super::detector_args::{CALIBRATION_SCHEMA, CalibrationFile, DetectorArgs, Judge, read_scan};
use crate::exit::{CommandResult, Exit, Failure};

/// Arguments of `zal calibrate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scans of good parts
    #[arg(required = true, value_name = "SCAN")]
    scans: Vec<PathBuf>,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Where to write the calibration
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Share of good parts that may be rejected
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    false_reject_rate: f32,
    /// Print the calibration as JSON as well
    #[arg(long)]
    json: bool,
}

/// Runs the command. A good part that cannot be judged stops it: leaving it out would make a
/// promise about the easy parts only.
///
/// # Errors
/// When a scan cannot be read or judged, or the calibration cannot be written.
pub fn run(args: &Args) -> CommandResult {
    let Judge { mut detector, origin } = args.detector.open()?;
    let mut scores = Vec::new();
    for path in &args.scans {
        let detection = detector.detect(&read_scan(path)?);
        let Some(score) = detection.score else {
            let why = detection.reasons.first().map_or("no score", |reason| &reason.text);
            let error = anyhow!("the good part {} cannot be judged: {why}", path.display());
            return Err(Failure::new(Exit::NotDecidable, error).hint("scan it again, or leave it out"));
        };
        scores.push(score);
    }
    let calibration =
        Calibration::new(scores, args.false_reject_rate).map_err(|error| Failure::new(Exit::Usage, error))?;
    let file = CalibrationFile { schema: CALIBRATION_SCHEMA.into(), origin, calibration };
    let text = serde_json::to_string_pretty(&file).map_err(|error| Failure::new(Exit::Bug, error))?;
    std::fs::write(&args.out, format!("{text}\n"))
        .with_context(|| format!("cannot write {}", args.out.display()))
        .map_err(|error| Failure::new(Exit::Io, error))?;
    if args.json {
        println!("{text}");
    } else {
        println!("{}", promise(&file.calibration));
        println!("wrote {}", args.out.display());
    }
    Ok(Exit::Ok)
}

/// What this many good parts can promise.
fn promise(calibration: &Calibration) -> String {
    let count = calibration.scores().len();
    let percent = |rate: f32| 100.0 * rate;
    let promised = format!(
        "{count} good parts, threshold {:.3}: at most {:.1} % of good parts are rejected",
        calibration.threshold(),
        percent(calibration.promised_rate())
    );
    if calibration.promised_rate() <= calibration.false_reject_rate() {
        return promised;
    }
    format!(
        "{promised}; {:.1} % were asked for, which takes more good parts (1 / (n + 1) is the least that n can promise)",
        percent(calibration.false_reject_rate())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_parts_are_said_to_be_too_few() {
        let of = |count: u8| {
            let scores = (0..count).map(f32::from).collect();
            promise(&Calibration::new(scores, 0.05).expect("finite scores"))
        };
        assert!(of(4).contains("20.0 %") && of(4).contains("takes more good parts"), "{}", of(4));
        assert!(!of(19).contains("takes more"), "{}", of(19));
    }
}
