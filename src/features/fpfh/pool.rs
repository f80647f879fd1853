//! From descriptors of points to descriptors of patches.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::cloud::OrganizedCloud;
use crate::features::{Branch, GRID_SIZE, PATCH_SIZE, PatchFeatures, PatchGrid, patch_of_pixel};
use crate::preprocess::FRAME_SIZE;

/// What a pixel without a measurement adds to its patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingRule {
    /// Nothing: the mean over the measured points.
    #[default]
    Skip,
    /// A row of zeros: the sum over the measured points, divided by all 64 pixels (BTF).
    Zeros,
}

/// Averages the descriptors of points over the valid patches. `point_rows` is `[points, dims]` in
/// the order of [`OrganizedCloud::valid_indices`]; the result has a row per patch of
/// `grid`.
///
/// # Panics
/// When the cloud is not a frame (224 x 224) or the rows are not as many as its measured
/// points.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a patch has 64 pixels")]
pub fn pool_patches(
    cloud: &OrganizedCloud,
    grid: &PatchGrid,
    point_rows: &Array2<f32>,
    missing: MissingRule,
) -> PatchFeatures {
    assert_eq!((cloud.height(), cloud.width()), (FRAME_SIZE, FRAME_SIZE), "the cloud is a frame");
    let pixels = cloud.valid_indices();
    assert_eq!(pixels.len(), point_rows.nrows(), "one row per measured point");
    let mut row_of_patch = [None; GRID_SIZE * GRID_SIZE];
    for (row, patch) in grid.patches().iter().enumerate() {
        row_of_patch[usize::from(*patch)] = Some(row);
    }
    let mut rows = Array2::zeros((grid.count(), point_rows.ncols()));
    let mut counts = vec![0_usize; grid.count()];
    for (pixel, values) in pixels.into_iter().zip(point_rows.rows()) {
        let Some(row) = row_of_patch[patch_of_pixel(pixel)] else { continue };
        rows.row_mut(row).zip_mut_with(&values, |sum, value| *sum += value);
        counts[row] += 1;
    }
    for (mut row, measured) in rows.rows_mut().into_iter().zip(counts) {
        let pixels = if missing == MissingRule::Zeros { PATCH_SIZE * PATCH_SIZE } else { measured };
        row /= pixels.max(1) as f32;
    }
    PatchFeatures { branch: Branch::Fpfh, rows }
}
