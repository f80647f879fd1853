//! The zero-shot matrix: every training class against every other class, by several methods, on the
//! engine of [`crate::study`].
//!
//! ```text
//! data ── survey ──┬─ request ── plan ── units ── shard ─┬─ study ── cells ─┐
//!                  └─ flaws: stop, or leave out          └─ failures        ├─ tables
//! OUT1, OUT2, ... ── merge ─────────────────────────────────────── cells ───┘
//! ```
//!
//! All that the tables need stands in `run.json` and `cells.csv`: shards are put together from those
//! alone, and give the same bytes as one run.
//!
//! ```text
//! OUT/run.json        what was asked, what was left out, hashes of the data
//! OUT/cells.csv       one row a data set, seed, training, method, mode and test class
//! OUT/tables.md, tables.csv    the paper's tables, with ours beside them
//! OUT/summary.csv     means and paired differences with intervals
//! OUT/confounds.csv   what tells good from defective scans by itself
//! OUT/scans.csv, curves.csv    every judged scan, the curves of every class
//! OUT/report.html     the page: see [`crate::report`]
//! OUT/timing.txt      time and memory; OUT/command.txt: the command; no part of the result
//! OUT/cache, trained, cells    what a run goes on from: see [`crate::study`]
//! ```

mod confounds;
mod differences;
mod grid;
mod leakage;
mod left_out;
mod merge;
pub mod methods;
mod output;
mod page;
mod progress;
pub(crate) mod published;
mod record;
mod request;
mod row_tables;
mod shards;
mod tables;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use zal::contract::RGB;
use zal::engine::{self, EngineChoice, EngineOptions};
use zal::metrics::Bootstrap;

use crate::onnx::write_bytes;
use crate::study::cache::Cache;
use crate::study::data_set::DataSet;
use crate::study::graphs::Trainer;
use crate::study::plan::Plan;
use crate::study::survey::{Cost, Survey, Tools, survey};
use crate::study::timing::{Times, peak_memory_mb, words};
use crate::study::{Event, Outcome, Setup, Unit, Work, work_through};
use left_out::{LeftOut, message, of_failure, of_flaws, relevant};
pub use merge::merge;
use progress::{GroupProgress, ScanProgress};
use record::Record;
use request::Request;
pub use shards::Shard;

/// What is asked of an evaluation.
#[derive(Debug, Clone)]
pub struct Options {
    /// Data sets in the MVTec 3D-AD layout: one for all seeds, or one a seed.
    pub data: Vec<PathBuf>,
    /// Folder of results and intermediate results.
    pub out: PathBuf,
    /// Methods by name.
    pub methods: Vec<String>,
    /// Lists of training classes; none: every class by itself.
    pub training: Option<Vec<Vec<String>>>,
    /// Test classes; none: all.
    pub tests: Option<Vec<String>>,
    /// Seeds of the trainings.
    pub seeds: Vec<u64>,
    /// Settings of the trainings, over the defaults.
    pub train: Map<String, Value>,
    /// Share of the patches that a bank keeps.
    pub fraction: f32,
    /// Most rows of a bank.
    pub rows_max: usize,
    /// The colour backbone; none leaves the rgb branch out.
    pub rgb: Option<Vec<u8>>,
    /// Scans at a time.
    pub jobs: usize,
    /// What runs the graphs; with one thread.
    pub engine: EngineOptions,
    /// Most bytes of kept descriptors.
    pub cache_bytes_max: u64,
    /// Whether to go past what cannot be used or done.
    pub keep_going: bool,
    /// The part of the trainings to do; none: all.
    pub shard: Option<Shard>,
    /// The command, for `command.txt`.
    pub command: String,
}

impl Options {
    /// The library that runs the networks: another one's results differ in the last digits.
    fn engine_name(&self) -> String {
        let tract = self.engine.runtime_library.is_none() && self.engine.choice == EngineChoice::Auto;
        let tract = tract || self.engine.choice == EngineChoice::Tract;
        if tract { "tract" } else { "onnxruntime" }.to_owned()
    }

    fn setup(&self) -> Setup {
        Setup {
            data: self.data.clone(),
            out: self.out.clone(),
            jobs: self.jobs,
            engine: self.engine.clone(),
            rgb: self.rgb.clone(),
            cache_bytes_max: self.cache_bytes_max,
            bootstrap: Bootstrap::default(),
        }
    }
}

