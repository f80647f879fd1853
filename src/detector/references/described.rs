//! [`DescribedScan`] and [`Candidate`]: what a scan brings along when it may become a reference.

use half::f16;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::features::{Branch, PatchFeatures, PatchGrid, patch_of_pixel};
use crate::preprocess::PreparedScan;

/// The frame of one scan, described.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedScan {
    /// The valid patches.
    pub patches: Vec<u16>,
    /// Their descriptors, in the order of the settings' branches.
    pub features: Vec<PatchFeatures>,
    /// Their logits, when the settings need the normalcy classifier.
    pub logits: Option<Vec<f32>>,
}

/// Colour rows of a scan's frame turned about its centre.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnedRows {
    /// The patch of the frame as it was that each row shows.
    pub patches: Vec<u16>,
    /// `[patches, dims]`.
    pub rows: Array2<f32>,
}

/// How a scan was taken, apart from what it shows: what drifts with lamp, lens and fixture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanFacts {
    /// Mean brightness of the object's pixels, 0 to 255; none without colour.
    pub brightness: Option<f32>,
    /// Share of the pixels of its patches that were not measured.
    pub missing_share: f32,
    /// Mean distance of the object from the sensor, metres.
    pub distance_m: f32,
}

/// A scan that may become a reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its name, unique in a set.
    pub name: String,
    /// Its patches.
    pub described: DescribedScan,
    /// Its colour from other sides; anchors have it.
    pub turned: Vec<TurnedRows>,
    /// How it was taken.
    pub facts: ScanFacts,
}

impl Candidate {
    /// Rounds the descriptors to what a file keeps of them (binary16), so that a set gives the same
    /// scores before and after it was read back. The place of a value that does not fit, if there is one.
    #[must_use]
    pub fn round(&mut self) -> Option<(Branch, f32)> {
        let mut misfit = None;
        let mut round = |branch: Branch, rows: &mut Array2<f32>| {
            rows.mapv_inplace(|value| {
                let rounded = f16::from_f32(value);
                if !rounded.is_finite() {
                    misfit = Some((branch, value));
                }
                rounded.to_f32()
            });
        };
        for part in &mut self.described.features {
            round(part.branch, &mut part.rows);
        }
        for turned in &mut self.turned {
            round(Branch::Rgb, &mut turned.rows);
        }
        misfit
    }
}

impl ScanFacts {
    /// Facts of a prepared scan over its valid patches.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "pixels of a frame")]
    pub fn of(prepared: &PreparedScan, grid: &PatchGrid) -> Self {
        let cloud = &prepared.cloud;
        let within = |index: &usize| {
            let patch = u16::try_from(patch_of_pixel(*index)).unwrap_or(u16::MAX);
            grid.patches().binary_search(&patch).is_ok()
        };
        let pixels: Vec<usize> = (0..cloud.valid().len()).filter(within).collect();
        let measured: Vec<usize> = pixels.iter().copied().filter(|index| cloud.valid()[*index]).collect();
        let mean = |value: &dyn Fn(usize) -> f64| {
            let sum: f64 = measured.iter().map(|index| value(*index)).sum();
            (sum / measured.len().max(1) as f64) as f32
        };
        let luma = |[r, g, b]: [u8; 3]| 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
        Self {
            brightness: prepared.color.as_ref().map(|color| mean(&|index| luma(color.pixels[index]))),
            missing_share: 1.0 - measured.len() as f32 / pixels.len().max(1) as f32,
            distance_m: mean(&|index| f64::from(cloud.points()[index][2])),
        }
    }
}
