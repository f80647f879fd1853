//! What a killed training goes on from: one safetensors file, replaced whole after every epoch.
//!
//! ```text
//! pointnet.N.weight, pointnet.N.bias     f32, layers in the order of PointNetWeights::layers
//! normalcy.N.weight, normalcy.N.bias     f32, layers in the order of NormalcyWeights::layers
//! optimizer.pointnet, optimizer.normalcy u8, burn's own record of Adam's moments
//! metadata `zal.checkpoint`              JSON: format, settings, data hash, history
//! ```
//!
//! Random streams need no place: each is made from seed, epoch and frame.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ndarray::{Array1, Array2};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use super::EpochRecord;
use super::learner::Learner;
use super::params::TrainParams;
use crate::graphs::layer::Linear;
use crate::graphs::normalcy::NormalcyWeights;
use crate::graphs::pointnet::PointNetWeights;

const FORMAT: &str = "zal.checkpoint/1";
const KEY: &str = "zal.checkpoint";

/// What the checkpoint belongs to, and how far the training was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    format: String,
    /// Settings of the training.
    pub params: TrainParams,
    /// SHA-256 of the scans.
    pub data_sha256: String,
    /// One record for every finished epoch.
    pub history: Vec<EpochRecord>,
}

impl Header {
    /// Describes a training.
    #[must_use]
    pub fn new(params: &TrainParams, data_sha256: &str, history: &[EpochRecord]) -> Self {
        Self {
            format: FORMAT.into(),
            params: params.clone(),
            data_sha256: data_sha256.into(),
            history: history.to_vec(),
        }
    }
}

/// A checkpoint that was read.
pub struct Checkpoint {
    /// What it belongs to.
    pub header: Header,
    /// E_theta.
    pub pointnet: PointNetWeights,
    /// C_w.
    pub normalcy: NormalcyWeights,
    /// State of the optimizers, as [`Learner::optimizer_bytes`] gives it.
    pub optimizers: [Vec<u8>; 2],
}

/// Writes a checkpoint beside the old one, makes it durable, and takes the old one's place.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, header: &Header, learner: &Learner) -> anyhow::Result<()> {
    let (pointnet, normalcy) = learner.weights();
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (network, layers) in [("pointnet", pointnet.layers()), ("normalcy", normalcy.layers())] {
        for (index, layer) in layers.into_iter().enumerate() {
            let bytes =
                |values: &mut dyn Iterator<Item = &f32>| values.flat_map(|v| v.to_le_bytes()).collect();
            let (rows, columns) = layer.weight.dim();
            let name = |what: &str| format!("{network}.{index}.{what}");
            tensors.push((name("weight"), Dtype::F32, vec![rows, columns], bytes(&mut layer.weight.iter())));
            tensors.push((name("bias"), Dtype::F32, vec![columns], bytes(&mut layer.bias.iter())));
        }
    }
    for (network, bytes) in ["pointnet", "normalcy"].into_iter().zip(learner.optimizer_bytes()?) {
        tensors.push((format!("optimizer.{network}"), Dtype::U8, vec![bytes.len()], bytes));
    }
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<_, safetensors::SafeTensorError>>()?;
    let metadata = HashMap::from([(KEY.to_owned(), serde_json::to_string(header)?)]);
    let bytes = serialize(views, Some(metadata))?;
    replace(path, &bytes).with_context(|| format!("cannot write the checkpoint {}", path.display()))
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Reads the checkpoint of a training, if there is one.
///
/// # Errors
/// When it is damaged, or belongs to a training with other settings or other scans.
pub fn read(path: &Path, expected: &Header) -> anyhow::Result<Option<Checkpoint>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let checkpoint = parse(&bytes)
        .with_context(|| format!("{} is not a checkpoint; remove it to start anew", path.display()))?;
    let found = &checkpoint.header;
    anyhow::ensure!(
        found.params == expected.params,
        "{} belongs to a training with other settings; give another --out, or remove it to start anew\n  found    \
         {}\n  expected {}",
        path.display(),
        serde_json::to_string(&found.params)?,
        serde_json::to_string(&expected.params)?
    );
    anyhow::ensure!(
        found.data_sha256 == expected.data_sha256,
        "{} belongs to a training on other scans (found sha256 {}, expected {}); give another --out, or remove it to \
         start anew",
        path.display(),
        found.data_sha256,
        expected.data_sha256
    );
    Ok(Some(checkpoint))
}

fn parse(bytes: &[u8]) -> anyhow::Result<Checkpoint> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let header = metadata.metadata().as_ref().and_then(|m| m.get(KEY));
    let header = header.with_context(|| format!("found no metadata `{KEY}`, expected {FORMAT}"))?;
    let header: Header = serde_json::from_str(header)?;
    anyhow::ensure!(header.format == FORMAT, "found format {}, expected {FORMAT}", header.format);
    let file = SafeTensors::deserialize(bytes)?;
    let (mut pointnet, mut normalcy) = (PointNetWeights::seeded(0), NormalcyWeights::seeded(0));
    fill(&file, "pointnet", pointnet.layers_mut())?;
    fill(&file, "normalcy", normalcy.layers_mut())?;
    let optimizer = |name: &str| -> anyhow::Result<Vec<u8>> { Ok(file.tensor(name)?.data().to_vec()) };
    let optimizers = [optimizer("optimizer.pointnet")?, optimizer("optimizer.normalcy")?];
    Ok(Checkpoint { header, pointnet, normalcy, optimizers })
}

fn fill(file: &SafeTensors<'_>, network: &str, layers: Vec<&mut Linear>) -> anyhow::Result<()> {
    for (index, layer) in layers.into_iter().enumerate() {
        let (rows, columns) = layer.weight.dim();
        let weight = floats(file, &format!("{network}.{index}.weight"), &[rows, columns])?;
        let bias = floats(file, &format!("{network}.{index}.bias"), &[columns])?;
        layer.weight = Array2::from_shape_vec((rows, columns), weight)?;
        layer.bias = Array1::from_vec(bias);
    }
    Ok(())
}

fn floats(file: &SafeTensors<'_>, name: &str, expected: &[usize]) -> anyhow::Result<Vec<f32>> {
    let tensor = file.tensor(name)?;
    anyhow::ensure!(
        tensor.dtype() == Dtype::F32 && tensor.shape() == expected,
        "tensor `{name}`: found {:?} {:?}, expected F32 {expected:?}",
        tensor.dtype(),
        tensor.shape()
    );
    Ok(tensor.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}
