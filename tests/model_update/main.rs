//! Flashing a model without fear: `zal model` and a running `zal run`, black-box, with bundles that are
//! good, tampered with, slow, wrong, or end the process that loads them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![allow(dead_code, reason = "the tests share helpers, each uses some")]

#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../common/fake_broker.rs"]
mod fake_broker;
#[path = "../common/line.rs"]
mod line;
#[path = "../common/running.rs"]
mod running;

mod bundles;
mod device;
mod onnx;
mod server;

mod attacks;
mod commands;
mod download;
mod kills;
mod rollbacks;
mod swaps;
