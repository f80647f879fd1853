//! [`Engine`]: runs one ONNX graph. ONNX Runtime when its library is found, tract else.
//!
//! Which of them runs, on which provider, is part of every result: see [`EngineReport`].
//! The library looks for no file and reads no environment: the caller names the runtime
//! library in [`EngineOptions`].

mod ort;
mod tract;

use std::path::PathBuf;

use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};

use crate::contract::{ContractError, Dim, Dtype, GraphContract};

/// One input tensor.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// 32-bit floats.
    F32(ArrayViewD<'a, f32>),
    /// 64-bit indices.
    I64(ArrayViewD<'a, i64>),
}

impl Input<'_> {
    fn dtype_and_shape(&self) -> (Dtype, &[usize]) {
        match self {
            Self::F32(values) => (Dtype::F32, values.shape()),
            Self::I64(values) => (Dtype::I64, values.shape()),
        }
    }
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
    /// The graph or its inputs do not meet the contract.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// ONNX Runtime is asked for, but no library was found.
    #[error("the engine onnxruntime is asked for, but no runtime library was found")]
    NoRuntimeLibrary,
    /// The runtime library cannot be used.
    #[error("{path} cannot be used as the ONNX Runtime library: {reason}")]
    RuntimeLibrary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A process can hold one runtime library only.
    #[error("the ONNX Runtime library {loaded} is already loaded, {asked} cannot be loaded beside it")]
    OtherRuntimeLibrary {
        /// The library in use.
        loaded: PathBuf,
        /// The library asked for.
        asked: PathBuf,
    },
    /// Every provider was tried and none runs the graph.
    #[error("no provider of ONNX Runtime runs the graph `{graph}`: {}", reasons.join("; "))]
    NoProvider {
        /// The contract.
        graph: &'static str,
        /// What each provider said.
        reasons: Vec<String>,
    },
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

impl Provider {
    /// Its name in reports, configuration and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tensorrt => "tensorrt",
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        }
    }
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
    pub runtime_library: Option<PathBuf>,
    /// Providers to try, best first.
    pub providers: Vec<Provider>,
    /// Threads within one graph (tract always uses one).
    pub threads: usize,
    /// Folder of TensorRT engine caches.
    pub cache_dir: Option<PathBuf>,
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

/// Loads a graph that must meet `contract`, and runs it once.
///
/// With [`EngineChoice::Auto`] any failure of ONNX Runtime leads to tract, and the report says
/// why; a graph that breaks the contract is refused by both.
///
/// # Errors
/// When the graph does not meet the contract or no engine takes it.
pub fn load(
    contract: &GraphContract,
    onnx: &[u8],
    options: &EngineOptions,
) -> Result<Box<dyn Engine>, EngineError> {
    let tract = |passed_over| -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(tract::TractEngine::load(contract, onnx, passed_over)?))
    };
    if options.choice == EngineChoice::Tract {
        return tract(Vec::new());
    }
    match ort::load(contract, onnx, options) {
        Ok(engine) => Ok(engine),
        Err(EngineError::Contract(error)) => Err(error.into()),
        Err(error) if options.choice == EngineChoice::Onnxruntime => Err(error),
        Err(EngineError::NoProvider { reasons, .. }) => tract(reasons),
        Err(error) => tract(vec![format!("onnxruntime: {error}")]),
    }
}

/// Zeros in the contract's shapes: the input of the warm-up run.
enum WarmUp {
    F32(ArrayD<f32>),
    I64(ArrayD<i64>),
}

impl WarmUp {
    fn as_input(&self) -> Input<'_> {
        match self {
            Self::F32(values) => Input::F32(values.view()),
            Self::I64(values) => Input::I64(values.view()),
        }
    }
}

/// Runs the graph once with zeros: proves that it runs, and that what comes out has the
/// contract's shapes.
fn warm_up(engine: &mut dyn Engine, contract: &GraphContract) -> Result<(), EngineError> {
    let zeros: Vec<WarmUp> = contract
        .inputs
        .iter()
        .map(|tensor| {
            let shape = input_shape(tensor.dims, contract.batch_size);
            match tensor.dtype {
                Dtype::F32 => WarmUp::F32(ArrayD::zeros(shape)),
                Dtype::I64 => WarmUp::I64(ArrayD::zeros(shape)),
            }
        })
        .collect();
    let inputs: Vec<Input<'_>> = zeros.iter().map(WarmUp::as_input).collect();
    engine.run(&inputs).map(|_| ())
}

/// An input's shape for a batch. Inputs have no open sizes but the batch.
fn input_shape(dims: &[Dim], batch: usize) -> Vec<usize> {
    dims.iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Batch | Dim::Any => batch,
        })
        .collect()
}

