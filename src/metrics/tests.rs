//! AUPRO against a plain version that tries every threshold, and closed forms.

use super::pool::descending_key;
use super::*;

/// Repeatable whole numbers below `limit`.
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, limit: u32) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from((self.0 >> 8) % limit).expect("the limit is small"))
    }
}

fn square_mask() -> Vec<u8> {
    (0..10_000).map(|i| u8::from(i % 100 < 10 && i / 100 < 10)).collect()
}

fn plain(scores: Vec<f32>, mask: Vec<u8>, width: usize) -> MaskedMap {
    MaskedMap { scores, mask, width, object: None }
}

#[test]
fn a_perfect_map_has_all_the_area_and_a_blind_one_its_share() {
    let mask = square_mask();
    let perfect = mask.iter().map(|m| f32::from(*m)).collect();
    let perfect = aupro(&[plain(perfect, mask.clone(), 100)]).expect("there is a region");
    // All good pixels tie at 0 and every region lies above: the curve is 1 everywhere.
    assert!((perfect - 1.0).abs() < 1e-9, "{perfect}");
    let mut numbers = Numbers(1);
    let maps: Vec<_> = (0..4)
        .map(|_| plain((0..10_000).map(|_| numbers.below(60_000)).collect(), mask.clone(), 100))
        .collect();
    let blind = aupro(&maps).expect("there is a region");
    assert!((blind - 0.15).abs() < 0.03, "a random map has 0.150, found {blind}");
}

#[test]
fn maps_without_regions_or_good_pixels_have_no_figure() {
    assert_eq!(aupro(&[plain(vec![1.0; 4], vec![0; 4], 2)]), None);
    assert_eq!(aupro(&[plain(vec![1.0; 4], vec![9; 4], 2)]), None);
    assert_eq!(aupro(&[]), None);
    let mut pool = PixelPool::default();
    pool.add(&MaskedMap { object: Some(vec![false; 4]), ..plain(vec![1.0; 4], vec![0, 0, 0, 1], 2) });
    assert!(pool.rank(Domain::Object, 0.3).is_none() && pool.auroc(Domain::Object).is_none());
    assert!(pool.rank(Domain::Image, 0.3).is_some());
}

#[test]
fn touching_corners_are_one_region_and_each_region_counts_alike() {
    // The region of two corners lies above all good pixels, the single pixel below them.
    let mask = vec![1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1];
    let scores = vec![9.0, 1.0, 1.0, 1.0, 8.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0];
    let mut pool = PixelPool::default();
    pool.add(&plain(scores, mask, 3));
    assert_eq!(pool.region_count(), 2);
    let exact = pool.rank(Domain::Image, 0.3).expect("there are regions").exact();
    // At a false positive rate of 0 the overlap is 1/2, and stays until the good pixels' plateau ends.
    assert!((exact - 0.5).abs() < 1e-12, "{exact}");
}

#[test]
fn keys_order_scores_from_high_to_low() {
    let scores = [f32::INFINITY, 3.0, 1e-30, 0.0, -1e-30, -2.5, f32::NEG_INFINITY];
    assert!(scores.windows(2).all(|pair| descending_key(pair[0]) < descending_key(pair[1])));
    assert_eq!(descending_key(0.0), descending_key(-0.0));
}

/// Regions by repeated flooding, as lists of pixels.
fn slow_regions(map: &MaskedMap) -> Vec<Vec<usize>> {
    let mut label: Vec<usize> = (0..map.mask.len()).collect();
    let near = |a: usize, b: usize| {
        let of = |p: usize| (p / map.width, p % map.width);
        of(a).0.abs_diff(of(b).0) <= 1 && of(a).1.abs_diff(of(b).1) <= 1
    };
    let members: Vec<usize> = (0..map.mask.len()).filter(|p| map.mask[*p] > 0).collect();
    for _ in 0..members.len() {
        for &a in &members {
            for &b in members.iter().filter(|b| near(a, **b)) {
                label[a] = label[a].min(label[b]);
            }
        }
    }
    let of_label = |l: usize| members.iter().copied().filter(|p| label[*p] == l).collect::<Vec<_>>();
    (0..map.mask.len()).map(of_label).filter(|r| !r.is_empty()).collect()
}

/// Scores of the good pixels of the domain, and of each region.
fn slow_scores(maps: &[MaskedMap], domain: Domain) -> (Vec<f32>, Vec<Vec<f32>>) {
    let (mut ok, mut regions) = (Vec::new(), Vec::new());
    for map in maps {
        let on_object = |p: usize| map.object.as_ref().is_none_or(|o| o[p]);
        let counts = |p: &usize| map.mask[*p] == 0 && (domain == Domain::Image || on_object(*p));
        ok.extend((0..map.mask.len()).filter(counts).map(|p| map.scores[p]));
        let scores = |region: &Vec<usize>| region.iter().map(|p| map.scores[*p]).collect();
        regions.extend(slow_regions(map).iter().map(scores));
    }
    (ok, regions)
}

fn share(scores: &[f32], above: impl Fn(f32) -> bool) -> f64 {
    as_f64(scores.iter().filter(|s| above(**s)).count()) / as_f64(scores.len())
}

