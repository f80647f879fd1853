//! `zal-export eval`: the zero-shot matrix.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use super::study::EngineArgs;
use crate::eval::{self, Options, Shard};
use crate::gate;
use crate::provenance::command_line;
use crate::study::graphs::Trainer;

/// Bytes of one GB.
const GB: u64 = 1_000_000_000;

/// Arguments of `zal-export eval`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help())]
#[command(group(clap::ArgGroup::new("source").required(true).args(["data", "merge"])))]
pub struct Args {
    /// Data sets in the MVTec 3D-AD layout: one for all seeds, or one a seed, in their order
    #[arg(long, value_name = "DIR[,DIR2]", value_delimiter = ',')]
    data: Vec<PathBuf>,
    /// Judge a shipped bundle instead, through the daemon's own engine (see `zal-export gate`, which has more options)
    #[arg(long, value_name = "ZALB", requires = "data", conflicts_with_all = ["merge", "shard", "methods", "training", "seeds", "rgb", "epochs", "settings", "keep_going"])]
    bundle: Option<PathBuf>,
    /// Public key that signed the bundle, from `zal-export key`; the development key is known
    #[arg(long, value_name = "PUB", requires = "bundle")]
    key: Option<PathBuf>,
    /// Put finished shards together instead: their folders
    #[arg(long, value_name = "OUT", num_args = 1.., conflicts_with_all = ["data", "shard", "methods", "training", "test", "seeds"])]
    merge: Vec<PathBuf>,
    /// Folder of the tables and of all that is kept for going on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What is compared, by name; the list is below
    #[arg(long, value_name = "A[,B]", value_delimiter = ',', default_value = "3dzal,without,line")]
    methods: Vec<String>,
    /// Training classes; classes joined by + are one training [default: every class by itself]
    #[arg(long, value_name = "C[,C+C2]", value_delimiter = ',')]
    training: Vec<String>,
    /// Test classes [default: all; a training is never tested on its own]
    #[arg(long, value_name = "C[,C2]", value_delimiter = ',')]
    test: Vec<String>,
    /// Seeds of the trainings
    #[arg(long, value_name = "S[,S2]", value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// The colour backbone; without it there is no rgb branch
    #[arg(long, value_name = "ONNX")]
    rgb: Option<PathBuf>,
    /// Passes of a training over its scans [default: the trainer's]
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Any other training setting, such as `pool=paper_like` or `pseudo.removing=false`; their list: `zal-export train
    /// --print-settings`
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    settings: Vec<(String, Value)>,
    /// Share of the patches that a bank keeps
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    fraction: f32,
    /// Most rows of a bank
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    rows_max: usize,
    /// Scans at a time, one thread each [default: the machine's cores]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Most gigabytes of kept descriptors
    #[arg(long, value_name = "GB", default_value_t = 40)]
    cache_gb: u64,
    /// Go past scans, classes and trainings that cannot be used; what was left out is listed, and the exit status is 3
    #[arg(long)]
    keep_going: bool,
    /// Do only part I of N of the trainings; every part needs its own --out
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
}

fn help() -> String {
    format!(
        "Methods:\n{}\n\
         What happens: every scan is read and checked first, and everything that is wrong is listed at once. Then each \
         training is done, and each method fills a bank from the training classes and judges every test scan of all \
         other classes. A run that was killed goes on where it was when the same command is given again, and ends with \
         the same bytes.\n\n\
         On several machines:\n  \
         zal-export eval --data mvtec --shard 1/4 --out part1     (and 2/4, 3/4, 4/4 elsewhere)\n  \
         zal-export eval --merge part1 part2 part3 part4 --out whole",
        eval::methods::listed()
    )
}

/// Something was left out: the tables are there, but not whole.
#[derive(Debug)]
pub struct LeftOutError {
    count: usize,
    out: PathBuf,
}

/// Exit status when something was left out.
pub const LEFT_OUT_STATUS: u8 = 3;

impl std::error::Error for LeftOutError {}

impl fmt::Display for LeftOutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} things were left out; {} lists them", self.count, self.out.join("run.json").display())
    }
}

