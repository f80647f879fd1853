//! `zal-export backbone --int8`: quantises the backbone on the frames of given scans, and measures on other
//! scans of them what that changed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use prost::Message;
use serde::Serialize;
use sha2::{Digest, Sha256};
use zal::contract::RGB;
use zal::engine::{Engine, EngineChoice, EngineOptions, Input};
use zal::features::PatchGrid;
use zal::features::rgb::input_tensor;
use zal::preprocess::{PreprocessParams, prepare};
use zal::scan::{SensorProfile, read};

use super::deviation::{Deviation, Frame, compare};
use crate::bank_build::{embedded_engine, normal_scans};
use crate::layout::{self, Split};
use crate::onnx::proto::{ModelProto, StringStringEntryProto};
use crate::onnx::quantize::{TAIL_SHARE, quantize};
use crate::provenance::WEIGHTS_KEY;

/// Metadata key of the measured deviation.
pub const DEVIATION_KEY: &str = "zal.int8";
/// Every fourth scan is held out; of fewer than eight the last one.
const HOLDOUT_EVERY: usize = 4;
/// Most frames that ranges are measured on: more of the same line change nothing but the time.
const FRAMES_MAX: usize = 64;

/// What quantising did.
#[derive(Debug, Serialize)]
pub struct Int8Report {
    /// Conv, Gemm and MatMul operators.
    pub matrix_count: usize,
    /// Those of them in 8 bits.
    pub quantized_count: usize,
    /// Scans that the ranges come from.
    pub calibration_count: usize,
    /// Scans that the deviation was measured on.
    pub held_out_count: usize,
    /// One entry for each engine at hand; the first is the embedded one.
    pub engines: Vec<EngineRun>,
    /// Why ONNX Runtime was not measured, when it was asked for.
    pub runtime_refused: Option<String>,
}

/// What one engine makes of the quantised graph.
#[derive(Debug, Serialize)]
pub struct EngineRun {
    /// Name, version and provider.
    pub engine: String,
    /// Time of one image, the 32-bit graph.
    pub float_ms: f64,
    /// Time of one image, the 8-bit graph.
    pub int8_ms: f64,
    /// Difference between the two graphs in that engine.
    pub deviation: Deviation,
}

/// Quantises `model`; gives the new model and its provenance.
///
/// # Errors
/// Names the scan that cannot be used, or says what in the graph cannot be quantised.
pub fn quantized(
    model: &ModelProto,
    provenance: &str,
    paths: &[PathBuf],
) -> anyhow::Result<(ModelProto, String, Int8Report)> {
    let scans = scan_files(paths)?;
    ensure!(
        scans.len() >= 2,
        "--calibrate: found {} scan, expected at least 2 (one is held out to measure the deviation)",
        scans.len()
    );
    let (frames, hash) = frames_of(&scans)?;
    let (held_out, fitted) = split(frames);
    let images: Vec<_> = fitted.iter().map(|frame| input_tensor(&frame.color)).collect();
    let quantized = quantize(model.clone(), &RGB, &images)?;
    let bytes = [model.encode_to_vec(), quantized.model.encode_to_vec()];
    let embedded = engine_run(&bytes, &embedded_engine(), &fitted, &held_out)
        .context("the embedded engine does not run the quantised graph; it needs ONNX Runtime")?;
    let mut report = Int8Report {
        matrix_count: quantized.matrix_count,
        quantized_count: quantized.quantized_count,
        calibration_count: fitted.len(),
        held_out_count: held_out.len(),
        engines: vec![embedded],
        runtime_refused: None,
    };
    if let Some(library) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        match engine_run(&bytes, &runtime_engine(library.into()), &fitted, &held_out) {
            Ok(run) => report.engines.push(run),
            Err(error) => report.runtime_refused = Some(format!("{error:#}")),
        }
    }
    let provenance = format!(
        "{provenance}; 8 bits, static, calibrated on {} scans (sha256 of their files {hash}), {} of either \
         tail left out",
        fitted.len(),
        TAIL_SHARE
    );
    let model = described(quantized.model, &provenance, &report.engines[0].deviation)?;
    Ok((model, provenance, report))
}

/// The options under which ONNX Runtime is measured: its CPU, as many threads as the device takes.
fn runtime_engine(library: PathBuf) -> EngineOptions {
    EngineOptions {
        choice: EngineChoice::Onnxruntime,
        runtime_library: Some(library),
        providers: vec![zal::engine::Provider::Cpu],
        threads: 2,
        cache_dir: None,
    }
}

