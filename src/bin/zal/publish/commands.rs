//! Commands carried out: each is answered once, a repeated one with the same answer.

use rumqttc::Publish;
use serde_json::{Map, Value, json};
use tokio::task::block_in_place;
use tracing::{info, warn};

use super::bodies::to_json;
use super::connection::{Connection, Sent};
use super::packet::Message;
use super::{ModelRun, SelfTestEnd};
use crate::acquire::intake::Wake;
use crate::control::{self, Command, Known, ModelVerb, Received, Refusal};
use crate::message::{Judgement, Outcome, RefusalCode, ResponseBody};
use crate::reference::{Request, Verb};
use crate::telemetry::{utc_now, words_of};

impl Connection<'_> {
    /// Answers a message on `cmd/+`.
    pub(super) async fn on_command(&mut self, publish: &Publish) -> anyhow::Result<()> {
        let received = control::read(&self.owner.device.topic_base(), publish);
        let session = self.owner.identity.session.clone();
        let command = match &received.command {
            Ok(command) => command.clone(),
            Err(refusal) => {
                warn!(verb = received.verb, reason = refusal.text, "a command is refused");
                return self.reply(&received, &received.refuse(&session, refusal)).await;
            }
        };
        let answer = match self.owner.answers.begin(&received.request_id) {
            Known::Answered(answer) => Some(*answer),
            Known::Begun => Some(received.response(&session, Outcome::InProgress, "it is being worked on")),
            Known::No => {
                info!(verb = received.verb, request_id = received.request_id, "command");
                let answer = self.execute(command, &received, &session).await?;
                answer.inspect(|answer| self.owner.answers.finish(answer))
            }
        };
        match answer {
            Some(answer) => self.reply(&received, &answer).await,
            None => Ok(()),
        }
    }

    /// Carries a command out; none when the answer comes later.
    async fn execute(
        &mut self,
        command: Command,
        received: &Received,
        session: &str,
    ) -> anyhow::Result<Option<ResponseBody>> {
        let done = |text: &str| received.response(session, Outcome::Done, text);
        Ok(Some(match command {
            Command::Trigger => match self.owner.waker.send(Wake::Changed) {
                Ok(()) => done("the spool is looked through"),
                Err(_) => received.response(session, Outcome::Failed, "the intake has ended"),
            },
            Command::Rebirth => {
                self.rebirth().await?;
                done("birth, state and alarms are sent again")
            }
            Command::Replay(range) => match block_in_place(|| self.journal.replay(&range, false)) {
                Ok(count) => {
                    let body = done("the results that the journal still has are sent again as historical");
                    ResponseBody { data: data([("count", json!(count))]), ..body }
                }
                Err(error) => received.response(session, Outcome::Failed, words_of(&error)),
            },
            Command::Judge { result_id, judgement, who } => {
                self.judge(received, session, (&result_id, judgement, who))
            }
            Command::SelfTest if !self.owner.selftests.is_empty() => {
                let text = "another self-test is running; ask again when it has been answered".into();
                received.refuse(session, &Refusal { code: RefusalCode::Busy, text })
            }
            Command::SelfTest => {
                let (selftest, received) = (self.owner.selftest.clone(), received.clone());
                self.owner.selftests.spawn_blocking(move || {
                    let end = selftest.run();
                    (received, end)
                });
                return Ok(None);
            }
            Command::Model(verb) => return Ok(self.run_model(verb, received, session)),
        }))
    }

    /// Starts a command to the bundle store; the answer when it cannot be started.
    fn run_model(&mut self, verb: ModelVerb, received: &Received, session: &str) -> Option<ResponseBody> {
        let Some(tool) = self.owner.models.clone() else {
            let text = "this device takes no bundles over MQTT: the configuration names detector.bundle, or says update.commands = false";
            let refusal = Refusal { code: RefusalCode::NotSupported, text: text.into() };
            return Some(received.refuse(session, &refusal));
        };
        if !self.owner.model_runs.is_empty() {
            let text = "another model command is running; /update shows how far it is".into();
            return Some(received.refuse(session, &Refusal { code: RefusalCode::Busy, text }));
        }
        let received = received.clone();
        self.owner.model_runs.spawn_blocking(move || {
            let end = tool.run(&verb);
            (received, end)
        });
        None
    }

    /// Answers the command to the bundle store that has ended.
    pub(super) async fn answer_model(&mut self, (received, end): ModelRun) -> anyhow::Result<()> {
        let session = self.owner.identity.session.clone();
        let answer = match end {
            Ok(end) => {
                let outcome = if end.done { Outcome::Done } else { Outcome::Failed };
                ResponseBody { data: end.data, ..received.response(&session, outcome, end.text) }
            }
            Err(error) => received.response(&session, Outcome::Failed, words_of(error.as_ref())),
        };
        info!(verb = received.verb, outcome = ?answer.outcome, text = answer.text, "model command ended");
        self.owner.answers.finish(&answer);
        self.reply(&received, &answer).await
    }

    /// Hands a person's word on a part to the detector, which takes it up between two scans.
    fn judge(
        &self,
        received: &Received,
        session: &str,
        (result_id, judgement, who): (&str, Judgement, String),
    ) -> ResponseBody {
        let refuse = |code, text: &str| received.refuse(session, &Refusal { code, text: text.into() });
        let Some(requests) = &self.owner.requests else {
            return refuse(RefusalCode::NotSupported, "this line is judged without a reference set");
        };
        let found = match block_in_place(|| self.journal.find_result(result_id)) {
            Ok(Some(found)) => found,
            Ok(None) => return refuse(RefusalCode::BadValue, "the journal has no such result"),
            Err(error) => return received.response(session, Outcome::Failed, words_of(&error)),
        };
        let verb = match judgement {
            Judgement::Ok => Verb::AnchorAdd,
            Judgement::NotOk => Verb::NotOk,
            Judgement::Withdraw => Verb::Withdraw,
        };
        let (recipe, name, result_id) = (found.recipe, found.claim_id, Some(found.result_id));
        let request = Request { verb, recipe, name, scan: None, result_id, who, at: utc_now() };
        match block_in_place(|| requests.hand_in(&request)) {
            Ok(_) => {
                let text = "handed to the detector; an event in the journal says what became of it";
                received.response(session, Outcome::Done, text)
            }
            Err(error) => received.response(session, Outcome::Failed, words_of(&error)),
        }
    }

    /// Answers the self-test that has ended.
    pub(super) async fn answer_selftest(&mut self, (received, end): SelfTestEnd) -> anyhow::Result<()> {
        let session = self.owner.identity.session.clone();
        let answer = match end {
            Ok((passed, scans)) => {
                let text = if passed {
                    "every golden scan is as expected"
                } else {
                    "a golden scan is NOT as expected"
                };
                let body = received.response(&session, Outcome::Done, text);
                ResponseBody { data: data([("passed", json!(passed)), ("scans", json!(scans))]), ..body }
            }
            Err(error) => received.response(&session, Outcome::Failed, words_of(error.as_ref())),
        };
        self.owner.answers.finish(&answer);
        self.reply(&received, &answer).await
    }

    async fn reply(&mut self, received: &Received, answer: &ResponseBody) -> anyhow::Result<()> {
        let mut message = Message::new(received.reply.topic.clone(), to_json(answer));
        message.properties = received.reply.properties.clone();
        self.send(Sent::Reply(received.request_id.clone()), message).await.map(drop)
    }
}

fn data<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