fn mean_share(regions: &[Vec<f32>], above: impl Fn(f32) -> bool) -> f64 {
    regions.iter().map(|r| share(r, &above)).sum::<f64>() / as_f64(regions.len())
}

fn slow_area(curve: &[(f64, f64)], limit: f64) -> f64 {
    let mut area = 0.0;
    for pair in curve.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        if x1 > x0 && x0 < limit {
            let end = x1.min(limit);
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2.0;
        }
    }
    area / limit
}

fn slow_exact(maps: &[MaskedMap], domain: Domain, limit: f64) -> f64 {
    let (ok, regions) = slow_scores(maps, domain);
    let mut thresholds: Vec<f32> = maps.iter().flat_map(|m| m.scores.clone()).collect();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    let at = |t: &f32| (share(&ok, |s| s >= *t), mean_share(&regions, |s| s >= *t));
    let curve: Vec<_> = std::iter::once((0.0, 0.0)).chain(thresholds.iter().map(at)).collect();
    slow_area(&curve, limit)
}

fn slow_published(maps: &[MaskedMap], domain: Domain, limit: f64) -> f64 {
    let (mut ok, regions) = slow_scores(maps, domain);
    ok.sort_by(f32::total_cmp);
    let at = |step: usize| {
        let rank = step * (ok.len() - 1) / 99;
        (1.0 - as_f64(rank + 1) / as_f64(ok.len()), mean_share(&regions, |s| s > ok[rank]))
    };
    slow_area(&(0..100).rev().map(at).collect::<Vec<_>>(), limit)
}

/// Small maps with blobs, plateaus and an object mask; `levels` distinct scores.
fn made_up(seed: u32, levels: u32) -> Vec<MaskedMap> {
    let mut numbers = Numbers(seed);
    let mut map = |width: usize, height: usize| {
        let count = width * height;
        let mask: Vec<u8> = (0..count).map(|_| u8::from(numbers.below(9) < 1.0)).collect();
        let object: Vec<bool> = (0..count).map(|p| p % width > 3 || mask[p] > 0).collect();
        let score = |p: usize| {
            let raised = if mask[p] > 0 { numbers.below(levels) } else { 0.0 };
            numbers.below(levels).max(raised) - 3.0
        };
        let mut scores: Vec<f32> = (0..count).map(score).collect();
        scores.iter_mut().zip(&object).filter(|(_, o)| !**o).for_each(|(s, _)| *s = 0.0);
        MaskedMap { scores, mask, width, object: Some(object) }
    };
    vec![map(11, 9), map(8, 14)]
}

#[test]
fn both_rules_equal_the_slow_versions_in_both_domains() {
    for (seed, levels) in [(1, 3), (2, 7), (3, 50), (4, 5000)] {
        let maps = made_up(seed, levels);
        let mut pool = PixelPool::default();
        for map in &maps {
            let mut one = PixelPool::default();
            one.add(map);
            pool.append(one);
        }
        for domain in [Domain::Image, Domain::Object] {
            for limit in [0.01, 0.3, 0.77, 1.0] {
                let ranked = pool.rank(domain, limit).expect("there are regions");
                let found = [ranked.exact(), ranked.published()];
                let expected = [slow_exact(&maps, domain, limit), slow_published(&maps, domain, limit)];
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-9,
                        "levels {levels}, {domain:?}, limit {limit}: found {found}, expected {expected}"
                    );
                }
            }
            check_tally(&maps, domain, levels);
            let (ok, regions) = slow_scores(&maps, domain);
            let expected = auroc(&ok, &regions.concat()).expect("there are both");
            let found = pool.auroc(domain).expect("there are both");
            assert!((found - expected).abs() < 1e-12, "found {found}, expected {expected}");
        }
    }
}

/// The figures of counted maps are those of the slow versions.
fn check_tally(maps: &[MaskedMap], domain: Domain, levels: u32) {
    let tally = tallied(maps).expect("there are regions");
    for limit in [0.01, 0.3, 0.77, 1.0] {
        let found = [tally.exact(domain, limit), tally.published(domain, limit)];
        let expected = [slow_exact(maps, domain, limit), slow_published(maps, domain, limit)];
        for (found, expected) in found.into_iter().zip(expected) {
            let found = found.expect("there are good pixels");
            assert!(
                (found - expected).abs() < 1e-9,
                "counted, levels {levels}, {domain:?}, limit {limit}: found {found}, expected {expected}"
            );
        }
    }
    let curve = tally.curve(domain, 1.0, 2000).expect("there are good pixels");
    let points: Vec<(f64, f64)> = curve.iter().map(|[x, y]| (*x, *y)).collect();
    assert!(
        points.is_sorted() && points.last().is_some_and(|(x, y)| (x - 1.0).abs() + (y - 1.0).abs() < 1e-9)
    );
    let (found, expected) = (slow_area(&points, 1.0), slow_exact(maps, domain, 1.0));
    // Between the points that were asked for the curve may jump.
    assert!((found - expected).abs() < 2e-3, "area below the points {found}, expected {expected}");
    let (ok, regions) = slow_scores(maps, domain);
    assert_eq!(tally.ok_count(domain), ok.len());
    let (found, expected) = (tally.auroc(domain), auroc(&ok, &regions.concat()));
    assert!((found.expect("both") - expected.expect("both")).abs() < 1e-12);
}

