//! The detector thread with a made-up detector.

use std::path::PathBuf;
use std::sync::mpsc;

use zal::cloud::OrganizedCloud;

use super::*;

fn scan(value: f32) -> Scan {
    Scan { cloud: OrganizedCloud::new(1, 1, vec![[value, 0.0, 1.0]]).unwrap(), color: None }
}

fn acquired(scan: Result<Scan, Reason>) -> Acquired {
    let claim =
        Claim { id: "c".into(), part_id: "p".into(), scan_path: PathBuf::new(), tries: 0, in_place: None };
    Acquired { claim, scan, read_ms: 1.0, seen: Instant::now() }
}

/// Scores a scan by its first coordinate; 13 is a bug.
fn judge(scan: &Scan, calibration: Option<&Calibration>) -> Detection {
    let score = scan.cloud.points()[0][0];
    assert!(score.to_bits() != 13.0_f32.to_bits(), "unlucky scan");
    let mut detection = undecided(Reason { code: "x".into(), text: String::new() });
    detection.reasons.clear();
    detection.score = Some(score);
    detection.evaluation = match calibration {
        None => Evaluation::Undefined,
        Some(c) if c.rejects(score) => Evaluation::NotOk,
        Some(_) => Evaluation::Ok,
    };
    detection
}

fn run(calibrator: Calibrator, wait_max: Duration, scans: Vec<Acquired>) -> Vec<Judged> {
    let metrics = Arc::new(Metrics::default());
    let (deadlines, suspects) = (Deadlines::default(), Suspects::default());
    let worker = Worker { judge, calibrator, wait_max, deadlines, suspects, metrics, stop: Arc::default() };
    let (in_tx, in_rx) = mpsc::channel();
    let (out_tx, out_rx) = mpsc::sync_channel(100);
    let (waker, wakes) = mpsc::channel();
    let count = scans.len();
    scans.into_iter().for_each(|s| in_tx.send(s).unwrap());
    drop(in_tx);
    worker.run(&in_rx, &out_tx, &waker);
    drop((out_tx, waker));
    assert_eq!(wakes.iter().count(), count, "every scan frees its place");
    out_rx.iter().collect()
}

fn threshold(judged: &Judged) -> Option<f32> {
    judged.calibration.as_ref().unwrap().threshold
}

#[test]
fn the_first_parts_set_the_threshold_and_the_rest_are_judged() {
    let calibrator = Calibrator::from_first(3, 0.25, vec![]);
    let scores = [1.0, 3.0, 2.0, 2.5, 3.5];
    let judged = run(calibrator, Duration::ZERO, scores.iter().map(|s| acquired(Ok(scan(*s)))).collect());
    let evaluations: Vec<_> = judged.iter().map(|j| j.detection.evaluation).collect();
    use Evaluation::{NotOk, Ok as Good, Undefined};
    assert_eq!(evaluations, [Undefined, Undefined, Undefined, Good, NotOk]);
    let taken: Vec<_> = judged.iter().map(|j| j.calibration_score).collect();
    assert_eq!(taken, [Some(1.0), Some(3.0), Some(2.0), None, None]);
    assert_eq!(threshold(&judged[1]), None);
    assert_eq!(threshold(&judged[2]), Some(3.0));
    assert_eq!(judged[0].detection.reasons[0].code, "calibrating");
}

#[test]
fn a_restart_goes_on_with_the_scores_it_has() {
    let calibrator = Calibrator::from_first(3, 0.25, vec![1.0, 3.0]);
    let judged = run(calibrator, Duration::ZERO, vec![acquired(Ok(scan(2.0)))]);
    assert_eq!(threshold(&judged[0]), Some(3.0));
    assert_eq!(Calibrator::from_first(2, 0.25, vec![1.0, 3.0, 9.0]).body().threshold, Some(3.0));
}

#[test]
fn a_panic_and_an_unreadable_file_are_answered_and_the_thread_lives() {
    let unreadable = Reason { code: "unreadable".into(), text: "truncated".into() };
    let scans = vec![acquired(Ok(scan(13.0))), acquired(Err(unreadable)), acquired(Ok(scan(1.0)))];
    let judged = run(Calibrator::from_first(2, 0.1, vec![]), Duration::ZERO, scans);
    let codes: Vec<_> = judged.iter().map(|j| j.detection.reasons[0].code.as_str()).collect();
    assert_eq!(codes, ["internal_error", "unreadable", "calibrating"]);
    let dispositions: Vec<_> = judged.iter().map(|j| j.disposition).collect();
    assert_eq!(dispositions, [Disposition::Done, Disposition::Bad, Disposition::Done]);
    assert_eq!(judged[2].calibration.as_ref().unwrap().have_count, 1, "undecided parts set no threshold");
}

#[test]
fn a_part_that_waited_too_long_is_answered_unjudged() {
    let mut late = acquired(Ok(scan(1.0)));
    late.seen = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let judged = run(Calibrator::fixed(None), Duration::from_secs(1), vec![late, acquired(Ok(scan(1.0)))]);
    assert_eq!(judged[0].detection.reasons[0].code, "overrun");
    assert_eq!(judged[1].detection.evaluation, Evaluation::Undefined);
}

#[test]
fn nothing_new_is_begun_after_stop() {
    let worker = Worker {
        judge,
        calibrator: Calibrator::fixed(None),
        wait_max: Duration::ZERO,
        deadlines: Deadlines::default(),
        suspects: Suspects::default(),
        metrics: Arc::default(),
        stop: Arc::new(AtomicBool::new(true)),
    };
    let (in_tx, in_rx) = mpsc::channel();
    let (out_tx, out_rx) = mpsc::sync_channel(9);
    in_tx.send(acquired(Ok(scan(1.0)))).unwrap();
    worker.run(&in_rx, &out_tx, &mpsc::channel().0);
    drop(out_tx);
    assert_eq!(out_rx.iter().count(), 0);
}

#[test]
fn a_part_whose_deadline_has_answered_is_not_answered_again() {
    let deadlines = Deadlines::new(Duration::from_secs(3600));
    let (answered, open) = (acquired(Ok(scan(1.0))), acquired(Ok(scan(2.0))));
    deadlines.watch(&open.claim, Instant::now());
    let answered = Acquired { claim: Claim { id: "late".into(), ..answered.claim }, ..answered };
    let mut worker = Worker {
        judge,
        calibrator: Calibrator::from_first(5, 0.1, vec![]),
        wait_max: Duration::ZERO,
        deadlines,
        suspects: Suspects::default(),
        metrics: Arc::default(),
        stop: Arc::default(),
    };
    assert!(worker.answer(answered).is_none());
    assert_eq!(worker.answer(open).unwrap().calibration_score, Some(2.0));
    assert_eq!(worker.calibrator.body().have_count, 1, "a late score sets no threshold");
}
