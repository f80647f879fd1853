//! What `score`, `calibrate` and `bench` have in common: bundle, engine, scans, calibration.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use zal::bundle::Bundle;
use zal::calibration::Calibration;
use zal::detector::{Detector, Mode};
use zal::engine::{EngineChoice, EngineOptions, EngineReport};
use zal::scan::{Scan, ScanError, SensorProfile};

use crate::exit::{Exit, Failure};
use crate::{bundled, clock, runtime};

/// Which detector.
#[derive(Debug, Clone, clap::Args)]
pub struct DetectorArgs {
    /// Bundle to judge with [default: the demo bundle within the program]
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// Which pipeline judges
    #[arg(long, value_enum, default_value_t = ModeArg::Line)]
    pub mode: ModeArg,
    /// Which library runs the networks
    #[arg(long, value_enum, default_value_t = EngineArg::Auto)]
    pub engine: EngineArg,
    /// The ONNX Runtime library [default: `ORT_DYLIB_PATH`, what setup-runtime installed, the system's]
    #[arg(long, value_name = "FILE")]
    pub runtime_library: Option<PathBuf>,
    /// Threads to compute with
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ModeArg {
    /// Object crop and late fusion
    Line,
    /// The paper's concatenation and joint score
    Paper,
}

/// `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineArg {
    /// ONNX Runtime when its library is found, tract else
    Auto,
    /// ONNX Runtime, or fail
    Onnxruntime,
    /// The embedded tract
    Tract,
}

/// A detector and where it comes from.
pub struct Judge {
    /// The detector.
    pub detector: Detector,
    /// What it is, for output and calibration files.
    pub origin: Origin,
}

/// What scores depend on besides the scan: scores of different origins cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `name-version` of the bundle.
    pub bundle: String,
    /// Which pipeline.
    pub mode: Mode,
    /// What runs the networks.
    pub engine: EngineReport,
}

impl DetectorArgs {
    /// Opens the bundle and makes the detector.
    pub fn open(&self) -> Result<Judge, Failure> {
        // The kernels' threads are the process's only pool; a second call finds it made.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(self.threads.into()).build_global();
        let bundle = bundled::open(self.bundle.as_deref())?;
        let mut detector = self.load(&bundle)?;
        detector.set_clock(clock::monotonic);
        let origin = Origin { bundle: bundle.name(), mode: self.mode(), engine: detector.engine() };
        Ok(Judge { detector, origin })
    }

    fn load(&self, bundle: &Bundle) -> Result<Detector, Failure> {
        let failed = |error| {
            Failure::new(Exit::BadData, error)
                .hint("another --mode or --engine may work; `zal setup-runtime` installs ONNX Runtime")
        };
        bundle.detector(self.mode(), &self.engine_options()).map_err(failed)
    }

    fn mode(&self) -> Mode {
        match self.mode {
            ModeArg::Line => Mode::Line,
            ModeArg::Paper => Mode::Paper,
        }
    }

    fn engine_options(&self) -> EngineOptions {
        let choice = match self.engine {
            EngineArg::Auto => EngineChoice::Auto,
            EngineArg::Onnxruntime => EngineChoice::Onnxruntime,
            EngineArg::Tract => EngineChoice::Tract,
        };
        runtime::engine_options(choice, self.runtime_library.as_deref(), self.threads.into())
    }
}

/// Reads one scan; the exit code says whether the file is missing or wrong.
pub fn read_scan(path: &Path) -> Result<Scan, Failure> {
    zal::scan::read(path, &SensorProfile::default()).map_err(|error| {
        let missing =
            matches!(&error, ScanError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
        let exit = if missing { Exit::NoInput } else { Exit::BadData };
        Failure::new(exit, error).hint(format!("`zal inspect {}` says more", path.display()))
    })
}

/// A calibration on disk, bound to what its scores were made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationFile {
    /// `zal.calibration/1`.
    pub schema: String,
    /// What the scores were made with.
    pub origin: Origin,
    /// The scores and the false-reject rate.
    pub calibration: Calibration,
}

/// Schema name of [`CalibrationFile`].
pub const CALIBRATION_SCHEMA: &str = "zal.calibration/1";

