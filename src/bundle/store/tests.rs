//! The store after a kill or a power cut at every step of an update, and what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::disk::Step;
use super::*;
use crate::bundle::archive::hex;

const NOW: &str = "2026-01-01T00:00:00Z";
const DEMO: &[u8] = include_bytes!("../../../models/demo.zalb");
const RULES: TrialRules = TrialRules { boots: 2, parts: 3, manual: false };

/// What stands for a bundle where the store looks at no more than its hash.
fn bytes_of(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(1000).collect()
}

fn sha256_of(name: &str) -> String {
    hex(&Sha256::digest(bytes_of(name)))
}

/// Copies a stand-in into its slot.
fn take_in(store: &mut Store, folder: &Path, name: &str) -> Result<Slot, StoreError> {
    let source = folder.join(name);
    fs::write(&source, bytes_of(name)).expect("a temporary folder");
    let received = store.receive(&source, &mut |_, _| {})?;
    store.keep(&received)
}

/// The whole way of a bundle into charge.
fn install(store: &mut Store, folder: &Path, name: &str) -> Result<(), StoreError> {
    let slot = take_in(store, folder, name)?;
    store.begin_test(&slot, 0, NOW)?;
    store.ready(&slot, NOW)?;
    store.activate(&slot, RULES, NOW)
}

/// A store whose factory bundle is `old`.
fn with_old(root: &Path, sources: &Path) -> Store {
    let mut store = Store::open(root).expect("a temporary folder");
    let slot = take_in(&mut store, sources, "old").expect("copied");
    store.set_factory(&slot, 0, NOW).expect("the first");
    store
}

/// What a disk holds: names and data, as programs see them and as a power cut would leave them.
#[derive(Clone, Default)]
struct Model {
    seen: BTreeMap<PathBuf, usize>,
    kept: BTreeMap<PathBuf, usize>,
    seen_data: Vec<Vec<u8>>,
    kept_data: Vec<Vec<u8>>,
}

impl Model {
    fn of(root: &Path) -> Self {
        let mut model = Self::default();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("readable") {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    model.add(&path, fs::read(&path).expect("readable"));
                }
            }
        }
        (model.kept, model.kept_data) = (model.seen.clone(), model.seen_data.clone());
        model
    }

    fn add(&mut self, path: &Path, data: Vec<u8>) {
        self.seen.insert(path.into(), self.seen_data.len());
        self.seen_data.push(data);
        self.kept_data.push(Vec::new());
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::MakeDir(_) => {}
            Step::Create(path) => self.add(path, Vec::new()),
            Step::Append(path, bytes) => self.seen_data[self.seen[path]].extend(bytes),
            Step::SyncFile(path) => {
                let file = self.seen[path];
                self.kept_data[file] = self.seen_data[file].clone();
            }
            Step::Rename(from, to) => {
                let file = self.seen.remove(from).expect("it is there");
                self.seen.insert(to.clone(), file);
            }
            Step::Remove(path) => {
                self.seen.remove(path);
            }
            Step::SyncDir(folder) => {
                let within = |path: &PathBuf| path.parent() == Some(folder);
                self.kept.retain(|path, _| !within(path));
                let synced = self.seen.iter().filter(|(path, _)| within(path));
                self.kept.extend(synced.map(|(path, file)| (path.clone(), *file)));
            }
        }
    }

    /// Writes what would be there into another folder: after a kill, and after power cuts that lost the
    /// data, or data and names, that were not synced.
    fn images(&self, root: &Path, to: &Path) -> [PathBuf; 3] {
        let kinds = [
            ("killed", &self.seen, &self.seen_data),
            ("data lost", &self.seen, &self.kept_data),
            ("names lost", &self.kept, &self.kept_data),
        ];
        kinds.map(|(kind, names, data)| {
            let image = to.join(kind);
            let _ = fs::remove_dir_all(&image);
            for (path, file) in names {
                let place = image.join(path.strip_prefix(root).expect("within the store"));
                fs::create_dir_all(place.parent().expect("a folder")).expect("writable");
                fs::write(place, &data[*file]).expect("writable");
            }
            image
        })
    }
}

