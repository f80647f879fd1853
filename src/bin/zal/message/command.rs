//! Bodies of `/cmd/{verb}`, `/rsp/{request_id}` and `/alarm/{code}`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alarms::AlarmCode;

/// Schema name of [`ResponseBody`].
pub const RESPONSE_SCHEMA: &str = "zal.response/1";
/// Schema name of [`AlarmBody`].
pub const ALARM_SCHEMA: &str = "zal.alarm/1";

/// Body of `/cmd/{verb}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestBody {
    /// Chosen by whoever asks, new for each request: 1 to 64 letters, digits, `.`, `_` or `-`.
    pub request_id: String,
    /// `replay` only: first seq.
    pub from: Option<u64>,
    /// `replay` only: last seq.
    pub to: Option<u64>,
    /// `model_install` only: absolute path of a bundle on the device.
    pub path: Option<String>,
    /// `model_install` only: `http://` or `https://` address of a bundle.
    pub url: Option<String>,
    /// `model_install` only: whether a person has to confirm the bundle.
    pub manual_confirm: Option<bool>,
    /// `judge` only: the result that is spoken of, by its `result_id` or seq.
    #[serde(default)]
    pub result_id: Option<String>,
    /// `judge` only: what the part is.
    #[serde(default)]
    pub judgement: Option<Judgement>,
    /// `judge` only: the person who says so.
    #[serde(default)]
    pub who: Option<String>,
}

/// What a person says of a judged part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Good: it becomes an anchor.
    Ok,
    /// Not good: it leaves the reference set.
    NotOk,
    /// Take back what was said.
    Withdraw,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done as asked.
    Done,
    /// The same request is still being worked on.
    InProgress,
    /// Not done, and asking again in the same way will not help; `code` says why.
    Refused,
    /// Tried and failed; `text` says why.
    Failed,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The last level of the topic is no verb.
    UnknownVerb,
    /// The verb is known, but this version cannot do it.
    NotSupported,
    /// The body is too large.
    TooLarge,
    /// The body is not JSON of the request's schema.
    BadJson,
    /// A value makes no sense for the verb.
    BadValue,
    /// Commands must not be retained: they would be repeated at every connect.
    Retained,
    /// Something else is being done; ask again later with a new request id.
    Busy,
}

/// Body of `/rsp/{request_id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResponseBody {
    /// `zal.response/1`.
    pub schema: String,
    /// One run of the daemon.
    pub session: String,
    /// As in the request; `unknown` when it could not be read.
    pub request_id: String,
    /// As in the request's topic.
    pub verb: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused.
    pub code: Option<RefusalCode>,
    /// What was done, or what was found and what was expected.
    pub text: String,
    /// What the verb gives, such as the number of results that are sent again.
    pub data: serde_json::Map<String, serde_json::Value>,
}

/// Body of `/alarm/{code}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlarmBody {
    /// `zal.alarm/1`.
    pub schema: String,
    /// One run of the daemon.
    pub session: String,
    /// Which condition.
    pub code: AlarmCode,
    /// Whether it lasts.
    pub active: bool,
    /// UTC since when, while it lasts.
    pub since: Option<String>,
    /// What exactly, while it lasts.
    pub text: Option<String>,
    /// What a person can do.
    pub help: String,
}
