//! [`OrganizedCloud`]: points on the image grid of the sensor, with one validity mask.
//!
//! Every reader ends here and every kernel starts here, so the rules about missing
//! measurements live in one place: a point that was not measured has `valid == false`
//! and is stored as the origin. This file knows no file formats and no units but metres.

use thiserror::Error;

/// Why points could not be made into an [`OrganizedCloud`].
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloudError {
    /// The number of points does not fill the grid.
    #[error("the cloud has {found} points, but a grid of {height} x {width} needs {}", height * width)]
    Size {
        /// Number of points given.
        found: usize,
        /// Rows of the grid.
        height: usize,
        /// Columns of the grid.
        width: usize,
    },
    /// The grid has no pixels.
    #[error("the grid is empty ({height} x {width})")]
    Empty {
        /// Rows of the grid.
        height: usize,
        /// Columns of the grid.
        width: usize,
    },
}

/// An organised point cloud: `height x width` points in metres, row-major, in the camera
/// frame (x right, y down, z away from the camera), and which of them were measured.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganizedCloud {
    height: usize,
    width: usize,
    points: Vec<[f32; 3]>,
    valid: Vec<bool>,
}

impl OrganizedCloud {
    /// Makes a cloud of `height * width` row-major points. A point with a non-finite
    /// coordinate, or exactly at the origin, counts as not measured.
    ///
    /// # Errors
    /// When the grid is empty or the number of points does not fill it.
    pub fn new(height: usize, width: usize, points: Vec<[f32; 3]>) -> Result<Self, CloudError> {
        let valid = points.iter().map(|p| is_measured(*p)).collect();
        Self::with_mask(height, width, points, valid)
    }

    /// As [`OrganizedCloud::new`], with a mask that removes further points.
    ///
    /// # Errors
    /// When the grid is empty or points or mask do not fill it.
    pub fn with_mask(
        height: usize,
        width: usize,
        mut points: Vec<[f32; 3]>,
        mut valid: Vec<bool>,
    ) -> Result<Self, CloudError> {
        if height == 0 || width == 0 {
            return Err(CloudError::Empty { height, width });
        }
        for found in [points.len(), valid.len()] {
            if found != height * width {
                return Err(CloudError::Size { found, height, width });
            }
        }
        for (point, keep) in points.iter_mut().zip(&mut valid) {
            *keep = *keep && is_measured(*point);
            if !*keep {
                *point = [0.0; 3];
            }
        }
        Ok(Self { height, width, points, valid })
    }

    /// Rows of the grid.
    #[must_use]
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Columns of the grid.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// All points, row-major `[height * width]`; the origin where nothing was measured.
    #[must_use]
    pub fn points(&self) -> &[[f32; 3]] {
        &self.points
    }

    /// Which points were measured, row-major `[height * width]`.
    #[must_use]
    pub fn valid(&self) -> &[bool] {
        &self.valid
    }

    /// Number of measured points.
    #[must_use]
    pub fn valid_count(&self) -> usize {
        self.valid.iter().filter(|v| **v).count()
    }

    /// Row-major pixel indices of the measured points, ascending: the order of the rows
    /// of every per-point result.
    #[must_use]
    pub fn valid_indices(&self) -> Vec<usize> {
        (0..self.valid.len()).filter(|&i| self.valid[i]).collect()
    }

    /// The same cloud without the points where `keep` is false (`[height * width]`).
    ///
    /// # Panics
    /// When `keep` does not fill the grid.
    #[must_use]
    pub fn masked(&self, keep: &[bool]) -> Self {
        assert_eq!(keep.len(), self.valid.len(), "the mask fills the grid");
        let valid: Vec<bool> = self.valid.iter().zip(keep).map(|(v, k)| *v && *k).collect();
        let points = self.points.iter().zip(&valid).map(|(p, v)| if *v { *p } else { [0.0; 3] }).collect();
        Self { height: self.height, width: self.width, points, valid }
    }
}

/// Whether a point is a measurement: finite, and not the origin that scanners write for
/// "nothing seen here".
fn is_measured(point: [f32; 3]) -> bool {
    point.iter().all(|c| c.is_finite()) && point.iter().any(|c| *c != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_points_become_one_mask() {
        let points = vec![[0.0; 3], [f32::NAN, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, f32::INFINITY, 1.0]];
        let cloud = OrganizedCloud::new(2, 2, points).expect("four points fill the grid");
        assert_eq!(cloud.valid_indices(), [2]);
        assert!(cloud.points()[1].iter().all(|c| c.to_bits() == 0));
    }

    #[test]
    fn a_wrong_number_of_points_is_refused() {
        let refused = OrganizedCloud::new(2, 3, vec![[1.0; 3]; 5]);
        assert_eq!(refused, Err(CloudError::Size { found: 5, height: 2, width: 3 }));
        assert_eq!(OrganizedCloud::new(0, 3, vec![]), Err(CloudError::Empty { height: 0, width: 3 }));
    }
}
