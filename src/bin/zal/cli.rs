//! The command line: one subcommand per file in `commands/`.

use clap::{Parser, Subcommand};

use crate::commands;
use crate::exit::CommandResult;

/// Zero-shot 3D anomaly localization beside the production line.
#[derive(Debug, Parser)]
#[command(name = "zal", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge the scans of a spool directory and publish the verdicts over MQTT
    Run(commands::run::Args),
    /// Show the main job on procedural scans with an embedded broker
    Demo(commands::demo::Args),
    /// Judge scans from files
    Score(commands::score::Args),
    /// Write a branch's descriptors of a scan as .npy
    Features(commands::features::Args),
    /// Say in words what a scan file holds and what is wrong with it
    Inspect(commands::inspect::Args),
    /// Time every stage on this machine
    Bench(commands::bench::Args),
    /// Make a calibration from scans of good parts
    Calibrate(commands::calibrate::Args),
    /// Judge the bundle's golden scans again and compare the figures
    Selftest(commands::selftest::Args),
    /// Say which bundle judges; install, confirm, roll back
    Model(commands::model::Args),
    /// Publish results of the journal again
    Replay(commands::replay::Args),
    /// Say what the journal holds: parts, verdicts, reasons, what is not confirmed or was removed
    Report(commands::report::Args),
    /// Confirmed good parts that the line is judged against
    Anchor(commands::anchor::Args),
    /// Say of a judged part whether it is good
    Judge(commands::judge::Args),
    /// Reference sets of the line: what they hold, as a file, and back
    Reference(commands::reference::Args),
    /// Install the pinned ONNX Runtime library through pip
    SetupRuntime(commands::setup_runtime::Args),
    /// Write the completions of a shell to standard output
    Completions(commands::completions::Args),
    /// Write the manual pages
    Man(commands::man::Args),
}

impl Command {
    /// Runs the subcommand.
    pub fn run(&self) -> CommandResult {
        match self {
            Self::Run(args) => commands::run::run(args),
            Self::Demo(args) => commands::demo::run(args),
            Self::Score(args) => commands::score::run(args),
            Self::Features(args) => commands::features::run(args),
            Self::Inspect(args) => commands::inspect::run(args),
            Self::Bench(args) => commands::bench::run(args),
            Self::Calibrate(args) => commands::calibrate::run(args),
            Self::Selftest(args) => commands::selftest::run(args),
            Self::Model(args) => commands::model::run(args),
            Self::Replay(args) => commands::replay::run(args),
            Self::Report(args) => commands::report::run(args),
            Self::Anchor(args) => commands::anchor::run(args),
            Self::Judge(args) => commands::judge::run(args),
            Self::Reference(args) => commands::reference::run(args),
            Self::SetupRuntime(args) => commands::setup_runtime::run(args),
            Self::Completions(args) => commands::completions::run(args),
            Self::Man(args) => commands::man::run(args),
        }
    }
}
