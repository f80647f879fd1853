//! Tests of [`super::prepare`] on analytic scans: a plane seen by a pinhole camera, with
//! boxes and balls on it.
#![expect(clippy::float_cmp, reason = "the expected values are exact in binary")]

use super::*;

/// Focal length in pixels: 0.2 mm a pixel at 0.5 m.
const FOCAL_PX: f32 = 2500.0;
/// Distance of the table.
const TABLE_M: f32 = 0.5;

/// A raised rectangle: rows, columns, height above the table.
type Slab = ([usize; 2], [usize; 2], f32);

/// A scan of `height x width` with the given slabs on a slightly tilted, noisy table.
fn table_scan(height: usize, width: usize, slabs: &[Slab]) -> Scan {
    let mut points = Vec::new();
    let mut pixels = Vec::new();
    let mut noise = 1_u32;
    for row in 0..height {
        for column in 0..width {
            let (x, y) = (centered(column, width), centered(row, height));
            let on = slabs.iter().find(|(rows, columns, _)| {
                (rows[0]..rows[1]).contains(&row) && (columns[0]..columns[1]).contains(&column)
            });
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let jitter_m = (f32::from(u16::try_from(noise >> 16).unwrap()) / 65_535.0 - 0.5) * 1e-4;
            let depth_m = TABLE_M + 0.02 * x + 0.01 * y - on.map_or(0.0, |slab| slab.2) + jitter_m;
            points.push([x * depth_m, y * depth_m, depth_m]);
            pixels.push(if on.is_some() { [200, 120, 40] } else { [80, 80, 80] });
        }
    }
    let cloud = OrganizedCloud::new(height, width, points).unwrap();
    Scan { cloud, color: Some(ColorImage { height, width, pixels }) }
}

fn centered(pixel: usize, len: usize) -> f32 {
    let to_f32 = |n: usize| f32::from(u16::try_from(n).unwrap());
    (to_f32(pixel) - to_f32(len) * 0.5) / FOCAL_PX
}

/// The scan with a cleaned cloud in place of its own.
fn with_cloud(scan: &Scan, cloud: OrganizedCloud) -> Scan {
    Scan { cloud, color: scan.color.clone() }
}

#[test]
fn the_table_goes_and_the_part_stays() {
    let scan = table_scan(300, 320, &[([100, 200], [80, 200], 0.02)]);
    let cleaned = clean(&scan.cloud, &PreprocessParams::line());
    assert_eq!(cleaned.background, Background::Removed);
    assert_eq!(cleaned.cloud.valid_count(), 100 * 120);
    let ([a, b, c], offset) = cleaned.plane.unwrap();
    // The table is z = 0.5 + 0.02 x/z + 0.01 y/z, so nearly n = (0.02/0.5, 0.01/0.5, -1).
    assert!((a - 0.04).abs() < 2e-3 && (b - 0.02).abs() < 2e-3 && c < -0.99, "normal {a} {b} {c}");
    assert!(offset < 0.0, "the camera is on the positive side, offset {offset}");
}

#[test]
fn a_part_lower_than_the_published_threshold_survives_in_mode_line_only() {
    let scan = table_scan(300, 320, &[([100, 200], [80, 200], 0.002)]);
    let left = |params: &PreprocessParams| clean(&scan.cloud, params).cloud.valid_count();
    assert_eq!(left(&PreprocessParams::line()), 100 * 120);
    assert_eq!(left(&PreprocessParams::paper()), 0);
    assert!(matches!(
        prepare(&scan, &PreprocessParams::paper()),
        Err(PreprocessError::NoObject { found: 0, expected: OBJECT_POINTS_MIN })
    ));
}

#[test]
fn a_detached_contaminant_survives_and_a_speck_does_not() {
    // 0.2 mm a pixel: 12 x 12 pixels are 5.8 mm2, above the stated 4 mm2; 3 x 3 are below.
    let slabs = [([100, 200], [80, 200], 0.02), ([40, 52], [250, 262], 0.004), ([250, 253], [30, 33], 0.01)];
    let scan = table_scan(300, 320, &slabs);
    let cleaned = clean(&scan.cloud, &PreprocessParams::line());
    assert_eq!(cleaned.cloud.valid_count(), 100 * 120 + 12 * 12);
    assert!(cleaned.cloud.valid()[45 * 320 + 255], "the contaminant is kept");
    assert_eq!(cleaned.removed.cluster_count, 9);
    let prepared = prepare(&scan, &PreprocessParams::line()).unwrap();
    assert!(prepared.window.top_px <= 40.0 && prepared.window.left_px <= 80.0, "{:?}", prepared.window);
}

