//! `zal completions`: what a shell needs to complete this program's arguments.

use std::io;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::exit::{CommandResult, Exit};

/// Arguments of `zal completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Writes the completions to standard output.
pub fn run(args: &Args) -> CommandResult {
    clap_complete::generate(args.shell, &mut Cli::command(), "zal", &mut io::stdout());
    Ok(Exit::Ok)
}
