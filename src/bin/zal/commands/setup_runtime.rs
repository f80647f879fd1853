//! `zal setup-runtime`: installs the pinned ONNX Runtime library from its PyPI wheel.
//!
//! pip only downloads, nothing of the wheel is run: the library is taken out, its sha256 is
//! checked against the one pinned here, and the folder with the licences is renamed into
//! place, so that a half-made installation is never found. A wheel fetched elsewhere serves a
//! device without a network.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::anyhow;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::exit::{CommandResult, Exit, Failure};
use crate::runtime;

/// The version installed unless another is asked for.
const PINNED_VERSION: &str = "1.32.0";
/// sha256 of `libonnxruntime.so.1.32.0` in the wheels for each architecture, the same in the
/// wheels for every Python.
const PINNED_SHA256: [(&str, &str); 2] = [
    ("x86_64", "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f"),
    ("aarch64", "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a"),
];
/// Only the library is wanted, so one Python's wheel serves whichever Python is here.
const WHEEL_PYTHON: &str = "3.12";
/// Files that must accompany the library wherever it goes.
const LICENCES: [&str; 3] = ["LICENSE", "ThirdPartyNotices.txt", "Privacy.md"];
/// What helps when nothing can be downloaded.
const OFFLINE_HINT: &str = "on a device without a network, fetch the wheel elsewhere and give it with --wheel, \
                            or set ORT_DYLIB_PATH to a library that is already there; without any, tract runs";

