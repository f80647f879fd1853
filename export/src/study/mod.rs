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
//! OUT/cells/KEY.csv          the figures of one group
//! OUT/cells.csv summary.csv summary.md    the study's tables
//! OUT/timing.txt             where the time went; not part of the result
//! ```
//!
//! Training itself is the caller's: see [`graphs::Trainer`].

pub mod arm;
pub mod cache;
mod controls;
pub mod data_set;
mod describe;
mod figures;
mod frame;
pub mod graphs;
mod judge;
pub mod methods;
pub mod plan;
mod recipe;
pub mod summary;
mod markdown;
pub mod table;
mod timing;
mod verdict;
mod workers;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use zal::detector::Mode;
use zal::engine::EngineOptions;
use zal::metrics::Bootstrap;

use crate::bank_build::BuildParams;
use crate::onnx::write_bytes;
use cache::Cache;
use data_set::DataSet;
use graphs::{Graph, TrainRequest, TrainedStore, Trainer};
use judge::Group;
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

/// Runs the plan, or what is left of it, and writes the tables.
///
/// # Errors
/// Names what in plan or data cannot be used, or the scan or training that failed. What was finished
/// before stays finished.
pub fn run(plan: &Plan, setup: &Setup, trainer: &Trainer<'_>, say: &dyn Fn(&str)) -> Result<()> {
    plan.check()?;
    let sets = open_data_sets(plan, setup)?;
    let bench = Bench {
        setup,
        cache: Cache::open(&setup.out.join("cache"), setup.cache_bytes_max)?,
        trained: TrainedStore::open(&setup.out.join("trained"))?,
        rgb: setup.rgb.clone().map(Graph::new),
        times: Times::default(),
    };
    let mut cells = Vec::new();
    for (index, seed) in plan.seeds.iter().enumerate() {
        let set = &sets[index.min(sets.len() - 1)];
        for training in &plan.training {
            for arm in &plan.arms {
                let one = Pass { plan, bench: &bench, set, seed: *seed, training, arm };
                cells.extend(one.cells(trainer, say)?);
            }
        }
    }
    write_tables(plan, &bench, cells)
}

/// One training of one arm, in all its modes.
struct Pass<'a> {
    plan: &'a Plan,
    bench: &'a Bench<'a>,
    set: &'a DataSet,
    seed: u64,
    training: &'a [String],
    arm: &'a Arm,
}

impl Pass<'_> {
    fn cells(&self, trainer: &Trainer<'_>, say: &dyn Fn(&str)) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for mode in self.arm.modes_of(self.plan) {
            let place = self.place(mode);
            let failed = || format!("in {place}");
            let recipe = self.recipe(mode, trainer, say).with_context(failed)?;
            let figures = self.group(&recipe).with_context(failed)?;
            say(&format!("{place}: {} classes", figures.len()));
            cells.extend(figures.into_iter().map(|f| Cell { place: place.clone(), figures: f }));
        }
        Ok(cells)
    }

    fn place(&self, mode: Mode) -> Place {
        Place {
            data_set: self.set.name.clone(),
            seed: self.seed,
            training: self.training.join("+"),
            arm: self.arm.name.clone(),
            mode: mode.name().to_owned(),
        }
    }

    /// Settings and graphs; trains when the arm needs a training that is not there yet.
    fn recipe(&self, mode: Mode, trainer: &Trainer<'_>, say: &dyn Fn(&str)) -> Result<Recipe> {
        let params = recipe::mode_params(self.arm, mode, self.bench.rgb.is_some());
        let points = if !recipe::needs_points(&params) {
            None
        } else if self.arm.untrained {
            Some(PointGraphs::untrained(self.seed)?)
        } else {
            let request = self.request();
            let train = |request: &TrainRequest| {
                say(&format!(
                    "training on {}: seed {}, arm {}",
                    request.classes.join("+"),
                    self.seed,
                    self.arm.name
                ));
                self.bench.times.measure("training", || trainer(request))
            };
            Some(PointGraphs::from_files(self.bench.trained.get_or_train(&request, &self.set.key, &train)?))
        };
        Recipe::new(params, self.bench.rgb.clone(), points, (self.arm, self.seed))
    }

    fn request(&self) -> TrainRequest {
        TrainRequest {
            data: self.set.root.clone(),
            classes: self.training.to_vec(),
            test_classes: self.set.others(self.training).map(|class| class.name.clone()).collect(),
            seed: self.seed,
            overrides: self.arm.overrides(self.plan),
        }
    }

    fn group(&self, recipe: &Recipe) -> Result<Vec<table::ClassFigures>> {
        let build = BuildParams { fraction: self.plan.fraction, rows_max: self.plan.rows_max };
        let group = Group { set: self.set, training: self.training, recipe, build };
        let path = self.bench.setup.out.join("cells").join(format!("{}.csv", group.key(self.bench)));
        if !path.exists() {
            let text = table::figures_text(&group.judge(self.bench)?)?;
            fs::create_dir_all(self.bench.setup.out.join("cells"))?;
            write_bytes(&path, text.as_bytes())?;
        }
        // Read back even when just written: a study that went on has the same digits.
        table::read_figures(&path)
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

/// Sorts the cells and writes the tables that follow from them.
fn write_tables(plan: &Plan, bench: &Bench<'_>, mut cells: Vec<Cell>) -> Result<()> {
    let out = &bench.setup.out;
    cells.sort_by(|a, b| a.order(b));
    let put = |name: &str, text: String| -> Result<()> { Ok(write_bytes(&out.join(name), text.as_bytes())?) };
    put("cells.csv", table::cells_text(&cells)?)?;
    let summary = summary::summarise(&cells, &plan.arm_names(), plan.baseline(), &bench.setup.bootstrap);
    put("summary.csv", summary::csv(&summary))?;
    let backbone = bench.rgb.as_ref().map_or_else(
        || "no rgb branch".to_owned(),
        |graph| format!("rgb backbone sha256 {}", &graph.sha256[..16]),
    );
    put("summary.md", markdown::render(plan, &backbone, &summary))?;
    put("timing.txt", bench.times.text())
}

/// Reads a file that the user named.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Bytes shared by the workers.
pub(crate) type Bytes = Arc<[u8]>;
