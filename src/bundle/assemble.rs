//! From a checked bundle to a [`Detector`].

use super::{Bundle, BundleError, FileRole, ModeSection};
use crate::bank::{MemoryBank, file};
use crate::contract::{GraphContract, NORMALCY, POINTNET, RGB};
use crate::detector::{Detector, Mode};
use crate::engine::{self, Engine, EngineOptions};
use crate::features::Branch;
use crate::features::describe::{Describer, Graphs};

/// Loads the graphs and the bank of one mode.
///
/// # Errors
/// When the bundle lacks the mode, or a part does not meet its contract.
pub fn detector(bundle: &Bundle, mode: Mode, options: &EngineOptions) -> Result<Detector, BundleError> {
    let section = section(bundle, mode)?;
    let branches = &section.params.describe.branches;
    let graphs = Graphs {
        rgb: graph(bundle, FileRole::Rgb, branches.contains(&Branch::Rgb), &RGB, options)?,
        pointnet: graph(bundle, FileRole::Pointnet, branches.contains(&Branch::Point), &POINTNET, options)?,
        normalcy: graph(bundle, FileRole::Normalcy, section.params.needs_normalcy(), &NORMALCY, options)?,
    };
    let describer = Describer::new(section.params.describe.clone(), graphs)
        .map_err(crate::detector::DetectorError::from)?;
    let bank = bank(bundle, &section.bank)?;
    Ok(Detector::new(mode, section.params.clone(), describer, bank)?)
}

/// What the bundle holds of a mode.
fn section(bundle: &Bundle, mode: Mode) -> Result<&ModeSection, BundleError> {
    bundle.manifest().mode(mode).ok_or_else(|| {
        let present: Vec<&str> = bundle.manifest().modes.iter().map(|m| m.mode.name()).collect();
        BundleError::Mode { bundle: bundle.name(), asked: mode.name().into(), present: present.join(", ") }
    })
}

/// Columns of every branch.
///
/// # Errors
/// When the bundle lacks the mode, or its bank is refused.
pub fn branch_dims(bundle: &Bundle, mode: Mode) -> Result<Vec<(Branch, usize)>, BundleError> {
    let bank = bank(bundle, &section(bundle, mode)?.bank)?;
    Ok(bank.blocks.iter().map(|block| (block.branch, block.dims)).collect())
}

fn graph(
    bundle: &Bundle,
    role: FileRole,
    wanted: bool,
    contract: &GraphContract,
    options: &EngineOptions,
) -> Result<Option<Box<dyn Engine>>, BundleError> {
    let Some(entry) = bundle.manifest().role(role).filter(|_| wanted) else { return Ok(None) };
    let onnx = bundle.read(&entry.path)?;
    let loaded = engine::load(contract, &onnx, options);
    loaded.map(Some).map_err(|source| BundleError::Graph { path: entry.path.clone(), source })
}

fn bank(bundle: &Bundle, path: &str) -> Result<MemoryBank, BundleError> {
    let bytes = bundle.read(path)?;
    file::read(&bytes).map_err(|source| BundleError::Bank { path: path.into(), source })
}
