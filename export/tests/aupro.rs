//! `zal-export aupro` from outside: figures of the files are those of the library and the published vectors, and every
//! bad file is named with what was found and expected.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use zal::metrics::{Domain, MaskedMap, PixelPool};
use zal::scan::npy;

const SHAPE: [usize; 3] = [5, 20, 30];

fn aupro(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zal-export"));
    command.arg("aupro").args(arguments).output().expect("the command starts")
}

fn json_of(arguments: &[&str]) -> Value {
    let output = aupro(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn refusal(arguments: &[&str]) -> String {
    let output = aupro(arguments);
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?} was not refused");
    String::from_utf8(output.stderr).expect("text")
}

fn number(figures: &Value, name: &str) -> f64 {
    figures[name].as_f64().unwrap_or_else(|| panic!("{name} of {figures}"))
}

/// Maps with defects and an object, of few distinct scores, so that many tie.
fn made_up() -> Vec<MaskedMap> {
    let [count, height, width] = SHAPE;
    let mut state = 12_345_u32;
    let mut next = |limit: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from((state >> 8) % limit).expect("small"))
    };
    let mut map = |index: usize| {
        let of = |pixel: usize| (pixel / width, pixel % width);
        let mask: Vec<u8> = (0..height * width)
            .map(|p| u8::from(index != 2 && of(p).0.abs_diff(8) + of(p).1.abs_diff(10 + index) < 4))
            .collect();
        let object = (0..height * width).map(|p| of(p).1 > 5).collect();
        let scores = mask.iter().map(|m| next(40) + next(12) * f32::from(*m) - 9.5).collect();
        MaskedMap { scores, mask, width, object: Some(object) }
    };
    (0..count).map(&mut map).collect()
}

/// The maps' files in a folder.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn of(maps: &[MaskedMap]) -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        files.put_floats("maps.npy", &SHAPE, &maps.iter().flat_map(|m| m.scores.clone()).collect::<Vec<_>>());
        files.put_bytes(
            "gt.npy",
            "|u1",
            &SHAPE,
            &maps.iter().flat_map(|m| m.mask.clone()).collect::<Vec<_>>(),
        );
        let object: Vec<u8> =
            maps.iter().flat_map(|m| m.object.clone().unwrap_or_default()).map(u8::from).collect();
        files.put_bytes("object.npy", "|b1", &SHAPE, &object);
        files
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn put_floats(&self, name: &str, shape: &[usize], values: &[f32]) {
        let mut bytes = Vec::new();
        npy::write_f32(&mut bytes, shape, values).expect("written to memory");
        fs::write(self.path(name), bytes).expect("written");
    }

    fn put_bytes(&self, name: &str, descr: &str, shape: &[usize], values: &[u8]) {
        let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({},), }}\n", shape.join(", "));
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).expect("short").to_le_bytes());
        bytes.extend([header.as_bytes(), values].concat());
        fs::write(self.path(name), bytes).expect("written");
    }

    fn arguments(&self) -> [String; 4] {
        ["--maps".into(), self.path("maps.npy"), "--gt".into(), self.path("gt.npy")]
    }

    fn refusal(&self) -> String {
        refusal(&self.arguments().each_ref().map(String::as_str))
    }
}

#[test]
fn figures_of_files_are_those_of_the_library() {
    let maps = made_up();
    let files = Files::of(&maps);
    let mut pool = PixelPool::default();
    maps.iter().for_each(|map| pool.add(map));
    for (limit, rule) in [("0.3", "published"), ("0.3", "exact"), ("0.05", "exact"), ("1", "published")] {
        let arguments = files.arguments();
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let object = files.path("object.npy");
        arguments.extend(["--mask", &object, "--limit", limit, "--rule", rule, "--json"]);
        let figures = json_of(&arguments);
        for (domain, aupro, auroc) in
            [(Domain::Image, "aupro", "pixel_auroc"), (Domain::Object, "aupro_fg", "pixel_auroc_fg")]
        {
            let ranked = pool.rank(domain, limit.parse().expect("a number")).expect("there are regions");
            let expected = if rule == "exact" { ranked.exact() } else { ranked.published() };
            let found = number(&figures, aupro);
            assert!((found - expected).abs() < 1e-9, "{aupro} {rule} {limit}: {found}, expected {expected}");
            let expected = pool.auroc(domain).expect("there are both");
            let found = number(&figures, auroc);
            assert!((found - expected).abs() < 1e-12, "{auroc}: {found}, expected {expected}");
        }
        assert_eq!((&figures["rule"], &figures["maps"]), (&rule.into(), &5.into()));
        assert_eq!(figures["regions"], 4, "one map has none");
    }
}

