//! Input that has no surface, or hardly any.

use zal::cloud::OrganizedCloud;
use zal::features::fpfh::{FpfhError, FpfhParams, Orientation, describe_points, describe_unorganized};
use zal::neighbors::Reach;
use zal::normals::{self, NORMAL_OF_DEGENERATE};

use crate::scene::{holed, measured, surface};

fn cloud_of(points: &[[f32; 3]], height: usize, width: usize) -> OrganizedCloud {
    let mut grid = vec![[0.0; 3]; height * width];
    for (i, point) in points.iter().enumerate() {
        grid[i * 7 % (height * width)] = *point;
    }
    OrganizedCloud::new(height, width, grid).unwrap()
}

fn both(points: &[[f32; 3]], params: &FpfhParams) -> ndarray::Array2<f32> {
    let rows = describe_unorganized(points, None, params).unwrap();
    assert!(rows.iter().all(|v| v.is_finite()));
    let cloud = cloud_of(points, 9, 11);
    let order = measured(&cloud);
    assert_eq!(describe_points(&cloud, params), describe_unorganized(&order, None, params).unwrap());
    rows
}

#[test]
fn no_points_have_no_descriptors() {
    assert_eq!(both(&[], &FpfhParams::default()).dim(), (0, 33));
    assert!(normals::estimate(&cloud_of(&[], 3, 3), Reach::Nearest(30), Orientation::Camera).is_empty());
}

#[test]
fn a_single_point_has_an_empty_descriptor_and_the_default_normal() {
    let rows = both(&[[0.1, 0.1, 0.5]], &FpfhParams::default());
    assert!(rows.iter().all(|v| *v == 0.0));
    let normals =
        normals::estimate(&cloud_of(&[[0.1, 0.1, 0.5]], 3, 3), Reach::Nearest(30), Orientation::Camera);
    assert_eq!(normals, [NORMAL_OF_DEGENERATE.map(|c| -c)], "turned to the camera");
}

#[test]
fn two_points_describe_each_other() {
    let rows = both(&[[0.0, 0.0, 0.5], [0.001, 0.0, 0.5]], &FpfhParams::default());
    for block in rows.as_slice().unwrap().chunks_exact(11) {
        assert!((block.iter().sum::<f32>() - 200.0).abs() < 1e-3, "{block:?}");
    }
}

#[test]
fn a_line_has_the_default_normal() {
    let points: Vec<_> = (0_u8..40).map(|i| [f32::from(i) * 0.001, 0.0, 0.5]).collect();
    let normals = normals::estimate_unorganized(&points, Reach::Nearest(10), Orientation::None);
    assert!(normals.iter().all(|n| *n == NORMAL_OF_DEGENERATE), "{normals:?}");
    both(&points, &FpfhParams::default());
}

#[test]
fn duplicates_are_described_without_weight() {
    // Coincident neighbours count in the SPFH's centre but add nothing to the sum.
    let rows = both(&[[0.01, 0.02, 0.5]; 60], &FpfhParams { k: 20, k_normals: 5, ..FpfhParams::default() });
    assert!(rows.rows().into_iter().all(|row| row[5].eq(&100.0) && row.sum().eq(&300.0)), "{rows}");
}

#[test]
fn more_neighbors_than_points_means_all_points() {
    let points = surface(9, 9, 1);
    let all = both(&points, &FpfhParams { k: points.len(), ..FpfhParams::default() });
    for k in [points.len() + 1, 1001, 1_000_000] {
        assert_eq!(all, both(&points, &FpfhParams { k, ..FpfhParams::default() }), "k = {k}");
    }
}

#[test]
fn zero_or_one_neighbor_means_none() {
    for k in [0, 1] {
        let rows = both(&surface(9, 9, 2), &FpfhParams { k, ..FpfhParams::default() });
        assert!(rows.iter().all(|v| *v == 0.0));
    }
}

#[test]
fn a_tiny_or_senseless_radius_means_none() {
    for radius_m in [1e-9, 0.0, -1.0, f32::NAN] {
        let params = FpfhParams { radius_m: Some(radius_m), ..FpfhParams::default() };
        assert!(both(&surface(9, 9, 3), &params).iter().all(|v| *v == 0.0), "{radius_m}");
    }
    let everything = FpfhParams { radius_m: Some(f32::INFINITY), ..FpfhParams::default() };
    assert!(both(&surface(9, 9, 3), &everything).iter().all(|v| v.is_finite()));
}

#[test]
fn points_behind_the_camera_are_described_too() {
    let cloud = holed(30, 30, 4);
    let behind = cloud.points().iter().map(|p| [p[0], p[1], p[2] - 0.502]).collect();
    let cloud = OrganizedCloud::with_mask(30, 30, behind, cloud.valid().to_vec()).unwrap();
    assert!(measured(&cloud).iter().any(|p| p[2] < 0.0) && measured(&cloud).iter().any(|p| p[2] > 0.0));
    let params = FpfhParams::default();
    let expected = describe_unorganized(&measured(&cloud), None, &params).unwrap();
    assert_eq!(describe_points(&cloud, &params), expected);
}

#[test]
fn senseless_points_and_normals_are_refused() {
    let (points, params) = ([[0.0, 0.0, 1.0], [0.0, 0.1, 1.0]], FpfhParams::default());
    let refused = describe_unorganized(&[[0.0, 0.0, 1.0], [f32::NAN, 0.0, 1.0]], None, &params);
    assert!(matches!(refused, Err(FpfhError::PointNotFinite { index: 1, .. })), "{refused:?}");
    let refused = describe_unorganized(&points, Some(&[[0.0, 0.0, 1.0]]), &params);
    assert_eq!(refused, Err(FpfhError::NormalCount { found: 1, expected: 2 }));
    let refused = describe_unorganized(&points, Some(&[[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]]), &params);
    assert_eq!(refused, Err(FpfhError::NormalLength { index: 1, found: 2.0 }));
}
