//! Conditions that a person should act on, in one place for every thread.
//!
//! A condition is raised once and stays active until whoever raised it finds it gone. The
//! publisher shows each on `/alarm/{code}` (retained), `/state` and HTTP list what is active.
//! This is no log: an alarm is a state, and raising it again only renews its words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::telemetry::utc_now;

/// What can be wrong. The words are a contract: topics, metrics and dashboards use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmCode {
    /// Scans cannot be listed, claimed or moved.
    IntakeFailing,
    /// Parts are answered without a verdict because they waited too long.
    Overrun,
    /// Results cannot be committed.
    JournalFailing,
    /// The journal has reached its size limit.
    JournalFull,
    /// The journal was damaged and has been set aside.
    JournalCorrupt,
    /// The disk is nearly full.
    DiskLow,
    /// The bundle's golden scans do not give the expected scores.
    SelfTestFailed,
    /// The detector has worked on one scan for too long.
    DetectorStuck,
    /// Another engine or provider judges than the one asked for.
    EngineFallback,
    /// There is no connection to the broker.
    BrokerUnreachable,
    /// The broker takes no messages on a topic.
    PublishRefused,
    /// A message is larger than the broker takes.
    MessageTooLarge,
    /// The broker does not let the device listen for commands.
    CommandsRefused,
    /// Certificates, keys or passwords cannot be used.
    CredentialsUnusable,
    /// A certificate ends soon or has ended.
    CertificateExpiring,
    /// A changed configuration was refused; the old one is in use.
    ConfigRefused,
    /// A new bundle did not prove itself; the one before judges again.
    ModelRolledBack,
    /// Many scans of the reference buffer share something that good parts do not have.
    ReferencePoisoned,
    /// Light, missing points or distances have moved since warm-up.
    ReferenceDrift,
    /// The same part comes again and again.
    LineStandstill,
    /// Files of the reference set were damaged and have been set aside.
    ReferenceDamaged,
    /// The reference set cannot be written.
    ReferenceFailing,
}

impl AlarmCode {
    /// All codes, in their order.
    pub const ALL: [Self; 22] = [
        Self::IntakeFailing,
        Self::Overrun,
        Self::JournalFailing,
        Self::JournalFull,
        Self::JournalCorrupt,
        Self::DiskLow,
        Self::SelfTestFailed,
        Self::DetectorStuck,
        Self::EngineFallback,
        Self::BrokerUnreachable,
        Self::PublishRefused,
        Self::MessageTooLarge,
        Self::CommandsRefused,
        Self::CredentialsUnusable,
        Self::CertificateExpiring,
        Self::ConfigRefused,
        Self::ModelRolledBack,
        Self::ReferencePoisoned,
        Self::ReferenceDrift,
        Self::LineStandstill,
        Self::ReferenceDamaged,
        Self::ReferenceFailing,
    ];

