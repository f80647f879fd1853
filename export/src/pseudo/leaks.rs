//! What a trivial feature knows: single-feature AUROC between normal and pseudo patches, printed for every
//! extraction, stride and kind.
//!
//! A classifier that tells the two by the number of distinct points or by the patch's extent has not learnt
//! what an anomaly is. Some of that is inherent (64 points of two interleaved surfaces lie closer together),
//! so the figures are printed, and only what must hold is asserted.

use std::collections::BTreeSet;

use rand_chacha::rand_core::SeedableRng;
use zal::features::pointnet::Extraction;
use zal::neighbors::distance_sq;

use super::tests::{anchor, frames, pool};
use super::*;

const FEATURES: [&str; 5] = ["distinct points", "mean radius", "max radius", "gap spread", "gap spread xy"];

type Patch = [[f32; 3]; PATCH_POINT_COUNT];

fn length(point: &[f32; 3]) -> f32 {
    distance_sq([0.0; 3], *point).sqrt()
}

/// Spread of the distances to the nearest other point, over their mean: how irregular the points lie.
fn gap_spread(points: &[[f32; 3]]) -> f32 {
    let gap = |i: usize| {
        let others = (0..points.len()).filter(|j| *j != i).map(|j| distance_sq(points[i], points[j]));
        others.filter(|d_sq| *d_sq > 0.0).fold(f32::INFINITY, f32::min).sqrt()
    };
    let gaps: Vec<f32> = (0..points.len()).map(gap).collect();
    let mean = gaps.iter().sum::<f32>() / 64.0;
    (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f32>() / 64.0).sqrt() / mean
}

fn features(patch: &Patch) -> [f32; 5] {
    let distinct: BTreeSet<[u32; 3]> = patch.iter().map(|p| p.map(f32::to_bits)).collect();
    let radii: Vec<f32> = patch.iter().map(length).collect();
    let flat: Vec<[f32; 3]> = patch.iter().map(|[x, y, _]| [*x, *y, 0.0]).collect();
    [
        f32::from(u8::try_from(distinct.len()).expect("at most 64")),
        radii.iter().sum::<f32>() / 64.0,
        radii.iter().copied().fold(0.0, f32::max),
        gap_spread(patch),
        gap_spread(&flat),
    ]
}

/// Chance that a pseudo patch's value is above a normal one's; ties count half.
#[expect(clippy::cast_precision_loss, reason = "a few hundred patches")]
fn auroc(normal: &[f32], pseudo: &[f32]) -> f32 {
    let wins = |p: &f32| {
        normal
            .iter()
            .map(|n| if p > n { 1.0 } else { 0.5 * f32::from(u8::from(p.total_cmp(n).is_eq())) })
            .sum::<f32>()
    };
    pseudo.iter().map(wins).sum::<f32>() / (normal.len() * pseudo.len()) as f32
}

/// Features of `count` normal and as many pseudo patches, both at anchors of one rule.
fn measured(params: &PseudoParams, count: usize) -> [f32; 5] {
    let [ring, _] = frames();
    let pool = pool();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let (mut normal, mut pseudo) = (Vec::new(), Vec::new());
    while normal.len() < count {
        let anchor = anchor(ring, &mut rng);
        normal.extend(ring.patch_at(anchor, &params.patch).as_ref().map(features));
    }
    while pseudo.len() < count {
        let anchor = anchor(ring, &mut rng);
        let made = draw(ring, anchor, &pool, params, &mut rng);
        pseudo.extend(made.map(|made| features(&made.points)));
    }
    std::array::from_fn(|i| {
        let column = |rows: &[[f32; 5]]| -> Vec<f32> { rows.iter().map(|row| row[i]).collect() };
        auroc(&column(&normal), &column(&pseudo))
    })
}

#[test]
fn what_single_features_tell_is_known() {
    println!("{:<28}{}", "AUROC", FEATURES.map(|name| format!("{name:>17}")).concat());
    for kinds in [Kinds::Adding, Kinds::Removing] {
        for extraction in [Extraction::Lattice, Extraction::Nearest] {
            for stride_px in [1, 2, 4] {
                let patch = PatchParams { extraction, stride_px };
                let found = measured(&PseudoParams { kinds, patch, ..PseudoParams::default() }, 400);
                let name = format!("{kinds:?} {extraction:?} stride {stride_px}");
                println!("{name:<28}{}", found.map(|value| format!("{value:>17.3}")).concat());
                assert!(found.iter().all(|value| (0.0..=1.0).contains(value)));
                if extraction == Extraction::Nearest && stride_px < 4 {
                    assert!((0.3..=0.7).contains(&found[0]), "{name}: distinct points tell {}", found[0]);
                }
            }
        }
    }
}

#[test]
fn the_measure_itself_is_right() {
    assert!((auroc(&[0.0, 1.0], &[2.0, 3.0]) - 1.0).abs() < 1e-6);
    assert!((auroc(&[1.0, 1.0], &[1.0]) - 0.5).abs() < 1e-6);
    assert!(auroc(&[2.0], &[1.0]) < 1e-6);
}