/// The maps, seen twice.
fn tallied(maps: &[MaskedMap]) -> Option<Counted> {
    let mut defects = DefectPixels::default();
    for map in maps {
        let defective: Vec<bool> = map.mask.iter().map(|m| *m > 0).collect();
        defects.add(&map.scores, &defective, map.width);
    }
    let mut tally = defects.into_tally()?;
    maps.iter().for_each(|map| tally.add_map(map));
    Some(tally.finish())
}

#[test]
fn counted_maps_without_regions_or_good_pixels_have_no_figure() {
    assert!(tallied(&[plain(vec![1.0; 4], vec![0; 4], 2)]).is_none());
    let all_defective = tallied(&[plain(vec![1.0; 4], vec![9; 4], 2)]).expect("a region");
    assert_eq!(all_defective.exact(Domain::Image, 0.3), None);
    assert_eq!(all_defective.published(Domain::Image, 0.3), None);
    assert_eq!(all_defective.auroc(Domain::Image), None);
}

#[test]
fn regions_of_counted_maps_touch_by_corners_and_never_span_two_maps() {
    let map = plain((0..12_u8).map(f32::from).collect(), vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1], 3);
    let mut defects = DefectPixels::default();
    for _ in 0..2 {
        let defective: Vec<bool> = map.mask.iter().map(|m| *m > 0).collect();
        defects.add(&map.scores, &defective, map.width);
    }
    assert_eq!((defects.region_count(), defects.pixel_count()), (2, 6));
}

#[test]
fn the_overlap_curve_is_the_slow_ones_and_few_points_long() {
    for (seed, levels) in [(5, 4), (6, 5000)] {
        let maps = made_up(seed, levels);
        let mut pool = PixelPool::default();
        maps.iter().for_each(|map| pool.add(map));
        let (ok, regions) = slow_scores(&maps, Domain::Object);
        let ranked = pool.rank(Domain::Object, 0.3).expect("there are regions");
        let curve = ranked.curve(58);
        assert!(curve.len() <= 60 && curve.windows(2).all(|p| p[0][0] <= p[1][0] && p[0][1] <= p[1][1]));
        let corners: Vec<[f64; 2]> = (maps.iter().flat_map(|m| &m.scores))
            .map(|t| [share(&ok, |s| s >= *t), mean_share(&regions, |s| s >= *t)])
            .collect();
        let on_curve =
            |p: &[f64; 2]| corners.iter().any(|c| (c[0] - p[0]).abs() < 1e-12 && (c[1] - p[1]).abs() < 1e-9);
        let inner = &curve[1..curve.len() - 1];
        assert!(inner.iter().all(on_curve), "{curve:?}");
        assert!((curve[curve.len() - 1][0] - 0.3).abs() < 1e-12);
        let points: Vec<(f64, f64)> = curve.iter().map(|p| (p[0], p[1])).collect();
        assert!((slow_area(&points, 0.3) - ranked.exact()).abs() < 0.02);
    }
}

#[test]
fn a_bare_object_mask_scores_over_all_pixels_but_not_on_the_object() {
    // The object covers 1/4 of the picture, the defect a hundredth of it.
    let object: Vec<bool> = (0..10_000).map(|i| i % 100 < 50 && i / 100 < 50).collect();
    let (mut numbers, mut pool) = (Numbers(9), PixelPool::default());
    for _ in 0..16 {
        let scores = object.iter().map(|o| if *o { 1.0 + numbers.below(50_000) } else { 0.0 }).collect();
        pool.add(&MaskedMap { scores, mask: square_mask(), width: 100, object: Some(object.clone()) });
    }
    let of = |domain| pool.rank(domain, 0.3).expect("there is a region").exact();
    // 2400 of the 9900 good pixels are the object's.
    let expected = 1.0 - 2400.0 / 9900.0 / 0.6;
    assert!((of(Domain::Image) - expected).abs() < 0.03, "{} for {expected}", of(Domain::Image));
    assert!((of(Domain::Object) - 0.15).abs() < 0.03, "{}", of(Domain::Object));
}

#[test]
fn the_peak_is_the_first_of_the_highest() {
    let map = |scores: [f32; 4], mask: [u8; 4]| plain(scores.to_vec(), mask.to_vec(), 2);
    assert_eq!(peak_on_defect(&map([0.0, 3.0, 1.0, 3.0], [0, 255, 0, 0])), Some(true));
    assert_eq!(peak_on_defect(&map([0.0, 3.0, 1.0, 3.0], [0, 0, 0, 255])), Some(false));
    assert_eq!(peak_on_defect(&map([-2.0, -3.0, -1.0, -3.0], [0, 0, 254, 0])), Some(true));
    assert_eq!(peak_on_defect(&map([0.0; 4], [0; 4])), None);
}
