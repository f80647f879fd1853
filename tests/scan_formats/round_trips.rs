//! What is accepted comes back exactly; what is cut never does.

use std::path::Path;

use zal::scan::{self, Axes, Axis, ColorImage, Grid, LengthUnit, SensorProfile};

use crate::common::golden;
use crate::scene::{Desk, HEIGHT, WIDTH, assert_is_scene, colors, points, read};
use crate::writers::{Pcd, Ply, f32_bytes, npy};

const TIFFS: [&str; 11] = [
    "plain",
    "deflate",
    "deflate_float_predictor",
    "lzw",
    "lzw_horizontal_predictor",
    "packbits_grey",
    "tiled",
    "tiled_deflate_float_predictor",
    "bigtiff",
    "bigtiff_big_endian_tiled_lzw",
    "f64_big_endian",
];

const STANFORD_SIZE: &str = "obj_info num_cols 12\nobj_info num_rows 9\n";

fn pcds() -> Vec<Pcd> {
    let mut all = Vec::new();
    for data in ["ascii", "binary", "binary_compressed"] {
        for float_bytes in [4, 8] {
            for color in
                [None, Some(("rgb", 'F')), Some(("rgb", 'U')), Some(("rgba", 'U')), Some(("rgba", 'I'))]
            {
                all.push(Pcd { data, float_bytes, color });
            }
        }
    }
    all
}

fn plys() -> Vec<Ply> {
    let mut all = Vec::new();
    for format in ["ascii", "binary_little_endian", "binary_big_endian"] {
        for (float, color, range_grid, size) in [
            ("float", Some("uchar"), false, STANFORD_SIZE),
            ("float", None, true, STANFORD_SIZE),
            ("double", Some("float"), false, "comment width: 12 height: 9\n"),
            ("float", Some("uchar"), true, "comment rows 9\ncomment cols 12\n"),
        ] {
            all.push(Ply { format, float, color, size, range_grid });
        }
    }
    all
}

/// One file of every format and encoding, small enough to be cut at every byte.
fn one_of_each() -> Vec<(String, Vec<u8>)> {
    let (points, colors) = (points(f64::NAN), colors());
    let mut files = vec![("npy".to_owned(), npy("<f4", "(9, 12, 3)", &f32_bytes(&points)))];
    let pcds = pcds().into_iter().filter(|p| p.float_bytes == 4 && p.color == Some(("rgba", 'U')));
    files.extend(pcds.map(|p| (format!("{p:?}"), p.write(&points, &colors))));
    files.extend(plys().into_iter().take(12).map(|p| (format!("{p:?}"), p.write(&points, &colors))));
    files.extend(TIFFS.iter().map(|name| ((*name).to_owned(), tiff_bytes(name))));
    files
}

fn decode(bytes: &[u8]) -> Result<scan::Scan, scan::ScanError> {
    scan::decode(Path::new("in memory"), bytes, &SensorProfile::default())
}

fn tiff_bytes(name: &str) -> Vec<u8> {
    std::fs::read(golden("scan").join(format!("{name}.tiff"))).expect("a committed file")
}

#[test]
fn tiffs_of_another_program_are_read() {
    for name in TIFFS {
        let scan = read(&golden("scan").join(format!("{name}.tiff")));
        assert_is_scene(&scan.unwrap_or_else(|e| panic!("{name}: {e}")), false);
    }
}

#[test]
fn the_golden_tiffs_are_what_they_claim() {
    let encoding = |name: &str| {
        let path = golden("scan").join(format!("{name}.tiff"));
        scan::inspect(&path, &SensorProfile::default()).encoding.expect("a readable file")
    };
    assert_eq!(encoding("plain"), "uncompressed, no predictor, 1 strip(s), f32 x 3");
    assert_eq!(encoding("lzw"), "LZW, no predictor, 3 strip(s), f32 x 3");
    assert_eq!(encoding("lzw_horizontal_predictor"), "LZW, with horizontal predictor, 1 strip(s), f32 x 3");
    let tiled = "deflate, with floating point predictor, tiles of 16 x 16, f32 x 3";
    assert_eq!(encoding("tiled_deflate_float_predictor"), tiled);
    assert_eq!(
        encoding("bigtiff_big_endian_tiled_lzw"),
        "BigTIFF, LZW, no predictor, tiles of 16 x 16, f32 x 3"
    );
    assert_eq!(encoding("f64_big_endian"), "uncompressed, no predictor, 1 strip(s), f64 x 3");
}

#[test]
fn pcds_of_every_encoding_are_read() {
    let desk = Desk::new("scan.pcd");
    for pcd in pcds() {
        let scan = desk.read(&pcd.write(&points(f64::NAN), &colors()));
        assert_is_scene(&scan.unwrap_or_else(|e| panic!("{pcd:?}: {e}")), pcd.color.is_some());
    }
}

#[test]
fn plys_of_every_encoding_are_read() {
    let desk = Desk::new("scan.ply");
    for ply in plys() {
        let scan =
            desk.read(&ply.write(&points(f64::NAN), &colors())).unwrap_or_else(|e| panic!("{ply:?}: {e}"));
        // A vertex that was not measured has no colour in a range grid.
        assert_is_scene(&scan_without_holes(scan, ply.range_grid), ply.color.is_some());
    }
}

