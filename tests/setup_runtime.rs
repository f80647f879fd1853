//! `zal setup-runtime` without a network: wheels made on the spot, and interpreters that fail.
#![expect(clippy::print_stderr, reason = "a skipped test must say so")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const LIBRARY: &[u8] = b"the bytes of a library";

/// Makes a wheel that holds a library for `version`; `None` where there is no Python.
fn make_wheel(folder: &Path, version: &str) -> Option<PathBuf> {
    let wheel = folder.join("onnxruntime.whl");
    let script = format!(
        "import zipfile\nz = zipfile.ZipFile({:?}, 'w')\n\
         z.writestr('onnxruntime/capi/libonnxruntime.so.{version}', {:?})\n\
         z.writestr('onnxruntime/LICENSE', 'licence')\n\
         z.writestr('onnxruntime/ThirdPartyNotices.txt', 'notices')\nz.close()",
        wheel.display().to_string(),
        std::str::from_utf8(LIBRARY).expect("text"),
    );
    let made = Command::new("python3").args(["-c", &script]).status().is_ok_and(|status| status.success());
    if !made {
        eprintln!("SKIPPED: there is no python3 to make and unpack wheels");
    }
    made.then_some(wheel)
}

fn library_sha256() -> String {
    Sha256::digest(LIBRARY).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An interpreter made of a shell script.
fn fake_python(folder: &Path, script: &str) -> String {
    let path = folder.join("python");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("makes it executable");
    path.display().to_string()
}

fn setup_runtime(state: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zal"))
        .arg("setup-runtime")
        .args(args)
        .env("ZAL_STATE_DIR", state.path())
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .expect("the binary runs")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_refused(output: &Output, code: i32, message: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(message), "{text}");
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

#[test]
fn a_dry_run_changes_nothing_and_names_the_pinned_library() {
    let state = TempDir::new().expect("a temporary folder");
    let report = json(&setup_runtime(&state, &["--dry-run", "--json"]));
    assert_eq!(report["outcome"], "would be installed");
    assert_eq!(report["sha256"].as_str().map(str::len), Some(64));
    let library = PathBuf::from(report["library"].as_str().expect("a path"));
    assert!(library.starts_with(state.path()) && !library.exists());
    assert!(is_empty(state.path()));
}

#[test]
fn a_checked_wheel_is_installed_with_its_licences_and_then_found() {
    let state = TempDir::new().expect("a temporary folder");
    let Some(wheel) = make_wheel(state.path(), "9.8.7") else { return };
    let (wheel, sha256) = (wheel.display().to_string(), library_sha256());
    let args = ["--version", "9.8.7", "--sha256", &sha256, "--wheel", &wheel, "--json"];
    let report = json(&setup_runtime(&state, &args));
    assert_eq!(report["outcome"], "installed");
    let library = PathBuf::from(report["library"].as_str().expect("a path"));
    assert_eq!(fs::read(&library).expect("installed"), LIBRARY);
    let folder = library.parent().expect("a folder");
    assert!(folder.join("LICENSE").exists() && folder.join("ThirdPartyNotices.txt").exists());
    assert_eq!(report["found"]["library"], report["library"]);
    assert_eq!(report["found"]["source"], "state directory");
    let entries = fs::read_dir(folder.parent().expect("a folder")).expect("reads").count();
    assert_eq!(entries, 1, "nothing of the staging is left");

    assert_eq!(json(&setup_runtime(&state, &args))["outcome"], "already installed");
    fs::write(&library, "damaged").expect("writes");
    assert_eq!(json(&setup_runtime(&state, &args))["outcome"], "installed", "a damaged library is replaced");
    assert_eq!(fs::read(&library).expect("installed"), LIBRARY);
}

#[test]
fn another_checksum_is_refused_and_nothing_is_installed() {
    let state = TempDir::new().expect("a temporary folder");
    let Some(wheel) = make_wheel(state.path(), "1.32.0") else { return };
    let output = setup_runtime(&state, &["--wheel", &wheel.display().to_string()]);
    assert_refused(&output, 77, "nothing was installed");
    assert!(stderr(&output).contains(&library_sha256()) && stderr(&output).contains("hint: "));
    assert!(is_empty(&state.path().join("runtime")));
}

#[test]
fn wheels_that_are_none_are_named() {
    let state = TempDir::new().expect("a temporary folder");
    let Some(wheel) = make_wheel(state.path(), "1.31.0") else { return };
    let other_version = setup_runtime(&state, &["--wheel", &wheel.display().to_string()]);
    assert_refused(&other_version, 65, "does not hold onnxruntime/capi/libonnxruntime.so.1.32.0");
    fs::write(&wheel, "not a zip file").expect("writes");
    let damaged = setup_runtime(&state, &["--wheel", &wheel.display().to_string()]);
    assert_refused(&damaged, 65, "cannot be unpacked");
    assert_refused(&setup_runtime(&state, &["--wheel", "/nowhere.whl"]), 66, "cannot read /nowhere.whl");
}

#[test]
fn missing_tools_are_named_with_a_way_out() {
    let state = TempDir::new().expect("a temporary folder");
    let no_python = setup_runtime(&state, &["--python", "/nowhere/python3"]);
    assert_refused(&no_python, 69, "cannot run `/nowhere/python3`");
    let script = fake_python(state.path(), "echo 'No module named pip' >&2; exit 1");
    let no_pip = setup_runtime(&state, &["--python", &script]);
    assert_refused(&no_pip, 69, "has no pip: No module named pip");
    let script = fake_python(
        state.path(),
        "[ \"$3\" = --version ] && exit 0; echo 'Could not reach the index' >&2; exit 1",
    );
    let no_network = setup_runtime(&state, &["--python", &script]);
    assert_refused(&no_network, 69, "pip cannot download onnxruntime 1.32.0: Could not reach the index");
    let script = fake_python(state.path(), "mkdir -p \"$(dirname \"$0\")/runtime\"; exit 0");
    let no_wheel = setup_runtime(&state, &["--python", &script]);
    assert_ne!(no_wheel.status.code(), Some(0));
    for output in [no_python, no_pip, no_network] {
        assert!(stderr(&output).contains("hint: ") && stderr(&output).contains("--wheel"));
    }
    assert!(is_empty(&state.path().join("runtime")));
}

#[test]
fn an_unpinned_version_needs_its_checksum() {
    let state = TempDir::new().expect("a temporary folder");
    assert_refused(
        &setup_runtime(&state, &["--version", "1.31.0"]),
        64,
        "no checksum is pinned for onnxruntime 1.31.0",
    );
    assert_refused(&setup_runtime(&state, &["--version", "../../etc"]), 64, "is not a version");
    assert_refused(&setup_runtime(&state, &["--sha256", "abc"]), 64, "is not a sha256");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_io_error() {
    let state = TempDir::new().expect("a temporary folder");
    let file = state.path().join("file");
    fs::write(&file, "").expect("writes");
    let output = setup_runtime(&state, &["--dir", &file.display().to_string(), "--python", "true"]);
    assert_refused(&output, 74, "cannot make");
}
