//! Judges what training brings: the same banks and maps with and without it, on classes that nobody
//! trained on.
//!
//! ```text
//! plan ─┬─ data set and seed ─┬─ training classes ─┬─ arm ─┬─ mode: a group
//!       └ ...                 └ ...                └ ...   └ bank -> every test scan -> figures a class
//! ```
//!
//! Arms differ in the point branch, the normalcy classifier and how both were trained; all else is the
//! same, so that their cells can be compared one by one. Everything that a group needs is kept under
//! the output folder by the hash of all that it depends on, and every file appears under its name only
//! when it is whole: a study that was killed goes on where it stopped, and its tables are the same to
//! the byte.
//!
//! ```text
//! OUT/cache/ab/cdef...npy    frames, descriptors and logits of single scans
//! OUT/trained/KEY/           pointnet.onnx, normalcy.onnx, describe.json, request.json
//! OUT/cells/KEY.csv          the figures of one group; its scans and curves beside it
//! OUT/cells.csv summary.csv summary.md    the study's tables
//! OUT/scans.csv curves.csv   what the figures came from
//! OUT/timing.txt             where the time went; not part of the result
//! ```
//!
//! Training itself is the caller's: see [`graphs::Trainer`].

pub mod arm;
pub mod cache;
mod controls;
pub mod data_set;
mod describe;
pub mod explain;
pub mod facts;
mod figures;
mod frame;
pub mod graphs;
mod judge;
pub mod kept;
pub mod methods;
pub mod plan;
mod recipe;
mod references;
pub mod summary;
pub mod survey;
mod markdown;
pub mod table;
pub mod timing;
mod verdict;
pub mod workers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use zal::detector::Mode;
use zal::engine::EngineOptions;
use zal::metrics::Bootstrap;

use crate::bank_build::BuildParams;
use crate::onnx::write_bytes;
use crate::provenance;
use cache::Cache;
use data_set::DataSet;
use graphs::{Graph, GraphFiles, TrainRequest, TrainedStore, Trainer};
use judge::Group;
use kept::{Details, GroupFiles};
use plan::{Arm, Plan};
use recipe::{PointGraphs, Recipe};
use table::{Cell, Place};
use timing::Times;

/// What a study runs on.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Data sets in the MVTec 3D-AD layout: one for all seeds, or one a seed.
    pub data: Vec<PathBuf>,
    /// Folder of results and intermediate results.
    pub out: PathBuf,
    /// Scans that are worked on at a time, each by one thread.
    pub jobs: usize,
    /// What runs the graphs; with one thread.
    pub engine: EngineOptions,
    /// The colour backbone; none leaves the rgb branch out.
    pub rgb: Option<Vec<u8>>,
    /// Most bytes under `OUT/cache`: what does not fit is computed again when it is needed again.
    pub cache_bytes_max: u64,
    /// How the tables' intervals are made.
    pub bootstrap: Bootstrap,
}

/// The parts of a study that last from its start to its end.
pub(crate) struct Bench<'a> {
    setup: &'a Setup,
    cache: Cache,
    trained: TrainedStore,
    rgb: Option<Graph>,
    times: Times,
}

impl<'a> Bench<'a> {
    /// Opens the folders that a study keeps things in.
    fn open(setup: &'a Setup) -> Result<Self> {
        Ok(Self {
            setup,
            cache: Cache::open(&setup.out.join("cache"), setup.cache_bytes_max)?,
            trained: TrainedStore::open(&setup.out.join("trained"))?,
            rgb: setup.rgb.clone().map(Graph::new),
            times: Times::default(),
        })
    }
}

/// One training, with all that is judged with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Which data set.
    pub set_index: usize,
    /// Seed of the training.
    pub seed: u64,
    /// Training classes.
    pub training: Vec<String>,
}

/// The units of a plan: by seed, each with its data set.
#[must_use]
pub fn units(plan: &Plan, set_count: usize) -> Vec<Unit> {
    let mut units = Vec::new();
    for (index, seed) in plan.seeds.iter().enumerate() {
        let set_index = index.min(set_count.max(1) - 1);
        let unit = |training: &Vec<String>| Unit { set_index, seed: *seed, training: training.clone() };
        units.extend(plan.training.iter().map(unit));
    }
    units
}

/// What is to be worked through, and how.
pub struct Work<'a> {
    /// The data sets.
    pub sets: &'a [DataSet],
    /// The units of the plan to do, in order.
    pub units: &'a [Unit],
    /// Whether to go on after a failure.
    pub keep_going: bool,
    /// Is told what happens.
    pub tell: &'a dyn Fn(&Event<'_>),
}

