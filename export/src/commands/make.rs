//! `zal-export make`: from a folder of normal scans to a signed bundle.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use zal::detector::Mode;
use zal::detector::params::RepetitionTerm;

use super::{backbone, bank, pack, train};
use crate::bank_build::normal_scans;
use crate::graphs::resnet::ResnetArch;
use crate::onnx::WeightStorage;

/// Seed of the colour backbone when no weights are given.
const BACKBONE_SEED: u64 = 7;
/// Normal scans that go into the bundle with their scores.
const GOLDEN_SCANS: usize = 1;

/// Arguments of `zal-export make`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// Data set in the MVTec 3D-AD layout: DIR/CLASS/train/good/xyz/NNN.tiff with rgb/NNN.png
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Class or classes whose normal scans are learned from and fill the memory bank
    #[arg(long = "class", value_name = "C[,C2]", value_delimiter = ',', required = true)]
    classes: Vec<String>,
    /// The bundle to write
    #[arg(long, value_name = "ZALB")]
    out: PathBuf,
    /// Name of the bundle [default: the classes]
    #[arg(long)]
    name: Option<String>,
    /// Version of the bundle
    #[arg(long, default_value = "0.1.0")]
    version: String,
    /// The colour backbone, from `zal-export backbone`
    #[arg(long, value_name = "ONNX", conflicts_with_all = ["arch", "weights_file"])]
    rgb: Option<PathBuf>,
    /// Residual network for the colour backbone
    #[arg(long, value_enum, default_value = "resnet18")]
    arch: ResnetArch,
    /// Its ImageNet weights (.pth or .safetensors); seeded random weights without them
    #[arg(long, value_name = "FILE")]
    weights_file: Option<PathBuf>,
    /// Most rows of each memory bank
    #[arg(long, default_value_t = 20_000)]
    rows_max: usize,
    /// Secret key from `zal-export key`; the development key without it
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    /// Folder for what is made on the way; a killed command goes on there [default: beside the bundle]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// How to train
    #[command(flatten)]
    settings: train::Settings,
}

const HELP: &str = "\
Backbone, training, memory banks for the modes `line` and `paper`, golden scan, signature: every step as the command \
of its own name does it. Training: zal-export train --help.

  zal-export make --data mvtec --class bagel --weights-file resnet50.pth --arch resnet50 --out bagel.zalb
  zal score scan.tiff --bundle bagel.zalb";

/// Runs the command.
///
/// # Errors
/// Names the scan, setting or file that cannot be used.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let params = train::settings(&args.settings)?;
    if args.settings.print_settings {
        println!("{}", toml::to_string_pretty(&params)?);
        return Ok(());
    }
    let work = args.work.clone().unwrap_or_else(|| args.out.with_extension("work"));
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let rgb = match &args.rgb {
        Some(path) => path.clone(),
        None => make_backbone(args, &work)?,
    };
    train::train_into(&args.data, &args.classes, &params, args.settings.device, &work)?;
    let banks = [Mode::Line, Mode::Paper].map(|mode| make_bank(args, &work, &rgb, mode));
    let banks = banks.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let name = args.name.clone().unwrap_or_else(|| args.classes.join("-"));
    pack::run(&pack::Args {
        name,
        version: args.version.clone(),
        rgb: Some(rgb),
        pointnet: Some(work.join("pointnet.onnx")),
        normalcy: Some(work.join("normalcy.onnx")),
        bank: banks,
        training: Some(work.join("training.json")),
        golden: golden(args)?,
        sensor: None,
        licence: Vec::new(),
        judged: Vec::new(),
        key: args.key.clone(),
        security_epoch: 0,
        out: args.out.clone(),
    })?;
    println!("what was made on the way is in {}; training.html shows the training", work.display());
    Ok(())
}

fn make_backbone(args: &Args, work: &Path) -> anyhow::Result<PathBuf> {
    let out = work.join("rgb.onnx");
    let seed = args.weights_file.is_none().then_some(BACKBONE_SEED);
    if seed.is_some() {
        eprintln!(
            "note: the colour backbone has seeded random weights; give ImageNet weights with --weights-file for better \
             results"
        );
    }
    backbone::run(&backbone::Args {
        arch: Some(args.arch),
        weights_file: args.weights_file.clone(),
        seed,
        from_onnx: None,
        stride8: None,
        stride16: None,
        weights: WeightStorage::F16,
        int8: false,
        calibrate: Vec::new(),
        out: out.clone(),
        json: false,
    })?;
    Ok(out)
}

fn make_bank(args: &Args, work: &Path, rgb: &Path, mode: Mode) -> anyhow::Result<PathBuf> {
    let out = work.join(format!("{}.bank", mode.name()));
    bank::run(&bank::Args {
        data: args.data.clone(),
        classes: args.classes.clone(),
        mode,
        rgb: Some(rgb.into()),
        pointnet: Some(work.join("pointnet.onnx")),
        normalcy: Some(work.join("normalcy.onnx")),
        fraction: 0.1,
        rows_max: args.rows_max,
        weights: Vec::new(),
        normalcy_weight: None,
        repetition_weight: RepetitionTerm::WEIGHT,
        f16: true,
        out: out.clone(),
    })?;
    Ok(out)
}

/// The last normal scans: of those that are held out, where there are ten.
fn golden(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    let scans = normal_scans(&args.data, &args.classes)?;
    Ok(scans.into_iter().rev().take(GOLDEN_SCANS).map(|(_, path)| path).collect())
}
