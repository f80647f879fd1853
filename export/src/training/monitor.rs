//! What a training is judged by while it runs: held-out patches, the spread of the embedding, the classifier's ROC.

use ndarray::{Array2, ArrayView2, Axis, s};
use serde::{Deserialize, Serialize};

use super::batches::Batch;
use super::learner::Learner;

/// A receiver operating characteristic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roc {
    /// False and true positive rate at every threshold, from (0, 0) to (1, 1).
    pub points: Vec<[f32; 2]>,
    /// Area below, ties counted half.
    pub area: f64,
}

impl Roc {
    /// Scores of normal patches against scores of pseudo anomalies, which should be higher.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of patches")]
    pub fn of(normal: &[f32], pseudo: &[f32]) -> Self {
        let mut all: Vec<(f32, bool)> = normal.iter().map(|s| (*s, false)).collect();
        all.extend(pseudo.iter().map(|s| (*s, true)));
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (normal_count, pseudo_count) = (normal.len().max(1) as f64, pseudo.len().max(1) as f64);
        let (mut points, mut area, mut last) = (vec![[0.0, 0.0]], 0.0, [0.0_f64, 0.0]);
        let (mut false_count, mut true_count) = (0_usize, 0_usize);
        for (index, (score, is_pseudo)) in all.iter().enumerate() {
            if *is_pseudo {
                true_count += 1
            } else {
                false_count += 1
            }
            let ties = all.get(index + 1).is_some_and(|next| next.0.total_cmp(score).is_eq());
            if !ties {
                let at = [false_count as f64 / normal_count, true_count as f64 / pseudo_count];
                area += (at[0] - last[0]) * f64::midpoint(at[1], last[1]);
                points.push(at.map(|v| v as f32));
                last = at;
            }
        }
        Self { points, area }
    }

    /// About `count` of the points, for a picture.
    #[must_use]
    pub fn thinned(&self, count: usize) -> Self {
        let step = self.points.len().div_ceil(count.max(2)).max(1);
        let mut points: Vec<[f32; 2]> = self.points.iter().copied().step_by(step).collect();
        points.extend(self.points.last());
        Self { points, area: self.area }
    }
}

/// Held-out figures after an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Variance of the unit embeddings of normal patches, 0 (collapsed to a point) to 1.
    pub spread: f64,
    /// Directions that share this variance: (sum l)^2 / sum l^2 over the eigenvalues l of the covariance.
    pub directions: f64,
    /// AUROC of the distance to the nearest normal training patch in the embedding.
    pub distance_auroc: f64,
    /// AUROC of the classifier's logit, without perturbation.
    pub classifier_auroc: f64,
}

/// The patches that a training is judged on.
#[derive(Debug)]
pub struct Judge {
    /// Normal patches to measure distances to, and pseudo anomalies that are not looked at.
    pub reference: Batch,
    /// Held-out normal patches and pseudo anomalies.
    pub held_out: Batch,
}

impl Judge {
    /// Judges the networks as they are now.
    #[must_use]
    pub fn judge(&self, learner: &Learner) -> HeldOut {
        let count = self.held_out.normal_count;
        let embedding = learner.embed(&self.held_out.points);
        let reference = learner.embed(&self.reference.points);
        let reference = reference.slice(s![..self.reference.normal_count, ..]);
        let distances = nearest_distances(embedding.view(), reference);
        let logits = learner.classify(&self.held_out.points, 0.0);
        let normal = unit(embedding.slice(s![..count, ..]));
        let (spread, directions) = spread(&normal);
        HeldOut {
            spread,
            directions,
            distance_auroc: Roc::of(&distances[..count], &distances[count..]).area,
            classifier_auroc: Roc::of(&logits[..count], &logits[count..]).area,
        }
    }

    /// ROC of the classifier's logits after a perturbation step.
    #[must_use]
    pub fn classifier_roc(&self, learner: &Learner, epsilon: f32) -> Roc {
        let logits = learner.classify(&self.held_out.points, epsilon);
        let (normal, pseudo) = logits.split_at(self.held_out.normal_count);
        Roc::of(normal, pseudo)
    }
}

fn unit(rows: ArrayView2<'_, f32>) -> Array2<f64> {
    let mut rows = rows.mapv(f64::from);
    for mut row in rows.rows_mut() {
        let norm = row.dot(&row).sqrt();
        if norm > 0.0 {
            row /= norm;
        }
    }
    rows
}

/// Total variance of the rows, and the effective number of directions it has: from the covariance C alone, for
/// sum l = tr C and sum l^2 = |C|^2.
#[expect(clippy::cast_precision_loss, reason = "a count of patches")]
fn spread(rows: &Array2<f64>) -> (f64, f64) {
    let Some(mean) = rows.mean_axis(Axis(0)) else { return (0.0, 0.0) };
    let centred = rows - &mean;
    let covariance = centred.t().dot(&centred) / rows.nrows() as f64;
    let trace = covariance.diag().sum();
    let squares = covariance.iter().map(|c| c * c).sum::<f64>();
    (trace, if squares > 0.0 { trace * trace / squares } else { 0.0 })
}

/// Distance of each row to its nearest reference row.
fn nearest_distances(rows: ArrayView2<'_, f32>, reference: ArrayView2<'_, f32>) -> Vec<f32> {
    let norms: Vec<f32> = reference.rows().into_iter().map(|r| r.dot(&r)).collect();
    let products = rows.dot(&reference.t());
    let nearest = |(row, products): (ndarray::ArrayView1<'_, f32>, ndarray::ArrayView1<'_, f32>)| {
        let least = products.iter().zip(&norms).map(|(p, n)| n - 2.0 * p).fold(f32::INFINITY, f32::min);
        (row.dot(&row) + least).max(0.0).sqrt()
    };
    rows.rows().into_iter().zip(products.rows()).map(nearest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_counts_pairs_and_halves_ties() {
        assert!((Roc::of(&[1.0, 2.0], &[3.0, 4.0]).area - 1.0).abs() < 1e-12);
        assert!((Roc::of(&[1.0, 2.0, 3.0], &[2.0]).area - 0.5).abs() < 1e-12);
        let roc = Roc::of(&[0.0, 1.0, 1.0], &[1.0, 2.0]);
        // Pairs: 1 beats 0, ties twice; 2 beats all.
        assert!((roc.area - (1.0 + 0.5 + 0.5 + 3.0) / 6.0).abs() < 1e-12);
        assert_eq!((roc.points[0], roc.points[roc.points.len() - 1]), ([0.0, 0.0], [1.0, 1.0]));
    }

    #[test]
    fn a_collapsed_embedding_has_no_spread_and_a_round_one_all_directions() {
        let point = Array2::from_elem((10, 4), 0.5);
        assert!(spread(&unit(point.view())).0 < 1e-12);
        let axes =
            Array2::from_shape_fn(
                (8, 4),
                |(i, j)| {
                    if i / 2 == j { if i % 2 == 0 { 1.0 } else { -1.0 } } else { 0.0 }
                },
            );
        let (variance, directions) = spread(&unit(axes.view()));
        assert!((variance - 1.0).abs() < 1e-12 && (directions - 4.0).abs() < 1e-9);
    }

    #[test]
    fn distances_are_those_of_the_nearest_row() {
        let reference = ndarray::arr2(&[[0.0_f32, 0.0], [10.0, 0.0]]);
        let found = nearest_distances(ndarray::arr2(&[[3.0_f32, 4.0], [10.0, 1.0]]).view(), reference.view());
        assert!((found[0] - 5.0).abs() < 1e-5 && (found[1] - 1.0).abs() < 1e-3, "{found:?}");
    }
}
