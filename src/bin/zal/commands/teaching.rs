//! What `anchor`, `judge` and `reference` have in common: the configuration, who speaks, and a request to
//! the daemon with its answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::config::{self, Config};
use crate::exit::{CommandResult, Exit, Failure};
use crate::journal::{FoundResult, Journal};
use crate::reference::{Answer, Request, Requests};
use crate::telemetry::utc_now;

/// Where the line is configured, and who speaks.
#[derive(Debug, Clone, clap::Args)]
pub struct LineArgs {
    /// The configuration file, which names journal and reference sets
    #[arg(short, long, value_name = "FILE", default_value = "/etc/zal/zal.toml")]
    pub config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Who speaks, and for how long the daemon's answer is waited for.
#[derive(Debug, Clone, clap::Args)]
pub struct WhoArgs {
    /// Name of the person, for the journal [default: the user]
    #[arg(long, value_name = "NAME", value_parser = name)]
    who: Option<String>,
    /// Seconds to wait for the daemon's answer
    #[arg(long, value_name = "S", default_value_t = 10)]
    wait_s: u64,
    /// Only say what would be asked
    #[arg(long)]
    dry_run: bool,
}

/// A name as the journal keeps it.
fn name(text: &str) -> Result<String, String> {
    let fits = !text.trim().is_empty() && text.len() <= 64 && !text.contains(char::is_control);
    fits.then(|| text.trim().to_owned()).ok_or_else(|| "expected 1 to 64 bytes of text".into())
}

impl WhoArgs {
    /// The person's name.
    pub fn name(&self) -> String {
        let user = || {
            std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".into())
        };
        self.who.clone().unwrap_or_else(user)
    }

    /// Hands a request in and waits for its answer.
    ///
    /// # Errors
    /// When it cannot be handed in, or the daemon refuses it.
    pub fn ask(&self, line: &LineArgs, config: &Config, request: Request) -> CommandResult {
        if self.dry_run {
            let text = serde_json::to_string(&request).map_err(|error| Failure::new(Exit::Bug, error))?;
            println!("{text}");
            return Ok(Exit::Ok);
        }
        let root = config.reference_dir();
        let io = |error| Failure::new(Exit::Io, error);
        let requests =
            Requests::open(&root).with_context(|| format!("cannot use {}", root.display())).map_err(io)?;
        let place = requests.hand_in(&request).context("cannot hand the request in").map_err(io)?;
        let answer = requests.wait(&place, Duration::from_secs(self.wait_s));
        report(line, &request, answer)
    }
}

fn report(line: &LineArgs, request: &Request, answer: Option<Answer>) -> CommandResult {
    let taken = answer.is_some();
    let answer = answer.unwrap_or_else(|| Answer {
        done: true,
        text: "handed in; the daemon did not answer yet and carries it out when it runs".into(),
    });
    if line.json {
        println!(
            "{}",
            serde_json::json!({"name": request.name, "recipe": request.recipe, "answered": taken,
                               "done": taken && answer.done, "text": answer.text})
        );
    } else if answer.done {
        println!("{}", answer.text);
    }
    if answer.done {
        return Ok(Exit::Ok);
    }
    Err(Failure::new(Exit::Refused, anyhow!(answer.text)).hint("zal anchor list shows what the set holds"))
}

/// The configuration, which must use reference sets.
///
/// # Errors
/// When it cannot be read, or judges without them.
pub fn open(path: &Path) -> Result<Config, Failure> {
    let config = config::load(path).map_err(super::run::config_failure)?;
    if config.uses_references() {
        return Ok(config);
    }
    let error = anyhow!("this line is judged without a reference set");
    Err(Failure::new(Exit::Config, error)
        .hint("reference.enabled = true in mode `line`, without calibration.from_first_count"))
}

/// The result that a person speaks of.
///
/// # Errors
/// When the journal cannot be used or has no such result.
pub fn find(config: &Config, id: &str) -> Result<FoundResult, Failure> {
    let journal = &config.journal;
    let opened = Journal::open_existing(&journal.path, &journal.spill_dir);
    let opened = opened.map_err(|error| Failure::new(Exit::Io, error))?;
    let found = opened.find_result(id).map_err(|error| Failure::new(Exit::Io, error))?;
    found.ok_or_else(|| {
        let error = anyhow!("the journal has no result {id}");
        Failure::new(Exit::NoInput, error).hint("give a result_id as published, or its seq")
    })
}

/// Now, as the journal writes it.
pub fn now() -> String {
    utc_now()
}