/// What happens in a study.
#[derive(Debug)]
pub enum Event<'a> {
    /// A training begins.
    Training(&'a Place),
    /// A group is done: how many classes, and whether it was there already.
    Group(&'a Place, usize, bool),
    /// A group failed.
    Failed(&'a Failure),
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Training(place) => write!(f, "training for {place}"),
            Self::Group(place, classes, kept) => {
                write!(f, "{place}: {classes} classes{}", if *kept { ", kept" } else { "" })
            }
            Self::Failed(failure) => write!(f, "{failure}"),
        }
    }
}

/// A group without figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which group.
    pub place: Place,
    /// Why.
    pub error: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.place, self.error)
    }
}

/// What a study, or a part of it, came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The figures, in the table's order.
    pub cells: Vec<Cell>,
    /// Groups that have none.
    pub failures: Vec<Failure>,
    /// Classes that the networks of a group saw pseudo anomalies cut from, where that is recorded.
    pub pools: BTreeMap<Place, Vec<String>>,
    /// Scans and curves of the groups that have figures.
    pub details: BTreeMap<Place, Details>,
    /// Where the time went.
    pub times: Times,
}

/// Runs the plan, or what is left of it, and writes the tables.
///
/// # Errors
/// Names what in plan or data cannot be used, or the scan or training that failed. What was finished
/// before stays finished.
pub fn run(plan: &Plan, setup: &Setup, trainer: &Trainer<'_>, say: &dyn Fn(&str)) -> Result<()> {
    plan.check()?;
    let sets = open_data_sets(plan, setup)?;
    let tell = |event: &Event<'_>| say(&event.to_string());
    let units = units(plan, sets.len());
    let work = Work { sets: &sets, units: &units, keep_going: false, tell: &tell };
    let outcome = work_through(plan, setup, &work, trainer)?;
    let backbone = setup.rgb.as_ref().map(|bytes| Graph::new(bytes.clone()).sha256);
    write_tables(plan, setup, backbone.as_deref(), &outcome.cells)?;
    Ok(write_bytes(&setup.out.join("timing.txt"), outcome.times.text().as_bytes())?)
}

/// Judges all units, or what is left of them, and writes no tables but `scans.csv` and `curves.csv`.
///
/// # Errors
/// Names the scan or training that failed, unless it is to be gone past. What was finished before
/// stays finished.
pub fn work_through(plan: &Plan, setup: &Setup, work: &Work<'_>, trainer: &Trainer<'_>) -> Result<Outcome> {
    let bench = Bench::open(setup)?;
    let failed = RefCell::new(BTreeMap::new());
    let trainer = |request: &TrainRequest| train_once(request, trainer, &failed);
    let mut outcome = Outcome::default();
    for unit in work.units {
        for arm in &plan.arms {
            let set = &work.sets[unit.set_index];
            let pass = Pass { plan, bench: &bench, set, unit, arm, tell: work.tell };
            pass.run(&trainer, work.keep_going, &mut outcome)?;
        }
    }
    outcome.cells.sort_by(Cell::order);
    kept::write_tables(&setup.out, &outcome.details)?;
    outcome.times = bench.times;
    Ok(outcome)
}

/// Trains, unless the same training failed before in this run: arms share it.
fn train_once(
    request: &TrainRequest,
    trainer: &Trainer<'_>,
    failed: &RefCell<BTreeMap<String, String>>,
) -> Result<GraphFiles> {
    let key = serde_json::to_string(request)?;
    if let Some(words) = failed.borrow().get(&key) {
        bail!("{words}");
    }
    let trained = trainer(request);
    if let Err(error) = &trained {
        failed.borrow_mut().insert(key, format!("{error:#}"));
    }
    trained
}

/// One training of one arm, in all its modes.
struct Pass<'a> {
    plan: &'a Plan,
    bench: &'a Bench<'a>,
    set: &'a DataSet,
    unit: &'a Unit,
    arm: &'a Arm,
    tell: &'a dyn Fn(&Event<'_>),
}

