//! What `zal-export` is made of: graphs, weights and the commands. `main.rs` only reads the command line,
//! so that the tests reach every part without starting a process.

pub mod onnx;
pub mod weights;
pub mod graphs;
pub mod commands;