/// All scans of the given files and folders: the normal training scans of a data set or of a class, or a
/// folder's own scan files.
fn scan_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut scans = Vec::new();
    for path in paths {
        if !path.is_dir() {
            scans.push(path.clone());
        } else if layout::classes(path).is_ok() {
            scans.extend(normal_scans(path, &[])?.into_iter().map(|(_, path)| path));
        } else if path.join(Split::Train.name()).is_dir() {
            scans.extend(layout::entries(path, Split::Train)?.into_iter().map(|entry| entry.xyz));
        } else {
            let found = files_of(path)?;
            ensure!(
                !found.is_empty(),
                "{} holds neither classes nor training scans nor scan files",
                path.display()
            );
            scans.extend(found);
        }
    }
    let step = scans.len().div_ceil(FRAMES_MAX).max(1);
    Ok(scans.into_iter().step_by(step).collect())
}

fn files_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let is_scan = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        matches!(extension.as_str(), "tiff" | "tif" | "pcd" | "ply" | "npy")
    };
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    let mut scans: Vec<PathBuf> = paths.into_iter().filter(is_scan).collect();
    scans.sort();
    Ok(scans)
}

/// The frames as the device makes them, and a hash of the files.
fn frames_of(scans: &[PathBuf]) -> anyhow::Result<(Vec<Frame>, String)> {
    let mut hasher = Sha256::new();
    let mut frames = Vec::with_capacity(scans.len());
    for path in scans {
        hasher.update(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
        let scan = read(path, &SensorProfile::default())?;
        let prepared = prepare(&scan, &PreprocessParams::line())
            .with_context(|| format!("preparing {}", path.display()))?;
        let Some(color) = prepared.color else {
            bail!("{} has no colour, which the backbone is calibrated on", path.display());
        };
        frames.push(Frame { color, grid: PatchGrid::of(&prepared.cloud) });
    }
    let hash = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok((frames, hash))
}

/// Frames held out, and frames to calibrate on.
fn split(frames: Vec<Frame>) -> (Vec<Frame>, Vec<Frame>) {
    let every = HOLDOUT_EVERY.min(frames.len());
    let (mut held_out, mut fitted) = (Vec::new(), Vec::new());
    for (index, frame) in frames.into_iter().enumerate() {
        if index % every == every - 1 { held_out.push(frame) } else { fitted.push(frame) }
    }
    (held_out, fitted)
}

/// Loads both graphs, measures their difference and their time.
fn engine_run(
    [float, int8]: &[Vec<u8>; 2],
    options: &EngineOptions,
    fitted: &[Frame],
    held_out: &[Frame],
) -> anyhow::Result<EngineRun> {
    let mut float = zal::engine::load(&RGB, float, options)?;
    let mut int8 = zal::engine::load(&RGB, int8, options)?;
    let deviation = compare(&mut *float, &mut *int8, fitted, held_out)?;
    let [float_ms, int8_ms] = times_ms([&mut *float, &mut *int8], &held_out[0])?;
    let report = int8.report();
    let engine = format!("{} {} ({})", report.engine, report.version, report.provider);
    Ok(EngineRun { engine, float_ms, int8_ms, deviation })
}

/// Shortest time of an image in either graph, run in turns: what else the machine does then hits both.
fn times_ms(mut engines: [&mut dyn Engine; 2], frame: &Frame) -> anyhow::Result<[f64; 2]> {
    const TURNS: usize = 10;
    let image = input_tensor(&frame.color);
    let mut shortest = [f64::INFINITY; 2];
    for _ in 0..TURNS {
        for (engine, shortest) in engines.iter_mut().zip(&mut shortest) {
            let start = Instant::now();
            engine.run(&[Input::F32(image.view().into_dyn())])?;
            *shortest = shortest.min(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(shortest)
}

/// The model with its new provenance and the deviation in its metadata.
fn described(mut model: ModelProto, provenance: &str, deviation: &Deviation) -> anyhow::Result<ModelProto> {
    let entries = [(WEIGHTS_KEY, provenance.to_owned()), (DEVIATION_KEY, serde_json::to_string(deviation)?)];
    for (key, value) in entries {
        model.metadata_props.retain(|entry| entry.key != key);
        model.metadata_props.push(StringStringEntryProto { key: key.into(), value });
    }
    Ok(model)
}

impl Int8Report {
    /// Lines for people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = format!(
            "  8 bits: {} of {} products, calibrated on {} scans; deviation on {} held-out scans:",
            self.quantized_count, self.matrix_count, self.calibration_count, self.held_out_count
        );
        for run in &self.engines {
            text.push_str(&format!(
                "\n  {}: {:.1} ms an image, {:.1} ms in 32 bits\n{}",
                run.engine,
                run.int8_ms,
                run.float_ms,
                run.deviation.words()
            ));
        }
        match &self.runtime_refused {
            Some(reason) => text.push_str(&format!("\n  ONNX Runtime: {reason}")),
            None if self.engines.len() == 1 => {
                text.push_str("\n  ONNX Runtime was not measured: ORT_DYLIB_PATH is not set");
            }
            None => {}
        }
        text
    }
}
