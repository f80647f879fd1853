//! `zal-export backbone` and `zal-export point-graphs` through the real binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn export(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zal-export")).args(arguments).current_dir(folder).output().unwrap()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn refusal(arguments: &[&str], folder: &Path) -> String {
    let output = export(arguments, folder);
    assert!(!output.status.success(), "{arguments:?} must fail");
    words(&output.stderr)
}

#[test]
fn point_graphs_say_that_they_are_untrained() {
    let folder = tempfile::tempdir().unwrap();
    let output = export(&["point-graphs", "--seed", "5", "--out", "graphs"], folder.path());
    assert!(output.status.success(), "{}", words(&output.stderr));
    assert!(words(&output.stdout).contains("seeded random weights, untrained (seed 5)"));
    for name in ["pointnet", "normalcy"] {
        let model = zal_export::onnx::read(&folder.path().join(format!("graphs/{name}.onnx"))).unwrap();
        let provenance = &model.metadata_props[0];
        assert_eq!(provenance.key, "zal.weights");
        assert!(provenance.value.contains("untrained"), "{name}: {}", provenance.value);
    }
}

#[test]
fn a_backbone_is_reported_as_json_with_the_hash_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["backbone", "--arch", "resnet18", "--seed", "1", "--weights", "f16", "--out", "rgb.onnx", "--json"];
    let output = export(&arguments, folder.path());
    assert!(output.status.success(), "{}", words(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = std::fs::read(folder.path().join("rgb.onnx")).unwrap();
    assert_eq!(report["size_bytes"], bytes.len());
    assert_eq!(report["sha256"], zal_export::commands::point_graphs::sha256_hex(&bytes));
    assert!(report["provenance"].as_str().unwrap().contains("untrained (seed 1)"));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["rgb.onnx"], "no partial file is left");
}

#[test]
fn contradicting_and_missing_arguments_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| refusal(arguments, folder.path());
    assert!(refused(&["backbone", "--arch", "resnet18", "--out", "o"]).contains("--seed"));
    let both = ["backbone", "--arch", "resnet18", "--seed", "1", "--weights-file", "w.pth", "--out", "o"];
    assert!(refused(&both).contains("cannot be used with"));
    assert!(refused(&["backbone", "--from-onnx", "f.onnx", "--out", "o"]).contains("--stride8"));
    assert!(refused(&["backbone", "--seed", "1", "--out", "o"]).contains("--arch"));
    let epsilon = ["point-graphs", "--seed", "1", "--out", "o", "--epsilon", "nan"];
    assert!(refused(&epsilon).contains("finite"));
}

#[test]
fn unreadable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.onnx"), "not a graph").unwrap();
    let imported =
        ["backbone", "--from-onnx", "text.onnx", "--stride8", "a", "--stride16", "b", "--out", "o"];
    assert!(refusal(&imported, folder.path()).contains("text.onnx: not an ONNX file"));
    let absent = ["backbone", "--arch", "resnet18", "--weights-file", "absent.safetensors", "--out", "o"];
    assert!(refusal(&absent, folder.path()).contains("absent.safetensors"));
    assert!(!folder.path().join("o").exists());
}
