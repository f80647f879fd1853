//! The spool's promises on real folders.

use super::*;

const AT: &str = "2026-01-01T00:00:00.000Z";

fn spool() -> (tempfile::TempDir, Spool) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    (folder, spool)
}

fn put(spool: &Spool, name: &str) {
    fs::write(spool.incoming.join(name), name).unwrap();
}

fn waiting(spool: &Spool) -> Vec<String> {
    spool.waiting().unwrap().into_iter().map(|w| w.name).collect()
}

#[test]
fn unfinished_files_and_pictures_are_not_taken() {
    let (_folder, spool) = spool();
    for name in [".hidden.tiff", "a.tiff.tmp", "b.npy.part", "c.PARTIAL", "d.png", "e.npy", "f.txt"] {
        put(&spool, name);
    }
    assert_eq!(waiting(&spool), ["e.npy", "f.txt"]);
}

#[test]
fn the_oldest_comes_first_then_the_name() {
    let (_folder, spool) = spool();
    let base = SystemTime::UNIX_EPOCH;
    for (name, seconds) in [("b.npy", 20), ("c.npy", 10), ("a.npy", 20)] {
        put(&spool, name);
        let file = File::options().append(true).open(spool.incoming.join(name)).unwrap();
        file.set_modified(base + std::time::Duration::from_secs(seconds)).unwrap();
    }
    assert_eq!(waiting(&spool), ["c.npy", "a.npy", "b.npy"]);
}

#[test]
fn a_pair_is_claimed_with_its_picture_and_a_name_may_come_again() {
    let (_folder, spool) = spool();
    let mut ids = Vec::new();
    for _ in 0..2 {
        put(&spool, "p7.png");
        put(&spool, "p7.tiff");
        let claim = spool.claim("p7.tiff", AT).unwrap().unwrap();
        assert_eq!(claim.part_id, "p7");
        assert!(claim.scan_path.ends_with("p7.tiff") && claim.scan_path.with_extension("png").exists());
        spool.settle(&claim, Disposition::Done, "").unwrap();
        assert!(spool.done.join(&claim.id).join("p7.png").exists());
        ids.push(claim.id);
    }
    assert_ne!(ids[0], ids[1]);
    assert!(waiting(&spool).is_empty());
}

#[test]
fn a_folder_is_one_part() {
    let (_folder, spool) = spool();
    let part = spool.incoming.join("part.9");
    fs::create_dir(&part).unwrap();
    for name in ["rgb.png", "xyz.tiff", "notes.txt"] {
        fs::write(part.join(name), name).unwrap();
    }
    assert_eq!(waiting(&spool), ["part.9"]);
    let claim = spool.claim("part.9", AT).unwrap().unwrap();
    assert_eq!(claim.part_id, "part.9");
    assert!(claim.scan_path.ends_with("part.9/xyz.tiff"));
    assert!(claim.scan_path.with_extension("png").exists(), "the reader finds the colour");
}

#[test]
fn a_scan_taken_by_someone_else_is_no_error() {
    let (_folder, spool) = spool();
    assert_eq!(spool.claim("gone.npy", AT).unwrap(), None);
    assert!(spool.left_over(&[]).unwrap().is_empty(), "no empty claim stays behind");
}

#[test]
fn left_over_claims_come_back_in_order_with_their_pictures() {
    let (_folder, spool) = spool();
    let mut ids = Vec::new();
    for name in ["z.npy", "a.tiff"] {
        put(&spool, name);
        ids.push(spool.claim(name, AT).unwrap().unwrap().id);
    }
    // As if the daemon had died between the two renames of a pair, and before the first of another.
    put(&spool, "a.png");
    fs::create_dir(spool.work.join("20260101-empty")).unwrap();
    let claims = spool.left_over(&[]).unwrap();
    assert_eq!(claims.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), ids);
    assert!(claims[1].scan_path.with_extension("png").exists());
    assert!(!spool.work.join("20260101-empty").exists());
}

