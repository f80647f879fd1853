//! Figures of the demo against its ground truth: image AUROC (exact) and AUPRO by the published
//! rule (METHOD section 8). `zal-export eval` has the full evaluation; this is the small one
//! that a single closing line needs.

/// Thresholds of the published rule.
const THRESHOLD_COUNT: usize = 100;
/// Integration limit of the published rule.
const FPR_LIMIT: f64 = 0.3;

/// Area under the ROC curve, ties counted half. None without both good and defective parts.
pub fn auroc(good: &[f32], defective: &[f32]) -> Option<f64> {
    if good.is_empty() || defective.is_empty() {
        return None;
    }
    let wins: f64 = defective
        .iter()
        .flat_map(|d| good.iter().map(move |g| (d, g)))
        .map(|(d, g)| {
            if d > g {
                1.0
            } else if d < g {
                0.0
            } else {
                0.5
            }
        })
        .sum();
    Some(wins / (as_f64(good.len()) * as_f64(defective.len())))
}

/// A map and its ground truth, both row-major `[height * width]`.
#[derive(Debug, Clone)]
pub struct MaskedMap {
    /// Scores.
    pub scores: Vec<f32>,
    /// 0 = good.
    pub mask: Vec<u8>,
    /// Columns.
    pub width: usize,
}

/// Area under the per-region overlap curve up to a false positive rate of 0.3, divided by 0.3:
/// 100 thresholds at equidistant ranks of the scores of good pixels, 8-connected regions pooled
/// over all maps. None without a good pixel or a region.
pub fn aupro(maps: &[MaskedMap]) -> Option<f64> {
    let mut good: Vec<f32> = maps
        .iter()
        .flat_map(|m| m.scores.iter().zip(&m.mask).filter(|(_, mask)| **mask == 0).map(|(s, _)| *s))
        .collect();
    let regions: Vec<Vec<f32>> = maps.iter().flat_map(region_scores).collect();
    if good.is_empty() || regions.is_empty() {
        return None;
    }
    good.sort_by(f32::total_cmp);
    // From the highest threshold down: the false positive rate is that of the rank, so that a
    // plateau of equal scores counts as if its pixels came one after the other.
    let curve: Vec<(f64, f64)> = (0..THRESHOLD_COUNT)
        .rev()
        .map(|i| {
            let rank = i * (good.len() - 1) / (THRESHOLD_COUNT - 1);
            let fpr = 1.0 - as_f64(rank + 1) / as_f64(good.len());
            (fpr, mean_overlap(&regions, good[rank]))
        })
        .collect();
    Some(area_up_to_limit(&curve) / FPR_LIMIT)
}

/// Share of ascending scores that are above a threshold.
fn share_above(ascending: &[f32], threshold: f32) -> f64 {
    let below = ascending.partition_point(|s| *s <= threshold);
    as_f64(ascending.len() - below) / as_f64(ascending.len())
}

/// Mean over the regions of the share of each that is above a threshold.
fn mean_overlap(regions: &[Vec<f32>], threshold: f32) -> f64 {
    let sum: f64 = regions.iter().map(|ascending| share_above(ascending, threshold)).sum();
    sum / as_f64(regions.len())
}

/// Trapezoids up to the limit, the last one cut at it.
fn area_up_to_limit(curve: &[(f64, f64)]) -> f64 {
    let mut area = 0.0;
    for pair in curve.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        if x0 >= FPR_LIMIT || x1 <= x0 {
            continue;
        }
        let end = x1.min(FPR_LIMIT);
        let y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0);
        area += (end - x0) * (y0 + y_end) / 2.0;
    }
    area
}

/// The scores of each 8-connected region of the mask, ascending.
fn region_scores(map: &MaskedMap) -> Vec<Vec<f32>> {
    let mut open = map.mask.iter().map(|m| *m > 0).collect::<Vec<_>>();
    let mut regions = Vec::new();
    for start in 0..open.len() {
        if !std::mem::take(&mut open[start]) {
            continue;
        }
        let (mut scores, mut stack) = (Vec::new(), vec![start]);
        while let Some(pixel) = stack.pop() {
            scores.push(map.scores[pixel]);
            for neighbour in neighbours(pixel, map.width, open.len()) {
                if std::mem::take(&mut open[neighbour]) {
                    stack.push(neighbour);
                }
            }
        }
        scores.sort_by(f32::total_cmp);
        regions.push(scores);
    }
    regions
}

/// The up to eight pixels around one.
fn neighbours(pixel: usize, width: usize, count: usize) -> impl Iterator<Item = usize> {
    let (row, column) = (pixel / width, pixel % width);
    let rows = row.saturating_sub(1)..=(row + 1).min(count / width - 1);
    let columns = column.saturating_sub(1)..=(column + 1).min(width - 1);
    rows.flat_map(move |r| columns.clone().map(move |c| r * width + c)).filter(move |p| *p != pixel)
}

#[expect(clippy::cast_precision_loss, reason = "counts of pixels are far below 2^52")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auroc_counts_pairs() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
        assert_eq!(auroc(&[1.0, 2.0], &[2.0]), Some(0.75));
        assert_eq!(auroc(&[], &[2.0]), None);
    }

    #[test]
    fn touching_corners_are_one_region() {
        let mask = vec![1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1];
        let map = MaskedMap { scores: (0..12_u8).map(f32::from).collect(), mask, width: 3 };
        assert_eq!(region_scores(&map), [vec![0.0, 4.0], vec![11.0]]);
    }

    #[test]
    fn a_perfect_map_has_all_the_area_and_a_blind_one_its_share() {
        let mask: Vec<u8> = (0..10_000).map(|i| u8::from(i % 100 < 10 && i / 100 < 10)).collect();
        let perfect = mask.iter().map(|m| f32::from(*m)).collect();
        let perfect = aupro(&[MaskedMap { scores: perfect, mask: mask.clone(), width: 100 }]).unwrap();
        // All good pixels tie at 0 and every region lies above: the curve is 1 everywhere.
        assert!((perfect - 1.0).abs() < 1e-9, "{perfect}");
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(state >> 16).unwrap())
        };
        let maps: Vec<_> = (0..4)
            .map(|_| MaskedMap {
                scores: (0..10_000).map(|_| noise()).collect(),
                mask: mask.clone(),
                width: 100,
            })
            .collect();
        let blind = aupro(&maps).unwrap();
        assert!((blind - 0.15).abs() < 0.03, "a random map has 0.150, found {blind}");
    }

    #[test]
    fn maps_without_regions_have_no_figure() {
        assert_eq!(aupro(&[MaskedMap { scores: vec![1.0; 4], mask: vec![0; 4], width: 2 }]), None);
    }
}
