//! The page of an evaluation: its worst scans are judged again for their pictures, with what the run kept.

use std::path::PathBuf;

use anyhow::{Context, Result};
use zal::scan::{SensorProfile, read};

use super::Options;
use crate::report::gallery::{Explained, ScanRef};
use crate::report::{self, Options as PageOptions};
use crate::study::data_set::DataSet;
use crate::study::explain::explain_in;
use crate::study::plan::Plan;
use crate::study::table::Place;

/// Writes `OUT/report.html` of a run that is finished.
///
/// # Errors
/// When a table of the run cannot be read back.
pub fn write(options: &Options, plan: &Plan, sets: &[DataSet]) -> Result<PathBuf> {
    let setup = options.setup();
    let mut explain = |wanted: &ScanRef| -> Result<Explained> {
        let place = place_of(wanted)?;
        let mut found = explain_in(plan, &setup, sets, &place, std::slice::from_ref(&wanted.scan))?;
        let found = found.pop().context("the scan is not in the data set")?;
        let map = found.frame_map.context("it has no map")?;
        let set = sets.iter().find(|set| set.name == wanted.data_set);
        Ok(Explained {
            scan: read(&found.file.xyz, &SensorProfile::default())?,
            mask: found.scan_map.mask,
            map,
            nearest: found.compared.and_then(|compared| compared.nearest),
            nearest_data: set.map(|set| set.root.clone()),
        })
    };
    let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
    let page = PageOptions {
        title: format!("Evaluation on {}", names.join(", ")),
        command: Some(options.command.clone()),
        explain: Some(&mut explain),
    };
    report::write(&options.out, page)
}

/// The group of a scan.
fn place_of(wanted: &ScanRef) -> Result<Place> {
    Ok(Place {
        data_set: wanted.data_set.clone(),
        seed: wanted.seed.parse().with_context(|| format!("found seed `{}`", wanted.seed))?,
        training: wanted.training.clone(),
        arm: wanted.method.arm.clone(),
        mode: wanted.method.mode.clone(),
    })
}
