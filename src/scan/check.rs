//! The intake checks: is this the scan that the profile promises?
//!
//! Each check answers from robust figures (medians, quantiles, regressions over a sample),
//! because a few wild points are normal. Where a check is in doubt it stays silent: a scan
//! refused without cause stops a line.

use super::error::{Details, ScanError};
use super::finding::Finding;
use super::place::{Placed, PointState};
use super::profile::{LengthUnit, SensorProfile};

/// Points looked at by a check: enough for a median, and a constant time.
const SAMPLE_MAX: usize = 1 << 14;
/// Fewer points prove nothing about rows and columns.
const TREND_POINTS_MIN: usize = 64;
/// Fewer pairs prove nothing about steps: a whole scan of 32 x 32 has steps of 3 % of its size.
const STEP_PAIRS_MIN: usize = 900;
/// How much steeper a coordinate must run the wrong way to be called swapped.
const SWAP_FACTOR: f64 = 3.0;
/// How much longer steps must be down the columns than along the rows to be called scrambled.
const SCRAMBLE_FACTOR: f32 = 16.0;
/// Steps beyond this share of the scan's size are no neighbours.
const STEP_SHARE_MAX: f32 = 0.1;
/// A larger share of missing points is worth a warning: a third to a half is usual.
const INVALID_SHARE_USUAL: f64 = 0.6;

/// Why the points cannot be what the profile promises, the gravest first.
pub(crate) fn refusals(details: &Facts) -> Vec<ScanError> {
    let mut found = Vec::new();
    found.extend(measured_at_all(details));
    found.extend(range(details));
    if found.is_empty() {
        found.extend(size(details));
        found.extend(rows_and_columns(details));
    }
    found
}

/// What a check looks at.
pub(crate) struct Facts<'a> {
    pub(crate) path: &'a std::path::Path,
    pub(crate) profile: &'a SensorProfile,
    pub(crate) placed: &'a Placed,
    pub(crate) grid: Option<(usize, usize)>,
}

impl Facts<'_> {
    fn details(&self, found: impl Into<String>, expected: impl Into<String>) -> Details {
        Details::new(self.path, found, expected)
    }
}

fn measured_at_all(facts: &Facts) -> Option<ScanError> {
    if facts.placed.measured().next().is_some() {
        return None;
    }
    let missing = facts.placed.missing();
    let found = format!(
        "{} points, all missing ({} NaN, {} infinite, {} zero, {} sentinel)",
        facts.placed.points.len(),
        missing.nan,
        missing.infinite,
        missing.zero,
        missing.sentinel
    );
    Some(ScanError::NothingMeasured(facts.details(found, "at least one measured point")))
}

/// The depths must lie in the profile's range; if not, say whether it is the unit or the sign.
fn range(facts: &Facts) -> Option<ScanError> {
    let extent = facts.profile.extent;
    let within = |z: f32| (extent.z_min_m..=extent.z_max_m).contains(&z);
    let depth = median(sample(facts.placed.measured().map(|p| p[2])))?;
    if within(depth) && facts.placed.valid().next().is_some() {
        return None;
    }
    let expected = format!("depths from {} to {} m", extent.z_min_m, extent.z_max_m);
    let unit = facts.profile.unit;
    let written = depth * unit.per_metre();
    let other = match unit {
        LengthUnit::Metre => LengthUnit::Millimetre,
        LengthUnit::Millimetre => LengthUnit::Metre,
    };
    let stated = format!("a median depth of {written} {} as the profile says", unit.plural());
    let in_other = written / other.per_metre();
    if within(in_other.abs()) {
        let sign = if in_other < 0.0 { ", behind the camera" } else { "" };
        let found = format!("{stated}; it would be plausible in {}{sign}", other.plural());
        return Some(ScanError::Unit(facts.details(found, expected)));
    }
    if within(-depth) {
        return Some(ScanError::BehindCamera(facts.details(stated, expected)));
    }
    Some(ScanError::OutOfRange(facts.details(stated, expected)))
}

/// The scan's size across the view must be plausible.
fn size(facts: &Facts) -> Option<ScanError> {
    let extent = facts.profile.extent;
    let size_m = lateral_size(facts.placed)?;
    if (extent.size_min_m..=extent.size_max_m).contains(&size_m) {
        return None;
    }
    let found = format!("a scan of {size_m} m across");
    let expected = format!("{} to {} m", extent.size_min_m, extent.size_max_m);
    Some(ScanError::OutOfRange(facts.details(found, expected)))
}

/// The larger of the x and y ranges between the 1 % and 99 % quantiles, metres.
fn lateral_size(placed: &Placed) -> Option<f32> {
    let range = |axis: usize| {
        let mut values = sample(placed.valid().map(|p| p[axis]));
        values.sort_by(f32::total_cmp);
        let (low, high) = (values.len() / 100, values.len() - 1 - values.len() / 100);
        values[high] - values[low]
    };
    placed.valid().next().is_some().then(|| range(0).max(range(1)))
}

/// x must run along the columns, y down the rows, and neighbours must be near each other.
fn rows_and_columns(facts: &Facts) -> Option<ScanError> {
    let (height, width) = facts.grid?;
    let expected = "x to grow along the columns and y down the rows";
    let trend = Trend::of(facts.placed, height, width)?;
    if trend.swapped() {
        let found = "x growing down the rows and y along the columns";
        return Some(ScanError::Swapped(facts.details(found, expected)));
    }
    let size_m = lateral_size(facts.placed)?;
    let along = median_step(facts.placed, height, width, (0, 1))?;
    let down = median_step(facts.placed, height, width, (1, 0))?;
    let far = size_m * STEP_SHARE_MAX;
    if down[0] > far && down[0] > SCRAMBLE_FACTOR * along[0] {
        let found = format!(
            "x jumping by {} m from row to row, as if {height} x {width} were {width} x {height}",
            down[0]
        );
        return Some(ScanError::Swapped(facts.details(found, expected)));
    }
    let long = |step: [f32; 2]| step[0].max(step[1]) > far;
    if long(along) && long(down) {
        let found = format!("neighbouring pixels {} m apart in a scan of {size_m} m", along[0].max(along[1]));
        return Some(ScanError::NotOrganized(
            facts.details(found, "neighbouring pixels to be near each other"),
        ));
    }
    None
}

