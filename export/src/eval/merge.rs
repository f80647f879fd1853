//! Puts finished shards together: the same bytes as one run, or a complaint that names what is
//! missing, doubled or different.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::left_out::GroupId;
use super::record::Record;
use super::request::Request;
use super::{output, row_tables};
use crate::report;
use crate::study::plan::Plan;
use crate::study::table::{Cell, Place, read_cells};

/// Most names in one complaint.
const NAMES_MAX: usize = 10;

/// A shard's folder with what it holds.
struct Part<'a> {
    out: &'a Path,
    record: Record,
    cells: Vec<Cell>,
}

/// Merges the shards of these folders into another; gives the number of things that were left out.
///
/// # Errors
/// Names the folder, shard or cell that does not fit.
pub fn merge(parts: &[PathBuf], out: &Path, command: &str) -> Result<usize> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let same = |path: &PathBuf| path.canonicalize().ok() == out.canonicalize().ok();
    ensure!(!parts.iter().any(same), "--out {} is one of the shards: give another folder", out.display());
    let parts: Vec<Part<'_>> = parts.iter().map(|out| Part::read(out)).collect::<Result<_>>()?;
    let Some(first) = parts.first() else { bail!("--merge: found no folder, expected the shards'") };
    for part in &parts[1..] {
        part.belongs_to(first)?;
    }
    check_shards(&parts)?;
    let plan = first.record.request.plan()?;
    let cells = joined(&parts)?;
    let record = Record::merged(parts.iter().map(|part| part.record.clone()));
    check_missing(&plan, &record, &cells)?;
    output::begin(out, command)?;
    row_tables::merge(&parts.iter().map(|part| part.out).collect::<Vec<_>>(), out)?;
    output::write(out, &plan, &record, &cells)?;
    let title = "Evaluation, merged".to_owned();
    let command = Some(command.to_owned());
    report::write(out, report::Options { title, command, explain: None })?;
    Ok(record.left_out.len())
}

impl<'a> Part<'a> {
    fn read(out: &'a Path) -> Result<Self> {
        Ok(Self { out, record: Record::read(out)?, cells: read_cells(&out.join("cells.csv"))? })
    }

    /// Both are of the same evaluation.
    fn belongs_to(&self, first: &Part<'_>) -> Result<()> {
        let fields = |part: &Part<'_>| serde_json::to_value(&part.record.request);
        let (found, expected) = (fields(self)?, fields(first)?);
        if let (Value::Object(found), Value::Object(expected)) = (&found, &expected) {
            let mut differing = found.iter().filter(|(key, value)| expected.get(*key) != Some(value));
            if let Some((key, value)) = differing.next() {
                bail!(
                    "{} is of another evaluation than {}: `{key}` is {value} there, expected {}",
                    self.out.display(),
                    first.out.display(),
                    expected.get(key).unwrap_or(&Value::Null)
                );
            }
        }
        ensure!(
            self.record.confounds == first.record.confounds,
            "{} and {} have different figures of the scans themselves: do both read the same data?",
            self.out.display(),
            first.out.display()
        );
        Ok(())
    }
}

/// Every shard is there once.
fn check_shards(parts: &[Part<'_>]) -> Result<()> {
    let mut found: BTreeMap<usize, &Path> = BTreeMap::new();
    let mut count = None;
    for part in parts {
        let out = part.out.display();
        let shard = part.record.shard;
        let shard = shard.with_context(|| format!("{out} holds a whole evaluation, expected a shard"))?;
        let expected = *count.get_or_insert(shard.count);
        ensure!(shard.count == expected, "{out} is shard {shard}, expected one of {expected} shards");
        if let Some(earlier) = found.insert(shard.number, part.out) {
            bail!("shard {shard} is in both {} and {out}: give one of them", earlier.display());
        }
    }
    let count = count.unwrap_or(0);
    let missing = (1..=count).filter(|number| !found.contains_key(number));
    let missing: Vec<String> = missing.map(|number| format!("{number}/{count}")).collect();
    ensure!(
        missing.is_empty(),
        "missing shards: {}; run them with --shard, or give their folders",
        missing.join(", ")
    );
    Ok(())
}

/// The cells of all shards, in order; each is there once.
fn joined(parts: &[Part<'_>]) -> Result<Vec<Cell>> {
    let mut cells: BTreeMap<(Place, String), (&Cell, &Path)> = BTreeMap::new();
    for part in parts {
        for cell in &part.cells {
            let key = (cell.place.clone(), cell.figures.test_class.clone());
            if let Some((earlier, out)) = cells.insert(key, (cell, part.out)) {
                let how = if earlier == cell { "the same" } else { "different" };
                bail!(
                    "the cell {}, test class {} is in both {} and {}, with {how} figures: were the folders mixed?",
                    cell.place,
                    cell.figures.test_class,
                    out.display(),
                    part.out.display()
                );
            }
        }
    }
    Ok(cells.into_values().map(|(cell, _)| cell.clone()).collect())
}

/// Every cell that was asked for is there, or its group failed.
fn check_missing(plan: &Plan, record: &Record, cells: &[Cell]) -> Result<()> {
    let units = record.request.units(plan);
    let failed: Vec<&GroupId> = record.left_out.iter().filter_map(|left| left.group.as_ref()).collect();
    let mut missing = Vec::new();
    for (unit, arm, mode) in Request::groups(plan, &units) {
        let data = &record.request.data[unit.set_index];
        let place = Place {
            data_set: data.name.clone(),
            seed: unit.seed,
            training: unit.training.join("+"),
            arm: arm.name.clone(),
            mode: mode.name().to_owned(),
        };
        if failed.contains(&&GroupId::from(&place)) {
            continue;
        }
        for test in data.tests.iter().filter(|test| !unit.training.contains(test)) {
            let here = |cell: &&Cell| cell.place == place && cell.figures.test_class == *test;
            if !cells.iter().any(|cell| here(&cell)) {
                missing.push(format!("{place}, test class {test}"));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} cells are in no shard:\n", missing.len());
    missing.iter().take(NAMES_MAX).for_each(|name| {
        let _ = writeln!(text, "  {name}");
    });
    bail!("{text}give the shards' commands again: they compute what is missing")
}
