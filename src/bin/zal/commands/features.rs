//! `zal features`: one branch's descriptors of a scan as `.npy`, for notebooks and for checks
//! against other programs.
//!
//! `--level point` (FPFH only) describes the file's measured points as they are, without any
//! preprocessing: `[n, 33]`. `--level patch` prepares the scan as the bundle's mode does:
//! `[784, dims]`, a row a patch of the 28 x 28 grid, NaN where a patch is not valid.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use ndarray::Array2;
use zal::features::fpfh::{
    FinishingRule, FpfhParams, Orientation, describe_points, describe_unorganized, pool_patches,
};
use zal::features::{Branch, GRID_SIZE, PatchGrid};
use zal::preprocess::prepare;
use zal::scan::npy;

use super::detector_args::{DetectorArgs, read_scan};
use crate::exit::{CommandResult, Exit, Failure};

/// Arguments of `zal features`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A scan, or (FPFH at point level) a plain cloud: .npy `[n, 3]` f32 in metres
    scan: PathBuf,
    /// Which descriptors
    #[arg(long, value_enum)]
    branch: BranchArg,
    /// The .npy file to write
    #[arg(long, value_name = "NPY")]
    out: PathBuf,
    /// A row a measured point, or a row a patch [default: point for fpfh, patch else]
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// FPFH: finishing rule
    #[arg(long, value_enum, default_value_t = RuleArg::Open3d)]
    rule: RuleArg,
    /// FPFH: points for a normal, the point itself included
    #[arg(long, value_name = "N", default_value_t = 30)]
    k_normals: usize,
    /// FPFH: points for a descriptor, the point itself included
    #[arg(long, value_name = "N", default_value_t = 100)]
    k: usize,
    /// FPFH: all points within this radius for a normal, instead of the nearest
    #[arg(long, value_name = "M")]
    radius_normals_m: Option<f32>,
    /// FPFH: all points within this radius for a descriptor, instead of the nearest
    #[arg(long, value_name = "M")]
    radius_m: Option<f32>,
    /// FPFH: which way normals point
    #[arg(long, value_enum, default_value_t = OrientationArg::Camera)]
    orientation: OrientationArg,
    /// FPFH at point level: normals to use as they are, .npy `[n, 3]` f32
    #[arg(long, value_name = "NPY")]
    normals: Option<PathBuf>,
    #[command(flatten)]
    detector: DetectorArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BranchArg {
    Rgb,
    Fpfh,
    Pointnet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    Point,
    Patch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RuleArg {
    Open3d,
    Pcl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OrientationArg {
    Camera,
    None,
}

/// Runs the command.
///
/// # Errors
/// When the file cannot be described or the result not be written.
pub fn run(args: &Args) -> CommandResult {
    let level = args.level.unwrap_or(match args.branch {
        BranchArg::Fpfh => Level::Point,
        BranchArg::Rgb | BranchArg::Pointnet => Level::Patch,
    });
    let rows = match (level, args.branch) {
        (Level::Point, BranchArg::Fpfh) => point_rows(args)?,
        (Level::Point, _) => {
            let error = anyhow!("--level point is for --branch fpfh alone; the others describe patches");
            return Err(Failure::new(Exit::Usage, error));
        }
        (Level::Patch, _) => patch_rows(args)?,
    };
    write(&args.out, &rows)?;
    println!("{}: {} rows of {}", args.out.display(), rows.nrows(), rows.ncols());
    Ok(Exit::Ok)
}

impl Args {
    fn fpfh(&self) -> FpfhParams {
        FpfhParams {
            k_normals: self.k_normals,
            k: self.k,
            radius_normals_m: self.radius_normals_m,
            radius_m: self.radius_m,
            rule: match self.rule {
                RuleArg::Open3d => FinishingRule::Open3d,
                RuleArg::Pcl => FinishingRule::Pcl,
            },
            orientation: match self.orientation {
                OrientationArg::Camera => Orientation::Camera,
                OrientationArg::None => Orientation::None,
            },
        }
    }
}

/// FPFH of every measured point.
fn point_rows(args: &Args) -> Result<Array2<f32>, Failure> {
    let _ = rayon::ThreadPoolBuilder::new().num_threads(args.detector.threads.into()).build_global();
    let bad = |error: anyhow::Error| Failure::new(Exit::BadData, error);
    let normals = args.normals.as_deref().map(read_triples).transpose()?;
    if let Some(points) = plain_cloud(&args.scan)? {
        return describe_unorganized(&points, normals.as_deref(), &args.fpfh()).map_err(|e| bad(e.into()));
    }
    let scan = read_scan(&args.scan)?;
    let Some(normals) = normals else { return Ok(describe_points(&scan.cloud, &args.fpfh())) };
    let points: Vec<[f32; 3]> =
        scan.cloud.valid_indices().into_iter().map(|index| scan.cloud.points()[index]).collect();
    describe_unorganized(&points, Some(&normals), &args.fpfh()).map_err(|e| bad(e.into()))
}

/// The points of a `.npy` of shape `[n, 3]`; none when the file is anything else.
fn plain_cloud(path: &Path) -> Result<Option<Vec<[f32; 3]>>, Failure> {
    if path.extension().is_none_or(|e| e != "npy") {
        return Ok(None);
    }
    let (shape, values) = read_npy(path)?;
    let triples = shape.len() == 2 && shape[1] == 3;
    Ok(triples.then(|| values.as_chunks().0.to_vec()))
}

fn read_triples(path: &Path) -> Result<Vec<[f32; 3]>, Failure> {
    plain_cloud(path)?.ok_or_else(|| {
        Failure::new(Exit::BadData, anyhow!("{} is not a .npy of shape [n, 3]", path.display()))
    })
}

fn read_npy(path: &Path) -> Result<(Vec<usize>, Vec<f32>), Failure> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(|error| Failure::new(Exit::NoInput, error))?;
    npy::read_f32(&bytes)
        .with_context(|| format!("{} is refused", path.display()))
        .map_err(|error| Failure::new(Exit::BadData, error))
}

/// One branch's patches as the bundle's mode describes them, FPFH with the settings given.
fn patch_rows(args: &Args) -> Result<Array2<f32>, Failure> {
    let scan = read_scan(&args.scan)?;
    let mut judge = args.detector.open()?;
    let bad = |error: anyhow::Error| Failure::new(Exit::BadData, error);
    let prepared = prepare(&scan, &judge.detector.params().preprocess).map_err(|e| bad(e.into()))?;
    let grid = PatchGrid::of(&prepared.cloud);
    let branch = match args.branch {
        BranchArg::Rgb => Branch::Rgb,
        BranchArg::Fpfh => Branch::Fpfh,
        BranchArg::Pointnet => Branch::Point,
    };
    let features = if branch == Branch::Fpfh {
        let missing = judge.detector.params().describe.fpfh_missing;
        pool_patches(&prepared.cloud, &grid, &describe_points(&prepared.cloud, &args.fpfh()), missing)
    } else {
        judge.detector.describer().describe(branch, &prepared, &grid).map_err(|e| bad(e.into()))?
    };
    let mut rows = Array2::from_elem((GRID_SIZE * GRID_SIZE, features.rows.ncols()), f32::NAN);
    for (patch, row) in grid.patches().iter().zip(features.rows.rows()) {
        rows.row_mut(usize::from(*patch)).assign(&row);
    }
    Ok(rows)
}

fn write(path: &Path, rows: &Array2<f32>) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let values: Vec<f32> = rows.iter().copied().collect();
    npy::write_f32(&mut bytes, &[rows.nrows(), rows.ncols()], &values)
        .map_err(anyhow::Error::from)
        .and_then(|()| std::fs::write(path, bytes).map_err(anyhow::Error::from))
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(|error| Failure::new(Exit::Io, error))
}