/// Arguments of `zal setup-runtime`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Version to install; any but the pinned one needs --sha256
    #[arg(long, default_value = PINNED_VERSION)]
    version: String,
    /// Expected sha256 of the library, for a version that is not pinned
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Folder for runtimes [default: runtime/ in the state directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Install from this wheel instead of downloading one
    #[arg(long, value_name = "FILE")]
    wheel: Option<PathBuf>,
    /// Python interpreter that has pip
    #[arg(long, default_value = "python3")]
    python: String,
    /// Say what would be done, and which library is found now
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was or would be done.
#[derive(Debug, Serialize)]
struct Report {
    version: String,
    architecture: &'static str,
    library: PathBuf,
    sha256: String,
    dry_run: bool,
    /// `installed`, `already installed`, `would be installed`.
    outcome: &'static str,
    /// The library that zal takes from now on.
    found: Option<FoundReport>,
}

#[derive(Debug, Serialize)]
struct FoundReport {
    library: PathBuf,
    source: &'static str,
}

/// Everything that is known before anything is done.
struct Plan {
    version: String,
    sha256: String,
    runtime_dir: PathBuf,
    folder: PathBuf,
    library: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// 64 for a version without checksum, 69 when Python, pip or the network is missing, 65 for a
/// wheel without the library, 74 when writing fails, 77 when the checksum differs.
pub fn run(args: &Args) -> CommandResult {
    let plan = plan(args)?;
    let outcome = if has_sha256(&plan.library, &plan.sha256).unwrap_or(false) {
        "already installed"
    } else if args.dry_run {
        "would be installed"
    } else {
        install(args, &plan)?;
        "installed"
    };
    let found = runtime::find(None).map(|found| FoundReport { library: found.library, source: found.source });
    let report = Report {
        version: plan.version,
        architecture: std::env::consts::ARCH,
        library: plan.library,
        sha256: plan.sha256,
        dry_run: args.dry_run,
        outcome,
        found,
    };
    print_report(&report, args.json)?;
    Ok(Exit::Ok)
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    if args.version.is_empty() || !args.version.chars().all(|c| c.is_ascii_digit() || c == '.') {
        let error = anyhow!("`{}` is not a version, expected one such as {PINNED_VERSION}", args.version);
        return Err(Failure::new(Exit::Usage, error));
    }
    let runtime_dir = args.dir.clone().unwrap_or_else(|| runtime::state_dir().join("runtime"));
    let runtime_dir =
        std::path::absolute(&runtime_dir).map_err(|error| io_failure("cannot use", &runtime_dir, error))?;
    let folder = runtime_dir.join(format!("onnxruntime-{}", args.version));
    Ok(Plan {
        sha256: expected_sha256(args)?,
        library: folder.join(library_name(&args.version)),
        version: args.version.clone(),
        runtime_dir,
        folder,
    })
}

fn expected_sha256(args: &Args) -> Result<String, Failure> {
    if let Some(sha256) = &args.sha256 {
        if sha256.len() == 64 && sha256.chars().all(|c| c.is_ascii_hexdigit()) {
            return Ok(sha256.to_lowercase());
        }
        return Err(Failure::new(Exit::Usage, anyhow!("`{sha256}` is not a sha256, expected 64 hex digits")));
    }
    if args.version != PINNED_VERSION {
        let error =
            anyhow!("no checksum is pinned for onnxruntime {}, only for {PINNED_VERSION}", args.version);
        return Err(Failure::new(Exit::Usage, error).hint("give the library's checksum with --sha256"));
    }
    let architecture = std::env::consts::ARCH;
    let pinned = PINNED_SHA256.iter().find(|(name, _)| *name == architecture).map(|(_, sha256)| *sha256);
    pinned.map(str::to_owned).ok_or_else(|| {
        Failure::new(Exit::Unavailable, anyhow!("no runtime is pinned for {architecture}")).hint(OFFLINE_HINT)
    })
}

fn library_name(version: &str) -> String {
    format!("libonnxruntime.so.{version}")
}

/// Downloads, checks and moves into place; the staging folder goes away in any case.
fn install(args: &Args, plan: &Plan) -> Result<(), Failure> {
    let staging = plan.runtime_dir.join(format!(".staging-{}", std::process::id()));
    fs::create_dir_all(&staging).map_err(|error| io_failure("cannot make", &staging, error))?;
    let result = install_in(args, plan, &staging);
    let _ = fs::remove_dir_all(&staging);
    result
}

fn install_in(args: &Args, plan: &Plan, staging: &Path) -> Result<(), Failure> {
    let wheel = match &args.wheel {
        Some(wheel) => wheel.clone(),
        None => download(args, &staging.join("download"))?,
    };
    let unpacked = staging.join("wheel");
    unpack(args, &wheel, &unpacked)?;
    let library = unpacked.join("onnxruntime/capi").join(library_name(&plan.version));
    check_library(&library, &wheel, plan)?;
    let ready = staging.join("ready");
    fs::create_dir(&ready).map_err(|error| io_failure("cannot make", &ready, error))?;
    move_durably(&library, &ready.join(library_name(&plan.version)))?;
    for licence in LICENCES {
        let from = unpacked.join("onnxruntime").join(licence);
        if from.exists() {
            move_durably(&from, &ready.join(licence))?;
        }
    }
    replace_folder(&ready, &plan.folder, &staging.join("replaced"))
}

/// Fetches the wheel with pip and returns its path.
fn download(args: &Args, folder: &Path) -> Result<PathBuf, Failure> {
    let pip = run_python(args, ["-m", "pip", "--version"].map(Into::into).as_slice())?;
    if !pip.status.success() {
        let error = anyhow!("`{}` has no pip: {}", args.python, last_lines(&pip));
        return Err(Failure::new(Exit::Unavailable, error).hint(format!(
            "install pip (Debian, Ubuntu, JetPack: apt install python3-pip); {OFFLINE_HINT}"
        )));
    }
    let mut pip_args: Vec<String> = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        .into_iter()
        .map(Into::into)
        .collect();
    pip_args.extend(["--python-version".into(), WHEEL_PYTHON.into(), "--implementation".into(), "cp".into()]);
    for platform in ["manylinux_2_28", "manylinux_2_27", "manylinux_2_17"] {
        pip_args.extend(["--platform".into(), format!("{platform}_{}", std::env::consts::ARCH)]);
    }
    pip_args.extend([
        "--dest".into(),
        folder.display().to_string(),
        format!("onnxruntime=={}", args.version),
    ]);
    let output = run_python(args, &pip_args)?;
    if !output.status.success() {
        let error = anyhow!("pip cannot download onnxruntime {}: {}", args.version, last_lines(&output));
        return Err(Failure::new(Exit::Unavailable, error)
            .hint(format!("check that this machine reaches its Python package index; {OFFLINE_HINT}")));
    }
    let wheels = fs::read_dir(folder).map_err(|error| io_failure("cannot read", folder, error))?;
    wheels
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| {
            Failure::new(Exit::Unavailable, anyhow!("pip reported success but left no wheel"))
                .hint(OFFLINE_HINT)
        })
}

/// Unpacks the wheel with Python's zipfile, which keeps every member within the folder.
fn unpack(args: &Args, wheel: &Path, folder: &Path) -> Result<(), Failure> {
    if let Err(error) = File::open(wheel) {
        let exit = if error.kind() == ErrorKind::NotFound { Exit::NoInput } else { Exit::Io };
        return Err(Failure::new(exit, anyhow!("cannot read {}: {error}", wheel.display())));
    }
    let (wheel_text, folder) = (wheel.display().to_string(), folder.display().to_string());
    let output = run_python(args, &["-m".into(), "zipfile".into(), "-e".into(), wheel_text, folder])?;
    if output.status.success() {
        return Ok(());
    }
    let error = anyhow!("{} cannot be unpacked: {}", wheel.display(), last_lines(&output));
    Err(Failure::new(Exit::BadData, error).hint("expected a complete onnxruntime wheel (.whl)"))
}

fn run_python(args: &Args, python_args: &[String]) -> Result<Output, Failure> {
    Command::new(&args.python).args(python_args).output().map_err(|error| {
        let failure = Failure::new(Exit::Unavailable, anyhow!("cannot run `{}`: {error}", args.python));
        failure
            .hint(format!("install Python 3 with pip, or name an interpreter with --python; {OFFLINE_HINT}"))
    })
}

fn check_library(library: &Path, wheel: &Path, plan: &Plan) -> Result<(), Failure> {
    let found = match sha256(library) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = library_name(&plan.version);
            let error = anyhow!("{} does not hold onnxruntime/capi/{name}", wheel.display());
            return Err(Failure::new(Exit::BadData, error)
                .hint(format!("expected the wheel of onnxruntime {} for Linux", plan.version)));
        }
        Err(error) => return Err(io_failure("cannot read", library, error)),
    };
    if found == plan.sha256 {
        return Ok(());
    }
    let error = anyhow!(
        "the library in {} has sha256 {found}, expected {}; nothing was installed",
        wheel.display(),
        plan.sha256
    );
    Err(Failure::new(Exit::Refused, error).hint(
        "the package index or the wheel is not the one this version of zal was tested with: do not use it",
    ))
}