#[test]
fn words_name_the_rule_and_the_limit() {
    let files = Files::of(&made_up());
    let arguments = files.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = aupro(&arguments);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && text.contains("published rule, limit 0.3"), "{text}");
    assert!(!text.contains("-fg"), "there is no object mask: {text}");
    let found = refusal(&[&arguments[..], &["--limit", "0"]].concat());
    assert!(found.contains("above 0 and at most 1"), "{found}");
}

#[test]
fn bad_maps_are_named() {
    let maps = made_up();
    let files = Files::of(&maps);
    let values: Vec<f32> = maps.iter().flat_map(|m| m.scores.clone()).collect();
    let good = fs::read(files.path("maps.npy")).expect("just written");
    let mut with_nan = values.clone();
    // Image 2, row 3, column 4: a map without a defect.
    with_nan[2 * 600 + 3 * 30 + 4] = f32::NAN;
    files.put_floats("maps.npy", &SHAPE, &with_nan);
    let found = files.refusal();
    assert!(found.contains("maps.npy: found NaN in image 2 at row 3, column 4"), "{found}");
    with_nan[2 * 600 + 3 * 30 + 4] = f32::NEG_INFINITY;
    files.put_floats("maps.npy", &SHAPE, &with_nan);
    assert!(files.refusal().contains("found -inf in image 2"));

    files.put_bytes("maps.npy", "<i4", &SHAPE, &[0; 4 * 3000]);
    let found = files.refusal();
    assert!(found.contains("maps.npy") && found.contains("expected scores as f32, f64 or f16"), "{found}");
    files.put_bytes("maps.npy", "<c8", &SHAPE, &[0; 8 * 3000]);
    assert!(files.refusal().contains("type `<c8`"));
    fs::write(files.path("maps.npy"), &good[..good.len() - 1]).expect("written");
    let found = files.refusal();
    assert!(found.contains("maps.npy") && found.contains("is the file cut off"), "{found}");
    fs::write(files.path("maps.npy"), &good[..40]).expect("written");
    assert!(files.refusal().contains("ends at byte 40"));
    fs::write(files.path("maps.npy"), b"PK\x03\x04 not an array").expect("written");
    assert!(files.refusal().contains("does not start as .npy"));
    files.put_floats("maps.npy", &[3000], &values);
    assert!(files.refusal().contains("expected [n, height, width]"));
    fs::remove_file(files.path("maps.npy")).expect("removed");
    assert!(files.refusal().contains("maps.npy cannot be used"));
}

#[test]
fn masks_that_do_not_fit_are_named() {
    let files = Files::of(&made_up());
    files.put_bytes("gt.npy", "|u1", &[5, 30, 20], &[0; 3000]);
    let found = files.refusal();
    assert!(
        found.contains("gt.npy: found shape [5, 30, 20], expected [5, 20, 30] as in")
            && found.contains("maps.npy"),
        "{found}"
    );
    files.put_bytes("gt.npy", "|u1", &SHAPE, &[0; 3000]);
    let found = files.refusal();
    assert!(found.contains("found no pixel above 0 in 5 masks"), "{found}");
    files.put_bytes("gt.npy", "|u1", &SHAPE, &[1; 3000]);
    assert!(files.refusal().contains("found no good pixel in the masks"));
    files.put_bytes("gt.npy", "|S1", &SHAPE, &[b'x'; 3000]);
    assert!(files.refusal().contains("type `|S1`"));
}

#[test]
fn the_reference_values_are_met() {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(shared), Some(maps)) = (folder("ZAL_SHARED"), folder("ZAL_AUPRO_MAPS")) else {
        eprintln!(
            "skipped: AUPRO reference values need ZAL_SHARED and ZAL_AUPRO_MAPS (tests/golden/aupro_maps.py)"
        );
        return;
    };
    let text = fs::read_to_string(shared.join("vectors/aupro/expected_224.json")).expect("reference values");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let path = |name: &str| path_text(&maps.join(name));
    let (maps, gt) = (path("maps_224.npy"), path("gt_224.npy"));
    for (rule, name, tolerance) in [("published", "rule_100_rank_thresholds", 1e-6), ("exact", "exact", 1e-5)]
    {
        let found = json_of(&["--maps", &maps, "--gt", &gt, "--limit", "0.3", "--rule", rule, "--json"]);
        let (found, expected) = (number(&found, "aupro"), number(&expected, name));
        assert!((found - expected).abs() < tolerance, "{rule}: found {found}, expected {expected}");
    }
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