/// Records the steps of `scenario` on a fresh store, and the disk before them.
fn recorded(
    root: &Path,
    sources: &Path,
    scenario: impl Fn(&mut Store) -> Result<(), StoreError>,
) -> (Model, Vec<Step>) {
    drop(with_old(root, sources));
    let before = Model::of(root);
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let hook = move |step: &Step| {
        seen.lock().expect("nobody panics").push(step.clone());
        Ok(())
    };
    let mut store = Store::with_disk(root, Disk::with_hook(Box::new(hook))).expect("it is there");
    scenario(&mut store).expect("nothing stops it");
    drop(store);
    let steps = Arc::try_unwrap(steps).expect("the store is gone").into_inner().expect("nobody panics");
    (before, steps)
}

#[test]
fn an_update_that_is_cut_off_at_any_step_leaves_a_whole_bundle_in_charge() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (root, sources, images) =
        (folder.path().join("store"), folder.path().to_owned(), folder.path().join("images"));
    let (old, new) = (sha256_of("old"), sha256_of("new"));
    let update = |store: &mut Store| {
        install(store, &sources, "new")?;
        store.boot(NOW)?;
        for _ in 0..RULES.parts {
            store.parts_judged(1, NOW)?;
        }
        Ok(())
    };
    let (mut model, steps) = recorded(&root, &sources, update);
    assert!(steps.len() > 40, "copy, slot, index, log: {} steps", steps.len());
    let mut in_charge = Vec::new();
    for count in 0..=steps.len() {
        if let Some(step) = count.checked_sub(1).map(|last| &steps[last]) {
            model.apply(step);
        }
        for image in model.images(&root, &images) {
            let at = || {
                format!("{} after {count} steps, the last {:?}", image.display(), steps.get(count.max(1) - 1))
            };
            let mut store = Store::open(&image).expect("it opens");
            let boot = store.boot(NOW).unwrap_or_else(|error| panic!("{error}: {}", at()));
            assert!([&old, &new].contains(&&boot.slot.sha256), "{}", at());
            let found = hex(&Sha256::digest(fs::read(&boot.slot.path).expect("it is there")));
            assert_eq!(found, boot.slot.sha256, "{}", at());
            in_charge.push(boot.slot.sha256.clone());
            // Nothing needs a hand: the same update goes through afterwards.
            if boot.trial.is_none() && boot.slot.sha256 == old {
                install(&mut store, &sources, "new").unwrap_or_else(|error| panic!("{error}: {}", at()));
            }
            let index = store.index().expect("readable");
            assert_eq!((index.current, index.previous), (Some(new.clone()), Some(old.clone())), "{}", at());
        }
    }
    assert!(
        in_charge.starts_with(&[old.clone(), old.clone(), old])
            && in_charge.ends_with(&[new.clone(), new.clone(), new])
    );
}

#[test]
fn a_rollback_that_is_cut_off_at_any_step_leaves_a_whole_bundle_in_charge() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (root, sources, images) =
        (folder.path().join("store"), folder.path().to_owned(), folder.path().join("images"));
    let (old, new) = (sha256_of("old"), sha256_of("new"));
    let setback = Setback::new(SetbackCode::Latency, "slow");
    let there_and_back = |store: &mut Store| {
        install(store, &sources, "new")?;
        store.roll_back(&setback, NOW)?;
        store.collect_garbage(0, NOW).map(|_| ())
    };
    let (mut model, steps) = recorded(&root, &sources, there_and_back);
    for step in &steps {
        model.apply(step);
        for image in model.images(&root, &images) {
            let mut store = Store::open(&image).expect("it opens");
            let boot = store.boot(NOW).unwrap_or_else(|error| panic!("{error} after {step:?}"));
            assert!([&old, &new].contains(&&boot.slot.sha256), "after {step:?}");
        }
    }
    let mut store = Store::open(&root).expect("it opens");
    assert_eq!(store.boot(NOW).expect("a bundle").slot.sha256, old);
    let index = store.index().expect("readable");
    assert_eq!(index.phase, Phase::RolledBack { from: new, setback });
    assert_eq!(store.slots().expect("readable").len(), 1, "what was on trial is gone");
}

