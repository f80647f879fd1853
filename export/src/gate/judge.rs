//! Judges the test scans of one class with one detector: figures, curves and the scans one by one.

use std::fmt::Write as _;
use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use zal::detector::{AnomalyMap, Detection, Detector, Mode};
use zal::metrics::{
    Bootstrap, Counted, DefectPixels, Domain, FPR_LIMIT, MaskedMap, auroc, auroc_interval, peak_on_defect,
};
use zal::scan::{SensorProfile, read};
use zal::score::{scan_map, scan_mask};

use super::data::{TestClass, TestScan, read_mask};

/// Points of an overlap curve.
const CURVE_POINTS: usize = 60;

/// What is known of a judged scan.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedScan {
    /// `class/test/defect/number`.
    pub name: String,
    /// Whether the part has a defect.
    pub defective: bool,
    /// None when it could not be judged.
    pub score: Option<f32>,
    /// Whether the map's maximum lies on a defect, of a defective scan.
    pub peak_on_defect: Option<bool>,
    /// Codes of the reasons why it could not be judged.
    pub undecided: String,
}

/// The results of one class in one mode.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedClass {
    /// The mode.
    pub mode: Mode,
    /// The class.
    pub class: String,
    /// Its scans.
    pub scans: Vec<JudgedScan>,
    /// Column and figure, in the columns' order; none where the class has too few scans or regions for it.
    pub figures: Vec<(&'static str, Option<f64>)>,
    /// Name of a curve and its points.
    pub curves: Vec<(&'static str, Vec<[f64; 2]>)>,
}

impl JudgedClass {
    /// Good or defective scans.
    #[must_use]
    pub fn count(&self, defective: bool) -> usize {
        self.scans.iter().filter(|scan| scan.defective == defective).count()
    }

    /// Scans that could not be judged.
    #[must_use]
    pub fn undecided(&self) -> usize {
        self.scans.iter().filter(|scan| scan.score.is_none()).count()
    }

    /// A line for those who wait.
    #[must_use]
    pub fn words(&self) -> String {
        let figure = |name: &str| {
            let found = self.figures.iter().find(|(column, _)| *column == name).and_then(|(_, value)| *value);
            found.map_or_else(|| "none".into(), |value| format!("{value:.3}"))
        };
        format!(
            "{}, mode {}: {} scans, AUPRO-fg {}, image AUROC {}, {} undecided",
            self.class,
            self.mode.name(),
            self.scans.len(),
            figure("aupro_fg_published_0.3"),
            figure("image_auroc"),
            self.undecided()
        )
    }
}

/// A scan with its map, until the class is done: the map in its frame is small.
struct Seen {
    map: Option<AnomalyMap>,
    defective: Vec<bool>,
    width: usize,
}

impl Seen {
    /// Scores and object on the scan's grid; zeros of what could not be judged.
    fn pixels(&self) -> (Vec<f32>, Vec<bool>) {
        match &self.map {
            None => (vec![0.0; self.defective.len()], vec![false; self.defective.len()]),
            Some(map) => {
                let object: Vec<bool> = map.values.iter().map(|value| value.abs() > 0.0).collect();
                (scan_map(map), scan_mask(&object, &map.window))
            }
        }
    }
}

/// Judges every test scan of a class.
///
/// # Errors
/// Names the scan or mask that cannot be read.
pub fn class(
    detector: &mut Detector,
    sensor: &SensorProfile,
    class: &TestClass,
    times: &mut StageTimes,
) -> Result<JudgedClass> {
    let (mut scans, mut seen) = (Vec::new(), Vec::new());
    for scan in &class.scans {
        let (judged, pixels) = judge(detector, sensor, scan, times)?;
        scans.push(judged);
        seen.push(pixels);
    }
    let tally = tally(&seen);
    Ok(JudgedClass {
        mode: detector.mode(),
        class: class.name.clone(),
        figures: figures(&scans, tally.as_ref()),
        curves: curves(&scans, tally.as_ref()),
        scans,
    })
}

fn judge(
    detector: &mut Detector,
    sensor: &SensorProfile,
    file: &TestScan,
    times: &mut StageTimes,
) -> Result<(JudgedScan, Seen)> {
    let scan = read(&file.xyz, sensor)?;
    let mask = read_mask(&file.gt)?;
    let size = [scan.cloud.height(), scan.cloud.width()];
    ensure!(
        mask.size == size,
        "{}: found a mask of {:?} rows and columns, expected {size:?} as the scan has",
        file.gt.display(),
        mask.size
    );
    let Detection { score, map, reasons, timing, .. } = detector.detect(&scan);
    times.add(&timing.stages_ms);
    let seen = Seen {
        map: map.filter(|_| score.is_some()),
        defective: mask.values.iter().map(|value| *value > 0).collect(),
        width: size[1],
    };
    let map = MaskedMap { scores: seen.pixels().0, mask: mask.values, width: size[1], object: None };
    let judged = JudgedScan {
        name: file.name.clone(),
        defective: file.defective,
        score,
        peak_on_defect: peak_on_defect(&map),
        undecided: reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(" "),
    };
    Ok((judged, seen))
}

/// None when no scan has a defect.
fn tally(seen: &[Seen]) -> Option<Counted> {
    let mut defects = DefectPixels::default();
    for scan in seen.iter().filter(|scan| scan.defective.contains(&true)) {
        defects.add(&scan.pixels().0, &scan.defective, scan.width);
    }
    let mut tally = defects.into_tally()?;
    for scan in seen {
        let (scores, object) = scan.pixels();
        tally.add(&scores, &scan.defective, Some(&object));
    }
    Some(tally.finish())
}

fn scores(scans: &[JudgedScan], defective: bool) -> Vec<f32> {
    scans.iter().filter(|scan| scan.defective == defective).filter_map(|scan| scan.score).collect()
}

fn figures(scans: &[JudgedScan], tally: Option<&Counted>) -> Vec<(&'static str, Option<f64>)> {
    let (good, defective) = (scores(scans, false), scores(scans, true));
    let interval = auroc_interval(&good, &defective, &Bootstrap::default());
    let (object, image) = (Domain::Object, Domain::Image);
    vec![
        ("aupro_fg_published_0.3", tally.and_then(|t| t.published(object, FPR_LIMIT))),
        ("aupro_published_0.3", tally.and_then(|t| t.published(image, FPR_LIMIT))),
        ("aupro_fg_exact_0.3", tally.and_then(|t| t.exact(object, FPR_LIMIT))),
        ("aupro_exact_0.3", tally.and_then(|t| t.exact(image, FPR_LIMIT))),
        ("image_auroc", auroc(&good, &defective)),
        ("image_auroc_low", interval.map(|[low, _]| low)),
        ("image_auroc_high", interval.map(|[_, high]| high)),
        ("hit1", share(scans.iter().filter_map(|scan| scan.peak_on_defect))),
        ("pixel_auroc", tally.and_then(|t| t.auroc(image))),
        ("pixel_auroc_fg", tally.and_then(|t| t.auroc(object))),
    ]
}

fn share(flags: impl Iterator<Item = bool>) -> Option<f64> {
    let (hits, count) = flags.fold((0_u32, 0_u32), |(hits, count), flag| (hits + u32::from(flag), count + 1));
    (count > 0).then(|| f64::from(hits) / f64::from(count))
}

fn curves(scans: &[JudgedScan], tally: Option<&Counted>) -> Vec<(&'static str, Vec<[f64; 2]>)> {
    let overlap = |domain| tally.and_then(|t| t.curve(domain, FPR_LIMIT, CURVE_POINTS)).unwrap_or_default();
    vec![
        ("roc", roc(&scores(scans, false), &scores(scans, true))),
        ("pro", overlap(Domain::Image)),
        ("pro_fg", overlap(Domain::Object)),
    ]
}

/// The curve of all thresholds: false and true positive rate. Empty without both kinds.
fn roc(good: &[f32], defective: &[f32]) -> Vec<[f64; 2]> {
    if good.is_empty() || defective.is_empty() {
        return Vec::new();
    }
    let mut thresholds: Vec<f32> = good.iter().chain(defective).copied().collect();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let rate = |scores: &[f32], threshold: f32| share(scores.iter().map(|s| *s >= threshold)).unwrap_or(0.0);
    let point = |threshold: &f32| [rate(good, *threshold), rate(defective, *threshold)];
    std::iter::once([0.0, 0.0]).chain(thresholds.iter().map(point)).collect()
}

/// Times of a mode's stages.
#[derive(Debug, Clone, PartialEq)]
pub struct StageTimes {
    mode: Mode,
    scans: u32,
    /// Stage, sum and maximum in milliseconds, in the order they run.
    stages: Vec<(String, f32, f32)>,
}

impl StageTimes {
    /// No scans yet.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self { mode, scans: 0, stages: Vec::new() }
    }

    fn add(&mut self, stages_ms: &[(String, f32)]) {
        self.scans += 1;
        for (name, ms) in stages_ms {
            match self.stages.iter_mut().find(|(stage, ..)| stage == name) {
                Some((_, sum, most)) => {
                    *sum += ms;
                    *most = most.max(*ms);
                }
                None => self.stages.push((name.clone(), *ms, *ms)),
            }
        }
    }
}

