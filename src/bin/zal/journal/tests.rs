//! The journal's promises on a real file.

use super::*;

/// A journal in a folder of its own, with its memory beside it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    fn open(&self) -> Journal {
        Journal::open(&self.path(), "d", self.folder.path()).unwrap()
    }

    fn acks(&self) -> Journal {
        Journal::open_for_acks(&self.path(), self.folder.path()).unwrap()
    }

    fn names(&self, part: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.contains(part));
        names.sort();
        names
    }
}

fn entry<'a>(claim: &'a str, evaluation: &'a str, body: &'a mut dyn FnMut(u64) -> String) -> Entry<'a> {
    Entry {
        claim_id: claim,
        part_id: "p",
        evaluation,
        score: Some(1.0),
        created_utc: "2026-01-01T00:00:00.000Z",
        session: "s",
        disposition: Disposition::Done,
        body,
        calibration: None,
    }
}

fn try_commit(journal: &mut Journal, claim: &str, evaluation: &str) -> Committed {
    let mut body = |seq| format!("{{\"seq\":{seq},\"reasons\":[{{\"code\":\"why\"}}]}}");
    journal.commit(&mut [entry(claim, evaluation, &mut body)]).unwrap()
}

fn commit(journal: &mut Journal, claim: &str, evaluation: &str) -> u64 {
    let committed = try_commit(journal, claim, evaluation);
    assert!(committed.only_in_memory.is_none());
    committed.seqs[0]
}

fn commit_many(journal: &mut Journal, count: u64) {
    for _ in 0..count {
        let claim = format!("claim{}", journal.next_seq().unwrap());
        commit(journal, &claim, "ok");
    }
}

/// A row's first way out.
fn first(lane: Lane, seq: u64) -> Sending {
    Sending { lane, seq, replay: 0 }
}

fn seqs(rows: &[Outgoing]) -> Vec<u64> {
    rows.iter().map(|row| row.seq).collect()
}

fn all_unacked(journal: &Journal) -> Vec<u64> {
    seqs(&journal.unacked(Lane::Result, 0..u64::MAX, 10_000).unwrap())
}

/// A disk that takes no results: a trigger stands for it.
fn break_disk(journal: &Journal) {
    let sql = "CREATE TRIGGER broken BEFORE INSERT ON results BEGIN SELECT RAISE(ABORT, 'disk'); END";
    journal.connection.execute_batch(sql).unwrap();
}

fn mend_disk(journal: &Journal) {
    journal.connection.execute_batch("DROP TRIGGER broken").unwrap();
}

#[test]
fn seq_has_no_gaps_over_restarts_and_a_claim_is_answered_once() {
    let place = Place::new();
    for start in [1, 4, 7] {
        let mut journal = place.open();
        assert_eq!(journal.next_seq().unwrap(), start);
        for i in 0..3 {
            assert_eq!(commit(&mut journal, &format!("c{}", start + i), "ok"), start + i);
        }
        assert_eq!(commit(&mut journal, &format!("c{start}"), "not_ok"), start, "answered before");
    }
    assert_eq!(place.open().depth().unwrap(), 9);
    assert_eq!(place.open().damage(), None);
}

#[test]
fn a_batch_that_the_disk_refuses_is_kept_in_memory_whole_and_taken_over_later() {
    let place = Place::new();
    let mut journal = place.open();
    assert_eq!(commit(&mut journal, "a", "ok"), 1);
    break_disk(&journal);
    assert!(try_commit(&mut journal, "b", "not_ok").only_in_memory.is_some());
    assert_eq!(try_commit(&mut journal, "b", "not_ok").seqs, [2], "answered before, in memory");
    assert_eq!(try_commit(&mut journal, "a", "not_ok").seqs, [1], "answered before, on disk");
    assert_eq!(try_commit(&mut journal, "c", "ok").seqs, [3]);
    let mut acks = place.acks();
    assert_eq!(all_unacked(&acks), [1, 2, 3]);
    assert_eq!(seqs(&acks.unacked(Lane::Alert, 0..9, 9).unwrap()), [2]);
    acks.ack(&[first(Lane::Result, 2), first(Lane::Result, 1)]).unwrap();
    assert_eq!((all_unacked(&acks), acks.depth().unwrap()), (vec![3], 1));
    assert!(acks.oldest_unacked_utc().unwrap().is_some(), "it waits in memory");
    acks.ack(&[first(Lane::Result, 3)]).unwrap();
    assert_eq!(acks.oldest_unacked_utc().unwrap(), None);
    assert_eq!(journal.disposition_of("b").unwrap(), None, "its scan must stay in work/");
    drop(journal);

    // The next run finds them, and takes them over when the disk does.
    let mut journal = place.open();
    assert_eq!((journal.next_seq().unwrap(), journal.damage()), (4, None));
    mend_disk(&journal);
    assert_eq!(commit(&mut journal, "d", "ok"), 4);
    assert_eq!(journal.disposition_of("b").unwrap(), Some(Disposition::Done));
    assert_eq!(all_unacked(&journal), [4], "confirmations came along");
    assert_eq!(journal.spill.row_count().unwrap(), 0);
    drop((journal, acks));
    assert_eq!(place.names("zal-"), [""; 0], "nothing is left in memory");
}

