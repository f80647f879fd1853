//! What must hold for any cloud.

use ndarray::Array2;
use zal::cloud::OrganizedCloud;
use zal::features::fpfh::{
    FinishingRule, FpfhParams, MissingRule, Orientation, describe_points, describe_unorganized, pool_patches,
};
use zal::features::{PatchGrid, patch_of_pixel};

use crate::scene::{Noise, differing, holed, measured, surface};

fn small() -> FpfhParams {
    FpfhParams { k_normals: 12, k: 40, ..FpfhParams::default() }
}

fn by_tree(cloud: &OrganizedCloud, params: &FpfhParams) -> Array2<f32> {
    describe_unorganized(&measured(cloud), None, params).unwrap()
}

#[test]
fn windows_and_kd_tree_give_the_same_bits() {
    let clouds = [
        holed(50, 67, 3),
        holed(17, 33, 4),
        OrganizedCloud::new(1, 300, surface(1, 300, 5)).unwrap(),
        OrganizedCloud::new(300, 1, surface(300, 1, 6)).unwrap(),
    ];
    let radius = FpfhParams { radius_normals_m: Some(0.003), radius_m: Some(0.005), ..small() };
    let swapped = FpfhParams { k_normals: 60, k: 20, ..small() };
    let pcl = FpfhParams { rule: FinishingRule::Pcl, orientation: Orientation::None, ..small() };
    for cloud in &clouds {
        for params in [&small(), &FpfhParams::default(), &radius, &swapped, &pcl] {
            let (height, width) = (cloud.height(), cloud.width());
            let found = describe_points(cloud, params);
            assert_eq!(found, by_tree(cloud, params), "{height} x {width}, {params:?}");
        }
    }
}

#[test]
fn ties_do_not_depend_on_the_search() {
    // An exact square lattice: every limit is tied.
    let point = |i: usize| [(i % 32) as f32 / 1024.0, (i / 32) as f32 / 1024.0, 0.5];
    let cloud = OrganizedCloud::new(32, 32, (0..32 * 32).map(point).collect()).unwrap();
    assert_eq!(describe_points(&cloud, &small()), by_tree(&cloud, &small()));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let cloud = holed(60, 60, 7);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (describe_points(&cloud, &small()), by_tree(&cloud, &small())))
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn blocks_sum_to_100_or_200() {
    let cloud = holed(40, 40, 8);
    for (rule, sum) in [(FinishingRule::Open3d, 200.0), (FinishingRule::Pcl, 100.0)] {
        let rows = describe_points(&cloud, &FpfhParams { rule, ..small() });
        for block in rows.as_slice().unwrap().chunks_exact(11) {
            assert!((block.iter().sum::<f32>() - sum).abs() < 1e-2, "{block:?}");
            assert!(block.iter().all(|v| *v >= 0.0), "{block:?}");
        }
    }
}

/// A rotation about an oblique axis, exact enough in f64.
fn rotated(v: [f32; 3]) -> [f32; 3] {
    let axis = nalgebra::Unit::new_normalize(nalgebra::Vector3::new(0.3, -0.5, 0.8));
    let turned = nalgebra::Rotation3::from_axis_angle(&axis, 0.7) * nalgebra::Vector3::from(v.map(f64::from));
    #[expect(clippy::cast_possible_truncation, reason = "points are f32")]
    [turned.x as f32, turned.y as f32, turned.z as f32]
}

#[test]
fn turning_the_scene_about_the_camera_changes_nothing() {
    let points = measured(&holed(40, 40, 9));
    let turned: Vec<_> = points.iter().map(|p| rotated(*p)).collect();
    let before = describe_unorganized(&points, None, &small()).unwrap();
    let after = describe_unorganized(&turned, None, &small()).unwrap();
    // The rotated points are rounded to f32, which moves normals by 1e-5 and with them a
    // few values across a border (in about every seventh row).
    let rows = differing(&after, &before);
    let worst = (&after - &before).iter().map(|d| d.abs()).fold(0.0, f32::max);
    assert!(rows.len() < points.len() / 4, "{} of {} rows differ: {rows:#?}", rows.len(), points.len());
    assert!(worst < 12.0, "the largest difference is {worst}");
}

#[test]
fn moving_a_scene_with_its_normals_changes_nothing() {
    let points = measured(&holed(40, 40, 10));
    let normals =
        zal::normals::estimate_unorganized(&points, zal::neighbors::Reach::Nearest(12), Orientation::None);
    let moved: Vec<_> = points.iter().map(|p| rotated([p[0] + 0.125, p[1] - 0.25, p[2]])).collect();
    let turned: Vec<_> = normals.iter().map(|n| rotated(*n)).collect();
    let before = describe_unorganized(&points, Some(&normals), &small()).unwrap();
    let after = describe_unorganized(&moved, Some(&turned), &small()).unwrap();
    let rows = differing(&after, &before);
    assert!(rows.len() < 10, "{} of {} rows differ: {rows:#?}", rows.len(), points.len());
}

#[test]
fn the_order_of_points_changes_nothing() {
    let points = measured(&holed(40, 40, 11));
    let mut order: Vec<usize> = (0..points.len()).collect();
    let mut noise = Noise::new(12);
    order.sort_by_cached_key(|_| (noise.next() * 65536.0).to_bits());
    let shuffled: Vec<_> = order.iter().map(|i| points[*i]).collect();
    let before = describe_unorganized(&points, None, &small()).unwrap().select(ndarray::Axis(0), &order);
    let after = describe_unorganized(&shuffled, None, &small()).unwrap();
    // Sums in another order: the last bits differ, and a normal's can push a pair over a border.
    let rows = differing(&after, &before);
    assert!(rows.len() < 10, "{} rows differ: {rows:#?}", rows.len());
}

#[test]
fn a_plane_has_everything_in_the_centre() {
    let point = |i: usize| [(i % 30) as f32 * 0.001_1, (i / 30) as f32 * 0.000_9, 0.5];
    let cloud = OrganizedCloud::new(30, 30, (0..900).map(point).collect()).unwrap();
    for row in describe_points(&cloud, &small()).rows() {
        for center in [5, 16, 27] {
            assert!((row[center] - 200.0).abs() < 1e-3, "{row}");
        }
    }
}

#[test]
fn patches_average_their_measured_points() {
    let cloud = holed(224, 224, 13);
    let (grid, pixels) = (PatchGrid::of(&cloud), cloud.valid_indices());
    let values = |row: usize| (pixels[row] % 97) as f32;
    let rows = Array2::from_shape_fn((pixels.len(), 33), |(row, bin)| values(row) + bin as f32);
    let skip = pool_patches(&cloud, &grid, &rows, MissingRule::Skip);
    let zeros = pool_patches(&cloud, &grid, &rows, MissingRule::Zeros);
    assert_eq!(skip.rows.dim(), (grid.count(), 33));
    for (row, patch) in grid.patches().iter().enumerate() {
        let members: Vec<_> =
            (0..pixels.len()).filter(|i| patch_of_pixel(pixels[*i]) == usize::from(*patch)).collect();
        let sum: f32 = members.iter().map(|i| values(*i)).sum();
        assert!((skip.rows[[row, 0]] - sum / members.len() as f32).abs() < 1e-3);
        assert!((zeros.rows[[row, 0]] - sum / 64.0).abs() < 1e-3);
    }
}
