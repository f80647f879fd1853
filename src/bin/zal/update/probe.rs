//! The test of a bundle in a process of its own: it may crash, hang, or take all memory, and the line
//! does not notice.
//!
//! The limits are set by `sh` (`ulimit`), because the standard library has no call for them, and the
//! priority by `nice`; both are everywhere. What the child says comes as JSON lines (`commands/model/probe`).

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use zal::bundle::store::{Setback, SetbackCode};
use zal::engine::EngineReport;

use super::settings::Settings;
use crate::exit::{Exit, Failure};

/// How often the child is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Sets limits and priority, then becomes the child. In a sandbox that forbids one of them the test goes
/// on without it; the time limit holds in any case.
const SHELL: &str = r#"ulimit -c 0 2>/dev/null; ulimit -v "$1" 2>/dev/null; ulimit -t "$2" 2>/dev/null; shift 2; exec nice -n 10 "$@""#;
/// Below this a limit of memory would stop any detector.
const MEMORY_MIN_KB: u64 = 2 << 20;

/// What is asked of the child.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The bundle to load.
    pub bundle: &'a Path,
    /// The bundle whose golden scans are judged for the time, so that two bundles judge the same.
    pub scans: &'a Path,
    /// Engine, mode, keys, limits.
    pub settings: &'a Settings,
}

/// A line of the child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// What it begins to do.
    Stage(String),
    /// How it ended.
    Report(Report),
}

/// How a bundle did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What ran the networks.
    pub engine: EngineReport,
    /// Milliseconds that loading took, engines included.
    pub load_ms: f64,
    /// Golden scans that were judged.
    pub golden_count: usize,
    /// What is wrong with them, a line each.
    pub mismatches: Vec<String>,
    /// Milliseconds of a scan, the fastest: the daemon judges beside the test, which slows the others.
    pub scan_ms: f64,
    /// Milliseconds of processor time of a scan, over all threads, the least: a busy machine does not change it.
    pub cpu_ms: f64,
    /// Detections that they are the least of.
    pub timed_count: usize,
}

/// Tests a bundle. A setback when the child did not come to its end.
///
/// # Errors
/// When the child cannot be started.
pub fn run(
    request: &Request<'_>,
    on_stage: &mut dyn FnMut(&str),
) -> Result<Result<Report, Setback>, Failure> {
    let bug = |error: anyhow::Error| Failure::new(Exit::Bug, error);
    let mut child = command(request).map_err(bug)?.spawn().context("cannot start the test").map_err(bug)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let words = std::thread::spawn(move || last_words(stderr));
    let (lines_tx, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in stdout.into_iter().flat_map(|out| BufReader::new(out).lines().map_while(Result::ok)) {
            // A library may write to stdout; that is not for us.
            if let Ok(line) = serde_json::from_str::<Line>(&line)
                && lines_tx.send(line).is_err()
            {
                return;
            }
        }
    });
    let limit = Duration::from_secs(request.settings.update.test_timeout_s);
    let mut report = None;
    let mut hear = |line| match line {
        Line::Stage(stage) => on_stage(&stage),
        Line::Report(found) => report = Some(found),
    };
    let ended = wait(&mut child, limit, || lines.try_iter().for_each(&mut hear)).map_err(bug)?;
    // Both end with the child.
    let _ = reader.join();
    lines.try_iter().for_each(&mut hear);
    let words = words.join().unwrap_or_default();
    Ok(match (ended, report) {
        (Some(status), Some(report)) if status.success() => Ok(report),
        (Some(status), _) => Err(setback_of(status, &words)),
        (None, _) => {
            let text = format!("its test did not end within {} s", limit.as_secs());
            Err(Setback::new(SetbackCode::Interrupted, text))
        }
    })
}