#[test]
fn seqs_that_were_only_in_memory_are_not_used_again_after_a_power_cut() {
    let place = Place::new();
    let mut journal = place.open();
    commit_many(&mut journal, 3);
    break_disk(&journal);
    assert_eq!(try_commit(&mut journal, "m", "ok").seqs, [4]);
    mend_disk(&journal);
    drop(journal);
    for name in place.names("zal-") {
        std::fs::remove_dir_all(place.folder.path().join(name)).unwrap();
    }
    let mut journal = place.open();
    assert!(journal.damage().unwrap().contains("ends with seq 3, but results up to seq 4"));
    assert!(commit(&mut journal, "m", "ok") > 4);
}

#[test]
fn lanes_are_confirmed_apart() {
    let place = Place::new();
    let mut journal = place.open();
    for (claim, evaluation) in [("a", "ok"), ("b", "not_ok"), ("c", "not_decidable"), ("d", "ok")] {
        commit(&mut journal, claim, evaluation);
    }
    let mut acks = place.acks();
    assert_eq!(all_unacked(&acks), [1, 2, 3, 4]);
    assert_eq!(seqs(&acks.unacked(Lane::Alert, 0..u64::MAX, 10).unwrap()), [2, 3]);
    acks.ack(&[first(Lane::Result, 2), first(Lane::Alert, 3), first(Lane::Result, 1)]).unwrap();
    assert_eq!(seqs(&acks.unacked(Lane::Result, 0..4, 10).unwrap()), [3]);
    assert_eq!(seqs(&acks.unacked(Lane::Alert, 0..u64::MAX, 10).unwrap()), [2]);
    assert_eq!(seqs(&acks.unacked(Lane::Result, 0..u64::MAX, 1).unwrap()), [3]);
    assert_eq!(acks.depth().unwrap(), 2);
}

#[test]
fn calibration_scores_come_back_in_order_and_by_key() {
    let place = Place::new();
    for (claim, score) in [("a", 3.0), ("b", 1.0), ("c", 2.0)] {
        let mut journal = place.open();
        let mut body = |_| String::new();
        let with = Entry { calibration: Some(("k", score)), ..entry(claim, "undefined", &mut body) };
        journal.commit(&mut [with]).unwrap();
    }
    let journal = place.open();
    assert_eq!(journal.calibration_scores("k").unwrap(), [3.0, 1.0, 2.0]);
    assert!(journal.calibration_scores("other").unwrap().is_empty());
}

#[test]
fn a_score_that_is_no_number_is_no_damage() {
    let place = Place::new();
    let mut journal = place.open();
    for (claim, score) in [("a", f32::NAN), ("b", f32::INFINITY), ("c", -0.0), ("d", f32::MIN_POSITIVE / 2.0)]
    {
        let mut body = |seq: u64| seq.to_string();
        let odd = Entry { score: Some(score), ..entry(claim, "undefined", &mut body) };
        journal.commit(&mut [odd]).unwrap();
    }
    drop(journal);
    assert_eq!(place.open().damage(), None);
}

#[test]
fn another_devices_journal_and_another_version_are_refused_and_stay() {
    let place = Place::new();
    let journal = place.open();
    let other = Journal::open(&place.path(), "e", place.folder.path());
    assert!(matches!(other, Err(JournalError::Device { .. })));
    journal.connection.execute("UPDATE meta SET value = '9' WHERE key = 'schema_version'", []).unwrap();
    let newer = Journal::open(&place.path(), "d", place.folder.path());
    assert!(matches!(newer, Err(JournalError::Version { found: 9, .. })));
    assert_eq!(place.names("corrupt"), [""; 0]);
}

#[test]
fn a_journal_of_the_first_version_is_brought_up_to_date() {
    let place = Place::new();
    let mut journal = place.open();
    commit_many(&mut journal, 2);
    journal
        .connection
        .execute_batch(
            "ALTER TABLE results DROP COLUMN row_sum; ALTER TABLE results DROP COLUMN replay; DROP TABLE drops;
             DELETE FROM meta WHERE key = 'identity_sum'; UPDATE meta SET value = '1' WHERE key = 'schema_version'",
        )
        .unwrap();
    drop(journal);
    let mut journal = place.open();
    assert_eq!(journal.damage(), None);
    assert_eq!(commit(&mut journal, "new", "ok"), 3);
    assert_eq!(all_unacked(&journal), [1, 2, 3]);
}

