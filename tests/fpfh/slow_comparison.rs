//! Every kernel against the slow implementation.

use zal::features::fpfh::{
    FinishingRule, FpfhParams, Orientation, describe_points_with_normals, describe_unorganized,
};
use zal::neighbors::Reach;
use zal::normals::{self, NORMAL_OF_DEGENERATE};

use crate::scene::{differing, holed, measured};
use crate::slow::{self, Near, Slow};

/// A pair whose value lies on a bin's border in f32 falls to one side or the other: one
/// count of that point's SPFH, and its share in the neighbours' sums. Here none does; the
/// scene's sines differ between platforms, so a few rows may.
const FLIPPED_ROWS_MAX: usize = 4;

#[test]
fn normals_equal_an_eigenvalue_decomposition() {
    let cloud = holed(40, 40, 1);
    let points = measured(&cloud);
    for (reach, near) in [
        (Reach::Nearest(30), Near::Count(30)),
        (Reach::Nearest(9), Near::Count(9)),
        (Reach::Within(0.004), Near::Radius(0.004)),
    ] {
        let expected = slow::normals(&points, near);
        let found = normals::estimate(&cloud, reach, Orientation::Camera);
        for (index, (a, b)) in found.iter().zip(&expected).enumerate() {
            let b = b.unwrap_or(NORMAL_OF_DEGENERATE.map(|c| -c));
            let difference = (0..3).map(|i| (a[i] - b[i]).abs()).fold(0.0, f32::max);
            assert!(difference < 2e-6, "{reach:?}, point {index}: {a:?}, expected {b:?}");
        }
    }
}

#[test]
fn descriptors_equal_the_formulas() {
    let cloud = holed(40, 40, 2);
    let points = measured(&cloud);
    let normals: Vec<_> = slow::normals(&points, Near::Count(30)).into_iter().flatten().collect();
    for (k, radius_m, near) in
        [(100, None, Near::Count(100)), (20, None, Near::Count(20)), (1, Some(0.006), Near::Radius(0.006))]
    {
        for rule in [FinishingRule::Open3d, FinishingRule::Pcl] {
            let params = FpfhParams { k, radius_m, rule, ..FpfhParams::default() };
            let slow = Slow { fpfh: near, pcl: rule == FinishingRule::Pcl };
            let expected = slow::fpfh(&points, &normals, &slow);
            let found = describe_points_with_normals(&cloud, &normals, &params).unwrap();
            let rows = differing(&found, &expected);
            assert!(rows.len() <= FLIPPED_ROWS_MAX, "{params:?}: {} rows differ: {rows:#?}", rows.len());
            assert_eq!(found, describe_unorganized(&points, Some(&normals), &params).unwrap());
        }
    }
}
