//! `zal setup-runtime`.

use crate::exit::{CommandResult, Exit, Failure};

/// Arguments of `zal setup-runtime`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// Not built yet.
pub fn run(args: &Args) -> CommandResult {
    let _ = args;
    Err(Failure::new(Exit::Bug, anyhow::anyhow!("not built yet")))
}
