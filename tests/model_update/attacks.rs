//! Whatever is not exactly what a trusted key signed is refused with the right code, and the store stays
//! as it was.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use minisign::KeyPair;
use zal::bundle::store::{Rules, Store};
use zal::bundle::{TrustedKeys, write_archive};

use super::bundles::{self, DEMO, Key, light, signature_of, tiny};
use super::device::Device;

const NOW: &str = "2026-01-01T00:00:00Z";

/// Where the content of the tar's n-th file lies.
fn file_range(tar: &[u8], number: usize) -> std::ops::Range<usize> {
    let mut start = 0;
    for _ in 0..number {
        start += 512 + size_at(tar, start).next_multiple_of(512);
    }
    start + 512..start + 512 + size_at(tar, start)
}

fn size_at(tar: &[u8], header: usize) -> usize {
    let size = std::str::from_utf8(&tar[header + 124..header + 135]).unwrap();
    usize::from_str_radix(size.trim_matches(char::from(0)), 8).unwrap()
}

/// Offers bytes to a store as `zal model install` does; whether they got a slot.
fn is_taken(store: &mut Store, trusted: &TrustedKeys, bytes: &[u8]) -> bool {
    let received = store.receive_bytes(bytes, Path::new("attack")).unwrap();
    store.stage(received, trusted, Rules::default(), NOW).is_ok()
}

#[test]
fn no_flipped_byte_and_no_truncation_gets_a_slot() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    let trusted = TrustedKeys::new(&[bundles::plant_public()]).unwrap();
    let good = tiny().release();
    let (manifest, signature) = (file_range(&good, 0), file_range(&good, 1));
    // minisign's first comment is not signed, as its name says.
    let comment = good[signature.clone()].iter().position(|b| *b == b'\n').unwrap();
    let signed = manifest.clone().chain(signature.start + comment..signature.end);
    // The last line break of a signature means nothing.
    let mut free = Vec::new();
    let step = if std::env::var_os("ZAL_LONG").is_some() { 1 } else { 7 };
    let mut count = 0;
    for at in signed.step_by(step) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        count += 1;
        if is_taken(&mut store, &trusted, &bad) {
            free.push(at);
        }
    }
    assert!(count > 200, "only {count} bytes were flipped");
    assert!(
        free.iter().all(|at| good[*at] == b'\n' && signature.contains(at)),
        "taken when changed: {free:?}"
    );
    let content_end = file_range(&good, 3).end;
    for length in (0..content_end).step_by(512) {
        assert!(!is_taken(&mut store, &trusted, &good[..length]), "{length} of {} bytes", good.len());
    }
    assert_eq!(store.slots().unwrap().len(), free.len());
    assert_eq!(fs::read_dir(folder.path().join("receiving")).unwrap().count(), 0);
    assert!(is_taken(&mut store, &trusted, &good), "and the good one is taken");
}

