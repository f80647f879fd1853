//! One connection's life: rows out of the journal, what the device says of itself, commands.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use rumqttc::{PubAckReason, PublishNoticeError, PublishResult, QoS, SubscribeReasonCode};
use tokio::task::{JoinSet, block_in_place};
use tracing::{debug, error, info, warn};

use super::bodies::{as_historical, fitted, to_json};
use super::connect::{self, Heard, IN_FLIGHT_MAX, Link};
use super::lanes::{Lanes, Pick};
use super::packet::Message;
use super::{Publisher, discovery, stopped, tls};
use crate::alarms::AlarmCode;
use crate::journal::{Journal, Lane, Sending};
use crate::message::{BirthBody, StateBody, Status, UpdateBody};
use crate::telemetry::utc_now;

/// How often `/metrics` is published, and how long it is worth reading.
const METRICS_INTERVAL: Duration = Duration::from_secs(15);
const METRICS_EXPIRY_S: u32 = 60;
/// How often states and refused rows are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often certificates and passwords are looked at.
const FILES_INTERVAL: Duration = Duration::from_secs(2);
/// How long the broker may take to hear of the end of a connection.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// A broker that confirms nothing for this long is as good as gone, at most.
const ACK_TIMEOUT_MAX: Duration = Duration::from_secs(20);
/// Responses that may be unconfirmed; further commands wait.
const REPLIES_MAX: usize = 4;

/// What a confirmation is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Sent {
    Row(Sending),
    Status(Status),
    Own(&'static str),
    Alarm(AlarmCode),
    Reply(String),
}

impl Sent {
    /// Last level of the topic.
    const fn leaf(&self) -> &'static str {
        match self {
            Self::Row(Sending { lane: Lane::Alert, .. }) => "alert",
            Self::Row(Sending { lane: Lane::Result, .. }) => "result",
            Self::Status(_) => "status",
            Self::Own(leaf) => leaf,
            Self::Alarm(_) => "alarm",
            Self::Reply(_) => "rsp",
        }
    }
}

type Notice = (Sent, Result<PublishResult, PublishNoticeError>);

/// How a connection ended.
pub(super) enum End {
    Stopped,
    /// Certificates or password were renewed: connect again with them.
    Renewed,
    Lost(anyhow::Error),
}

