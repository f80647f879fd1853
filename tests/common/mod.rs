//! What the black-box tests share.
#![allow(dead_code, reason = "every test binary uses its own part of it")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The folder of shared data that `ZAL_SHARED` names, with `part` appended; `None`, and a line
/// on stderr, when the variable is unset: such tests are skipped.
pub fn shared(part: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("ZAL_SHARED") else {
        eprintln!("skipped: ZAL_SHARED is not set, so {part} cannot be found");
        return None;
    };
    let path = PathBuf::from(root).join(part);
    assert!(path.exists(), "ZAL_SHARED is set, but {} is not there", path.display());
    Some(path)
}

/// A file or folder committed under `tests/golden`.
pub fn golden(part: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", part].iter().collect()
}

/// Runs the `zal` binary of this build to its end.
pub fn zal<A: AsRef<OsStr>>(args: &[A]) -> Output {
    let binary = std::env::var_os("CARGO_BIN_EXE_zal").map(PathBuf::from);
    let binary = binary.or_else(|| option_env!("CARGO_BIN_EXE_zal").map(PathBuf::from));
    Command::new(binary.expect("cargo names the binary")).args(args).output().expect("zal starts")
}