#[test]
fn the_oldest_confirmed_good_parts_go_first_and_an_unconfirmed_alert_never() {
    let place = Place::new();
    let mut journal = place.open();
    let kinds = ["ok", "not_ok"];
    for index in 0..800_usize {
        let claim = format!("claim{index}");
        let mut body = |seq| format!("{{\"seq\":{seq},\"fill\":\"{}\"}}", "x".repeat(900));
        journal.commit(&mut [entry(&claim, kinds[index % 2], &mut body)]).unwrap();
    }
    // The first half is confirmed: even seqs are not ok.
    let confirmed: Vec<_> =
        (1..=400).flat_map(|seq| [first(Lane::Result, seq), first(Lane::Alert, seq)]).collect();
    journal.ack(&confirmed).unwrap();
    let has = |journal: &Journal, seq: u64| {
        let sql = "SELECT count(*) FROM results WHERE seq = ?1";
        journal.connection.query_row(sql, [to_sql(seq)], |row| row.get::<_, i64>(0)).unwrap() == 1
    };
    assert_eq!(journal.trim(1_000_000).unwrap(), Trimmed::default(), "within the limit");
    let first = journal.trim(800_000).unwrap();
    assert!(first.acked_count > 0 && first.unacked_count == 0 && first.excess_bytes == 0, "{first:?}");
    assert!(!has(&journal, 1) && has(&journal, 2) && has(&journal, 401));
    let second = journal.trim(400_000).unwrap();
    assert!(second.unacked_count > 0 && second.excess_bytes == 0, "{second:?}");
    assert!(!has(&journal, 2) && !has(&journal, 401) && has(&journal, 402));
    let third = journal.trim(10_000).unwrap();
    assert!(third.excess_bytes > 0, "{third:?}");
    let left = seqs(&journal.unacked(Lane::Alert, 0..u64::MAX, 10_000).unwrap());
    assert_eq!(left, (402..=800).step_by(2).collect::<Vec<_>>(), "every unconfirmed alert is still there");
    let dropped: Vec<_> = journal.drops().unwrap().into_iter().map(|(kind, n, _)| (kind, n)).collect();
    let expected = [("acked_alert", 200), ("acked_ok", 200), ("unacked_ok", 200)];
    assert_eq!(dropped, expected.map(|(kind, n)| (kind.to_owned(), n)));
    drop(journal);
    assert_eq!(place.open().damage(), None, "what was removed is no damage");
}

#[test]
fn a_replay_marks_what_is_there_and_a_report_counts() {
    let place = Place::new();
    let mut journal = place.open();
    commit_many(&mut journal, 5);
    commit(&mut journal, "bad", "not_ok");
    let everything: Vec<_> = (1..=6).map(|seq| first(Lane::Result, seq)).collect();
    journal.ack(&everything).unwrap();
    let existing = Journal::open_existing(&place.path(), place.folder.path()).unwrap();
    assert_eq!(existing.replay(&(2..=90), true).unwrap(), 5);
    assert!(all_unacked(&journal).is_empty());
    assert_eq!((existing.replay(&(2..=3), false).unwrap(), journal.replay_count().unwrap()), (2, 1));
    let waiting = journal.unacked(Lane::Result, 0..99, 99).unwrap();
    assert!(seqs(&waiting) == [2, 3] && waiting.iter().all(|row| row.replay == 1));
    journal.ack(&[first(Lane::Result, 2)]).unwrap();
    assert_eq!(all_unacked(&journal), [2, 3], "a confirmation from before the replay says nothing about it");
    journal.ack(&[Sending { replay: 1, ..first(Lane::Result, 2) }]).unwrap();
    assert_eq!(all_unacked(&journal), [3]);
    existing.replay(&(2..=2), false).unwrap();
    let report = existing.report("2025-01-01T00:00:00.000Z").unwrap();
    assert_eq!((report.part_count, report.seq, report.unacked_count), (6, Some([1, 6]), 2));
    assert_eq!((report.evaluations["ok"], report.evaluations["not_ok"]), (5, 1));
    assert_eq!(report.reasons, [("why".to_owned(), 6)]);
    assert_eq!(existing.report("2027-01-01T00:00:00.000Z").unwrap().part_count, 0);
    let nothing = Journal::open_existing(&place.folder.path().join("none.db"), place.folder.path());
    assert!(nothing.is_err() && place.names("none").is_empty());
}

mod damaged {
    //! Every way in which a file can be wrong: the daemon starts, and no seq is used twice.

    use super::*;

    /// A journal of 40 results: its file, and all rows in the file, none in the -wal.
    fn written(place: &Place) -> Vec<u8> {
        let mut journal = place.open();
        commit_many(&mut journal, 40);
        journal.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
        drop(journal);
        std::fs::read(place.path()).unwrap()
    }

