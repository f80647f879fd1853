//! `run.json`: what an evaluation was asked, what it left out, and what its networks and banks were made of.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::confounds::Confound;
use super::leakage::Seen;
use super::left_out::LeftOut;
use super::request::Request;
use super::shards::Shard;
use crate::onnx::write_bytes;

/// Format of [`Record`].
const FORMAT: &str = "zal.eval/1";

/// What stands in `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// `zal.eval/1`.
    pub format: String,
    /// What was asked.
    pub request: Request,
    /// Which part of it this is; none: all of it.
    pub shard: Option<Shard>,
    /// What was left out, in order.
    pub left_out: Vec<LeftOut>,
    /// What every group has seen, in order.
    pub seen: Vec<Seen>,
    /// What tells good from defective scans by itself.
    pub confounds: Vec<Confound>,
}

impl Record {
    /// The record of a run.
    #[must_use]
    pub fn new(request: Request, shard: Option<Shard>) -> Self {
        let (left_out, seen, confounds) = (Vec::new(), Vec::new(), Vec::new());
        Self { format: FORMAT.to_owned(), request, shard, left_out, seen, confounds }
    }

    /// The record of all shards together.
    ///
    /// # Panics
    /// Without shards.
    #[must_use]
    pub fn merged(shards: impl Iterator<Item = Self>) -> Self {
        let joined = shards.reduce(|mut all, shard| {
            all.left_out.extend(shard.left_out);
            all.seen.extend(shard.seen);
            all
        });
        let mut record = joined.expect("there is at least one shard");
        record.shard = None;
        record.sort();
        record
    }

    /// Puts the lists in their order, each entry once.
    pub fn sort(&mut self) {
        self.left_out.sort();
        self.left_out.dedup();
        self.seen.sort();
        self.seen.dedup();
    }

    /// Writes the record into a folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, out: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(write_bytes(&out.join("run.json"), text.as_bytes())?)
    }

    /// Reads the record of a folder.
    ///
    /// # Errors
    /// When there is none: nothing ran there, or it has not finished.
    pub fn read(out: &Path) -> Result<Self> {
        let path = out.join("run.json");
        let bytes = fs::read(&path).with_context(|| {
            format!(
                "{} is no finished evaluation: cannot read {}; give its command again, it goes on where it stopped",
                out.display(),
                path.display()
            )
        })?;
        let record: Self =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is no record", path.display()))?;
        ensure!(
            record.format == FORMAT,
            "{}: found format `{}`, expected `{FORMAT}`",
            path.display(),
            record.format
        );
        Ok(record)
    }
}
