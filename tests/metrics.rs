//! AUPRO against the published rule's and the exact area's reference values on 100 seeded maps.
//!
//! The maps are made with NumPy and SciPy by `tests/golden/aupro_maps.py FOLDER`, which checks their
//! hashes; `ZAL_AUPRO_MAPS=FOLDER` then runs this test.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::fs;
use std::path::PathBuf;

use zal::metrics::{Domain, FPR_LIMIT, MaskedMap, PixelPool, aupro};
use zal::scan::npy;

/// Rows and columns of a map.
const SIDE: usize = 224;

#[test]
fn aupro_meets_the_reference_values() {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(shared), Some(maps)) = (folder("ZAL_SHARED"), folder("ZAL_AUPRO_MAPS")) else {
        eprintln!(
            "skipped: AUPRO reference values need ZAL_SHARED and ZAL_AUPRO_MAPS (see this file's head)"
        );
        return;
    };
    let values = |name: &str| {
        let bytes = fs::read(maps.join(name)).expect("tests/golden/aupro_maps.py wrote it");
        npy::read_f32(&bytes).expect("an array of floats").1
    };
    let (scores, masks) = (values("maps_224.npy"), values("gt_224.npy"));
    assert_eq!(scores.len(), 100 * SIDE * SIDE);
    let maps: Vec<MaskedMap> = scores
        .chunks(SIDE * SIDE)
        .zip(masks.chunks(SIDE * SIDE))
        .map(|(scores, mask)| {
            let mask = mask.iter().map(|m| u8::from(*m > 0.0)).collect();
            MaskedMap { scores: scores.to_vec(), mask, width: SIDE, object: None }
        })
        .collect();
    let text = fs::read_to_string(shared.join("vectors/aupro/expected_224.json")).expect("reference values");
    let expected: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let reference = |name: &str| expected[name].as_f64().expect("a number");
    let mut pool = PixelPool::default();
    maps.iter().for_each(|map| pool.add(map));
    let ranked = pool.rank(Domain::Image, FPR_LIMIT).expect("there are regions");
    let (published, exact) = (ranked.published(), ranked.exact());
    let found = aupro(&maps).expect("there are regions");
    assert!((found - published).abs() < 1e-12);
    // The rule is fully determined: only sums in another order differ.
    let expected = reference("rule_100_rank_thresholds");
    assert!((published - expected).abs() < 1e-6, "found {published}, expected {expected}");
    let expected = reference("exact");
    assert!((exact - expected).abs() < 1e-5, "found {exact}, expected {expected}");
}
