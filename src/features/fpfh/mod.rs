//! Fast point feature histograms (Rusu et al., ICRA 2009), native and exact.
//!
//! Normals from the 30 nearest points, descriptors from the 100 nearest, as BTF computes
//! them through Open3D, but with normals turned to the camera. A descriptor has 33 values:
//! blocks of 11 bins for the angle f1 and the cosines f2 and f3. Results do not depend on
//! the number of threads, nor on which of the neighbour searches found the neighbours.

mod clustered;
mod histogram;
mod lanes;
mod listed;
mod pair;
mod pool;
mod windowed;

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cloud::OrganizedCloud;
use crate::neighbors::Reach;
use crate::normals::{Neighborhoods, Surface, estimate_unorganized};
use histogram::SpfhRow;
use listed::Leftover;

pub use crate::normals::Orientation;
pub use histogram::{FPFH_DIMS, FinishingRule};
pub use pair::BINS;
pub use pool::{MissingRule, pool_patches};

/// Settings of the descriptors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FpfhParams {
    /// Nearest points for a normal, the point itself included.
    pub k_normals: usize,
    /// Nearest points for a descriptor, the point itself included.
    pub k: usize,
    /// Take the points within this radius for the normals, instead of the nearest.
    pub radius_normals_m: Option<f32>,
    /// Take the points within this radius for the descriptors, instead of the nearest.
    pub radius_m: Option<f32>,
    /// What becomes of the neighbours' weighted sum.
    pub rule: FinishingRule,
    /// Which of its two directions a normal points to.
    pub orientation: Orientation,
}

impl Default for FpfhParams {
    fn default() -> Self {
        Self {
            k_normals: 30,
            k: 100,
            radius_normals_m: None,
            radius_m: None,
            rule: FinishingRule::Open3d,
            orientation: Orientation::Camera,
        }
    }
}

impl FpfhParams {
    /// Which points make a normal.
    #[must_use]
    pub const fn reach_normals(&self) -> Reach {
        Reach::of(self.k_normals, self.radius_normals_m)
    }

    /// Which points make a descriptor.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        Reach::of(self.k, self.radius_m)
    }
}

/// Why a cloud without a grid cannot be described.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum FpfhError {
    /// A coordinate of a point is NaN or infinite.
    #[error("point {index} is {found:?}, expected finite coordinates; remove missing points first")]
    PointNotFinite {
        /// Index of the point.
        index: usize,
        /// Its coordinates.
        found: [f32; 3],
    },
    /// The number of normals is not that of the points.
    #[error("{found} normals are given for {expected} points")]
    NormalCount {
        /// Normals given.
        found: usize,
        /// Points given.
        expected: usize,
    },
    /// A normal is not a unit vector.
    #[error("normal {index} has length {found}, expected 1 (within 0.01)")]
    NormalLength {
        /// Index of the normal.
        index: usize,
        /// Its length.
        found: f32,
    },
}

/// Describes the measured points of an organised cloud: `[n, 33]`, rows in the order of
/// [`OrganizedCloud::valid_indices`].
#[must_use]
pub fn describe_points(cloud: &OrganizedCloud, params: &FpfhParams) -> Array2<f32> {
    let normals = (params.reach_normals(), params.orientation);
    if let Some(surface) = Surface::search(cloud, Some(normals), params.reach()) {
        return windowed::describe(&surface, params);
    }
    describe_listed(&measured_points(cloud), None, params)
}

/// As [`describe_points`], with given normals, taken as they are, in the order of
/// [`OrganizedCloud::valid_indices`].
///
/// # Errors
/// When the normals are not as many unit vectors as there are measured points.
pub fn describe_points_with_normals(
    cloud: &OrganizedCloud,
    normals: &[[f32; 3]],
    params: &FpfhParams,
) -> Result<Array2<f32>, FpfhError> {
    check_normals(normals, cloud.valid_count())?;
    let Some(mut surface) = Surface::search(cloud, None, params.reach()) else {
        return Ok(describe_listed(&measured_points(cloud), Some(normals), params));
    };
    surface.replace_normals(normals);
    Ok(windowed::describe(&surface, params))
}

fn measured_points(cloud: &OrganizedCloud) -> Vec<[f32; 3]> {
    cloud.valid_indices().into_iter().map(|i| cloud.points()[i]).collect()
}

/// Describes points without a grid: `[n, 33]` in the order of the points. Normals are
/// estimated when none are given; given ones are taken as they are.
///
/// # Errors
/// When a point is not finite, or the normals are not as many unit vectors as there are
/// points.
pub fn describe_unorganized(
    points: &[[f32; 3]],
    normals: Option<&[[f32; 3]]>,
    params: &FpfhParams,
) -> Result<Array2<f32>, FpfhError> {
    if let Some(index) = points.iter().position(|p| p.iter().any(|c| !c.is_finite())) {
        return Err(FpfhError::PointNotFinite { index, found: points[index] });
    }
    if let Some(normals) = normals {
        check_normals(normals, points.len())?;
    }
    Ok(describe_listed(points, normals, params))
}

fn check_normals(normals: &[[f32; 3]], expected: usize) -> Result<(), FpfhError> {
    if normals.len() != expected {
        return Err(FpfhError::NormalCount { found: normals.len(), expected });
    }
    for (index, n) in normals.iter().enumerate() {
        let found = (n[0] * n[0] + n[1] * n[1] + n[2] * n[2]).sqrt();
        if !(found - 1.0).abs().le(&0.01) {
            return Err(FpfhError::NormalLength { index, found });
        }
    }
    Ok(())
}

/// Describes points, with given normals or estimated ones.
fn describe_listed(points: &[[f32; 3]], normals: Option<&[[f32; 3]]>, params: &FpfhParams) -> Array2<f32> {
    let (reach, rule) = (params.reach(), params.rule);
    let wanted = normals.is_none().then(|| (params.reach_normals(), params.orientation));
    if let Some((neighborhoods, estimated)) = Neighborhoods::search(points, wanted, reach) {
        return clustered::describe(points, normals.unwrap_or(&estimated), &neighborhoods, reach, rule);
    }
    let estimated = wanted.map(|(reach, orientation)| estimate_unorganized(points, reach, orientation));
    let normals = normals.or(estimated.as_deref()).unwrap_or_default();
    let all: Vec<usize> = (0..points.len()).collect();
    let leftover = Leftover::new(points, &all, reach);
    let spfhs: Vec<SpfhRow> = leftover.spfhs(normals, rule).into_iter().map(|(_, row)| row).collect();
    let rows = leftover.fpfhs(|index| &spfhs[index], rule).into_iter().flat_map(|(_, row)| row).collect();
    Array2::from_shape_vec((points.len(), FPFH_DIMS), rows).expect("every point has a row")
}
