//! Patch descriptors: the 28 x 28 grid and the three branches on it.

pub mod describe;
pub mod fpfh;
pub mod fusion;
pub mod pointnet;
pub mod rgb;
pub mod turned;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::cloud::OrganizedCloud;
use crate::preprocess::FRAME_SIZE;

/// Patches along one side of the frame.
pub const GRID_SIZE: usize = 28;
/// Side of a patch in frame pixels.
pub const PATCH_SIZE: usize = FRAME_SIZE / GRID_SIZE;
/// A patch with fewer measured object points is invalid: no feature, no score.
pub const PATCH_POINTS_MIN: usize = 16;

/// One of the three descriptors of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branch {
    /// Frozen ImageNet ResNet on the colour image.
    Rgb,
    /// Fast point feature histograms.
    Fpfh,
    /// The learned PointNet++.
    Point,
}

impl Branch {
    /// Name in messages and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rgb => "rgb",
            Self::Fpfh => "fpfh",
            Self::Point => "point",
        }
    }
}

/// The valid patches of one frame, ascending by `row * GRID_SIZE + column`. All branches
/// describe exactly these patches, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchGrid {
    patches: Vec<u16>,
}

impl PatchGrid {
    /// Finds the patches with at least [`PATCH_POINTS_MIN`] measured points.
    ///
    /// # Panics
    /// When the cloud is not a frame (224 x 224).
    #[must_use]
    pub fn of(cloud: &OrganizedCloud) -> Self {
        assert_eq!((cloud.height(), cloud.width()), (FRAME_SIZE, FRAME_SIZE), "the cloud is a frame");
        let mut counts = [0_usize; GRID_SIZE * GRID_SIZE];
        for (index, valid) in cloud.valid().iter().enumerate() {
            counts[patch_of_pixel(index)] += usize::from(*valid);
        }
        let patches = (0_u16..).zip(counts).filter(|(_, n)| *n >= PATCH_POINTS_MIN).map(|(p, _)| p).collect();
        Self { patches }
    }

    /// A grid of the given patches, in ascending order: of kept descriptors, or some of a scan's own.
    ///
    /// # Panics
    /// When they are not ascending patches of the grid.
    #[must_use]
    pub fn from_patches(patches: Vec<u16>) -> Self {
        let last = patches.last().is_none_or(|last| usize::from(*last) < GRID_SIZE * GRID_SIZE);
        assert!(last && patches.is_sorted_by(|a, b| a < b), "ascending patches of the grid");
        Self { patches }
    }

    /// The valid patches, ascending.
    #[must_use]
    pub fn patches(&self) -> &[u16] {
        &self.patches
    }

    /// Number of valid patches.
    #[must_use]
    pub fn count(&self) -> usize {
        self.patches.len()
    }
}

/// The patch that a frame pixel (row-major index) belongs to.
#[must_use]
pub const fn patch_of_pixel(index: usize) -> usize {
    (index / FRAME_SIZE / PATCH_SIZE) * GRID_SIZE + (index % FRAME_SIZE) / PATCH_SIZE
}

/// Descriptors of one branch: row `i` describes patch `PatchGrid::patches()[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchFeatures {
    /// Which branch made them.
    pub branch: Branch,
    /// `[patches, dims]`.
    pub rows: Array2<f32>,
}