/// Runs the command with a trainer.
///
/// # Errors
/// Names what in request or data cannot be used, what failed, or that something was left out.
pub fn run(args: &Args, trainer: &Trainer<'_>) -> Result<()> {
    if let Some(bundle) = &args.bundle {
        let page = gate::run(&gate_request(args, bundle)?, &|words| eprintln!("{words}"))?;
        println!("{}", page.display());
        return Ok(());
    }
    let count = if args.merge.is_empty() {
        eval::run(&options(args)?, trainer)?
    } else {
        eval::merge(&args.merge, &args.out, &command_line(std::env::args()))?
    };
    println!("{}", args.out.join("tables.md").display());
    if count > 0 {
        return Err(LeftOutError { count, out: args.out.clone() }.into());
    }
    Ok(())
}

fn gate_request(args: &Args, bundle: &Path) -> Result<gate::Request> {
    let [data] = args.data.as_slice() else {
        bail!("--data: found {} data sets, expected one for a bundle", args.data.len());
    };
    let key = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))
    };
    Ok(gate::Request {
        bundle: bundle.into(),
        keys: args.key.iter().map(key).collect::<Result<_>>()?,
        data: data.clone(),
        classes: args.test.clone(),
        modes: Vec::new(),
        out: args.out.clone(),
        engine: args.engine.options(),
        bank_data: None,
        command: command_line(std::env::args()),
    })
}

fn options(args: &Args) -> Result<Options> {
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    ensure!(jobs > 0, "--jobs: found 0, expected at least 1");
    // Banks are filled between the scans, by the process's own pool; a second call finds it made.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global();
    let read =
        |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let training = args.training.iter().map(|list| list.split('+').map(ToOwned::to_owned).collect());
    Ok(Options {
        data: args.data.clone(),
        out: args.out.clone(),
        methods: args.methods.clone(),
        training: (!args.training.is_empty()).then(|| training.collect()),
        tests: (!args.test.is_empty()).then(|| args.test.clone()),
        seeds: args.seeds.clone(),
        train: train_settings(args)?,
        fraction: args.fraction,
        rows_max: args.rows_max,
        rgb: args.rgb.as_ref().map(read).transpose()?,
        jobs,
        engine: args.engine.options(),
        cache_bytes_max: args.cache_gb.saturating_mul(GB),
        keep_going: args.keep_going,
        shard: args.shard,
        command: command_line(std::env::args()),
    })
}

/// The training settings of `--epochs` and `--set`, as tables within tables.
fn train_settings(args: &Args) -> Result<Map<String, Value>> {
    let mut settings = Map::new();
    if let Some(epochs) = args.epochs {
        settings.insert("epochs".to_owned(), epochs.into());
    }
    for (key, value) in &args.settings {
        let mut place = &mut settings;
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let inner = place.entry(part).or_insert_with(|| Value::Object(Map::new()));
            place = inner.as_object_mut().with_context(|| format!("--set {key}: `{part}` is no table"))?;
        }
        ensure!(place.insert(last.to_owned(), value.clone()).is_none(), "--set {key}: found it twice");
    }
    ensure!(
        !settings.contains_key("seed") && !settings.contains_key("test_classes"),
        "--set: `seed` and `test_classes` follow from --seeds and --test"
    );
    // An unknown setting is found before any work, not by the first training.
    let known: Result<crate::training::TrainParams, _> = serde_json::from_value(settings.clone().into());
    known.context("--set: no such training setting (zal-export train --print-settings lists them)")?;
    Ok(settings)
}

/// A value as TOML has it; a bare word is a string.
fn parse_setting(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).unwrap_or_default();
    if key.is_empty() {
        return Err(format!("found `{text}`, expected KEY=VALUE"));
    }
    let table: Result<Map<String, Value>, _> = toml::from_str(&format!("value = {value}"));
    let value = table.ok().and_then(|mut table| table.remove("value"));
    Ok((key.to_owned(), value.unwrap_or_else(|| Value::String(text[key.len() + 1..].to_owned()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_toml_or_words() {
        let parsed = |text: &str| parse_setting(text).expect("a setting").1;
        assert_eq!(parsed("epochs=3"), 3);
        assert_eq!(parsed("pseudo.removing=false"), false);
        assert_eq!(parsed("pool=paper_like"), "paper_like");
        assert_eq!(parsed("frames=[\"line\"]"), serde_json::json!(["line"]));
        assert_eq!(parsed("attention=a=b.pth"), "a=b.pth");
        assert!(parse_setting("epochs").is_err() && parse_setting("=3").is_err());
    }
}
