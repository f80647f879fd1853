//! The publisher: MQTT 5 as DESIGN section 4 lays down.
//!
//! It holds no results itself. What has to go out is read from the journal, and a row is done
//! only when the broker confirmed it with a success code; whatever happens in between, the
//! next connection starts from the journal again.

pub mod address;
mod bodies;
mod certificate;
mod commands;
mod connect;
mod connection;
mod discovery;
mod lanes;
mod packet;
mod tls;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};
use tracing::{error, warn};

use crate::acquire::intake::Wake;
use crate::alarms::AlarmCode;
use crate::config;
use crate::control::{Answers, ModelEnd, ModelTool, Received, SelfTest};
use crate::journal::{Journal, JournalError};
use crate::message::Status;
use crate::record::{Feed, Identity};
use crate::reference::Requests;
use crate::telemetry::{Metrics, words_of};
use connect::Link;
use connection::{Connection, End};

/// The least and greatest pause between two connections.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A self-test that was asked for, and how it ended.
type SelfTestEnd = (Received, anyhow::Result<(bool, Vec<serde_json::Value>)>);

/// A command to the bundle store, and how it ended.
type ModelRun = (Received, anyhow::Result<ModelEnd>);

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
    /// Wakes the intake for the command `trigger`.
    pub waker: mpsc::Sender<Wake>,
    /// Runs the command `selftest`.
    pub selftest: SelfTest,
    /// Runs the commands `model_*`; none without a bundle store, or when they are not wanted.
    pub models: Option<ModelTool>,
    /// The command to the bundle store that runs.
    pub model_runs: JoinSet<ModelRun>,
    /// Takes what people say of parts, when parts are judged against reference sets.
    pub requests: Option<Requests>,
    /// Alarms that this run has shown as active.
    pub raised: BTreeSet<AlarmCode>,
    /// Commands that were answered.
    pub answers: Answers,
    /// The self-test that runs, whatever happens to the connection that asked for it.
    pub selftests: JoinSet<SelfTestEnd>,
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
                    self.note_connected();
                    let end = Connection::new(&mut self, &mut journal, link, connection).serve().await;
                    self.metrics.set_mqtt_connected(false);
                    match end {
                        End::Stopped => return,
                        End::Renewed => {
                            pause = PAUSE_MIN;
                            continue;
                        }
                        End::Lost(error) => {
                            let error = words_of(error.as_ref());
                            warn!(error, broker = self.mqtt.url, "connection lost; results are kept");
                            // A broker that takes clients and drops them again must not be hammered.
                            if since.elapsed() > self.pause_max() {
                                pause = PAUSE_MIN;
                            }
                            self.wait(jittered(pause)).await;
                            pause = (pause * 2).min(self.pause_max());
                            continue;
                        }
                    }
                }
                Err(error) => error,
            };
            self.note_unreachable(&words_of(error.as_ref()));
            self.count_journal(&journal);
            self.wait(jittered(pause)).await;
            pause = (pause * 2).min(self.pause_max());
        }
    }

    async fn connect(&self, connection: u64) -> anyhow::Result<Link> {
        let will = connect::will(&self.topic("status"), self.status(Status::Offline, connection));
        connect::connect(&self.mqtt, &self.device.client_id(), will).await
    }

    fn note_connected(&self) {
        self.metrics.set_mqtt_connected(true);
        self.metrics.count_connection();
        self.metrics.alarms().clear(AlarmCode::BrokerUnreachable);
        self.metrics.alarms().clear(AlarmCode::CredentialsUnusable);
    }

    /// Counts what the broker has not confirmed, and how long it has waited.
    fn count_journal(&self, journal: &Journal) {
        let counted =
            block_in_place(|| Ok::<_, JournalError>((journal.depth()?, journal.oldest_unacked_utc()?)));
        match counted {
            Ok((depth, oldest)) => {
                let since = oldest.and_then(|utc| utc.parse::<jiff::Timestamp>().ok());
                let age_s = since.map_or(0, |since| jiff::Timestamp::now().as_second() - since.as_second());
                self.metrics.set_journal_depth(depth);
                self.metrics.set_journal_age_s(u64::try_from(age_s).unwrap_or_default());
            }
            Err(error) => error!(%error, "the journal cannot be read"),
        }
    }

    /// Raises the alarm that fits why the broker cannot be reached.
    fn note_unreachable(&self, words: &str) {
        let alarms = self.metrics.alarms();
        if let Some(why) = tls::explain(&self.mqtt, words).or_else(|| self.unusable_files()) {
            alarms.raise(AlarmCode::CredentialsUnusable, format!("{why} ({words})"));
        }
        alarms.raise(AlarmCode::BrokerUnreachable, format!("{}: {words}; results are kept", self.mqtt.url));
    }

    /// What is wrong with the certificates, keys and password on disk.
    fn unusable_files(&self) -> Option<String> {
        let encrypted = address::BrokerAddress::parse(&self.mqtt.url).is_ok_and(|a| a.tls);
        let tls = if encrypted { tls::client_config(&self.mqtt).map(drop) } else { Ok(()) };
        tls.and_then(|()| tls::password(&self.mqtt)).err().map(|error| words_of(error.as_ref()))
    }

    /// Results go on within twice the keep-alive after the broker is back.
    fn pause_max(&self) -> Duration {
        Duration::from_secs(self.mqtt.keep_alive_s.into()).min(PAUSE_MAX)
    }

    /// Waits, unless the daemon stops.
    async fn wait(&mut self, pause: Duration) {
        let _ = tokio::time::timeout(pause, stopped(&mut self.stop)).await;
    }

    fn topic(&self, leaf: &str) -> String {
        format!("{}/{leaf}", self.device.topic_base())
    }
}

/// Waits until the daemon stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the daemon is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Half to the whole of a pause, so that a line's devices do not return all at once.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish() % 1_000;
    pause / 2 + pause.saturating_mul(u32::try_from(random).unwrap_or_default()) / 2_000
}
