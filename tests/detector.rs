//! The detector against plain implementations of its modes: FPFH alone, so that nothing but
//! the library is needed. Mode `paper` with lambda 0, raw fusion, unoriented normals and zeros
//! averaged in is BTF's scoring (METHOD section 7).

use ndarray::{Array2, Axis, concatenate};
use zal::bank::{Block, MemoryBank, RowOrigin};
use zal::calibration::Calibration;
use zal::detector::params::{BranchWeight, NormalcyTerm, RepetitionTerm, Scoring};
use zal::detector::{Comparison, Detector, Evaluation, Mode, ModeParams};
use zal::features::describe::{Describer, Graphs};
use zal::features::fpfh::{MissingRule, Orientation, describe_points, pool_patches};
use zal::features::{Branch, PatchFeatures, PatchGrid};
use zal::preprocess::prepare;
use zal::scan::Scan;
use zal::score::{JointStats, own_distances};
use zal::synth::{Defect, Family, SynthParams, generate};

const STATS: JointStats = JointStats { distance_mean: 0.0, distance_sd: 1.0, logit_mean: 0.0, logit_sd: 1.0 };

/// The mode with FPFH alone; `paper` as BTF has it.
fn params(mode: Mode) -> ModeParams {
    let mut params = ModeParams::of(mode);
    params.describe.branches = vec![Branch::Fpfh];
    params.scoring = match mode {
        Mode::Line => {
            let branches = vec![BranchWeight { branch: Branch::Fpfh, weight: 1.0, spread: 2.0 }];
            Scoring::Late { branches, normalcy: None, repetition: None }
        }
        Mode::Paper => {
            params.describe.fpfh.orientation = Orientation::None;
            params.describe.fpfh_missing = MissingRule::Zeros;
            Scoring::Joint { block_scales: vec![1.0], lambda: 0.0, stats: STATS }
        }
    };
    params
}

fn scan(family: Family, seed: u64, defect: Option<Defect>) -> Scan {
    generate(&SynthParams { defect, height: 300, width: 300, ..SynthParams::new(family, seed) }).scan
}

/// Rows and grid of one scan, by the same stages that the detector runs.
fn described(scan: &Scan, params: &ModeParams) -> (Array2<f32>, PatchGrid) {
    let prepared = prepare(scan, &params.preprocess).expect("a part is there");
    let grid = PatchGrid::of(&prepared.cloud);
    let points = describe_points(&prepared.cloud, &params.describe.fpfh);
    let rows = pool_patches(&prepared.cloud, &grid, &points, params.describe.fpfh_missing).rows;
    (rows, grid)
}

fn bank(params: &ModeParams) -> MemoryBank {
    let (mut parts, mut origins, mut scans) = (Vec::new(), Vec::new(), Vec::new());
    for (index, seed) in (0_u32..).zip([3, 4]) {
        let (rows, grid) = described(&scan(Family::Ball, seed, None), params);
        origins.extend(grid.patches().iter().map(|patch| RowOrigin { scan: index, patch: *patch }));
        parts.push(rows);
        scans.push(format!("ball {seed}"));
    }
    let views: Vec<_> = parts.iter().map(|rows: &Array2<f32>| rows.view()).collect();
    let rows = concatenate(Axis(0), &views).expect("all rows have 33 columns");
    let blocks = vec![Block { branch: Branch::Fpfh, dims: 33, mean_norm: 1.0 }];
    MemoryBank::new(blocks, rows, origins, scans).expect("the bank is sound")
}

fn detector(mode: Mode) -> Detector {
    let params = params(mode);
    let describer = Describer::new(params.describe.clone(), Graphs::default()).expect("FPFH needs no graph");
    let bank = bank(&params);
    Detector::new(mode, params, describer, bank).expect("everything fits")
}

/// Distances of one row to all others in f64.
fn distances(row: &[f32], rows: &Array2<f32>) -> Vec<f64> {
    let to = |other: ndarray::ArrayView1<'_, f32>| {
        row.iter().zip(other).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
    };
    rows.rows().into_iter().map(to).collect()
}

fn nearest(distances: &[f64]) -> (usize, f64) {
    let best = (0..distances.len()).min_by(|a, b| distances[*a].total_cmp(&distances[*b]));
    best.map(|index| (index, distances[index])).expect("there are rows")
}