/// Slopes of x and y over columns and rows, by least squares.
#[derive(Debug, Clone, Copy)]
struct Trend {
    /// `[coordinate][0 = per column, 1 = per row]`.
    slope: [[f64; 2]; 2],
}

impl Trend {
    /// `None` when the points are too few or on a line.
    #[expect(clippy::cast_precision_loss, reason = "pixel indices are far below 2^52")]
    fn of(placed: &Placed, height: usize, width: usize) -> Option<Self> {
        let skip = (height * width).div_ceil(SAMPLE_MAX).max(1);
        let rows: Vec<[f64; 4]> = (0..height * width)
            .step_by(skip)
            .filter_map(|i| placed.at(i).map(|p| (i, p)))
            .map(|(i, p)| [(i % width) as f64, (i / width) as f64, f64::from(p[0]), f64::from(p[1])])
            .collect();
        if rows.len() < TREND_POINTS_MIN {
            return None;
        }
        let mean: [f64; 4] =
            std::array::from_fn(|k| rows.iter().map(|r| r[k]).sum::<f64>() / rows.len() as f64);
        let cov = |a: usize, b: usize| rows.iter().map(|r| (r[a] - mean[a]) * (r[b] - mean[b])).sum::<f64>();
        let (cc, rr, cr) = (cov(0, 0), cov(1, 1), cov(0, 1));
        let det = cc * rr - cr * cr;
        if det <= 1e-9 * cc * rr {
            return None;
        }
        let fit = |k: usize| {
            let (ck, rk) = (cov(0, k), cov(1, k));
            [(ck * rr - rk * cr) / det, (rk * cc - ck * cr) / det]
        };
        Some(Self { slope: [fit(2), fit(3)] })
    }

    fn swapped(self) -> bool {
        let [x, y] = self.slope;
        x[1].abs() > SWAP_FACTOR * x[0].abs() && y[0].abs() > SWAP_FACTOR * y[1].abs()
    }
}

/// Median distance in x and in y between a pixel and the one `(rows, columns)` further.
fn median_step(placed: &Placed, height: usize, width: usize, step: (usize, usize)) -> Option<[f32; 2]> {
    let skip = (height * width).div_ceil(SAMPLE_MAX).max(1);
    let pairs: Vec<[f32; 2]> = (0..height * width)
        .step_by(skip)
        .filter(|i| i / width + step.0 < height && i % width + step.1 < width)
        .filter_map(|i| placed.at(i).zip(placed.at(i + step.0 * width + step.1)))
        .map(|(a, b)| [(a[0] - b[0]).abs(), (a[1] - b[1]).abs()])
        .collect();
    if pairs.len() < STEP_PAIRS_MIN {
        return None;
    }
    let of = |k: usize| median(pairs.iter().map(|p| p[k]).collect()).unwrap_or(0.0);
    Some([of(0), of(1)])
}

/// What is worth knowing about points that are used.
pub(crate) fn warnings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(many_invalid(facts));
    let missing = facts.placed.missing();
    if missing.infinite > 0 {
        let text = format!("{} points with an infinite coordinate", missing.infinite);
        found.push(Finding::warning(
            "infinite_values",
            text,
            "NaN or (0, 0, 0) for missing points",
            "they count as missing",
        ));
    }
    if missing.out_of_range > 0 && facts.placed.valid().next().is_some() {
        let extent = facts.profile.extent;
        let text = format!(
            "{} points outside {} to {} m depth",
            missing.out_of_range, extent.z_min_m, extent.z_max_m
        );
        let advice = "they count as missing; check the profile's extent and sentinel";
        found.push(Finding::warning("points_out_of_range", text, "none", advice));
    }
    found.extend(facts.grid.and_then(|(height, width)| flipped(Trend::of(facts.placed, height, width)?)));
    found
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
fn many_invalid(facts: &Facts) -> Option<Finding> {
    let (all, valid) = (facts.placed.states.len(), facts.placed.count(PointState::Valid));
    let share = 1.0 - valid as f64 / all.max(1) as f64;
    if share <= INVALID_SHARE_USUAL {
        return None;
    }
    let text = format!("{:.1} % of the points invalid", 100.0 * share);
    let advice = "check exposure, working distance, and whether the part fills the view";
    Some(Finding::warning("many_invalid", text, "a third to a half is usual", advice))
}

fn flipped(trend: Trend) -> Option<Finding> {
    let text = match (trend.slope[0][0] < 0.0, trend.slope[1][1] < 0.0) {
        (false, false) => return None,
        (true, false) => "x shrinking along the columns (a mirrored image)",
        (false, true) => "y shrinking down the rows (y points up)",
        (true, true) => "x and y shrinking (the image stands on its head)",
    };
    let advice = "state the sensor's axes in the profile; mirrored scans of one sensor stay comparable with each other";
    Some(Finding::warning("axes_flipped", text.into(), "x to the right and y down", advice))
}

/// At most [`SAMPLE_MAX`] evenly spaced values.
fn sample(values: impl Iterator<Item = f32> + Clone) -> Vec<f32> {
    let skip = values.clone().count().div_ceil(SAMPLE_MAX).max(1);
    values.step_by(skip).collect()
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}
