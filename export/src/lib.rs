//! What `zal-export` is made of: graphs, weights, data and the commands. `main.rs` only reads the command
//! line, so that the tests reach every part without starting a process.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the commands speak on their streams")]

pub mod onnx;
pub mod weights;
pub mod graphs;
pub mod losses;
pub mod networks;
pub mod layout;
pub mod stack;
pub mod provenance;
pub mod signing;
pub mod bank_build;
pub mod pseudo;
pub mod attention;
pub mod training;
pub mod study;
pub mod eval;
pub mod report;
pub mod gate;
pub mod commands;
