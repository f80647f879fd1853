//! Attacks on bundles: whatever is not exactly what was signed is refused with the reason.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use zal::bundle::manifest::FORMAT;
use zal::bundle::{
    Bundle, BundleError, FileEntry, FileRole, Manifest, ModeSection, Provenance, Signer, TrustedKeys,
    write_archive,
};
use zal::detector::{Mode, ModeParams};
use zal::scan::SensorProfile;
use zal_export::signing;

/// Name and content of one file of the tar.
type File = (&'static str, &'static [u8]);

const PAYLOAD: &[File] = &[("line.bank", b"not a real bank, but signed"), ("LICENCE", b"a text")];

fn entry(path: &str, bytes: &[u8]) -> FileEntry {
    let sha256 = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    let role = if path.ends_with(".bank") { FileRole::Bank } else { FileRole::Licence };
    FileEntry { path: path.into(), role, size_bytes: bytes.len() as u64, sha256 }
}

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT.into(),
        name: "small".into(),
        version: "1.0".into(),
        security_epoch: 0,
        sensor: SensorProfile::default(),
        modes: vec![ModeSection {
            mode: Mode::Line,
            bank: "line.bank".into(),
            params: ModeParams::of(Mode::Line),
        }],
        files: PAYLOAD.iter().map(|(path, bytes)| entry(path, bytes)).collect(),
        golden: Vec::new(),
        provenance: Provenance::default(),
    }
}

/// A bundle signed with the development key, with the given payload files in the tar.
fn packed(manifest: &Manifest, payload: &[(&str, &[u8])]) -> Vec<u8> {
    let text = serde_json::to_vec(manifest).expect("a manifest serialises");
    let key = signing::read_key(None).expect("the development key parses");
    let signature = signing::sign(&text, &key, "test").expect("it signs");
    let mut files: Vec<(&str, &[u8])> =
        vec![("manifest.json", &text), ("manifest.json.minisig", signature.as_bytes())];
    files.extend(payload);
    let mut out = Vec::new();
    write_archive(&mut out, &files).expect("memory takes it");
    out
}

fn open(bytes: &[u8]) -> Result<Bundle, BundleError> {
    open_trusting(bytes, &[])
}

fn open_trusting(bytes: &[u8], keys: &[String]) -> Result<Bundle, BundleError> {
    let folder = TempDir::new().expect("a temporary folder");
    let path: PathBuf = folder.path().join("b.zalb");
    fs::write(&path, bytes).expect("it is writable");
    Bundle::open(&path, &TrustedKeys::new(keys).expect("the keys parse"))
}

#[test]
fn a_good_bundle_opens_and_gives_its_files() {
    let bundle = open(&packed(&manifest(), PAYLOAD)).expect("it is good");
    assert_eq!(bundle.name(), "small-1.0");
    assert_eq!(bundle.signer(), Signer::Development);
    assert_eq!(bundle.manifest(), &manifest());
    assert_eq!(bundle.read("LICENCE").expect("it is there"), b"a text");
    assert!(bundle.read("other").is_err());
}

#[test]
fn the_same_input_gives_the_same_bytes_but_for_the_signature() {
    // Ed25519 as minisign does it is randomised; everything else is fixed.
    let (a, b) = (packed(&manifest(), PAYLOAD), packed(&manifest(), PAYLOAD));
    let signature = file_range(&a, 1);
    assert_eq!(a.len(), b.len());
    assert!((0..a.len()).filter(|at| !signature.contains(at)).all(|at| a[at] == b[at]));
}

/// Where the content of the tar's n-th file lies.
fn file_range(tar: &[u8], number: usize) -> std::ops::Range<usize> {
    let mut start = 0;
    for _ in 0..number {
        start += 512 + size_at(tar, start).next_multiple_of(512);
    }
    start + 512..start + 512 + size_at(tar, start)
}

fn size_at(tar: &[u8], header: usize) -> usize {
    let size = std::str::from_utf8(&tar[header + 124..header + 135]).expect("an octal size");
    usize::from_str_radix(size.trim_matches(char::from(0)), 8).expect("an octal size")
}

#[test]
fn every_flipped_bit_of_content_is_refused() {
    let good = packed(&manifest(), PAYLOAD);
    let content_end = good.len() - 1024;
    let mut accepted = Vec::new();
    for at in 0..content_end {
        let mut bad = good.clone();
        bad[at] ^= 1;
        if let Ok(bundle) = open(&bad) {
            accepted.push(at);
            assert_eq!(bundle.manifest(), &manifest(), "byte {at} changed what the bundle says");
            assert_eq!(bundle.read("LICENCE").expect("it is there"), b"a text", "byte {at}");
        }
    }
    // Padding up to the next 512 carries nothing, and minisign's first comment is not signed,
    // as its name says; every other byte must be covered.
    let signature = file_range(&good, 1);
    let line = good[signature.clone()].iter().position(|b| *b == b'\n').expect("a first line");
    let comment = signature.start..signature.start + line;
    let free = |at: usize| is_padding(&good, at) || comment.contains(&at);
    let wrong: Vec<usize> = accepted.iter().copied().filter(|&at| !free(at)).collect();
    assert_eq!(wrong, Vec::<usize>::new(), "bytes that may change unnoticed");
    assert!(accepted.len() > 100, "padding is not looked at");
}

