//! A set over made-up descriptors: one branch of four numbers, so that every distance is plain to see.

use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::detector::Evaluation;
use crate::detector::params::{BranchWeight, Mode, Scoring};
use crate::features::{Branch, PatchFeatures};

const PATCHES: u16 = 60;

fn params() -> ModeParams {
    let mut params = ModeParams::of(Mode::Line);
    params.describe.branches = vec![Branch::Fpfh];
    let branches = vec![BranchWeight { branch: Branch::Fpfh, weight: 1.0, spread: 1.0 }];
    params.scoring = Scoring::Late { branches, normalcy: None, repetition: None };
    params
}

fn rules() -> ReferenceRules {
    ReferenceRules { buffer_len: 16, scans_min: 12, anchors_min: 3, ..ReferenceRules::default() }
}

fn set(rules: ReferenceRules) -> References {
    References::new(rules, &params()).expect("mode line")
}

/// A good part: every patch has its own place, and lies near it.
fn part(seed: u64) -> Candidate {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut noise = || f32::from(u16::try_from(rng.next_u32() >> 16).expect("16 bits")) / 65536.0 - 0.5;
    let place = |patch: usize, column: usize| {
        let at = u16::try_from(patch * 4 + column).expect("small");
        10.0 * (f32::from(at) * 1.7).sin()
    };
    let rows =
        Array2::from_shape_fn((usize::from(PATCHES), 4), |(patch, column)| place(patch, column) + noise());
    let described = DescribedScan {
        patches: (0..PATCHES).collect(),
        features: vec![PatchFeatures { branch: Branch::Fpfh, rows }],
        logits: None,
    };
    let facts = ScanFacts { brightness: Some(100.0), missing_share: 0.1, distance_m: 0.5 };
    Candidate { name: format!("part {seed}"), described, turned: Vec::new(), facts }
}

/// The same with a defect at a patch: `kind` says which defect.
fn defective(seed: u64, patch: usize, kind: f32) -> Candidate {
    let mut part = part(seed);
    part.described.features[0].rows[[patch, 0]] += 20.0 + kind;
    part
}

fn judged(set: &References, candidate: &Candidate) -> (Look, Judgement) {
    let look = set.look(&candidate.name, &candidate.described, None).expect("the rows fit");
    let judgement = set.judge(&look);
    (look, judgement)
}

fn stream(set: &mut References, candidate: Candidate) -> Admission {
    let mut candidate = candidate;
    assert_eq!(candidate.round(), None);
    let (look, judgement) = judged(set, &candidate);
    set.admit(candidate, &look, &judgement).expect("the rows fit")
}

fn evaluate(set: &References, candidate: &Candidate) -> Evaluation {
    let (_, judgement) = judged(set, candidate);
    set.decide(&judgement).evaluation
}

fn filled(count: u64) -> References {
    let mut set = set(rules());
    for seed in 0..count {
        assert!(matches!(stream(&mut set, part(seed)), Admission::Taken { .. }), "part {seed}");
    }
    set
}

fn codes(set: &References) -> Vec<WarningCode> {
    set.warnings().into_iter().map(|warning| warning.code).collect()
}

#[test]
fn warm_up_says_what_is_missing_and_ends_by_scans_or_by_anchors() {
    let mut set = set(rules());
    let mut said = Vec::new();
    for seed in 0..14 {
        let next = part(seed);
        let (_, judgement) = judged(&set, &next);
        let decision = set.decide(&judgement);
        assert_eq!(
            judgement.compared.map_scores.len(),
            usize::from(PATCHES),
            "there is a map from the first"
        );
        said.push(decision.reasons.first().map(|reason| reason.text.clone()));
        stream(&mut set, next);
    }
    assert_eq!(said[3].as_deref(), Some("9 more scans, or 3 confirmed good parts, until there are verdicts"));
    let first_verdict = said.iter().position(Option::is_none);
    assert_eq!(first_verdict, Some(12), "{said:?}");
    let mut taught = self::set(rules());
    for seed in 0..3 {
        assert!(taught.missing().is_some(), "{seed} anchors");
        taught.anchor(part(seed), None).expect("it fits");
    }
    assert_eq!(taught.missing(), None);
    let limit = taught.limit().expect("three scores");
    assert!((limit.calibration.promised_rate() - 0.25).abs() < 1e-6, "three scans promise no more");
}

