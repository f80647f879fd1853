//! ONNX files: the protobuf subset, a graph builder, shape inference, checks, storage in 16 and in 8 bits and the
//! import of foreign backbones.
//!
//! Every graph that leaves this package goes through [`check::finish`]: shapes are inferred and declared,
//! the structure is checked, and the graph must meet its contract of `zal::contract`.

pub mod proto;
pub mod shapes;
pub mod check;
pub mod builder;
pub mod half;
pub mod import;
pub mod quantize;

use std::path::{Path, PathBuf};

use prost::Message;

/// How the weights lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum WeightStorage {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats, widened to 32 bits when the graph is loaded: half the file, the same arithmetic.
    F16,
}

/// Why a graph could not be written, read or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not a protobuf message of ONNX.
    #[error("{}: not an ONNX file ({source})", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// The file uses a part of ONNX that is not supported.
    #[error("found {found}, which is not supported; expected {expected}")]
    Unsupported {
        /// What was found.
        found: String,
        /// What can be read instead.
        expected: String,
    },
    /// A node reads a tensor that nothing before it makes.
    #[error("node `{node}` ({op}) reads `{tensor}`, which no input, initialiser or earlier node makes")]
    UnknownTensor {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// The tensor.
        tensor: String,
    },
    /// Two places make the same tensor.
    #[error("tensor `{tensor}` is made twice; every name must be made once")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },
    /// An initialiser's bytes do not fit its shape.
    #[error("initialiser `{tensor}` holds {found} bytes of elements, its shape {dims:?} expects {expected}")]
    InitialiserSize {
        /// The initialiser.
        tensor: String,
        /// Its declared shape.
        dims: Vec<i64>,
        /// Bytes found.
        found: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// A weight is not finite, or too large for 16 bits.
    #[error(
        "weight `{tensor}` holds {value:e} at index {index}; expected finite numbers within {limit:e}{hint}"
    )]
    WeightRange {
        /// The initialiser.
        tensor: String,
        /// Where.
        index: usize,
        /// The number found.
        value: f32,
        /// Largest magnitude that can be stored.
        limit: f32,
        /// What to do, empty or beginning with a semicolon.
        hint: &'static str,
    },
    /// The shapes that meet in a node do not fit together.
    #[error("node `{node}` ({op}): found {found}, expected {expected}")]
    Shape {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// What met.
        found: String,
        /// What would fit.
        expected: String,
    },
    /// No tensor of the name that was to become an output.
    #[error("no tensor named `{tensor}` in the graph; its outputs are {available}")]
    NoSuchTensor {
        /// The name asked for.
        tensor: String,
        /// What there is.
        available: String,
    },
    /// The graph does not meet its contract.
    #[error(transparent)]
    Contract(#[from] zal::contract::ContractError),
    /// A size of an output could not be found out.
    #[error("output `{tensor}`: found the shape {dims:?}, expected every size but the batch to be known")]
    OpenShape {
        /// The output.
        tensor: String,
        /// What is known of its shape.
        dims: Vec<Option<usize>>,
    },
    /// The sizes of the outputs could not be inferred, and the graph could not be run to see them.
    #[error("an operator has no rule of shape inference here, and running the graph instead failed")]
    Run(#[from] zal::engine::EngineError),
}

/// Reads a model.
///
/// # Errors
/// When the file cannot be read or is not ONNX.
pub fn read(path: &Path) -> Result<proto::ModelProto, OnnxError> {
    let bytes = std::fs::read(path).map_err(|source| OnnxError::Io { path: path.into(), source })?;
    proto::ModelProto::decode(bytes.as_slice())
        .map_err(|source| OnnxError::Decode { path: path.into(), source })
}

/// Writes bytes beside `path` and renames them into place, so that a half-written artifact is never seen
/// under its name.
///
/// # Errors
/// When the file cannot be written.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), OnnxError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    std::fs::write(&partial, bytes)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|source| OnnxError::Io { path: path.into(), source })
}
