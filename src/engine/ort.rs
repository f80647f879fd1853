//! ONNX Runtime, loaded at run time. The only file that names ort.
//!
//! ONNX Runtime falls back to the CPU in silence, so a provider counts only when it is proven:
//! each rung of the ladder gets a session of its own in which that provider stands alone and
//! falling back to the CPU is forbidden, and the graph has to run once. The runtime's
//! environment exists once per process and cannot be replaced, which is the one global state
//! of this crate.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayD, CowArray, IxDyn};
use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::logging::LogLevel;
use ort::session::builder::{AutoDevicePolicy, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use sha2::{Digest, Sha256};

use super::{
    Engine, EngineError, EngineOptions, EngineReport, Input, Provider, check_run_inputs, check_run_outputs,
    warm_up,
};
use crate::contract::{ContractError, Dtype, GraphContract, TensorContract, TensorInfo};

/// A message of the runtime is cut here: some carry whole C++ stack traces.
const MESSAGE_LEN_MAX: usize = 400;

/// Loads a graph that must meet `contract` with the best provider that really runs it.
pub fn load(
    contract: &GraphContract,
    onnx: &[u8],
    options: &EngineOptions,
) -> Result<Box<dyn Engine>, EngineError> {
    let library = options.runtime_library.as_deref().ok_or(EngineError::NoRuntimeLibrary)?;
    let runtime = runtime(library)?;
    let mut reasons = Vec::new();
    for provider in &options.providers {
        match attempt(&runtime, *provider, contract, onnx, options) {
            Ok(session) => {
                return Ok(Box::new(OrtEngine {
                    contract: *contract,
                    session,
                    report: EngineReport {
                        engine: "onnxruntime".into(),
                        version: runtime.version,
                        provider: provider.name().into(),
                        passed_over: reasons,
                    },
                }));
            }
            Err(EngineError::Contract(error)) => return Err(error.into()),
            Err(EngineError::Failed { message, .. }) => {
                let note = if *provider == Provider::Cpu { runtime.cpu_note() } else { "" };
                reasons.push(format!("{}: {message}{note}", provider.name()));
            }
            Err(error) => reasons.push(format!("{}: {error}", provider.name())),
        }
    }
    Err(EngineError::NoProvider { graph: contract.name, reasons })
}

/// The library that this process has loaded.
#[derive(Clone)]
struct Runtime {
    path: PathBuf,
    version: String,
    environment: Environment,
}

impl Runtime {
    /// 1.22 insists on discovering devices and finds no CPU on most Linux machines; its GPU
    /// providers are named outright and do work.
    fn cpu_note(&self) -> &'static str {
        if self.version.starts_with("1.22") {
            " (on the CPU, ONNX Runtime 1.23 or newer is needed)"
        } else {
            ""
        }
    }
}

static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// The environment of the library at `path`, which is loaded on the first call.
fn runtime(path: &Path) -> Result<Runtime, EngineError> {
    let unusable =
        |reason: String| EngineError::RuntimeLibrary { path: path.into(), reason: shorten(&reason) };
    if !path.is_absolute() {
        return Err(unusable("an absolute path is needed".into()));
    }
    let path = fs::canonicalize(path).map_err(|error| unusable(error.to_string()))?;
    let mut loaded = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*loaded {
        if runtime.path == path {
            return Ok(runtime.clone());
        }
        return Err(EngineError::OtherRuntimeLibrary { loaded: runtime.path.clone(), asked: path });
    }
    let builder = ort::init_from(&path).map_err(|error| unusable(load_reason(&error)))?;
    let environment = builder
        .with_name("zal")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    let runtime = Runtime { version: version(&path), path, environment };
    *loaded = Some(runtime.clone());
    Ok(runtime)
}

fn load_reason(error: &ort::LoadDynamicError) -> String {
    match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            format!("its version is {version_str}, at least 1.{} is needed", ort::MINOR_VERSION)
        }
        ort::LoadDynamicError::MissingApi { .. } => "it is a library, but not ONNX Runtime".into(),
        error => error.to_string(),
    }
}

