//! The activation map A of a scan (METHOD section 5, step 1): where a residual network that never saw the
//! part, nor any part, is excited by its shape.
//!
//! The network sees the frame's coordinates as an image of three channels. They are centred at the mean of
//! the measured points and divided by one scale, the root of the mean squared coordinate: trained weights
//! expect about unit variance, and one stray point does not flatten the rest, as it would with the largest
//! coordinate. One scale for all axes, because proportions are what a shape is. A pixel without measurement
//! is 0, which is the middle of the part. Distance and position of the part in space therefore do not matter.
//!
//! tract runs the graph always: the same seed gives the same map wherever the same processor instructions
//! are at hand.

use std::path::Path;

use ndarray::{Array4, ArrayView2, Axis, Ix2};
use prost::Message;
use zal::cloud::OrganizedCloud;
use zal::engine::{Engine, EngineError, Input};
use zal::preprocess::{FRAME_SIZE, OBJECT_POINTS_MIN};

use crate::bank_build::embedded_engine;
use crate::graphs::attention::{ATTENTION, MAP_SIZE, attention_model};
use crate::graphs::resnet::{ANCHOR, ResnetArch, ResnetError, ResnetWeights};
use crate::weights::checkpoint::{Checkpoint, WeightError};
use crate::weights::seeded::SeededWeights;

/// A map whose range is smaller than this share of its largest value is constant.
pub const RANGE_SHARE_MIN: f32 = 1e-6;

/// Rounding of a 32-bit coordinate, as a share of the distance from the camera.
const RESOLUTION: f64 = 1e-6;

/// The network of the paper: resnet50, with random or with trained weights.
pub struct AttentionNet {
    engine: Box<dyn Engine>,
}

/// Why there is no activation map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttentionError {
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// The graph cannot be made.
    #[error(transparent)]
    Graph(#[from] ResnetError),
    /// The graph cannot be run.
    #[error("the network of the activation map cannot be run")]
    Engine(#[from] EngineError),
    /// Too little was measured.
    #[error("found {found} measured points in the frame, expected at least {expected}")]
    TooFewPoints {
        /// Measured points.
        found: usize,
        /// Points needed.
        expected: usize,
    },
    /// The network's numbers ran over.
    #[error(
        "the activation map holds {found} at row {row}, column {column} of 7 x 7, expected finite values"
    )]
    NotFinite {
        /// The value.
        found: f32,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// The map distinguishes no place from another.
    #[error(
        "the activation map is constant: found {min:e} to {max:e} over {count} measured pixels, expected a \
         range of at least {RANGE_SHARE_MIN:e} of the largest value"
    )]
    Constant {
        /// Smallest value on a measured pixel.
        min: f32,
        /// Largest value on a measured pixel.
        max: f32,
        /// Measured pixels.
        count: usize,
    },
}

impl AttentionNet {
    /// The untrained network: Kaiming weights of `seed`, every batch normalisation by the image's own
    /// statistics.
    ///
    /// # Errors
    /// When the engine does not take the graph.
    pub fn random(seed: u64) -> Result<Self, AttentionError> {
        Self::load(ResnetWeights::Seeded(SeededWeights::new(seed)))
    }

    /// A trained resnet50 of a checkpoint with torchvision's tensor names (.pth, .pt, .safetensors), its batch
    /// normalisation folded.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or is another network.
    pub fn from_checkpoint(path: &Path) -> Result<Self, AttentionError> {
        Self::load(ResnetWeights::Checkpoint(Checkpoint::open(path, ANCHOR)?))
    }

    fn load(weights: ResnetWeights) -> Result<Self, AttentionError> {
        let model = attention_model(ResnetArch::Resnet50, weights, Vec::new())?;
        let engine = zal::engine::load(&ATTENTION, &model.encode_to_vec(), &embedded_engine())?;
        Ok(Self { engine })
    }

    /// A on the frame: channel sum of |last stage| (7 x 7), bilinear to 224 x 224, row-major `[224 * 224]`.
    /// Pixels without measurement are 0; A itself is never negative.
    ///
    /// # Errors
    /// When too little was measured, the network fails, or the map is constant on the measured pixels.
    ///
    /// # Panics
    /// When the cloud is not a frame (224 x 224).
    pub fn activation(&mut self, cloud: &OrganizedCloud) -> Result<Vec<f32>, AttentionError> {
        let found = cloud.valid_count();
        if found < OBJECT_POINTS_MIN {
            return Err(AttentionError::TooFewPoints { found, expected: OBJECT_POINTS_MIN });
        }
        let image = input_image(cloud);
        let outputs = self.engine.run(&[Input::F32(image.view().into_dyn())])?;
        let map = outputs[0].index_axis(Axis(0), 0);
        let map = map.into_dimensionality::<Ix2>().expect("the contract gives the map three axes");
        finite(&map)?;
        let mut values = enlarge(&map);
        values
            .iter_mut()
            .zip(cloud.valid())
            .filter(|(_, valid)| !**valid)
            .for_each(|(value, _)| *value = 0.0);
        varied(&values, cloud.valid())?;
        Ok(values)
    }
}

