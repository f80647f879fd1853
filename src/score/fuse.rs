//! Patch scores from the branches' distances, and the image score from the patch scores.

use serde::{Deserialize, Serialize};

use super::BranchShare;
use crate::features::Branch;

/// One branch's distances of the object's patches to their nearest normal patches: those of the bank, or
/// those of the scan itself ([`own_distances`](super::own_distances)).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BranchDistances<'a> {
    /// Which branch.
    pub branch: Branch,
    /// One distance a patch, in the order of `PatchGrid::patches()`.
    pub distances: &'a [f32],
    /// Weight of the branch in the sum; 0 leaves it out.
    pub weight: f32,
    /// What one unit of [`LineScores::sub`] is in this branch: the standard deviation of its
    /// distances over the object's patches of normal scans, from the bundle. A fixed number,
    /// so that the peak can be compared between scans. Not positive: the branch is left out.
    pub spread: f32,
}

/// Patch scores of mode `line`, in the order of the distances.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LineScores {
    /// Sum over the branches of `weight * (d - mean) / sd`, mean and sd of this scan: what
    /// stands out within the part. For the map.
    pub std: Vec<f32>,
    /// Sum over the branches of `weight * (d - median) / spread`, spread fixed: how much it
    /// stands out. For the image score and the verdict.
    pub sub: Vec<f32>,
}

/// Fuses the branches' distances late. A branch whose distances are all the same says
/// nothing and adds nothing. No patches: no scores.
///
/// # Panics
/// When the branches have different numbers of distances.
#[must_use]
pub fn fuse_line(parts: &[BranchDistances<'_>]) -> LineScores {
    let count = parts.first().map_or(0, |part| part.distances.len());
    let mut scores = LineScores { std: vec![0.0; count], sub: vec![0.0; count] };
    for part in parts {
        add_term(&mut scores, part.distances, part.weight, part.spread);
    }
    scores
}

/// Adds one term to the scores: a branch's distances, or the normalcy classifier's logits.
///
/// # Panics
/// When there is not one value a patch.
pub fn add_term(scores: &mut LineScores, values: &[f32], weight: f32, spread: f32) {
    assert_eq!(values.len(), scores.std.len(), "every term describes the same patches");
    let (mean, sd) = mean_and_sd(values);
    add_scaled(&mut scores.std, values, mean, ratio(weight, sd));
    add_scaled(&mut scores.sub, values, median(values), ratio(weight, spread));
}

/// Adds `(d - center) * scale` to every score.
fn add_scaled(scores: &mut [f32], distances: &[f32], center: f32, scale: f32) {
    for (score, distance) in scores.iter_mut().zip(distances) {
        *score += (distance - center) * scale;
    }
}

/// `weight / spread`, or 0 when the spread says that there is nothing to compare.
fn ratio(weight: f32, spread: f32) -> f32 {
    if spread > f32::MIN_POSITIVE { weight / spread } else { 0.0 }
}

/// What each branch contributed to one patch's [`LineScores::sub`]: its share of the
/// positive terms, those of its parts together. All 0 when no branch finds the patch unusual.
///
/// # Panics
/// When a branch has no such patch.
#[must_use]
pub fn branch_shares(parts: &[BranchDistances<'_>], patch_index: usize) -> Vec<BranchShare> {
    let term = |part: &BranchDistances<'_>| {
        let above = part.distances[patch_index] - median(part.distances);
        (above * ratio(part.weight, part.spread)).max(0.0)
    };
    let total: f32 = parts.iter().map(term).sum();
    let mut shares: Vec<BranchShare> = Vec::new();
    for part in parts {
        let share = ratio(term(part), total);
        match shares.iter_mut().find(|known| known.branch == part.branch) {
            Some(known) => known.share += share,
            None => shares.push(BranchShare { branch: part.branch, share }),
        }
    }
    shares
}

/// Index of the highest score, the first of equals; none without scores.
#[must_use]
pub fn worst_patch(patch_scores: &[f32]) -> Option<usize> {
    let first_of_equals = |a: &(usize, &f32), b: &(usize, &f32)| a.1.total_cmp(b.1).then(b.0.cmp(&a.0));
    patch_scores.iter().enumerate().max_by(first_of_equals).map(|(index, _)| index)
}

/// Image score of mode `line`: the highest patch score, 0 without patches.
#[must_use]
pub fn image_score(patch_scores: &[f32]) -> f32 {
    worst_patch(patch_scores).map_or(0.0, |index| patch_scores[index])
}

/// Image score of mode `paper`, as PatchCore and BTF: the highest distance `worst`, weighted
/// by `1 - exp(worst / sqrt(dims)) / sum_i exp(n_i / sqrt(dims))`.
///
/// `neighbor_distances` are the worst patch's distances to the rows nearest to *its* nearest
/// bank row, that row itself excluded: BTF takes the 3 nearest and drops the first, so two
/// distances. Without neighbours (a bank of one row) the distance stands unweighted.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "descriptors have far fewer than 2^24 dimensions")]
pub fn image_score_paper(worst: f32, neighbor_distances: &[f32], dims: usize) -> f32 {
    if neighbor_distances.is_empty() {
        return worst;
    }
    let scale = (dims.max(1) as f32).sqrt();
    // Taken relative to the largest exponent, no exp overflows; the quotient is the same.
    let largest = neighbor_distances.iter().copied().fold(worst, f32::max);
    let exp = |distance: f32| ((distance - largest) / scale).exp();
    let sum: f32 = neighbor_distances.iter().map(|distance| exp(*distance)).sum();
    worst * (1.0 - exp(worst) / sum.max(f32::MIN_POSITIVE))
}

/// Mean and standard deviation of distances and logits over held-out normal patches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointStats {
    /// Mean distance.
    pub distance_mean: f32,
    /// Standard deviation of the distance.
    pub distance_sd: f32,
    /// Mean logit of the normalcy classifier.
    pub logit_mean: f32,
    /// Standard deviation of the logit.
    pub logit_sd: f32,
}

