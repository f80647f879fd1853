//! zal-export: makes what the device needs (data, ONNX artifacts, memory bank, signed bundle).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks on its streams")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use zal_export::commands;

/// Training pipeline of zal.
#[derive(Debug, Parser)]
#[command(name = "zal-export", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write procedural scans in the MVTec 3D-AD layout, a class per family
    Synth(commands::synth::Args),
    /// Write the colour backbone as ONNX
    Backbone(commands::backbone::Args),
    /// Write PointNet++ and normalcy classifier as ONNX, with seeded random weights
    PointGraphs(commands::point_graphs::Args),
    /// Draw the activation map of a residual network over a scan
    Attention(commands::attention::Args),
    /// Train PointNet++ and normalcy classifier on a folder of normal scans
    Train(commands::train::Args),
    /// Make a signed bundle from a folder of normal scans: backbone, training, banks
    Make(commands::make::Args),
    /// Fill a memory bank from normal scans
    Bank(commands::bank::Args),
    /// Judge what training brings, after a plan
    Study(commands::study::Args),
    /// Judge methods on classes that they never saw: every training class against every other class
    Eval(Box<commands::eval::Args>),
    /// AUPRO and pixel AUROC of anyone's maps, from .npy files
    Aupro(commands::aupro::Args),
    /// Judge a bundle on scans of known truth
    Gate(commands::gate::Args),
    /// One HTML page of a finished run
    Report(commands::report::Args),
    /// Pack and sign a bundle
    Pack(commands::pack::Args),
    /// Make a signing key
    Key(commands::key::Args),
    /// Draw pseudo anomalies of a scan, to be looked at
    Pseudo(commands::pseudo::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Synth(args) => commands::synth::run(&args),
        Command::Backbone(args) => commands::backbone::run(&args),
        Command::PointGraphs(args) => commands::point_graphs::run(&args),
        Command::Attention(args) => commands::attention::run(&args),
        Command::Train(args) => commands::train::run(&args),
        Command::Make(args) => commands::make::run(&args),
        Command::Bank(args) => commands::bank::run(&args),
        Command::Study(args) => {
            let trainer = commands::study_trainer::StudyTrainer::default();
            commands::study::run(&args, &|request| trainer.train(request))
        }
        Command::Eval(args) => {
            let trainer = commands::study_trainer::StudyTrainer::default();
            commands::eval::run(&args, &|request| trainer.train(request))
        }
        Command::Aupro(args) => commands::aupro::run(&args),
        Command::Gate(args) => commands::gate::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Pack(args) => commands::pack::run(&args),
        Command::Key(args) => commands::key::run(&args),
        Command::Pseudo(args) => commands::pseudo::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            match error.downcast_ref::<commands::eval::LeftOutError>() {
                Some(_) => ExitCode::from(commands::eval::LEFT_OUT_STATUS),
                None => ExitCode::FAILURE,
            }
        }
    }
}
