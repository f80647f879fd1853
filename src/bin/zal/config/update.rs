//! `[update]`: where bundles lie and how another one comes into charge.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zal::bundle::store::{Rules, TrialRules};

/// How another bundle comes into charge. The daemon reads it when `detector.bundle` names no file;
/// `zal model` always does.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Update {
    /// Folder of the bundle store.
    pub dir: PathBuf,
    /// The bundle that the device comes with; without it the demo bundle within the program.
    pub factory: Option<PathBuf>,
    /// Whether bundles that the development key signed are taken. Everybody has its secret half.
    pub allow_development_key: bool,
    /// Whether the MQTT commands `model_install`, `model_confirm` and `model_rollback` are taken.
    pub commands: bool,
    /// PEM file of the authorities for bundles from `https://`; the system's without it.
    pub ca_file: Option<PathBuf>,
    /// Parts that a new bundle has to judge before it is confirmed.
    pub trial_parts: u32,
    /// Minutes after which a new bundle that has judged at least one part is confirmed; 0 for parts alone.
    pub trial_minutes: u32,
    /// Starts without an orderly end that a new bundle may take during its trial.
    pub trial_starts: u32,
    /// Whether a person has to confirm a new bundle.
    pub manual_confirm: bool,
    /// A new bundle may take this many times as long for a part as the one before.
    pub slower_max: f32,
    /// Seconds that the test of a new bundle may take; building TensorRT engines takes minutes.
    pub test_timeout_s: u64,
    /// Megabytes of memory for the test; 0 for what the machine has.
    pub test_memory_mb: u64,
    /// Bundles kept beside those in use.
    pub keep_count: usize,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            dir: "/var/lib/zal/models".into(),
            factory: None,
            allow_development_key: false,
            commands: true,
            ca_file: None,
            trial_parts: 20,
            trial_minutes: 60,
            trial_starts: 3,
            manual_confirm: false,
            slower_max: 3.0,
            test_timeout_s: 1_800,
            test_memory_mb: 0,
            keep_count: 2,
        }
    }
}

impl Update {
    /// What a trial asks for.
    pub const fn trial_rules(&self) -> TrialRules {
        TrialRules { boots: self.trial_starts, parts: self.trial_parts, manual: self.manual_confirm }
    }

    /// Which bundles are taken.
    pub const fn rules(&self) -> Rules {
        Rules { allow_development_key: self.allow_development_key }
    }
}