/// The paper's joint patch score: `(d - mu_d) / sigma_d + lambda (l - mu_l) / sigma_l`.
/// With `lambda` 0 the logits are not looked at and may be empty.
///
/// # Panics
/// When `lambda` is not 0 and there is not one logit a distance.
#[must_use]
pub fn joint(distances: &[f32], logits: &[f32], stats: &JointStats, lambda: f32) -> Vec<f32> {
    let mut scores = vec![0.0; distances.len()];
    add_scaled(&mut scores, distances, stats.distance_mean, ratio(1.0, stats.distance_sd));
    if lambda.abs() > 0.0 {
        assert_eq!(logits.len(), distances.len(), "one logit a patch");
        add_scaled(&mut scores, logits, stats.logit_mean, ratio(lambda, stats.logit_sd));
    }
    scores
}

/// Mean and (population) standard deviation, summed in f64; 0 of nothing.
#[expect(clippy::cast_possible_truncation, reason = "the result is of the size of the values")]
fn mean_and_sd(values: &[f32]) -> (f32, f32) {
    let count = u32::try_from(values.len()).map_or(f64::INFINITY, f64::from);
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
    (mean as f32, variance.sqrt() as f32)
}

/// Median, the mean of the middle two when even; 0 of nothing.
#[must_use]
pub fn median(values: &[f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f32::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the expected values are exact in binary")]
mod tests {
    use super::*;

    fn part(branch: Branch, distances: &[f32], weight: f32, spread: f32) -> BranchDistances<'_> {
        BranchDistances { branch, distances, weight, spread }
    }

    #[test]
    fn branches_count_alike_whatever_their_scale() {
        let rgb = [1.0, 2.0, 3.0, 10.0];
        let fpfh: Vec<f32> = rgb.iter().map(|d| d * 250.0 + 7.0).collect();
        let alone = fuse_line(&[part(Branch::Rgb, &rgb, 1.0, 2.0)]);
        let both = fuse_line(&[part(Branch::Rgb, &rgb, 1.0, 2.0), part(Branch::Fpfh, &fpfh, 1.0, 500.0)]);
        for index in 0..4 {
            assert!((both.std[index] - 2.0 * alone.std[index]).abs() < 1e-5);
            assert!((both.sub[index] - 2.0 * alone.sub[index]).abs() < 1e-5);
        }
    }

    #[test]
    fn std_is_the_z_score_and_sub_the_excess_in_fixed_units() {
        let scores = fuse_line(&[part(Branch::Rgb, &[1.0, 2.0, 3.0, 6.0], 2.0, 4.0)]);
        // Mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5, median 2.5.
        assert!((scores.std[3] - 2.0 * 3.0 / 3.5_f32.sqrt()).abs() < 1e-6);
        assert_eq!(scores.sub, [-0.75, -0.25, 0.25, 1.75]);
    }

    #[test]
    fn a_louder_session_moves_std_not_at_all_and_sub_only_in_scale() {
        let quiet = [1.0, 1.5, 2.0, 5.0];
        let shifted = quiet.map(|d| d + 3.0);
        let of = |d: &[f32]| fuse_line(&[part(Branch::Rgb, d, 1.0, 1.0)]);
        assert_eq!(of(&quiet).sub, of(&shifted).sub);
        assert!(of(&quiet).std.iter().zip(of(&shifted).std).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn constant_single_and_no_distances_add_nothing() {
        assert_eq!(fuse_line(&[part(Branch::Rgb, &[3.0; 5], 1.0, 1.0)]).std, [0.0; 5]);
        assert_eq!(fuse_line(&[part(Branch::Rgb, &[3.0], 1.0, 1.0)]).sub, [0.0]);
        assert_eq!(fuse_line(&[part(Branch::Rgb, &[], 1.0, 1.0)]), LineScores::default());
        assert_eq!(fuse_line(&[]), LineScores::default());
        assert_eq!(fuse_line(&[part(Branch::Rgb, &[1.0, 2.0], 1.0, 0.0)]).sub, [0.0; 2]);
    }

    #[test]
    fn shares_are_of_the_excess_and_sum_to_one() {
        let (rgb, fpfh) = ([0.0, 0.0, 0.0, 3.0], [5.0, 5.0, 5.0, 15.0]);
        let parts = [part(Branch::Rgb, &rgb, 1.0, 1.0), part(Branch::Fpfh, &fpfh, 1.0, 10.0)];
        let shares = branch_shares(&parts, 3);
        assert_eq!(shares[0], BranchShare { branch: Branch::Rgb, share: 0.75 });
        assert_eq!(shares[1].share, 0.25);
        let own = [0.0, 0.0, 0.0, 4.0];
        let shares = branch_shares(&[parts[0], parts[1], part(Branch::Rgb, &own, 1.0, 1.0)], 3);
        assert_eq!(
            (shares.len(), shares[0].share, shares[1].share),
            (2, 0.875, 0.125),
            "3 and 4 of 8; 1 of 8"
        );
        assert!(branch_shares(&parts, 0).iter().all(|s| s.share == 0.0));
    }

    #[test]
    fn the_image_score_is_the_worst_patch() {
        assert_eq!(image_score(&[0.5, 2.0, -1.0]), 2.0);
        assert_eq!(image_score(&[-3.0, -2.0]), -2.0);
        assert_eq!(image_score(&[]), 0.0);
        assert_eq!(worst_patch(&[1.0, 4.0, 4.0]), Some(1));
    }

    #[test]
    fn the_paper_score_equals_the_plain_formula_and_never_overflows() {
        let (worst, near, dims) = (12.0_f32, [13.0_f32, 15.5], 1569_u16);
        let d = f32::from(dims).sqrt();
        let plain = (1.0 - (worst / d).exp() / near.iter().map(|n| (n / d).exp()).sum::<f32>()) * worst;
        assert!((image_score_paper(worst, &near, dims.into()) - plain).abs() < 1e-4);
        let huge = image_score_paper(1e6, &[1e6, 1e6], 4);
        assert!((huge - 5e5).abs() < 1.0, "{huge}");
        assert_eq!(image_score_paper(2.0, &[], 4), 2.0);
    }

    #[test]
    fn joint_adds_two_z_scores_and_ignores_the_logits_at_zero() {
        let stats = JointStats { distance_mean: 2.0, distance_sd: 0.5, logit_mean: -1.0, logit_sd: 2.0 };
        assert_eq!(joint(&[3.0, 2.0], &[1.0, -1.0], &stats, 0.5), [2.5, 0.0]);
        assert_eq!(joint(&[3.0, 2.0], &[], &stats, 0.0), [2.0, 0.0]);
    }
}