/// Whether a byte stands in the zeros that fill a file up to a multiple of 512.
fn is_padding(tar: &[u8], at: usize) -> bool {
    let mut start = 0;
    while start < tar.len() - 1024 {
        let size = size_at(tar, start);
        let end = start + 512 + size;
        let next = end.next_multiple_of(512);
        if (end..next).contains(&at) {
            return true;
        }
        start = next;
    }
    false
}

#[test]
fn truncation_at_every_length_is_refused() {
    let good = packed(&manifest(), PAYLOAD);
    let content_end = good.len() - 1024;
    for length in (0..content_end).step_by(61).chain((0..content_end).step_by(512)) {
        // Only the last file's padding may be missing.
        let is_whole = (length..content_end).all(|at| is_padding(&good, at));
        assert!(is_whole || open(&good[..length]).is_err(), "{length} of {} bytes", good.len());
    }
}

#[test]
fn files_that_are_not_the_manifests_are_refused() {
    let (bank, licence) = (PAYLOAD[0], PAYLOAD[1]);
    let cases: [(&str, Vec<File>); 6] = [
        ("missing", vec![bank]),
        ("too many", vec![bank, licence, ("extra", b"x")]),
        ("twice", vec![bank, bank, licence]),
        ("out of order", vec![licence, bank]),
        ("another size", vec![bank, ("LICENCE", b"a longer text")]),
        ("another content", vec![bank, ("LICENCE", b"A text")]),
    ];
    for (what, payload) in cases {
        let refused = open(&packed(&manifest(), &payload)).expect_err(what);
        let fits = matches!(refused, BundleError::Archive { .. } | BundleError::Payload { .. });
        assert!(fits, "{what}: {refused}");
    }
}

#[test]
fn names_that_leave_the_folder_are_refused_even_when_signed() {
    for name in ["../x", "/etc/x", "a/b", ".hidden", "", "with space"] {
        let mut manifest = manifest();
        manifest.files[1].path = name.into();
        let refused = open(&packed(&manifest, PAYLOAD)).expect_err(name);
        assert!(matches!(refused, BundleError::Manifest { .. }), "{name}: {refused}");
    }
}

#[test]
fn links_and_folders_are_refused() {
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory] {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_path("manifest.json").expect("a short name");
        header.set_cksum();
        builder.append(&header, &[][..]).expect("memory takes it");
        let refused = open(&builder.into_inner().expect("memory takes it")).expect_err("a link");
        assert!(matches!(refused, BundleError::Archive { .. }), "{refused}");
    }
}

#[test]
fn an_older_or_newer_format_is_named() {
    let mut other = manifest();
    other.format = "zal.bundle/9".into();
    let refused = open(&packed(&other, PAYLOAD)).expect_err("another format");
    assert!(refused.to_string().contains("zal.bundle/9"), "{refused}");
}

#[test]
fn another_key_is_refused_until_it_is_trusted() {
    let folder = TempDir::new().expect("a temporary folder");
    signing::make_key(&folder.path().join("mine")).expect("a new key");
    let secret = signing::read_key(Some(&folder.path().join("mine.key"))).expect("it parses");
    let public = fs::read_to_string(folder.path().join("mine.pub")).expect("it is there");
    let text = serde_json::to_vec(&manifest()).expect("a manifest serialises");
    let signature = signing::sign(&text, &secret, "test").expect("it signs");
    let mut files: Vec<(&str, &[u8])> =
        vec![("manifest.json", &text), ("manifest.json.minisig", signature.as_bytes())];
    files.extend(PAYLOAD);
    let mut bytes = Vec::new();
    write_archive(&mut bytes, &files).expect("memory takes it");
    assert!(matches!(open(&bytes), Err(BundleError::Signature { .. })));
    let bundle = open_trusting(&bytes, &[public]).expect("its key is trusted");
    assert_eq!(bundle.signer(), Signer::Trusted);
}

#[test]
fn a_key_is_never_overwritten() {
    let folder = TempDir::new().expect("a temporary folder");
    let stem = folder.path().join("k");
    signing::make_key(&stem).expect("a new key");
    assert!(signing::make_key(&stem).is_err());
}
