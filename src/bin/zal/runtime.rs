//! Where the ONNX Runtime library is: found in this order: flag or configuration,
//! `ORT_DYLIB_PATH`, the state directory (`zal setup-runtime`), the system. When there is
//! none, tract runs. The library crate reads no environment; this file does it for the binary.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zal::engine::{EngineChoice, EngineOptions};

/// State of a system-wide installation.
const SYSTEM_STATE_DIR: &str = "/var/lib/zal";
/// Where the package `zal-with-runtime`, distributions and administrators put shared libraries.
const SYSTEM_LIBRARY_DIRS: [&str; 6] = [
    "/usr/lib/zal/runtime",
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib",
    "/opt/onnxruntime/lib",
];

/// A runtime library and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Absolute path.
    pub library: PathBuf,
    /// `option`, `ORT_DYLIB_PATH`, `state directory` or `system`.
    pub source: &'static str,
}

/// Finds the runtime library. What the user names is taken as it is, even when it is not
/// there: loading it then says what is wrong.
pub fn find(named: Option<&Path>) -> Option<Found> {
    if let Some(path) = named {
        return Some(Found { library: absolute(path), source: "option" });
    }
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return Some(Found { library: absolute(Path::new(&path)), source: "ORT_DYLIB_PATH" });
    }
    let installed = [state_dir(), PathBuf::from(SYSTEM_STATE_DIR)]
        .iter()
        .find_map(|state| newest_installed(&state.join("runtime")))
        .map(|library| Found { library, source: "state directory" });
    installed.or_else(|| {
        let library = SYSTEM_LIBRARY_DIRS.iter().find_map(|dir| newest_library(Path::new(dir)))?;
        Some(Found { library, source: "system" })
    })
}

/// Options for loading graphs, with the library that [`find`] finds.
pub fn engine_options(choice: EngineChoice, named: Option<&Path>, threads: usize) -> EngineOptions {
    EngineOptions {
        choice,
        runtime_library: find(named).map(|found| found.library),
        threads,
        cache_dir: Some(state_dir().join("tensorrt")),
        ..EngineOptions::default()
    }
}

/// The state directory: `ZAL_STATE_DIR`; else /var/lib/zal for root, and the user's data
/// directory for everyone else.
pub fn state_dir() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = set("ZAL_STATE_DIR") {
        return absolute(&dir);
    }
    // The owner of /proc/self is the user of this process.
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        return SYSTEM_STATE_DIR.into();
    }
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| SYSTEM_STATE_DIR.into(), |data| data.join("zal"))
}

/// The newest library in the `onnxruntime-VERSION` folders that `zal setup-runtime` makes.
fn newest_installed(runtime_dir: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(runtime_dir).ok()?.flatten().map(|entry| entry.path());
    let installed = folders.filter(|folder| file_name(folder).starts_with("onnxruntime-"));
    installed.filter_map(|folder| newest_library(&folder)).max_by_key(|library| version_key(library))
}

/// The newest `libonnxruntime.so*` in a folder.
fn newest_library(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files
        .filter(|file| {
            file_name(file) == "libonnxruntime.so" || file_name(file).starts_with("libonnxruntime.so.")
        })
        .max_by_key(|library| version_key(library))
}

/// The numbers of `libonnxruntime.so.1.32.0`, so that 1.32 is newer than 1.4.
fn version_key(library: &Path) -> Vec<u32> {
    let name = file_name(library);
    let version = name.split_once(".so.").map_or("", |(_, version)| version);
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_taken_by_number() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = folder.path().join("runtime");
        for version in ["1.4.0", "1.32.0", "1.9.1"] {
            let dir = runtime.join(format!("onnxruntime-{version}"));
            fs::create_dir_all(&dir).expect("makes the folder");
            fs::write(dir.join(format!("libonnxruntime.so.{version}")), "").expect("writes");
            fs::write(dir.join("LICENSE"), "").expect("writes");
        }
        fs::create_dir(runtime.join(".staging-1")).expect("makes the folder");
        let newest = newest_installed(&runtime).expect("one is found");
        assert!(newest.ends_with("onnxruntime-1.32.0/libonnxruntime.so.1.32.0"));
        assert_eq!(newest_installed(&folder.path().join("nothing")), None);
    }

    #[test]
    fn a_named_library_is_taken_as_it_is() {
        let found = find(Some(Path::new("/nowhere/libonnxruntime.so"))).expect("named");
        assert_eq!(
            (found.library.as_path(), found.source),
            (Path::new("/nowhere/libonnxruntime.so"), "option")
        );
    }
}