    /// Opens a damaged journal and checks what must hold whatever the damage was.
    fn open_again(place: &Place, what: &str) -> (usize, Option<String>) {
        let mut journal = place.open();
        let kept = all_unacked(&journal);
        assert!(kept.iter().all(|seq| (1..=40).contains(seq)), "{what}");
        let damage = journal.damage().map(str::to_owned);
        assert!(damage.is_some() || kept.len() == 40, "{what}: {} results and not a word", kept.len());
        assert!(commit(&mut journal, "new", "ok") > 40, "{what}: a seq is used twice");
        drop(journal);
        assert_eq!(place.open().damage(), None, "{what}: the second start finds a sound journal");
        (kept.len(), damage)
    }

    fn restore(place: &Place, file: &[u8], mark: &[u8]) {
        for name in place.names("") {
            let path = place.folder.path().join(name);
            if path.is_file() { std::fs::remove_file(path) } else { std::fs::remove_dir_all(path) }.unwrap();
        }
        std::fs::write(place.path(), file).unwrap();
        std::fs::write(SeqMark::path_of(&place.path()), mark).unwrap();
    }

    #[test]
    fn garbage_a_cut_file_and_a_missing_one_do_not_stop_the_start() {
        let place = Place::new();
        let file = written(&place);
        let mark = std::fs::read(SeqMark::path_of(&place.path())).unwrap();
        let garbage: Vec<u8> = (0..8_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (what, bytes) in [("garbage", garbage.as_slice()), ("a text", b"not a journal, but a long enough text to be read as a header of one hundred bytes, so that nobody takes it for an empty file"), ("half", &file[..file.len() / 2]), ("one page", &file[..4096]), ("a few bytes", &file[..10])] {
            restore(&place, bytes, &mark);
            let (_, damage) = open_again(&place, what);
            assert!(damage.unwrap().contains("was damaged"), "{what}");
            let kept: Vec<_> = place.names("corrupt").into_iter().filter(|n| !n.contains("-wal")).collect();
            assert!(kept.len() == 2 && kept[1].ends_with(".reason.txt"), "{what}: {kept:?}");
            assert_eq!(std::fs::read(place.folder.path().join(&kept[0])).unwrap(), bytes, "{what}: the evidence");
        }
        restore(&place, b"", &mark);
        let (kept, damage) = open_again(&place, "an empty file");
        assert!(kept == 0 && damage.unwrap().contains("its end was lost"));
        restore(&place, b"", &mark);
        std::fs::remove_file(place.path()).unwrap();
        assert_eq!(open_again(&place, "no file").0, 0);
    }

    #[test]
    fn flipped_bits_are_found_and_all_other_rows_are_saved() {
        let place = Place::new();
        let file = written(&place);
        let mark = std::fs::read(SeqMark::path_of(&place.path())).unwrap();
        let (mut found, mut saved) = (0, 0);
        // A prime stride meets every page, headers and rows.
        let flips: Vec<usize> = (0..file.len()).step_by(409).collect();
        for at in &flips {
            let mut bytes = file.clone();
            bytes[*at] ^= 0x10;
            restore(&place, &bytes, &mark);
            let (kept, damage) = open_again(&place, &format!("byte {at}"));
            if damage.is_some() {
                found += 1;
                saved += kept;
            }
        }
        assert!(found >= 10, "{found} of {} flips met content", flips.len());
        assert!(saved >= found * 20, "{saved} results saved over {found} damaged files");
    }

    #[test]
    fn a_lost_wal_is_noticed_and_its_seqs_are_not_used_again() {
        let place = Place::new();
        let mut journal = place.open();
        commit_many(&mut journal, 20);
        journal.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
        commit_many(&mut journal, 20);
        // As a killed process leaves it: with rows in the -wal.
        let file = std::fs::read(place.path()).unwrap();
        let wal = std::fs::read(damage::with_suffix(&place.path(), "-wal")).unwrap();
        let mark = std::fs::read(SeqMark::path_of(&place.path())).unwrap();
        drop(journal);
        restore(&place, &file, &mark);
        std::fs::write(damage::with_suffix(&place.path(), "-wal"), &wal).unwrap();
        assert_eq!(open_again(&place, "sound"), (40, None));
        for (what, bytes) in [("missing", &[][..]), ("cut", &wal[..wal.len() / 2])] {
            restore(&place, &file, &mark);
            if !bytes.is_empty() {
                std::fs::write(damage::with_suffix(&place.path(), "-wal"), bytes).unwrap();
            }
            let (kept, damage) = open_again(&place, what);
            assert!((20..40).contains(&kept), "{what}: {kept}");
            assert!(damage.unwrap().contains("its end was lost"), "{what}");
        }
    }
}
