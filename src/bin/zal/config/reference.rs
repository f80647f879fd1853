//! `[reference]`: the line's own scans as what parts are judged against.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zal::bank::reference::Combination;
use zal::detector::Mode;
use zal::detector::references::ReferenceRules;

use super::Config;

/// What the line's own scans are judged against.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reference {
    /// Whether the line's own scans are references; by default in mode `line`, unless
    /// `calibration.from_first_count` sets the threshold.
    pub enabled: Option<bool>,
    /// Folder of the reference sets; by default `reference` beside the journal.
    pub dir: Option<PathBuf>,
    /// Unlabelled scans of the line that are kept, the newest.
    pub buffer_len: usize,
    /// Verdicts from so many of them on.
    pub scans_min: usize,
    /// Confirmed good parts that are kept at most.
    pub anchors_max: usize,
    /// Verdicts from so many of them on.
    pub anchors_min: usize,
    /// Sides from which an anchor's colour is described.
    pub rotations: usize,
    /// Whether the bundle's bank is one more reference.
    pub bank: bool,
    /// Mean over this lowest share of the references, 0 to 1, instead of the nearest.
    pub lowest_share: Option<f32>,
    /// The buffer changes the threshold by at most this share of it a scan.
    pub threshold_step_max: f32,
    /// A scan this near to a reference, as a share of what is usual, is left out; 0 only leaves out the
    /// same scan.
    pub duplicate_ratio: f32,
    /// Recipes whose sets are in memory at a time; the others wait on disk.
    pub recipes_max: usize,
}

impl Default for Reference {
    fn default() -> Self {
        let rules = ReferenceRules::default();
        Self {
            enabled: None,
            dir: None,
            buffer_len: rules.buffer_len,
            scans_min: rules.scans_min,
            anchors_max: rules.anchors_max,
            anchors_min: rules.anchors_min,
            rotations: rules.rotations,
            bank: rules.bank,
            lowest_share: None,
            threshold_step_max: rules.threshold_step_max,
            duplicate_ratio: rules.duplicate_ratio,
            recipes_max: 2,
        }
    }
}

impl Config {
    /// Whether parts are judged against the line's own scans.
    pub fn uses_references(&self) -> bool {
        let by_default = self.detector.mode == Mode::Line && self.calibration.from_first_count == 0;
        self.reference.enabled.unwrap_or(by_default)
    }

    /// The folder of the reference sets.
    pub fn reference_dir(&self) -> PathBuf {
        let beside = || self.journal.path.with_file_name("reference");
        self.reference.dir.clone().unwrap_or_else(beside)
    }

    /// The rules of the sets, as the library takes them.
    pub fn reference_rules(&self) -> ReferenceRules {
        let set = &self.reference;
        ReferenceRules {
            buffer_len: set.buffer_len,
            anchors_max: set.anchors_max,
            rotations: set.rotations,
            combination: set.lowest_share.map_or(Combination::Minimum, Combination::LowestShare),
            bank: set.bank,
            scans_min: set.scans_min,
            anchors_min: set.anchors_min,
            false_reject_rate: self.calibration.rate(),
            threshold_step_max: set.threshold_step_max,
            duplicate_ratio: set.duplicate_ratio,
        }
    }
}

/// Reports every senseless value as (key path, message).
pub(super) fn check(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let set = &config.reference;
    if set.enabled == Some(true) && config.calibration.from_first_count > 0 {
        let message =
            "`enabled` and `calibration.from_first_count` both set the threshold: take one of the two";
        report("reference.enabled", message.into());
    }
    if set.enabled == Some(true) && config.detector.mode == Mode::Paper {
        report(
            "reference.enabled",
            "reference sets are for mode `line`, and `detector.mode` is `paper`".into(),
        );
    }
    let counts = [
        ("buffer_len", set.buffer_len, 0, 1_024),
        ("scans_min", set.scans_min, 2, 1_024),
        ("anchors_max", set.anchors_max, 0, 64),
        ("anchors_min", set.anchors_min, 2, 64),
        ("rotations", set.rotations, 1, 36),
        ("recipes_max", set.recipes_max, 1, 64),
    ];
    for (name, found, least, most) in counts {
        if !(least..=most).contains(&found) {
            report(&format!("reference.{name}"), format!("`{name}` is {found}, expected {least} to {most}"));
        }
    }
    if set.scans_min > set.buffer_len && set.anchors_min > set.anchors_max {
        let message = format!(
            "there would never be a verdict: `scans_min` is {}, `buffer_len` {}, `anchors_min` {}, `anchors_max` {}",
            set.scans_min, set.buffer_len, set.anchors_min, set.anchors_max
        );
        report("reference.scans_min", message);
    }
    let shares = [
        ("lowest_share", set.lowest_share.unwrap_or(1.0), 0.0),
        ("threshold_step_max", set.threshold_step_max, 0.0),
        ("duplicate_ratio", set.duplicate_ratio, -1.0),
    ];
    for (name, found, above) in shares {
        if !(found > above && found <= 1.0) {
            let message = format!("`{name}` is {found}, expected a share of at most 1");
            report(&format!("reference.{name}"), message);
        }
    }
}
