//! The daemon's configuration: one strict TOML file, read in two stages.
//!
//! First the file as written is held against the JSON Schema of [`Config`] (unknown keys,
//! missing keys, wrong types, all at once, each with line and column), then the typed values
//! are checked for sense (`check`). Nothing is taken from the environment. Relative paths
//! are relative to the file.

mod check;
mod parse;
mod update;
mod reference;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zal::detector::Mode;
use zal::engine::{EngineChoice, EngineOptions, Provider};
use zal::scan::SensorProfile;

use crate::runtime;
pub use reference::Reference;
pub use update::Update;

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where this device stands; part of every topic.
    pub device: Device,
    /// Where scans come in.
    pub spool: Spool,
    /// What judges them.
    pub detector: Detector,
    /// How another bundle comes into charge.
    #[serde(default)]
    pub update: Update,
    /// What runs the networks.
    #[serde(default)]
    pub engine: Engine,
    /// Where the threshold comes from.
    #[serde(default)]
    pub calibration: Calibration,
    /// What the line's own scans are judged against.
    #[serde(default)]
    pub reference: Reference,
    /// Limits of time.
    #[serde(default)]
    pub deadline: Deadline,
    /// Results on disk.
    pub journal: Journal,
    /// Pictures of results on disk.
    #[serde(default)]
    pub evidence: Evidence,
    /// The broker.
    pub mqtt: Mqtt,
    /// Health and metrics.
    #[serde(default)]
    pub http: Http,
    /// When something counts as wrong.
    #[serde(default)]
    pub health: Health,
    /// What the sensor's files mean.
    #[serde(default)]
    #[schemars(with = "serde_json::Value")]
    pub sensor: SensorProfile,
}

/// Identity of the device: the levels of the MQTT topic.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Site, such as a plant.
    pub site: String,
    /// Area of the site.
    pub area: String,
    /// Production line.
    pub line: String,
    /// Cell of the line.
    pub cell: String,
    /// This device.
    pub device: String,
}

impl Device {
    /// Base of every topic.
    pub fn topic_base(&self) -> String {
        format!("zal/v1/{}/{}/{}/{}/{}", self.site, self.area, self.line, self.cell, self.device)
    }

    /// The fixed MQTT client id.
    pub fn client_id(&self) -> String {
        format!("zal-{}-{}-{}-{}-{}", self.site, self.area, self.line, self.cell, self.device)
    }
}

/// The spool directory; its layout is described in `acquire`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spool {
    /// Holds `incoming/`, `work/`, `done/` and `bad/`, which are made when missing.
    pub dir: PathBuf,
    /// Name of the recipe that the parts are made by.
    #[serde(default = "default_recipe")]
    pub recipe: String,
    /// What parts recipe and part in a scan's name, such as `__` in `gasket__0042.tiff`; without it all
    /// parts are of `recipe`. Needs reference sets.
    #[serde(default)]
    pub recipe_separator: Option<String>,
    /// How often the spool is looked through when nothing wakes the intake (network disks).
    #[serde(default = "default_poll_interval_ms")]
    pub poll_interval_ms: u64,
    /// A file must be unchanged for this long before it is taken; 0 when the writer renames
    /// finished scans in, as it should.
    #[serde(default)]
    pub settle_ms: u64,
    /// Scans read ahead of the detector.
    #[serde(default = "default_queue_len_max")]
    pub queue_len_max: usize,
    /// Scans kept in `done/`; the oldest are removed.
    #[serde(default = "default_keep_count")]
    pub keep_done_count: usize,
    /// A `.tiff` without its `.png` waits this long for it; 0 when there is none or it comes first.
    #[serde(default)]
    pub picture_wait_ms: u64,
    /// A scan during which the daemon ended this often is answered `not_decidable` with the
    /// reason `crash_loop` and not tried again.
    #[serde(default = "default_tries_max")]
    pub tries_max: u32,
}