/// Mean and maximum of every stage, and the most memory that the process had.
#[must_use]
pub fn timing_text(times: &[StageTimes]) -> String {
    let mut text = String::new();
    for StageTimes { mode, scans, stages } in times {
        let _ = writeln!(text, "mode {}, {scans} scans: milliseconds a scan, mean (longest)", mode.name());
        for (stage, sum, most) in stages {
            #[expect(clippy::cast_precision_loss, reason = "a count of scans")]
            let mean = sum / *scans as f32;
            let _ = writeln!(text, "  {stage:12} {mean:9.1} ({most:.1})");
        }
    }
    if let Some(memory) = peak_memory() {
        let _ = writeln!(text, "most memory: {memory}");
    }
    text
}

/// What Linux says of this process.
fn peak_memory() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = kilobytes.trim().trim_end_matches(" kB").parse().ok()?;
    Some(format!("{:.0} MB", kilobytes * 1024.0 / 1e6))
}

/// Time since the first call.
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roc_has_the_area_that_counting_pairs_gives() {
        let (good, defective) = ([1.0, 2.0, 2.0, 5.0], [2.0, 3.0, 9.0]);
        let points = roc(&good, &defective);
        let area: f64 = points.windows(2).map(|p| (p[1][0] - p[0][0]) * (p[0][1] + p[1][1]) / 2.0).sum();
        let expected = auroc(&good, &defective).expect("both kinds");
        assert!((area - expected).abs() < 1e-12, "{area} {expected}");
        assert_eq!(points.last(), Some(&[1.0, 1.0]));
        assert!(roc(&[], &defective).is_empty());
    }

    #[test]
    fn times_are_means_and_maxima_of_the_stages() {
        let mut times = StageTimes::new(Mode::Line);
        times.add(&[("rgb".into(), 10.0), ("total".into(), 30.0)]);
        times.add(&[("rgb".into(), 20.0), ("total".into(), 50.0)]);
        let text = timing_text(&[times]);
        assert!(text.contains("mode line, 2 scans") && text.contains("15.0 (20.0)"), "{text}");
        assert!(text.contains("40.0 (50.0)"), "{text}");
    }
}
