//! [`MemoryBank`]: descriptors of normal patches, and where each came from.

pub mod coreset;
pub mod file;
pub mod reference;
pub mod search;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::features::Branch;

/// The scan and patch that a bank row describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowOrigin {
    /// Index into [`MemoryBank::scans`].
    pub scan: u32,
    /// Patch of the 28 x 28 grid.
    pub patch: u16,
}

/// One branch's columns within the bank's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Which branch.
    pub branch: Branch,
    /// Number of columns.
    pub dims: usize,
    /// Mean norm of the block's rows over all training foreground patches.
    pub mean_norm: f32,
}

/// Normal patches as rows `[rows, sum of block dims]`, raw (unscaled) descriptors with the
/// blocks side by side. Mode `line` searches each block by itself, mode `paper` the scaled
/// concatenation.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryBank {
    /// Blocks from left to right.
    pub blocks: Vec<Block>,
    /// Descriptors.
    pub rows: Array2<f32>,
    /// Origin of every row.
    pub origins: Vec<RowOrigin>,
    /// Names of the scans that rows came from.
    pub scans: Vec<String>,
}