impl std::fmt::Debug for AttentionNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttentionNet").field("engine", self.engine.report()).finish()
    }
}

/// How much of a part its activation map singles out.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Concentration {
    /// Smallest value on a measured pixel.
    pub min: f32,
    /// Largest value.
    pub max: f32,
    /// Row-major frame pixel of the largest value, the first one among equals.
    pub peak: usize,
    /// Share of the measured pixels above the middle of the range.
    pub upper_half_share: f32,
}

/// Sums up a map as [`AttentionNet::activation`] gives it; none when nothing was measured.
///
/// # Panics
/// When map and cloud differ in size.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "pixel counts of a frame")]
pub fn concentration(map: &[f32], cloud: &OrganizedCloud) -> Option<Concentration> {
    assert_eq!(map.len(), cloud.valid().len(), "one value a pixel");
    let measured = cloud.valid_indices();
    let first = *measured.first()?;
    let peak = measured.iter().fold(first, |best, &i| if map[i] > map[best] { i } else { best });
    let (min, max) = range(measured.iter().map(|&i| map[i]));
    let above = measured.iter().filter(|&&i| map[i] > 0.5 * (min + max)).count();
    Some(Concentration { min, max, peak, upper_half_share: above as f32 / measured.len() as f32 })
}

/// The frame's coordinates as image `[1, 3, 224, 224]`: centred, divided by one scale, 0 where nothing was
/// measured. Sums are taken in 64 bits.
#[expect(clippy::cast_precision_loss, reason = "pixel counts of a frame")]
#[expect(clippy::cast_possible_truncation, reason = "computed in 64 bits, rounded once")]
fn input_image(cloud: &OrganizedCloud) -> Array4<f32> {
    assert_eq!((cloud.height(), cloud.width()), (FRAME_SIZE, FRAME_SIZE), "the cloud is a frame");
    let measured = cloud.valid_indices();
    let count = measured.len().max(1) as f64;
    let mut mean = [0.0_f64; 3];
    for &index in &measured {
        mean.iter_mut().zip(cloud.points()[index]).for_each(|(sum, value)| *sum += f64::from(value) / count);
    }
    let centred = |index: usize, axis: usize| f64::from(cloud.points()[index][axis]) - mean[axis];
    let squares: f64 = measured.iter().flat_map(|&i| (0..3).map(move |axis| centred(i, axis).powi(2))).sum();
    let deviation = (squares / (3.0 * count)).sqrt();
    // Points that coincide to the precision of their coordinates have no shape: they become 0, and the map of
    // that is constant. Divided by the deviation, the rounding would become the shape.
    let distance = mean.iter().map(|m| m * m).sum::<f64>().sqrt();
    let inverse = if deviation > RESOLUTION * distance { 1.0 / deviation } else { 0.0 };
    Array4::from_shape_fn((1, 3, FRAME_SIZE, FRAME_SIZE), |(_, axis, row, column)| {
        let index = row * FRAME_SIZE + column;
        if cloud.valid()[index] { (centred(index, axis) * inverse) as f32 } else { 0.0 }
    })
}

fn finite(map: &ArrayView2<'_, f32>) -> Result<(), AttentionError> {
    match map.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &found)) => Err(AttentionError::NotFinite { found, row, column }),
        None => Ok(()),
    }
}

fn varied(values: &[f32], valid: &[bool]) -> Result<(), AttentionError> {
    let measured = values.iter().zip(valid).filter(|(_, valid)| **valid);
    let (min, max) = range(measured.clone().map(|(value, _)| *value));
    if max - min > RANGE_SHARE_MIN * max {
        return Ok(());
    }
    Err(AttentionError::Constant { min, max, count: measured.count() })
}

fn range(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), value| (min.min(value), max.max(value)))
}

/// Bilinear 7 x 7 to 224 x 224, pixel centres aligned, edges held (torch's `align_corners=False`).
fn enlarge(map: &ArrayView2<'_, f32>) -> Vec<f32> {
    let taps: Vec<(usize, usize, f32)> = (0..FRAME_SIZE).map(tap).collect();
    let along = |row: usize, &(left, right, share): &(usize, usize, f32)| {
        map[[row, left]] + share * (map[[row, right]] - map[[row, left]])
    };
    let pixel = |&(top, bottom, share): &(usize, usize, f32), column: &(usize, usize, f32)| {
        let (above, below) = (along(top, column), along(bottom, column));
        above + share * (below - above)
    };
    taps.iter().flat_map(|row| taps.iter().map(move |column| pixel(row, column))).collect()
}

