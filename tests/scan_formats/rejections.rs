//! A test per reason to refuse a scan.

use zal::scan::{self, ColorImage, LengthUnit, SensorProfile};

use crate::common::golden;
use crate::scene::{Desk, HEIGHT, WIDTH, points};
use crate::writers::{Pcd, Ply, f32_bytes, npy};

const SHAPE: &str = "(9, 12, 3)";

fn refusal_of_golden(name: &str) -> (&'static str, String) {
    let error = crate::scene::read(&golden("scan").join(name)).expect_err("a refusal");
    (error.code(), error.to_string())
}

fn changed(change: impl Fn([f64; 3]) -> [f64; 3]) -> Vec<u8> {
    let points: Vec<[f64; 3]> = points(f64::NAN).into_iter().map(change).collect();
    npy("<f4", SHAPE, &f32_bytes(&points))
}

#[test]
fn tiffs_that_would_be_misread() {
    assert_eq!(refusal_of_golden("planar.tiff").0, "planar_tiff");
    assert_eq!(refusal_of_golden("three_pages.tiff").0, "channels_first");
    let (code, text) = refusal_of_golden("page_per_row.tiff");
    assert_eq!(code, "channels_first");
    assert!(text.contains("9 pages of 12 x 3"), "{text}");
    assert_eq!(refusal_of_golden("depth.tiff").0, "depth_only");
    assert_eq!(refusal_of_golden("u16.tiff").0, "wrong_value_type");
}

#[test]
fn files_that_are_no_scan() {
    let desk = Desk::new("file");
    assert_eq!(desk.refusal(b""), "empty_file");
    assert_eq!(desk.refusal(b"hello, line"), "unknown_format");
    let picture = ColorImage { height: 1, width: 1, pixels: vec![[0; 3]] };
    assert_eq!(desk.refusal(&scan::png::encode(&picture).expect("a picture")), "unknown_format");
    let missing = scan::read(&desk.folder.path().join("missing"), &SensorProfile::default());
    assert_eq!(missing.expect_err("no file").code(), "scan_unreadable");
    let folder = scan::read(desk.folder.path(), &SensorProfile::default());
    assert_eq!(folder.expect_err("a folder").code(), "scan_unreadable");
}

#[test]
fn arrays_of_another_shape_or_type() {
    let desk = Desk::new("scan.npy");
    let data = f32_bytes(&points(0.0));
    assert_eq!(desk.refusal(&npy("<f4", "(3, 9, 12)", &data)), "channels_first");
    assert_eq!(desk.refusal(&npy("<f4", "(18, 18)", &data)), "depth_only");
    assert_eq!(desk.refusal(&npy("<f4", "(9, 6, 6)", &data)), "no_xyz");
    assert_eq!(desk.refusal(&npy("<f4", "(1, 108, 3)", &data)), "not_organized");
    assert_eq!(desk.refusal(&npy("<i4", SHAPE, &data)), "wrong_value_type");
    assert_eq!(desk.refusal(&npy("<f4", "(9, 11, 3)", &data)), "malformed_file");
    assert_eq!(desk.refusal(&npy("<f4", "(9, 13, 3)", &data)), "truncated");
    assert_eq!(desk.refusal(&npy("<f4", "(99999, 99999, 3)", &data)), "too_large");
}

#[test]
fn coordinates_in_another_unit_or_place() {
    let desk = Desk::new("scan.npy");
    assert_eq!(desk.refusal(&changed(|p| p.map(|c| c * 1000.0))), "unit_mismatch");
    assert_eq!(desk.refusal(&changed(|[x, y, z]| [x * 1e3, -y * 1e3, -z * 1e3])), "unit_mismatch");
    let millimetres = SensorProfile { unit: LengthUnit::Millimetre, ..SensorProfile::default() };
    assert_eq!(desk.refusal_with(&changed(|p| p), &millimetres), "unit_mismatch");
    assert_eq!(desk.refusal(&changed(|[x, y, z]| [x, -y, -z])), "behind_camera");
    assert_eq!(desk.refusal(&changed(|[x, y, z]| [x, y, z * 1e7])), "out_of_range");
    assert_eq!(desk.refusal(&changed(|[x, y, z]| [x * 1e4, y, z])), "out_of_range");
}

#[test]
fn nothing_measured() {
    let desk = Desk::new("scan.npy");
    assert_eq!(desk.refusal(&changed(|_| [f64::NAN; 3])), "nothing_measured");
    assert_eq!(desk.refusal(&changed(|_| [0.0; 3])), "nothing_measured");
    assert_eq!(desk.refusal(&changed(|p| [p[0], f64::INFINITY, p[2]])), "nothing_measured");
    let sentinel = SensorProfile { sentinel: Some(-1.0), ..SensorProfile::default() };
    assert_eq!(desk.refusal_with(&changed(|p| [p[0], p[1], -1.0]), &sentinel), "nothing_measured");
}

