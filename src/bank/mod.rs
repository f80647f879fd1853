//! [`MemoryBank`]: descriptors of normal patches, and where each came from.

pub mod basis;
mod best;
mod bound;
pub mod coreset;
pub mod distance;
pub mod file;
mod limit;
mod numbers;
mod product;
pub mod reference;
pub mod search;

use std::ops::Range;

use ndarray::{ArcArray2, Array2};
use serde::{Deserialize, Serialize};

use crate::features::{Branch, GRID_SIZE};

/// Why a bank cannot be made, written or read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BankError {
    /// Something that a bank cannot do without is missing.
    #[error("the bank has no {what}: expected at least one")]
    Empty {
        /// `blocks`, `rows` or `scans`.
        what: &'static str,
    },
    /// Two numbers that describe the same thing differ.
    #[error("{what}: found {found}, expected {expected}")]
    Mismatch {
        /// What was counted.
        what: &'static str,
        /// The number found.
        found: u64,
        /// The number that the rest of the bank asks for.
        expected: u64,
    },
    /// A branch has two blocks.
    #[error("branch {0:?} has two blocks: expected at most one")]
    DuplicateBranch(Branch),
    /// A block's mean norm cannot scale it.
    #[error("the mean norm of branch {branch:?} is {found}: expected a finite number above 0")]
    MeanNorm {
        /// The block's branch.
        branch: Branch,
        /// Its mean norm.
        found: f32,
    },
    /// A descriptor holds a value that is no number, or too large for the file's data type.
    #[error("row {row}, column {column} holds {found}: expected a finite value of magnitude up to {limit}")]
    Value {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
        /// The value.
        found: f32,
        /// Largest magnitude accepted.
        limit: f32,
    },
    /// A row comes from a scan or patch that does not exist.
    #[error("row {row} comes from {what} {found}: expected a number below {limit}")]
    Origin {
        /// The row.
        row: usize,
        /// `scan` or `patch`.
        what: &'static str,
        /// The number found.
        found: u32,
        /// One more than the largest number accepted.
        limit: u32,
    },
    /// The bytes do not begin as a bank file does.
    #[error("not a bank file: it begins with {found:02x?}, expected {expected:02x?} (\"ZALBANK1\")")]
    Magic {
        /// First bytes of the file.
        found: [u8; 8],
        /// First bytes of every bank file.
        expected: [u8; 8],
    },
    /// A format that this program does not know.
    #[error(
        "bank format version {found}: this program reads version {expected}; update it, or rebuild the bank"
    )]
    Version {
        /// Version of the file.
        found: u32,
        /// Version that this program reads and writes.
        expected: u32,
    },
    /// A code in the file stands for nothing.
    #[error("{what} code {found}: expected {expected}")]
    Code {
        /// What the code stands for.
        what: &'static str,
        /// The code found.
        found: u32,
        /// The codes that exist.
        expected: &'static str,
    },
    /// The file ends early, or a length in it is forged.
    #[error(
        "{what} needs {expected} bytes, the bank file has {found} left: it is truncated or damaged, copy it again"
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes left.
        found: u64,
        /// Bytes needed.
        expected: u64,
    },
    /// The payload is not the one that was written.
    #[error("the payload's sha256 differs from the header's: the bank file is damaged, copy it again")]
    Checksum,
    /// The payload does not decode.
    #[error("{what} does not decode: {reason}")]
    Decode {
        /// What was being read.
        what: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// The file could not be written.
    #[error("writing the bank failed: {reason}")]
    Write {
        /// The system's words.
        reason: String,
    },
}

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
/// concatenation. The rows are shared: a [`search::SearchIndex`] over some of their columns
/// refers to them and copies nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryBank {
    /// Blocks from left to right.
    pub blocks: Vec<Block>,
    /// Descriptors.
    pub rows: ArcArray2<f32>,
    /// Origin of every row.
    pub origins: Vec<RowOrigin>,
    /// Names of the scans that rows came from.
    pub scans: Vec<String>,
}

impl MemoryBank {
    /// Makes a bank whose parts fit each other.
    ///
    /// # Errors
    /// When a part is empty, counts differ, a value is not finite, a mean norm cannot scale
    /// its block, or a row's origin does not exist.
    pub fn new(
        blocks: Vec<Block>,
        rows: Array2<f32>,
        origins: Vec<RowOrigin>,
        scans: Vec<String>,
    ) -> Result<Self, BankError> {
        check_blocks(&blocks, rows.ncols())?;
        check_rows(&rows)?;
        check_origins(&origins, rows.nrows(), scans.len())?;
        // Kernels read rows as slices, so the layout is settled here, once.
        let rows = if rows.is_standard_layout() { rows } else { rows.as_standard_layout().into_owned() };
        Ok(Self { blocks, rows: rows.into_shared(), origins, scans })
    }