#[test]
fn a_disk_that_refuses_any_step_leaves_the_store_usable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = folder.path().to_owned();
    let (old, new) = (sha256_of("old"), sha256_of("new"));
    for stop in 0.. {
        let root = folder.path().join(format!("store {stop}"));
        drop(with_old(&root, &sources));
        let mut left = stop;
        let hook = move |_: &Step| {
            left -= 1;
            if left < 0 { Err(std::io::Error::other("no space left")) } else { Ok(()) }
        };
        let mut store = Store::with_disk(&root, Disk::with_hook(Box::new(hook))).expect("it is there");
        let outcome = install(&mut store, &sources, "new");
        let mut store = Store::open(&root).expect("it opens");
        let boot = store.boot(NOW).expect("a bundle");
        assert!([&old, &new].contains(&&boot.slot.sha256), "step {stop}");
        let Err(error) = outcome else { break };
        assert!(error.to_string().contains("no space left"), "{error}");
    }
}

#[test]
fn a_copy_goes_on_where_it_stopped_and_a_source_that_changes_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = Store::open(&folder.path().join("store")).expect("a temporary folder");
    let source = folder.path().join("new");
    fs::write(&source, bytes_of("new")).expect("writable");
    let part = store.receiving_dir().join(format!("{}.part", sha256_of("new")));
    fs::write(&part, &bytes_of("new")[..400]).expect("writable");
    let mut heard = Vec::new();
    let received = store.receive(&source, &mut |done, all| heard.push((done, all))).expect("copied");
    assert_eq!((received.sha256, heard.last()), (sha256_of("new"), Some(&(2000, 2000))));
    assert_eq!(fs::read(&part).expect("there"), bytes_of("new"));

    // Another file's bytes under the name of this one.
    fs::write(&part, &bytes_of("old")[..400]).expect("writable");
    let refused = store.receive(&source, &mut |_, _| {}).expect_err("the copy is not the source");
    assert!(matches!(refused, StoreError::Changed { .. }), "{refused}");
    assert!(!part.exists(), "the next try begins anew");
    store.receive(&source, &mut |_, _| {}).expect("copied");

    // Replaced between reading and copying.
    fs::remove_file(&part).expect("there");
    let replace = &mut |done, _| {
        if done == 1000 {
            fs::write(folder.path().join("other"), bytes_of("old")).expect("writable");
            let mut file = File::options().write(true).open(&source).expect("there");
            std::io::Write::write_all(&mut file, &bytes_of("old")).expect("writable");
        }
    };
    let refused = store.receive(&source, replace).expect_err("it changed");
    assert!(refused.to_string().contains("changed while it was copied"), "{refused}");
}

#[test]
fn a_trial_ends_by_parts_by_hand_or_by_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = with_old(&folder.path().join("store"), folder.path());
    let (old, new) = (sha256_of("old"), sha256_of("new"));
    let booted = |store: &mut Store| store.boot(NOW).expect("a bundle");

    install(&mut store, folder.path(), "new").expect("installed");
    assert_eq!(booted(&mut store).trial.map(|t| (t.boots_left, t.parts_left)), Some((1, 3)));
    for _ in 0..3 {
        store.parts_judged(1, NOW).expect("counted");
    }
    let index = store.index().expect("readable");
    assert_eq!(index.phase, Phase::Confirmed);

    let back = store.roll_back(&Setback::new(SetbackCode::Manual, "asked for"), NOW).expect("there is one");
    assert_eq!(back.sha256, old);
    store.confirm(NOW).expect("the setback is taken note of");
    assert!(store.confirm(NOW).is_err(), "there is nothing to confirm");

    install(&mut store, folder.path(), "new").expect("installed");
    assert_eq!([booted(&mut store), booted(&mut store)].map(|b| b.slot.sha256), [new.clone(), new]);
    let third = booted(&mut store);
    assert_eq!((third.slot.sha256, third.rolled_back.map(|s| s.code)), (old, Some(SetbackCode::Boots)));
    let events: Vec<String> = store.log().expect("readable").into_iter().map(|line| line.event).collect();
    assert_eq!(events.iter().filter(|e| *e == "trial").count(), 2);
    assert!(events.iter().any(|e| e == "confirmed") && events.iter().any(|e| e == "rolled_back"));
}