#[test]
fn good_parts_pass_and_defects_do_not_though_the_buffer_holds_some() {
    let mut set = set(rules());
    for seed in 0..16 {
        let next = if seed % 8 == 5 {
            defective(seed, 7, f32::from(u8::try_from(seed).unwrap()))
        } else {
            part(seed)
        };
        stream(&mut set, next);
    }
    assert_eq!(set.limit().map(|limit| limit.suspect_count), Some(2));
    let passed = (100..140).filter(|seed| evaluate(&set, &part(*seed)) == Evaluation::Ok).count();
    assert!(passed >= 30, "{passed} of 40 good parts pass");
    for seed in 100..110 {
        assert_eq!(evaluate(&set, &defective(seed, 31, 0.0)), Evaluation::NotOk);
    }
}

#[test]
fn the_buffer_rolls_and_its_state_stays_bounded() {
    let mut set = filled(16);
    let bytes = set.row_bytes();
    let evicted = stream(&mut set, part(16));
    assert_eq!(evicted, Admission::Taken { evicted: vec!["part 0".into()] });
    assert_eq!((set.members().len(), set.row_bytes()), (16, bytes));
    assert!(bytes <= rules().bytes_max(4, 0, 1));
    assert_eq!(stream(&mut set, part(16)), Admission::Known, "judged again after a restart");
}

#[test]
fn distances_that_were_measured_step_by_step_are_those_measured_at_once() {
    let mut set = filled(16);
    let before = set.members().to_vec();
    set.refresh_all().expect("the rows are finite");
    for (before, after) in before.iter().zip(set.members()) {
        assert_eq!(before.patches, after.patches);
        let sum = |member: &Member| member.distances.nearest[0].iter().sum::<f32>();
        assert!(sum(after) <= sum(before) + 1e-4, "more references are never farther");
        assert!(sum(before) < 1.3 * sum(after), "{} was measured against too few", before.name);
    }
}

#[test]
fn a_scan_of_the_set_is_left_out_of_its_own_judgement() {
    let set = filled(10);
    let mut member = part(4);
    assert_eq!(member.round(), None);
    let (_, of_member) = judged(&set, &member);
    assert!(of_member.distances.nearest[0].iter().all(|distance| *distance > 0.0));
    let own: f32 = of_member.distances.nearest[0].iter().sum();
    let kept: f32 = set.member("part 4").expect("a member").distances.nearest[0].iter().sum();
    assert!(own <= kept + 1e-4);
}

#[test]
fn half_the_buffer_with_the_same_defect_raises_the_alarm_and_anchors_find_it() {
    let mixed = |seed: u64| if seed.is_multiple_of(2) { defective(seed, 7, 0.0) } else { part(seed) };
    let rules = ReferenceRules { buffer_len: 32, scans_min: 32, ..rules() };
    let (mut poisoned, mut clean) = (set(rules), set(rules));
    for seed in 0..48 {
        stream(&mut poisoned, mixed(seed));
        stream(&mut clean, part(seed));
    }
    let found = evaluate(&poisoned, &defective(100, 7, 0.0));
    assert_eq!(found, Evaluation::Ok, "it hides: the guard is needed");
    assert_eq!((codes(&poisoned), codes(&clean)), (vec![WarningCode::Poisoned], vec![]));
    (200..204).for_each(|seed| poisoned.anchor(part(seed), None).expect("it fits"));
    (300..324).for_each(|seed| drop(stream(&mut poisoned, mixed(seed))));
    for seed in 100..106 {
        let candidate = defective(seed, 7, 0.0);
        let (_, judgement) = judged(&poisoned, &candidate);
        let decision = poisoned.decide(&judgement);
        assert_eq!(decision.evaluation, Evaluation::NotOk, "the anchors find it");
        assert_eq!(decision.reasons[0].code, "unlike_anchors");
        let worst = judgement.compared.map_scores.iter().copied().fold(f32::MIN, f32::max);
        assert!(judgement.compared.map_scores[7] >= worst, "the map shows where");
    }
    assert_eq!(codes(&poisoned), [WarningCode::Poisoned], "the buffer is unlike its anchors");
    let passed = (100..120).filter(|seed| evaluate(&poisoned, &part(*seed)) == Evaluation::Ok).count();
    assert!(passed >= 16, "{passed} of 20 good parts pass");
}