#[test]
fn paper_mode_with_btfs_settings_scores_as_btf() {
    let params = params(Mode::Paper);
    let bank = bank(&params);
    let library =
        Array2::from_shape_vec(bank.rows.dim(), bank.rows.iter().copied().collect()).expect("its shape");
    for seed in [10, 11] {
        let part = scan(Family::Tuber, seed, Some(Defect::Hole));
        let (rows, _) = described(&part, &params);
        let per_patch: Vec<(usize, f64)> = rows
            .rows()
            .into_iter()
            .map(|r| nearest(&distances(r.to_slice().expect("rows"), &library)))
            .collect();
        let (worst, (row, distance)) = (0..per_patch.len())
            .map(|patch| (patch, per_patch[patch]))
            .max_by(|a, b| a.1.1.total_cmp(&b.1.1))
            .expect("there are patches");
        // BTF: the 3 rows nearest to the nearest row, that row itself dropped.
        let around = distances(library.row(row).as_slice().expect("rows"), &library);
        let mut order: Vec<usize> = (0..around.len()).collect();
        order.sort_by(|a, b| around[*a].total_cmp(&around[*b]));
        let from_worst = distances(rows.row(worst).as_slice().expect("rows"), &library);
        let scale = 33_f64.sqrt();
        let sum: f64 = order[1..3].iter().map(|i| (from_worst[*i] / scale).exp()).sum();
        let expected = distance * (1.0 - (distance / scale).exp() / sum);
        let found = f64::from(detector(Mode::Paper).detect(&part).score.expect("it has a score"));
        assert!(
            (found - expected).abs() < 1e-3 * expected.abs().max(1.0),
            "found {found}, expected {expected}"
        );
    }
}

#[test]
fn line_mode_scores_the_highest_distance_above_the_median() {
    let params = params(Mode::Line);
    let bank = bank(&params);
    let library =
        Array2::from_shape_vec(bank.rows.dim(), bank.rows.iter().copied().collect()).expect("its shape");
    let part = scan(Family::Tuber, 12, Some(Defect::Bump));
    let (rows, grid) = described(&part, &params);
    let mut list: Vec<f64> = rows
        .rows()
        .into_iter()
        .map(|r| nearest(&distances(r.to_slice().expect("rows"), &library)).1)
        .collect();
    let detection = detector(Mode::Line).detect(&part);
    list.sort_by(f64::total_cmp);
    let middle = list.len() / 2;
    let median =
        if list.len() % 2 == 1 { list[middle] } else { f64::midpoint(list[middle - 1], list[middle]) };
    let expected = (list[list.len() - 1] - median) / 2.0;
    let found = f64::from(detection.score.expect("it has a score"));
    assert!((found - expected).abs() < 1e-3 * expected.max(1.0), "found {found}, expected {expected}");
    let map = detection.map.expect("it has a map");
    let scored = map.values.iter().filter(|v| **v > 0.0).count();
    assert!(scored >= grid.count() * 16, "{scored} pixels have a score");
    assert_eq!(detection.evaluation, Evaluation::Undefined, "nobody set a threshold");
}