#[test]
fn what_is_in_use_is_never_removed_and_nothing_else_stays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = with_old(&folder.path().join("store"), folder.path());
    for name in ["a", "b", "c"] {
        install(&mut store, folder.path(), name).expect("installed");
        for _ in 0..3 {
            store.parts_judged(1, NOW).expect("counted");
        }
    }
    let candidate = take_in(&mut store, folder.path(), "d").expect("copied");
    store.begin_test(&candidate, 0, NOW).expect("no trial");
    take_in(&mut store, folder.path(), "e").expect("copied");
    let removed = store.collect_garbage(0, NOW).expect("removable");
    let mut names: Vec<String> = removed.into_iter().map(|slot| slot.sha256).collect();
    names.sort();
    let mut expected = vec![sha256_of("a"), sha256_of("e")];
    expected.sort();
    assert_eq!(names, expected, "b judged before, c judges, d is tested, old is the factory's");
}

#[test]
fn damage_is_set_aside_and_the_next_best_takes_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("store");
    let mut store = with_old(&root, folder.path());
    install(&mut store, folder.path(), "new").expect("installed");
    let (old, new) = (sha256_of("old"), sha256_of("new"));

    fs::write(store.slot(&new).path, "rotten").expect("writable");
    let boot = store.boot(NOW).expect("the one before");
    assert_eq!(boot.slot.sha256, old);
    assert!(matches!(store.index().expect("readable").phase, Phase::RolledBack { .. }));

    let text = fs::read_to_string(store.index_path()).expect("there");
    for damaged in ["", "x", &text[..text.len() - 2], &text.replace(&old[..8], "00000000")] {
        fs::write(store.index_path(), damaged).expect("writable");
        let mut store = Store::open(&root).expect("it opens");
        assert_eq!(store.boot(NOW).expect("the factory's").slot.sha256, old);
        assert_eq!(store.log().expect("readable").last().map(|line| line.event.as_str()), Some("set_aside"));
    }

    fs::write(store.slot(&old).path, "rotten too").expect("writable");
    assert!(matches!(store.boot(NOW), Err(StoreError::Empty { .. })));
}

#[test]
fn a_refused_bundle_leaves_no_trace_but_a_line_in_the_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = with_old(&folder.path().join("store"), folder.path());
    let trusted = TrustedKeys::new(&[]).expect("the development key");
    let allowed = Rules { allow_development_key: true };
    let source = folder.path().join("new.zalb");
    let before = (store.index().expect("readable"), store.slots().expect("readable"));
    let flipped = |at: usize| {
        let mut bytes = DEMO.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        (DEMO.to_vec(), Rules::default(), "development key"),
        (DEMO[..DEMO.len() / 2].to_vec(), allowed, "copy the file again"),
        (flipped(600), allowed, "signature"),
        (flipped(DEMO.len() / 2), allowed, "what was signed"),
        (b"no bundle at all".to_vec(), allowed, "expected"),
    ];
    for (bytes, rules, words) in cases {
        fs::write(&source, bytes).expect("writable");
        let received = store.receive(&source, &mut |_, _| {}).expect("copied");
        let refused = store.stage(received, &trusted, rules, NOW).expect_err(words).to_string();
        assert!(refused.contains(words), "{words}: {refused}");
        assert_eq!((store.index().expect("readable"), store.slots().expect("readable")), before);
        assert_eq!(fs::read_dir(store.receiving_dir()).expect("readable").count(), 0);
        assert_eq!(store.log().expect("readable").last().map(|l| l.event.clone()), Some("refused".into()));
    }
    fs::write(&source, DEMO).expect("writable");
    let received = store.receive(&source, &mut |_, _| {}).expect("copied");
    let (slot, bundle) = store.stage(received, &trusted, allowed, NOW).expect("whole and allowed");
    assert_eq!(fs::read(&slot.path).expect("there"), DEMO);
    assert!(bundle.name().starts_with("demo"), "{}", bundle.name());
}