fn command(request: &Request<'_>) -> anyhow::Result<Command> {
    let settings = request.settings;
    let program = std::env::current_exe().context("cannot find the program itself")?;
    let cpu_s = settings.update.test_timeout_s.saturating_mul(settings.engine.threads.max(1) as u64);
    let memory = memory_kb(settings).map_or_else(|| "unlimited".to_owned(), |kb| kb.to_string());
    let mut command = Command::new("sh");
    command.args(["-c", SHELL, "zal-test", &memory, &cpu_s.to_string()]).arg(program);
    command.args(["model", "probe", "--bundle"]).arg(request.bundle).arg("--scans").arg(request.scans);
    command.args(["--mode", settings.mode.name(), "--engine"]).arg(serde_json::to_string(&settings.engine)?);
    for folder in settings.key_folders() {
        command.arg("--keys").arg(folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// The child's limit of memory. A GPU's driver reserves addresses without end, so there is none then.
fn memory_kb(settings: &Settings) -> Option<u64> {
    let asked = settings.update.test_memory_mb;
    if asked > 0 {
        return Some(asked.saturating_mul(1024));
    }
    let gpu = ["/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/nvmap"];
    if gpu.iter().any(|device| Path::new(device).exists()) {
        return None;
    }
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kb: u64 = total.split_whitespace().next()?.parse().ok()?;
    Some(kb.max(MEMORY_MIN_KB))
}

/// Waits for the child's end, and ends it when it takes too long.
fn wait(
    child: &mut Child,
    limit: Duration,
    mut meanwhile: impl FnMut(),
) -> anyhow::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the test")? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill().context("cannot end the test")?;
            child.wait().context("cannot wait for the test")?;
            return Ok(None);
        }
        meanwhile();
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// The last lines that the child wrote to stderr.
fn last_words(stderr: Option<std::process::ChildStderr>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stderr) = stderr {
        // What was read before an error is enough.
        let _ = stderr.read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ").chars().take(600).collect()
}

/// What the end of a child means that brought no report.
fn setback_of(status: ExitStatus, words: &str) -> Setback {
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    let said = if words.is_empty() { String::new() } else { format!(": {words}") };
    let out_of_memory = ["memory allocation", "failed to allocate", "bad_alloc", "Cannot allocate memory"];
    if out_of_memory.iter().any(|sign| words.contains(sign)) {
        return Setback::new(SetbackCode::Memory, format!("its test ran out of memory{said}"));
    }
    match (status.signal(), status.code()) {
        (Some(SIGKILL), _) => {
            let text =
                format!("its test was killed, most likely because the machine had no memory left{said}");
            Setback::new(SetbackCode::Memory, text)
        }
        (Some(SIGXCPU), _) => {
            Setback::new(SetbackCode::Hang, format!("its test used up its processor time{said}"))
        }
        (Some(signal), _) => {
            let text = format!("the process that tested it was ended by signal {signal}{said}");
            Setback::new(SetbackCode::Crash, text)
        }
        (None, Some(101)) => {
            Setback::new(SetbackCode::Crash, format!("the process that tested it panicked{said}"))
        }
        (None, _) => {
            let text = words.trim_start_matches("error: ");
            let text = if text.is_empty() { "it cannot be loaded here" } else { text };
            Setback::new(SetbackCode::Load, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_child_is_told_apart() {
        let of = |raw: i32, words: &str| setback_of(ExitStatus::from_raw(raw), words).code;
        assert_eq!(of(6, ""), SetbackCode::Crash);
        assert_eq!(of(11, ""), SetbackCode::Crash);
        assert_eq!(of(101 << 8, "panicked at"), SetbackCode::Crash);
        assert_eq!(of(6, "memory allocation of 99 bytes failed"), SetbackCode::Memory);
        assert_eq!(of(9, ""), SetbackCode::Memory);
        assert_eq!(of(24, ""), SetbackCode::Hang);
        assert_eq!(of(65 << 8, "error: the graph is refused"), SetbackCode::Load);
        let setback = setback_of(ExitStatus::from_raw(65 << 8), "error: the graph rgb.onnx is refused");
        assert_eq!(setback.words, "the graph rgb.onnx is refused");
    }

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep is everywhere");
        let mut looks = 0;
        let ended = wait(&mut child, Duration::from_millis(200), || looks += 1).expect("it can be killed");
        assert!(ended.is_none() && looks > 0);
        assert_eq!(child.try_wait().expect("known").and_then(|s| s.signal()), Some(9));
    }
}
