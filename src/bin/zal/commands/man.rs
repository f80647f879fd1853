//! `zal man`: manual pages of the program and every subcommand.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::exit::{CommandResult, Exit, Failure};

/// Arguments of `zal man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "zal man --out /tmp/man && man -l /tmp/man/zal-model-install.1")]
pub struct Args {
    /// Folder that the pages are written into; it is made when it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes `zal.1`, `zal-run.1` and so on.
pub fn run(args: &Args) -> CommandResult {
    let write =
        || fs::create_dir_all(&args.out).and_then(|()| clap_mangen::generate_to(Cli::command(), &args.out));
    write()
        .with_context(|| format!("cannot write manual pages into {}", args.out.display()))
        .map_err(|error| Failure::new(Exit::Io, error))?;
    Ok(Exit::Ok)
}
