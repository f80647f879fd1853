//! The catalogue of bad scans: each handed to the daemon, each answered `not_decidable` with
//! exactly the reason in `tests/golden/bad_scans.json`, each in `bad/` with that reason beside
//! it. `ZAL_BLESS=1` writes the file anew; read the difference before committing it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::fake_broker::{Answer, FakeBroker};
use crate::scans::{npy, npy_of, payload, table};
use crate::station::{Settings, Station};

const GRID: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (32, 32, 3), }";

fn flat() -> Vec<u8> {
    payload(32, 32, table)
}

fn described(description: &str) -> Vec<u8> {
    npy(description, &flat())
}

fn cut(bytes: &[u8], share: f64) -> Vec<u8> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a small file"
    )]
    let len = (bytes.len() as f64 * share) as usize;
    bytes[..len].to_vec()
}

/// A number that jumps, the same in every run.
fn scattered(index: usize) -> f32 {
    let mixed = u32::try_from(index).unwrap().wrapping_mul(2_654_435_761) >> 16;
    f32::from(u16::try_from(mixed).unwrap()) / 65_536.0 * 0.032
}

fn npy_files() -> Vec<(&'static str, Vec<u8>)> {
    let good = npy(GRID, &flat());
    let mut version = good.clone();
    version[6] = 9;
    let mut trailing = good.clone();
    trailing.extend(b"more");
    vec![
        ("npy-empty.npy", Vec::new()),
        ("npy-magic-only.npy", good[..6].to_vec()),
        ("npy-version.npy", version),
        ("npy-header-cut.npy", good[..40].to_vec()),
        ("npy-header-no-dict.npy", described("no dictionary")),
        ("npy-order-no-bool.npy", described(&GRID.replace("False", "2"))),
        ("npy-integers.npy", described(&GRID.replace("<f4", "<i4"))),
        ("npy-complex.npy", described(&GRID.replace("<f4", "<c8"))),
        ("npy-objects.npy", described(&GRID.replace("<f4", "|O"))),
        ("npy-depth-only.npy", npy(&GRID.replace("(32, 32, 3)", "(32, 96)"), &flat())),
        ("npy-channels-first.npy", npy(&GRID.replace("(32, 32, 3)", "(3, 32, 32)"), &flat())),
        ("npy-four-dimensions.npy", npy(&GRID.replace("(32, 32, 3)", "(1, 32, 32, 3)"), &flat())),
        ("npy-list-of-points.npy", npy(&GRID.replace("(32, 32, 3)", "(1024, 3)"), &flat())),
        ("npy-no-rows.npy", npy(&GRID.replace("(32, 32, 3)", "(0, 32, 3)"), &[])),
        ("npy-huge.npy", npy(&GRID.replace("(32, 32, 3)", "(4000000000, 4000000000, 3)"), &flat())),
        ("npy-cut.npy", cut(&good, 0.6)),
        ("npy-trailing.npy", trailing),
        ("npy-all-nan.npy", npy_of(32, 32, |_, _| [f32::NAN; 3])),
        ("npy-all-zero.npy", npy_of(32, 32, |_, _| [0.0; 3])),
        ("npy-all-infinite.npy", npy_of(32, 32, |_, _| [f32::INFINITY; 3])),
        ("npy-millimetres.npy", npy_of(32, 32, |r, c| table(r, c).map(|v| v * 1e3))),
        ("npy-behind-the-camera.npy", npy_of(32, 32, |r, c| [table(r, c)[0], table(r, c)[1], -0.5])),
        ("npy-on-the-moon.npy", npy_of(32, 32, |r, c| [table(r, c)[0], table(r, c)[1], 4e8])),
        ("npy-a-street-wide.npy", npy_of(32, 32, |r, c| [table(r, c)[0] * 1e4, table(r, c)[1] * 1e4, 0.5])),
        ("npy-swapped.npy", npy_of(32, 32, |r, c| [table(c, r)[0], table(c, r)[1], 0.5])),
        ("npy-scattered.npy", npy_of(64, 64, |r, c| [scattered(r * 64 + c), scattered(c * 977 + r), 0.5])),
    ]
}

