//! Body of `/result` and `/alert`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zal::detector::{Detection, Evaluation, JudgedAgainst};
use zal::features::Branch;

use super::EngineBody;

/// Schema name of [`ResultBody`].
pub const RESULT_SCHEMA: &str = "zal.result/1";

/// A result is never larger than this; regions, then reasons, are left out to fit.
const RESULT_BYTES_MAX: usize = 8 * 1024;

/// The verdict on one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultBody {
    /// `zal.result/1`.
    pub schema: String,
    /// Unique among all results of all devices.
    pub result_id: String,
    /// Gap-free per device; consumers de-duplicate on (device, seq).
    pub seq: u64,
    /// One run of the daemon.
    pub session: String,
    /// Whether it was judged before the connection it is published on was made.
    pub historical: bool,
    /// UTC of the verdict, RFC 3339. The order of results is that of `seq`, not of this.
    pub ts: String,
    /// How far the time can be trusted.
    pub clock: ClockBody,
    /// Name of the part: the scan's file or folder name without extension.
    pub part_id: String,
    /// Recipe of the part.
    pub recipe: String,
    /// The verdict.
    pub evaluation: EvaluationBody,
    /// Image score, when there is one.
    pub score: Option<f32>,
    /// Score above which a part is not ok, when calibrated.
    pub threshold: Option<f32>,
    /// Conformal p-value, when calibrated.
    pub p_value: Option<f32>,
    /// Why there is no verdict, or what decided it.
    pub reasons: Vec<ReasonBody>,
    /// The scans of the line that it was judged against; none when the bundle's bank judged alone.
    #[serde(default)]
    pub reference: Option<ReferenceBody>,
    /// What each branch contributed to the worst patch, 0 to 1.
    pub branch: BranchBody,
    /// Anomalous regions, worst first.
    pub regions: Vec<RegionBody>,
    /// Regions left out so that the body stays small.
    pub regions_left_out_count: usize,
    /// Milliseconds per stage, in the order they ran.
    pub timing_ms: serde_json::Map<String, serde_json::Value>,
    /// What ran the networks.
    pub engine: EngineBody,
    /// `name-version` of the bundle.
    pub bundle: String,
    /// File name of the overlay in the evidence folder.
    pub evidence: Option<String>,
}

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvaluationBody {
    /// Not more unusual than the promised share of good parts.
    Ok,
    /// More unusual than the promised share of good parts.
    NotOk,
    /// Could not be judged; the part must be looked at.
    NotDecidable,
    /// A score without a threshold.
    Undefined,
}

impl EvaluationBody {
    /// The word in the JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotOk => "not_ok",
            Self::NotDecidable => "not_decidable",
            Self::Undefined => "undefined",
        }
    }
}

impl From<Evaluation> for EvaluationBody {
    fn from(evaluation: Evaluation) -> Self {
        match evaluation {
            Evaluation::Ok => Self::Ok,
            Evaluation::NotOk => Self::NotOk,
            Evaluation::NotDecidable => Self::NotDecidable,
            Evaluation::Undefined => Self::Undefined,
        }
    }
}

/// The clocks at the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockBody {
    /// Whether the system clock is set by the network; none when that is not known.
    pub synced: Option<bool>,
    /// One boot of the machine.
    pub boot_id: String,
    /// Nanoseconds since that boot.
    pub mono_ns: u64,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonBody {
    /// Stable code.
    pub code: String,
    /// In words.
    pub text: String,
}

/// What a part was judged against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceBody {
    /// Confirmed good parts.
    pub anchor_count: usize,
    /// Unlabelled scans of the line.
    pub buffer_count: usize,
    /// Whether the bundle's bank was one more reference.
    pub bank: bool,
    /// Scans of the buffer that stand out themselves and do not count for the threshold.
    pub suspect_count: usize,
    /// Share of good parts that may be rejected, as far as these scans can promise.
    pub promised_rate: Option<f32>,
}

