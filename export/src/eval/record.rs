//! `run.json`: what an evaluation was asked, what it left out, and what its networks and banks were made of.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

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
}

impl Record {
    /// The record of a run.
    #[must_use]
    pub fn new(request: Request, shard: Option<Shard>, mut left_out: Vec<LeftOut>) -> Self {
        left_out.sort();
        left_out.dedup();
        Self { format: FORMAT.to_owned(), request, shard, left_out }
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