    /// The columns of a branch's block, or `None` when the bank was built without it.
    #[must_use]
    pub fn block_columns(&self, branch: Branch) -> Option<Range<usize>> {
        let mut start = 0;
        for block in &self.blocks {
            if block.branch == branch {
                return Some(start..start + block.dims);
            }
            start += block.dims;
        }
        None
    }

    /// Number of columns of all blocks together.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.rows.ncols()
    }

    /// Where a row came from: the scan's name, and the patch of the 28 x 28 grid.
    ///
    /// # Panics
    /// When `row` is not below the number of rows.
    #[must_use]
    pub fn origin(&self, row: usize) -> (&str, u16) {
        let origin = self.origins[row];
        (&self.scans[index(origin.scan)], origin.patch)
    }

    /// Multiplies every block's columns by its factor, in place: mode `paper` scales the rows
    /// once at load, so that a process never holds two copies of them. Queries are scaled
    /// alike ([`Self::scales`]). The mean norms change with the rows.
    ///
    /// # Panics
    /// When there is not one factor a block.
    pub fn scale_blocks(&mut self, factors: &[f32]) {
        assert_eq!(factors.len(), self.blocks.len(), "one factor a block");
        let per_column: Vec<f32> = self
            .blocks
            .iter()
            .zip(factors)
            .flat_map(|(block, factor)| std::iter::repeat_n(*factor, block.dims))
            .collect();
        for mut row in self.rows.rows_mut() {
            row.iter_mut().zip(&per_column).for_each(|(value, factor)| *value *= factor);
        }
        for (block, factor) in self.blocks.iter_mut().zip(factors) {
            block.mean_norm *= factor.abs();
        }
    }

    /// The factor that brings each block to a mean norm of its weight: the default fusion of
    /// mode `paper`.
    ///
    /// # Panics
    /// When there is not one weight a block.
    #[must_use]
    pub fn scales(&self, weights: &[f32]) -> Vec<f32> {
        assert_eq!(weights.len(), self.blocks.len(), "one weight a block");
        self.blocks.iter().zip(weights).map(|(block, weight)| weight / block.mean_norm).collect()
    }
}

fn check_blocks(blocks: &[Block], columns: usize) -> Result<(), BankError> {
    if blocks.is_empty() {
        return Err(BankError::Empty { what: "blocks" });
    }
    for (position, block) in blocks.iter().enumerate() {
        if block.dims == 0 {
            return Err(BankError::Empty { what: "columns in one of its blocks" });
        }
        if !(block.mean_norm.is_finite() && block.mean_norm > 0.0) {
            return Err(BankError::MeanNorm { branch: block.branch, found: block.mean_norm });
        }
        if blocks[..position].iter().any(|earlier| earlier.branch == block.branch) {
            return Err(BankError::DuplicateBranch(block.branch));
        }
    }
    // Saturating: forged block sizes must not wrap around to the right sum.
    let dims = blocks.iter().fold(0_usize, |sum, block| sum.saturating_add(block.dims));
    expect_equal("columns of the rows", columns as u64, dims as u64)
}

fn check_rows(rows: &Array2<f32>) -> Result<(), BankError> {
    if rows.nrows() == 0 {
        return Err(BankError::Empty { what: "rows" });
    }
    match rows.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &found)) => Err(BankError::Value { row, column, found, limit: f32::MAX }),
        None => Ok(()),
    }
}

fn check_origins(origins: &[RowOrigin], rows: usize, scans: usize) -> Result<(), BankError> {
    expect_equal("origins of the rows", origins.len() as u64, rows as u64)?;
    let scan_limit = u32::try_from(scans).unwrap_or(u32::MAX);
    for (row, origin) in origins.iter().enumerate() {
        if origin.scan >= scan_limit {
            return Err(BankError::Origin { row, what: "scan", found: origin.scan, limit: scan_limit });
        }
        if origin.patch >= PATCH_LIMIT {
            let (found, limit) = (u32::from(origin.patch), u32::from(PATCH_LIMIT));
            return Err(BankError::Origin { row, what: "patch", found, limit });
        }
    }
    Ok(())
}

fn expect_equal(what: &'static str, found: u64, expected: u64) -> Result<(), BankError> {
    if found == expected { Ok(()) } else { Err(BankError::Mismatch { what, found, expected }) }
}

/// Patches of the grid.
#[expect(clippy::cast_possible_truncation, reason = "784 is far below the limit")]
const PATCH_LIMIT: u16 = (GRID_SIZE * GRID_SIZE) as u16;

/// A stored 32-bit number as an index.
const fn index(number: u32) -> usize {
    number as usize
}
