//! Writes what follows from the cells and the record of an evaluation.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use zal::metrics::Bootstrap;

use super::record::Record;
use super::{confounds, grid, tables};
use crate::onnx::write_bytes;
use crate::study::plan::Plan;
use crate::study::summary;
use crate::study::table::{self, Cell};

/// Keeps the command, and takes the record of an earlier run away: without one the folder is not
/// taken for finished.
///
/// # Errors
/// When the folder cannot be written to.
pub fn begin(out: &Path, command: &str) -> Result<()> {
    let record = out.join("run.json");
    if record.exists() {
        fs::remove_file(&record).with_context(|| format!("cannot remove {}", record.display()))?;
    }
    Ok(write_bytes(&out.join("command.txt"), format!("{command}\n").as_bytes())?)
}

/// Writes the tables of the cells, which are in order, and the record last.
///
/// # Errors
/// When a file cannot be written.
pub fn write(out: &Path, plan: &Plan, record: &Record, cells: &[Cell]) -> Result<()> {
    let put = |name: &str, text: String| write_bytes(&out.join(name), text.as_bytes());
    put("cells.csv", table::cells_text(cells)?)?;
    let bootstrap = Bootstrap::default();
    let rows = summary::summarise(cells, &plan.arm_names(), plan.baseline(), &bootstrap);
    put("summary.csv", summary::csv(&rows))?;
    put("tables.csv", grid::csv(plan, cells, &record.seen))?;
    put("confounds.csv", confounds::csv(&record.confounds))?;
    put("tables.md", tables::render(plan, record, cells))?;
    record.write(out)
}