#[test]
fn one_installs_at_a_time_and_only_what_was_tested_is_activated() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = with_old(&folder.path().join("store"), folder.path());
    let held = store.installer().expect("nobody else");
    assert!(matches!(store.installer(), Err(StoreError::Busy)));
    drop(held);
    store.installer().expect("free again");
    let slot = take_in(&mut store, folder.path(), "new").expect("copied");
    assert!(store.activate(&slot, RULES, NOW).is_err(), "not tested");
    store.begin_test(&slot, 0, NOW).expect("no trial");
    assert!(store.activate(&slot, RULES, NOW).is_err(), "not passed");
    store.boot(NOW).expect("a bundle");
    let phase = store.index().expect("readable").phase;
    assert!(matches!(phase, Phase::Failed { setback: Setback { code: SetbackCode::Interrupted, .. }, .. }));
    assert!(store.find("").is_err() && store.find("zz").is_err());
    assert_eq!(store.find(&slot.sha256[..8]).expect("one"), slot);
}

#[test]
fn a_download_goes_on_behind_what_is_here_and_only_with_the_servers_tag() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = Store::open(&folder.path().join("store")).expect("a temporary folder");
    let (url, bytes) = ("http://plant/new.zalb", bytes_of("new"));
    let mut download = store.download(url);
    assert_eq!((download.resume_from(), download.have()), (None, 0));
    download.begin(Some("\"v1\"")).expect("writable");
    download.append(&bytes[..400]).expect("writable");
    drop(download);

    assert_eq!(store.download("http://plant/other.zalb").resume_from(), None, "another address");
    let mut download = store.download(url);
    assert_eq!(download.resume_from(), Some((400, "\"v1\"".into())));
    download.go_on().expect("writable");
    download.append(&bytes[400..]).expect("writable");
    let received = download.finish().expect("readable");
    assert_eq!(received.sha256, sha256_of("new"));
    let slot = store.keep(&received).expect("a slot");
    assert_eq!(fs::read(&slot.path).expect("there"), bytes);
    assert_eq!(fs::read_dir(store.receiving_dir()).expect("readable").count(), 0, "nothing is left over");

    // Without a tag nobody knows whether the rest belongs to the beginning.
    let mut download = store.download(url);
    download.begin(None).expect("writable");
    download.append(&bytes[..400]).expect("writable");
    drop(download);
    let mut download = store.download(url);
    assert_eq!(download.resume_from(), None);
    download.discard().expect("removable");
    assert_eq!(fs::read_dir(store.receiving_dir()).expect("readable").count(), 0);
}

#[test]
fn a_download_that_is_cut_off_at_any_step_never_has_a_tag_beside_other_bytes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (root, sources, images) =
        (folder.path().join("store"), folder.path().to_owned(), folder.path().join("images"));
    let (url, versions) = ("http://plant/new.zalb", [bytes_of("one"), bytes_of("two")]);
    let fetch = |store: &mut Store| {
        for (tag, bytes) in ["one", "two"].into_iter().zip(&versions) {
            let mut download = store.download(url);
            download.begin(Some(tag))?;
            for block in bytes.chunks(300) {
                download.append(block)?;
            }
            if tag == "two" {
                download.finish()?;
            }
        }
        Ok(())
    };
    let (mut model, steps) = recorded(&root, &sources, fetch);
    assert!(steps.len() > 15, "{} steps", steps.len());
    let mut resumed = 0;
    for step in &steps {
        model.apply(step);
        for image in model.images(&root, &images) {
            let mut store = Store::open(&image).expect("it opens");
            let Some((have, tag)) = store.download(url).resume_from() else { continue };
            resumed += 1;
            let expected = &versions[usize::from(tag == "two")];
            let mut parts =
                fs::read_dir(store.receiving_dir()).expect("readable").flatten().map(|e| e.path());
            let part = parts.find(|p| p.extension().is_some_and(|e| e == "part")).expect("there");
            let have = usize::try_from(have).expect("small");
            assert_eq!(fs::read(part).expect("readable"), expected[..have], "after {step:?}");
        }
    }
    assert!(resumed > 5, "only {resumed} could be gone on with");
}