fn pcd(header: &str, data: &[u8]) -> Vec<u8> {
    [b"# .PCD v0.7\nVERSION 0.7\n".as_slice(), header.as_bytes(), data].concat()
}

fn pcd_files() -> Vec<(&'static str, Vec<u8>)> {
    let header = |width: &str, height: &str, points: &str, data: &str| {
        format!(
            "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {width}\nHEIGHT {height}\n\
             VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {data}\n"
        )
    };
    let binary = pcd(&header("32", "32", "1024", "binary"), &flat());
    let few = |data: &str, bytes: &[u8]| pcd(&header("2", "2", "4", data), bytes);
    vec![
        ("pcd-header-only.pcd", pcd("", &[])),
        ("pcd-not-organised.pcd", pcd(&header("1024", "1", "1024", "binary"), &flat())),
        (
            "pcd-no-z.pcd",
            pcd(
                "FIELDS x y\nSIZE 4 4\nTYPE F F\nCOUNT 1 1\nWIDTH 2\nHEIGHT 2\nPOINTS 4\nDATA ascii\n",
                b"0 0\n0 0\n0 0\n0 0\n",
            ),
        ),
        ("pcd-points-contradict.pcd", pcd(&header("32", "32", "99", "binary"), &flat())),
        ("pcd-unknown-data.pcd", few("base64", b"")),
        ("pcd-negative-width.pcd", pcd(&header("-2", "2", "4", "ascii"), b"0 0 1\n")),
        ("pcd-huge.pcd", pcd(&header("4000000000", "4000000000", "16000000000000000000", "binary"), &flat())),
        ("pcd-words.pcd", few("ascii", b"0 0 1\none two three\n0 0 1\n0 0 1\n")),
        ("pcd-too-few-lines.pcd", few("ascii", b"0 0 1\n0 0 1\n")),
        ("pcd-cut.pcd", cut(&binary, 0.7)),
        ("pcd-compressed-size-lies.pcd", few("binary_compressed", &[9, 0, 0, 0, 48, 0, 0, 0, 1, 2, 3])),
        (
            "pcd-compressed-garbage.pcd",
            few("binary_compressed", &[4, 0, 0, 0, 48, 0, 0, 0, 255, 255, 255, 255]),
        ),
    ]
}

fn ply_files() -> Vec<(&'static str, Vec<u8>)> {
    let ply = |format: &str, body: &str| format!("ply\nformat {format} 1.0\n{body}").into_bytes();
    let vertices = "element vertex 4\nproperty float x\nproperty float y\nproperty float z\n";
    let grid = "obj_info num_cols 2\nobj_info num_rows 2\n";
    let points = "0 0 1\n0 0 1\n0 0 1\n0 0 1\n";
    vec![
        ("ply-no-end.ply", ply("ascii", vertices)),
        ("ply-unknown-format.ply", ply("roman", &format!("{grid}{vertices}end_header\n{points}"))),
        ("ply-no-vertices.ply", ply("ascii", &format!("{grid}end_header\n"))),
        ("ply-not-organised.ply", ply("ascii", &format!("{vertices}end_header\n{points}"))),
        (
            "ply-no-z.ply",
            ply(
                "ascii",
                &format!(
                    "{grid}element vertex 4\nproperty float x\nproperty float y\nend_header\n0 0\n0 0\n0 0\n0 0\n"
                ),
            ),
        ),
        ("ply-words.ply", ply("ascii", &format!("{grid}{vertices}end_header\n0 0 1\na b c\n0 0 1\n0 0 1\n"))),
        ("ply-cut.ply", ply("binary_little_endian", &format!("{grid}{vertices}end_header\nshort"))),
        (
            "ply-unknown-type.ply",
            ply(
                "ascii",
                &format!("{grid}{}end_header\n{points}", vertices.replace("float z", "quaternion z")),
            ),
        ),
    ]
}

