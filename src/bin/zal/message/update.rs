//! Body of `/update`: which bundle judges, and what an update does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Schema name of [`UpdateBody`].
pub const UPDATE_SCHEMA: &str = "zal.update/1";

/// Where an update stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// No update so far.
    Idle,
    /// A bundle is being copied or downloaded.
    Receiving,
    /// Its signature and every hash fit.
    Verified,
    /// It lies in a slot of its own.
    Staged,
    /// It is being tested in a process of its own.
    Testing,
    /// It passed its test and is not in charge.
    Ready,
    /// It judges and has to prove itself.
    Trial,
    /// It has proved itself.
    Confirmed,
    /// It did not pass; what judged goes on judging.
    Failed,
    /// It did not prove itself; the bundle before judges again.
    RolledBack,
}

impl UpdateState {
    /// The word in bodies and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Receiving => "receiving",
            Self::Verified => "verified",
            Self::Staged => "staged",
            Self::Testing => "testing",
            Self::Ready => "ready",
            Self::Trial => "trial",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// A bundle of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleBody {
    /// `name-version`; empty when its file cannot be read.
    pub name: String,
    /// Hash of its file.
    pub sha256: String,
    /// `trusted key` or `development key`, and the key's id.
    pub signer: String,
    /// Its security epoch.
    pub security_epoch: u32,
}

/// How far a running installation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressBody {
    /// What is being done, in words.
    pub stage: String,
    /// Bytes or steps done.
    pub done: u64,
    /// Bytes or steps in all; 0 when nobody knows.
    pub total: u64,
}

/// What a bundle on trial still has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrialBody {
    /// Parts to be judged.
    pub parts_left: u32,
    /// Starts without an orderly end that are left.
    pub starts_left: u32,
    /// Whether a person has to confirm it.
    pub manual_confirm: bool,
}

/// Why a bundle is not in charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetbackBody {
    /// `self_test`, `latency`, `crash`, `memory`, `hang`, `disagreement`, `load`, `interrupted`, `boots`,
    /// `manual` or `damaged`.
    pub code: String,
    /// What was found and what was expected.
    pub text: String,
    /// The bundle.
    pub bundle: BundleBody,
}

/// Body of `/update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpdateBody {
    /// `zal.update/1`.
    pub schema: String,
    /// One run of the daemon; empty when the technician's tool says it.
    pub session: String,
    /// Where the update stands.
    pub state: UpdateState,
    /// The bundle that judges.
    pub current: Option<BundleBody>,
    /// The one that judged before: what a rollback brings back.
    pub previous: Option<BundleBody>,
    /// The one that came with the device.
    pub factory: Option<BundleBody>,
    /// The one that is being tested, or was and is ready.
    pub candidate: Option<BundleBody>,
    /// Bundles of a lower security epoch are refused.
    pub security_epoch: u32,
    /// How far a running installation is.
    pub progress: Option<ProgressBody>,
    /// What a bundle on trial still has to do.
    pub trial: Option<TrialBody>,
    /// Why a bundle failed or was rolled back.
    pub setback: Option<SetbackBody>,
    /// What a person can do.
    pub help: String,
}