#[test]
fn cleaning_is_idempotent() {
    let shapes: [&[Slab]; 4] = [
        &[([100, 200], [80, 200], 0.02)],
        &[([100, 200], [80, 200], 0.02), ([40, 52], [250, 262], 0.004)],
        // Touches the border: a flat strip of it stays there after cleaning.
        &[([100, 200], [0, 200], 0.02)],
        // Right across.
        &[([120, 180], [0, 320], 0.02)],
    ];
    for slabs in shapes {
        for params in [PreprocessParams::line(), PreprocessParams::paper()] {
            let once = clean(&table_scan(300, 320, slabs).cloud, &params);
            assert_eq!(once.background, Background::Removed, "{slabs:?}");
            let twice = clean(&once.cloud, &params);
            assert_eq!(twice.cloud, once.cloud, "{slabs:?}");
            assert_eq!(twice.removed, Removed::default());
        }
    }
}

#[test]
fn a_cleaned_scan_is_left_as_it_is_even_when_it_is_flat() {
    // A bare plate fills most of its picture: removing "the plane" would remove the part.
    for rows in [[60, 240], [100, 200]] {
        let scan = table_scan(300, 320, &[(rows, [50, 270], 0.02)]);
        let cleaned = clean(&scan.cloud, &PreprocessParams::line()).cloud;
        let prepared = prepare(&with_cloud(&scan, cleaned.clone()), &PreprocessParams::line()).unwrap();
        assert_eq!(prepared.background, Background::BorderMissing);
        assert_eq!((prepared.plane, prepared.removed), (None, Removed::default()));
        assert_eq!(clean(&cleaned, &PreprocessParams::line()).cloud, cleaned);
    }
}

#[test]
fn an_object_at_the_border_is_kept_whole() {
    let scan = table_scan(300, 320, &[([0, 150], [60, 200], 0.03)]);
    let cleaned = clean(&scan.cloud, &PreprocessParams::line());
    assert_eq!(cleaned.cloud.valid_count(), 150 * 140);
}

#[test]
fn without_a_plane_along_the_border_everything_is_kept_and_said() {
    // Half a ball bulging over the whole picture.
    let mut scan = table_scan(120, 120, &[]);
    let bulge = |i: usize| {
        let (x, y) = (centered(i % 120, 120) * 40.0, centered(i / 120, 120) * 40.0);
        [x * 0.2, y * 0.2, 0.2 + 0.1 * (x * x + y * y) + 0.02 * (9.0 * x).sin()]
    };
    scan.cloud = OrganizedCloud::new(120, 120, (0..120 * 120).map(bulge).collect()).unwrap();
    let prepared = prepare(&scan, &PreprocessParams::line()).unwrap();
    assert_eq!(prepared.background, Background::NoPlane);
    assert_eq!(prepared.cloud.valid_count(), scan.cloud.valid_count());
}

#[test]
fn a_measured_area_within_the_picture_has_its_own_border() {
    let mut scan = table_scan(300, 320, &[([100, 200], [80, 200], 0.02)]);
    let inside = |i: &usize| (25..280).contains(&(i / 320)) && (20..300).contains(&(i % 320));
    let keep: Vec<bool> = (0..300 * 320).map(|i| inside(&i)).collect();
    scan.cloud = scan.cloud.masked(&keep);
    let cleaned = clean(&scan.cloud, &PreprocessParams::line());
    assert_eq!(cleaned.cloud.valid_count(), 100 * 120);
    let edge_only = PreprocessParams { border_inset_max: 0.0, ..PreprocessParams::line() };
    assert_eq!(clean(&scan.cloud, &edge_only).background, Background::BorderMissing);
}

#[test]
fn what_lies_behind_the_table_goes_with_it() {
    let mut scan = table_scan(300, 320, &[([100, 200], [80, 200], 0.02)]);
    let mut points = scan.cloud.points().to_vec();
    for row in 0..40 {
        for point in &mut points[row * 320..(row + 1) * 320] {
            *point = point.map(|c| c * 4.0);
        }
    }
    scan.cloud = OrganizedCloud::new(300, 320, points).unwrap();
    let cleaned = clean(&scan.cloud, &PreprocessParams::line());
    assert_eq!((cleaned.cloud.valid_count(), cleaned.removed.behind_count), (100 * 120, 40 * 320));
}