/// A tar of these entries.
fn tar_of(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        // `set_path` refuses what an attacker would write.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// What it is, its bytes, the exit code, a word of the message.
type Attack = (&'static str, Vec<u8>, i32, &'static str);

/// Every attack.
fn attacks() -> Vec<Attack> {
    [changed_bytes(), names_and_links(), sizes(), signers()].concat()
}

fn changed_bytes() -> Vec<Attack> {
    let good = tiny().release();
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    vec![
        ("a flipped manifest", flipped(file_range(&good, 0).start + 40), 77, "signature"),
        ("a flipped signature", flipped(file_range(&good, 1).end - 20), 77, "signature"),
        ("a flipped payload", flipped(file_range(&good, 2).start + 3), 65, "signed"),
        ("half a file", good[..good.len() / 2].to_vec(), 65, "copy the"),
        ("no bundle", b"just a text that somebody named so".to_vec(), 65, "expected"),
        ("an empty file", Vec::new(), 65, "expected"),
    ]
}

fn names_and_links() -> Vec<Attack> {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let good = tiny().release();
    let (text, signature) = (good[file_range(&good, 0)].to_vec(), good[file_range(&good, 1)].to_vec());
    let payload = tiny().files;
    let (bank, licence) = (payload[0].1.as_slice(), payload[1].1.as_slice());
    let head: [(&str, tar::EntryType, &[u8]); 2] =
        [("manifest.json", Regular, &text), ("manifest.json.minisig", Regular, &signature)];
    let with = |more: &[(&str, tar::EntryType, &[u8])]| tar_of(&[&head[..], more].concat());
    let named = |path: &str| tiny().with(|m| m["files"][1]["path"] = path.into()).release();
    let rest = ("LICENCE", Regular, licence);
    let more = [("line.bank", Regular, bank), rest, ("x", Regular, &b"x"[..])];
    vec![
        ("a parent folder", named("../../etc/passwd"), 65, "file name"),
        ("an absolute path", named("/etc/passwd"), 65, "file name"),
        ("a folder in a name", named("a/b"), 65, "file name"),
        ("a tar that leaves", with(&[("../line.bank", Regular, bank), rest]), 65, "regular"),
        ("a symbolic link", with(&[("line.bank", Symlink, b""), rest]), 65, "Symlink"),
        ("a hard link", with(&[("line.bank", Link, b""), rest]), 65, "Link"),
        ("a folder", with(&[("line.bank", Directory, b""), rest]), 65, "Directory"),
        (
            "a name twice",
            with(&[("line.bank", Regular, bank), ("line.bank", Regular, bank)]),
            65,
            "regular file",
        ),
        ("one file more", with(&more), 65, "more files"),
    ]
}

fn sizes() -> Vec<Attack> {
    let sized = |size: u64| tiny().with(|m| m["files"][1]["size_bytes"] = size.into()).release();
    let text = vec![b' '; (1 << 20) + 1];
    let signature = signature_of(&text, &Key::Plant);
    let files: [(&str, &[u8]); 2] =
        [("manifest.json", &text), ("manifest.json.minisig", signature.as_bytes())];
    let mut huge_manifest = Vec::new();
    write_archive(&mut huge_manifest, &files).unwrap();
    vec![
        ("a size that lies", sized(5), 65, "bytes"),
        ("a size beyond all bounds", sized(u64::MAX), 65, "at most"),
        ("a manifest beyond all bounds", huge_manifest, 65, "at most"),
        (
            "another format",
            tiny().with(|m| m["format"] = "zal.bundle/9".into()).release(),
            65,
            "zal.bundle/9",
        ),
    ]
}

fn signers() -> Vec<Attack> {
    let stranger = Key::Own(Box::new(KeyPair::generate_unencrypted_keypair().unwrap()));
    vec![
        ("the development key", tiny().signed(&Key::Development), 77, "development key"),
        ("a stranger's key", tiny().signed(&stranger), 77, "not among the trusted"),
        ("the demo bundle", DEMO.to_vec(), 77, "development key"),
    ]
}

#[test]
fn every_attack_is_refused_with_its_code_and_the_store_is_unchanged() {
    let device = Device::new("mqtt://127.0.0.1:1", "");
    let factory = device.line.path("factory.zalb").display().to_string();
    let said = device.model(&["install", &factory]);
    assert!(said.code == Some(0) && said.out.contains("is in charge already"), "{said:?}");
    let before = device.fingerprint();
    for (what, bytes, code, word) in attacks() {
        let path = device.stick("attack.zalb", &bytes);
        for verb in [&["install", &path][..], &["install", "--dry-run", &path], &["verify", &path]] {
            // `verify` says who signed; it is not asked whether this device takes such a key.
            let is_development = word == "development key" && verb[0] == "verify";
            let said = device.model(verb);
            if is_development {
                assert_eq!(said.code, Some(0), "{what}: {said:?}");
                assert!(said.out.contains("the development key is public"), "{what}: {said:?}");
                continue;
            }
            assert_eq!(said.code, Some(code), "{what}, {}: {said:?}", verb[0]);
            assert!(said.err.contains(word) && said.err.contains("hint: "), "{what}: {said:?}");
            assert_eq!(device.fingerprint(), before, "{what}, {}", verb[0]);
        }
    }
    let log = device.model(&["log", "-n", "1000"]);
    assert_eq!(log.out.matches(" refused ").count(), attacks().len(), "{}", log.out);
    for (path, code) in [("/nowhere/b.zalb", 66), ("/", 65)] {
        let said = device.model(&["install", path]);
        assert_eq!(said.code, Some(code), "{said:?}");
    }
    assert_eq!(device.fingerprint(), before);
}

#[test]
fn a_revoked_key_and_an_older_epoch_are_refused() {
    let device = Device::new("mqtt://127.0.0.1:1", "");
    let old = device.stick("old.zalb", &light().version("0.9").release());
    let newer = light().version("2.0").with(|manifest| manifest["security_epoch"] = 5.into());
    assert_eq!(device.model(&["install", &device.stick("newer.zalb", &newer.release())]).code, Some(0));
    assert_eq!(device.model(&["confirm"]).code, Some(0));
    let before = device.fingerprint();
    for verb in [&["install", &old][..], &["install", "--dry-run", &old]] {
        let said = device.model(verb);
        assert_eq!(said.code, Some(77), "{said:?}");
        assert!(said.err.contains("security epoch 0; this device takes 5"), "{said:?}");
    }
    // Nor does a rollback lead below it.
    let said = device.model(&["rollback"]);
    assert_eq!(said.code, Some(77), "{said:?}");
    assert_eq!(device.fingerprint(), before);

    fs::write(device.line.path("state/keys/revoked/plant.pub"), bundles::plant_public()).unwrap();
    let said = device.model(&["verify", &old]);
    assert_eq!(said.code, Some(77), "{said:?}");
    assert!(said.err.contains("is revoked"), "{said:?}");
    fs::write(device.line.path("state/keys/revoked/broken.pub"), "no key").unwrap();
    assert_eq!(device.model(&["verify", &old]).code, Some(77), "an unreadable revocation is no revocation");
}

#[test]
fn a_file_that_is_replaced_while_it_is_installed_is_one_or_the_other_or_refused() {
    let device = Device::new("mqtt://127.0.0.1:1", "");
    let (a, b) = (light().version("1.1").release(), light().version("1.2").release());
    let path = device.stick("swapped.zalb", &a);
    let stop = AtomicBool::new(false);
    let codes = std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = device.line.path("other");
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let bytes = if round % 2 == 0 { &b } else { &a };
                if round % 3 == 0 {
                    // Written over in place, so that a reader may see half of each.
                    let _ = fs::write(&path, bytes);
                } else {
                    let _ = fs::write(&other, bytes).and_then(|()| fs::rename(&other, &path));
                }
            }
        });
        let codes: Vec<_> = (0..6)
            .map(|_| {
                let said = device.model(&["install", &path]);
                device.whole_slots();
                let current = device.current();
                assert!(["light-1.0", "light-1.1", "light-1.2"].contains(&current.as_str()), "{said:?}");
                device.model(&["rollback"]);
                said.code
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        codes
    });
    assert!(codes.iter().all(|code| [Some(0), Some(65), Some(77)].contains(code)), "{codes:?}");
}
