//! `zal-export train`: E_theta and C_w from a folder of normal scans.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::bank_build::normal_scans;
use crate::commands::point_graphs::write_model;
use crate::graphs::normalcy::normalcy_model;
use crate::graphs::pointnet::pointnet_model;
use crate::networks::device::DeviceChoice;
use crate::onnx::WeightStorage;
use crate::onnx::proto::ModelProto;
use crate::provenance;
use crate::pseudo::Pool;
use crate::study::timing::{peak_memory_mb, words};
use crate::training::report::{Subject, page};
use crate::training::{self, EpochRecord, Progress, RunOptions, TrainParams, Trained, pools, scans};

/// Arguments of `zal-export train`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// Data set in the MVTec 3D-AD layout: DIR/CLASS/train/good/xyz/NNN.tiff with rgb/NNN.png
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Class or classes whose normal scans are learned from
    #[arg(long = "class", value_name = "C[,C2]", value_delimiter = ',', required = true)]
    pub classes: Vec<String>,
    /// Folder for pointnet.onnx, normalcy.onnx, training.json, training.html and the checkpoint
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How to train
    #[command(flatten)]
    pub settings: Settings,
}

/// What `train` and `make` share.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Passes over the scans [default: 30]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Seed: same seed, scans and settings give the same bytes on the same machine [default: 0]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Where to compute; the GPUs need a build with that feature
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceChoice,
    /// All other settings as TOML; every key has a default, `--print-settings` shows them
    #[arg(long, value_name = "TOML")]
    pub params: Option<PathBuf>,
    /// Print the settings as TOML and stop
    #[arg(long)]
    pub print_settings: bool,
}

const HELP: &str = "\
What happens: every scan is read and its part cut out, as the device does it (both framings: `line` and `paper`). \
From the part's surface patches of 64 points are taken. Pseudo anomalies are made from them: material of another \
scan, chosen by a random network's activation map, is added to the surface, or points are taken away. PointNet++ \
learns to tell normal patches from pseudo anomalies (contrastive loss) without repeating what FPFH says \
(disentanglement loss); a second network, the normalcy classifier, learns the same by cross-entropy. Every tenth \
scan is held out: on it the classifier's perturbation is chosen, and the page training.html shows what was reached.

A killed training goes on from the last finished epoch when the same command is given again, and ends with the same \
bytes.

From a data set to a bundle in one command: zal-export make. Step by step:
  zal-export backbone --arch resnet50 --weights-file resnet50.pth --out rgb.onnx
  zal-export train --data mvtec --class bagel --out bagel/
  zal-export bank --data mvtec --class bagel --mode line --rgb rgb.onnx --pointnet bagel/pointnet.onnx --out line.bank
  zal-export pack --name bagel --version 1 --rgb rgb.onnx --pointnet bagel/pointnet.onnx --bank line.bank --out bagel.zalb";

/// What stands in `training.json`. It holds no time and no folder of this machine: the same training writes the same
/// bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRecord {
    /// `zal.training/1`.
    pub format: String,
    /// Classes learned from.
    pub classes: Vec<String>,
    /// Number of scans and hash of their bytes, in words.
    pub data: String,
    /// Classes and solids that pseudo anomalies took material from.
    pub pool: Vec<String>,
    /// All settings.
    pub params: TrainParams,
    /// The step of the perturbation that was chosen.
    pub epsilon: f32,
    /// AUROC of the classifier for every step that was tried.
    pub epsilons: Vec<(f32, f64)>,
    /// One record an epoch.
    pub history: Vec<EpochRecord>,
}

impl TrainingRecord {
    /// What is known after a training.
    #[must_use]
    pub fn new(
        classes: &[String],
        scans: &scans::TrainingScans,
        pools: &[Pool],
        params: &TrainParams,
        trained: &Trained,
    ) -> Self {
        let pool: BTreeSet<String> = pools.iter().flat_map(|pool| pool.classes.clone()).collect();
        Self {
            format: TRAINING_FORMAT.into(),
            classes: classes.to_vec(),
            data: format!(
                "{}: {} normal scans, sha256 {}",
                classes.join(", "),
                scans.scan_count,
                scans.sha256
            ),
            pool: pool.into_iter().collect(),
            params: params.clone(),
            epsilon: trained.epsilon,
            epsilons: trained.epsilons.clone(),
            history: trained.history.clone(),
        }
    }
}

/// Format of [`TrainingRecord`].
pub const TRAINING_FORMAT: &str = "zal.training/1";

/// Runs the command.
///
/// # Errors
/// Names the scan, setting or file that cannot be used.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let params = settings(&args.settings)?;
    if args.settings.print_settings {
        println!("{}", toml::to_string_pretty(&params)?);
        return Ok(());
    }
    train_into(&args.data, &args.classes, &params, args.settings.device, &args.out)
}

/// The settings that the arguments ask for.
///
/// # Errors
/// When the file cannot be read or a setting cannot be.
pub fn settings(args: &Settings) -> anyhow::Result<TrainParams> {
    let mut params: TrainParams = match &args.params {
        None => TrainParams::default(),
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            toml::from_str(&text)
                .with_context(|| format!("{} is not a file of training settings", path.display()))?
        }
    };
    if let Some(epochs) = args.epochs {
        params.epochs = epochs;
    }
    if let Some(seed) = args.seed {
        params.seed = seed;
    }
    params.check()?;
    Ok(params)
}