#[test]
fn rows_and_columns_swapped() {
    let desk = Desk::new("scan.npy");
    let all = points(f64::NAN);
    // The image transposed: x runs down the rows.
    let transposed: Vec<[f64; 3]> = (0..108).map(|i| all[(i % HEIGHT) * WIDTH + i / HEIGHT]).collect();
    assert_eq!(desk.refusal(&npy("<f4", "(12, 9, 3)", &f32_bytes(&transposed))), "rows_columns_swapped");
    // The same bytes under exchanged height and width: the image is torn.
    let (height, width) = (30u32, 80u32);
    let large: Vec<[f64; 3]> = (0..height * width)
        .map(|i| [f64::from(i % width) / 100.0, f64::from(i / width) / 100.0, 0.5])
        .collect();
    assert!(desk.read(&npy("<f4", "(30, 80, 3)", &f32_bytes(&large))).is_ok());
    assert_eq!(desk.refusal(&npy("<f4", "(80, 30, 3)", &f32_bytes(&large))), "rows_columns_swapped");
    // Points in any order.
    let mut shuffled = large;
    shuffled.sort_by_key(|p| {
        p.iter().fold(0u64, |h, c| (h ^ c.to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
    });
    assert_eq!(desk.refusal(&npy("<f4", "(30, 80, 3)", &f32_bytes(&shuffled))), "not_organized");
}

#[test]
fn colour_of_another_size_or_damaged() {
    let desk = Desk::new("scan.npy");
    let bytes = npy("<f4", SHAPE, &f32_bytes(&points(0.0)));
    let picture = |height, width| {
        let image = ColorImage { height, width, pixels: vec![[9; 3]; height * width] };
        scan::png::encode(&image).expect("a picture")
    };
    let beside = desk.folder.path().join("scan.png");
    std::fs::write(&beside, picture(9, 13)).expect("a picture");
    assert_eq!(desk.refusal(&bytes), "color_size");
    std::fs::write(&beside, picture(12, 9)).expect("a picture");
    assert_eq!(desk.refusal(&bytes), "rows_columns_swapped");
    std::fs::write(&beside, b"no picture").expect("a file");
    assert_eq!(desk.refusal(&bytes), "color_unreadable");
}

#[test]
fn pcd_headers() {
    let desk = Desk::new("scan.pcd");
    let pcd = Pcd { data: "ascii", float_bytes: 4, color: None };
    let text = String::from_utf8(pcd.write(&points(f64::NAN), &crate::scene::colors())).expect("ascii");
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is replaced");
        desk.refusal(text.replacen(from, to, 1).as_bytes())
    };
    assert_eq!(with("FIELDS x y z", "FIELDS u v w"), "no_xyz");
    assert_eq!(with("TYPE F", "TYPE I"), "wrong_value_type");
    assert_eq!(with("TYPE F", "TYPE Q"), "malformed_file");
    assert_eq!(with("SIZE 4", "SIZE 3"), "malformed_file");
    assert_eq!(with("SIZE 4 4", "SIZE 4"), "malformed_file");
    assert_eq!(with("COUNT 1", "COUNT 0"), "malformed_file");
    assert_eq!(with("POINTS 108", "POINTS 109"), "malformed_file");
    assert_eq!(with("WIDTH 12", "WIDTH twelve"), "malformed_file");
    assert_eq!(with("DATA ascii", "DATA zipped"), "unsupported_encoding");
    assert_eq!(with("WIDTH 12\nHEIGHT 9", "WIDTH 108\nHEIGHT 1"), "not_organized");
    assert_eq!(with("WIDTH 12\nHEIGHT 9", "WIDTH 1\nHEIGHT 108"), "not_organized");
    assert_eq!(with("WIDTH 12\nHEIGHT 9\n", "WIDTH 108\n"), "not_organized");
    assert_eq!(with("WIDTH 12\nHEIGHT 9", "WIDTH 4294967295\nHEIGHT 4294967295"), "too_large");
    assert_eq!(with("-0.055 -0.04", "minus -0.04"), "malformed_file");
    assert_eq!(with("0.5 7\n", "0.5 7 7\n"), "malformed_file");
    let huge = text
        .replace("WIDTH 12\nHEIGHT 9", "WIDTH 8000\nHEIGHT 8000")
        .replace("POINTS 108", "POINTS 64000000");
    assert_eq!(desk.refusal(huge.as_bytes()), "truncated");
}

#[test]
fn compressed_pcds_that_lie_about_their_size() {
    let desk = Desk::new("scan.pcd");
    let pcd = Pcd { data: "binary_compressed", float_bytes: 4, color: None };
    let bytes = pcd.write(&points(f64::NAN), &crate::scene::colors());
    let start = pcd.header(HEIGHT, WIDTH).len();
    let mut other = bytes.clone();
    other[start + 4] ^= 1;
    assert_eq!(desk.refusal(&other), "malformed_file");
    let mut longer = bytes.clone();
    longer[start + 3] = 1;
    assert_eq!(desk.refusal(&longer), "truncated");
    // A header for 64 million points over the same few bytes.
    let mut forged = pcd.header(8000, 8000).into_bytes();
    forged.extend(&bytes[start..start + 4]);
    forged.extend((64_000_000u32 * 14).to_le_bytes());
    forged.extend(&bytes[start + 8..]);
    assert_eq!(desk.refusal(&forged), "malformed_file");
}

#[test]
fn ply_headers() {
    let desk = Desk::new("scan.ply");
    let size = "obj_info num_cols 12\nobj_info num_rows 9\n";
    let ply = Ply { format: "ascii", float: "float", color: None, size, range_grid: false };
    let text = String::from_utf8(ply.write(&points(f64::NAN), &crate::scene::colors())).expect("ascii");
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is replaced");
        desk.refusal(text.replacen(from, to, 1).as_bytes())
    };
    assert_eq!(with(size, ""), "not_organized");
    assert_eq!(with("num_rows 9", "num_rows 8"), "not_organized");
    assert_eq!(with("num_rows 9", "num_rows 99999999"), "too_large");
    assert_eq!(with("float x", "float u"), "no_xyz");
    assert_eq!(with("float x", "int x"), "wrong_value_type");
    assert_eq!(with("float x", "quad x"), "malformed_file");
    assert_eq!(with("format ascii", "format braille"), "unsupported_encoding");
    assert_eq!(with("format ascii 1.0\n", ""), "malformed_file");
    assert_eq!(with("element vertex 108", "element vertex 107"), "malformed_file");
    assert_eq!(with("element vertex 108", "element vertex 64000000"), "truncated");
    assert_eq!(with("element vertex 108", "element vertex 99999999999"), "too_large");
    assert_eq!(with("element vertex", "element corner"), "malformed_file");
    let grid = Ply { range_grid: true, ..ply };
    let text = String::from_utf8(grid.write(&points(f64::NAN), &crate::scene::colors())).expect("ascii");
    assert_eq!(desk.refusal(text.replacen("\n1 105 \n", "\n1 106 \n", 1).as_bytes()), "malformed_file");
    assert_eq!(desk.refusal(text.replacen("\n1 105 \n", "\n1 -1 \n", 1).as_bytes()), "malformed_file");
}

