//! `zal bench`: times every stage on this machine.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow};
use ndarray::{Array2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;
use zal::bank::search::SearchIndex;
use zal::cloud::OrganizedCloud;
use zal::features::fpfh::{self, FpfhParams};
use zal::features::{Branch, PatchFeatures, PatchGrid};
use zal::preprocess::{PreparedScan, prepare};
use zal::scan::{Scan, npy};
use zal::score::{self, BranchDistances};
use zal::synth::{Family, SynthParams};

use super::detector_args::{DetectorArgs, Judge, Origin};
use crate::exit::{CommandResult, Exit, Failure};

/// Arguments of `zal bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    detector: DetectorArgs,
    /// Time normals and FPFH of this cloud as it is: .npy of f32, `[height, width, 3]`
    /// (organised) or `[n, 3]`, metres [default: a procedural scan]
    #[arg(long, value_name = "FILE")]
    cloud: Option<PathBuf>,
    /// Rows of the made-up memory bank that is searched
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    bank_rows: u32,
    /// Repetitions of every stage
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeat: u16,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Side of the procedural scan in pixels.
const SCAN_SIDE: usize = 800;

/// Directions in which the made-up bank varies much: some 64 axes hold 95 % of the energy of
/// real descriptors, and a search that prunes must be timed on rows of that kind.
const BANK_AXES: usize = 64;

/// Times of one stage.
#[derive(Debug, Serialize)]
struct Stage {
    name: String,
    /// What was worked on.
    size: String,
    min_ms: f64,
    median_ms: f64,
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Report {
    threads: u16,
    repeat: u16,
    origin: Origin,
    stages: Vec<Stage>,
}

/// Runs the command.
///
/// # Errors
/// When the detector cannot be made, the cloud cannot be read, or a stage fails.
pub fn run(args: &Args) -> CommandResult {
    let mut judge = args.detector.open()?;
    let mut bench = Bench { repeat: args.repeat, stages: Vec::new() };
    match &args.cloud {
        Some(path) => bench_cloud(&mut bench, path)?,
        None => bench_scan(&mut bench, &mut judge, args.bank_rows)?,
    }
    let report = Report {
        threads: args.detector.threads,
        repeat: args.repeat,
        origin: judge.origin,
        stages: bench.stages,
    };
    print(&report, args.json)?;
    Ok(Exit::Ok)
}

/// Repeats and measures.
struct Bench {
    repeat: u16,
    stages: Vec<Stage>,
}

impl Bench {
    /// Runs a stage once to warm up and then `repeat` times; its last output.
    fn time<T>(
        &mut self,
        name: &str,
        size: String,
        mut stage: impl FnMut() -> anyhow::Result<T>,
    ) -> Result<T, Failure> {
        let failed = |error: anyhow::Error| Failure::new(Exit::Bug, error.context(format!("stage {name}")));
        let mut output = stage().map_err(failed)?;
        let mut times_ms = Vec::new();
        for _ in 0..self.repeat {
            let start = Instant::now();
            output = stage().map_err(failed)?;
            times_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times_ms.sort_unstable_by(f64::total_cmp);
        let (min_ms, median_ms) = (times_ms[0], times_ms[times_ms.len() / 2]);
        self.stages.push(Stage { name: name.into(), size, min_ms, median_ms });
        Ok(output)
    }
}

/// Normals and FPFH of a cloud from a file, with no preprocessing.
fn bench_cloud(bench: &mut Bench, path: &Path) -> Result<(), Failure> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(|error| Failure::new(Exit::NoInput, error))?;
    let (shape, values) = npy::read_f32(&bytes)
        .with_context(|| format!("{} cannot be used", path.display()))
        .map_err(|error| Failure::new(Exit::BadData, error))?;
    let points = || -> Vec<[f32; 3]> { values.as_chunks::<3>().0.to_vec() };
    let params = FpfhParams::default();
    let bad = |error: anyhow::Error| Failure::new(Exit::BadData, error);
    match shape[..] {
        [height, width, 3] => {
            let cloud = OrganizedCloud::new(height, width, points()).map_err(|error| bad(error.into()))?;
            let size = format!("{} points on {height} x {width}", cloud.valid_count());
            bench.time("normals and fpfh", size, || Ok(fpfh::describe_points(&cloud, &params)))?;
        }
        [count, 3] => {
            let points = points();
            let describe = || Ok(fpfh::describe_unorganized(&points, None, &params)?);
            bench.time("normals and fpfh", format!("{count} points, not organised"), describe)?;
        }
        _ => {
            let found =
                anyhow!("{} has the shape {shape:?}, expected [height, width, 3] or [n, 3]", path.display());
            return Err(bad(found));
        }
    }
    Ok(())
}

/// Every stage on a procedural scan.
fn bench_scan(bench: &mut Bench, judge: &mut Judge, bank_rows: u32) -> Result<(), Failure> {
    let params = SynthParams { height: SCAN_SIDE, width: SCAN_SIDE, ..SynthParams::new(Family::Ring, 1) };
    let scan = zal::synth::generate(&params).scan;
    let pixels = format!("{SCAN_SIDE} x {SCAN_SIDE}");
    bench_read(bench, &scan, &pixels)?;
    let settings = judge.detector.params().preprocess.clone();
    let prepared = bench.time("preprocess", pixels.clone(), || Ok(prepare(&scan, &settings)?))?;
    let grid = PatchGrid::of(&prepared.cloud);
    let features = bench_branches(bench, judge, &prepared, &grid)?;
    let dims = features.iter().map(|f| f.rows.ncols()).sum();
    let distances = bench_search(bench, grid.count(), bank_rows as usize, dims)?;
    bench_score(bench, &prepared, &grid, &distances)?;
    let rows = judge.detector.bank_rows();
    bench.time("whole scan", format!("{pixels}, {rows} rows of the bundle's bank"), || {
        Ok(judge.detector.detect(&scan))
    })?;
    Ok(())
}

/// Parsing the cloud from the bytes of a .npy file.
fn bench_read(bench: &mut Bench, scan: &Scan, pixels: &str) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let shape = [scan.cloud.height(), scan.cloud.width(), 3];
    npy::write_f32(&mut bytes, &shape, scan.cloud.points().as_flattened())
        .map_err(|error| Failure::new(Exit::Bug, error))?;
    let read = || {
        let (_, values) = npy::read_f32(&bytes)?;
        Ok(OrganizedCloud::new(shape[0], shape[1], values.as_chunks::<3>().0.to_vec())?)
    };
    bench.time("read", format!("{pixels} .npy from memory"), read)?;
    Ok(())
}

/// The branches of the bundle.
fn bench_branches(
    bench: &mut Bench,
    judge: &mut Judge,
    prepared: &PreparedScan,
    grid: &PatchGrid,
) -> Result<Vec<PatchFeatures>, Failure> {
    let mut features = Vec::new();
    for branch in judge.detector.params().describe.branches.clone() {
        let size = match branch {
            Branch::Rgb => "224 x 224".into(),
            Branch::Fpfh => format!("{} points, normals included", prepared.cloud.valid_count()),
            Branch::Point => format!("{} patches", grid.count()),
        };
        let describer = judge.detector.describer();
        features.push(bench.time(branch.name(), size, || Ok(describer.describe(branch, prepared, grid)?))?);
    }
    Ok(features)
}

/// Nearest rows of a made-up bank; the distances.
fn bench_search(bench: &mut Bench, patches: usize, rows: usize, dims: usize) -> Result<Vec<f32>, Failure> {
    let all = descriptors(patches + rows, dims);
    let (queries, bank) = all.view().split_at(Axis(0), patches);
    let index =
        SearchIndex::new(bank.to_shared(), 0..dims).map_err(|error| Failure::new(Exit::Bug, error))?;
    let size = format!("{patches} x {dims} in {rows} made-up rows");
    let found = bench.time("bank search", size, || Ok(index.nearest(queries, 1)?))?;
    Ok(found.iter().map(|neighbors| neighbors[0].distance).collect())
}

/// Scores, map and regions.
fn bench_score(
    bench: &mut Bench,
    prepared: &PreparedScan,
    grid: &PatchGrid,
    distances: &[f32],
) -> Result<(), Failure> {
    let part = BranchDistances { branch: Branch::Rgb, distances, weight: 1.0, spread: 1.0 };
    let judge = || {
        let fused = score::fuse_line(&[part; 3]);
        let map = score::lifted_map(grid, &fused.std, score::SIGMA_PX, &prepared.cloud, prepared.window);
        Ok(score::regions(&map, prepared, score::region_threshold(&map), 16))
    };
    bench.time("score and map", format!("{} patches", grid.count()), judge)?;
    Ok(())
}

/// Made-up descriptors `[rows, dims]`: random in [`BANK_AXES`] directions of falling
/// strength, with a little noise in all.
fn descriptors(rows: usize, dims: usize) -> Array2<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    let mut uniform = |shape: (usize, usize), scale: &dyn Fn(usize) -> f32| {
        Array2::from_shape_fn(shape, |(_, column)| {
            let bits = u16::try_from(generator.next_u32() >> 16).unwrap_or(u16::MAX);
            (f32::from(bits) / f32::from(u16::MAX) - 0.5) * scale(column)
        })
    };
    let falling = |axis: usize| 8.0 / (1.0 + f32::from(u16::try_from(axis).unwrap_or(u16::MAX))).sqrt();
    let strengths = uniform((rows, BANK_AXES.min(dims)), &falling);
    let directions = uniform((BANK_AXES.min(dims), dims), &|_| 1.0);
    strengths.dot(&directions) + uniform((rows, dims), &|_| 0.5)
}

/// Prints the report as a table or as JSON.
fn print(report: &Report, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let text = serde_json::to_string(report).map_err(|error| Failure::new(Exit::Bug, error))?;
        println!("{text}");
        return Ok(());
    }
    let (origin, engine) = (&report.origin, &report.origin.engine);
    println!(
        "bundle {}, mode {}, {} {} on {}, {} threads, {} repetitions",
        origin.bundle,
        origin.mode.name(),
        engine.engine,
        engine.version,
        engine.provider,
        report.threads,
        report.repeat
    );
    println!("{:<18} {:>10} {:>10}  of", "stage", "min ms", "median ms");
    for stage in &report.stages {
        println!("{:<18} {:>10.2} {:>10.2}  {}", stage.name, stage.min_ms, stage.median_ms, stage.size);
    }
    Ok(())
}