impl Pass<'_> {
    fn run(&self, trainer: &Trainer<'_>, keep_going: bool, outcome: &mut Outcome) -> Result<()> {
        for mode in self.arm.modes_of(self.plan) {
            let place = self.place(mode);
            match self.cells(mode, &place, trainer, outcome) {
                Ok(cells) => outcome.cells.extend(cells),
                Err(error) if keep_going => {
                    let failure = Failure { place, error: format!("{error:#}") };
                    (self.tell)(&Event::Failed(&failure));
                    outcome.failures.push(failure);
                }
                Err(error) => return Err(error.context(format!("in {place}"))),
            }
        }
        Ok(())
    }

    fn cells(
        &self,
        mode: Mode,
        place: &Place,
        trainer: &Trainer<'_>,
        outcome: &mut Outcome,
    ) -> Result<Vec<Cell>> {
        let (recipe, pool) = self.recipe(mode, place, trainer)?;
        if let Some(pool) = pool {
            outcome.pools.insert(place.clone(), pool);
        }
        let (figures, details, kept) = self.group(&recipe)?;
        outcome.details.insert(place.clone(), details);
        (self.tell)(&Event::Group(place, figures.len(), kept));
        Ok(figures.into_iter().map(|figures| Cell { place: place.clone(), figures }).collect())
    }

    fn place(&self, mode: Mode) -> Place {
        Place {
            data_set: self.set.name.clone(),
            seed: self.unit.seed,
            training: self.unit.training.join("+"),
            arm: self.arm.name.clone(),
            mode: mode.name().to_owned(),
        }
    }

    /// Settings and graphs, and the classes of the training's pool; trains when the arm needs a
    /// training that is not there yet.
    fn recipe(
        &self,
        mode: Mode,
        place: &Place,
        trainer: &Trainer<'_>,
    ) -> Result<(Recipe, Option<Vec<String>>)> {
        let params = recipe::mode_params(self.arm, mode, self.bench.rgb.is_some());
        let mut pool = None;
        let points = if !recipe::needs_points(&params) {
            None
        } else if self.arm.untrained {
            Some(PointGraphs::untrained(self.unit.seed)?)
        } else {
            let train = |request: &TrainRequest| {
                (self.tell)(&Event::Training(place));
                self.bench.times.measure("training", || trainer(request))
            };
            let files = self.bench.trained.get_or_train(&self.request(), &self.set.key, &train)?;
            pool = provenance::pool_of_graph(&files.pointnet)?;
            Some(PointGraphs::from_files(files))
        };
        let recipe = Recipe::new(params, self.bench.rgb.clone(), points, (self.arm, self.unit.seed))?;
        Ok((recipe, pool))
    }

    fn request(&self) -> TrainRequest {
        let training = &self.unit.training;
        TrainRequest {
            data: self.set.root.clone(),
            classes: training.clone(),
            test_classes: self.set.others(training).map(|class| class.name.clone()).collect(),
            seed: self.unit.seed,
            overrides: self.arm.overrides(self.plan),
        }
    }

    /// The figures and finer rows, and whether they were there already.
    fn group(&self, recipe: &Recipe) -> Result<(Vec<table::ClassFigures>, Details, bool)> {
        let build = BuildParams { fraction: self.plan.fraction, rows_max: self.plan.rows_max };
        let group = Group { set: self.set, training: &self.unit.training, recipe, build };
        let files = GroupFiles::new(&self.bench.setup.out, group.key(self.bench));
        let kept = files.exist();
        if !kept {
            let (figures, details) = group.judge(self.bench)?;
            files.write(&figures, &details)?;
        }
        let (figures, details) = files.read()?;
        Ok((figures, details, kept))
    }
}

/// Opens the data sets and finds the plan's classes in each.
fn open_data_sets(plan: &Plan, setup: &Setup) -> Result<Vec<DataSet>> {
    let (found, expected) = (setup.data.len(), plan.seeds.len());
    ensure!(
        found == 1 || found == expected,
        "found {found} data sets for {expected} seeds, expected one for all or one for each"
    );
    let sets = setup.data.iter().map(|root| DataSet::open(root, setup.jobs)).collect::<Result<Vec<_>>>()?;
    for (index, set) in sets.iter().enumerate() {
        ensure!(
            sets[..index].iter().all(|earlier| earlier.name != set.name),
            "two data sets are called {}: the tables name them by their folder, rename one",
            set.name
        );
        for training in &plan.training {
            set.check_training(training)?;
        }
    }
    Ok(sets)
}

/// Writes the tables that follow from the cells, which are in order.
///
/// # Errors
/// When a file cannot be written.
pub fn write_tables(plan: &Plan, setup: &Setup, backbone: Option<&str>, cells: &[Cell]) -> Result<()> {
    let put = |name: &str, text: String| write_bytes(&setup.out.join(name), text.as_bytes());
    put("cells.csv", table::cells_text(cells)?)?;
    let summary = summary::summarise(cells, &plan.arm_names(), plan.baseline(), &setup.bootstrap);
    put("summary.csv", summary::csv(&summary))?;
    let backbone = backbone.map_or_else(
        || "no rgb branch".to_owned(),
        |sha256| format!("rgb backbone sha256 {}", &sha256[..16]),
    );
    Ok(put("summary.md", markdown::render(plan, &backbone, &summary))?)
}

/// Reads a file that the user named.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Bytes shared by the workers.
pub(crate) type Bytes = Arc<[u8]>;
