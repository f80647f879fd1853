//! The publisher: MQTT 5 as DESIGN section 4 lays down.
//!
//! It holds no results itself. What has to go out is read from the journal, and a row is done
//! only when the broker confirmed it with a success code; whatever happens in between, the
//! next connection starts from the journal again.

pub mod address;
mod connect;
mod lanes;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rumqttc::{PubAckReason, PublishNoticeError, PublishOptions, PublishProperties, PublishResult, QoS};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};
use tracing::{debug, error, info, warn};

use crate::alarms::AlarmCode;
use crate::config;
use crate::journal::{Journal, Lane};
use crate::message::{self, BirthBody, DaemonState, MetricsBody, ResultBody, StateBody, Status, StatusBody};
use crate::record::{Feed, Identity};
use crate::telemetry::{Metrics, utc_now, words_of};
use connect::{IN_FLIGHT_MAX, Link};
use lanes::{Lanes, Pick};

/// How often `/metrics` is published, and how long it is worth reading.
const METRICS_INTERVAL: Duration = Duration::from_secs(15);
const METRICS_EXPIRY_S: u32 = 60;
/// How often states and refused rows are looked at.
const TICK: Duration = Duration::from_millis(500);
/// A broker that confirms nothing for this long is as good as gone.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);
/// The least and greatest pause between two connections.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What the publisher needs.
pub struct Publisher {
    /// The broker.
    pub mqtt: config::Mqtt,
    /// Identity of the device.
    pub device: config::Device,
    /// What all results share.
    pub identity: Arc<Identity>,
    /// What the recorder says.
    pub feed: watch::Receiver<Feed>,
    /// True once the daemon stops and the recorder has ended.
    pub stop: watch::Receiver<bool>,
    /// After the stop, how long results are still published.
    pub stop_timeout: Duration,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// What a confirmation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sent {
    Row(Lane, u64),
    Control(&'static str),
}

type Notice = (Sent, Result<PublishResult, PublishNoticeError>);

/// How a connection ended.
enum End {
    Stopped,
    Lost(anyhow::Error),
}

impl Publisher {
    /// Publishes until the daemon stops; `journal` is opened for confirmations.
    pub async fn run(mut self, mut journal: Journal) {
        let mut connection = 0;
        let mut pause = PAUSE_MIN;
        while !*self.stop.borrow() {
            connection += 1;
            let since = Instant::now();
            let error = match self.connect(connection).await {
                Ok(link) => {
                    self.metrics.set_mqtt_connected(true);
                    let end = Connection::new(&mut self, &mut journal, link, connection).serve().await;
                    self.metrics.set_mqtt_connected(false);
                    match end {
                        End::Stopped => return,
                        End::Lost(error) => error,
                    }
                }
                Err(error) => error,
            };
            if since.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            warn!(
                error = words_of(error.as_ref()),
                broker = self.mqtt.url,
                "not connected; results are kept"
            );
            self.wait(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect(&self, connection: u64) -> anyhow::Result<Link> {
        let will = connect::will(&self.topic("status"), self.status(Status::Offline, connection));
        connect::connect(&self.mqtt, &self.device.client_id(), will).await
    }

    /// Waits, unless the daemon stops.
    async fn wait(&mut self, pause: Duration) {
        let _ = tokio::time::timeout(pause, stopped(&mut self.stop)).await;
    }

    fn topic(&self, leaf: &str) -> String {
        format!("{}/{leaf}", self.device.topic_base())
    }

    fn status(&self, status: Status, connection: u64) -> String {
        to_json(&StatusBody {
            schema: message::STATUS_SCHEMA.into(),
            status,
            session: self.identity.session.clone(),
            connection,
        })
    }

    fn birth(&self, connection: u64) -> BirthBody {
        let feed = self.feed.borrow().clone();
        BirthBody {
            schema: message::BIRTH_SCHEMA.into(),
            session: self.identity.session.clone(),
            connection,
            ts: utc_now(),
            version: env!("CARGO_PKG_VERSION").into(),
            result_schema: message::RESULT_SCHEMA.into(),
            bundle: self.identity.bundle.clone(),
            mode: self.identity.mode.clone(),
            recipe: self.identity.recipe.clone(),
            engine: self.identity.engine.clone(),
            calibration: feed.calibration,
            config_hash: self.identity.config_hash.clone(),
            next_seq: feed.next_seq,
            journal_depth: self.metrics.journal_depth(),
        }
    }

    fn state(&self) -> StateBody {
        let degraded = self.metrics.degraded();
        let calibration = &self.feed.borrow().calibration;
        let calibrating = calibration.need_count > 0 && calibration.threshold.is_none();
        let state = if *self.stop.borrow() {
            DaemonState::Stopping
        } else if !degraded.is_empty() {
            DaemonState::Degraded
        } else if calibrating {
            DaemonState::Calibrating
        } else {
            DaemonState::Running
        };
        let session = self.identity.session.clone();
        StateBody { schema: message::STATE_SCHEMA.into(), session, state, degraded }
    }

    fn metrics_body(&self) -> MetricsBody {
        MetricsBody {
            schema: message::METRICS_SCHEMA.into(),
            session: self.identity.session.clone(),
            ts: utc_now(),
            uptime_s: self.metrics.uptime_s(),
            results: self.metrics.counts(),
            journal_depth: self.metrics.journal_depth(),
            queue_len: self.metrics.queue_len(),
            refused_count: self.metrics.refused_count(),
            detect_ms: self.metrics.detect_last_ms(),
        }
    }
}

/// What is remembered of one connection.
struct Connection<'a> {
    owner: &'a mut Publisher,
    journal: &'a mut Journal,
    link: Link,
    number: u64,
    lanes: Lanes,
    notices: JoinSet<Notice>,
    in_flight: HashSet<Sent>,
    last_ack: Instant,
    birth: Option<BirthBody>,
    state: Option<StateBody>,
    stop_by: Option<Instant>,
    /// How often a replay had been asked for when the lanes were last rewound.
    replay_count: u64,
}

impl<'a> Connection<'a> {
    fn new(owner: &'a mut Publisher, journal: &'a mut Journal, link: Link, number: u64) -> Self {
        let live_from = owner.feed.borrow_and_update().next_seq;
        let replay_count = block_in_place(|| journal.replay_count()).unwrap_or_default();
        Self {
            replay_count,
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
            stop_by: None,
        }
    }

    /// Serves the connection to its end.
    async fn serve(mut self) -> End {
        match self.try_serve().await {
            Ok(()) => End::Stopped,
            Err(error) => End::Lost(error),
        }
    }

    async fn try_serve(&mut self) -> anyhow::Result<()> {
        info!(broker = self.owner.mqtt.url, connection = self.number, "connected");
        self.count_depth();
        let online = self.owner.status(Status::Online, self.number);
        self.control("status", online, retained()).await?;
        self.announce().await?;
        let mut metrics_tick = tokio::time::interval(METRICS_INTERVAL);
        let mut tick = tokio::time::interval(TICK);
        loop {
            self.fill().await?;
            if self.is_finished() {
                return self.say_goodbye().await;
            }
            tokio::select! {
                Some(notice) = self.notices.join_next() => self.take_notices(notice?),
                error = self.link.ended.recv() => return Err(ended(error)),
                changed = self.owner.feed.changed() => if changed.is_ok() { self.announce().await? },
                _ = metrics_tick.tick() => self.publish_metrics().await?,
                _ = tick.tick() => self.on_tick().await?,
                () = stopped(&mut self.owner.stop), if self.stop_by.is_none() => {
                    self.stop_by = Some(Instant::now() + self.owner.stop_timeout);
                }
            }
        }
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
        let sent = Sent::Row(pick.lane, pick.row.seq);
        if self.in_flight.contains(&sent) {
            return Ok(());
        }
        let leaf = match pick.lane {
            Lane::Alert => "alert",
            Lane::Result => "result",
        };
        let body =
            if pick.historical || pick.row.replayed { as_historical(pick.row.body) } else { pick.row.body };
        self.send(sent, leaf, body, PublishOptions::at_least_once().properties(json_properties())).await
    }

    /// Publishes one of the device's own messages.
    async fn control(
        &mut self,
        leaf: &'static str,
        body: String,
        options: PublishOptions,
    ) -> anyhow::Result<()> {
        self.send(Sent::Control(leaf), leaf, body, options).await
    }

    async fn send(
        &mut self,
        sent: Sent,
        leaf: &str,
        body: String,
        options: PublishOptions,
    ) -> anyhow::Result<()> {
        let notice = self.link.client.publish_tracked(self.owner.topic(leaf), body, options).await?;
        if self.in_flight.is_empty() {
            self.last_ack = Instant::now();
        }
        self.in_flight.insert(sent);
        self.notices.spawn(async move { (sent, notice.wait_async().await) });
        Ok(())
    }

    /// Publishes `/birth` and `/state` when they have changed.
    async fn announce(&mut self) -> anyhow::Result<()> {
        let birth = self.owner.birth(self.number);
        if self.birth.as_ref().is_none_or(|old| old.calibration.threshold != birth.calibration.threshold) {
            self.control("birth", to_json(&birth), retained()).await?;
            self.birth = Some(birth);
        }
        let state = self.owner.state();
        if self.state.as_ref() != Some(&state) {
            self.control("state", to_json(&state), retained()).await?;
            self.state = Some(state);
        }
        Ok(())
    }

    async fn publish_metrics(&mut self) -> anyhow::Result<()> {
        self.count_depth();
        let properties =
            PublishProperties { message_expiry_interval: Some(METRICS_EXPIRY_S), ..json_properties() };
        let options = PublishOptions::new(QoS::AtMostOnce).properties(properties);
        let topic = self.owner.topic("metrics");
        self.link.client.publish(topic, to_json(&self.owner.metrics_body()), options).await?;
        Ok(())
    }

    async fn on_tick(&mut self) -> anyhow::Result<()> {
        self.lanes.revisit();
        let replay_count = block_in_place(|| self.journal.replay_count()).unwrap_or(self.replay_count);
        if replay_count != self.replay_count {
            self.replay_count = replay_count;
            self.lanes.rewind();
        }
        if !self.in_flight.is_empty() && self.last_ack.elapsed() > ACK_TIMEOUT {
            anyhow::bail!("the broker has confirmed nothing for {} s", ACK_TIMEOUT.as_secs());
        }
        self.announce().await
    }

    /// Takes every confirmation that has arrived and writes them together.
    fn take_notices(&mut self, first: Notice) {
        let mut confirmed = Vec::new();
        let mut next = Some(first);
        while let Some((sent, outcome)) = next {
            self.in_flight.remove(&sent);
            self.last_ack = Instant::now();
            if self.is_confirmed(sent, outcome) {
                if let Sent::Row(lane, seq) = sent {
                    self.lanes.confirmed(lane);
                    self.owner.metrics.count_published();
                    confirmed.push((lane, seq));
                }
            } else if let Sent::Row(lane, seq) = sent {
                self.lanes.refused(lane, seq);
            }
            next = self.notices.try_join_next().and_then(Result::ok);
        }
        let refused = self.lanes.has_refused();
        if refused || !confirmed.is_empty() {
            self.owner.metrics.alarms().set(
                AlarmCode::PublishRefused,
                refused,
                "the broker refuses to take results",
            );
        }
        let journal = &mut self.journal;
        if !confirmed.is_empty() {
            // Unwritten confirmations cost a second publish after the next connect, no more.
            if let Err(error) = block_in_place(|| journal.ack(&confirmed)) {
                error!(%error, "confirmations cannot be written");
            }
        }
    }

    /// Whether the broker took it. A refusal, such as by an access rule, is said once per row.
    fn is_confirmed(&self, sent: Sent, outcome: Result<PublishResult, PublishNoticeError>) -> bool {
        match outcome {
            Ok(PublishResult::Qos1(ack)) => {
                let taken = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                if !taken {
                    self.owner.metrics.count_refused();
                    error!(?sent, reason = ?ack.reason, "the broker refuses a message; it is kept and tried again");
                    let text = format!("{sent:?}: {:?}", ack.reason);
                    let _ = self.journal.note_event(&utc_now(), "publish_refused", &text);
                }
                taken
            }
            Ok(_) => true,
            Err(error) => {
                debug!(?sent, %error, "not confirmed");
                false
            }
        }
    }

    fn count_depth(&self) {
        match block_in_place(|| self.journal.depth()) {
            Ok(depth) => self.owner.metrics.set_journal_depth(depth),
            Err(error) => error!(%error, "the journal cannot be read"),
        }
    }

    /// After the stop: whether everything is out, or the time is up.
    fn is_finished(&self) -> bool {
        let next_seq = self.owner.feed.borrow().next_seq;
        self.stop_by.is_some_and(|by| {
            let drained = self.in_flight.is_empty() && self.lanes.is_drained(next_seq);
            drained || Instant::now() >= by
        })
    }

    /// Says `stopped` and waits until the broker has it.
    async fn say_goodbye(&mut self) -> anyhow::Result<()> {
        let stopped = self.owner.status(Status::Stopped, self.number);
        let goodbye = async {
            self.control("status", stopped, retained()).await?;
            while let Some(notice) = self.notices.join_next().await {
                let done = notice.as_ref().is_ok_and(|(sent, _)| *sent == Sent::Control("status"));
                self.take_notices(notice?);
                if done {
                    break;
                }
            }
            self.link.client.disconnect().await?;
            // The poller ends once DISCONNECT is written.
            let _ = self.link.ended.recv().await;
            anyhow::Ok(())
        };
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(1), goodbye).await {
            warn!(%error, "the broker may not know that the daemon stops");
        }
        Ok(())
    }
}

fn ended(error: Option<anyhow::Error>) -> anyhow::Error {
    error.unwrap_or_else(|| anyhow::anyhow!("the connection ended"))
}

/// Waits until the daemon stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the daemon is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// QoS 1, retained, JSON.
fn retained() -> PublishOptions {
    PublishOptions::at_least_once().retained().properties(json_properties())
}

fn json_properties() -> PublishProperties {
    PublishProperties {
        payload_format_indicator: Some(1),
        content_type: Some("application/json".into()),
        ..PublishProperties::default()
    }
}

/// Marks a result as judged before this connection was made.
fn as_historical(body: String) -> String {
    match serde_json::from_str::<ResultBody>(&body) {
        Ok(result) => ResultBody { historical: true, ..result }.to_json(),
        // A body of another version goes out as it was committed.
        Err(_) => body,
    }
}

fn to_json(body: &impl serde::Serialize) -> String {
    serde_json::to_string(body).expect("bodies have string keys and finite numbers")
}

/// Half to one and a half of a pause, so that a line's devices do not return all at once.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish() % 1_000;
    pause / 2 + pause.saturating_mul(u32::try_from(random).unwrap_or_default()) / 1_000
}