/// Puts `ready` in the place of `target`; what was there goes to `replaced` first.
fn replace_folder(ready: &Path, target: &Path, replaced: &Path) -> Result<(), Failure> {
    if target.exists() {
        fs::rename(target, replaced).map_err(|error| io_failure("cannot replace", target, error))?;
    }
    if let Err(error) = fs::rename(ready, target) {
        let _ = fs::rename(replaced, target);
        return Err(io_failure("cannot make", target, error));
    }
    let parent = target.parent().unwrap_or(target);
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| io_failure("cannot sync", parent, error))
}

fn move_durably(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to)
        .and_then(|()| File::open(to)?.sync_all())
        .map_err(|error| io_failure("cannot write", to, error))
}

fn has_sha256(path: &Path, expected: &str) -> io::Result<bool> {
    Ok(sha256(path)? == expected)
}

fn sha256(path: &Path) -> io::Result<String> {
    let digest = Sha256::digest(fs::read(path)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn io_failure(what: &str, path: &Path, error: io::Error) -> Failure {
    let denied = error.kind() == ErrorKind::PermissionDenied;
    let failure =
        Failure::new(Exit::Io, anyhow::Error::new(error).context(format!("{what} {}", path.display())));
    if denied { failure.hint("choose a folder you may write with --dir or ZAL_STATE_DIR") } else { failure }
}

/// The end of what a program said about its failure, on one line.
fn last_lines(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

fn print_report(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(report).map_err(|error| Failure::new(Exit::Bug, error))?;
        println!("{text}");
        return Ok(());
    }
    let Report { version, architecture, outcome, .. } = report;
    println!("onnxruntime {version} for {architecture}: {outcome}");
    println!("  library  {}", report.library.display());
    println!("  sha256   {}", report.sha256);
    match &report.found {
        Some(found) => println!("zal takes {} ({})", found.library.display(), found.source),
        None => println!("zal finds no runtime library now and runs on tract"),
    }
    Ok(())
}
