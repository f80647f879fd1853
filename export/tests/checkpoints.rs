//! Checkpoints of other frameworks: a real `torch.save` file, and safetensors written here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use zal_export::weights::checkpoint::{Checkpoint, WeightError};

const ANCHOR: &str = "layer1.0.conv1.weight";

fn tiny() -> Checkpoint {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny.pth");
    Checkpoint::open(&path, ANCHOR).unwrap()
}

/// Element i of a ramp is i / 4 - 1, as `dev/make_tiny_pth.py` writes it.
fn ramp(count: u8) -> Vec<f32> {
    (0..count).map(|i| f32::from(i) / 4.0 - 1.0).collect()
}

#[test]
fn a_real_pytorch_file_is_read_whatever_its_prefix_and_element_type() {
    let file = tiny();
    assert_eq!(file.prefix(), "state_dict.module.model.");
    assert_eq!(file.tensor(ANCHOR, &[2, 3, 1, 1]).unwrap(), ramp(6));
    assert_eq!(file.tensor("double", &[5]).unwrap(), ramp(5));
    assert_eq!(file.tensor("half", &[4]).unwrap(), ramp(4));
    assert_eq!(file.tensor("bfloat", &[4]).unwrap(), ramp(4));
    let turned = file.tensor("turned", &[2, 3]).unwrap();
    assert_eq!(turned, [-1.0, -0.5, 0.0, -0.75, -0.25, 0.25], "row by row, although stored column by column");
}

#[test]
fn what_is_wrong_with_a_tensor_is_named() {
    let file = tiny();
    let message =
        |name: &str, shape: &[usize]| file.tensor(name, shape).expect_err("wrong tensor").to_string();
    let missing = message("layer9.bias", &[4]);
    assert!(missing.contains("tiny.pth: found no tensor `state_dict.module.model.layer9.bias`"), "{missing}");
    assert!(missing.contains("[4]"), "{missing}");
    let shape = message(ANCHOR, &[6, 1, 1, 1]);
    assert!(shape.contains("found shape [2, 3, 1, 1], expected [6, 1, 1, 1]"), "{shape}");
    assert!(message("steps", &[1]).contains("found element type I64"));
    assert!(message("broken", &[2]).contains("found NaN at index 1"));
}

fn write_safetensors(folder: &Path, names: &[&str]) -> PathBuf {
    let bytes: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensors = names.iter().map(|name| (*name, TensorView::new(Dtype::F32, vec![1, 2], &bytes).unwrap()));
    let path = folder.join("weights.safetensors");
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    path
}

#[test]
fn safetensors_are_read_with_and_without_prefix() {
    let folder = tempfile::tempdir().unwrap();
    for prefix in ["", "model.", "backbone.", "encoder.body."] {
        let path = write_safetensors(folder.path(), &[&format!("{prefix}{ANCHOR}"), "other"]);
        let file = Checkpoint::open(&path, ANCHOR).unwrap();
        assert_eq!(file.prefix(), prefix);
        assert_eq!(file.tensor(ANCHOR, &[1, 2]).unwrap(), [1.5, -2.0]);
    }
}

#[test]
fn a_file_without_the_network_or_with_two_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let none = write_safetensors(folder.path(), &["head.weight", "my_layer1.0.conv1.weight"]);
    let message = Checkpoint::open(&none, ANCHOR).expect_err("no network").to_string();
    assert!(message.contains("found 2 tensors") && message.contains("head.weight"), "{message}");
    let two =
        write_safetensors(folder.path(), &["teacher.layer1.0.conv1.weight", "student.layer1.0.conv1.weight"]);
    let message = Checkpoint::open(&two, ANCHOR).expect_err("two networks").to_string();
    assert!(message.contains("`student.`, `teacher.`"), "{message}");
}

#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read(write_safetensors(folder.path(), &[ANCHOR])).unwrap();
    let cut = folder.path().join("cut.safetensors");
    for length in 0..good.len() {
        std::fs::write(&cut, &good[..length]).unwrap();
        let outcome = Checkpoint::open(&cut, ANCHOR);
        assert!(matches!(outcome, Err(WeightError::Safetensors { .. })), "cut at {length}");
    }
    let golden = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny.pth")).unwrap();
    let cut = folder.path().join("cut.pth");
    for length in (0..golden.len()).step_by(7) {
        std::fs::write(&cut, &golden[..length]).unwrap();
        let outcome = Checkpoint::open(&cut, ANCHOR).and_then(|file| file.tensor(ANCHOR, &[2, 3, 1, 1]));
        assert!(outcome.is_err(), "cut at {length}");
    }
    let odd = folder.path().join("weights.h5");
    assert!(matches!(Checkpoint::open(&odd, ANCHOR), Err(WeightError::Extension { .. })));
    let absent = folder.path().join("absent.safetensors");
    assert!(matches!(Checkpoint::open(&absent, ANCHOR), Err(WeightError::Io { .. })));
}
