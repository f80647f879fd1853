//! One file per subcommand. Only here, and in `main.rs`, does the package speak on its streams.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks on its streams")]

pub mod label;
pub mod synth;
pub mod backbone;
pub mod point_graphs;
pub mod train;
pub mod bank;
pub mod study;
pub mod eval;
pub mod pack;
pub mod make;
pub mod key;
pub mod pseudo;
pub mod attention;
pub mod study_trainer;
pub mod aupro;
pub mod report;
pub mod gate;
