//! Scan in, [`Detection`] out; the stages are callable one by one.
//!
//! Both modes share preparing, describing, the map, the regions and the verdict; they differ
//! in the frame, in how patches are compared with the bank ([`params::Scoring`]) and in
//! nothing else. The library has no clock: the caller lends one for the stage times.

mod against;
mod compare;
mod late;
pub mod params;
pub mod references;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bank::search::SearchError;
use crate::bank::{BankError, MemoryBank};
use crate::calibration::Calibration;
use crate::engine::EngineReport;
use crate::features::describe::{DescribeError, Describer};
use crate::features::{PatchFeatures, PatchGrid};
use crate::preprocess::{PreparedScan, PreprocessError, prepare};
use crate::scan::Scan;
pub use crate::score::{AnomalyMap, BranchShare, Region};
use crate::score::{lifted_map, region_threshold, regions};
pub use against::{Confirmed, Entrant, JudgedAgainst, Sighting};
pub use compare::{Compared, Comparison, NearestNormal};
pub use late::{LateFusion, Loudest};
pub use params::{Mode, ModeParams};
use references::DescribedScan;

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
    /// The reference set that it was judged against; none when that was the bundle's bank alone.
    pub against: Option<JudgedAgainst>,
    /// Time spent.
    pub timing: Timing,
}

/// Why a detector cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// A branch cannot be described.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// The bank does not fit.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// The bank cannot be searched.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// Settings and bank disagree.
    #[error("{what}: found {found}, expected {expected}")]
    Mismatch {
        /// What disagrees.
        what: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
}

/// Fewer valid patches than this cannot be told from each other: no verdict.
pub const PATCHES_MIN: usize = 8;

/// Most regions of one detection.
pub const REGIONS_MAX: usize = 16;

/// Monotonic time since any fixed moment.
pub type Clock = fn() -> Duration;

/// Owns the engines and the bank; one thread owns it. Made by `bundle::Bundle::detector`.
pub struct Detector {
    mode: Mode,
    params: ModeParams,
    describer: Describer,
    comparison: Comparison,
    calibration: Option<Calibration>,
    clock: Clock,
}

impl Detector {
    /// Puts a detector together.
    ///
    /// # Errors
    /// When bank, graphs and settings do not fit together.
    pub fn new(
        mode: Mode,
        params: ModeParams,
        describer: Describer,
        bank: MemoryBank,
    ) -> Result<Self, DetectorError> {
        let comparison = Comparison::new(&params, bank)?;
        Ok(Self { mode, params, describer, comparison, calibration: None, clock: || Duration::ZERO })
    }

    /// Judges one scan. Never fails: what cannot be judged is `not_decidable` with reasons.
    pub fn detect(&mut self, scan: &Scan) -> Detection {
        let mut laps = Laps::new(self.clock);
        match self.judge(scan, &mut laps) {
            Ok(detection) => Detection { timing: laps.finish(), ..detection },
            Err(reason) => Detection { timing: laps.finish(), ..self.undecided(reason) },
        }
    }

    fn judge(&mut self, scan: &Scan, laps: &mut Laps) -> Result<Detection, Reason> {
        let Seen { prepared, grid, described } = self.see(scan, laps)?;
        let DescribedScan { features, logits, .. } = described;
        let compared = self
            .comparison
            .compare(grid.patches(), &features, logits.as_deref())
            .map_err(|e| not_compared(&e))?;
        laps.lap("bank");
        if !compared.image_score.is_finite() {
            return Err(Reason {
                code: "score_not_finite".into(),
                text: "a score is not a finite number".into(),
            });
        }
        let verdict = self.verdict(compared.image_score);
        let drawn = self.drawn(&prepared, &grid, compared, laps);
        Ok(Detection {
            map: drawn.map,
            regions: drawn.regions,
            branches: drawn.branches,
            nearest: drawn.nearest,
            ..verdict
        })
    }

    /// Prepares and describes a scan.
    fn see(&mut self, scan: &Scan, laps: &mut Laps) -> Result<Seen, Reason> {
        let prepared = prepare(scan, &self.params.preprocess).map_err(|e| no_object(&e))?;
        laps.lap("preprocess");
        let grid = PatchGrid::of(&prepared.cloud);
        if grid.count() < PATCHES_MIN {
            return Err(Reason {
                code: "too_few_patches".into(),
                text: format!(
                    "the object covers {} patches of the 28 x 28 grid with enough measured points, at least \
                     {PATCHES_MIN} are needed; move the part closer or check for missing points",
                    grid.count()
                ),
            });
        }
        let features = self.describe(&prepared, &grid, laps).map_err(|e| not_described(&e))?;
        let logits = self.logits(&prepared, &grid, laps).map_err(|e| not_described(&e))?;
        let described = DescribedScan { patches: grid.patches().to_vec(), features, logits };
        Ok(Seen { prepared, grid, described })
    }