/// Trains and writes everything into a folder.
///
/// # Errors
/// Names the scan, setting or file that cannot be used.
pub fn train_into(
    data: &Path,
    classes: &[String],
    params: &TrainParams,
    device: DeviceChoice,
    out: &Path,
) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let start = Instant::now();
    let (scans, pools) = load(data, classes, params)?;
    let options = RunOptions { device, checkpoint: Some(out.join("checkpoint.safetensors")) };
    let trained = train_with_table(&scans, &pools, params, &options)?;
    let record = TrainingRecord::new(classes, &scans, &pools, params, &trained);
    write(out, &record, &trained)?;
    println!("trained in {}, most memory {} MB", words(start.elapsed()), peak_memory_mb().unwrap_or(0));
    Ok(())
}

/// Scans and pools of a training, with a bar.
///
/// # Errors
/// Names the file that cannot be used.
pub fn load(
    data: &Path,
    classes: &[String],
    params: &TrainParams,
) -> anyhow::Result<(scans::TrainingScans, Vec<Pool>)> {
    let names = normal_scans(data, classes)?;
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {eta}")?;
    let bar = ProgressBar::new(names.len() as u64).with_style(style.clone()).with_message("reading scans");
    let scans = scans::load(&names, params, &|| bar.inc(1))?;
    bar.finish_and_clear();
    let bar = ProgressBar::no_length().with_message("choosing irrelevant material");
    let pools = pools::load(data, classes, params, &|| bar.inc(1))?;
    bar.finish_and_clear();
    Ok((scans, pools))
}

fn train_with_table(
    scans: &scans::TrainingScans,
    pools: &[Pool],
    params: &TrainParams,
    options: &RunOptions,
) -> anyhow::Result<Trained> {
    let bar = ProgressBar::new(params.epochs as u64);
    bar.set_style(ProgressStyle::with_template("epoch {pos}/{len} {bar:40} {msg} {eta}")?);
    // Without a terminal the bar is hidden and swallows its lines, so that they go to the stream themselves.
    let say = |line: String| if bar.is_hidden() { eprintln!("{line}") } else { bar.println(line) };
    say("epoch  contrastive  disentangl.  classifier  spread  directions  AUROC dist.  AUROC class.".into());
    let trained = training::train(scans, pools, params, options, &mut |progress| match progress {
        Progress::Resumed(epochs) => {
            say(format!("going on after epoch {epochs} of the checkpoint"));
            bar.set_position(epochs as u64);
        }
        Progress::Step(step, steps) => bar.set_message(format!("step {step}/{steps}")),
        Progress::Epoch(record) => {
            let (losses, held_out) = (record.losses, record.held_out);
            say(format!(
                "{:5}  {:11.4}  {:11.4}  {:10.4}  {:6.3}  {:10.1}  {:11.3}  {:12.3}",
                record.epoch,
                losses.contrastive,
                losses.disentanglement,
                losses.classifier,
                held_out.spread,
                held_out.directions,
                held_out.distance_auroc,
                held_out.classifier_auroc
            ));
            bar.inc(1);
        }
    })?;
    bar.finish_and_clear();
    Ok(trained)
}

/// Both graphs of a training, and where their weights come from in words.
///
/// # Errors
/// When a weight is not finite: the training has failed.
pub fn graphs(
    record: &TrainingRecord,
    trained: &Trained,
) -> anyhow::Result<(ModelProto, ModelProto, String)> {
    let weights =
        format!("trained on {} (seed {}, {} epochs)", record.data, record.params.seed, record.history.len());
    let patch = serde_json::to_string(&record.params.pseudo.patch)?;
    let pool = serde_json::to_string(&record.pool)?;
    let command = command(record);
    let metadata = || {
        let mut metadata = provenance::metadata_of(&weights, &command);
        metadata.push((provenance::PATCH_KEY.into(), patch.clone()));
        metadata.push((provenance::POOL_KEY.into(), pool.clone()));
        metadata
    };
    let pointnet = pointnet_model(&trained.pointnet, WeightStorage::F32, metadata())?;
    let mut classifier_metadata = metadata();
    classifier_metadata.push(("zal.epsilon".into(), trained.epsilon.to_string()));
    let normalcy =
        normalcy_model(&trained.normalcy, trained.epsilon, WeightStorage::F32, classifier_metadata)?;
    Ok((pointnet, normalcy, weights))
}

/// The command without folders: the same training writes the same bytes, wherever its scans lie.
fn command(record: &TrainingRecord) -> String {
    format!(
        "zal-export train --class {} --seed {} --epochs {} (other settings: training.json)",
        record.classes.join(","),
        record.params.seed,
        record.params.epochs
    )
}

/// Artifacts, record and page.
fn write(out: &Path, record: &TrainingRecord, trained: &Trained) -> anyhow::Result<()> {
    let (pointnet, normalcy, weights) = graphs(record, trained)?;
    for (name, model) in [("pointnet.onnx", &pointnet), ("normalcy.onnx", &normalcy)] {
        println!("{}", write_model(&out.join(name), model, &weights)?.words());
    }
    let put = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    put("training.json", &serde_json::to_vec_pretty(record)?)?;
    let subject =
        Subject { title: &record.classes.join(", "), command: &command(record), data: &record.data };
    put("training.html", page(&subject, &record.params, trained).as_bytes())?;
    println!("{}: curves, spread, ROC", out.join("training.html").display());
    Ok(())
}
