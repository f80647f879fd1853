//! The bodies that the device says of itself, put together from what it is and does now.

use super::Publisher;
use crate::alarms::AlarmCode;
use crate::message::{
    self, AlarmBody, BirthBody, DaemonState, MetricsBody, ResultBody, StateBody, Status, StatusBody,
    UpdateBody,
};
use crate::telemetry::utc_now;

impl Publisher {
    pub(super) fn status(&self, status: Status, connection: u64) -> String {
        to_json(&StatusBody {
            schema: message::STATUS_SCHEMA.into(),
            status,
            session: self.identity.session.clone(),
            connection,
        })
    }

    pub(super) fn birth(&self, connection: u64) -> BirthBody {
        let feed = self.feed.borrow().clone();
        BirthBody {
            schema: message::BIRTH_SCHEMA.into(),
            session: self.identity.session.clone(),
            connection,
            ts: utc_now(),
            version: env!("CARGO_PKG_VERSION").into(),
            result_schema: message::RESULT_SCHEMA.into(),
            bundle: self.identity.bundle.clone(),
            bundle_sha256: self.identity.origin.sha256.clone(),
            bundle_signer: self.identity.origin.signer.clone(),
            mode: self.identity.mode.clone(),
            recipe: self.identity.recipe.clone(),
            engine: self.identity.engine.clone(),
            calibration: feed.calibration,
            config_hash: self.identity.config_hash.clone(),
            next_seq: feed.next_seq,
            journal_depth: self.metrics.journal_depth(),
        }
    }

    pub(super) fn state(&self) -> StateBody {
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

    /// None without a bundle store.
    pub(super) fn update(&self) -> Option<UpdateBody> {
        let session = self.identity.session.clone();
        self.metrics.update().map(|body| UpdateBody { session, ..body })
    }

    pub(super) fn metrics_body(&self) -> MetricsBody {
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

    /// Every code's body, active or cleared.
    pub(super) fn alarm_bodies(&self) -> Vec<AlarmBody> {
        let active = self.metrics.alarms().active();
        let body = |code: AlarmCode| {
            let alarm = active.iter().find(|alarm| alarm.code == code);
            AlarmBody {
                schema: message::ALARM_SCHEMA.into(),
                session: self.identity.session.clone(),
                code,
                active: alarm.is_some(),
                since: alarm.map(|a| a.since.clone()),
                text: alarm.map(|a| a.text.clone()),
                help: code.help().into(),
            }
        };
        AlarmCode::ALL.map(body).into()
    }
}

/// Marks a result as judged before this connection was made.
pub(super) fn as_historical(body: String) -> String {
    match serde_json::from_str::<ResultBody>(&body) {
        Ok(result) => ResultBody { historical: true, ..result }.to_json(),
        // A body of another version goes out as it was committed.
        Err(_) => body,
    }
}

/// A result of at most so many bytes, by leaving out regions and words.
pub(super) fn fitted(body: String, bytes_max: usize) -> String {
    match serde_json::from_str::<ResultBody>(&body) {
        Ok(result) => result.to_json_within(bytes_max),
        Err(_) => body,
    }
}

pub(super) fn to_json(body: &impl serde::Serialize) -> String {
    serde_json::to_string(body).expect("bodies have string keys and finite numbers")
}
