//! Reference values of Open3D and PCL.

use std::path::PathBuf;

use ndarray::Array2;
use zal::cloud::OrganizedCloud;
use zal::features::fpfh::{
    FinishingRule, FpfhParams, Orientation, describe_points, describe_points_with_normals,
    describe_unorganized,
};
use zal::neighbors::Reach;
use zal::normals;

use crate::scene::differing;

/// Bytes of a reference file, or `None` (said on stderr) when there are no references.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn reference(name: &str) -> Option<Vec<u8>> {
    let Some(shared) = std::env::var_os("ZAL_SHARED") else {
        eprintln!("skipped: ZAL_SHARED is not set, so {name} cannot be read");
        return None;
    };
    let path = PathBuf::from(shared).join(name);
    Some(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// The payload of a .npy file after its header, which must name the given type.
fn npy_payload<'a>(bytes: &'a [u8], dtype: &str) -> &'a [u8] {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..10 + header_len]);
    assert!(header.contains(dtype), "{header} names {dtype}");
    &bytes[10 + header_len..]
}

fn f32_triples(bytes: &[u8]) -> Vec<[f32; 3]> {
    let values = npy_payload(bytes, "<f4").chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    values.collect::<Vec<_>>().chunks_exact(3).map(|p| p.try_into().unwrap()).collect()
}

/// The reference scan of 49,480 points on its 224 x 224 grid.
fn scan() -> Option<OrganizedCloud> {
    let points = f32_triples(&reference("vectors/fpfh/spud_bump_224.npy")?);
    let index = reference("vectors/fpfh/spud_bump_224_index.npy")?;
    let mut grid = vec![[0.0; 3]; 224 * 224];
    for (point, pixel) in points.into_iter().zip(npy_payload(&index, "<i4").chunks_exact(4)) {
        grid[usize::try_from(i32::from_le_bytes(pixel.try_into().unwrap())).unwrap()] = point;
    }
    Some(OrganizedCloud::new(224, 224, grid).unwrap())
}

/// One entry of an .npz file: a zip archive with stored (uncompressed) entries.
fn npz_entry<'a>(bytes: &'a [u8], name: &str) -> &'a [u8] {
    let file = format!("{name}.npy");
    let at = bytes
        .windows(30 + file.len())
        .position(|w| w.starts_with(b"PK\x03\x04") && w.ends_with(file.as_bytes()))
        .unwrap_or_else(|| panic!("the archive holds {file}"));
    assert_eq!(&bytes[at + 8..at + 10], [0, 0], "{file} is stored, not compressed");
    let extra_len = usize::from(u16::from_le_bytes([bytes[at + 28], bytes[at + 29]]));
    &bytes[at + 30 + file.len() + extra_len..]
}

/// The sampled points' indices, and their descriptors by one of the archive's variants.
fn npz_rows(bytes: &[u8], name: &str) -> (Vec<usize>, Array2<f32>) {
    let ids = npy_payload(npz_entry(bytes, "ids"), "<i8").chunks_exact(8).take(60);
    let ids = ids.map(|b| usize::try_from(i64::from_le_bytes(b.try_into().unwrap())).unwrap());
    let values = npy_payload(npz_entry(bytes, name), "<f8").chunks_exact(8).take(60 * 33);
    #[expect(clippy::cast_possible_truncation, reason = "compared within 1e-3")]
    let values = values.map(|b| f64::from_le_bytes(b.try_into().unwrap()) as f32);
    (ids.collect(), Array2::from_shape_vec((60, 33), values.collect()).unwrap())
}

const RULES: [(FinishingRule, &str); 2] =
    [(FinishingRule::Open3d, "open3d_rule_pcl_normals"), (FinishingRule::Pcl, "pcl_rule_pcl_normals")];

fn assert_equal(found: &Array2<f32>, vectors: &[u8], name: &str) {
    let (ids, expected) = npz_rows(vectors, name);
    let sampled = found.select(ndarray::Axis(0), &ids);
    // On these clouds not one of the 60 sampled rows holds a pair on a bin's border.
    let rows = differing(&sampled, &expected);
    assert!(rows.is_empty(), "{name}: {} of 60 rows differ: {rows:#?}", rows.len());
}

#[test]
fn nearest_100_equal_the_reference() {
    let (Some(cloud), Some(normals), Some(vectors)) = (
        scan(),
        reference("vectors/fpfh/pcl_spud_bump_224.normals.npy"),
        reference("vectors/fpfh/ref_spud_bump_224.npz"),
    ) else {
        return;
    };
    let normals = f32_triples(&normals);
    for (rule, name) in RULES {
        let params = FpfhParams { rule, ..FpfhParams::default() };
        let rows = describe_points_with_normals(&cloud, &normals, &params).unwrap();
        assert_equal(&rows, &vectors, name);
    }
}

#[test]
fn radius_5_mm_equals_the_reference() {
    let (Some(points), Some(normals), Some(vectors)) = (
        reference("vectors/fpfh/spud_bump_224obj.npy"),
        reference("vectors/fpfh/pcl_spud_bump_224obj_r.normals.npy"),
        reference("vectors/fpfh/ref_spud_bump_224obj_r.npz"),
    ) else {
        return;
    };
    let (points, normals) = (f32_triples(&points), f32_triples(&normals));
    for (rule, name) in RULES {
        let params = FpfhParams { rule, radius_m: Some(0.005), ..FpfhParams::default() };
        let rows = describe_unorganized(&points, Some(&normals), &params).unwrap();
        assert_equal(&rows, &vectors, name);
    }
}

#[test]
fn normals_equal_those_of_pcl() {
    let (Some(cloud), Some(expected)) = (scan(), reference("vectors/fpfh/pcl_spud_bump_224.normals.npy"))
    else {
        return;
    };
    let found = normals::estimate(&cloud, Reach::Nearest(30), Orientation::Camera);
    let expected = f32_triples(&expected);
    assert_eq!(found.len(), expected.len());
    let differs = |(a, b): (&[f32; 3], &[f32; 3])| (0..3).any(|i| (a[i] - b[i]).abs() > 1e-3);
    // PCL sums in f32 without subtracting the point first, which costs it three digits.
    let count = found.iter().zip(&expected).filter(|pair| differs(*pair)).count();
    assert!(count == 0, "{count} of {} normals differ by more than 1e-3", found.len());
}

#[test]
fn windows_and_kd_tree_agree_on_the_reference_scan() {
    let Some(cloud) = scan() else { return };
    let params = FpfhParams::default();
    let expected = describe_unorganized(&crate::scene::measured(&cloud), None, &params).unwrap();
    assert_eq!(describe_points(&cloud, &params), expected);
}
