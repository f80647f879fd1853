//! Tests of map and regions against plain slow versions and closed forms.
#![expect(clippy::float_cmp, reason = "the expected values are exact in binary")]

use super::*;
use crate::cloud::OrganizedCloud;
use crate::features::{GRID_SIZE, PATCH_SIZE, PatchGrid};
use crate::preprocess::{Background, FRAME_SIZE, PreparedScan, Removed};

/// A frame with 0.5 mm pitch at half a metre, measured where `on` says.
fn frame(on: impl Fn(usize, usize) -> bool) -> PreparedScan {
    let pixel = |i: usize| {
        let (row, column) = (i / FRAME_SIZE, i % FRAME_SIZE);
        let to_m = |n: usize| f32::from(u16::try_from(n).unwrap()) * 5e-4;
        if on(row, column) { [to_m(column), to_m(row), 0.5] } else { [0.0; 3] }
    };
    let points = (0..FRAME_SIZE * FRAME_SIZE).map(pixel).collect();
    PreparedScan {
        cloud: OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, points).unwrap(),
        color: None,
        window: FrameWindow {
            top_px: 10.0,
            left_px: 20.0,
            px_per_frame_px: 2.0,
            scan_height: 480,
            scan_width: 640,
        },
        pitch_m: 5e-4,
        plane: None,
        background: Background::Removed,
        removed: Removed::default(),
    }
}

fn map_of(prepared: &PreparedScan, scores: &[f32], sigma_px: f32) -> AnomalyMap {
    let grid = PatchGrid::of(&prepared.cloud);
    let values = anomaly_map(&grid, scores, sigma_px, &prepared.cloud).values;
    AnomalyMap { values, object: prepared.cloud.valid().to_vec(), window: prepared.window }
}

/// Repeatable scores without a generator.
fn made_up(count: usize) -> Vec<f32> {
    (0..count).map(|i| f32::from(u16::try_from(i * 7919 % 1009).unwrap()) / 100.0 - 4.0).collect()
}

/// Weighted bilinear interpolation and Gaussian, pixel by pixel, straight from their
/// definitions, in f64.
#[expect(clippy::cast_precision_loss, reason = "pixels of a frame")]
fn slow_map(prepared: &PreparedScan, scores: &[f32], sigma: f64, pixel: usize) -> f64 {
    let grid = PatchGrid::of(&prepared.cloud);
    let score_of = |row: usize, column: usize| {
        let patch = u16::try_from(row * GRID_SIZE + column).unwrap();
        grid.patches().iter().position(|p| *p == patch).map(|i| f64::from(scores[i]))
    };
    let enlarged = |row: usize, column: usize| {
        let position = |n: usize| ((n as f64 + 0.5) / PATCH_SIZE as f64 - 0.5).clamp(0.0, 27.0);
        let (y, x) = (position(row), position(column));
        let (mut sum, mut weight) = (0.0, 0.0);
        for r in 0..GRID_SIZE {
            for c in 0..GRID_SIZE {
                let share = (1.0 - (y - r as f64).abs()).max(0.0) * (1.0 - (x - c as f64).abs()).max(0.0);
                if let Some(score) = score_of(r, c).filter(|_| share > 0.0) {
                    sum += share * score;
                    weight += share;
                }
            }
        }
        (weight > 1e-6).then(|| sum / weight)
    };
    let (row, column) = (pixel / FRAME_SIZE, pixel % FRAME_SIZE);
    let (mut sum, mut weight) = (0.0, 0.0);
    for r in row.saturating_sub(16)..(row + 17).min(FRAME_SIZE) {
        for c in column.saturating_sub(16)..(column + 17).min(FRAME_SIZE) {
            if !prepared.cloud.valid()[r * FRAME_SIZE + c] {
                continue;
            }
            let distance_sq = (r.abs_diff(row).pow(2) + c.abs_diff(column).pow(2)) as f64;
            if let Some(value) = enlarged(r, c) {
                let share = (-0.5 * distance_sq / (sigma * sigma)).exp();
                sum += share * value;
                weight += share;
            }
        }
    }
    sum / weight
}

