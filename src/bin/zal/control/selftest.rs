//! The command `selftest`: `zal selftest` as a child process, so that the detector in use goes
//! on judging and a self-test that crashes or hangs harms nobody.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::config::Config;
use crate::exit::Exit;

/// Loading the networks takes minutes on a small device, judging seconds.
const TIME_MAX: Duration = Duration::from_secs(300);
/// How often the child is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How this device's self-test is run.
#[derive(Debug, Clone)]
pub struct SelfTest {
    args: Vec<String>,
    runtime_library: Option<PathBuf>,
}

impl SelfTest {
    /// With the engine of the configuration; without a path the bundle within the program is tested.
    pub fn new(config: &Config, bundle: Option<&Path>) -> Self {
        let mut args = vec![
            "selftest".to_owned(),
            "--json".to_owned(),
            format!("--mode={}", word_of(config.detector.mode)),
            format!("--engine={}", word_of(config.engine.choice)),
            format!("--threads={}", config.engine.threads),
        ];
        args.extend(bundle.map(|path| format!("--bundle={}", path.display())));
        Self { args, runtime_library: config.engine.runtime_library.clone() }
    }

    /// Runs it; gives whether all figures are as expected, and the outcome of each golden scan.
    ///
    /// # Errors
    /// When it cannot be run or the bundle holds no golden scan.
    pub fn run(&self) -> anyhow::Result<(bool, Vec<serde_json::Value>)> {
        let program = std::env::current_exe().context("cannot find the program itself")?;
        let mut command = Command::new(program);
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(library) = &self.runtime_library {
            command.arg("--runtime-library").arg(library);
        }
        let mut child = command.spawn().context("cannot start the self-test")?;
        // The child says less than a pipe holds: it can be read after its end.
        let status = wait(&mut child)?;
        let output = child.wait_with_output().context("cannot read the self-test's outcome")?;
        let passed = status == Some(i32::from(Exit::Ok as u8));
        if !passed && status != Some(i32::from(Exit::SelfTestMismatch as u8)) {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("the self-test could not be run: {}", said.trim().replace('\n', "; "));
        }
        let outcomes = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .context("the self-test said something else than expected")?;
        Ok((passed, outcomes))
    }
}

/// The word of a setting in configuration and command line.
fn word_of(setting: impl serde::Serialize) -> String {
    serde_json::to_value(setting).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Waits for the child's end, and ends it when it takes too long.
fn wait(child: &mut Child) -> anyhow::Result<Option<i32>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the self-test")? {
            return Ok(status.code());
        }
        if start.elapsed() > TIME_MAX {
            child.kill().context("cannot end the self-test")?;
            bail!("the self-test did not end within {} s", TIME_MAX.as_secs());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
