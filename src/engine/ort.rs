//! ONNX Runtime, loaded at run time. The only file that names ort.

use super::{Engine, EngineError, EngineOptions};
use crate::contract::GraphContract;

/// Loads a graph that must meet `contract` with the best provider that really runs it.
pub fn load(
    contract: &GraphContract,
    onnx: &[u8],
    options: &EngineOptions,
) -> Result<Box<dyn Engine>, EngineError> {
    let _ = (contract, onnx, options);
    Err(EngineError::NoRuntimeLibrary)
}
