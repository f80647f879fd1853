//! Commands over MQTT: `{base}/cmd/{verb}` in, `{base}/rsp/{request_id}` out.
//!
//! This part reads a command, finds what is wrong with it, and remembers answers; the
//! connection executes it. A command can change what the device judges with in two ways only: by naming a
//! bundle that a trusted key signed, which then has to pass every test, and by a person's word on a part (`judge`),
//! which is noted with the name. A response never goes to a topic on which a device takes or gives anything else.

mod answers;
mod model;
mod selftest;

use std::ops::RangeInclusive;

use rumqttc::{Publish, PublishProperties};

use crate::message::{Judgement, Outcome, RESPONSE_SCHEMA, RefusalCode, RequestBody, ResponseBody};

pub use answers::{Answers, Known};
pub use model::{ModelEnd, ModelTool, ModelVerb};
pub use selftest::SelfTest;

/// Largest body of a command.
const REQUEST_BYTES_MAX: usize = 4096;
/// Most results that one `replay` may ask for.
const REPLAY_COUNT_MAX: u64 = 100_000;
/// How long a response is worth reading.
const RESPONSE_EXPIRY_S: u32 = 30;
/// Stands in for a request id that could not be read.
const UNKNOWN_ID: &str = "unknown";

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Look through the spool now.
    Trigger,
    /// Judge the bundle's golden scans.
    SelfTest,
    /// Send results again.
    Replay(RangeInclusive<u64>),
    /// Send `/birth`, `/state` and the alarms again.
    Rebirth,
    /// Change which bundle judges.
    Model(ModelVerb),
    /// Take a person's word on a judged part.
    Judge {
        /// Id or seq of the result.
        result_id: String,
        /// What is said.
        judgement: Judgement,
        /// By whom.
        who: String,
    },
}

/// Why a command is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which reason.
    pub code: RefusalCode,
    /// What was found and what was expected.
    pub text: String,
}

impl Refusal {
    fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Where a response goes and what goes with it.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its topic.
    pub topic: String,
    /// Expiry, and the asker's correlation data.
    pub properties: PublishProperties,
}

/// A command as heard.
#[derive(Debug, Clone)]
pub struct Received {
    /// Last level of its topic.
    pub verb: String,
    /// Its request id, or a stand-in.
    pub request_id: String,
    /// Where the response goes.
    pub reply: Reply,
    /// What is to be done.
    pub command: Result<Command, Refusal>,
}

impl Received {
    /// The response to this command.
    pub fn response(&self, session: &str, outcome: Outcome, text: impl Into<String>) -> ResponseBody {
        ResponseBody {
            schema: RESPONSE_SCHEMA.into(),
            session: session.into(),
            request_id: self.request_id.clone(),
            verb: self.verb.clone(),
            outcome,
            code: None,
            text: text.into(),
            data: serde_json::Map::new(),
        }
    }

    /// The response that says why it is not carried out.
    pub fn refuse(&self, session: &str, refusal: &Refusal) -> ResponseBody {
        let body = self.response(session, Outcome::Refused, refusal.text.clone());
        ResponseBody { code: Some(refusal.code), ..body }
    }
}

/// Reads a message on `{base}/cmd/{verb}`.
pub fn read(base: &str, publish: &Publish) -> Received {
    let topic = String::from_utf8_lossy(&publish.topic);
    let verb: String = topic.rsplit('/').next().unwrap_or_default().chars().take(64).collect();
    let body = body_of(publish);
    let request_id = body.as_ref().map_or(UNKNOWN_ID, |b| &b.request_id).to_owned();
    let asked = publish.properties.as_ref();
    let asked_topic = asked.and_then(|p| p.response_topic.as_deref());
    let default_topic = format!("{base}/rsp/{request_id}");
    let (topic, topic_refusal) = match asked_topic {
        Some(topic) if is_fit_for_response(base, topic) => (topic.to_owned(), None),
        Some(topic) => (default_topic, Some(unfit_response_topic(topic))),
        None => (default_topic, None),
    };
    let properties = PublishProperties {
        payload_format_indicator: Some(1),
        content_type: Some("application/json".into()),
        message_expiry_interval: Some(RESPONSE_EXPIRY_S),
        correlation_data: asked.and_then(|p| p.correlation_data.clone()),
        ..PublishProperties::default()
    };
    let command = match (publish.retain, body, topic_refusal) {
        (true, ..) => {
            Err(Refusal::new(RefusalCode::Retained, "a command must not be retained; send it without retain"))
        }
        (_, Err(refusal), _) | (_, _, Some(refusal)) => Err(refusal),
        (_, Ok(body), None) => command_of(&verb, &body),
    };
    Received { verb, request_id, reply: Reply { topic, properties }, command }
}