fn check_run_inputs(contract: &GraphContract, inputs: &[Input<'_>]) -> Result<usize, EngineError> {
    let shapes: Vec<(Dtype, &[usize])> = inputs.iter().map(Input::dtype_and_shape).collect();
    Ok(contract.check_inputs(&shapes)?)
}

fn check_run_outputs(
    contract: &GraphContract,
    outputs: &[ArrayD<f32>],
    batch: usize,
) -> Result<(), EngineError> {
    let shapes: Vec<&[usize]> = outputs.iter().map(ArrayD::shape).collect();
    Ok(contract.check_outputs(&shapes, batch)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::contract::{NORMALCY, POINTNET, RGB};

    const RGB_GRAPH: &[u8] = include_bytes!("../../tests/golden/rgb.onnx");

    fn asking(choice: EngineChoice, library: Option<&Path>) -> EngineOptions {
        EngineOptions { choice, runtime_library: library.map(Path::to_path_buf), ..EngineOptions::default() }
    }

    fn refused(contract: &GraphContract, onnx: &[u8], options: &EngineOptions) -> EngineError {
        load(contract, onnx, options).err().expect("the graph or the library is refused")
    }

    #[test]
    fn without_a_library_tract_runs_and_says_why() {
        let engine = load(&RGB, RGB_GRAPH, &EngineOptions::default()).expect("tract takes the graph");
        let report = engine.report();
        assert_eq!((report.engine.as_str(), report.provider.as_str()), ("tract", "cpu"));
        assert_eq!(report.passed_over.len(), 1);
        assert!(report.passed_over[0].contains("no runtime library"), "{:?}", report.passed_over);
        let chosen =
            load(&RGB, RGB_GRAPH, &asking(EngineChoice::Tract, None)).expect("tract takes the graph");
        assert!(chosen.report().passed_over.is_empty());
        let error = refused(&RGB, RGB_GRAPH, &asking(EngineChoice::Onnxruntime, None));
        assert!(matches!(error, EngineError::NoRuntimeLibrary));
    }

    #[test]
    fn the_tract_version_is_the_one_in_the_lock_file() {
        let lock = include_str!("../../Cargo.lock").replace("\r\n", "\n");
        let engine =
            load(&RGB, RGB_GRAPH, &asking(EngineChoice::Tract, None)).expect("tract takes the graph");
        let entry = format!("name = \"tract-onnx\"\nversion = \"{}\"", engine.report().version);
        assert!(lock.contains(&entry), "{entry}");
    }

    /// The reason why `library` is refused; also checks that automatic choice falls back on it.
    fn reason_for(library: &Path) -> String {
        let error = refused(&RGB, RGB_GRAPH, &asking(EngineChoice::Onnxruntime, Some(library)));
        assert!(matches!(error, EngineError::RuntimeLibrary { .. }), "{error}");
        let fallback =
            load(&RGB, RGB_GRAPH, &asking(EngineChoice::Auto, Some(library))).expect("tract takes it");
        assert_eq!(fallback.report().engine, "tract");
        assert_eq!(fallback.report().passed_over, [format!("onnxruntime: {error}")]);
        error.to_string()
    }

    #[test]
    fn a_file_that_is_no_library_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = folder.path().join("missing.so");
        assert!(reason_for(&missing).contains("No such file"));
        let text = folder.path().join("text.so");
        std::fs::write(&text, "not a library").expect("writes");
        assert!(reason_for(&text).contains("text.so cannot be used as the ONNX Runtime library"));
        assert!(reason_for(Path::new("relative.so")).contains("an absolute path is needed"));
    }

    /// Compiles a shared library; `None` where there is no C compiler.
    fn compile(folder: &Path, name: &str, source: &str) -> Option<PathBuf> {
        let (code, library) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
        std::fs::write(&code, source).expect("writes");
        let status =
            Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).status().ok()?;
        status.success().then_some(library)
    }

    #[test]
    fn an_old_runtime_and_a_foreign_library_are_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let Some(foreign) = compile(folder.path(), "foreign", "int answer(void) { return 42; }") else {
            eprintln!("SKIPPED: no C compiler to make the libraries of this test");
            return;
        };
        assert!(reason_for(&foreign).contains("it is a library, but not ONNX Runtime"));
        let old = "struct base { const void *(*api)(unsigned); const char *(*version)(void); };\n\
            static const void *api(unsigned v) { (void)v; return 0; }\n\
            static const char *version(void) { return \"1.17.3\"; }\n\
            static const struct base BASE = { api, version };\n\
            const struct base *OrtGetApiBase(void) { return &BASE; }";
        let old = compile(folder.path(), "old", old).expect("the compiler worked a moment ago");
        assert!(reason_for(&old).contains("its version is 1.17.3, at least 1.22 is needed"));
    }

    #[test]
    fn a_graph_for_another_contract_is_refused() {
        let error = refused(&POINTNET, RGB_GRAPH, &EngineOptions::default());
        assert!(matches!(error, EngineError::Contract(_)));
        assert_eq!(error.to_string(), "graph `pointnet`: its inputs are [image], expected [g1, g2, i2]");
    }

    #[test]
    fn damaged_files_are_errors() {
        for length in [0, 1, 100, RGB_GRAPH.len() / 2, RGB_GRAPH.len() - 1] {
            let error = refused(&RGB, &RGB_GRAPH[..length], &EngineOptions::default());
            assert!(!error.to_string().is_empty());
        }
        refused(&RGB, b"this is no graph at all", &EngineOptions::default());
    }

    #[test]
    fn inputs_that_break_the_contract_never_reach_the_library() {
        let onnx = include_bytes!("../../tests/golden/normalcy.onnx");
        let mut engine = load(&NORMALCY, onnx, &EngineOptions::default()).expect("tract takes the graph");
        let points = ArrayD::<f32>::zeros(vec![2, 63, 3]);
        let error = engine.run(&[Input::F32(points.view())]).expect_err("63 points");
        assert!(error.to_string().contains("expected [batch, 64, 3]"), "{error}");
        assert!(engine.run(&[]).is_err());
        let empty = ArrayD::<f32>::zeros(vec![0, 64, 3]);
        assert!(engine.run(&[Input::F32(empty.view())]).is_err());
        for batch in [1, 64, 3, 1] {
            let points = ArrayD::<f32>::zeros(vec![batch, 64, 3]);
            let logits = engine.run(&[Input::F32(points.view())]).expect("any batch size runs");
            assert_eq!(logits[0].shape(), [batch]);
        }
    }
}
