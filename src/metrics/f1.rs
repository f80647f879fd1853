//! The best F1 that a threshold on image scores reaches.

use super::as_f64;

/// Highest `F1 = 2 TP / (2 TP + FP + FN)` over all thresholds; a part is called defective when its score
/// is at least the threshold, so parts of one score are called alike. None without defective parts.
///
/// The threshold is chosen with the labels in hand: a figure of how well the scores part, not of what a
/// line would see. Calling every part defective already gives `2 d / (2 d + g)`.
#[must_use]
pub fn f1_max(good: &[f32], defective: &[f32]) -> Option<f64> {
    if defective.is_empty() {
        return None;
    }
    // Adding 0 makes -0 a plain 0, which the total order would set apart.
    let all = good.iter().map(|s| (s + 0.0, false)).chain(defective.iter().map(|s| (s + 0.0, true)));
    let mut descending: Vec<(f32, bool)> = all.collect();
    descending.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut called, mut hits, mut best) = (0, 0, 0.0_f64);
    for (index, (score, is_defective)) in descending.iter().enumerate() {
        called += 1;
        hits += usize::from(*is_defective);
        let last_of_equals = descending.get(index + 1).is_none_or(|next| next.0.total_cmp(score).is_ne());
        if last_of_equals {
            // 2 TP + FP + FN: what was called, and what is defective.
            best = best.max(2.0 * as_f64(hits) / as_f64(called + defective.len()));
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every score as a threshold, counted one by one.
    fn slow(good: &[f32], defective: &[f32]) -> f64 {
        let f1 = |threshold: f32| {
            let called = |scores: &[f32]| as_f64(scores.iter().filter(|s| **s >= threshold).count());
            let (hits, alarms) = (called(defective), called(good));
            let missed = as_f64(defective.len()) - hits;
            2.0 * hits / (2.0 * hits + alarms + missed)
        };
        good.iter().chain(defective).map(|threshold| f1(*threshold)).fold(0.0, f64::max)
    }

    #[test]
    fn it_equals_every_threshold_tried() {
        for (levels, seed) in [(2_u32, 7), (5, 11), (23, 3), (997, 13)] {
            let scores = |count: u32, shift: u32| -> Vec<f32> {
                let level = |i: u32| (i * seed * 31 + shift * i * i) % levels + shift;
                (0..count).map(|i| f32::from(u16::try_from(level(i)).expect("small")) - 1.0).collect()
            };
            let (good, defective) = (scores(37, 0), scores(21, 1));
            let found = f1_max(&good, &defective).expect("there are defective parts");
            assert!((found - slow(&good, &defective)).abs() < 1e-12, "{levels} levels: {found}");
        }
    }

    #[test]
    fn closed_forms() {
        assert_eq!(f1_max(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
        // One score for all: all are called.
        assert_eq!(f1_max(&[5.0, 5.0], &[5.0]), Some(0.5));
        assert_eq!(f1_max(&[0.0], &[-0.0]), f1_max(&[0.0], &[0.0]));
        assert_eq!(f1_max(&[], &[1.0]), Some(1.0));
        assert_eq!(f1_max(&[1.0], &[]), None);
    }
}