/// Version of the loaded library. The runtime itself tells only the minor version in a safe
/// way; official libraries carry the whole of it in their file name, some builds in the name
/// of their branch.
fn version(path: &Path) -> String {
    let Some(minor) = ort::util::probe(path) else { return "unknown".into() };
    let minor = format!("1.{minor}");
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let of_file = file_name.split_once(".so.").map(|(_, version)| version.to_owned());
    let branch = ort::info().split_once("git-branch=rel-").map(|(_, rest)| rest);
    let of_branch = branch.and_then(|rest| rest.split([',', ' ']).next()).map(str::to_owned);
    [of_file, of_branch]
        .into_iter()
        .flatten()
        .find(|version| version.starts_with(&format!("{minor}.")))
        .unwrap_or(minor)
}

/// A session that is proven to run on `provider`.
fn attempt(
    runtime: &Runtime,
    provider: Provider,
    contract: &GraphContract,
    onnx: &[u8],
    options: &EngineOptions,
) -> Result<Session, EngineError> {
    let dispatch = execution_provider(provider, runtime, onnx, options)?;
    let mut builder =
        session_builder(runtime, provider, dispatch, options.threads).map_err(|e| failed(&*e))?;
    let session = builder.commit_from_memory(onnx).map_err(|error| failed(&error))?;
    let inputs = tensor_infos(contract, contract.inputs, session.inputs())?;
    let outputs = tensor_infos(contract, contract.outputs, session.outputs())?;
    contract.check(&inputs, &outputs)?;
    let report = EngineReport {
        engine: String::new(),
        version: String::new(),
        provider: String::new(),
        passed_over: Vec::new(),
    };
    let mut trial = OrtEngine { contract: *contract, session, report };
    warm_up(&mut trial, contract)?;
    Ok(trial.session)
}

/// The builder's errors hold the builder itself and cannot leave the thread: only their text does.
fn session_builder(
    runtime: &Runtime,
    provider: Provider,
    dispatch: ExecutionProviderDispatch,
    threads: usize,
) -> Result<SessionBuilder, Box<dyn std::error::Error>> {
    let builder = Session::builder(&runtime.environment)?
        .with_execution_providers([dispatch.error_on_failure()])?
        .with_intra_threads(threads.max(1))?
        .with_inter_threads(1)?
        .with_config_entry("session.intra_op.allow_spinning", "0")?;
    if provider == Provider::Cpu {
        // Left alone, the runtime may add providers of its own choice.
        return Ok(builder.with_auto_device(AutoDevicePolicy::PreferCPU)?);
    }
    Ok(builder.with_config_entry("session.disable_cpu_ep_fallback", "1")?)
}

fn execution_provider(
    provider: Provider,
    runtime: &Runtime,
    onnx: &[u8],
    options: &EngineOptions,
) -> Result<ExecutionProviderDispatch, EngineError> {
    match provider {
        Provider::Tensorrt => tensorrt(runtime, onnx, options.cache_dir.as_deref()),
        Provider::Cuda => {
            require_built_in::<ep::CUDA>()?;
            Ok(ep::CUDA::default().build())
        }
        // With the arena every run reuses the first one's memory.
        Provider::Cpu => Ok(ep::CPU::default().with_arena_allocator(true).build()),
    }
}

/// `is_available` says that a provider is compiled in, no more; when it is not, that is the
/// clearest reason there is.
fn require_built_in<P: ExecutionProvider>() -> Result<(), EngineError> {
    match P::is_available() {
        Ok(true) => Ok(()),
        Ok(false) => Err(EngineError::Failed {
            engine: "onnxruntime".into(),
            message: "not built into this library".into(),
        }),
        Err(error) => Err(failed(&error)),
    }
}

