//! The line with a real detector (FPFH alone, so that no network is needed) and procedural parts.

use std::fs;
use std::path::Path;

use ndarray::Array2;
use zal::bank::{Block, MemoryBank, RowOrigin};
use zal::detector::params::{BranchWeight, Scoring};
use zal::detector::{Evaluation, Mode, ModeParams};
use zal::features::Branch;
use zal::features::describe::{Describer, Graphs};
use zal::synth::{Defect, Family, SynthParams, generate};

use super::*;

fn detector() -> Detector {
    let mut params = ModeParams::of(Mode::Line);
    params.describe.branches = vec![Branch::Fpfh];
    let branches = vec![BranchWeight { branch: Branch::Fpfh, weight: 1.0, spread: 2.0 }];
    params.scoring = Scoring::Late { branches, normalcy: None, repetition: None };
    let describer = Describer::new(params.describe.clone(), Graphs::default()).unwrap();
    let block = Block { branch: Branch::Fpfh, dims: 33, mean_norm: 1.0 };
    let rows = Array2::from_elem((1, 33), 1000.0);
    let bank = MemoryBank::new(vec![block], rows, vec![RowOrigin { scan: 0, patch: 0 }], vec!["far".into()]);
    Detector::new(Mode::Line, params, describer, bank.unwrap()).unwrap()
}

fn rules() -> ReferenceRules {
    ReferenceRules { buffer_len: 5, scans_min: 4, anchors_min: 3, bank: false, ..ReferenceRules::default() }
}

fn line(folder: &Path) -> Line {
    let root = folder.join("reference");
    let journal = folder.join("journal.db");
    drop(Journal::open(&journal, "device", folder).unwrap());
    Line {
        detector: detector(),
        recipes: RecipeRule { default: "default".into(), separator: Some("__".into()) },
        rules: rules(),
        sets_max: 2,
        made_with: "bundle-1|line|native|cpu".into(),
        spool: Spool::open(&folder.join("spool")).unwrap(),
        profile: SensorProfile::default(),
        events: Some(Journal::open_existing(&journal, folder).unwrap()),
        alarms: Alarms::default(),
        requests: Requests::open(&root).ok(),
        shelves: Vec::new(),
        pending: None,
        root,
    }
}

fn part(seed: u64, defect: Option<Defect>) -> Scan {
    generate(&SynthParams { defect, height: 120, width: 120, ..SynthParams::new(Family::Tuber, seed) }).scan
}

fn claim(id: &str, part_id: &str) -> Claim {
    Claim { id: id.into(), part_id: part_id.into(), scan_path: PathBuf::new(), tries: 0, in_place: None }
}

/// Judges a part as the detector thread does, and keeps its scan as the recorder does.
fn pass(line: &mut Line, id: &str, recipe: &str, seed: u64) -> Detection {
    let scan = part(seed, None);
    let detection = line.judge(&claim(id, &format!("{recipe}__{id}")), &scan, None);
    let folder = line.spool.work().with_file_name("done").join(id);
    fs::create_dir_all(&folder).unwrap();
    let values: Vec<f32> = scan.cloud.points().iter().flatten().copied().collect();
    let mut bytes = Vec::new();
    zal::scan::npy::write_f32(&mut bytes, &[120, 120, 3], &values).unwrap();
    fs::write(folder.join("part.npy"), bytes).unwrap();
    line.after();
    detection
}

fn fill(line: &mut Line, recipe: &str, count: u64) {
    for seed in 0..count {
        pass(line, &format!("{recipe}-{seed}"), recipe, seed);
    }
}

fn names(line: &mut Line, recipe: &str) -> Vec<String> {
    let at = line.shelf(recipe);
    line.shelves[at].references.members().iter().map(|member| member.name.clone()).collect()
}

fn ask(line: &mut Line, verb: Verb, name: &str) -> Answer {
    let request = Request {
        verb,
        recipe: "a".into(),
        name: name.into(),
        scan: None,
        result_id: None,
        who: "the technician".into(),
        at: crate::telemetry::utc_now(),
    };
    let requests = line.requests.clone().unwrap();
    let place = requests.hand_in(&request).unwrap();
    line.idle();
    requests.wait(&place, std::time::Duration::ZERO).expect("it was carried out")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn a_killed_line_goes_on_where_it_stood() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = line(folder.path());
    fill(&mut before, "a", 7);
    // Nothing is finished: what is on disk is all that is left.
    let next = part(50, None);
    let expected = before.judge(&claim("x", "a__x"), &next, None);
    std::mem::forget(before);
    let mut after = line(folder.path());
    let dir = Store::dir_of(&after.root, "a", &after.made_with);
    fs::write(dir.join("buffer/.000000000099-half.zref.tmp"), b"half").unwrap();
    assert_eq!(names(&mut after, "a"), ["a-2", "a-3", "a-4", "a-5", "a-6"], "the newest of the buffer");
    let found = after.judge(&claim("x", "a__x"), &next, None);
    assert_eq!(found, expected, "the same verdict, score and map to the bit");
    assert_ne!(found.evaluation, Evaluation::NotDecidable);
    assert!(after.alarms.active().is_empty());
}

