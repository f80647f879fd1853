//! Normals and FPFH: reference values, an independent slow implementation, properties, and
//! degenerate input.
//!
//! The reference vectors are found through the environment variable `ZAL_SHARED`; without
//! it those tests say so on stderr and pass.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::cast_precision_loss, reason = "pixel numbers are small")]

mod degenerate;
mod properties;
mod references;
mod scene;
mod slow;
mod slow_comparison;
