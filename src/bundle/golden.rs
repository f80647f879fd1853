//! Golden scans: scans that travel with a bundle, and what the bundle's maker scored on them. Judged again on a
//! device they prove that networks, bank and settings still give the same scale of scores.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Bundle, BundleError, FileRole, Manifest};
use crate::detector::{Detection, Detector, Mode};
use crate::engine::EngineReport;
use crate::scan::{Scan, decode, png};

/// Quantiles of the anomaly map that are compared, over the object's pixels.
pub const MAP_QUANTILES: [f32; 5] = [0.05, 0.5, 0.9, 0.99, 1.0];
/// Largest difference on the engine that the expectation was made with, relative to the largest value.
pub const TOLERANCE_SAME_ENGINE: f32 = 1e-3;
/// Largest difference on another engine or provider: sums in another order, half precision inside.
pub const TOLERANCE_OTHER_ENGINE: f32 = 2e-2;

/// A scan in the bundle with its expected results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenScan {
    /// Payload file of the points, in any format that scans are read from.
    pub points: String,
    /// Payload file of the colour image, PNG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Results of the bundle's maker, one a mode.
    pub expected: Vec<GoldenResult>,
}

/// What one mode gives for a golden scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenResult {
    /// Which mode.
    pub mode: Mode,
    /// `onnxruntime` or `tract`.
    pub engine: String,
    /// `tensorrt`, `cuda` or `cpu`.
    pub provider: String,
    /// Image score.
    pub score: f32,
    /// The map at [`MAP_QUANTILES`].
    pub map_quantiles: [f32; 5],
}

/// A golden scan judged again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GoldenOutcome {
    /// Payload file of the points.
    pub points: String,
    /// What the bundle's maker got.
    pub expected: GoldenResult,
    /// What came out now; none when the scan could not be judged.
    pub found: Option<GoldenResult>,
    /// Largest difference of score or quantile over the largest expected value.
    pub deviation: f32,
    /// Deviation that is allowed for this engine.
    pub tolerance: f32,
}

impl GoldenOutcome {
    /// Whether the results are the expected ones.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.deviation <= self.tolerance
    }
}

impl GoldenResult {
    /// The figures of a detection; none when it has no score.
    #[must_use]
    pub fn of(mode: Mode, engine: &EngineReport, detection: &Detection) -> Option<Self> {
        let (score, map) = (detection.score?, detection.map.as_ref()?);
        let on_object = map.values.iter().zip(&map.object).filter(|(_, object)| **object);
        let mut scored: Vec<f32> = on_object.map(|(value, _)| *value).collect();
        scored.sort_by(f32::total_cmp);
        let map_quantiles = MAP_QUANTILES.map(|q| quantile(&scored, q));
        let (engine, provider) = (engine.engine.clone(), engine.provider.clone());
        Some(Self { mode, engine, provider, score, map_quantiles })
    }

    /// Largest difference of any figure over the largest figure of this one.
    fn deviation(&self, other: &Self) -> f32 {
        let figures = |r: &Self| [&[r.score][..], &r.map_quantiles].concat();
        let (ours, theirs) = (figures(self), figures(other));
        let largest = ours.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
        ours.iter().zip(&theirs).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs())) / largest
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place within a frame of 50,176 pixels"
)]
fn quantile(ascending: &[f32], share: f32) -> f32 {
    let last = ascending.len().saturating_sub(1);
    ascending.get((last as f32 * share).round() as usize).copied().unwrap_or_default()
}

/// Whether every golden scan names files of the bundle and modes that it has.
pub(super) fn check(manifest: &Manifest) -> Result<(), BundleError> {
    let refused = |found: String, expected: &str| BundleError::Manifest { found, expected: expected.into() };
    for golden in &manifest.golden {
        for path in std::iter::once(&golden.points).chain(&golden.color) {
            if !manifest.files.iter().any(|f| f.path == *path && f.role == FileRole::Golden) {
                return Err(refused(format!("golden scan {path}"), "a file of role golden"));
            }
        }
        if let Some(result) = golden.expected.iter().find(|r| manifest.mode(r.mode).is_none()) {
            let found = format!("golden scan {} of mode {}", golden.points, result.mode.name());
            return Err(refused(found, "a mode of the bundle"));
        }
    }
    Ok(())
}

impl Bundle {
    /// Reads a golden scan.
    ///
    /// # Errors
    /// When its files are damaged, or are no scan for the bundle's sensor.
    pub fn golden_scan(&self, golden: &GoldenScan) -> Result<Scan, BundleError> {
        let damaged = |found: String| BundleError::Archive {
            found: format!("golden scan {}: {found}", golden.points),
            expected: "a scan for the bundle's sensor".into(),
        };
        let bytes = self.read(&golden.points)?;
        let mut scan = decode(Path::new(&golden.points), &bytes, &self.manifest().sensor)
            .map_err(|error| damaged(error.to_string()))?;
        if let Some(path) = &golden.color {
            let image = png::decode(&self.read(path)?).map_err(|error| damaged(error.to_string()))?;
            let sizes = [(image.height, image.width), (scan.cloud.height(), scan.cloud.width())];
            if sizes[0] != sizes[1] {
                return Err(damaged(format!(
                    "a colour image of {:?} pixels for {:?} points",
                    sizes[0], sizes[1]
                )));
            }
            scan.color = Some(image);
        }
        Ok(scan)
    }

    /// Judges every golden scan that has a result for the detector's mode.
    ///
    /// # Errors
    /// When a golden scan cannot be read.
    pub fn golden_test(&self, detector: &mut Detector) -> Result<Vec<GoldenOutcome>, BundleError> {
        let (mode, engine) = (detector.mode(), detector.engine());
        let mut outcomes = Vec::new();
        for golden in &self.manifest().golden {
            let Some(expected) = golden.expected.iter().find(|r| r.mode == mode) else { continue };
            let found = GoldenResult::of(mode, &engine, &detector.detect(&self.golden_scan(golden)?));
            let same = expected.engine == engine.engine && expected.provider == engine.provider;
            outcomes.push(GoldenOutcome {
                points: golden.points.clone(),
                expected: expected.clone(),
                deviation: found.as_ref().map_or(f32::INFINITY, |found| expected.deviation(found)),
                found,
                tolerance: if same { TOLERANCE_SAME_ENGINE } else { TOLERANCE_OTHER_ENGINE },
            });
        }
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(score: f32, top: f32) -> GoldenResult {
        GoldenResult {
            mode: Mode::Line,
            engine: "tract".into(),
            provider: "cpu".into(),
            score,
            map_quantiles: [0.0, 0.5, 1.0, 2.0, top],
        }
    }

    #[test]
    fn the_deviation_is_relative_to_the_largest_figure() {
        assert!(result(4.0, 8.0).deviation(&result(4.0, 8.0)) <= 0.0);
        assert!((result(4.0, 8.0).deviation(&result(4.4, 8.0)) - 0.05).abs() < 1e-6);
        assert!((result(4.0, 8.0).deviation(&result(4.0, 9.0)) - 0.125).abs() < 1e-6);
    }

    #[test]
    fn quantiles_are_values_of_the_map() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        let found = [0.0, 0.5, 0.9, 1.0].map(|q| quantile(&values, q));
        assert_eq!(found.map(f32::to_bits), [1.0_f32, 3.0, 5.0, 5.0].map(f32::to_bits));
        assert!(quantile(&[], 0.5) <= 0.0);
    }
}