#[test]
fn empty_scans_have_no_object() {
    for params in [PreprocessParams::line(), PreprocessParams::paper()] {
        let missing = OrganizedCloud::new(50, 60, vec![[0.0; 3]; 3000]).unwrap();
        let scan = Scan { cloud: missing, color: None };
        assert!(matches!(prepare(&scan, &params), Err(PreprocessError::NoObject { found: 0, .. })));
        let bare_table = prepare(&table_scan(200, 200, &[]), &params);
        assert!(matches!(bare_table, Err(PreprocessError::NoObject { found: 0, .. })), "{bare_table:?}");
        let one = OrganizedCloud::new(1, 1, vec![[0.0, 0.0, 0.5]]).unwrap();
        let one = prepare(&Scan { cloud: one, color: None }, &params);
        // The only pixel fills the whole-scan frame many times over; the crop has it once.
        assert_eq!(one.is_err(), params.framing == Framing::ObjectCrop);
    }
}

#[test]
fn a_small_object_is_shown_at_the_sensors_own_resolution() {
    let scan = table_scan(300, 320, &[([100, 200], [80, 200], 0.02)]);
    let prepared = prepare(&scan, &PreprocessParams::line()).unwrap();
    let window = prepared.window;
    assert_eq!((window.top_px, window.left_px, window.px_per_frame_px), (38.0, 28.0, 1.0));
    for (row, column) in [(0, 0), (62, 52), (161, 171), (100, 100)] {
        let (frame, scan_index) = (row * FRAME_SIZE + column, (row + 38) * 320 + column + 28);
        let object = (62..162).contains(&row) && (52..172).contains(&column);
        assert_eq!(prepared.cloud.valid()[frame], object, "row {row} column {column}");
        if object {
            assert_eq!(prepared.cloud.points()[frame], scan.cloud.points()[scan_index]);
        }
        let color = prepared.color.as_ref().unwrap().pixels[frame];
        assert_eq!(color, scan.color.as_ref().unwrap().pixels[scan_index], "background colour is kept");
    }
    assert!((prepared.pitch_m - (TABLE_M - 0.02) / FOCAL_PX).abs() < 1e-5, "{}", prepared.pitch_m);
}

#[test]
fn a_large_object_is_scaled_into_the_window() {
    let scan = table_scan(500, 600, &[([50, 450], [70, 518], 0.02)]);
    let prepared = prepare(&scan, &PreprocessParams::line()).unwrap();
    assert_eq!(prepared.window.px_per_frame_px, 2.0);
    assert_eq!((prepared.window.top_px, prepared.window.left_px), (26.0, 70.0));
    assert_eq!(prepared.cloud.valid_count(), 200 * 224);
    // Nearest points are measured points, never averages.
    let measured = |p: &[f32; 3]| scan.cloud.points().contains(p);
    assert!(prepared.cloud.points().iter().step_by(997).filter(|p| p[2] > 0.0).all(measured));
    let color = &prepared.color.unwrap().pixels;
    assert_eq!(color[112 * FRAME_SIZE + 112], [200, 120, 40]);
}

#[test]
fn the_whole_scan_is_padded_to_a_square() {
    let scan = table_scan(224, 448, &[([60, 160], [100, 300], 0.02)]);
    let prepared = prepare(&scan, &PreprocessParams::paper()).unwrap();
    let window = prepared.window;
    assert_eq!((window.top_px, window.left_px, window.px_per_frame_px), (-112.0, 0.0, 2.0));
    assert_eq!(prepared.cloud.valid_count(), 50 * 100);
    let color = prepared.color.unwrap();
    assert_eq!(color.pixels[0], [0, 0, 0], "padding is black");
    assert_eq!(color.pixels[60 * FRAME_SIZE], [80, 80, 80]);
}

#[test]
fn enlarging_colour_keeps_a_ramp_and_its_mean() {
    // Bicubic interpolation reproduces a linear ramp; a box or nearest filter does not.
    let ramp: Vec<[u8; 3]> = (0..112 * 112).map(|i| [u8::try_from(i % 112 * 2).unwrap(); 3]).collect();
    let image = ColorImage { height: 112, width: 112, pixels: ramp };
    let window = frame::whole_window(112, 112);
    let enlarged = frame::resample_color(&image, &window, frame::Padding::Black);
    for column in 8..216 {
        let expected = (centered_in(column) * 2.0).round();
        let found = f32::from(enlarged.pixels[100 * FRAME_SIZE + column][0]);
        assert!((found - expected).abs() <= 1.0, "column {column}: {found} for {expected}");
    }
}

/// Position of a frame column's centre in a 112-pixel image, in pixel indices.
fn centered_in(column: usize) -> f32 {
    (f32::from(u16::try_from(column).unwrap()) + 0.5) * 0.5 - 0.5
}

#[test]
fn the_same_scan_and_seed_give_the_same_plane() {
    let scan = table_scan(300, 320, &[([100, 200], [80, 200], 0.02)]);
    let planes = [(); 2].map(|()| clean(&scan.cloud, &PreprocessParams::line()).plane);
    assert_eq!(planes[0], planes[1]);
}
