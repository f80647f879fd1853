//! [`Describer`]: the three branches over one frame, with the engines they need.
//!
//! The daemon judges with it and `zal-export` fills the bank with it, so both see the same
//! descriptors.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::fpfh::{self, FpfhParams, MissingRule};
use super::pointnet::PatchParams;
use super::rgb::{self, RgbParams};
use super::{Branch, PatchFeatures, PatchGrid, pointnet};
use crate::engine::{Engine, EngineError, EngineReport};
use crate::preprocess::PreparedScan;

/// Settings of all branches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeParams {
    /// Branches to compute, in the order of the bank's blocks.
    pub branches: Vec<Branch>,
    /// Maps of the colour backbone and their pooling.
    pub rgb: RgbParams,
    /// Normals and FPFH.
    pub fpfh: FpfhParams,
    /// What missing pixels contribute to a patch's mean FPFH.
    pub fpfh_missing: MissingRule,
    /// Which points a patch of the point branch, and of the normalcy classifier, takes. Bundles
    /// older than the setting do not name it, and take a cell's own pixels.
    #[serde(default)]
    pub patch: PatchParams,
}

/// Why a frame cannot be described; each is a reason for `not_decidable`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// The colour branch has no colour.
    #[error(
        "the scan has no colour image, and this bundle's rgb branch needs one; \
         check the camera, or use a bundle made without the rgb branch"
    )]
    NoColor,
    /// A branch has no graph.
    #[error("the {branch:?} branch needs a graph that the bundle does not hold")]
    NoGraph {
        /// Which branch.
        branch: Branch,
    },
    /// A graph failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The graphs that were loaded.
#[derive(Default)]
pub struct Graphs {
    /// The colour backbone.
    pub rgb: Option<Box<dyn Engine>>,
    /// The PointNet++ descriptor.
    pub pointnet: Option<Box<dyn Engine>>,
    /// The normalcy classifier.
    pub normalcy: Option<Box<dyn Engine>>,
}

/// Settings and engines of the branches; `&mut` while describing, because the engines are.
pub struct Describer {
    params: DescribeParams,
    graphs: Graphs,
}

impl Describer {
    /// Takes settings and graphs.
    ///
    /// # Errors
    /// When a branch lacks its graph.
    pub fn new(params: DescribeParams, graphs: Graphs) -> Result<Self, DescribeError> {
        for branch in &params.branches {
            let present = match branch {
                Branch::Rgb => graphs.rgb.is_some(),
                Branch::Point => graphs.pointnet.is_some(),
                Branch::Fpfh => true,
            };
            if !present {
                return Err(DescribeError::NoGraph { branch: *branch });
            }
        }
        Ok(Self { params, graphs })
    }

    /// The settings.
    #[must_use]
    pub const fn params(&self) -> &DescribeParams {
        &self.params
    }

    /// What runs each loaded graph.
    pub fn reports(&self) -> impl Iterator<Item = &EngineReport> {
        let graphs = [&self.graphs.rgb, &self.graphs.pointnet, &self.graphs.normalcy];
        graphs.into_iter().flatten().map(|engine| engine.report())
    }

    /// Describes the valid patches by one branch: rows in the grid's order.
    ///
    /// # Errors
    /// When the branch lacks its colour or graph, or the graph fails.
    pub fn describe(
        &mut self,
        branch: Branch,
        prepared: &PreparedScan,
        grid: &PatchGrid,
    ) -> Result<PatchFeatures, DescribeError> {
        match branch {
            Branch::Rgb => {
                let color = prepared.color.as_ref().ok_or(DescribeError::NoColor)?;
                let engine = self.graphs.rgb.as_mut().ok_or(DescribeError::NoGraph { branch })?;
                Ok(rgb::describe_with(engine.as_mut(), color, grid, &self.params.rgb)?)
            }
            Branch::Fpfh => {
                let rows = fpfh::describe_points(&prepared.cloud, &self.params.fpfh);
                Ok(fpfh::pool_patches(&prepared.cloud, grid, &rows, self.params.fpfh_missing))
            }
            Branch::Point => {
                let engine = self.graphs.pointnet.as_mut().ok_or(DescribeError::NoGraph { branch })?;
                let points = pointnet::patches(&prepared.cloud, grid, prepared.pitch_m, &self.params.patch);
                Ok(pointnet::describe(engine.as_mut(), &points)?)
            }
        }
    }

    /// Logits of the normalcy classifier on the valid patches, perturbation inside.
    ///
    /// # Errors
    /// When there is no classifier or it fails.
    pub fn normalcy(&mut self, prepared: &PreparedScan, grid: &PatchGrid) -> Result<Vec<f32>, DescribeError> {
        let engine = self.graphs.normalcy.as_mut().ok_or(DescribeError::NoGraph { branch: Branch::Point })?;
        let points = pointnet::patches(&prepared.cloud, grid, prepared.pitch_m, &self.params.patch);
        Ok(pointnet::normalcy(engine.as_mut(), &points)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::pointnet::Extraction;
    use crate::features::rgb::{RgbPooling, RgbStages};

    #[test]
    fn settings_of_older_bundles_are_read_and_mean_a_cells_own_pixels() {
        let patch = PatchParams { extraction: Extraction::Nearest, stride_px: 2 };
        let params = DescribeParams {
            branches: vec![Branch::Fpfh, Branch::Point],
            rgb: RgbParams { stages: RgbStages::Stride8, pooling: RgbPooling::InPlace },
            fpfh: FpfhParams::default(),
            fpfh_missing: MissingRule::Skip,
            patch,
        };
        let mut json = serde_json::to_value(&params).expect("written");
        assert_eq!(serde_json::from_value::<DescribeParams>(json.clone()).expect("read"), params);
        let removed = json.as_object_mut().expect("an object").remove("patch");
        assert!(removed.is_some(), "bundles made today name the setting");
        let older = serde_json::from_value::<DescribeParams>(json).expect("an older bundle is read");
        assert_eq!(older, DescribeParams { patch: PatchParams::default(), ..params });
    }
}