/// Runs an evaluation, or what is left of it, and writes its tables; gives the number of things that
/// were left out.
///
/// # Errors
/// Names what in request or data cannot be used, all at once and before any work, or the scan or
/// training that failed. What was finished before stays finished.
pub fn run(options: &Options, trainer: &Trainer<'_>) -> Result<usize> {
    let start = Instant::now();
    let (found, expected) = (options.data.len(), options.seeds.len());
    ensure!(
        expected > 0 && (found == 1 || found == expected),
        "--data: found {found} data sets for {expected} seeds, expected one for all or one for each"
    );
    methods::method_arms(&options.methods)?;
    if let Some(backbone) = &options.rgb {
        engine::load(&RGB, backbone, &options.engine).context("--rgb: the backbone cannot be used")?;
    }
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot make {}", options.out.display()))?;
    let times = Times::default();
    let surveys = survey_all(options, &times)?;
    let request = Request::resolve(options, &surveys)?;
    let plan = request.plan()?;
    let mut left_out = flaws(&request, &surveys, options.keep_going)?;
    let units = request.units(&plan);
    ensure!(!units.is_empty(), "nothing is left to do: {} things were left out", left_out.len());
    output::begin(&options.out, &options.command)?;
    let mine = options.shard.map_or_else(|| units.clone(), |shard| shard.deal(&units));
    let sets: Vec<DataSet> = surveys.iter().map(|survey| tested(&request, survey)).collect();
    let outcome = work(options, &plan, &mine, &sets, trainer)?;
    let roots: Vec<_> = sets.iter().map(|set| set.root.as_path()).collect();
    left_out.extend(outcome.failures.iter().map(|failure| of_failure(failure, &roots)));
    let mut record = Record::new(request, options.shard);
    record.left_out = left_out;
    record.seen = leakage::seen(&plan, &sets, &outcome.cells, &outcome.pools);
    let confounds = |survey| confounds::of_survey(survey, &record.request.tests, &Bootstrap::default());
    record.confounds = surveys.iter().flat_map(confounds).collect();
    record.sort();
    output::write(&options.out, &plan, &record, &outcome.cells)?;
    times.add(&outcome.times);
    write_timing(options, &times, start)?;
    page::write(options, &plan, &sets)?;
    Ok(record.left_out.len())
}

fn survey_all(options: &Options, times: &Times) -> Result<Vec<Survey>> {
    let cache = Cache::open(&options.out.join("cache"), options.cache_bytes_max)?;
    let mut surveys: Vec<Survey> = Vec::new();
    for root in &options.data {
        let bar = ScanProgress::new(&format!("looking at {}", root.display()));
        let tools = Tools { jobs: options.jobs, cache: &cache, times, tick: &|| bar.tick() };
        let found = survey(root, &tools)?;
        bar.finish();
        if surveys.iter().any(|earlier| earlier.set.name == found.set.name) {
            bail!(
                "two data sets are called {}: the tables name them by their folder, rename one",
                found.set.name
            );
        }
        surveys.push(found);
    }
    Ok(surveys)
}

/// What the flaws cost, when they are to be gone past.
fn flaws(request: &Request, surveys: &[Survey], keep_going: bool) -> Result<Vec<LeftOut>> {
    let found: Vec<_> = surveys.iter().map(|survey| (survey, relevant(request, survey))).collect();
    let all: Vec<_> = found.iter().flat_map(|(_, flaws)| flaws.iter().copied()).collect();
    if !all.is_empty() && !keep_going {
        bail!("{}", message(&all));
    }
    Ok(found.iter().flat_map(|(survey, flaws)| of_flaws(survey, flaws)).collect())
}

/// The data set with the test classes that are asked for.
fn tested(request: &Request, survey: &Survey) -> DataSet {
    let can = |class: &&String| !survey.costs(class, Cost::Testing);
    let tests = request.tests.iter().filter(can).cloned().collect();
    DataSet { tests: Some(tests), ..survey.set.clone() }
}

fn work(
    options: &Options,
    plan: &Plan,
    units: &[Unit],
    sets: &[DataSet],
    trainer: &Trainer<'_>,
) -> Result<Outcome> {
    let count = u32::try_from(Request::groups(plan, units).len())?;
    let progress = GroupProgress::new(count);
    let tell = |event: &Event<'_>| progress.tell(event);
    let work = Work { sets, units, keep_going: options.keep_going, tell: &tell };
    let outcome = work_through(plan, &options.setup(), &work, trainer);
    progress.finish();
    outcome
}

fn write_timing(options: &Options, times: &Times, start: Instant) -> Result<()> {
    let memory = peak_memory_mb().map_or_else(|| "unknown".to_owned(), |mb| format!("{mb} MB"));
    let text = format!(
        "{}\nthis run took {} with {} scans at a time; most memory {memory}\n",
        times.text(),
        words(start.elapsed()),
        options.jobs
    );
    Ok(write_bytes(&options.out.join("timing.txt"), text.as_bytes())?)
}
