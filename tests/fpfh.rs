//! FPFH against the published reference vectors and an independent slow implementation.
//!
//! The reference vectors are found through the environment variable `ZAL_SHARED`; without
//! it those tests say so and pass.

use std::path::PathBuf;

use ndarray::Array2;
use zal::features::fpfh::{FinishingRule, FpfhParams, describe_unorganized};

/// Bytes of a reference file, or `None` (said on stderr) when there are no references.
fn reference(name: &str) -> Option<Vec<u8>> {
    let Some(shared) = std::env::var_os("ZAL_SHARED") else {
        eprintln!("skipped: ZAL_SHARED is not set, so {name} cannot be read");
        return None;
    };
    let path = PathBuf::from(shared).join("vectors/fpfh").join(name);
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

fn npz_ids(bytes: &[u8]) -> Vec<usize> {
    let payload = npy_payload(npz_entry(bytes, "ids"), "<i8");
    let ids = payload.chunks_exact(8).take(60).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
    ids.map(|i| usize::try_from(i).unwrap()).collect()
}

fn npz_rows(bytes: &[u8], name: &str) -> Array2<f64> {
    let payload = npy_payload(npz_entry(bytes, name), "<f8");
    let values = payload.chunks_exact(8).take(60 * 33).map(|b| f64::from_le_bytes(b.try_into().unwrap()));
    Array2::from_shape_vec((60, 33), values.collect()).unwrap()
}

/// Rows that differ by more than 1e-3 from the reference, as text for the assertion.
fn differing(rows: &Array2<f32>, ids: &[usize], expected: &Array2<f64>) -> Vec<String> {
    let mut found = Vec::new();
    for (id, expected) in ids.iter().zip(expected.rows()) {
        let differences =
            rows.row(*id).iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).collect::<Vec<_>>();
        let worst = differences.iter().copied().fold(0.0, f64::max);
        if worst > 1e-3 {
            let bins: Vec<_> = (0..33).filter(|b| differences[*b] > 1e-3).collect();
            found.push(format!("point {id}: bins {bins:?} by up to {worst:.4}"));
        }
    }
    found
}

fn compare_with_reference(cloud: &str, normals: &str, vectors: &str, radius_m: Option<f32>) {
    let (Some(cloud), Some(normals), Some(vectors)) =
        (reference(cloud), reference(normals), reference(vectors))
    else {
        return;
    };
    let (points, normals) = (f32_triples(&cloud), f32_triples(&normals));
    for (rule, name) in
        [(FinishingRule::Open3d, "open3d_rule_pcl_normals"), (FinishingRule::Pcl, "pcl_rule_pcl_normals")]
    {
        let params = FpfhParams { rule, radius_m, ..FpfhParams::default() };
        let rows = describe_unorganized(&points, Some(&normals), &params).unwrap();
        let found = differing(&rows, &npz_ids(&vectors), &npz_rows(&vectors, name));
        assert!(found.is_empty(), "{name}: {} of 60 rows differ: {found:#?}", found.len());
    }
}

#[test]
fn nearest_100_equal_the_reference() {
    compare_with_reference(
        "spud_bump_224.npy",
        "pcl_spud_bump_224.normals.npy",
        "ref_spud_bump_224.npz",
        None,
    );
}

#[test]
fn radius_5_mm_equals_the_reference() {
    compare_with_reference(
        "spud_bump_224obj.npy",
        "pcl_spud_bump_224obj_r.normals.npy",
        "ref_spud_bump_224obj_r.npz",
        Some(0.005),
    );
}