#[test]
fn a_stopped_line_does_not_fill_the_buffer_with_one_part() {
    let mut set = filled(12);
    let first = part(50);
    assert!(matches!(stream(&mut set, first.clone()), Admission::Taken { .. }));
    for again in 0..20_u16 {
        let mut same = first.clone();
        same.name = format!("again {again}");
        // The sensor's noise is far below what makes parts differ.
        same.described.features[0].rows.mapv_inplace(|value| value + 0.004 * f32::from(again % 3));
        assert_eq!(stream(&mut set, same), Admission::Duplicate { of: "part 50".into() });
    }
    assert_eq!(set.members().len(), 13, "nineteen places would have gone to one part");
    assert_eq!(codes(&set), [WarningCode::Standstill]);
    stream(&mut set, part(51));
    assert_eq!(codes(&set), [], "the line runs again");
    let unguarded = ReferenceRules { duplicate_ratio: 0.0, ..rules() };
    let mut unguarded = References::new(unguarded, &params()).expect("mode line");
    (0..12).for_each(|seed| drop(stream(&mut unguarded, part(seed))));
    let mut same = first.clone();
    stream(&mut unguarded, first);
    same.name = "again".into();
    same.described.features[0].rows.mapv_inplace(|value| value + 0.004);
    assert!(matches!(stream(&mut unguarded, same), Admission::Taken { .. }), "without the guard it enters");
}

#[test]
fn a_flood_of_rough_scans_does_not_make_the_line_blind_at_once() {
    let rough = |seed: u64| {
        let mut scan = part(seed);
        let other = part(seed + 5_000);
        let (to, from) = (&mut scan.described.features[0].rows, &other.described.features[0].rows);
        // Every patch is off by several times what is usual.
        to.zip_mut_with(&(from - &part(0).described.features[0].rows), |to, off| *to += 6.0 * off);
        scan
    };
    let faint = |seed: u64| {
        let mut scan = part(seed);
        scan.described.features[0].rows[[20, 1]] += 3.0;
        scan
    };
    let caught_after_a_flood = |step: f32| {
        let rules = ReferenceRules { threshold_step_max: step, ..rules() };
        let mut set = set(rules);
        (0..20).for_each(|seed| drop(stream(&mut set, part(seed))));
        let caught = |set: &References| {
            (600..620).filter(|seed| evaluate(set, &faint(*seed)) == Evaluation::NotOk).count()
        };
        let before = caught(&set);
        (100..110).for_each(|seed| drop(stream(&mut set, rough(seed))));
        (before, caught(&set))
    };
    let (before, after) = caught_after_a_flood(1e9);
    assert!(before >= 18 && after <= 5, "without the cap: {before}, then {after} of 20 defects are found");
    let (before, after) = caught_after_a_flood(0.02);
    assert!(before >= 18 && after >= 12, "with it: {before}, then {after}");
}

