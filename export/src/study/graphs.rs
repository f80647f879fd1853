//! Trained graphs: the seam to the trainer, and the folder that keeps what it made.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use prost::Message;
use serde::Serialize;
use serde_json::Value;

use super::{Bytes, cache, read_file};
use crate::commands::point_graphs::sha256_hex;
use crate::onnx::proto::{ModelProto, elem};
use crate::onnx::write_bytes;

/// What is to be trained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainRequest {
    /// Data set in the MVTec 3D-AD layout.
    pub data: PathBuf,
    /// Classes to train on.
    pub classes: Vec<String>,
    /// Classes that will be tested on: nothing of them may be seen.
    pub test_classes: Vec<String>,
    /// Seed of the training.
    pub seed: u64,
    /// Settings over the trainer's defaults.
    pub overrides: Value,
}

/// What a training gives.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphFiles {
    /// `pointnet.onnx`.
    pub pointnet: Vec<u8>,
    /// `normalcy.onnx`, with the perturbation that the training chose.
    pub normalcy: Vec<u8>,
    /// How the patches must be described for these graphs: laid over the detector's `DescribeParams`
    /// key by key; an empty object when the defaults hold.
    pub describe: Value,
}

/// Trains.
pub type Trainer<'a> = dyn Fn(&TrainRequest) -> Result<GraphFiles> + 'a;

/// A graph and its hash.
#[derive(Debug, Clone)]
pub struct Graph {
    /// ONNX.
    pub(crate) bytes: Bytes,
    /// Hash of the bytes, lower-case hexadecimal.
    pub sha256: String,
}

impl Graph {
    /// Takes a graph's bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { sha256: sha256_hex(&bytes), bytes: bytes.into() }
    }
}

/// The folder of trained graphs.
#[derive(Debug)]
pub(crate) struct TrainedStore {
    root: PathBuf,
}

impl TrainedStore {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self { root: root.into() })
    }

    /// The graphs of a request on data of that hash; trained when they are not there.
    pub(crate) fn get_or_train(
        &self,
        request: &TrainRequest,
        data_key: &str,
        trainer: &Trainer<'_>,
    ) -> Result<GraphFiles> {
        let folder = self.root.join(request_key(request, data_key)?);
        if !folder.is_dir() {
            let files = trainer(request).context("training failed")?;
            keep(&folder, request, &files)?;
        }
        Ok(GraphFiles {
            pointnet: read_file(&folder.join("pointnet.onnx"))?,
            normalcy: read_file(&folder.join("normalcy.onnx"))?,
            describe: serde_json::from_slice(&read_file(&folder.join("describe.json"))?)
                .with_context(|| format!("{} is damaged: delete it", folder.display()))?,
        })
    }
}

/// Writes all files into a folder of another name, then gives it its own.
fn keep(folder: &Path, request: &TrainRequest, files: &GraphFiles) -> Result<()> {
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    write_bytes(&partial.join("pointnet.onnx"), &files.pointnet)?;
    write_bytes(&partial.join("normalcy.onnx"), &files.normalcy)?;
    write_bytes(&partial.join("describe.json"), &serde_json::to_vec_pretty(&files.describe)?)?;
    write_bytes(&partial.join("request.json"), &serde_json::to_vec_pretty(request)?)?;
    fs::rename(&partial, folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Hash of all that a training depends on; where the data lies is no part of it. Files that the
/// settings name count by their bytes.
fn request_key(request: &TrainRequest, data_key: &str) -> Result<String> {
    let settings = serde_json::to_string(&request.overrides)?;
    let mut named = Vec::new();
    hash_named_files(&request.overrides, &mut named)?;
    let seed = request.seed.to_string();
    let lists = serde_json::to_string(&(&request.classes, &request.test_classes))?;
    Ok(cache::key(&["training", data_key, &lists, &seed, &settings, &named.join(" ")]))
}

fn hash_named_files(value: &Value, hashes: &mut Vec<String>) -> Result<()> {
    match value {
        Value::String(text) if Path::new(text).is_file() => {
            hashes.push(sha256_hex(&read_file(Path::new(text))?));
            Ok(())
        }
        Value::Array(list) => list.iter().try_for_each(|v| hash_named_files(v, hashes)),
        Value::Object(map) => map.values().try_for_each(|v| hash_named_files(v, hashes)),
        _ => Ok(()),
    }
}

/// The normalcy graph with another step of its perturbation; its weights stay.
///
/// # Errors
/// When the graph is not one of this program's normalcy classifiers.
pub fn with_epsilon(normalcy: &[u8], epsilon: f32) -> Result<Vec<u8>> {
    let mut model = ModelProto::decode(normalcy).context("the normalcy graph is not ONNX")?;
    let graph = model.graph.as_mut().context("the normalcy graph is empty")?;
    let step = graph.initializer.iter_mut().find(|tensor| tensor.name == "epsilon");
    let step = step.context("the normalcy graph has no constant `epsilon`, found another kind of graph")?;
    ensure!(
        step.dims == [1] && [elem::FLOAT, elem::FLOAT16].contains(&step.data_type),
        "the constant `epsilon` has shape {:?}, expected one float",
        step.dims
    );
    (step.data_type, step.float_data) = (elem::FLOAT, Vec::new());
    step.raw_data = Some(epsilon.to_le_bytes().to_vec());
    for entry in model.metadata_props.iter_mut().filter(|entry| entry.key == "zal.epsilon") {
        entry.value = epsilon.to_string();
    }
    Ok(model.encode_to_vec())
}
