//! The journal's promises on a real file.

use super::*;

fn entry<'a>(claim: &'a str, evaluation: &'a str, body: &'a mut dyn FnMut(u64) -> String) -> Entry<'a> {
    Entry {
        claim_id: claim,
        part_id: "p",
        evaluation,
        score: Some(1.0),
        created_utc: "2026-01-01T00:00:00Z",
        session: "s",
        disposition: Disposition::Done,
        body,
        calibration: None,
    }
}

fn commit(journal: &mut Journal, claim: &str, evaluation: &str) -> u64 {
    let mut body = |seq| format!("{{\"seq\":{seq}}}");
    journal.commit(&mut [entry(claim, evaluation, &mut body)]).unwrap()[0]
}

fn seqs(rows: &[Outgoing]) -> Vec<u64> {
    rows.iter().map(|row| row.seq).collect()
}

#[test]
fn seq_has_no_gaps_over_restarts_and_a_claim_is_answered_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/journal.db");
    for start in [1, 4, 7] {
        let mut journal = Journal::open(&path, "d").unwrap();
        assert_eq!(journal.next_seq().unwrap(), start);
        for i in 0..3 {
            assert_eq!(commit(&mut journal, &format!("c{}", start + i), "ok"), start + i);
        }
        assert_eq!(commit(&mut journal, &format!("c{start}"), "not_ok"), start, "answered before");
    }
    assert_eq!(Journal::open(&path, "d").unwrap().depth().unwrap(), 9);
}

#[test]
fn a_failing_batch_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("j.db"), "d").unwrap();
    journal.connection.execute_batch("CREATE TRIGGER t BEFORE INSERT ON results WHEN NEW.claim_id = 'b' BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    let (mut one, mut two) = (|s: u64| s.to_string(), |s: u64| s.to_string());
    assert!(journal.commit(&mut [entry("a", "ok", &mut one), entry("b", "ok", &mut two)]).is_err());
    assert_eq!((journal.next_seq().unwrap(), journal.depth().unwrap()), (1, 0));
}

#[test]
fn lanes_are_confirmed_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let mut journal = Journal::open(&path, "d").unwrap();
    for (claim, evaluation) in [("a", "ok"), ("b", "not_ok"), ("c", "not_decidable"), ("d", "ok")] {
        commit(&mut journal, claim, evaluation);
    }
    let mut acks = Journal::open_for_acks(&path).unwrap();
    assert_eq!(seqs(&acks.unacked(Lane::Result, 0..u64::MAX, 10).unwrap()), [1, 2, 3, 4]);
    assert_eq!(seqs(&acks.unacked(Lane::Alert, 0..u64::MAX, 10).unwrap()), [2, 3]);
    acks.ack(&[(Lane::Result, 2), (Lane::Alert, 3), (Lane::Result, 1)]).unwrap();
    assert_eq!(seqs(&acks.unacked(Lane::Result, 0..4, 10).unwrap()), [3]);
    assert_eq!(seqs(&acks.unacked(Lane::Alert, 0..u64::MAX, 10).unwrap()), [2]);
    assert_eq!(seqs(&acks.unacked(Lane::Result, 0..u64::MAX, 1).unwrap()), [3]);
    assert_eq!(acks.depth().unwrap(), 2);
}

#[test]
fn calibration_scores_come_back_in_order_and_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    for (claim, score) in [("a", 3.0), ("b", 1.0), ("c", 2.0)] {
        let mut journal = Journal::open(&path, "d").unwrap();
        let mut body = |_| String::new();
        let with = Entry { calibration: Some(("k", score)), ..entry(claim, "undefined", &mut body) };
        journal.commit(&mut [with]).unwrap();
    }
    let journal = Journal::open(&path, "d").unwrap();
    assert_eq!(journal.calibration_scores("k").unwrap(), [3.0, 1.0, 2.0]);
    assert!(journal.calibration_scores("other").unwrap().is_empty());
}

#[test]
fn another_devices_journal_and_another_version_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let journal = Journal::open(&path, "d").unwrap();
    assert!(matches!(Journal::open(&path, "e"), Err(JournalError::Device { .. })));
    journal.connection.execute("UPDATE meta SET value = '9' WHERE key = 'schema_version'", []).unwrap();
    assert!(matches!(Journal::open(&path, "d"), Err(JournalError::Version { found: 9, .. })));
}
