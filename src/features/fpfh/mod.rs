//! Fast point feature histograms (Rusu et al., ICRA 2009), native and exact.
//!
//! Normals from the 30 nearest points, descriptors from the 100 nearest, as BTF computes
//! them through Open3D, but with normals turned to the camera. A descriptor has 33 values:
//! blocks of 11 bins for the angle f1 and the cosines f2 and f3. Results do not depend on
//! the number of threads, nor on which of the neighbour searches found the neighbours.

mod histogram;
mod listed;
mod pair;
mod pool;
mod windowed;

use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cloud::OrganizedCloud;
use crate::neighbors::{NeighborList, PointTree, Reach};
use crate::normals::{Surface, estimate_unorganized};
use histogram::SpfhRow;

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
    let points = measured_points(cloud);
    let normals = estimate_unorganized(&points, params.reach_normals(), params.orientation);
    describe_listed(&points, &normals, params)
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
        return Ok(describe_listed(&measured_points(cloud), normals, params));
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
    let Some(normals) = normals else {
        let normals = estimate_unorganized(points, params.reach_normals(), params.orientation);
        return Ok(describe_listed(points, &normals, params));
    };
    check_normals(normals, points.len())?;
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

fn describe_listed(points: &[[f32; 3]], normals: &[[f32; 3]], params: &FpfhParams) -> Array2<f32> {
    let tree = PointTree::new(points);
    let reach = params.reach();
    let find_spfh = |list: &mut NeighborList, index: usize| {
        tree.neighbors(index, reach, list);
        listed::spfh(points, normals, index, &list.indices, params.rule)
    };
    let spfhs: Vec<SpfhRow> =
        (0..points.len()).into_par_iter().map_init(NeighborList::default, find_spfh).collect();
    let mut rows = Array2::zeros((points.len(), FPFH_DIMS));
    let flat = rows.as_slice_mut().expect("a new array is contiguous");
    flat.par_chunks_exact_mut(FPFH_DIMS).enumerate().for_each_init(
        NeighborList::default,
        |list, (index, out)| {
            tree.neighbors(index, reach, list);
            let neighbors =
                list.indices.iter().map(|i| &spfhs[*i as usize]).zip(list.distances_sq.iter().copied());
            listed::fpfh(neighbors, &spfhs[index], params.rule, out);
        },
    );
    rows
}
