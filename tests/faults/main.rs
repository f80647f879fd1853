//! What a line does to the daemon: kills, bad scans, full and failing disks, clocks that jump,
//! more parts than it can judge, and all of that for a long time.
//!
//! Each test has a short form for every run and, where it pays, a long one with `ZAL_LONG=1`;
//! `tests/README.md` names the commands and what they found. Tests that need root, mosquitto,
//! strace or libfaketime say so and are skipped without them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "long forms print their figures, skipped tests say why")]
#![allow(dead_code, reason = "the tests share a broker, each uses some of it")]

mod bad_scans;
mod clocks;
mod disks;
#[path = "../common/fake_broker.rs"]
mod fake_broker;
mod intake;
mod kills;
mod load;
mod mosquitto;
mod power;
mod scans;
mod station;