#[test]
fn fading_light_raises_an_alarm_though_the_scores_go_along() {
    let mut set = filled(16);
    for seed in 16..32_u16 {
        let mut next = part(u64::from(seed));
        next.facts.brightness = Some(100.0 - 3.0 * f32::from(seed - 15));
        assert_ne!(evaluate(&set, &next), Evaluation::NotDecidable);
        stream(&mut set, next);
    }
    assert_eq!(codes(&set), [WarningCode::Drift]);
    assert!(set.warnings()[0].text.contains("brightness from 100.000 to"), "{:?}", set.warnings());
    set.accept_drift();
    assert_eq!(codes(&set), []);
}

#[test]
fn what_a_person_says_is_reversible() {
    let mut set = filled(12);
    let names = |set: &References| set.members().iter().map(|m| m.name.clone()).collect::<Vec<_>>();
    let before = names(&set);
    set.anchor(part(3), None).expect("it fits");
    assert_eq!((set.count(Source::Anchor), set.members().len()), (1, 12), "promoted, not doubled");
    assert!(set.remove("part 3").expect("finite"));
    stream(&mut set, part(3));
    let mut after = names(&set);
    after.sort();
    let mut expected = before;
    expected.sort();
    assert_eq!(after, expected);
    assert!(!set.remove("never there").expect("finite"));
    let full = ReferenceRules { anchors_max: 1, ..rules() };
    let mut set = References::new(full, &params()).expect("mode line");
    set.anchor(part(1), None).expect("it fits");
    assert_eq!(set.anchor(part(2), None), Err(TeachError::TooManyAnchors { count: 1 }));
    set.anchor(part(1), None).expect("the same again");
}

#[test]
fn unfit_scans_are_refused_and_the_set_stays() {
    let mut set = filled(5);
    let before = set.members().to_vec();
    let mut huge = part(9);
    huge.described.features[0].rows[[1, 1]] = 1e6;
    let (look, judgement) = judged(&set, &huge);
    assert!(matches!(set.admit(huge, &look, &judgement), Err(TeachError::Value { .. })));
    let mut wide = part(10);
    wide.described.features[0].rows = Array2::zeros((usize::from(PATCHES), 5));
    assert!(set.look("x", &wide.described, None).is_err());
    assert!(set.anchor(wide, None).is_err());
    let mut colour = part(11);
    colour.described.features[0].branch = Branch::Rgb;
    assert!(matches!(set.anchor(colour, None), Err(TeachError::Branches { .. })));
    assert_eq!(set.members(), before);
}

#[test]
fn a_set_read_back_from_its_files_judges_to_the_bit_as_before() {
    let mut set = filled(14);
    set.anchor(part(20), None).expect("it fits");
    let files: Vec<Vec<u8>> =
        set.members().iter().map(|m| encode(&set, &m.name).expect("a member")).collect();
    let stored: Vec<StoredMember> = files.iter().map(|bytes| decode(bytes).expect("its own file")).collect();
    let mut again = self::set(rules());
    assert_eq!(again.restore(stored, set.state().clone()), []);
    assert_eq!(again.members(), set.members());
    let next = part(30);
    assert_eq!(judged(&again, &next), judged(&set, &next));
    assert_eq!(again.threshold(), set.threshold());
    assert_eq!(encode(&set, "nobody"), None);
    let mut other = params();
    other.describe.branches = vec![Branch::Rgb];
    let Scoring::Late { branches, .. } = &mut other.scoring else { panic!("mode line is late") };
    branches[0].branch = Branch::Rgb;
    let mut other = References::new(rules(), &other).expect("mode line");
    let refused = other.restore(vec![decode(&files[0]).expect("its own file")], ReferencesState::default());
    assert!(matches!(refused[..], [(_, TeachError::Branches { .. })]));
}

#[test]
fn a_file_that_is_cut_or_changed_anywhere_is_refused() {
    let set = filled(3);
    let bytes = encode(&set, "part 2").expect("a member");
    for len in (0..bytes.len()).step_by(7) {
        assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    for at in (0..bytes.len()).step_by(5).chain(0..64) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(decode(&changed).is_err(), "byte {at}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(decode(&longer).is_err());
}