/// What judges the scans.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// A bundle file that always judges; without it the bundle store decides.
    pub bundle: Option<PathBuf>,
    /// `line` or `paper`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub mode: Mode,
    /// Whether the bundle's golden scans are judged before the first part.
    #[serde(default = "default_selftest")]
    pub selftest: bool,
}

const fn default_selftest() -> bool {
    true
}

/// What runs the networks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// `auto`, `onnxruntime` or `tract`.
    #[schemars(with = "String")]
    pub choice: EngineChoice,
    /// The ONNX Runtime library, when it is not in a usual place.
    pub runtime_library: Option<PathBuf>,
    /// `tensorrt`, `cuda`, `cpu`: tried in this order.
    #[schemars(with = "Vec<String>")]
    pub providers: Vec<Provider>,
    /// The provider that must run, or an alarm is raised; without it any of the list will do.
    #[schemars(with = "Option<String>")]
    pub expected_provider: Option<Provider>,
    /// Threads within one network.
    pub threads: usize,
    /// Folder of TensorRT engines.
    pub cache_dir: Option<PathBuf>,
}

impl Default for Engine {
    fn default() -> Self {
        let options = EngineOptions::default();
        Self {
            choice: options.choice,
            runtime_library: options.runtime_library,
            providers: options.providers,
            expected_provider: None,
            threads: options.threads,
            cache_dir: options.cache_dir,
        }
    }
}

impl Engine {
    /// As the library takes them.
    pub fn options(&self) -> EngineOptions {
        EngineOptions {
            choice: self.choice,
            runtime_library: runtime::find(self.runtime_library.as_deref()).map(|found| found.library),
            providers: self.providers.clone(),
            threads: self.threads,
            cache_dir: self.cache_dir.clone(),
        }
    }
}

/// Where the threshold comes from.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// The first this many scans, taken as they come, set the threshold; 0 keeps the
    /// bundle's own.
    pub from_first_count: usize,
    /// Share of good parts that may be rejected, 0 to 1.
    pub false_reject_rate: Option<f32>,
}

impl Calibration {
    /// The share asked for, 0.05 unless stated.
    pub fn rate(&self) -> f32 {
        self.false_reject_rate.unwrap_or(0.05)
    }
}

/// Limits of time.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deadline {
    /// A scan that waited longer than this is answered `not_decidable` with the reason
    /// `overrun`; 0 waits for ever.
    pub wait_ms: u64,
    /// A part that has no verdict this long after its scan was seen is answered
    /// `not_decidable` with the reason `deadline`; 0 for no limit.
    pub part_deadline_ms: u64,
    /// After a stop signal, results are still published for at most this long.
    pub stop_ms: u64,
}

impl Default for Deadline {
    fn default() -> Self {
        Self { wait_ms: 0, part_deadline_ms: 0, stop_ms: 3_000 }
    }
}

/// Results on disk.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The SQLite file.
    pub path: PathBuf,
    /// Megabytes that its results may take; beyond them the least needed are removed.
    #[serde(default = "default_journal_size_max_mb")]
    pub size_max_mb: u64,
    /// Folder in memory for results while the file's disk takes nothing.
    #[serde(default = "default_spill_dir")]
    pub spill_dir: PathBuf,
}

/// Pictures of results on disk.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// Where they go; nothing is written without it.
    pub dir: Option<PathBuf>,
    /// A picture of the scan with the anomaly map over it, for every result.
    pub overlays: bool,
    /// The anomaly map in the scan's pixels as `.npy`, for every result.
    pub maps: bool,
    /// Results whose files are kept; the oldest are removed.
    pub keep_count: usize,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { dir: None, overlays: true, maps: false, keep_count: default_keep_count() }
    }
}

