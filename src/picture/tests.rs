//! Tests of the pictures on small analytic scans.

use super::*;
use crate::detector::Timing;
use crate::preprocess::FrameWindow;
use crate::score::Region;

/// A bump on a table, `height x width`, coloured blue.
fn scan(height: usize, width: usize) -> Scan {
    let pixel = |i: usize| {
        let at = |n: usize, len: usize| {
            (f32::from(u16::try_from(n).unwrap()) / f32::from(u16::try_from(len).unwrap()) - 0.5) * 0.2
        };
        let (y, x) = (at(i / width, height), at(i % width, width));
        let bump = (0.04 * 0.04 - x * x - y * y).max(0.0).sqrt();
        [x, y, 0.5 - bump]
    };
    let cloud = OrganizedCloud::new(height, width, (0..height * width).map(pixel).collect()).unwrap();
    let color = ColorImage { height, width, pixels: vec![[30, 60, 200]; height * width] };
    Scan { cloud, color: Some(color) }
}

/// A detection whose map is 1 but for a peak at frame pixel (60, 80).
fn detection(scan: &Scan) -> Detection {
    let (scan_height, scan_width) = (scan.cloud.height(), scan.cloud.width());
    let window = FrameWindow { top_px: 0.0, left_px: 0.0, px_per_frame_px: 1.0, scan_height, scan_width };
    let mut values: Vec<f32> =
        (0..FRAME_SIZE * FRAME_SIZE).map(|i| if i % 2 == 0 { 0.9 } else { 1.1 }).collect();
    for row in 55..66 {
        values[row * FRAME_SIZE + 75..row * FRAME_SIZE + 86].fill(20.0);
    }
    values[60 * FRAME_SIZE + 80] = 30.0;
    let region = Region { bbox_px: [75, 55, 11, 11], area_mm2: 1.0, centroid_mm: [0.0; 3], peak: 30.0 };
    Detection {
        evaluation: Evaluation::NotOk,
        score: Some(30.0),
        threshold: None,
        p_value: None,
        reasons: vec![],
        branches: vec![],
        regions: vec![region],
        nearest: None,
        map: Some(AnomalyMap { values, object: vec![true; FRAME_SIZE * FRAME_SIZE], window }),
        against: None,
        timing: Timing::default(),
    }
}

#[test]
fn the_overlay_marks_the_peak_and_the_verdict_and_leaves_the_rest() {
    let scan = scan(240, 300);
    let picture = overlay(&scan, &detection(&scan)).unwrap();
    assert_eq!((picture.height, picture.width), (240, 300));
    let at = |row: usize, column: usize| picture.pixels[row * 300 + column];
    assert_eq!(at(0, 150), verdict_color(Evaluation::NotOk));
    let [red, _, blue] = at(60, 78);
    assert!(red > 150 && red > blue, "heat at the peak: {:?}", at(60, 78));
    assert_eq!(at(57, 85), WHITE, "outline of the region");
    assert_eq!(at(57, 86), at(120, 150), "no heat beside it");
    assert_eq!(at(60, 72), WHITE, "arm of the cross");
    let quiet = overlay(&scan, &Detection { evaluation: Evaluation::Ok, ..detection(&scan) }).unwrap();
    assert_eq!(quiet.pixels[150], verdict_color(Evaluation::Ok));
}

#[test]
fn without_a_map_there_is_no_overlay_and_without_colour_a_relief() {
    let mut scan = scan(240, 300);
    let with_map = detection(&scan);
    assert!(overlay(&scan, &Detection { map: None, ..with_map.clone() }).is_none());
    scan.color = None;
    let [red, green, blue] = overlay(&scan, &with_map).unwrap().pixels[200 * 300 + 150];
    assert!(red == green && green == blue, "a grey relief");
}

#[test]
fn large_scans_are_reduced_by_a_whole_factor() {
    let scan = scan(900, 1700);
    let picture = depth(&scan);
    assert_eq!((picture.height, picture.width), (300, 567));
    let picture = overlay(&scan, &detection(&scan)).unwrap();
    assert_eq!((picture.height, picture.width), (300, 567));
}

#[test]
fn depth_colours_the_part_and_greys_the_table() {
    let picture = depth(&scan(240, 300));
    let spread = |pixel: [u8; 3]| pixel.iter().max().unwrap() - pixel.iter().min().unwrap();
    assert!(spread(picture.pixels[120 * 300 + 150]) > 60, "{:?}", picture.pixels[120 * 300 + 150]);
    assert!(spread(picture.pixels[20 * 300 + 20]) < 20, "{:?}", picture.pixels[20 * 300 + 20]);
    // Lit from the upper left: that flank is brighter than the lower right one.
    let brightness =
        |r: usize, c: usize| picture.pixels[r * 300 + c].iter().map(|v| u32::from(*v)).sum::<u32>();
    assert!(brightness(95, 120) > brightness(145, 180));
}

#[test]
fn pictures_of_nothing_are_dark_and_do_not_fail() {
    let cloud = OrganizedCloud::new(5, 7, vec![[0.0; 3]; 35]).unwrap();
    let picture = depth(&Scan { cloud, color: None });
    assert!(picture.pixels.iter().all(|p| p.iter().all(|c| *c < 30)));
    let single = OrganizedCloud::new(1, 1, vec![[0.0, 0.0, 1.0]]).unwrap();
    assert_eq!(depth(&Scan { cloud: single, color: None }).pixels.len(), 1);
    assert_eq!(side_by_side(&[]).pixels.len(), 0);
}

#[test]
fn the_mask_is_outlined() {
    let scan = scan(100, 120);
    let mut mask = vec![0; 100 * 120];
    for row in 40..60 {
        mask[row * 120 + 30..row * 120 + 50].fill(254);
    }
    let picture = mask_overlay(&scan, &mask);
    assert_eq!(picture.pixels[40 * 120 + 35], TRUTH);
    assert_eq!(picture.pixels[20 * 120 + 35], [30, 60, 200]);
    assert_ne!(picture.pixels[50 * 120 + 40], TRUTH, "only tinted inside");
}

#[test]
fn pictures_stand_side_by_side() {
    let image = |height, width, value| ColorImage { height, width, pixels: vec![[value; 3]; height * width] };
    let joined = side_by_side(&[&image(4, 3, 200), &image(2, 5, 100)]);
    assert_eq!((joined.height, joined.width), (4, 16));
    assert_eq!((joined.pixels[2], joined.pixels[3], joined.pixels[11]), ([200; 3], SHADOW, [100; 3]));
    assert_eq!(joined.pixels[3 * 16 + 11], SHADOW);
}
