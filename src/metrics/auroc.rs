//! Area under the ROC curve of image scores, and how far it may be from the truth.

use super::as_f64;
use super::bootstrap::{Bootstrap, Draws};

/// Area under the ROC curve: the share of pairs in which the defective part scores higher, ties
/// counted half. None without both good and defective parts.
#[must_use]
pub fn auroc(good: &[f32], defective: &[f32]) -> Option<f64> {
    let ranks = Ranks::of(good, defective)?;
    let counts = |ranks_of: &[usize]| counted(ranks_of.iter().copied(), ranks.count);
    share_of_wins(&counts(&ranks.good), &counts(&ranks.defective))
}

/// Percentile interval of [`auroc`]: good and defective parts are resampled each among themselves.
/// None without both.
#[must_use]
pub fn auroc_interval(good: &[f32], defective: &[f32], settings: &Bootstrap) -> Option<[f64; 2]> {
    let ranks = Ranks::of(good, defective)?;
    let resampled = |of: &[usize], draws: &mut Draws| {
        let picks: Vec<usize> = of.iter().map(|_| of[draws.index(of.len())]).collect();
        counted(picks.into_iter(), ranks.count)
    };
    settings.interval(|draws| {
        let good = resampled(&ranks.good, draws);
        share_of_wins(&good, &resampled(&ranks.defective, draws))
    })
}

/// Place of every score among the distinct scores, ascending.
struct Ranks {
    good: Vec<usize>,
    defective: Vec<usize>,
    count: usize,
}

impl Ranks {
    fn of(good: &[f32], defective: &[f32]) -> Option<Self> {
        if good.is_empty() || defective.is_empty() {
            return None;
        }
        // Adding 0 makes -0 a plain 0, which the total order would set apart.
        let mut distinct: Vec<f32> = good.iter().chain(defective).map(|s| s + 0.0).collect();
        distinct.sort_by(f32::total_cmp);
        distinct.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let rank = |score: &f32| distinct.partition_point(|d| d.total_cmp(&(score + 0.0)).is_lt());
        let ranks = |scores: &[f32]| scores.iter().map(rank).collect();
        Some(Self { good: ranks(good), defective: ranks(defective), count: distinct.len() })
    }
}

/// How many scores have each rank.
fn counted(ranks: impl Iterator<Item = usize>, count: usize) -> Vec<usize> {
    let mut counts = vec![0; count];
    ranks.for_each(|rank| counts[rank] += 1);
    counts
}

/// Share of the pairs that the defective parts win, given how many of each have each rank.
fn share_of_wins(good: &[usize], defective: &[usize]) -> Option<f64> {
    let (mut below, mut wins) = (0.0, 0.0);
    for (good, defective) in good.iter().zip(defective) {
        wins += as_f64(*defective) * (below + 0.5 * as_f64(*good));
        below += as_f64(*good);
    }
    let pairs = below * as_f64(defective.iter().sum());
    (pairs > 0.0).then(|| wins / pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auroc_counts_pairs() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
        assert_eq!(auroc(&[1.0, 2.0], &[2.0]), Some(0.75));
        assert_eq!(auroc(&[0.0, -0.0], &[-0.0, 0.0]), Some(0.5));
        assert_eq!(auroc(&[], &[2.0]), None);
        assert_eq!(auroc(&[2.0], &[]), None);
    }

    #[test]
    fn auroc_equals_the_pairs_counted_one_by_one() {
        let scores = |n: u16, step: u16| (0..n).map(move |i| f32::from(i * step % 23) / 4.0 - 2.0);
        let (good, defective) = (scores(37, 7).collect::<Vec<_>>(), scores(29, 11).collect::<Vec<_>>());
        let mut wins = 0.0;
        for d in &defective {
            for g in &good {
                wins += if d > g {
                    1.0
                } else if d < g {
                    0.0
                } else {
                    0.5
                };
            }
        }
        let found = auroc(&good, &defective).expect("there are both");
        assert!((found - wins / (37.0 * 29.0)).abs() < 1e-12);
    }

    #[test]
    fn the_interval_holds_the_figure_and_narrows_with_the_parts() {
        let scores = |n: u16, shift: f32| -> Vec<f32> {
            (0..n).map(|i| f32::from(i * 37 % 101) / 101.0 + shift).collect()
        };
        let width = |n: u16| {
            let (good, defective) = (scores(n, 0.0), scores(n, 0.3));
            let [low, high] =
                auroc_interval(&good, &defective, &Bootstrap::default()).expect("there are both");
            let figure = auroc(&good, &defective).expect("there are both");
            assert!(low < figure && figure < high, "{low} {figure} {high}");
            high - low
        };
        assert!(width(100) < 0.6 * width(20), "{} {}", width(100), width(20));
    }

    #[test]
    fn scores_that_never_overlap_leave_no_doubt() {
        let interval = auroc_interval(&[1.0, 2.0], &[3.0, 4.0], &Bootstrap::default());
        assert_eq!(interval, Some([1.0, 1.0]));
        assert_eq!(auroc_interval(&[], &[1.0], &Bootstrap::default()), None);
    }
}
