//! One file per subcommand.

pub mod anchor;
pub mod inspect;
pub mod model;
pub mod judge;
pub mod reference;
pub mod replay;
pub mod report;
pub mod run;
pub mod demo;
pub mod detector_args;
pub mod score;
pub mod features;
pub mod bench;
pub mod completions;
pub mod man;
pub mod calibrate;
pub mod selftest;
pub mod setup_runtime;
mod teaching;