/// Share of each branch in the worst patch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BranchBody {
    /// Colour.
    pub rgb: Option<f32>,
    /// Fast point feature histograms.
    pub fpfh: Option<f32>,
    /// Learned point descriptor.
    pub point: Option<f32>,
}

/// An anomalous region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RegionBody {
    /// Left, top, width, height in pixels of the scan.
    pub bbox_px: [u32; 4],
    /// Area of the surface.
    pub area_mm2: f32,
    /// Centroid, camera frame.
    pub centroid_mm: [f32; 3],
    /// Highest map value.
    pub peak: f32,
}

/// What is known of a part besides its detection, when its result is written.
#[derive(Debug, Clone)]
pub struct ResultParts<'a> {
    /// Seq of the result.
    pub seq: u64,
    /// One run of the daemon.
    pub session: &'a str,
    /// UTC.
    pub ts: String,
    /// The clocks.
    pub clock: ClockBody,
    /// Name of the part.
    pub part_id: &'a str,
    /// Recipe of the part.
    pub recipe: &'a str,
    /// Wall time of the intake stages, before those of the detector.
    pub intake_ms: &'a [(String, f32)],
    /// What ran the networks.
    pub engine: &'a EngineBody,
    /// `name-version` of the bundle.
    pub bundle: &'a str,
    /// File name of the overlay.
    pub evidence: Option<String>,
}

impl ResultBody {
    /// Puts a result together.
    pub fn new(parts: ResultParts<'_>, detection: &Detection) -> Self {
        let stages = parts.intake_ms.iter().chain(&detection.timing.stages_ms);
        Self {
            schema: RESULT_SCHEMA.into(),
            result_id: format!("{}-{}", parts.session, parts.seq),
            seq: parts.seq,
            session: parts.session.into(),
            historical: false,
            ts: parts.ts,
            clock: parts.clock,
            part_id: parts.part_id.into(),
            recipe: parts.recipe.into(),
            evaluation: detection.evaluation.into(),
            score: detection.score.filter(|s| s.is_finite()),
            threshold: detection.threshold.filter(|t| t.is_finite()),
            p_value: detection.p_value.filter(|p| p.is_finite()),
            reasons: detection
                .reasons
                .iter()
                .map(|r| ReasonBody { code: r.code.clone(), text: r.text.clone() })
                .collect(),
            reference: detection.against.map(reference_body),
            branch: branch_body(detection),
            regions: detection.regions.iter().map(region_body).collect(),
            regions_left_out_count: 0,
            timing_ms: stages.map(|(name, ms)| (name.clone(), rounded_ms(*ms))).collect(),
            engine: parts.engine.clone(),
            bundle: parts.bundle.into(),
            evidence: parts.evidence,
        }
    }

    /// The JSON, at most [`RESULT_BYTES_MAX`] bytes: the least regions are left out first (and
    /// counted), then the words of the reasons are cut; codes and verdict always stay.
    pub fn to_json(&self) -> String {
        self.to_json_within(RESULT_BYTES_MAX)
    }

    /// As [`ResultBody::to_json`], for a broker that takes less.
    pub fn to_json_within(&self, bytes_max: usize) -> String {
        let mut body = self.clone();
        loop {
            let json = serde_json::to_string(&body).unwrap_or_default();
            if json.len() <= bytes_max {
                return json;
            }
            if !body.shrink() {
                return json;
            }
        }
    }

    /// Leaves something out; false when nothing more can be.
    fn shrink(&mut self) -> bool {
        if !self.regions.is_empty() {
            let kept = self.regions.len() / 2;
            self.regions_left_out_count += self.regions.len() - kept;
            self.regions.truncate(kept);
            return true;
        }
        if self.reasons.iter().any(|r| r.text.len() > 200) {
            self.reasons.iter_mut().for_each(|r| cut(&mut r.text, 200));
            return true;
        }
        let kept = self.reasons.len() / 2;
        let left = self.reasons.len() > 1;
        self.reasons.truncate(kept.max(1));
        left
    }
}

/// Cuts a text at a character's border and marks the cut.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
}