fn body_of(publish: &Publish) -> Result<RequestBody, Refusal> {
    if publish.payload.len() > REQUEST_BYTES_MAX {
        let text =
            format!("the body has {} bytes, expected at most {REQUEST_BYTES_MAX}", publish.payload.len());
        return Err(Refusal::new(RefusalCode::TooLarge, text));
    }
    let body: RequestBody = serde_json::from_slice(&publish.payload).map_err(|error| {
        let text = format!("the body is no request: {error}; expected such as {{\"request_id\": \"a1\"}}");
        Refusal::new(RefusalCode::BadJson, text)
    })?;
    let id = &body.request_id;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.len() > 64 || !id.chars().all(fits) {
        let text = "`request_id` is expected to be 1 to 64 letters, digits, `.`, `_` or `-`";
        return Err(Refusal::new(RefusalCode::BadValue, text));
    }
    Ok(body)
}

fn command_of(verb: &str, body: &RequestBody) -> Result<Command, Refusal> {
    if verb != "replay" && (body.from.is_some() || body.to.is_some()) {
        return Err(Refusal::new(RefusalCode::BadValue, format!("`from` and `to` mean nothing to `{verb}`")));
    }
    let names_bundle = body.path.is_some() || body.url.is_some() || body.manual_confirm.is_some();
    if !verb.starts_with("model_") && names_bundle {
        let text = format!("`path`, `url` and `manual_confirm` mean nothing to `{verb}`");
        return Err(Refusal::new(RefusalCode::BadValue, text));
    }
    let judges = body.result_id.is_some() || body.judgement.is_some() || body.who.is_some();
    if verb != "judge" && judges {
        let text = format!("`result_id`, `judgement` and `who` mean nothing to `{verb}`");
        return Err(Refusal::new(RefusalCode::BadValue, text));
    }
    match verb {
        "judge" => judge_of(body),
        "trigger" => Ok(Command::Trigger),
        "selftest" => Ok(Command::SelfTest),
        "rebirth" => Ok(Command::Rebirth),
        "replay" => range_of(body).map(Command::Replay),
        "model_install" | "model_confirm" | "model_rollback" => {
            let read = ModelVerb::of(verb, body).map(Command::Model);
            read.map_err(|text| Refusal::new(RefusalCode::BadValue, text))
        }
        _ => {
            let text = format!(
                "`{verb}` is no verb, expected trigger, selftest, replay, rebirth, judge, model_install, model_confirm or model_rollback"
            );
            Err(Refusal::new(RefusalCode::UnknownVerb, text))
        }
    }
}

fn judge_of(body: &RequestBody) -> Result<Command, Refusal> {
    let (Some(result_id), Some(judgement), Some(who)) = (&body.result_id, body.judgement, &body.who) else {
        let text = "`judge` needs `result_id`, `judgement` (ok, not_ok or withdraw) and `who`";
        return Err(Refusal::new(RefusalCode::BadValue, text));
    };
    if who.trim().is_empty() || who.len() > 64 || who.contains(char::is_control) || result_id.len() > 128 {
        let text = "`who` is expected to be 1 to 64 bytes of text, `result_id` at most 128";
        return Err(Refusal::new(RefusalCode::BadValue, text));
    }
    Ok(Command::Judge { result_id: result_id.clone(), judgement, who: who.trim().into() })
}

fn range_of(body: &RequestBody) -> Result<RangeInclusive<u64>, Refusal> {
    let (Some(from), Some(to)) = (body.from, body.to) else {
        return Err(Refusal::new(RefusalCode::BadValue, "`replay` needs `from` and `to`, both seqs"));
    };
    if from > to || to - from >= REPLAY_COUNT_MAX {
        let text = format!(
            "`replay` is asked for {from} to {to}, expected a rising range of at most {REPLAY_COUNT_MAX}"
        );
        return Err(Refusal::new(RefusalCode::BadValue, text));
    }
    Ok(from..=to)
}

/// A response must not be taken for a result, nor be a command to this or another device.
fn is_fit_for_response(base: &str, topic: &str) -> bool {
    let own = topic.strip_prefix(base).is_none_or(|rest| rest.starts_with("/rsp/"));
    let levels_fit = topic.split('/').all(|level| level != "cmd");
    own && levels_fit
        && !topic.is_empty()
        && topic.len() <= 256
        && !topic.contains(['+', '#', '\0'])
        && !topic.starts_with('$')
}

fn unfit_response_topic(topic: &str) -> Refusal {
    let shown: String = topic.chars().take(80).collect();
    let text = format!(
        "the response topic {shown:?} is refused, expected one outside of the device's own topics, without wildcards and `cmd`"
    );
    Refusal::new(RefusalCode::BadValue, text)
}

#[cfg(test)]
mod tests;