/// What is remembered of one connection.
pub(super) struct Connection<'a> {
    pub(super) owner: &'a mut Publisher,
    pub(super) journal: &'a mut Journal,
    link: Link,
    number: u64,
    lanes: Lanes,
    notices: JoinSet<Notice>,
    in_flight: HashSet<Sent>,
    last_ack: Instant,
    birth: Option<BirthBody>,
    state: Option<StateBody>,
    update: Option<UpdateBody>,
    alarms: HashMap<AlarmCode, Option<String>>,
    refused_leaves: BTreeSet<&'static str>,
    /// How often a replay had been asked for when the lanes were last rewound.
    replay_count: u64,
    files: [u8; 32],
    /// Other files than those of this connection, as they were when last looked at.
    renewed_files: Option<[u8; 32]>,
    files_seen: Instant,
    stop_by: Option<Instant>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(owner: &'a mut Publisher, journal: &'a mut Journal, link: Link, number: u64) -> Self {
        let live_from = owner.feed.borrow_and_update().next_seq;
        let replay_count = block_in_place(|| journal.replay_count()).unwrap_or_default();
        let files = block_in_place(|| tls::fingerprint(&owner.mqtt));
        owner.metrics.alarms().clear(AlarmCode::MessageTooLarge);
        Self {
            owner,
            journal,
            link,
            number,
            lanes: Lanes::new(live_from),
            notices: JoinSet::new(),
            in_flight: HashSet::new(),
            last_ack: Instant::now(),
            birth: None,
            state: None,
            update: None,
            alarms: HashMap::new(),
            refused_leaves: BTreeSet::new(),
            replay_count,
            files,
            renewed_files: None,
            files_seen: Instant::now(),
            stop_by: None,
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn serve(mut self) -> End {
        match self.try_serve().await {
            Ok(end) => end,
            Err(error) => End::Lost(error),
        }
    }

    async fn try_serve(&mut self) -> anyhow::Result<End> {
        info!(broker = self.owner.mqtt.url, connection = self.number, "connected");
        self.count_depth();
        self.check_expiry();
        self.introduce().await?;
        let mut metrics_tick = tokio::time::interval(METRICS_INTERVAL);
        let mut tick = tokio::time::interval(TICK);
        loop {
            self.fill().await?;
            if self.is_finished() {
                self.say_goodbye().await;
                return Ok(End::Stopped);
            }
            let takes_commands = self.open_replies() < REPLIES_MAX;
            tokio::select! {
                Some(notice) = self.notices.join_next() => self.take_notices(notice?),
                error = self.link.ended.recv() => return Err(ended(error)),
                changed = self.owner.feed.changed() => if changed.is_ok() { self.announce().await? },
                Some(heard) = self.link.heard.recv(), if takes_commands => self.hear(heard).await?,
                Some(end) = self.owner.selftests.join_next() => self.answer_selftest(end?).await?,
                Some(end) = self.owner.model_runs.join_next() => self.answer_model(end?).await?,
                _ = metrics_tick.tick() => self.publish_metrics().await?,
                _ = tick.tick() => if self.on_tick().await? { return Ok(End::Renewed) },
                () = stopped(&mut self.owner.stop), if self.stop_by.is_none() => {
                    self.stop_by = Some(Instant::now() + self.owner.stop_timeout);
                }
            }
        }
    }

    /// What every connection begins with.
    async fn introduce(&mut self) -> anyhow::Result<()> {
        let commands = connect::commands_of(&self.owner.device.topic_base());
        self.link.client.subscribe_many([commands]).await?;
        self.status(Status::Online).await?;
        if let Some(prefix) = &self.owner.mqtt.home_assistant_prefix {
            let (topic, body) = discovery::message(prefix, &self.owner.device);
            let message = Message::new(topic, body.to_string()).retained();
            self.send(Sent::Own("discovery"), message).await?;
        }
        self.announce().await
    }

    /// Publishes as many rows as there are places.
    async fn fill(&mut self) -> anyhow::Result<()> {
        let free = usize::from(IN_FLIGHT_MAX).saturating_sub(self.in_flight.len());
        let next_seq = self.owner.feed.borrow().next_seq;
        let (lanes, journal) = (&mut self.lanes, &*self.journal);
        let picks = match block_in_place(|| lanes.pick(journal, next_seq, free)) {
            Ok(picks) => picks,
            Err(error) => {
                error!(%error, "the journal cannot be read; publishing goes on when it can");
                return Ok(());
            }
        };
        for pick in picks {
            self.publish_row(pick).await?;
        }
        Ok(())
    }

    async fn publish_row(&mut self, pick: Pick) -> anyhow::Result<()> {
        // Alerts are not repeated.
        let replay = if pick.lane == Lane::Alert { 0 } else { pick.row.replay };
        let sent = Sent::Row(Sending { lane: pick.lane, seq: pick.row.seq, replay });
        if self.in_flight.contains(&sent) {
            return Ok(());
        }
        let historical = pick.historical || pick.row.replay > 0;
        let body = if historical { as_historical(pick.row.body) } else { pick.row.body };
        let mut message = Message::new(self.owner.topic(sent.leaf()), body);
        let excess = message.size_bytes().saturating_sub(self.link.packet_size_max);
        if excess > 0 {
            let bytes_max = message.body.len().saturating_sub(excess);
            message.body = fitted(message.body, bytes_max);
        }
        if !self.send(sent, message).await? {
            self.lanes.refused(pick.lane, pick.row.seq);
        }
        Ok(())
    }

    async fn status(&mut self, status: Status) -> anyhow::Result<()> {
        let body = self.owner.status(status, self.number);
        let message = Message::new(self.owner.topic("status"), body).retained();
        self.send(Sent::Status(status), message).await.map(drop)
    }

    /// Publishes one of the device's own retained messages.
    async fn own(&mut self, leaf: &'static str, body: String) -> anyhow::Result<()> {
        let message = Message::new(self.owner.topic(leaf), body).retained();
        self.send(Sent::Own(leaf), message).await.map(drop)
    }

    /// Sends a message; false when the broker would not take one so large.
    pub(super) async fn send(&mut self, sent: Sent, message: Message) -> anyhow::Result<bool> {
        let size = message.size_bytes();
        if size > self.link.packet_size_max {
            let text = format!(
                "a message on {} has {size} bytes, the broker takes {}",
                message.topic, self.link.packet_size_max
            );
            let _ = self.journal.note_event(&utc_now(), "message_too_large", &text);
            self.owner.metrics.alarms().raise(AlarmCode::MessageTooLarge, text);
            return Ok(false);
        }
        let (topic, body, options) = message.into_parts();
        let queued = self.link.client.publish_tracked(topic, body, options);
        // The client's queue is only full when nothing goes out to the broker any more.
        let notice = tokio::time::timeout(self.ack_timeout(), queued).await??;
        if self.in_flight.is_empty() {
            self.last_ack = Instant::now();
        }
        self.in_flight.insert(sent.clone());
        self.notices.spawn(async move { (sent, notice.wait_async().await) });
        Ok(true)
    }

    /// Publishes `/birth`, `/state` and alarms that have changed.
    async fn announce(&mut self) -> anyhow::Result<()> {
        let birth = self.owner.birth(self.number);
        // A reference set moves its threshold with every part; each result has its own.
        let has_threshold = birth.calibration.threshold.is_some();
        if self.birth.as_ref().is_none_or(|old| has_threshold && old.calibration.threshold.is_none()) {
            self.own("birth", to_json(&birth)).await?;
            self.birth = Some(birth);
        }
        let state = self.owner.state();
        if self.state.as_ref() != Some(&state) {
            self.own("state", to_json(&state)).await?;
            self.state = Some(state);
        }
        if let Some(update) = self.owner.update().filter(|update| self.update.as_ref() != Some(update)) {
            self.own("update", to_json(&update)).await?;
            self.update = Some(update);
        }
        self.announce_alarms().await
    }

    /// The first connection says all, because a former run may have left alarms at the broker;
    /// later ones say what this run has raised.
    async fn announce_alarms(&mut self) -> anyhow::Result<()> {
        for body in self.owner.alarm_bodies() {
            let known = self.alarms.get(&body.code);
            let left_active = self.number == 1 || self.owner.raised.contains(&body.code);
            let news = known.map_or(body.active || left_active, |text| *text != body.text);
            if !news || self.in_flight.contains(&Sent::Alarm(body.code)) {
                continue;
            }
            let topic = self.owner.topic(&format!("alarm/{}", body.code.as_str()));
            self.send(Sent::Alarm(body.code), Message::new(topic, to_json(&body)).retained()).await?;
            if body.active {
                self.owner.raised.insert(body.code);
            }
            self.alarms.insert(body.code, body.text);
        }
        Ok(())
    }

    /// Says everything again, as after a connect.
    pub(super) async fn rebirth(&mut self) -> anyhow::Result<()> {
        self.status(Status::Online).await?;
        (self.birth, self.state, self.update) = (None, None, None);
        self.alarms.clear();
        self.announce().await
    }

    async fn hear(&mut self, heard: Heard) -> anyhow::Result<()> {
        match heard {
            Heard::Message(publish) => self.on_command(&publish).await,
            Heard::Subscribed(answer) => {
                let refused: Vec<_> = answer
                    .return_codes
                    .iter()
                    .filter(|code| !matches!(code, SubscribeReasonCode::Success(_)))
                    .collect();
                let text = format!("the broker refuses the subscription to cmd/+: {refused:?}");
                self.owner.metrics.alarms().set(AlarmCode::CommandsRefused, !refused.is_empty(), &text);
                Ok(())
            }
        }
    }

    async fn publish_metrics(&mut self) -> anyhow::Result<()> {
        self.count_depth();
        self.check_expiry();
        let mut message = Message::new(self.owner.topic("metrics"), to_json(&self.owner.metrics_body()));
        message.qos = QoS::AtMostOnce;
        message.properties.message_expiry_interval = Some(METRICS_EXPIRY_S);
        if message.size_bytes() > self.link.packet_size_max {
            return Ok(());
        }
        let (topic, body, options) = message.into_parts();
        tokio::time::timeout(self.ack_timeout(), self.link.client.publish(topic, body, options)).await??;
        Ok(())
    }

    /// Looks after everything that time changes; true when the connection is to be made anew.
    async fn on_tick(&mut self) -> anyhow::Result<bool> {
        self.lanes.revisit();
        let replay_count = block_in_place(|| self.journal.replay_count()).unwrap_or(self.replay_count);
        if replay_count != self.replay_count {
            self.replay_count = replay_count;
            self.lanes.rewind();
        }
        let timeout = self.ack_timeout();
        if !self.in_flight.is_empty() && self.last_ack.elapsed() > timeout {
            anyhow::bail!("the broker has confirmed nothing for {} s", timeout.as_secs());
        }
        self.announce().await?;
        Ok(self.files_were_renewed().await)
    }

    /// Whether certificates or password have changed to something usable.
    async fn files_were_renewed(&mut self) -> bool {
        if self.files_seen.elapsed() < FILES_INTERVAL || self.stop_by.is_some() {
            return false;
        }
        self.files_seen = Instant::now();
        let files = block_in_place(|| tls::fingerprint(&self.owner.mqtt));
        if files == self.files {
            return false;
        }
        // Someone may be in the middle of writing them: they count once they stay the same.
        if self.renewed_files.replace(files) != Some(files) {
            return false;
        }
        if let Some(why) = block_in_place(|| self.owner.unusable_files()) {
            let text = format!("renewed files are not used: {why}");
            self.owner.metrics.alarms().raise(AlarmCode::CredentialsUnusable, text);
            return false;
        }
        info!("certificates or password were renewed; connecting again with them");
        // A last will would tell of a failure that is none.
        self.leave().await;
        true
    }

    /// Takes every confirmation that has arrived and writes them together.
    fn take_notices(&mut self, first: Notice) {
        let mut confirmed = Vec::new();
        let mut next = Some(first);
        while let Some((sent, outcome)) = next {
            self.in_flight.remove(&sent);
            self.last_ack = Instant::now();
            let taken = self.is_confirmed(&sent, outcome);
            match sent {
                Sent::Row(sending) if taken => {
                    self.lanes.confirmed(sending.lane);
                    self.owner.metrics.count_published();
                    confirmed.push(sending);
                }
                Sent::Row(sending) => self.lanes.refused(sending.lane, sending.seq),
                _ => {}
            }
            next = self.notices.try_join_next().and_then(Result::ok);
        }
        let text = format!("the broker refuses messages on {:?}", self.refused_leaves);
        self.owner.metrics.alarms().set(AlarmCode::PublishRefused, !self.refused_leaves.is_empty(), &text);
        let journal = &mut self.journal;
        if !confirmed.is_empty() {
            // Unwritten confirmations cost a second publish after the next connect, no more.
            if let Err(error) = block_in_place(|| journal.ack(&confirmed)) {
                error!(%error, "confirmations cannot be written");
            }
        }
    }

    /// Whether the broker took it. A refusal, such as by an access rule, is noted once per message.
    fn is_confirmed(&mut self, sent: &Sent, outcome: Result<PublishResult, PublishNoticeError>) -> bool {
        let reason = match outcome {
            Ok(PublishResult::Qos1(ack)) => ack.reason,
            Ok(_) => PubAckReason::Success,
            Err(PublishNoticeError::V5PubAck(reason)) => reason,
            Err(error) => {
                debug!(?sent, %error, "not confirmed");
                return false;
            }
        };
        let taken = matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
        if taken {
            self.refused_leaves.remove(sent.leaf());
        } else {
            self.owner.metrics.count_refused();
            error!(?sent, ?reason, "the broker refuses a message; results are kept and tried again");
            let _ = self.journal.note_event(&utc_now(), "publish_refused", &format!("{sent:?}: {reason:?}"));
            self.refused_leaves.insert(sent.leaf());
        }
        taken
    }

    fn open_replies(&self) -> usize {
        self.in_flight.iter().filter(|sent| matches!(sent, Sent::Reply(_))).count()
    }

    fn count_depth(&self) {
        self.owner.count_journal(self.journal);
    }

    fn check_expiry(&self) {
        let found = block_in_place(|| tls::expiring(&self.owner.mqtt, jiff::Timestamp::now()));
        let alarms = self.owner.metrics.alarms();
        alarms.set(AlarmCode::CertificateExpiring, !found.is_empty(), &found.join("; "));
    }

    /// A broker that is alive answers within its keep-alive, and again as long.
    fn ack_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.owner.mqtt.keep_alive_s) * 3 / 2).min(ACK_TIMEOUT_MAX)
    }

    /// After the stop: whether everything is out, or the time is up.
    fn is_finished(&self) -> bool {
        let next_seq = self.owner.feed.borrow().next_seq;
        self.stop_by.is_some_and(|by| {
            // An installation that ends with another bundle in charge is answered before that one takes over.
            let answered = self.owner.model_runs.is_empty();
            let drained = answered && self.in_flight.is_empty() && self.lanes.is_drained(next_seq);
            drained || Instant::now() >= by
        })
    }

    /// Says `stopped`, waits until the broker has it, and leaves.
    async fn say_goodbye(&mut self) {
        let told = async {
            self.status(Status::Stopped).await?;
            while self.in_flight.contains(&Sent::Status(Status::Stopped)) {
                let Some(notice) = self.notices.join_next().await else { break };
                self.take_notices(notice?);
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(GOODBYE_TIMEOUT, told).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the broker may not know that the daemon stops"),
            Err(_) => warn!("the broker does not confirm that it knows of the stop"),
        }
        self.leave().await;
    }

    /// Leaves in order: without DISCONNECT the broker would publish the last will. It goes out at once, whatever is
    /// still unconfirmed; the journal has that.
    async fn leave(&mut self) {
        let bye = async {
            self.link.client.disconnect_now().await.ok()?;
            // The poller ends once DISCONNECT is written.
            self.link.ended.recv().await
        };
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, bye).await;
    }
}

fn ended(error: Option<anyhow::Error>) -> anyhow::Error {
    error.unwrap_or_else(|| anyhow::anyhow!("the connection ended"))
}