/// TensorRT names its cached engines after graph, GPU, precision and its own version; the
/// folder adds the model's bytes and the runtime's version.
fn tensorrt(
    runtime: &Runtime,
    onnx: &[u8],
    cache_dir: Option<&Path>,
) -> Result<ExecutionProviderDispatch, EngineError> {
    require_built_in::<ep::TensorRT>()?;
    let tensorrt = ep::TensorRT::default();
    let Some(cache_dir) = cache_dir else { return Ok(tensorrt.build()) };
    let digest = Sha256::digest(onnx);
    let model: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache_dir.join(format!("{model}-ort{}", runtime.version));
    fs::create_dir_all(&folder).map_err(|error| EngineError::Failed {
        engine: "onnxruntime".into(),
        message: format!("cannot make the TensorRT cache folder {}: {error}", folder.display()),
    })?;
    let folder = folder.display().to_string();
    Ok(tensorrt
        .with_engine_cache(true)
        .with_engine_cache_path(&folder)
        .with_timing_cache(true)
        .with_timing_cache_path(&folder)
        .build())
}

fn tensor_infos(
    contract: &GraphContract,
    expected: &[TensorContract],
    outlets: &[Outlet],
) -> Result<Vec<TensorInfo>, ContractError> {
    outlets
        .iter()
        .enumerate()
        .map(|(index, outlet)| {
            let wanted = expected.get(index).map_or(Dtype::F32, |tensor| tensor.dtype);
            match outlet.dtype() {
                ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
                    Ok(tensor_info(outlet.name(), Dtype::F32, shape))
                }
                ValueType::Tensor { ty: TensorElementType::Int64, shape, .. } => {
                    Ok(tensor_info(outlet.name(), Dtype::I64, shape))
                }
                other => Err(contract.dtype_error(outlet.name(), &other.to_string(), wanted)),
            }
        })
        .collect()
}

fn tensor_info(name: &str, dtype: Dtype, shape: &[i64]) -> TensorInfo {
    TensorInfo {
        name: name.into(),
        dtype,
        dims: shape.iter().map(|size| usize::try_from(*size).ok()).collect(),
    }
}

/// A graph in ONNX Runtime.
struct OrtEngine {
    contract: GraphContract,
    session: Session,
    report: EngineReport,
}

impl Engine for OrtEngine {
    fn run(&mut self, inputs: &[Input<'_>]) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let batch = check_run_inputs(&self.contract, inputs)?;
        let contiguous: Vec<Contiguous<'_>> = inputs.iter().map(Contiguous::from).collect();
        let values = contiguous
            .iter()
            .zip(self.contract.inputs)
            .map(|(input, tensor)| Ok((Cow::Borrowed(tensor.name), input.as_value()?)))
            .collect::<ort::Result<Vec<(Cow<'_, str>, SessionInputValue<'_>)>>>()
            .map_err(|error| failed(&error))?;
        let outputs = self.session.run(values).map_err(|error| failed(&error))?;
        let outputs = self
            .contract
            .outputs
            .iter()
            .map(|tensor| Ok(outputs[tensor.name].try_extract_array::<f32>()?.to_owned()))
            .collect::<ort::Result<Vec<ArrayD<f32>>>>()
            .map_err(|error| failed(&error))?;
        check_run_outputs(&self.contract, &outputs, batch)?;
        Ok(outputs)
    }

    fn report(&self) -> &EngineReport {
        &self.report
    }
}

/// An input in row-major order, as the runtime needs it; copied only when it is not.
enum Contiguous<'a> {
    F32(CowArray<'a, f32, IxDyn>),
    I64(CowArray<'a, i64, IxDyn>),
}

impl<'a> From<&'a Input<'_>> for Contiguous<'a> {
    fn from(input: &'a Input<'_>) -> Self {
        match input {
            Input::F32(values) => Self::F32(values.as_standard_layout()),
            Input::I64(values) => Self::I64(values.as_standard_layout()),
        }
    }
}

impl Contiguous<'_> {
    fn as_value(&self) -> ort::Result<SessionInputValue<'_>> {
        Ok(match self {
            Self::F32(values) => TensorRef::from_array_view(values)?.into(),
            Self::I64(values) => TensorRef::from_array_view(values)?.into(),
        })
    }
}

fn failed(error: &(impl std::fmt::Display + ?Sized)) -> EngineError {
    EngineError::Failed { engine: "onnxruntime".into(), message: shorten(&error.to_string()) }
}

/// One line of bounded length.
fn shorten(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MESSAGE_LEN_MAX {
        return line;
    }
    line.chars().take(MESSAGE_LEN_MAX).chain(std::iter::once('…')).collect()
}
