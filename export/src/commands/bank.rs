//! `zal-export bank`: normal scans into a memory bank and its record.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use zal::bank::file::{RowDtype, write};
use zal::contract::{GraphContract, NORMALCY, POINTNET, RGB};
use zal::detector::params::{NormalcyTerm, RepetitionTerm, Scoring};
use zal::detector::{Mode, ModeParams};
use zal::engine::{self, Engine};
use zal::features::Branch;
use zal::features::describe::{Describer, Graphs};

use crate::bank_build::{BankRecord, BuildParams, build, embedded_engine, mode_settings, normal_scans};
use crate::provenance;

/// Weight of the normalcy classifier where none is asked for: the studies under `export/studies` found that it costs
/// more than it brings beside the trained descriptor.
const DEFAULT_LAMBDA: f32 = 0.0;

/// Arguments of `zal-export bank`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data set in the MVTec 3D-AD layout
    #[arg(long, value_name = "DIR")]
    pub(super) data: PathBuf,
    /// Classes whose normal scans (train/good) fill the bank; all without it
    #[arg(long = "class", value_name = "C[,C2]", value_delimiter = ',')]
    pub(super) classes: Vec<String>,
    /// Mode that the bank is for: `line` or `paper`
    #[arg(long, default_value = "line", value_parser = parse_mode)]
    pub(super) mode: Mode,
    /// The colour backbone; without it there is no rgb branch
    #[arg(long, value_name = "ONNX")]
    pub(super) rgb: Option<PathBuf>,
    /// The PointNet++ descriptor; without it there is no point branch
    #[arg(long, value_name = "ONNX")]
    pub(super) pointnet: Option<PathBuf>,
    /// The normalcy classifier (mode `paper`); without it lambda is 0
    #[arg(long, value_name = "ONNX")]
    pub(super) normalcy: Option<PathBuf>,
    /// Share of the patches that the coreset keeps
    #[arg(long, default_value_t = 0.1)]
    pub(super) fraction: f32,
    /// Most rows of the bank
    #[arg(long, default_value_t = 20_000)]
    pub(super) rows_max: usize,
    /// Weights of the branches in mode `line`, such as `rgb=1,fpfh=1,point=0.5`
    #[arg(long, value_delimiter = ',', value_parser = parse_weight)]
    pub(super) weights: Vec<(Branch, f32)>,
    /// Weight of the normalcy classifier: lambda of mode `paper`, a term of the sum in mode `line`; 0 leaves it out
    #[arg(long, value_name = "W", requires = "normalcy", value_parser = parse_positive)]
    pub(super) normalcy_weight: Option<f32>,
    /// Weight of the scan itself as reference, against that of the bank: mode `line` adds each patch's distance to
    /// the nearest other patch of its own scan; 0 leaves it out
    #[arg(long, value_name = "W", default_value_t = RepetitionTerm::WEIGHT, value_parser = parse_positive)]
    pub(super) repetition_weight: f32,
    /// Store the rows in half precision
    #[arg(long)]
    pub(super) f16: bool,
    /// The bank to write; its record is written beside it as FILE.json
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

/// Fills a bank.
///
/// # Errors
/// Names the scan or artifact that cannot be used.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let scans = normal_scans(&args.data, &args.classes)?;
    let mut params = settings(args);
    if let Some(path) = args.pointnet.as_deref().or(args.normalcy.as_deref()) {
        let onnx = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        params.describe.patch =
            provenance::patch_of_graph(&onnx).with_context(|| format!("{} is refused", path.display()))?;
    }
    let options = embedded_engine();
    let graphs = Graphs {
        rgb: graph(&RGB, args.rgb.as_deref(), &options)?,
        pointnet: graph(&POINTNET, args.pointnet.as_deref(), &options)?,
        normalcy: graph(&NORMALCY, args.normalcy.as_deref(), &options)?,
    };
    let mut describer = Describer::new(params.describe.clone(), graphs)?;
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {eta}")?;
    let bar = ProgressBar::new(scans.len() as u64).with_style(style).with_message("describing scans");
    let built = build(
        &scans,
        params,
        &mut describer,
        BuildParams { fraction: args.fraction, rows_max: args.rows_max },
        &mut |done| bar.set_position(done as u64),
    )?;
    bar.finish();
    let (bank, params, hash) = built;
    let mut bytes = Vec::new();
    write(&bank, if args.f16 { RowDtype::F16 } else { RowDtype::F32 }, &mut bytes)?;
    fs::write(&args.out, &bytes).with_context(|| format!("cannot write {}", args.out.display()))?;
    let classes = if args.classes.is_empty() { "all classes".to_owned() } else { args.classes.join(", ") };
    let record = BankRecord {
        mode: args.mode,
        params,
        command: provenance::command_line(std::env::args()),
        data: format!("{classes}: {} normal scans, sha256 of the xyz files {hash}", scans.len()),
    };
    let record_path = BankRecord::path_beside(&args.out);
    fs::write(&record_path, serde_json::to_vec_pretty(&record)?)
        .with_context(|| format!("cannot write {}", record_path.display()))?;
    println!(
        "{}: {} rows of {} from {} scans, {} bytes",
        args.out.display(),
        bank.rows.nrows(),
        bank.dims(),
        bank.scans.len(),
        bytes.len()
    );
    Ok(())
}

/// The mode's defaults without the branches that have no graph.
fn settings(args: &Args) -> ModeParams {
    let present =
        [(Branch::Rgb, args.rgb.is_some()), (Branch::Fpfh, true), (Branch::Point, args.pointnet.is_some())];
    let branches: Vec<Branch> = present.iter().filter(|(_, given)| *given).map(|(b, _)| *b).collect();
    let mut params = mode_settings(args.mode, &branches, &args.weights);
    let weight = args.normalcy_weight.filter(|_| args.normalcy.is_some());
    match &mut params.scoring {
        Scoring::Joint { lambda, .. } => *lambda = weight.unwrap_or(DEFAULT_LAMBDA),
        Scoring::Late { normalcy, repetition, .. } => {
            let term =
                RepetitionTerm { weight: args.repetition_weight, ..RepetitionTerm::of(branches.len()) };
            *repetition = (args.repetition_weight > 0.0).then_some(term);
            *normalcy = weight.filter(|w| w.abs() > 0.0).map(|weight| NormalcyTerm { weight, spread: 1.0 });
        }
    }
    params
}

fn graph(
    contract: &GraphContract,
    path: Option<&Path>,
    options: &engine::EngineOptions,
) -> anyhow::Result<Option<Box<dyn Engine>>> {
    let Some(path) = path else { return Ok(None) };
    let onnx = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let loaded = engine::load(contract, &onnx, options);
    loaded.map(Some).with_context(|| format!("{} is refused", path.display()))
}

pub(super) fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "line" => Ok(Mode::Line),
        "paper" => Ok(Mode::Paper),
        _ => Err(format!("found `{text}`, expected `line` or `paper`")),
    }
}

fn parse_positive(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|w: &f32| w.is_finite() && *w >= 0.0);
    number.ok_or_else(|| format!("found `{text}`, expected a number of 0 or more"))
}

fn parse_weight(text: &str) -> Result<(Branch, f32), String> {
    let expected = || format!("found `{text}`, expected BRANCH=WEIGHT with rgb, fpfh or point and a number");
    let (name, weight) = text.split_once('=').ok_or_else(expected)?;
    let branch = [Branch::Rgb, Branch::Fpfh, Branch::Point].into_iter().find(|b| b.name() == name);
    branch.zip(parse_positive(weight).ok()).ok_or_else(expected)
}