fn tiff_files() -> Vec<(&'static str, Vec<u8>)> {
    let golden = |name: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scan").join(name)).unwrap()
    };
    let plain = golden("plain.tiff");
    vec![
        ("tiff-header-only.tiff", b"II*\0".to_vec()),
        ("tiff-no-directory.tiff", b"II*\0\xFF\xFF\xFF\x7Fgarbage that is no directory".to_vec()),
        ("tiff-cut.tiff", cut(&plain, 0.5)),
        ("tiff-cut-early.tiff", plain[..100].to_vec()),
        ("tiff-planar.tiff", golden("planar.tiff")),
        ("tiff-depth.tiff", golden("depth.tiff")),
        ("tiff-integers.tiff", golden("u16.tiff")),
        ("tiff-is-a-png.tiff", b"\x89PNG\r\n\x1a\nbut only so far".to_vec()),
        ("tiff-is-a-jpeg.tiff", b"\xFF\xD8\xFF\xE0\0\x10JFIF\0".to_vec()),
        ("text.txt", b"this is a text that someone dropped here\n".to_vec()),
        ("table.xlsx", b"PK\x03\x04 a spreadsheet".to_vec()),
        ("zeros.npy", vec![0; 4_096]),
        ("no-extension", b"nobody knows what this is".to_vec()),
    ]
}

/// The reason without the folder, which is another one in every run.
fn without_folder(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.rfind('/') {
        Some(at) if word.starts_with('/') => &word[at + 1..],
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_bad_scan_of_the_catalogue_is_answered_with_its_reason() {
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let station = Station::new(Settings { broker: broker.url(), ..Settings::default() });
    let files: Vec<_> = [npy_files(), pcd_files(), ply_files(), tiff_files()].concat();
    for (name, bytes) in &files {
        station.hand_in(name, bytes);
    }
    // A pair whose picture is none, a folder without a scan, and one with nothing at all.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scan/plain.tiff");
    station.hand_in("pair-bad-picture.png", b"no picture");
    station.hand_in("pair-bad-picture.tiff", &fs::read(golden).unwrap());
    for (name, inner) in [("folder-of-notes", Some("notes.txt")), ("folder-empty", None)] {
        let folder = station.path(name);
        fs::create_dir(&folder).unwrap();
        if let Some(inner) = inner {
            fs::write(folder.join(inner), "the scan is on the other computer").unwrap();
        }
        fs::rename(folder, station.spool("incoming").join(name)).unwrap();
    }
    let count = files.len() + 3;
    assert!(count >= 40, "the catalogue is promised to have 40");
    let daemon = station.start();
    station.wait_for("an answer for each", || broker.on("result").len() >= count);
    assert_eq!(daemon.terminate(), Some(0));

    let mut reasons = BTreeMap::new();
    for publish in broker.on("result") {
        let result = publish.json();
        let part = result["part_id"].as_str().unwrap().to_owned();
        assert_eq!(result["evaluation"], "not_decidable", "{part}");
        let word = |key: &str| result["reasons"][0][key].as_str().unwrap().to_owned();
        reasons.insert(part, [word("code"), without_folder(&word("text"))]);
    }
    assert_eq!(reasons.len(), count);
    let written = station.names("bad").iter().filter(|name| name.ends_with(".reason.txt")).count();
    assert!(station.names("done").is_empty(), "accepted by the reader: {:?}", station.names("done"));
    assert_eq!((written, station.names("bad").len()), (count, 2 * count), "each in bad/ with its reason");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bad_scans.json");
    let current = serde_json::to_string_pretty(&reasons).unwrap() + "\n";
    if std::env::var_os("ZAL_BLESS").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "the reasons differ from {}: run once with ZAL_BLESS=1 and read the difference",
        path.display()
    );
}