    /// The word in topics, bodies and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IntakeFailing => "intake_failing",
            Self::Overrun => "overrun",
            Self::JournalFailing => "journal_failing",
            Self::JournalFull => "journal_full",
            Self::JournalCorrupt => "journal_corrupt",
            Self::DiskLow => "disk_low",
            Self::SelfTestFailed => "self_test_failed",
            Self::DetectorStuck => "detector_stuck",
            Self::EngineFallback => "engine_fallback",
            Self::BrokerUnreachable => "broker_unreachable",
            Self::PublishRefused => "publish_refused",
            Self::MessageTooLarge => "message_too_large",
            Self::CommandsRefused => "commands_refused",
            Self::CredentialsUnusable => "credentials_unusable",
            Self::CertificateExpiring => "certificate_expiring",
            Self::ConfigRefused => "config_refused",
            Self::ModelRolledBack => "model_rolled_back",
            Self::ReferencePoisoned => "reference_poisoned",
            Self::ReferenceDrift => "reference_drift",
            Self::LineStandstill => "line_standstill",
            Self::ReferenceDamaged => "reference_damaged",
            Self::ReferenceFailing => "reference_failing",
        }
    }

    /// What a person can do.
    pub const fn help(self) -> &'static str {
        match self {
            Self::IntakeFailing => "check that the spool's disk is mounted and that zal may write there",
            Self::Overrun => "fewer parts a minute, a faster engine, or a longer deadline.wait_ms",
            Self::JournalFailing => {
                "check the journal's disk: space, mount, rights; judged scans stay in work/ until then"
            }
            Self::JournalFull => "bring the broker back so that the journal drains, or raise its size limit",
            Self::JournalCorrupt => {
                "keep the file that was set aside for analysis; check the disk before it happens again"
            }
            Self::DiskLow => "free space: lower keep_done_count and evidence.keep_count, or add a disk",
            Self::SelfTestFailed => {
                "do not trust the verdicts: run zal selftest, then take another engine or the bundle's former version"
            }
            Self::DetectorStuck => "systemd restarts the daemon; if it comes again, keep the scan in work/",
            Self::EngineFallback => {
                "see the text for why the better engine was passed over; thresholds may differ between engines"
            }
            Self::BrokerUnreachable => {
                "check network, broker and mqtt.url; results are kept and sent when it is back"
            }
            Self::PublishRefused => {
                "allow the device to write below its topic: see systemd/mosquitto/acl; results are kept meanwhile"
            }
            Self::MessageTooLarge => "raise the broker's maximum packet size to 16 KiB at least",
            Self::CommandsRefused => {
                "allow the device to read cmd/+ below its topic: see systemd/mosquitto/acl"
            }
            Self::CredentialsUnusable => {
                "see the text; correct the files named in [mqtt], they are read again"
            }
            Self::CertificateExpiring => "renew the certificate; new files are taken without a restart",
            Self::ReferencePoisoned => {
                "look at the last parts; confirm good ones (zal anchor add), take bad ones out (zal judge ID not_ok)"
            }
            Self::ReferenceDrift => {
                "check lamp, lens and fixture; when the present levels are right: zal reference accept-drift"
            }
            Self::LineStandstill => "the line stands still, or the camera shows an old picture",
            Self::ReferenceDamaged => {
                "the rest is used; keep the files in damaged/ for analysis, and check the disk"
            }
            Self::ReferenceFailing => "check the disk of reference.dir: space, mount, rights",
            Self::ConfigRefused => "correct the file (zal run --check shows the problems) and reload again",
            Self::ModelRolledBack => {
                "the line judges with the bundle before; zal model log says why; zal model confirm takes note of it"
            }
        }
    }

    /// Whether parts cannot be judged and recorded while it lasts, so that `/readyz` says no.
    pub const fn stops_the_work(self) -> bool {
        matches!(
            self,
            Self::IntakeFailing
                | Self::JournalFailing
                | Self::JournalFull
                | Self::SelfTestFailed
                | Self::DetectorStuck
        )
    }
}

/// An active condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Which.
    pub code: AlarmCode,
    /// What exactly, in words.
    pub text: String,
    /// UTC, when it was raised.
    pub since: String,
}

/// The conditions of one daemon; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    active: Arc<Mutex<BTreeMap<AlarmCode, Alarm>>>,
}

impl Alarms {
    /// Raises a condition, or renews the words of an active one.
    pub fn raise(&self, code: AlarmCode, text: impl Into<String>) {
        let text = text.into();
        let mut active = self.lock();
        if let Some(alarm) = active.get_mut(&code) {
            alarm.text = text;
            return;
        }
        warn!(code = code.as_str(), text, help = code.help(), "alarm");
        active.insert(code, Alarm { code, text, since: utc_now() });
    }

    /// Clears a condition; harmless when it is not active.
    pub fn clear(&self, code: AlarmCode) {
        if self.lock().remove(&code).is_some() {
            info!(code = code.as_str(), "alarm cleared");
        }
    }

    /// Raises or clears by a test's outcome.
    pub fn set(&self, code: AlarmCode, wrong: bool, text: &str) {
        if wrong { self.raise(code, text) } else { self.clear(code) }
    }

    /// What is active, in the order of the codes.
    pub fn active(&self) -> Vec<Alarm> {
        self.lock().values().cloned().collect()
    }

    /// Whether one condition is active.
    pub fn is_active(&self, code: AlarmCode) -> bool {
        self.lock().contains_key(&code)
    }

    /// A thread that panicked while it held the map has left it whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AlarmCode, Alarm>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_twice_renews_the_words_and_keeps_the_time() {
        let alarms = Alarms::default();
        let seen_elsewhere = alarms.clone();
        alarms.raise(AlarmCode::DiskLow, "1 GB left");
        let since = alarms.active()[0].since.clone();
        alarms.raise(AlarmCode::DiskLow, "0 GB left");
        alarms.raise(AlarmCode::Overrun, "3 parts");
        let active = seen_elsewhere.active();
        assert_eq!(
            active.iter().map(|a| a.code).collect::<Vec<_>>(),
            [AlarmCode::Overrun, AlarmCode::DiskLow]
        );
        assert_eq!((active[1].text.as_str(), &active[1].since), ("0 GB left", &since));
        seen_elsewhere.clear(AlarmCode::DiskLow);
        assert!(!alarms.is_active(AlarmCode::DiskLow) && alarms.is_active(AlarmCode::Overrun));
    }

    #[test]
    fn every_code_has_the_same_word_everywhere_and_a_help() {
        let mut words = std::collections::BTreeSet::new();
        for code in AlarmCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(code.help().len() > 20);
            words.insert(code.as_str());
        }
        assert_eq!(words.len(), AlarmCode::ALL.len());
    }
}
