//! `zal inspect` through the binary: words, JSON and exit codes, on committed and real files.

mod common;

use std::path::Path;
use std::process::Output;

use common::{golden, shared, zal};

fn inspect(args: &[&str]) -> Output {
    zal(&[&["inspect"], args].concat())
}

fn inspect_path(path: &Path) -> (Option<i32>, String) {
    let output = zal(&["inspect".as_ref(), path.as_os_str()]);
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

fn golden_name(name: &str) -> String {
    golden("scan").join(name).to_str().expect("a plain path").to_owned()
}

#[test]
fn a_good_scan_is_described_and_accepted() {
    let (code, text) = inspect_path(&golden("scan/tiled.tiff"));
    assert_eq!(code, Some(0), "{text}");
    for words in [
        "TIFF (uncompressed",
        "9 rows x 12 columns",
        "108, 106 measured",
        "2 zero",
        "color_missing",
        "accepted",
    ] {
        assert!(text.contains(words), "{words:?} is missing in:\n{text}");
    }
}

#[test]
fn a_bad_scan_is_refused_with_the_way_out() {
    let (code, text) = inspect_path(&golden("scan/planar.tiff"));
    assert_eq!(code, Some(65), "{text}");
    for words in ["planar_tiff", "PlanarConfiguration 2", "contig", "refused"] {
        assert!(text.contains(words), "{words:?} is missing in:\n{text}");
    }
}

#[test]
fn the_exit_code_is_the_worst_of_all_files() {
    let (good, bad) = (golden_name("plain.tiff"), golden_name("depth.tiff"));
    assert_eq!(inspect(&[&good, &bad]).status.code(), Some(65));
    assert_eq!(inspect(&[&bad, &good]).status.code(), Some(65));
    assert_eq!(inspect(&[&bad, "no-such-file.tiff", &good]).status.code(), Some(66));
    assert_eq!(inspect(&[]).status.code(), Some(64));
    assert_eq!(inspect(&["--no-such-flag", &good]).status.code(), Some(64));
}

#[test]
fn json_has_every_file_and_finding() {
    let output = inspect(&["--json", &golden_name("plain.tiff"), &golden_name("u16.tiff")]);
    assert_eq!(output.status.code(), Some(65));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&all[0]["format"], &all[0]["height"], &all[0]["width"]),
        (&"tiff".into(), &9.into(), &12.into())
    );
    assert_eq!((&all[0]["valid_count"], &all[0]["missing"]["zero"]), (&106.into(), &2.into()));
    assert_eq!((&all[0]["accepted"], &all[0]["findings"][0]["severity"]), (&true.into(), &"warning".into()));
    let finding = &all[1]["findings"][0];
    assert_eq!((&finding["code"], &finding["severity"]), (&"wrong_value_type".into(), &"error".into()));
    for key in ["found", "expected", "advice"] {
        assert!(finding[key].as_str().is_some_and(|s| !s.is_empty()), "{key}");
    }
    assert_eq!(all[1]["accepted"], false);
}

#[test]
fn the_profile_is_applied_and_strict() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let profile = folder.path().join("profile.toml");
    let run = |text: &str| {
        std::fs::write(&profile, text).expect("a profile");
        let profile = profile.to_str().expect("a plain path");
        let output = inspect(&["--profile", profile, &golden_name("plain.tiff")]);
        let words = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(words).expect("text"))
    };
    assert_eq!(run("unit = \"metre\"\naxes = [\"x\", \"y\", \"z\"]\n[extent]\nz_max_m = 1.0\n").0, Some(0));
    let (code, text) = run("unit = \"millimetre\"\n");
    assert!(
        code == Some(65) && text.contains("unit_mismatch") && text.contains("plausible in metres"),
        "{text}"
    );
    let (code, text) = run("units = \"millimetre\"\n");
    assert!(code == Some(78) && text.contains("units"), "{text}");
    assert_eq!(run("[extent]\nz_min_m = 2.0\nz_max_m = 1.0\n").0, Some(78));
    let missing = inspect(&["--profile", "no-such-profile.toml", &golden_name("plain.tiff")]);
    assert_eq!(missing.status.code(), Some(66));
}

#[test]
fn real_organised_clouds_are_accepted() {
    let Some(clouds) = shared("data/clouds") else { return };
    for (name, measured) in [
        ("milk_cartoon_all_small_clorox.pcd", "241407 measured"),
        ("five_people.pcd", "239075 measured"),
        ("table_scene_mug_stereo_textured.pcd", "209280 measured"),
    ] {
        let (code, text) = inspect_path(&clouds.join(name));
        assert_eq!(code, Some(0), "{text}");
        for words in ["PCD (binary_compressed)", "480 rows x 640 columns", measured, "480 x 640, in the file"]
        {
            assert!(text.contains(words), "{words:?} is missing in:\n{text}");
        }
        assert!(!text.contains("warning"), "{text}");
    }
}

#[test]
fn real_clouds_that_are_no_scans_are_refused_for_the_right_reason() {
    let Some(clouds) = shared("data/clouds") else { return };
    for (name, reason) in [
        ("bun0.pcd", "not_organized: found 397 points (WIDTH 397, HEIGHT 1)"),
        ("colored_cloud.pcd", "not_organized: found 1000 points (WIDTH 1, HEIGHT 1000)"),
        ("stereo_left.pcd", "no_xyz: found only the fields rgba"),
    ] {
        let (code, text) = inspect_path(&clouds.join(name));
        assert_eq!(code, Some(65), "{text}");
        assert!(text.contains(reason), "{reason:?} is missing in:\n{text}");
    }
}
