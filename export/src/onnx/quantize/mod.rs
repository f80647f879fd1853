//! Static quantisation to 8 bits after training, in the form that ONNX calls QDQ.
//!
//! The graph stays a graph of floats; pairs of QuantizeLinear and DequantizeLinear say where 8 bits are
//! enough, and kernels are stored as 8-bit codes behind a DequantizeLinear. An engine that knows the pattern
//! (ONNX Runtime) computes DQ -> Conv -> Relu -> Q with integers; one that does not (tract) computes the
//! same numbers with floats, and gains nothing but the smaller file.
//!
//! - Kernels of Conv, Gemm and MatMul: symmetric, one scale for each output channel, codes -64..64. Seven bits,
//!   because on x86 without VNNI ONNX Runtime adds two products of 8 bits in 16, which overflow beyond.
//! - Activations: unsigned, one scale and zero point for each tensor, over the calibrated range. Behind a ReLU
//!   the zero point is 0, and the runtime leaves the ReLU to the rounding.
//! - Biases: 32 bits, at the scale of the products they are added to.
//! - What is coded: the input of every such operator, and its output (behind its ReLU) where another node reads
//!   it. The graph's own outputs stay as computed, so their last addition and ReLU are not rounded.
//! - The first convolution, which sees the image, stays in 32 bits: a thirtieth of the work, and without it
//!   the deviation of a trained network fell from 0.11 to 0.07.
//!
//! Batch normalisation behind a convolution is folded first: between codes it would keep the pattern from
//! being recognised. Zero points other than 0 and unsigned codes are what TensorRT does not take: there this
//! form falls back to the next provider.

mod codes;
mod fold;
mod plan;
mod ranges;
mod rewrite;

use std::collections::BTreeMap;

use ndarray::Array4;
use zal::contract::GraphContract;
use zal::engine::EngineError;

use super::check::{Finish, finish_model};
use super::proto::{ModelProto, TensorProto, elem};
use super::shapes::infer;
use super::{OnnxError, WeightStorage};
use codes::Affine;
use plan::Plan;

pub use ranges::TAIL_SHARE;

/// A quantised model and how much of it is.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// The model, finished.
    pub model: ModelProto,
    /// Its Conv, Gemm and MatMul operators.
    pub matrix_count: usize,
    /// Those of them that are quantised.
    pub quantized_count: usize,
}

/// Why a model could not be quantised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// There is nothing to calibrate with.
    #[error("found no image to calibrate with, expected at least one")]
    NoImages,
    /// Nothing in the graph can be quantised.
    #[error(
        "found no Conv, Gemm or MatMul behind the first one with a constant kernel of 32-bit floats and an \
         input of known size ({found} such operators in all), expected at least one"
    )]
    NothingToQuantize {
        /// Conv, Gemm and MatMul operators.
        found: usize,
    },
    /// An activation is not finite.
    #[error("calibration image {image}: tensor `{tensor}` holds {found}, expected finite values")]
    NotFinite {
        /// Which image.
        image: usize,
        /// Which tensor.
        tensor: String,
        /// The value.
        found: f32,
    },
    /// The graph is malformed.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The graph of floats could not be run.
    #[error("running the graph to see its ranges failed")]
    Engine(#[from] EngineError),
}

/// Quantises a finished model of one image input; the ranges come from running it on `images`
/// (`[1, 3, 224, 224]` each).
///
/// # Errors
/// When nothing can be quantised, or the model cannot be run on the images.
pub fn quantize(
    mut model: ModelProto,
    contract: &GraphContract,
    images: &[Array4<f32>],
) -> Result<Quantized, QuantizeError> {
    if images.is_empty() {
        return Err(QuantizeError::NoImages);
    }
    let mut graph = model.graph.take().unwrap_or_default();
    fold::constants_to_initialisers(&mut graph);
    fold::batch_norms(&mut graph);
    let plan = Plan::of(&graph, &infer(&graph)?);
    let matrix_count = graph.node.iter().filter(|node| plan::is_matrix(node)).count();
    if plan.matrices.is_empty() {
        return Err(QuantizeError::NothingToQuantize { found: matrix_count });
    }
    let measured = ranges::measure(&model, &graph, &plan, contract, images)?;
    let mut affine: BTreeMap<String, Affine> =
        measured.into_iter().map(|(tensor, range)| (tensor, Affine::of_range(range))).collect();
    for (pooled, source) in &plan.pooled {
        // A maximum of codes is a code: with one scale for both, pooling needs no floats.
        affine.insert(pooled.clone(), affine[source]);
    }
    rewrite::rewrite(&mut graph, &plan, &affine);
    let metadata = Vec::new();
    let finish = Finish { contract, batch: "N", storage: WeightStorage::F32, metadata };
    let model = finish_model(model, graph, &finish)?;
    Ok(Quantized { model, matrix_count, quantized_count: plan.matrices.len() })
}

/// Elements of a constant of 32-bit floats, raw or not.
fn floats_of(tensor: &TensorProto) -> Option<Vec<f32>> {
    if tensor.data_type != elem::FLOAT {
        return None;
    }
    match &tensor.raw_data {
        Some(raw) => Some(raw.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        None => Some(tensor.float_data.clone()),
    }
}

/// Sizes of a constant's axes.
fn sizes_of(tensor: &TensorProto) -> Vec<usize> {
    tensor.dims.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests;