    /// Map and regions of compared patches.
    fn drawn(
        &self,
        prepared: &PreparedScan,
        grid: &PatchGrid,
        compared: Compared,
        laps: &mut Laps,
    ) -> Detection {
        let sigma_px = self.params.map_sigma_px;
        let map = lifted_map(grid, &compared.map_scores, sigma_px, &prepared.cloud, prepared.window);
        let regions = regions(&map, prepared, region_threshold(&map), REGIONS_MAX);
        laps.lap("score");
        Detection {
            map: Some(map),
            regions,
            branches: compared.branches,
            nearest: compared.nearest,
            ..Detection::empty()
        }
    }

    /// Describes the valid patches of a frame by every branch, in the order of the settings.
    ///
    /// # Errors
    /// When a branch lacks its colour or its graph fails.
    fn describe(
        &mut self,
        prepared: &PreparedScan,
        grid: &PatchGrid,
        laps: &mut Laps,
    ) -> Result<Vec<PatchFeatures>, DescribeError> {
        let mut features = Vec::new();
        for branch in self.params.describe.branches.clone() {
            features.push(self.describer.describe(branch, prepared, grid)?);
            laps.lap(branch.name());
        }
        Ok(features)
    }

    fn logits(
        &mut self,
        prepared: &PreparedScan,
        grid: &PatchGrid,
        laps: &mut Laps,
    ) -> Result<Option<Vec<f32>>, DescribeError> {
        if !self.comparison.needs_logits() {
            return Ok(None);
        }
        let logits = self.describer.normalcy(prepared, grid)?;
        laps.lap("normalcy");
        Ok(Some(logits))
    }

    fn verdict(&self, score: f32) -> Detection {
        let calibration = self.calibration.as_ref();
        let evaluation = match calibration {
            None => Evaluation::Undefined,
            Some(c) if c.rejects(score) => Evaluation::NotOk,
            Some(_) => Evaluation::Ok,
        };
        Detection {
            evaluation,
            score: Some(score),
            threshold: calibration.map(Calibration::threshold),
            p_value: calibration.map(|c| c.p_value(score)),
            ..Detection::empty()
        }
    }

    fn undecided(&self, reason: Reason) -> Detection {
        Detection {
            threshold: self.calibration.as_ref().map(Calibration::threshold),
            reasons: vec![reason],
            ..Detection::empty()
        }
    }

    /// Sets or clears the calibration that turns scores into verdicts.
    pub fn set_calibration(&mut self, calibration: Option<Calibration>) {
        self.calibration = calibration;
    }

    /// Lends a monotonic clock for the stage times; without one they are zero.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// The calibration in use.
    #[must_use]
    pub const fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Which pipeline judges.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What the detector is set to.
    #[must_use]
    pub const fn params(&self) -> &ModeParams {
        &self.params
    }

    /// The branches with their engines, for tools that show one stage.
    pub const fn describer(&mut self) -> &mut Describer {
        &mut self.describer
    }

    /// Rows of the memory bank.
    #[must_use]
    pub fn bank_rows(&self) -> usize {
        self.comparison.bank_rows()
    }

    /// What runs the graphs; without graphs, `native`.
    #[must_use]
    pub fn engine(&self) -> EngineReport {
        self.describer.reports().next().cloned().unwrap_or_else(|| EngineReport {
            engine: "native".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            provider: "cpu".into(),
            passed_over: Vec::new(),
        })
    }
}

impl Detection {
    /// Not decidable, with nothing to say yet.
    const fn empty() -> Self {
        Self {
            evaluation: Evaluation::NotDecidable,
            score: None,
            threshold: None,
            p_value: None,
            reasons: Vec::new(),
            branches: Vec::new(),
            regions: Vec::new(),
            nearest: None,
            map: None,
            against: None,
            timing: Timing { stages_ms: Vec::new() },
        }
    }
}

/// A scan as the comparison takes it.
struct Seen {
    prepared: PreparedScan,
    grid: PatchGrid,
    described: DescribedScan,
}

/// Stage times from the caller's clock.
struct Laps {
    clock: Clock,
    start: Duration,
    last: Duration,
    stages_ms: Vec<(String, f32)>,
}

impl Laps {
    fn new(clock: Clock) -> Self {
        let start = clock();
        Self { clock, start, last: start, stages_ms: Vec::new() }
    }

    fn lap(&mut self, stage: &str) {
        let now = (self.clock)();
        self.stages_ms.push((stage.into(), milliseconds(now.saturating_sub(self.last))));
        self.last = now;
    }

    fn finish(mut self) -> Timing {
        let total = (self.clock)().saturating_sub(self.start);
        self.stages_ms.push(("total".into(), milliseconds(total)));
        Timing { stages_ms: self.stages_ms }
    }
}

fn milliseconds(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1e3
}

fn no_object(error: &PreprocessError) -> Reason {
    Reason { code: "no_object".into(), text: error.to_string() }
}

fn not_described(error: &DescribeError) -> Reason {
    let code = match error {
        DescribeError::NoColor => "no_color",
        DescribeError::NoGraph { .. } => "no_graph",
        DescribeError::Engine(_) => "engine_failed",
    };
    Reason { code: code.into(), text: error.to_string() }
}

fn not_compared(error: &SearchError) -> Reason {
    Reason { code: "not_comparable".into(), text: error.to_string() }
}
