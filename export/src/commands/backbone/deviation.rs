//! How far the features of a quantised backbone are from those of the original.

use std::fmt::Write;

use ndarray::{Array2, ArrayD, ArrayView2, Axis, concatenate, s};
use serde::Serialize;
use zal::engine::{Engine, EngineError, EngineReport, Input};
use zal::features::PatchGrid;
use zal::features::rgb::{RgbStages, describe};
use zal::scan::ColorImage;

/// Most scans whose patches the held-out patches are compared with.
const REFERENCE_SCANS_MAX: usize = 4;

/// A frame's colour and its patches.
#[derive(Debug, Clone)]
pub struct Frame {
    /// 224 x 224.
    pub color: ColorImage,
    /// The patches on the part.
    pub grid: PatchGrid,
}

/// Difference of all that the backbone gives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deviation {
    /// Of the map at 1/8.
    pub stride8: OutputDeviation,
    /// Of the map at 1/16.
    pub stride16: OutputDeviation,
    /// Share of the held-out patches whose nearest patch of the calibration scans (by the map at 1/8, each
    /// graph compared with itself) is the same.
    pub same_nearest_share: f64,
}

/// Difference of one output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputDeviation {
    /// Norm of the difference over the norm of the original map, all held-out scans together.
    pub relative_l2: f64,
    /// Mean cosine between the pooled descriptors of a patch.
    pub cosine_mean: f64,
    /// The smallest of those cosines.
    pub cosine_min: f64,
}

impl Deviation {
    /// Three lines for people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = String::new();
        for (name, output) in [("stride8", &self.stride8), ("stride16", &self.stride16)] {
            // Writing into a string does not fail.
            let _ = writeln!(
                text,
                "    {name}: relative L2 {:.4}, cosine of the descriptors {:.5} (smallest {:.5})",
                output.relative_l2, output.cosine_mean, output.cosine_min
            );
        }
        text + &format!("    nearest patch the same for {:.1} %", 100.0 * self.same_nearest_share)
    }
}

/// Runs both graphs on the frames and compares.
///
/// # Errors
/// When a graph cannot be run.
pub fn compare(
    float: &mut dyn Engine,
    int8: &mut dyn Engine,
    fitted: &[Frame],
    held_out: &[Frame],
) -> Result<Deviation, EngineError> {
    let reference = &fitted[..fitted.len().min(REFERENCE_SCANS_MAX)];
    let [float_bank, int8_bank] = [Described::of(float, reference)?, Described::of(int8, reference)?];
    let [float, int8] = [Described::of(float, held_out)?, Described::of(int8, held_out)?];
    let nearest =
        [nearest(&float.stride8(), &float_bank.stride8()), nearest(&int8.stride8(), &int8_bank.stride8())];
    let same = nearest[0].iter().zip(&nearest[1]).filter(|(a, b)| a == b).count();
    Ok(Deviation {
        stride8: output_deviation(&float.maps[0], &int8.maps[0], &float.stride8(), &int8.stride8()),
        stride16: output_deviation(&float.maps[1], &int8.maps[1], &float.stride16(), &int8.stride16()),
        same_nearest_share: as_f64(same) / as_f64(nearest[0].len().max(1)),
    })
}

/// What one graph makes of some frames.
struct Described {
    /// The two outputs of every frame.
    maps: [Vec<ArrayD<f32>>; 2],
    /// Patch descriptors of all frames, both stages beside each other.
    rows: Array2<f32>,
    /// Columns of the first stage.
    stride8_dims: usize,
}

impl Described {
    fn of(engine: &mut dyn Engine, frames: &[Frame]) -> Result<Self, EngineError> {
        let mut recorder = Recorder { engine, maps: [Vec::new(), Vec::new()] };
        let mut rows = Vec::with_capacity(frames.len());
        for frame in frames {
            rows.push(describe(&mut recorder, &frame.color, &frame.grid, RgbStages::Both)?.rows);
        }
        let views: Vec<ArrayView2<'_, f32>> = rows.iter().map(|rows| rows.view()).collect();
        let rows = concatenate(Axis(0), &views).expect("all rows have the graph's channels");
        let stride8_dims = recorder.maps[0].first().map_or(0, |map| map.shape()[1]);
        Ok(Self { maps: recorder.maps, rows, stride8_dims })
    }