/// The two cells around a frame pixel's centre and the share of the second.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "coordinates of a 224-pixel frame, clamped to be positive"
)]
fn tap(pixel: usize) -> (usize, usize, f32) {
    const CELL_PX: f32 = (FRAME_SIZE / MAP_SIZE) as f32;
    let position = ((pixel as f32 + 0.5) / CELL_PX - 0.5).clamp(0.0, (MAP_SIZE - 1) as f32);
    let first = position as usize;
    (first, (first + 1).min(MAP_SIZE - 1), position - first as f32)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn frame(point: impl Fn(usize, usize) -> [f32; 3]) -> OrganizedCloud {
        let points = (0..FRAME_SIZE * FRAME_SIZE).map(|i| point(i / FRAME_SIZE, i % FRAME_SIZE)).collect();
        OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, points).expect("the points fill the frame")
    }

    #[expect(clippy::cast_precision_loss, reason = "pixel coordinates")]
    fn slope(row: usize, column: usize) -> [f32; 3] {
        let inside = (50..150).contains(&row) && (60..190).contains(&column);
        if inside { [column as f32 * 1e-3, row as f32 * 1e-3, 0.5 + row as f32 * 5e-4] } else { [0.0; 3] }
    }

    #[test]
    fn the_image_has_mean_0_and_variance_1_over_the_measured_points() {
        let cloud = frame(slope);
        let image = input_image(&cloud);
        for axis in 0..3 {
            let sum: f64 = image.index_axis(Axis(1), axis).iter().map(|v| f64::from(*v)).sum();
            assert!((sum / 13_000.0).abs() < 1e-6, "axis {axis}: mean {}", sum / 13_000.0);
        }
        let squares: f64 = image.iter().map(|v| f64::from(*v).powi(2)).sum();
        assert!((squares / 39_000.0 - 1.0).abs() < 1e-6, "mean square {}", squares / 39_000.0);
        // One scale for all: a slope of one half stays a slope of one half.
        let step = |axis: usize| image[[0, axis, 101, 100]] - image[[0, axis, 100, 100]];
        assert!((step(2) / step(1) - 0.5).abs() < 1e-3);
        assert_eq!(image[[0, 2, 0, 0]].to_bits(), 0, "nothing was measured there");
    }

    #[test]
    fn enlarging_keeps_cell_centres_and_holds_the_edges() {
        let map = Array2::from_shape_fn((MAP_SIZE, MAP_SIZE), |(r, c)| f32::from(u8::from(r == 2 && c == 6)));
        let values = enlarge(&map.view());
        // The centre of cell 2 lies between pixels 79 and 80: each is half a pixel from it.
        let at = |row: usize, column: usize| values[row * FRAME_SIZE + column];
        let down = 1.0 - 0.5 / 32.0;
        assert!((at(79, 223) - down).abs() < 1e-6 && (at(80, 223) - down).abs() < 1e-6);
        assert!((at(79, 191) - down * 0.5 * (1.0 - 1.0 / 32.0)).abs() < 1e-6, "half way to the next cell");
        assert!(at(48, 223).abs() < 0.02 && at(112, 223).abs() < 1e-6 && at(79, 100).abs() < 1e-6);
    }

    #[test]
    fn a_constant_map_is_refused_with_what_was_found() {
        let mut valid = vec![true; 6];
        valid[5] = false;
        for (values, text) in [([0.0; 6], "found 0e0 to 0e0"), ([4.0; 6], "found 4e0 to 4e0")] {
            let error = varied(&values, &valid).expect_err("constant").to_string();
            assert!(error.contains(text) && error.contains("over 5 measured pixels"), "{error}");
        }
        assert!(
            varied(&[1.0, 1.0, 1.0, 1.0, 1.0, 9.0], &valid).is_err(),
            "what is not measured counts for nothing"
        );
        assert!(varied(&[1.0, 1.0, 1.0, 1.1, 1.0, 0.0], &valid).is_ok());
    }

    #[test]
    fn concentration_counts_measured_pixels_alone() {
        let cloud = OrganizedCloud::with_mask(1, 5, vec![[1.0; 3]; 5], vec![true, true, true, true, false])
            .expect("five points");
        let found = concentration(&[2.0, 6.0, 6.0, 3.0, 99.0], &cloud).expect("four points are measured");
        let expected = Concentration { min: 2.0, max: 6.0, peak: 1, upper_half_share: 0.5 };
        assert_eq!(found, expected);
        let nothing = cloud.masked(&[false; 5]);
        assert_eq!(concentration(&[0.0; 5], &nothing), None);
    }
}
