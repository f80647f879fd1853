//! A reference as a file: one scan a file, so that a damaged one costs no other.
//!
//! All numbers are little-endian.
//!
//! ```text
//! offset  bytes  header
//!      0      8  magic "ZALREFS1"
//!      8      4  format version, 1
//!     12      4  length of the head in bytes
//!     16      8  length of head and values together
//!     24      8  zero
//!     32     32  sha256 of head and values
//!
//!     64         head: JSON, see `Head`
//!                values, in this order, nothing between and nothing behind
//!        2 each  rows of every branch, IEEE 754 binary16, row by row
//!        4 each  f32: distances within the scan, branch by branch; logits; distances to the bank; to the
//!                nearest reference; to the anchors; to a typical scan. The head says which are there
//! ```

use half::f16;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::member::{Against, Distances, Member, Source};
use super::{References, ReferencesState, ScanFacts, TeachError};
use crate::features::Branch;

/// Bytes of the header.
const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"ZALREFS1";
const VERSION: u32 = 1;
/// More columns than any branch has.
const DIMS_MAX: usize = 1 << 16;
/// More rows than a scan of a frame turned all round has.
const ROWS_MAX: usize = 784 * 361;

/// Why a file is no reference.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileError {
    /// The file does not begin as it should.
    #[error("{what}: found {found}, expected {expected}")]
    Header {
        /// What was looked at.
        what: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// Bytes were changed.
    #[error("the sha256 of the content is not the one in the header: the file is damaged")]
    Checksum,
    /// The head contradicts itself or the values.
    #[error("the head: found {found}, expected {expected}")]
    Head {
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
}

/// What stands before the values.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: String,
    source: Source,
    facts: ScanFacts,
    against: Against,
    kin: Vec<f32>,
    patches: Vec<u16>,
    blocks: Vec<Block>,
    own: bool,
    logits: bool,
    bank: bool,
    nearest: bool,
    anchored: bool,
    typical: bool,
}

/// The rows of a branch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    branch: Branch,
    dims: usize,
    /// The patch that each row beyond the scan's own shows.
    turned: Vec<u16>,
}

/// A reference as it was read, to be put into a set.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMember {
    /// All but its rows.
    pub member: Member,
    /// Branch, rows and the patches that they show.
    pub blocks: Vec<(Branch, Array2<f32>, Vec<u16>)>,
}

/// The file of a reference of the set; none when there is none of that name.
#[must_use]
pub fn encode(set: &References, name: &str) -> Option<Vec<u8>> {
    let at = set.position(name)?;
    let member = &set.members[at];
    let blocks = set.sets.iter().zip(set.prior.branches()).map(|(of_branch, branch)| {
        let scan = &of_branch.scans()[at];
        Block { branch, dims: scan.rows().ncols(), turned: scan.patches()[member.patches.len()..].to_vec() }
    });
    let head = Head {
        name: member.name.clone(),
        source: member.source,
        facts: member.facts,
        against: member.against,
        kin: member.kin.clone(),
        patches: member.patches.clone(),
        blocks: blocks.collect(),
        own: !member.own.is_empty(),
        logits: member.logits.is_some(),
        bank: member.bank.is_some(),
        nearest: member.is_compared(),
        anchored: member.distances.anchored.is_some(),
        typical: member.distances.typical.is_some(),
    };
    let mut content = serde_json::to_vec(&head).ok()?;
    let head_bytes = u32::try_from(content.len()).ok()?;
    for of_branch in &set.sets {
        let rows = of_branch.scans()[at].rows();
        rows.iter().for_each(|value| content.extend(f16::from_f32(*value).to_le_bytes()));
    }
    let Distances { nearest, anchored, typical } = &member.distances;
    let logits = member.logits.as_slice();
    let lists = [member.own.as_slice(), logits, member.bank.as_deref().unwrap_or_default(), nearest];
    let beside = [anchored, typical].map(|lists| lists.as_deref().unwrap_or_default());
    for list in lists.into_iter().chain(beside).flatten() {
        list.iter().for_each(|value| content.extend(value.to_le_bytes()));
    }
    Some(with_header(head_bytes, &content))
}

