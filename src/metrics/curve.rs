//! Curves for people to look at: ROC of image scores, and the per-region overlap, with few points.

use super::as_f64;

/// The ROC curve of image scores, `[false positive rate, true positive rate]` from `[0, 0]` to `[1, 1]`:
/// every distinct score is a threshold, scores of one value pass it together. None without both kinds.
///
/// Curves of more than `count` points are thinned: the false positive rate is cut into `count` equal
/// steps, and the last point of each is kept. What is kept lies on the curve exactly.
#[must_use]
pub fn roc(good: &[f32], defective: &[f32], count: usize) -> Option<Vec<[f64; 2]>> {
    if good.is_empty() || defective.is_empty() {
        return None;
    }
    // Adding 0 makes -0 a plain 0, which the total order would set apart.
    let all = good.iter().map(|s| (s + 0.0, 0)).chain(defective.iter().map(|s| (s + 0.0, 1)));
    let mut descending: Vec<(f32, usize)> = all.collect();
    descending.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut passed = [0_usize; 2];
    let mut points = vec![[0.0, 0.0]];
    for equals in descending.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        equals.iter().for_each(|(_, kind)| passed[*kind] += 1);
        points.push([as_f64(passed[0]) / as_f64(good.len()), as_f64(passed[1]) / as_f64(defective.len())]);
    }
    if points.len() <= count {
        return Some(points);
    }
    let mut thinned = Thinned::new(1.0, count);
    points[1..].iter().for_each(|point| {
        thinned.reach(*point);
    });
    Some(thinned.finish())
}

/// Collects a curve that begins at `[0, 0]` and only rises, keeping the last point of each of `count`
/// equal steps along x, and the point at the limit.
pub(super) struct Thinned {
    limit: f64,
    step: f64,
    kept: Vec<[f64; 2]>,
    last: [f64; 2],
}

impl Thinned {
    pub(super) fn new(limit: f64, count: usize) -> Self {
        let step = limit / as_f64(count.max(1));
        Self { limit, step, kept: vec![[0.0; 2]], last: [0.0; 2] }
    }

    /// Adds the next point; false once the limit is reached.
    pub(super) fn reach(&mut self, [x, y]: [f64; 2]) -> bool {
        let [last_x, last_y] = self.last;
        if last_x >= self.limit {
            return false;
        }
        let bin = |x: f64| (x / self.step).floor();
        // The point before a leap is a corner of the curve.
        if bin(x) > bin(last_x) {
            self.keep_last();
        }
        self.last = if x > self.limit {
            [self.limit, last_y + (y - last_y) * (self.limit - last_x) / (x - last_x)]
        } else {
            [x, y]
        };
        x < self.limit
    }

    pub(super) fn finish(mut self) -> Vec<[f64; 2]> {
        self.keep_last();
        self.kept
    }

    fn keep_last(&mut self) {
        let new = |kept: &[f64; 2]| kept.iter().zip(self.last).any(|(a, b)| a.total_cmp(&b).is_ne());
        if self.kept.last().is_none_or(new) {
            self.kept.push(self.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::auroc;
    use super::*;

    fn area(curve: &[[f64; 2]]) -> f64 {
        curve.windows(2).map(|p| (p[1][0] - p[0][0]) * (p[0][1] + p[1][1]) / 2.0).sum()
    }

    fn scores(count: u16, step: u16, levels: u16) -> Vec<f32> {
        (0..count).map(|i| f32::from(i * step % levels)).collect()
    }

    #[test]
    fn the_area_under_the_roc_is_the_auroc() {
        for levels in [2, 9, 101] {
            let (good, defective) = (scores(40, 7, levels), scores(31, 13, levels));
            let curve = roc(&good, &defective, 1000).expect("there are both");
            let expected = auroc(&good, &defective).expect("there are both");
            assert!((area(&curve) - expected).abs() < 1e-12);
            assert_eq!((curve[0], curve[curve.len() - 1]), ([0.0, 0.0], [1.0, 1.0]));
        }
        assert_eq!(roc(&[], &[1.0], 10), None);
        assert_eq!(roc(&[2.0], &[2.0], 10), Some(vec![[0.0, 0.0], [1.0, 1.0]]));
    }

    #[test]
    fn a_thinned_curve_keeps_points_of_the_curve_and_nearly_its_area() {
        let (good, defective) = (scores(997, 31, 991), scores(500, 17, 983));
        let whole = roc(&good, &defective, 10_000).expect("there are both");
        let thinned = roc(&good, &defective, 60).expect("there are both");
        assert!(whole.len() > 900 && thinned.len() <= 62, "{} {}", whole.len(), thinned.len());
        assert!(thinned.iter().all(|point| whole.contains(point)));
        assert!((area(&whole) - area(&thinned)).abs() < 0.01);
    }

    #[test]
    fn a_curve_is_cut_at_its_limit() {
        let mut thinned = Thinned::new(0.3, 3);
        assert!(thinned.reach([0.0, 0.4]) && thinned.reach([0.25, 0.5]));
        assert!(!thinned.reach([0.5, 1.0]), "beyond the limit");
        assert!(!thinned.reach([0.6, 1.0]), "nothing comes after it");
        let found = thinned.finish();
        assert_eq!(found[..3], [[0.0, 0.0], [0.0, 0.4], [0.25, 0.5]]);
        assert!((found[3][0] - 0.3).abs() < 1e-12 && (found[3][1] - 0.6).abs() < 1e-12, "{found:?}");
    }
}
