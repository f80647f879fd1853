//! `zal-export backbone`: the colour backbone as ONNX, from random weights, a checkpoint or a foreign graph;
//! on request quantised to 8 bits.

mod deviation;
mod int8;

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::point_graphs::{Artifact, write_model};
use crate::graphs::resnet::{ANCHOR, ResnetArch, ResnetWeights, resnet_model};
use crate::onnx::WeightStorage;
use crate::onnx::import::{OutputNames, import_backbone};
use crate::onnx::proto::ModelProto;
use crate::provenance;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::seeded::SeededWeights;

/// Arguments of `zal-export backbone`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["weights_file", "seed", "from_onnx"])))]
pub struct Args {
    /// Network whose graph is written; its tensor names are torchvision's
    #[arg(long, value_enum, required_unless_present = "from_onnx", conflicts_with = "from_onnx")]
    pub arch: Option<ResnetArch>,
    /// Checkpoint with trained weights: .pth, .pt or .safetensors
    #[arg(long, value_name = "FILE")]
    pub weights_file: Option<PathBuf>,
    /// Seed of random weights: same seed, same bytes
    #[arg(long)]
    pub seed: Option<u64>,
    /// Existing ONNX backbone, whose two outputs are named by --stride8 and --stride16
    #[arg(long, value_name = "FILE", requires_all = ["stride8", "stride16"])]
    pub from_onnx: Option<PathBuf>,
    /// Tensor of the existing backbone at 1/8 of the image's size
    #[arg(long, value_name = "TENSOR", requires = "from_onnx")]
    pub stride8: Option<String>,
    /// Tensor of the existing backbone at 1/16 of the image's size
    #[arg(long, value_name = "TENSOR", requires = "from_onnx")]
    pub stride16: Option<String>,
    /// How the weights are stored
    #[arg(long, value_enum, default_value_t)]
    pub weights: WeightStorage,
    /// Quantise to 8 bits, with ranges measured on the scans of --calibrate
    #[arg(long, requires = "calibrate", conflicts_with = "weights")]
    pub int8: bool,
    /// Scans, folders of scans or data sets (their normal training scans) with colour, as the device will see
    /// them; every fourth is held out to measure the deviation
    #[arg(long, value_name = "DIR|SCAN", num_args = 1.., requires = "int8")]
    pub calibrate: Vec<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Print one JSON object instead of words
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the weights or the graph cannot be read or do not fit, or the file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (model, provenance) = match (&args.from_onnx, args.arch) {
        (Some(file), _) => imported(args, file)?,
        (None, Some(arch)) => written(args, arch)?,
        (None, None) => anyhow::bail!("found neither --arch nor --from-onnx, expected one of them"),
    };
    if args.int8 {
        return write_int8(args, &model, &provenance);
    }
    let artifact = write_model(&args.out, &model, &provenance)?;
    if args.json {
        println!("{}", serde_json::to_string(&artifact)?);
    } else {
        println!("{}", artifact.words());
    }
    Ok(())
}

/// The artifact and what quantising did to it.
#[derive(Debug, Serialize)]
struct Int8Artifact {
    #[serde(flatten)]
    artifact: Artifact,
    int8: int8::Int8Report,
}

fn write_int8(args: &Args, model: &ModelProto, provenance: &str) -> anyhow::Result<()> {
    let (model, provenance, int8) = int8::quantized(model, provenance, &args.calibrate)?;
    let artifact = write_model(&args.out, &model, &provenance)?;
    if args.json {
        println!("{}", serde_json::to_string(&Int8Artifact { artifact, int8 })?);
    } else {
        println!("{}\n{}", artifact.words(), int8.words());
    }
    Ok(())
}

fn written(args: &Args, arch: ResnetArch) -> anyhow::Result<(ModelProto, String)> {
    let (weights, provenance) = match (&args.weights_file, args.seed) {
        (Some(file), _) => {
            let checkpoint = Checkpoint::open(file, ANCHOR)?;
            let provenance = format!("{} with weights of {}", arch.name(), named_with_hash(file)?);
            (ResnetWeights::Checkpoint(checkpoint), provenance)
        }
        (None, Some(seed)) => {
            let provenance = format!("{} with seeded random weights, untrained (seed {seed})", arch.name());
            (ResnetWeights::Seeded(SeededWeights::new(seed)), provenance)
        }
        (None, None) => anyhow::bail!("found neither --weights-file nor --seed, expected one of them"),
    };
    let model = resnet_model(arch, weights, args.weights, provenance::metadata(&provenance))?;
    Ok((model, provenance))
}

fn imported(args: &Args, file: &Path) -> anyhow::Result<(ModelProto, String)> {
    let (Some(stride8), Some(stride16)) = (&args.stride8, &args.stride16) else {
        anyhow::bail!("--from-onnx expects --stride8 and --stride16, the names of its two tensors");
    };
    let provenance = format!("imported from {}", named_with_hash(file)?);
    let names = OutputNames { stride8, stride16 };
    let source = crate::onnx::read(file)?;
    let model = import_backbone(source, &names, args.weights, provenance::metadata(&provenance))
        .with_context(|| format!("importing {}", file.display()))?;
    Ok((model, provenance))
}

/// File name and hash: what provenance needs, and no path of the machine it was made on.
fn named_with_hash(file: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{name} (sha256 {})", super::point_graphs::sha256_hex(&bytes)))
}