/// Fills the colours that a range grid cannot hold.
fn scan_without_holes(mut scan: scan::Scan, range_grid: bool) -> scan::Scan {
    if let (true, Some(color)) = (range_grid, &mut scan.color) {
        for (i, pixel) in color.pixels.iter_mut().enumerate().filter(|(i, _)| !scan.cloud.valid()[*i]) {
            assert_eq!(*pixel, [0; 3]);
            *pixel = colors()[i];
        }
    }
    scan
}

#[test]
fn npy_clouds_are_read() {
    let desk = Desk::new("scan.npy");
    let narrow = desk.read(&npy("<f4", "(9, 12, 3)", &f32_bytes(&points(0.0))));
    assert_is_scene(&narrow.expect("f32"), false);
    let wide: Vec<u8> = points(f64::NAN).iter().flatten().flat_map(|c| c.to_be_bytes()).collect();
    assert_is_scene(&desk.read(&npy(">f8", "(9, 12, 3)", &wide)).expect("f64"), false);
}

#[test]
fn colour_is_found_in_both_places_and_the_mvtec_one_wins() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (xyz, rgb) = (folder.path().join("xyz"), folder.path().join("rgb"));
    std::fs::create_dir(&xyz).expect("a folder");
    std::fs::create_dir(&rgb).expect("a folder");
    let cloud = xyz.join("007.tiff");
    std::fs::copy(golden("scan/tiled.tiff"), &cloud).expect("a copy");
    assert_is_scene(&read(&cloud).expect("no colour"), false);

    let image = |pixels| ColorImage { height: HEIGHT, width: WIDTH, pixels };
    let png = |pixels| scan::png::encode(&image(pixels)).expect("a picture");
    std::fs::write(xyz.join("007.png"), png(colors())).expect("a picture beside");
    assert_is_scene(&read(&cloud).expect("colour beside"), true);

    std::fs::write(rgb.join("007.png"), png(vec![[1, 2, 3]; HEIGHT * WIDTH])).expect("a picture in rgb");
    let color = read(&cloud).expect("colour in rgb").color.expect("a colour");
    assert_eq!(color.pixels[0], [1, 2, 3]);
}

#[test]
fn unit_axes_and_sentinel_are_applied() {
    let desk = Desk::new("scan.npy");
    // Millimetres, y up, z towards the camera, -9999 where nothing was measured.
    let written: Vec<[f64; 3]> = points(f64::NAN)
        .iter()
        .map(|p| if p[2].is_nan() { [0.0, 0.0, -9999.0] } else { [p[0] * 1e3, p[1] * -1e3, p[2] * -1e3] })
        .collect();
    let axes = Axes::new([Axis::X, Axis::MinusY, Axis::MinusZ]).expect("each once");
    let profile = SensorProfile {
        unit: LengthUnit::Millimetre,
        axes,
        sentinel: Some(-9999.0),
        ..SensorProfile::default()
    };
    let bytes = npy("<f4", "(9, 12, 3)", &f32_bytes(&written));
    let scan = desk.read_with(&bytes, &profile).expect("a scan of that sensor");
    for (found, expected) in scan.cloud.points().iter().zip(points(0.0)) {
        for (f, e) in found.iter().zip(expected) {
            // Two f32 roundings at half a metre.
            assert!((f64::from(*f) - e).abs() < 1e-7, "{f} is not {e}");
        }
    }
    assert_eq!(scan.cloud.valid_count(), HEIGHT * WIDTH - 2);
}

#[test]
fn the_profiles_grid_organises_a_list_of_points() {
    let desk = Desk::new("scan.npy");
    let bytes = npy("<f4", "(108, 3)", &f32_bytes(&points(0.0)));
    assert_eq!(desk.refusal(&bytes), "not_organized");
    let grid =
        |height, width| SensorProfile { grid: Some(Grid { height, width }), ..SensorProfile::default() };
    assert_is_scene(&desk.read_with(&bytes, &grid(9, 12)).expect("the right grid"), false);
    assert_eq!(desk.refusal_with(&bytes, &grid(9, 13)), "not_organized");
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    for (name, bytes) in one_of_each() {
        assert!(decode(&bytes).is_ok(), "{name} is whole");
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{name} cut at byte {len} of {}", bytes.len());
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    // A fixed stream of numbers (Knuth's MMIX generator), so that a failure can be repeated.
    let mut state = 20_241_204u64;
    let mut next = move |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % bound
    };
    let mut refused = 0;
    for (_, bytes) in one_of_each() {
        for round in 0..300 {
            let mut flipped = bytes.clone();
            // Every other round hits the header, where most of the meaning is.
            let reach = if round % 2 == 0 { bytes.len() } else { bytes.len().min(300) };
            for _ in 0..=next(4) {
                flipped[next(reach)] = u8::try_from(next(256)).expect("a byte");
            }
            refused += usize::from(decode(&flipped).is_err());
        }
    }
    assert!(refused > 1000, "the flips must reach what matters, but only {refused} were refused");
}
