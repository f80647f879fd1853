//! `zal-export point-graphs`: the point descriptor and the normalcy classifier with random weights.

use std::path::{Path, PathBuf};

use anyhow::Context;
use prost::Message;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::graphs::normalcy::{NormalcyWeights, normalcy_model};
use crate::graphs::pointnet::{PointNetWeights, pointnet_model};
use crate::onnx::proto::ModelProto;
use crate::onnx::{WeightStorage, write_bytes};
use crate::provenance;

/// Arguments of `zal-export point-graphs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seed of the random weights: same seed, same bytes
    #[arg(long)]
    pub seed: u64,
    /// Folder that receives pointnet.onnx and normalcy.onnx
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Step of the classifier's perturbation, in patch units; its sign decides the direction
    #[arg(long, default_value_t = 0.01, allow_negative_numbers = true, value_name = "EPS")]
    pub epsilon: f32,
    /// How the weights are stored
    #[arg(long, value_enum, default_value_t)]
    pub weights: WeightStorage,
    /// Print one JSON object instead of words
    #[arg(long)]
    pub json: bool,
}

/// One written artifact.
#[derive(Debug, Serialize)]
pub struct Artifact {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: usize,
    /// Its hash, lower-case hexadecimal.
    pub sha256: String,
    /// What its weights are.
    pub provenance: String,
}

/// Runs the command.
///
/// # Errors
/// When the folder cannot be made or a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    anyhow::ensure!(args.epsilon.is_finite(), "--epsilon: found {}, expected a finite number", args.epsilon);
    std::fs::create_dir_all(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    let provenance = format!("seeded random weights, untrained (seed {})", args.seed);
    let metadata = || provenance::metadata(&provenance);
    let pointnet = pointnet_model(&PointNetWeights::seeded(args.seed), args.weights, metadata())?;
    let mut classifier_metadata = metadata();
    classifier_metadata.push(("zal.epsilon".to_owned(), args.epsilon.to_string()));
    let weights = NormalcyWeights::seeded(args.seed);
    let normalcy = normalcy_model(&weights, args.epsilon, args.weights, classifier_metadata)?;
    let written = [
        write_model(&args.out.join("pointnet.onnx"), &pointnet, &provenance)?,
        write_model(&args.out.join("normalcy.onnx"), &normalcy, &provenance)?,
    ];
    if args.json {
        println!("{}", serde_json::to_string(&written)?);
    } else {
        written.iter().for_each(|artifact| println!("{}", artifact.words()));
    }
    Ok(())
}

impl Artifact {
    /// One line for people.
    #[must_use]
    pub fn words(&self) -> String {
        format!(
            "{}: {} bytes, sha256 {}\n  {}",
            self.path.display(),
            self.size_bytes,
            self.sha256,
            self.provenance
        )
    }
}

/// Writes a model and says what was written.
///
/// # Errors
/// When the file cannot be written.
pub fn write_model(path: &Path, model: &ModelProto, provenance: &str) -> anyhow::Result<Artifact> {
    let bytes = model.encode_to_vec();
    write_bytes(path, &bytes)?;
    Ok(Artifact {
        path: path.into(),
        size_bytes: bytes.len(),
        sha256: sha256_hex(&bytes),
        provenance: provenance.into(),
    })
}

/// Hash of the bytes, lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