#[test]
fn the_map_equals_the_slow_definition() {
    // A disc with a hole, so that edges, holes and the frame's border are all met.
    let prepared = frame(|r, c| {
        let d = r.abs_diff(100).pow(2) + c.abs_diff(60).pow(2);
        d < 90 * 90 && d > 20 * 20
    });
    let scores = made_up(PatchGrid::of(&prepared.cloud).count());
    let map = map_of(&prepared, &scores, SIGMA_PX);
    let mut compared = 0;
    for pixel in (0..FRAME_SIZE * FRAME_SIZE).step_by(613).filter(|p| prepared.cloud.valid()[*p]) {
        if map.values[pixel] == 0.0 {
            continue;
        }
        let expected = slow_map(&prepared, &scores, f64::from(SIGMA_PX), pixel);
        assert!((f64::from(map.values[pixel]) - expected).abs() < 1e-4, "pixel {pixel}: {expected}");
        compared += 1;
    }
    assert!(compared > 20, "only {compared} pixels were compared");
}

#[test]
fn nothing_bleeds_in_from_outside_the_object() {
    let prepared = frame(|r, c| (37..150).contains(&r) && (41..170).contains(&c));
    let count = PatchGrid::of(&prepared.cloud).count();
    for constant in [-3.0, 5.0] {
        let map = map_of(&prepared, &vec![constant; count], SIGMA_PX);
        let measured = map.values.iter().zip(prepared.cloud.valid()).filter(|(_, valid)| **valid);
        for (value, _) in measured {
            assert!((value - constant).abs() < 1e-4, "{value} for {constant}");
        }
    }
}

#[test]
fn the_map_goes_on_into_holes_and_fades_outside_the_edge() {
    let hole = |r: usize, c: usize| r.abs_diff(100).pow(2) + c.abs_diff(100).pow(2) < 5 * 5;
    let prepared = frame(|r, c| (40..160).contains(&r) && (40..160).contains(&c) && !hole(r, c));
    let grid = PatchGrid::of(&prepared.cloud);
    let scores = vec![6.0; grid.count()];
    let map = lifted_map(&grid, &scores, SIGMA_PX, &prepared.cloud, prepared.window);
    let at = |row: usize, column: usize| map.values[row * FRAME_SIZE + column];
    let on_object = at(80, 80);
    assert!(at(100, 100) > 0.4 * on_object && at(100, 100) < on_object, "{} in the hole", at(100, 100));
    let outwards: Vec<f32> = (160..180).map(|column| at(100, column)).collect();
    assert!(outwards.is_sorted_by(|a, b| a >= b) && outwards[0] < 0.6 * on_object, "{outwards:?}");
    assert!(outwards[0] > 0.3 * on_object && outwards[19] == 0.0, "{outwards:?}");
    let unmeasured = map.object.iter().filter(|object| !**object).count();
    assert_eq!(map.object.len() - unmeasured, prepared.cloud.valid_count());
    let without = lifted_map(&grid, &scores, 0.0, &prepared.cloud, prepared.window);
    assert!(without.values.iter().zip(&without.object).all(|(value, object)| (*value > 0.0) == *object));
}

#[test]
fn maps_of_no_patch_and_of_one() {
    let empty = frame(|_, _| false);
    assert!(map_of(&empty, &[], SIGMA_PX).values.iter().all(|v| *v == 0.0));
    let one = frame(|r, c| r < 8 && c < 8);
    let map = map_of(&one, &[2.0], SIGMA_PX);
    assert!(one.cloud.valid().iter().zip(&map.values).all(|(on, v)| !on || (v - 2.0).abs() < 1e-5));
}

/// A map of 1 with rectangles (rows, columns, value) on it.
fn drawn(prepared: &PreparedScan, rectangles: &[([usize; 2], [usize; 2], f32)]) -> AnomalyMap {
    let value = |i: usize| {
        let (row, column) = (i / FRAME_SIZE, i % FRAME_SIZE);
        let inside = |r: &&([usize; 2], [usize; 2], f32)| {
            (r.0[0]..r.0[1]).contains(&row) && (r.1[0]..r.1[1]).contains(&column)
        };
        let found = rectangles.iter().find(inside).map_or(1.0, |r| r.2);
        if prepared.cloud.valid()[i] { found } else { 0.0 }
    };
    let values = (0..FRAME_SIZE * FRAME_SIZE).map(value).collect();
    AnomalyMap { values, object: prepared.cloud.valid().to_vec(), window: prepared.window }
}

