//! zal: the daemon beside the line and the technician's tool, in one binary.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks on its streams")]

use std::process::ExitCode;

use clap::Parser;

mod acquire;
mod alarms;
#[cfg(feature = "demo")]
mod broker;
mod bundled;
mod cli;
mod clock;
mod commands;
mod config;
mod control;
mod daemon;
mod exit;
mod http;
mod journal;
mod message;
#[cfg(test)]
mod mutations;
mod npy_map;
mod pictures;
mod publish;
mod record;
mod reference;
mod runtime;
mod signals;
mod telemetry;
mod update;
mod worker;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { exit::Exit::Usage } else { exit::Exit::Ok };
            let _ = error.print();
            return exit.into();
        }
    };
    match cli.command.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("error: {:#}", failure.error);
            if let Some(hint) = &failure.hint {
                eprintln!("hint: {hint}");
            }
            failure.exit.into()
        }
    }
}
