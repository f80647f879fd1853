//! `zal-export study`: judges what training brings, after a plan.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use zal::engine::{EngineChoice, EngineOptions, Provider};
use zal::metrics::Bootstrap;

use crate::study::graphs::Trainer;
use crate::study::plan::Plan;
use crate::study::{self, Setup};

/// Bytes of one GB.
const GB: u64 = 1_000_000_000;

/// Arguments of `zal-export study`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to compare
    #[arg(value_name = "PLAN.toml")]
    plan: PathBuf,
    /// Data sets in the MVTec 3D-AD layout: one for all seeds, or one a seed, in their order
    #[arg(long, value_name = "DIR[,DIR2]", value_delimiter = ',', required = true)]
    data: Vec<PathBuf>,
    /// Folder of the tables and of all that is kept for going on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Scans at a time, one thread each [default: the machine's cores]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// The colour backbone instead of the plan's; without either there is no rgb branch
    #[arg(long, value_name = "ONNX")]
    rgb: Option<PathBuf>,
    /// Value of a plan's ${NAME}
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_variable)]
    variables: Vec<(String, String)>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Most gigabytes of kept descriptors
    #[arg(long, value_name = "GB", default_value_t = 40)]
    cache_gb: u64,
}

/// What runs the networks of `study` and `eval`.
#[derive(Debug, clap::Args)]
pub struct EngineArgs {
    /// Which library runs the networks
    #[arg(long, value_enum, default_value_t = EngineArg::Auto)]
    engine: EngineArg,
    /// The ONNX Runtime library [default: `ORT_DYLIB_PATH`]
    #[arg(long, value_name = "FILE")]
    runtime_library: Option<PathBuf>,
}

/// `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum EngineArg {
    /// ONNX Runtime when its library is named, tract else
    Auto,
    /// ONNX Runtime, or fail
    Onnxruntime,
    /// The embedded tract
    Tract,
}

/// Runs the command with a trainer.
///
/// # Errors
/// Names what in plan or data cannot be used, or what failed.
pub fn run(args: &Args, trainer: &Trainer<'_>) -> Result<()> {
    let plan = Plan::read(&args.plan, &args.variables)?;
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    ensure!(jobs > 0, "--jobs: found 0, expected at least 1");
    // Banks are filled between the scans, by the process's own pool; a second call finds it made.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global();
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let rgb = args.rgb.as_deref().or(plan.rgb.as_deref()).map(read).transpose()?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let setup = Setup {
        data: args.data.clone(),
        out: args.out.clone(),
        jobs,
        engine: args.engine.options(),
        rgb,
        cache_bytes_max: args.cache_gb.saturating_mul(GB),
        bootstrap: Bootstrap::default(),
    };
    study::run(&plan, &setup, trainer, &|words| eprintln!("{words}"))?;
    println!("{}", args.out.join("summary.md").display());
    Ok(())
}

impl EngineArgs {
    /// One thread a graph, on the CPU: the scans are what runs side by side, and the results are the
    /// same on every machine of a kind.
    #[must_use]
    pub fn options(&self) -> EngineOptions {
        let choice = match self.engine {
            EngineArg::Auto => EngineChoice::Auto,
            EngineArg::Onnxruntime => EngineChoice::Onnxruntime,
            EngineArg::Tract => EngineChoice::Tract,
        };
        let from_environment =
            || std::env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()).map(PathBuf::from);
        let library = self.runtime_library.clone().or_else(from_environment);
        let runtime_library = library.map(|path| std::path::absolute(&path).unwrap_or(path));
        EngineOptions {
            choice,
            runtime_library,
            providers: vec![Provider::Cpu],
            threads: 1,
            ..EngineOptions::default()
        }
    }
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).unwrap_or_default();
    if name.is_empty() {
        return Err(format!("found `{text}`, expected NAME=VALUE"));
    }
    Ok((name.to_owned(), value.to_owned()))
}
