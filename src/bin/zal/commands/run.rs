//! `zal run`: the daemon beside the line.

use std::path::PathBuf;

use tracing::info;

use crate::config::{self, ConfigError};
use crate::daemon::Signals;
use crate::exit::{CommandResult, Exit, Failure};
use crate::{bundled, daemon, telemetry};

/// Arguments of `zal run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/zal/zal.toml")]
    config: PathBuf,
    /// Only check the configuration
    #[arg(long)]
    check: bool,
    /// Log as JSON lines
    #[arg(long)]
    log_json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the configuration is wrong or the daemon cannot start.
pub fn run(args: &Args) -> CommandResult {
    let config = config::load(&args.config).map_err(config_failure)?;
    if args.check {
        println!("{}: ok", args.config.display());
        return Ok(Exit::Ok);
    }
    telemetry::start_log("info", args.log_json);
    let bundle = bundled::open(Some(&config.detector.bundle))?;
    let daemon = daemon::start(&config, &bundle, Signals::Stop)?;
    // Outside of systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    info!(incoming = %config.spool.dir.join("incoming").display(), "ready");
    daemon.run_to_end().map_err(|error| Failure::new(Exit::Bug, error))?;
    Ok(Exit::Ok)
}

/// How a configuration that cannot be used ends a command.
pub fn config_failure(error: ConfigError) -> Failure {
    let exit = match error {
        ConfigError::Read { .. } => Exit::NoInput,
        ConfigError::Wrong { .. } => Exit::Config,
    };
    Failure::new(exit, error).hint("systemd/zal.toml shows every key; --check only checks")
}