#[test]
fn forged_tiff_sizes() {
    let desk = Desk::new("scan.tiff");
    let plain = std::fs::read(golden("scan/plain.tiff")).expect("a committed file");
    let deflate = std::fs::read(golden("scan/deflate.tiff")).expect("a committed file");
    // ImageWidth (256) and ImageLength (257) are the first two tags, 12 bytes each, from byte 10.
    let forge = |bytes: &[u8], size: u32| {
        let mut forged = bytes.to_vec();
        for entry in [10, 22] {
            forged[entry + 2..entry + 4].copy_from_slice(&4u16.to_le_bytes());
            forged[entry + 8..entry + 12].copy_from_slice(&size.to_le_bytes());
        }
        desk.refusal(&forged)
    };
    assert_eq!(forge(&plain, u32::MAX), "too_large");
    assert_eq!(forge(&plain, 8000), "malformed_file");
    assert_eq!(forge(&deflate, 8000), "malformed_file");
    let mut one_strip = plain.clone();
    one_strip[10 + 8] = 200;
    assert_eq!(desk.refusal(&one_strip), "truncated");
}

#[test]
fn a_profile_that_contradicts_itself() {
    let desk = Desk::new("scan.npy");
    let mut profile = SensorProfile::default();
    profile.extent.z_min_m = 30.0;
    assert_eq!(desk.refusal_with(&changed(|p| p), &profile), "profile_invalid");
}

#[test]
fn what_is_odd_but_used_is_a_warning() {
    let desk = Desk::new("scan.npy");
    let warnings = |bytes: &[u8]| {
        desk.read(bytes).unwrap_or_else(|e| panic!("{e}"));
        let inspection = scan::inspect(&desk.path, &SensorProfile::default());
        assert!(inspection.accepted);
        inspection.findings.iter().map(|f| f.code).collect::<Vec<_>>()
    };
    assert_eq!(warnings(&changed(|p| p)), ["color_missing"]);
    assert_eq!(warnings(&changed(|[x, y, z]| [-x, y, z])), ["axes_flipped", "color_missing"]);
    let sparse = changed(|p| if p[0] < 0.02 { [f64::NAN; 3] } else { p });
    assert_eq!(warnings(&sparse), ["many_invalid", "color_missing"]);
    let odd = changed(|[x, y, z]| {
        [
            x,
            y,
            if x > 0.05 {
                f64::INFINITY
            } else if x < -0.05 {
                90.0
            } else {
                z
            },
        ]
    });
    assert_eq!(warnings(&odd), ["infinite_values", "points_out_of_range", "color_missing"]);
}
