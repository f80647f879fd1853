//! The one-way data flow: a module of the library imports only what stands before it in
//! `src/lib.rs`, and the few crates that one file alone may name are named there alone.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the source folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn library() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&root)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("it is below src").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("the file is readable"))
        })
        .filter(|(name, _)| !name.starts_with("bin/"))
        .collect()
}

/// Code lines above the unit tests: tests may use later modules to make their input.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")).filter(|l| !l.trim_start().starts_with("//"))
}

fn module_of(file: &str) -> &str {
    file.split('/').next().expect("split gives at least one").trim_end_matches(".rs")
}

#[test]
fn a_module_imports_only_what_stands_before_it() {
    let files = library();
    let lib = &files.iter().find(|(name, _)| name == "lib.rs").expect("there is a lib.rs").1;
    let order: Vec<&str> =
        lib.lines().filter_map(|l| l.strip_prefix("pub mod ")).map(|l| l.trim_end_matches(';')).collect();
    assert!(order.len() > 10, "lib.rs lists its modules, found {order:?}");
    let mut imports = 0;
    for (name, text) in files.iter().filter(|(name, _)| name != "lib.rs") {
        let place = order.iter().position(|m| *m == module_of(name)).expect("every file belongs to a module");
        for line in code(text) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let Some(other) = order.iter().position(|m| *m == used) else { continue };
                imports += 1;
                assert!(other <= place, "{name} imports `{used}`, which stands after it: {line}");
            }
        }
    }
    assert!(imports > 20, "the check found only {imports} imports: it no longer looks at the right lines");
}

#[test]
fn crates_that_one_place_may_name_are_named_there_alone() {
    let rules = [
        ("kiddo::", "neighbors"),
        ("ort::", "engine/"),
        ("tract_onnx::", "engine/tract"),
        ("bincode::", "bank/file"),
        ("minisign_verify::", "bundle/signature"),
    ];
    for (crate_path, home) in rules {
        let mut named = Vec::new();
        for (name, text) in library() {
            let names_it = code(&text).any(|l| {
                l.match_indices(crate_path).any(|(at, _)| {
                    let before = l[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                })
            });
            if names_it {
                named.push(name);
            }
        }
        assert!(!named.is_empty(), "nothing names {crate_path}: the rule is out of date");
        let strangers: Vec<&String> = named.iter().filter(|n| !n.starts_with(home)).collect();
        assert!(strangers.is_empty(), "{crate_path} belongs to {home} alone, but {strangers:?} name it");
    }
}