/// The broker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// `mqtt://host[:1883]` or `mqtts://host[:8883]`.
    pub url: String,
    /// PEM file of the authority that signed the broker's certificate (`mqtts` only).
    pub ca_file: Option<PathBuf>,
    /// PEM file of this device's certificate (`mqtts` only).
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub client_key_file: Option<PathBuf>,
    /// User name.
    pub username: Option<String>,
    /// File whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Keep-alive; the broker publishes the last will after one and a half of it.
    #[serde(default = "default_keep_alive_s")]
    pub keep_alive_s: u16,
    /// Days before the end of a certificate at which an alarm is raised.
    #[serde(default = "default_certificate_warn_days")]
    pub certificate_warn_days: u16,
    /// Home Assistant's discovery prefix, usually `homeassistant`; nothing is sent there
    /// without it.
    pub home_assistant_prefix: Option<String>,
}

/// Health and metrics over HTTP.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Whether to listen at all.
    pub enabled: bool,
    /// Address and port.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        Self { enabled: true, listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9120)) }
    }
}

/// When something counts as wrong.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// A detector that works on one scan for longer than this hangs: systemd is no longer told
    /// that the daemon lives, and restarts it.
    pub stuck_ms: u64,
    /// Free space of a disk below which an alarm is raised.
    pub disk_low_mb: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self { stuck_ms: 60_000, disk_low_mb: 500 }
    }
}

fn default_recipe() -> String {
    "default".into()
}

const fn default_poll_interval_ms() -> u64 {
    1_000
}

const fn default_queue_len_max() -> usize {
    2
}

const fn default_tries_max() -> u32 {
    3
}

const fn default_journal_size_max_mb() -> u64 {
    256
}

fn default_spill_dir() -> PathBuf {
    "/dev/shm".into()
}

const fn default_keep_count() -> usize {
    1_000
}

const fn default_keep_alive_s() -> u16 {
    10
}

const fn default_certificate_warn_days() -> u16 {
    30
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Byte range in the file, when the place is known.
    pub span: Option<std::ops::Range<usize>>,
    /// What was found and what was expected.
    pub message: String,
}

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The content is wrong; every problem stands on a line `file:line:column: message`.
    #[error("{} in the configuration:\n{}", count_of(problems), problems.join("\n"))]
    Wrong {
        /// The problems in the order of the file.
        problems: Vec<String>,
    },
}

fn count_of(problems: &[String]) -> String {
    if problems.len() == 1 { "1 problem".into() } else { format!("{} problems", problems.len()) }
}

/// Reads and checks a configuration file.
///
/// # Errors
/// When the file cannot be read, or with everything that is wrong in it.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
    let mut config = parse_text(&text, path)?;
    let base = std::path::absolute(path).ok().and_then(|p| p.parent().map(Path::to_path_buf));
    config.resolve_paths(&base.unwrap_or_default());
    Ok(config)
}

/// As [`load`], from text; `path` is for the messages only.
///
/// # Errors
/// With everything that is wrong in the text.
pub fn parse_text(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let (config, mut problems) = parse::read(text);
    problems.sort_by_key(|p| p.span.as_ref().map_or(usize::MAX, |s| s.start));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::Wrong {
            problems: problems.iter().map(|p| parse::at_place(p, text, path)).collect(),
        }),
    }
}

impl Config {
    /// Makes relative paths relative to `base`.
    fn resolve_paths(&mut self, base: &Path) {
        let always =
            [&mut self.spool.dir, &mut self.update.dir, &mut self.journal.path, &mut self.journal.spill_dir];
        let when_given = [
            &mut self.detector.bundle,
            &mut self.update.factory,
            &mut self.update.ca_file,
            &mut self.engine.runtime_library,
            &mut self.engine.cache_dir,
            &mut self.evidence.dir,
            &mut self.reference.dir,
            &mut self.mqtt.ca_file,
            &mut self.mqtt.client_cert_file,
            &mut self.mqtt.client_key_file,
            &mut self.mqtt.password_file,
        ];
        for path in always.into_iter().chain(when_given.into_iter().flatten()) {
            *path = base.join(&*path);
        }
    }

    /// The engine settings as the library takes them.
    pub fn engine_options(&self) -> EngineOptions {
        self.engine.options()
    }

    /// First 16 hex digits of the sha256 of the values in use, so that two devices can be compared.
    pub fn hash(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests;