impl CalibrationFile {
    /// Reads a calibration for a detector of this origin. A note in words comes with it when
    /// the engine is another one than the calibration was made with.
    pub fn load(path: &Path, origin: &Origin) -> Result<(Calibration, Option<String>), Failure> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the calibration {}", path.display()))
            .map_err(|error| Failure::new(Exit::NoInput, error))?;
        let file: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no calibration", path.display()))
            .map_err(|error| Failure::new(Exit::BadData, error).hint("make one with `zal calibrate`"))?;
        file.check(origin)
            .with_context(|| format!("the calibration {} does not fit", path.display()))
            .map_err(|error| {
                Failure::new(Exit::BadData, error)
                    .hint("make one for this bundle and mode with `zal calibrate`")
            })?;
        let note = file.other_engine(origin);
        Ok((file.calibration, note))
    }

    fn check(&self, origin: &Origin) -> anyhow::Result<()> {
        let pairs = [
            ("schema", self.schema.as_str(), CALIBRATION_SCHEMA),
            ("bundle", &self.origin.bundle, &origin.bundle),
            ("mode", self.origin.mode.name(), origin.mode.name()),
        ];
        match pairs.into_iter().find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((what, found, expected)) => {
                Err(anyhow!("it is for another {what}: found `{found}`, expected `{expected}`"))
            }
        }
    }

    fn other_engine(&self, origin: &Origin) -> Option<String> {
        let name = |report: &EngineReport| format!("{} on {}", report.engine, report.provider);
        let (made, now) = (name(&self.origin.engine), name(&origin.engine));
        (made != now)
            .then(|| format!("the calibration was made with {made}, the networks now run with {now}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(bundle: &str, mode: Mode) -> Origin {
        let engine = EngineReport {
            engine: "tract".into(),
            version: "0".into(),
            provider: "cpu".into(),
            passed_over: vec![],
        };
        Origin { bundle: bundle.into(), mode, engine }
    }

    fn saved(dir: &Path, origin: &Origin) -> PathBuf {
        let calibration = Calibration::new(vec![1.0, 2.0, 3.0], 0.05).expect("three finite scores");
        let file = CalibrationFile { schema: CALIBRATION_SCHEMA.into(), origin: origin.clone(), calibration };
        let path = dir.join("calibration.json");
        std::fs::write(&path, serde_json::to_vec(&file).expect("plain data")).expect("a temporary folder");
        path
    }

    #[test]
    fn a_calibration_fits_its_own_bundle_and_mode_only() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let made = origin("demo-1", Mode::Line);
        let path = saved(dir.path(), &made);
        let (calibration, note) = CalibrationFile::load(&path, &made).expect("the same origin");
        assert_eq!((calibration.scores(), note), ([1.0, 2.0, 3.0].as_slice(), None));
        for other in [origin("demo-2", Mode::Line), origin("demo-1", Mode::Paper)] {
            let refused = CalibrationFile::load(&path, &other).expect_err("another origin");
            assert_eq!(refused.exit, Exit::BadData);
            assert!(format!("{:#}", refused.error).contains("expected"), "{:#}", refused.error);
        }
    }

    #[test]
    fn another_engine_is_noted() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = saved(dir.path(), &origin("demo-1", Mode::Line));
        let mut now = origin("demo-1", Mode::Line);
        now.engine.engine = "onnxruntime".into();
        let (_, note) = CalibrationFile::load(&path, &now).expect("the same bundle and mode");
        assert!(note.is_some_and(|note| note.contains("tract on cpu")));
    }

    #[test]
    fn a_broken_calibration_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let made = origin("demo-1", Mode::Line);
        let path = saved(dir.path(), &made);
        let text = std::fs::read_to_string(&path).expect("just written");
        for broken in [text.replace("0.05", "1.5"), text.replace("[1.0,2.0,3.0]", "[]"), text[1..].to_owned()]
        {
            assert_ne!(broken, text);
            std::fs::write(&path, broken).expect("a temporary folder");
            let refused = CalibrationFile::load(&path, &made).expect_err("broken");
            assert_eq!(refused.exit, Exit::BadData);
        }
        let missing = CalibrationFile::load(&dir.path().join("none.json"), &made).expect_err("not there");
        assert_eq!(missing.exit, Exit::NoInput);
    }
}
