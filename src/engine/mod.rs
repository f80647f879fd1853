//! [`Engine`]: runs one ONNX graph. ONNX Runtime when its library is found, tract else.
//!
//! Which of them runs, on which provider, is part of every result: see [`EngineReport`].

use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};

/// One input tensor.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// 32-bit floats.
    F32(ArrayViewD<'a, f32>),
    /// 64-bit indices.
    I64(ArrayViewD<'a, i64>),
}

/// What really runs a graph, for status, results and alarms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineReport {
    /// `onnxruntime` or `tract`.
    pub engine: String,
    /// Version of that library.
    pub version: String,
    /// `tensorrt`, `cuda` or `cpu`, proven by a warm-up run.
    pub provider: String,
    /// Why each better rung of the ladder was not taken.
    pub passed_over: Vec<String>,
}

/// A loaded graph. `&mut self`: one thread owns it, there is no lock.
pub trait Engine: Send {
    /// Runs the graph; inputs in the contract's order, outputs in the contract's order.
    ///
    /// # Errors
    /// When an input does not fit the contract or the library reports a failure.
    fn run(&mut self, inputs: &[Input<'_>]) -> Result<Vec<ArrayD<f32>>, EngineError>;

    /// What runs the graph.
    fn report(&self) -> &EngineReport;
}

/// Why a graph could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The library reported a failure.
    #[error("{engine} failed: {message}")]
    Failed {
        /// `onnxruntime` or `tract`.
        engine: String,
        /// What it said.
        message: String,
    },
}

/// Execution providers of ONNX Runtime, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// NVIDIA TensorRT.
    Tensorrt,
    /// NVIDIA CUDA.
    Cuda,
    /// The CPU.
    Cpu,
}

/// Which library to use and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// ONNX Runtime when its library is found, tract else.
    #[default]
    Auto,
    /// ONNX Runtime, or fail.
    Onnxruntime,
    /// The embedded tract.
    Tract,
}

/// Settings for loading graphs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Which library.
    pub choice: EngineChoice,
    /// Absolute path of libonnxruntime.so when the caller found one: the library looks at no
    /// environment itself.
    pub runtime_library: Option<std::path::PathBuf>,
    /// Providers to try, best first.
    pub providers: Vec<Provider>,
    /// Threads within one graph.
    pub threads: usize,
    /// Folder of TensorRT engine caches.
    pub cache_dir: Option<std::path::PathBuf>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            choice: EngineChoice::Auto,
            runtime_library: None,
            providers: vec![Provider::Tensorrt, Provider::Cuda, Provider::Cpu],
            threads: 1,
            cache_dir: None,
        }
    }
}

/// Loads a graph that must meet `contract`.
///
/// # Errors
/// When the graph does not meet the contract or no engine takes it.
pub fn load(
    contract: &crate::contract::GraphContract,
    onnx: &[u8],
    options: &EngineOptions,
) -> Result<Box<dyn Engine>, EngineError> {
    let _ = (contract, onnx, options);
    Err(EngineError::Failed { engine: "none".into(), message: "not built yet".into() })
}
