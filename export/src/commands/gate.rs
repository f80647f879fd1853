//! `zal-export gate`: judges a shipped bundle on scans of known truth.

use std::path::PathBuf;

use anyhow::{Context, Result};
use zal::detector::Mode;
use zal::engine::{EngineChoice, EngineOptions, Provider};

use super::bank::parse_mode;
use crate::gate::{self, Request};
use crate::provenance::command_line;

/// Arguments of `zal-export gate`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// The bundle to judge
    #[arg(long, value_name = "ZALB")]
    bundle: PathBuf,
    /// Data set in the MVTec 3D-AD layout: its test scans are judged
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Classes to judge; all that have test scans without it
    #[arg(long = "class", value_name = "C[,C2]", value_delimiter = ',')]
    classes: Vec<String>,
    /// Modes to judge in, `line` or `paper`; all that the bundle has without it
    #[arg(long = "mode", value_name = "M[,M2]", value_delimiter = ',', value_parser = parse_mode)]
    modes: Vec<Mode>,
    /// Folder of the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Public key that signed the bundle, from `zal-export key`; the development key is known
    #[arg(long, value_name = "PUB")]
    key: Option<PathBuf>,
    /// The data set that the bank was filled from: the page then shows the nearest normal patches
    #[arg(long, value_name = "DIR")]
    bank_data: Option<PathBuf>,
    /// The ONNX Runtime library [default: `ORT_DYLIB_PATH`; the embedded tract without either]
    #[arg(long, value_name = "FILE")]
    runtime_library: Option<PathBuf>,
    /// Threads to compute with
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
}

const HELP: &str = "\
Every test scan goes through the detector that the daemon runs, opened from the signed file. Written: cells.csv, \
scans.csv, curves.csv (as of a study), report.html with the worst misses and false alarms, timing.txt, and gate.json, \
which `zal-export pack --judged` takes into the provenance of the same bundle. A class whose normal scans are in the \
bundle's bank is marked as not zero-shot.

  zal-export gate --bundle parts.zalb --data mvtec --class rope,tire --out gate/
  zal-export pack ... --judged gate/gate.json --out parts.zalb";

/// Runs the command.
///
/// # Errors
/// Names what in bundle or data cannot be used.
pub fn run(args: &Args) -> Result<()> {
    // The kernels' threads are the process's only pool; a second call finds it made.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(args.threads.into()).build_global();
    let key = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))
    };
    let request = Request {
        bundle: args.bundle.clone(),
        keys: args.key.iter().map(key).collect::<Result<_>>()?,
        data: args.data.clone(),
        classes: args.classes.clone(),
        modes: args.modes.clone(),
        out: args.out.clone(),
        engine: engine(args),
        bank_data: args.bank_data.clone(),
        command: command_line(std::env::args()),
    };
    let page = gate::run(&request, &|words| eprintln!("{words}"))?;
    println!("{}", page.display());
    Ok(())
}

fn engine(args: &Args) -> EngineOptions {
    let from_environment = || std::env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()).map(PathBuf::from);
    let library = args.runtime_library.clone().or_else(from_environment);
    EngineOptions {
        choice: EngineChoice::Auto,
        runtime_library: library.map(|path| std::path::absolute(&path).unwrap_or(path)),
        providers: vec![Provider::Cpu],
        threads: args.threads.into(),
        ..EngineOptions::default()
    }
}