#[test]
fn a_region_has_its_area_place_and_box() {
    let prepared = frame(|_, _| true);
    let map = drawn(&prepared, &[([50, 70], [100, 140], 9.0), ([10, 12], [10, 12], 5.0)]);
    let found = regions(&map, &prepared, 3.0, 8);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].peak, 9.0);
    // 20 x 40 pixels of 0.5 mm: 200 mm2. Centre at pixel (59.5, 119.5).
    assert!((found[0].area_mm2 - 200.0).abs() < 0.05, "{}", found[0].area_mm2);
    let [x, y, z] = found[0].centroid_mm;
    assert!((x - 59.75).abs() < 0.01 && (y - 29.75).abs() < 0.01 && (z - 500.0).abs() < 0.01, "{x} {y} {z}");
    // Two scan pixels a frame pixel, frame at (10, 20): left, top, width, height.
    assert_eq!(found[0].bbox_px, [220, 110, 80, 40]);
    assert_eq!(regions(&map, &prepared, 3.0, 1).len(), 1);
    assert!(regions(&map, &prepared, 9.0, 8).is_empty(), "the threshold itself is not above it");
}

#[test]
fn a_tilted_surface_counts_in_full() {
    let mut prepared = frame(|_, _| true);
    // Depth grows by one pitch a column: the surface is sqrt(2) times its picture.
    let tilted = prepared.cloud.points().iter().map(|p| [p[0], p[1], 0.5 + p[0]]).collect();
    prepared.cloud = OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, tilted).unwrap();
    let map = drawn(&prepared, &[([50, 70], [100, 140], 9.0)]);
    let area = regions(&map, &prepared, 3.0, 8)[0].area_mm2;
    assert!((area - 200.0 * 2.0_f32.sqrt()).abs() < 0.1, "{area}");
}

#[test]
fn a_step_between_surfaces_is_not_area() {
    let mut prepared = frame(|_, _| true);
    let stepped = prepared.cloud.points().iter().enumerate();
    let stepped = stepped.map(|(i, p)| [p[0], p[1], if i % FRAME_SIZE < 120 { 0.5 } else { 0.6 }]).collect();
    prepared.cloud = OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, stepped).unwrap();
    let map = drawn(&prepared, &[([50, 70], [100, 140], 9.0)]);
    let area = regions(&map, &prepared, 3.0, 8)[0].area_mm2;
    assert!((area - 200.0).abs() < 0.1, "{area}");
}

#[test]
fn the_region_threshold_follows_median_and_spread() {
    let prepared = frame(|r, c| r < 100 && c < 101);
    let value = |i: usize| f32::from(u8::try_from(i % 101).unwrap()) + 1.0;
    let mut map = drawn(&prepared, &[]);
    for (index, pixel) in (0..map.values.len()).filter(|i| prepared.cloud.valid()[*i]).enumerate() {
        map.values[pixel] = value(index);
    }
    // The values 1 to 101 evenly: median 51, median deviation 25.
    let expected = 51.0 + 3.5 * 1.4826 * 25.0;
    assert!((region_threshold(&map) - expected).abs() < 1e-3);
    assert_eq!(map_median(&map), 51.0);
    let flat = drawn(&prepared, &[]);
    assert!(regions(&flat, &prepared, region_threshold(&flat), 8).is_empty());
    let empty = AnomalyMap {
        values: vec![0.0; FRAME_SIZE * FRAME_SIZE],
        object: vec![false; FRAME_SIZE * FRAME_SIZE],
        window: prepared.window,
    };
    assert_eq!(region_threshold(&empty), 0.0);
}

#[test]
fn the_scan_map_lies_where_the_frame_lies() {
    let prepared = frame(|r, _| r < 120);
    let map = drawn(&prepared, &[([50, 70], [100, 140], 9.0)]);
    let in_scan = scan_map(&map);
    assert_eq!(in_scan.len(), 480 * 640);
    let at = |row: usize, column: usize| in_scan[row * 640 + column];
    // Frame pixel (60, 120) covers scan rows 130, 131 and columns 260, 261.
    assert_eq!((at(130, 260), at(131, 261)), (9.0, 9.0));
    assert_eq!((at(9, 260), at(130, 19), at(130, 468 + 1)), (0.0, 0.0, 0.0), "outside the frame");
    assert!(at(249, 300) == 1.0 && at(250, 300) == 0.0, "ends with the object, without fading");
    let mask = scan_mask(prepared.cloud.valid(), &prepared.window);
    assert!(mask.iter().zip(&in_scan).all(|(on, value)| *on == (*value > 0.0)), "the same pixels");
}