#[test]
fn a_device_never_goes_below_its_security_epoch() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = with_old(&folder.path().join("store"), folder.path());
    let slot = take_in(&mut store, folder.path(), "new").expect("copied");
    store.begin_test(&slot, 7, NOW).expect("no trial");
    store.ready(&slot, NOW).expect("tested");
    store.activate(&slot, RULES, NOW).expect("ready");
    let setback = Setback::new(SetbackCode::Manual, "asked for");
    store.parts_judged(1, NOW).expect("counted");
    assert_eq!(store.index().expect("readable").security_epoch, 0, "a trial can still be rolled back");
    store.parts_judged(2, NOW).expect("counted");
    let index = store.index().expect("readable");
    assert_eq!((index.phase, index.security_epoch), (Phase::Confirmed, 7));
    let refused = store.roll_back(&setback, NOW).expect_err("both others are older");
    assert!(matches!(refused, StoreError::Epoch { found: 0, lowest: 7, .. }), "{refused}");
    assert_eq!(store.index().expect("readable").current, Some(slot.sha256.clone()));
    fs::write(&slot.path, "rotten").expect("writable");
    assert!(matches!(store.boot(NOW), Err(StoreError::Empty { .. })), "not even when it is damaged");
}

#[test]
fn a_manual_trial_waits_for_a_person_and_an_orderly_end_costs_no_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = with_old(&folder.path().join("store"), folder.path());
    let slot = take_in(&mut store, folder.path(), "new").expect("copied");
    store.begin_test(&slot, 0, NOW).expect("no trial");
    store.ready(&slot, NOW).expect("tested");
    store.activate(&slot, TrialRules { manual: true, ..RULES }, NOW).expect("ready");
    for _ in 0..5 {
        let boot = store.boot(NOW).expect("a bundle");
        assert_eq!(boot.trial.map(|trial| trial.boots_left), Some(RULES.boots - 1));
        store.return_boot().expect("writable");
    }
    store.set_baseline(1234).expect("writable");
    let trial = store.parts_judged(100, NOW).expect("counted").expect("still on trial");
    assert_eq!((trial.parts_left, trial.baseline_us), (0, Some(1234)));
    assert_eq!(store.in_charge(NOW).expect("a bundle").trial, Some(trial), "reading again counts nothing");
    store.confirm(NOW).expect("by a person");
    assert_eq!(store.index().expect("readable").phase, Phase::Confirmed);
}

#[test]
fn what_is_no_file_is_refused_before_it_is_opened() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = Store::open(&folder.path().join("store")).expect("a temporary folder");
    let refused = store.receive(folder.path(), &mut |_, _| {}).expect_err("a folder");
    assert!(refused.to_string().contains("a folder"), "{refused}");
    // Opening it would wait for a writer for ever.
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        let refused = store.receive(&pipe, &mut |_, _| {}).expect_err("a pipe");
        assert!(refused.to_string().contains("no regular file"), "{refused}");
    }
    let huge = folder.path().join("huge");
    File::create(&huge).and_then(|file| file.set_len((16 << 30) + 1)).expect("a sparse file");
    let refused = store.receive(&huge, &mut |_, _| {}).expect_err("too large");
    assert!(refused.to_string().contains("at most 16 GB"), "{refused}");
    let missing = store.receive(&folder.path().join("none"), &mut |_, _| {}).expect_err("not there");
    assert!(matches!(missing, StoreError::Source { .. }));
}
