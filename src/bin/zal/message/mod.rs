//! The bodies that the daemon publishes: schema `zal.result/1` and its companions.
//!
//! The committed JSON Schemas in `schema/` are made from these types; a test checks that
//! they are current. Pixels never travel: a result names its evidence.

mod command;
mod result;
mod schema;
mod update;

pub use command::{
    ALARM_SCHEMA, AlarmBody, Judgement, Outcome, RESPONSE_SCHEMA, RefusalCode, RequestBody, ResponseBody,
};
pub use result::{ClockBody, EvaluationBody, RESULT_SCHEMA, ResultBody, ResultParts};
pub use update::{BundleBody, ProgressBody, SetbackBody, TrialBody, UPDATE_SCHEMA, UpdateBody, UpdateState};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Schema name of [`StatusBody`].
pub const STATUS_SCHEMA: &str = "zal.status/1";
/// Schema name of [`BirthBody`].
pub const BIRTH_SCHEMA: &str = "zal.birth/1";
/// Schema name of [`StateBody`].
pub const STATE_SCHEMA: &str = "zal.state/1";
/// Schema name of [`MetricsBody`].
pub const METRICS_SCHEMA: &str = "zal.metrics/1";

/// Whether the device is reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Connected.
    Online,
    /// Stopped on purpose.
    Stopped,
    /// Gone: the last will.
    Offline,
}

/// Body of `/status`.
///
/// A last will can arrive late. `offline` counts only when its `session` and `connection`
/// are those of the newest `online`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StatusBody {
    /// `zal.status/1`.
    pub schema: String,
    /// Whether the device is reachable.
    pub status: Status,
    /// One run of the daemon.
    pub session: String,
    /// Connections of that session, from 1.
    pub connection: u64,
}

/// Body of `/birth`: what this device is, after every connect and whenever it changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BirthBody {
    /// `zal.birth/1`.
    pub schema: String,
    /// One run of the daemon.
    pub session: String,
    /// Connections of that session, from 1.
    pub connection: u64,
    /// UTC, RFC 3339.
    pub ts: String,
    /// Version of zal.
    pub version: String,
    /// Schema of the results.
    pub result_schema: String,
    /// `name-version` of the bundle in use.
    pub bundle: String,
    /// Hash of its file, when it is of the bundle store.
    pub bundle_sha256: Option<String>,
    /// Which kind of key signed it, and the key's id.
    pub bundle_signer: String,
    /// `line` or `paper`.
    pub mode: String,
    /// Recipe of the parts.
    pub recipe: String,
    /// What runs the networks.
    pub engine: EngineBody,
    /// The threshold in use.
    pub calibration: CalibrationBody,
    /// Hash of the configuration in use.
    pub config_hash: String,
    /// Seq of the next result.
    pub next_seq: u64,
    /// Results that the broker has not confirmed.
    pub journal_depth: u64,
}

/// What really runs the networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineBody {
    /// `onnxruntime` or `tract`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `tensorrt`, `cuda` or `cpu`.
    pub provider: String,
}

/// Where the threshold stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationBody {
    /// Score above which a part is not ok; none while calibrating.
    pub threshold: Option<f32>,
    /// Scores it rests on, or gathered so far.
    pub have_count: usize,
    /// Scores needed; 0 when the bundle brings its own threshold.
    pub need_count: usize,
    /// Share of good parts that these scores can promise to reject at most.
    pub promised_rate: Option<f32>,
}

/// What the daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DaemonState {
    /// Judging, but without a threshold yet.
    Calibrating,
    /// Judging.
    Running,
    /// Judging, but something is wrong; `degraded` says what.
    Degraded,
    /// Finishing.
    Stopping,
}

/// Body of `/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateBody {
    /// `zal.state/1`.
    pub schema: String,
    /// One run of the daemon.
    pub session: String,
    /// What the daemon is doing.
    pub state: DaemonState,
    /// What is wrong, in words.
    pub degraded: Vec<String>,
}

/// Body of `/metrics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsBody {
    /// `zal.metrics/1`.
    pub schema: String,
    /// One run of the daemon.
    pub session: String,
    /// UTC, RFC 3339.
    pub ts: String,
    /// Seconds since the session began.
    pub uptime_s: f64,
    /// Results of this session.
    pub results: Counts,
    /// Results that the broker has not confirmed.
    pub journal_depth: u64,
    /// Scans claimed and not yet judged.
    pub queue_len: u64,
    /// Publishes that the broker refused.
    pub refused_count: u64,
    /// Milliseconds of the last detection.
    pub detect_ms: f64,
}

/// Results by evaluation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// `ok`.
    pub ok: u64,
    /// `not_ok`.
    pub not_ok: u64,
    /// `not_decidable`.
    pub not_decidable: u64,
    /// `undefined`.
    pub undefined: u64,
}