    fn stride8(&self) -> ArrayView2<'_, f32> {
        self.rows.slice(s![.., ..self.stride8_dims])
    }

    fn stride16(&self) -> ArrayView2<'_, f32> {
        self.rows.slice(s![.., self.stride8_dims..])
    }
}

/// An engine that keeps what it gave.
struct Recorder<'a> {
    engine: &'a mut dyn Engine,
    maps: [Vec<ArrayD<f32>>; 2],
}

impl Engine for Recorder<'_> {
    fn run(&mut self, inputs: &[Input<'_>]) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let outputs = self.engine.run(inputs)?;
        for (kept, output) in self.maps.iter_mut().zip(&outputs) {
            kept.push(output.clone());
        }
        Ok(outputs)
    }

    fn report(&self) -> &EngineReport {
        self.engine.report()
    }
}

fn output_deviation(
    expected: &[ArrayD<f32>],
    found: &[ArrayD<f32>],
    expected_rows: &ArrayView2<'_, f32>,
    found_rows: &ArrayView2<'_, f32>,
) -> OutputDeviation {
    let (mut apart, mut norm) = (0.0, 0.0);
    for (a, b) in expected.iter().flatten().zip(found.iter().flatten()) {
        apart += (f64::from(*a) - f64::from(*b)).powi(2);
        norm += f64::from(*a).powi(2);
    }
    let pairs = expected_rows.rows().into_iter().zip(found_rows.rows());
    let cosines: Vec<f64> = pairs
        .map(|(a, b)| {
            let dot = |x: ndarray::ArrayView1<'_, f32>, y: ndarray::ArrayView1<'_, f32>| {
                x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
            };
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
        })
        .collect();
    OutputDeviation {
        relative_l2: (apart / f64::max(norm, f64::MIN_POSITIVE)).sqrt(),
        cosine_mean: cosines.iter().sum::<f64>() / as_f64(cosines.len().max(1)),
        cosine_min: cosines.iter().copied().fold(1.0, f64::min),
    }
}

/// Row of `bank` nearest to each row of `queries`: the smallest |b|^2 - 2 q.b.
fn nearest(queries: &ArrayView2<'_, f32>, bank: &ArrayView2<'_, f32>) -> Vec<usize> {
    let norms: Vec<f32> = bank.rows().into_iter().map(|row| row.dot(&row)).collect();
    let products = queries.dot(&bank.t());
    products
        .rows()
        .into_iter()
        .map(|row| {
            let distance = |i: usize| norms[i] - 2.0 * row[i];
            (0..norms.len()).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or(0)
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of patches")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, array};

    use super::*;

    #[test]
    fn deviation_and_cosine_are_those_of_their_formulas() {
        let map = |values: [f32; 4]| vec![Array::from(values.to_vec()).into_dyn()];
        let (expected, found) = (map([3.0, 0.0, 4.0, 0.0]), map([3.0, 0.3, 4.0, 0.4]));
        let (a, b) = (array![[3.0_f32, 4.0], [1.0, 0.0]], array![[6.0_f32, 8.0], [1.0, 1.0]]);
        let deviation = output_deviation(&expected, &found, &a.view(), &b.view());
        assert!((deviation.relative_l2 - 0.1).abs() < 1e-7, "{deviation:?}");
        let half = std::f64::consts::FRAC_1_SQRT_2;
        assert!(
            (deviation.cosine_min - half).abs() < 1e-9
                && (deviation.cosine_mean - (1.0 + half) / 2.0).abs() < 1e-9
        );
    }

    #[test]
    fn the_nearest_row_is_found() {
        let bank = array![[0.0_f32, 0.0], [10.0, 0.0], [0.0, 5.0]];
        let queries = array![[9.0_f32, 1.0], [0.5, 0.2], [0.0, 3.0]];
        assert_eq!(nearest(&queries.view(), &bank.view()), [1, 0, 2]);
    }
}