#[test]
fn recipes_have_sets_of_their_own_and_a_new_one_warms_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut line = line(folder.path());
    fill(&mut line, "a", 5);
    let first = pass(&mut line, "b-0", "b", 0);
    assert_eq!(first.evaluation, Evaluation::NotDecidable);
    assert_eq!(first.reasons[0].code, "warming_up");
    assert!(first.map.is_some() && first.against.is_some_and(|against| against.buffer_count == 0));
    pass(&mut line, "c-0", "c", 1);
    assert_eq!(line.shelves.len(), 2, "the least used set is on disk alone");
    assert_eq!(names(&mut line, "b"), ["b-0"]);
    assert_eq!(names(&mut line, "a").len(), 5, "and is read again when its recipe comes back");
    assert_eq!(line.recipes.of("no recipe in it"), "default");
}

#[test]
fn damaged_files_are_set_aside_with_the_reason_and_the_rest_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = line(folder.path());
    fill(&mut before, "a", 5);
    let dir = Store::dir_of(&before.root, "a", &before.made_with);
    drop(before);
    let kept = files(&dir.join("buffer"));
    let mut bytes = fs::read(&kept[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&kept[1], &bytes).unwrap();
    fs::write(&kept[3], b"").unwrap();
    fs::write(dir.join("state.json"), b"{").unwrap();
    let mut after = line(folder.path());
    assert_eq!(names(&mut after, "a"), ["a-0", "a-2", "a-4"]);
    let alarm = after.alarms.active().into_iter().find(|alarm| alarm.code == AlarmCode::ReferenceDamaged);
    assert!(
        alarm.is_some_and(|alarm| alarm.text.contains("sha256") && alarm.text.starts_with("recipe a: 3 "))
    );
    let aside: Vec<_> = files(&dir.join("damaged"))
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .cloned()
        .collect();
    assert_eq!(aside.len(), 3, "each with its reason");
    fill(&mut after, "a", 5);
    assert_eq!(names(&mut after, "a").len(), 5, "the line goes on");
}

#[test]
fn peoples_words_are_taken_up_noted_and_can_be_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut line = line(folder.path());
    fill(&mut line, "a", 4);
    let added = ask(&mut line, Verb::AnchorAdd, "a-1");
    assert!(added.done && added.text.starts_with("a-1 is an anchor; 1 anchors, 3 scans"), "{}", added.text);
    assert!(ask(&mut line, Verb::NotOk, "a-2").done);
    assert_eq!(names(&mut line, "a"), ["a-0", "a-3", "a-1"]);
    assert!(ask(&mut line, Verb::Withdraw, "a-2").done);
    assert_eq!(names(&mut line, "a"), ["a-0", "a-3", "a-1", "a-2"]);
    assert!(ask(&mut line, Verb::Withdraw, "a-1").done, "an anchor goes");
    assert_eq!(names(&mut line, "a"), ["a-0", "a-3", "a-2"]);
    let unknown = ask(&mut line, Verb::AnchorRemove, "a-9");
    assert!(!unknown.done && unknown.text.contains("there is no anchor a-9"), "{}", unknown.text);
    let gone = ask(&mut line, Verb::AnchorAdd, "never-judged");
    assert!(!gone.done && gone.text.contains("name its file instead"), "{}", gone.text);
    let events = line.events.as_ref().unwrap().report("2000-01-01T00:00:00.000Z").unwrap().events;
    let codes: Vec<&str> = events.iter().map(|(_, code, _)| code.as_str()).collect();
    assert_eq!(codes, ["anchor_add", "not_ok", "withdraw", "withdraw", "anchor_remove", "anchor_add"]);
    assert!(events[1].2.contains("a-2 of recipe a by the technician at 20"), "{}", events[1].2);
    drop(line);
    let mut again = self::line(folder.path());
    assert_eq!(names(&mut again, "a"), ["a-0", "a-3", "a-2"], "all of it is on disk");
}

#[test]
fn a_folder_that_takes_nothing_leaves_the_set_in_memory_with_an_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let mut line = line(folder.path());
    line.root = folder.path().join("a file");
    fs::write(&line.root, b"").unwrap();
    line.requests = None;
    fill(&mut line, "a", 5);
    assert!(line.alarms.is_active(AlarmCode::ReferenceFailing));
    let judged = line.judge(&claim("x", "a__x"), &part(60, None), None);
    assert!(judged.is_verdict(), "{:?}", judged.reasons);
}

#[test]
fn another_bundle_begins_its_own_set_and_finds_the_old_one_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = line(folder.path());
    fill(&mut first, "a", 3);
    drop(first);
    let mut other = line(folder.path());
    other.made_with = "bundle-2|line|native|cpu".into();
    assert_eq!(names(&mut other, "a"), [""; 0]);
    drop(other);
    assert_eq!(names(&mut line(folder.path()), "a").len(), 3);
}