/// Every map score moved by `weight` times the z-score of its value.
fn the_term_is_added(with: &[f32], without: &[f32], weight: f64, values: &[f32]) {
    let count = f64::from(u32::try_from(values.len()).expect("small"));
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let sd = (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt();
    assert_eq!((with.len(), without.len()), (values.len(), values.len()));
    for ((with, without), value) in with.iter().zip(without).zip(values) {
        let expected = f64::from(*without) + weight * (f64::from(*value) - mean) / sd;
        assert!((f64::from(*with) - expected).abs() < 1e-3, "found {with}, expected {expected}");
    }
}

#[test]
fn a_normalcy_term_of_mode_line_adds_the_logits_in_its_own_spread() {
    let mut params = params(Mode::Line);
    let (rows, grid) = described(&scan(Family::Tuber, 12, None), &params);
    let features = [PatchFeatures { branch: Branch::Fpfh, rows }];
    let logits: Vec<f32> =
        (0..grid.count()).map(|i| f32::from(u16::try_from(i * 7919 % 101).expect("small"))).collect();
    let mut compared = |weight: f32, logits: Option<&[f32]>| {
        let Scoring::Late { normalcy, .. } = &mut params.scoring else { panic!("mode line is late") };
        *normalcy = Some(NormalcyTerm { weight, spread: 4.0 });
        let comparison = Comparison::new(&params, bank(&params)).expect("everything fits");
        assert_eq!(comparison.needs_logits(), weight > 0.0);
        comparison.compare(grid.patches(), &features, logits).expect("the descriptors fit")
    };
    let (without, with) = (compared(0.0, None), compared(2.0, Some(&logits)));
    the_term_is_added(&with.map_scores, &without.map_scores, 2.0, &logits);
    assert!(with.image_score > without.image_score, "the highest logits stand far above their median");
}

#[test]
fn a_repetition_term_of_mode_line_adds_the_distances_within_the_scan() {
    let mut params = params(Mode::Line);
    let (rows, grid) = described(&scan(Family::Gland, 14, Some(Defect::Dent)), &params);
    let own = own_distances(rows.view(), grid.patches(), 2, 3);
    let features = [PatchFeatures { branch: Branch::Fpfh, rows }];
    let mut compared = |term: Option<RepetitionTerm>| {
        let Scoring::Late { repetition, .. } = &mut params.scoring else { panic!("mode line is late") };
        *repetition = term;
        let comparison = Comparison::new(&params, bank(&params)).expect("everything fits");
        comparison.compare(grid.patches(), &features, None).expect("the descriptors fit")
    };
    let term = |weight: f32| RepetitionTerm { weight, rank: 2, margin: 3, spreads: vec![4.0] };
    let (without, with) = (compared(None), compared(Some(term(1.5))));
    assert_eq!(compared(Some(term(0.0))), without);
    the_term_is_added(&with.map_scores, &without.map_scores, 1.5, &own);
    let unfit = RepetitionTerm { spreads: Vec::new(), ..term(1.0) };
    let Scoring::Late { repetition, .. } = &mut params.scoring else { panic!("mode line is late") };
    *repetition = Some(unfit);
    let refused = Comparison::new(&params, bank(&params)).err().expect("one spread a branch").to_string();
    assert!(refused.contains("spreads of the repetition"), "{refused}");
}

#[test]
fn the_same_scan_gives_the_same_detection() {
    let part = scan(Family::Tuber, 13, None);
    let first = detector(Mode::Line).detect(&part);
    assert_eq!(first, detector(Mode::Line).detect(&part));
    assert!(first.timing.stages_ms.iter().all(|(_, ms)| ms.abs() < f32::EPSILON), "no clock was lent");
}

#[test]
fn a_calibration_turns_scores_into_verdicts() {
    let mut detector = detector(Mode::Line);
    let scores: Vec<f32> = (20..32)
        .map(|seed| detector.detect(&scan(Family::Tuber, seed, None)).score.expect("it has a score"))
        .collect();
    let calibration = Calibration::new(scores.clone(), 0.05).expect("scores are finite");
    detector.set_calibration(Some(calibration));
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    for seed in 40..46 {
        let detection = detector.detect(&scan(Family::Tuber, seed, Some(Defect::Hole)));
        let score = detection.score.expect("it has a score");
        let expected = if score > highest { Evaluation::NotOk } else { Evaluation::Ok };
        assert_eq!(detection.evaluation, expected);
        assert_eq!(detection.threshold, Some(highest));
        assert!(detection.p_value.is_some_and(|p| p >= 1.0 / 13.0 - 1e-6));
    }
}

#[test]
fn what_cannot_be_judged_says_why() {
    let mut detector = detector(Mode::Line);
    let mut bare = scan(Family::Disc, 1, None);
    let keep = vec![false; bare.cloud.points().len()];
    bare.cloud = bare.cloud.masked(&keep);
    let detection = detector.detect(&bare);
    assert_eq!(detection.evaluation, Evaluation::NotDecidable);
    assert_eq!(detection.reasons[0].code, "no_object");
    assert!(detection.score.is_none() && detection.map.is_none());
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let params = params(Mode::Line);
    let mut describe = params.describe.clone();
    describe.branches = vec![Branch::Rgb];
    assert!(Describer::new(describe, Graphs::default()).is_err(), "rgb needs a graph");
    let mut other = params.clone();
    other.describe.branches = vec![Branch::Point];
    let describer = Describer::new(params.describe.clone(), Graphs::default()).expect("FPFH needs no graph");
    assert!(
        Detector::new(Mode::Line, other, describer, bank(&params)).is_err(),
        "the bank has another block"
    );
}
