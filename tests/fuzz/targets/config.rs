//! Fuzzes the daemon's configuration. A binary has no library, so its modules are taken in by path.
#![no_main]
#![allow(dead_code, reason = "the daemon uses the rest")]

use std::path::Path;

#[path = "../../../src/bin/zal/publish/address.rs"]
mod address;
#[path = "../../../src/bin/zal/config/mod.rs"]
mod config;
mod publish {
    pub(crate) use super::address;
}
#[path = "../../../src/bin/zal/runtime.rs"]
mod runtime;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Err(config::ConfigError::Wrong { problems }) = config::parse_text(&text, Path::new("zal.toml")) {
        assert!(!problems.is_empty() && problems.iter().all(|problem| problem.starts_with("zal.toml")));
    }
});
