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
        spool.settle(&claim.id, Disposition::Done, "").unwrap();
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
    assert!(spool.left_over().unwrap().is_empty(), "no empty claim stays behind");
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
    let claims = spool.left_over().unwrap();
    assert_eq!(claims.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), ids);
    assert!(claims[1].scan_path.with_extension("png").exists());
    assert!(!spool.work.join("20260101-empty").exists());
}

#[test]
fn a_bad_scan_has_its_reason_beside_it() {
    let (_folder, spool) = spool();
    put(&spool, "x.npy");
    let claim = spool.claim("x.npy", AT).unwrap().unwrap();
    spool.settle(&claim.id, Disposition::Bad, "too short").unwrap();
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
        spool.settle(&claim.id, Disposition::Done, "").unwrap();
    }
    spool.prune_done(2).unwrap();
    let mut left: Vec<_> = fs::read_dir(&spool.done).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left.len(), 2);
    assert!(left[0].to_string_lossy().ends_with("b"), "{left:?}");
}