fn branch_body(detection: &Detection) -> BranchBody {
    let share = |branch: Branch| {
        detection.branches.iter().find(|b| b.branch == branch).map(|b| b.share).filter(|s| s.is_finite())
    };
    BranchBody { rgb: share(Branch::Rgb), fpfh: share(Branch::Fpfh), point: share(Branch::Point) }
}

fn reference_body(against: JudgedAgainst) -> ReferenceBody {
    ReferenceBody {
        anchor_count: against.anchor_count,
        buffer_count: against.buffer_count,
        bank: against.bank,
        suspect_count: against.suspect_count,
        promised_rate: against.promised_rate.filter(|rate| rate.is_finite()),
    }
}

fn region_body(region: &zal::score::Region) -> RegionBody {
    let finite = |v: f32| if v.is_finite() { v } else { 0.0 };
    RegionBody {
        bbox_px: region.bbox_px,
        area_mm2: finite(region.area_mm2),
        centroid_mm: region.centroid_mm.map(finite),
        peak: finite(region.peak),
    }
}

/// Hundredths of a millisecond are enough, and keep the body short.
fn rounded_ms(ms: f32) -> serde_json::Value {
    serde_json::json!((f64::from(ms) * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use zal::detector::{Reason, Region, Timing};

    use super::*;

    fn parts() -> ResultParts<'static> {
        static ENGINE: std::sync::LazyLock<EngineBody> = std::sync::LazyLock::new(EngineBody::default);
        ResultParts {
            seq: 7,
            session: "s1",
            ts: "2026-01-01T00:00:00Z".into(),
            clock: ClockBody { synced: None, boot_id: "b".into(), mono_ns: 1 },
            part_id: "part",
            recipe: "default",
            intake_ms: &[],
            engine: &ENGINE,
            bundle: "demo-1",
            evidence: None,
        }
    }

    fn detection(regions: usize, reason_len: usize) -> Detection {
        Detection {
            evaluation: Evaluation::NotOk,
            score: Some(f32::NAN),
            threshold: Some(1.5),
            p_value: Some(0.01),
            reasons: vec![Reason { code: "c".into(), text: "ü".repeat(reason_len) }],
            branches: vec![],
            regions: vec![
                Region { bbox_px: [1, 2, 3, 4], area_mm2: 1.0, centroid_mm: [0.1; 3], peak: 9.0 };
                regions
            ],
            nearest: None,
            map: None,
            against: None,
            timing: Timing { stages_ms: vec![("fpfh".into(), 12.345_678)] },
        }
    }

    #[test]
    fn a_result_too_large_says_how_many_regions_are_left_out() {
        let json = ResultBody::new(parts(), &detection(500, 10)).to_json();
        let body: ResultBody = serde_json::from_str(&json).unwrap();
        assert!(json.len() <= RESULT_BYTES_MAX);
        assert_eq!(body.regions.len() + body.regions_left_out_count, 500);
        assert!(body.regions.len() > 10);
    }

    #[test]
    fn endless_reasons_are_cut_at_a_character() {
        let json = ResultBody::new(parts(), &detection(3, 50_000)).to_json();
        assert!(json.len() <= RESULT_BYTES_MAX);
        let body: ResultBody = serde_json::from_str(&json).unwrap();
        assert!(body.reasons[0].text.ends_with(" ..."));
    }

    #[test]
    fn numbers_that_are_none_become_null() {
        let body = ResultBody::new(parts(), &detection(1, 1));
        assert_eq!(body.score, None);
        assert!(body.to_json().contains("\"score\":null"));
        assert!(body.to_json().contains("\"fpfh\":12.35"), "{}", body.to_json());
    }

    #[test]
    fn a_body_fits_its_committed_schema_and_a_wrong_one_does_not() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../schema/result.schema.json")).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let mut body = serde_json::to_value(ResultBody::new(parts(), &detection(2, 5))).unwrap();
        assert!(validator.is_valid(&body));
        body["evaluation"] = "fine".into();
        assert!(!validator.is_valid(&body));
    }
}
