//! `zal model`: which bundle judges, and how another one comes into charge or goes.

mod diff;
mod install;
mod list;
mod log;
mod probe;
mod shadow;
mod show;
mod status;
mod switch;
mod verify;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::config;
use crate::exit::{CommandResult, Exit, Failure};
use crate::update::settings::Settings;

/// The daemon's configuration, when nothing else is named.
const CONFIG_PATH: &str = "/etc/zal/zal.toml";

/// Arguments of `zal model`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Copy, check and test a bundle, then put it in charge on trial
    Install(install::Args),
    /// Say which bundle judges and where an update stands
    Status(status::Args),
    /// List the bundles of the store
    List(list::Args),
    /// Say that the bundle in charge is wanted: ends its trial, or takes note of a setback
    Confirm(switch::Args),
    /// Bring the bundle before back
    Rollback(switch::Args),
    /// Check a bundle's signature and every hash
    Verify(verify::Args),
    /// Say what a bundle holds and where it came from
    Show(show::Args),
    /// Say how two bundles differ
    Diff(diff::Args),
    /// Say what happened to the store
    Log(log::Args),
    /// Score the line's next parts with another bundle beside the one in charge
    Shadow(shadow::Args),
    /// Test a bundle: the child process of `install`
    #[command(hide = true)]
    Probe(probe::Args),
}

/// Runs the command.
///
/// # Errors
/// As its verb says.
pub fn run(args: &Args) -> CommandResult {
    match &args.verb {
        Verb::Install(args) => install::run(args),
        Verb::Status(args) => status::run(args),
        Verb::List(args) => list::run(args),
        Verb::Confirm(args) => switch::confirm(args),
        Verb::Rollback(args) => switch::roll_back(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Show(args) => show::run(args),
        Verb::Diff(args) => diff::run(args),
        Verb::Log(args) => log::run(args),
        Verb::Shadow(args) => shadow::run(args),
        Verb::Probe(args) => probe::run(args),
    }
}

/// Which store.
#[derive(Debug, Clone, clap::Args)]
struct StoreArgs {
    /// The daemon's configuration [default: /etc/zal/zal.toml when it is there]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The state folder; its `models` is the store, its `keys` are trusted [default: as the configuration says]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl StoreArgs {
    /// The settings that hold here.
    fn settings(&self) -> Result<Settings, Failure> {
        let usual = Path::new(CONFIG_PATH);
        let path = self.config.as_deref().or_else(|| usual.exists().then_some(usual));
        let mut settings = match path {
            Some(path) => Settings::of(&config::load(path).map_err(super::run::config_failure)?),
            None => Settings::without_config(),
        };
        if let Some(dir) = &self.state_dir {
            settings.update.dir = dir.join("models");
        }
        Ok(settings)
    }
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::new(Exit::Bug, error))?;
    println!("{text}");
    Ok(())
}
