//! Judges single scans of a study again, with the map and the normal patch that it was compared with: for
//! the pictures of a report. What the study kept is taken from its folder; nothing is trained.

use anyhow::{Context, Result, bail, ensure};
use zal::detector::Compared;
use zal::metrics::MaskedMap;
use zal::score::AnomalyMap;

use super::data_set::{DataSet, ScanFile};
use super::graphs::TrainRequest;
use super::judge::Group;
use super::plan::Plan;
use super::table::Place;
use super::{Bench, Pass, Setup, Unit, open_data_sets};
use crate::bank_build::BuildParams;

/// A scan judged again.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The scan's files.
    pub file: ScanFile,
    /// The image score; none when it cannot be judged.
    pub score: Option<f32>,
    /// The image score without the defect's patches, of a defective scan.
    pub score_erased: Option<f32>,
    /// Scores, ground truth and object on the scan's own grid.
    pub scan_map: MaskedMap,
    /// The map on the frame; none of a control or an undecided scan.
    pub frame_map: Option<AnomalyMap>,
    /// Patch scores, branches' shares and the nearest normal patch; none of a control or an undecided scan.
    pub compared: Option<Compared>,
}

/// Judges the named test scans (`class/test/defect/stem`) of one group of the study again, in their order.
///
/// # Errors
/// When the plan, the data or the folder do not have what the place names, or its training was not kept.
pub fn explain(plan: &Plan, setup: &Setup, place: &Place, scans: &[String]) -> Result<Vec<Explained>> {
    plan.check()?;
    explain_in(plan, setup, &open_data_sets(plan, setup)?, place, scans)
}

/// As [`explain`], with a checked plan and its data sets at hand.
///
/// # Errors
/// As [`explain`].
pub fn explain_in(
    plan: &Plan,
    setup: &Setup,
    sets: &[DataSet],
    place: &Place,
    scans: &[String],
) -> Result<Vec<Explained>> {
    let set_index = sets.iter().position(|set| set.name == place.data_set);
    let set_index = set_index.with_context(|| format!("there is no data set {}", place.data_set))?;
    let arm = plan.arms.iter().find(|arm| arm.name == place.arm);
    let arm = arm.with_context(|| format!("the plan has no arm {}", place.arm))?;
    let mode = arm.modes_of(plan).into_iter().find(|mode| mode.name() == place.mode);
    let mode = mode.with_context(|| format!("arm {} does not run in mode {}", place.arm, place.mode))?;
    let training: Vec<String> = place.training.split('+').map(str::to_owned).collect();
    sets[set_index].check_training(&training)?;
    let unit = Unit { set_index, seed: place.seed, training };
    let bench = Bench::open(setup)?;
    let pass = Pass { plan, bench: &bench, set: &sets[set_index], unit: &unit, arm, tell: &|_| {} };
    let untrained = |_: &TrainRequest| bail!("its training is not kept in {}", setup.out.display());
    let (recipe, _) = pass.recipe(mode, place, &untrained)?;
    let build = BuildParams { fraction: plan.fraction, rows_max: plan.rows_max };
    let group = Group { set: pass.set, training: &unit.training, recipe: &recipe, build };
    let found = group.judge_again(&bench, scans)?;
    ensure!(found.len() == scans.len(), "found {} of {} scans in {place}", found.len(), scans.len());
    Ok(found)
}