#[test]
fn a_bad_scan_has_its_reason_beside_it() {
    let (_folder, spool) = spool();
    put(&spool, "x.npy");
    let claim = spool.claim("x.npy", AT).unwrap().unwrap();
    spool.settle(&claim, Disposition::Bad, "too short").unwrap();
    let reason = fs::read_to_string(spool.bad.join(format!("{}.reason.txt", claim.id))).unwrap();
    assert_eq!(reason, "too short\n");
    assert!(spool.bad.join(&claim.id).join("x.npy").exists());
}

#[test]
fn done_keeps_the_newest() {
    let (_folder, spool) = spool();
    for name in ["a.npy", "b.npy", "c.npy"] {
        put(&spool, name);
        let claim = spool.claim(name, AT).unwrap().unwrap();
        spool.settle(&claim, Disposition::Done, "").unwrap();
    }
    spool.prune_done(2).unwrap();
    let mut left: Vec<_> = fs::read_dir(&spool.done).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left.len(), 2);
    assert!(left[0].to_string_lossy().ends_with("b"), "{left:?}");
}

#[test]
fn claims_keep_their_order_when_the_clock_is_set_back() {
    let (folder, spool) = spool();
    let mut ids = Vec::new();
    for (name, at) in [("a.npy", "2036-01-01T00:00:00Z"), ("b.npy", AT)] {
        put(&spool, name);
        ids.push(spool.claim(name, at).unwrap().unwrap().id);
    }
    let again = Spool::open(folder.path()).unwrap();
    put(&again, "c.npy");
    ids.push(again.claim("c.npy", "1970-01-01T00:00:00Z").unwrap().unwrap().id);
    assert_eq!(again.left_over(&[]).unwrap().into_iter().map(|c| c.id).collect::<Vec<_>>(), ids);
}

#[test]
fn a_suspect_counts_its_tries() {
    let (_folder, spool) = spool();
    put(&spool, "x.npy");
    let id = spool.claim("x.npy", AT).unwrap().unwrap().id;
    for tries in 1..=3 {
        assert_eq!(spool.left_over(&[id.clone(), "gone".into()]).unwrap()[0].tries, tries);
    }
    assert_eq!(spool.left_over(&[]).unwrap()[0].tries, 3, "counted only when it was in hand");
}

#[test]
fn a_scan_judged_where_it_lies_is_the_same_after_a_restart_and_moves_later() {
    let (_folder, spool) = spool();
    put(&spool, "p7.tiff");
    put(&spool, "p7.png");
    let [waiting] = spool.waiting().unwrap().try_into().unwrap();
    let claim = spool.in_place(&waiting);
    assert_eq!(claim, spool.in_place(&spool.waiting().unwrap()[0]));
    assert_eq!((claim.part_id.as_str(), claim.scan_path.clone()), ("p7", spool.incoming.join("p7.tiff")));
    for _ in 0..2 {
        spool.settle(&claim, Disposition::Done, "").unwrap();
        assert!(spool.done.join(&claim.id).join("p7.tiff").exists(), "the second time is harmless");
    }
    assert!(spool.done.join(&claim.id).join("p7.png").exists());
    assert_eq!(fs::read_dir(&spool.incoming).unwrap().count(), 0);
}

#[test]
fn half_a_copy_in_a_claim_is_removed_and_a_scan_is_not() {
    let (_folder, spool) = spool();
    let half = spool.work.join("000000900-x");
    fs::create_dir(&half).unwrap();
    fs::write(half.join(".x.npy.partial"), "half").unwrap();
    put(&spool, "x.npy");
    let whole = spool.claim("x.npy", AT).unwrap().unwrap();
    let left: Vec<_> = spool.left_over(&[]).unwrap().into_iter().map(|c| c.id).collect();
    assert_eq!((left, half.exists()), (vec![whole.id], false));
}

#[test]
fn a_tiff_awaits_its_picture_and_nothing_else_does() {
    let (_folder, spool) = spool();
    put(&spool, "a.tiff");
    put(&spool, "b.npy");
    assert!(spool.awaits_picture("a.tiff") && !spool.awaits_picture("b.npy"));
    put(&spool, "a.png");
    assert!(!spool.awaits_picture("a.tiff"));
}