fn with_header(head_bytes: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + content.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(head_bytes.to_le_bytes());
    bytes.extend((content.len() as u64).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(Sha256::digest(content));
    bytes.extend(content);
    bytes
}

/// Reads a file.
///
/// # Errors
/// When the bytes are not exactly one file of [`encode`].
pub fn decode(bytes: &[u8]) -> Result<StoredMember, FileError> {
    let (head, mut values) = split(bytes)?;
    let count = head.patches.len();
    let ascending = head.patches.is_sorted_by(|a, b| a < b) && head.patches.last().is_none_or(|p| *p < 784);
    if !ascending || head.patches.is_empty() {
        return Err(wrong("other patches", "ascending patches of the 28 x 28 grid"));
    }
    let mut blocks = Vec::new();
    for block in head.blocks {
        let shown: Vec<u16> = head.patches.iter().copied().chain(block.turned).collect();
        if block.dims == 0
            || block.dims > DIMS_MAX
            || shown.len() > ROWS_MAX
            || shown.iter().any(|p| *p >= 784)
        {
            return Err(wrong("a block of another size", "rows and columns of a scan's patches"));
        }
        let rows = take(&mut values, 2 * shown.len() * block.dims)?;
        let rows = rows.as_chunks::<2>().0.iter().map(|value| f16::from_le_bytes(*value).to_f32()).collect();
        let rows = Array2::from_shape_vec((shown.len(), block.dims), rows)
            .map_err(|error| wrong(&error.to_string(), "whole rows"))?;
        blocks.push((block.branch, rows, shown));
    }
    let branches = blocks.len();
    let mut lists = |present: bool, lists: usize| -> Result<Option<Vec<Vec<f32>>>, FileError> {
        present.then(|| (0..lists).map(|_| list(&mut values, count)).collect()).transpose()
    };
    let own = lists(head.own, branches)?.unwrap_or_default();
    let logits = lists(head.logits, 1)?.and_then(|lists| lists.into_iter().next());
    let bank = lists(head.bank, branches)?;
    let nearest = lists(head.nearest, branches)?.unwrap_or_default();
    let distances = Distances {
        nearest,
        anchored: lists(head.anchored, branches)?,
        typical: lists(head.typical, branches)?,
    };
    if !values.is_empty() {
        return Err(wrong(&format!("{} bytes behind the last value", values.len()), "none"));
    }
    if !(head.kin.is_empty() || head.kin.len() == branches) {
        return Err(wrong(&format!("{} values of kin", head.kin.len()), "none, or one a branch"));
    }
    let Head { name, source, facts, against, kin, patches, .. } = head;
    let member = Member { name, source, facts, patches, own, logits, bank, kin, distances, against };
    Ok(StoredMember { member, blocks })
}

fn split(bytes: &[u8]) -> Result<(Head, &[u8]), FileError> {
    let header = |what, found: String, expected: String| FileError::Header { what, found, expected };
    let Some((start, content)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(header("length", format!("{} bytes", bytes.len()), "64 bytes at least".into()));
    };
    if start[..8] != MAGIC {
        return Err(header("magic", format!("{:?}", &start[..8]), format!("{MAGIC:?}")));
    }
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| start[at + i]));
    if number(8) != VERSION {
        return Err(header("format version", number(8).to_string(), VERSION.to_string()));
    }
    let expected = u64::from_le_bytes(std::array::from_fn(|i| start[16 + i]));
    if content.len() as u64 != expected {
        return Err(header("bytes behind the header", content.len().to_string(), expected.to_string()));
    }
    if start[24..32] != [0; 8] {
        return Err(header("reserved bytes", format!("{:?}", &start[24..32]), "zeros".into()));
    }
    if Sha256::digest(content)[..] != start[32..] {
        return Err(FileError::Checksum);
    }
    let head_bytes = usize::try_from(number(12)).unwrap_or(usize::MAX);
    let Some((head, values)) = content.split_at_checked(head_bytes) else {
        return Err(header(
            "length of the head",
            head_bytes.to_string(),
            format!("at most {}", content.len()),
        ));
    };
    let head =
        serde_json::from_slice(head).map_err(|error| wrong(&error.to_string(), "a head of this version"))?;
    Ok((head, values))
}

fn take<'a>(values: &mut &'a [u8], count: usize) -> Result<&'a [u8], FileError> {
    let Some((taken, left)) = values.split_at_checked(count) else {
        return Err(wrong(&format!("{} bytes of values", values.len()), &format!("{count} more")));
    };
    *values = left;
    Ok(taken)
}

fn list(values: &mut &[u8], count: usize) -> Result<Vec<f32>, FileError> {
    let bytes = take(values, 4 * count)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

fn wrong(found: &str, expected: &str) -> FileError {
    FileError::Head { found: found.into(), expected: expected.into() }
}

impl References {
    /// Puts references that were read back into an empty set, in their order, with what it remembered.
    /// Those that do not fit are left out and given back with the reason.
    ///
    /// # Panics
    /// When the set is not empty.
    pub fn restore(
        &mut self,
        stored: Vec<StoredMember>,
        state: ReferencesState,
    ) -> Vec<(String, TeachError)> {
        assert!(self.members.is_empty(), "only an empty set is restored");
        let mut refused = Vec::new();
        for StoredMember { member, blocks } in stored {
            let name = member.name.clone();
            let expected: Vec<&'static str> = self.prior.branches().map(Branch::name).collect();
            let found: Vec<&'static str> = blocks.iter().map(|(branch, ..)| branch.name()).collect();
            let rows = blocks.into_iter().map(|(_, rows, shown)| (rows, shown)).collect();
            let pushed = if found == expected {
                self.push_rows(member, rows).map(drop)
            } else {
                Err(TeachError::Branches { scan: name.clone(), found, expected })
            };
            refused.extend(pushed.err().map(|error| (name, error)));
        }
        self.state = state;
        // As it stood: reading it back is no change.
        self.stand(Some(0.0));
        refused
    }

    /// Puts a reference in again that a person had taken out, as the newest.
    ///
    /// # Errors
    /// When its rows do not fit or its name is taken; the set is then as it was.
    pub fn put_back(&mut self, stored: StoredMember) -> Result<(), TeachError> {
        let StoredMember { member, blocks } = stored;
        self.changed.insert(member.name.clone());
        self.push_rows(member, blocks.into_iter().map(|(_, rows, shown)| (rows, shown)).collect())?;
        self.state.taught_count += 1;
        self.stand(None);
        Ok(())
    }
}
