//! Scan in, [`Detection`] out; the stages are callable one by one.

use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::engine::EngineReport;
use crate::scan::Scan;
pub use crate::score::{AnomalyMap, BranchShare, Region};

/// What is said of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evaluation {
    /// Not more unusual than the promised share of good parts.
    Ok,
    /// More unusual than the promised share of good parts.
    NotOk,
    /// The scan cannot be judged; the reasons say why. The part must be looked at.
    NotDecidable,
    /// There is a score and a map, but no calibrated threshold.
    Undefined,
}

/// Why a part is not decidable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable machine-readable code, such as `no_object`, `unreadable`, `overrun`, `warming_up`.
    pub code: String,
    /// What was found, what was expected and what to do, in words.
    pub text: String,
}

/// The normal patch that the worst patch was compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestNormal {
    /// Name of the reference scan.
    pub scan: String,
    /// Patch of the 28 x 28 grid in it.
    pub patch: u16,
}

/// Wall time of the stages in milliseconds, in the order they ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Stage name and milliseconds.
    pub stages_ms: Vec<(String, f32)>,
}

/// Everything the detector says of one scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The verdict.
    pub evaluation: Evaluation,
    /// Image score, when there is one.
    pub score: Option<f32>,
    /// Score above which a part is not ok, when calibrated.
    pub threshold: Option<f32>,
    /// Conformal p-value, when calibrated.
    pub p_value: Option<f32>,
    /// Why not decidable.
    pub reasons: Vec<Reason>,
    /// What each branch contributed.
    pub branches: Vec<BranchShare>,
    /// Anomalous regions, worst first.
    pub regions: Vec<Region>,
    /// Nearest normal patch of the worst patch.
    pub nearest: Option<NearestNormal>,
    /// The anomaly map, when there is one.
    pub map: Option<AnomalyMap>,
    /// Time spent.
    pub timing: Timing,
}

/// Which pipeline judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Object crop, late fusion with per-scan normalisation; the default.
    #[default]
    Line,
    /// The paper's: whole scan, concatenation, joint score.
    Paper,
}

/// Owns the engines and the bank; one thread owns it. Made by `bundle::Bundle::detector`.
pub struct Detector {
    pub(crate) calibration: Option<Calibration>,
}

impl Detector {
    /// Judges one scan. Never fails: what cannot be judged is `not_decidable` with reasons.
    pub fn detect(&mut self, scan: &Scan) -> Detection {
        let _ = scan;
        Detection {
            evaluation: Evaluation::NotDecidable,
            score: None,
            threshold: self.calibration.as_ref().map(Calibration::threshold),
            p_value: None,
            reasons: vec![Reason { code: "not_built".into(), text: "the detector is not built yet".into() }],
            branches: Vec::new(),
            regions: Vec::new(),
            nearest: None,
            map: None,
            timing: Timing::default(),
        }
    }

    /// Sets or clears the calibration that turns scores into verdicts.
    pub fn set_calibration(&mut self, calibration: Option<Calibration>) {
        self.calibration = calibration;
    }

    /// The calibration in use.
    #[must_use]
    pub const fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// What runs the graphs (the same for all of them, the weakest when they differ).
    #[must_use]
    pub fn engine(&self) -> EngineReport {
        EngineReport {
            engine: "none".into(),
            version: "0".into(),
            provider: "cpu".into(),
            passed_over: vec![],
        }
    }
}
