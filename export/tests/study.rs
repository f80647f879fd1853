//! A small study from data to tables: its figures are the detector's, and however often it is
//! interrupted, its tables are the same to the byte.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use prost::Message;
use tempfile::TempDir;
use zal::contract::{GraphContract, NORMALCY, POINTNET};
use zal::detector::params::{NormalcyTerm, Scoring};
use zal::detector::{Detector, Mode};
use zal::engine::{Engine, EngineChoice, EngineOptions, load};
use zal::features::Branch;
use zal::features::describe::{Describer, Graphs};
use zal::metrics::{Bootstrap, MaskedMap, aupro, auroc};
use zal::scan::{SensorProfile, png, read};
use zal::score::scan_map;
use zal::synth::{Defect, Family, SynthParams, generate};
use zal_export::bank_build::{BuildParams, build, mode_settings, normal_scans};
use zal_export::graphs::normalcy::{NormalcyWeights, normalcy_model};
use zal_export::graphs::pointnet::{PointNetWeights, pointnet_model};
use zal_export::layout::{self, Split};
use zal_export::onnx::WeightStorage;
use zal_export::study::explain::explain;
use zal_export::study::graphs::{GraphFiles, TrainRequest, with_epsilon};
use zal_export::study::plan::Plan;
use zal_export::study::table::Place;
use zal_export::study::{Setup, run};

const FAMILIES: [Family; 3] = [Family::Ring, Family::Cone, Family::Ball];

const PLAN: &str = r#"
    description = "a small study"
    modes = ["paper", "line"]
    training = [["ring"], ["cone"]]
    seeds = [4]
    fraction = 0.2
    [[arm]]
    name = "without"
    baseline = true
    point = false
    lambda = 0.0
    [[arm]]
    name = "trained"
    line_normalcy = 0.5
    repetition = { weight = 2.0, rank = 1, margin = 1 }
    [[arm]]
    name = "no perturbation"
    line_normalcy = 0.5
    epsilon = 0.0
    [[arm]]
    name = "untrained"
    untrained = true
    modes = ["line"]
"#;

/// Three classes of three normal scans and four test scans each.
fn data_set() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for family in FAMILIES {
        let class = folder.path().join("set").join(family.name());
        let make = |seed: u64, defect: Option<Defect>| {
            generate(&SynthParams { defect, height: 120, width: 130, ..SynthParams::new(family, seed) })
        };
        let put = |split: Split, kind: &str, number: usize, seed: u64, defect: Option<Defect>| {
            layout::write_scan(&class, split, kind, number, &make(seed, defect)).expect("written");
        };
        for (number, seed) in (10..13).enumerate() {
            put(Split::Train, "good", number, seed, None);
        }
        for (number, seed) in (20..22).enumerate() {
            put(Split::Test, "good", number, seed, None);
            put(Split::Test, "bump", number, seed + 10, Some(Defect::Bump));
        }
    }
    folder
}

fn setup(data: &TempDir, out: &Path, jobs: usize) -> Setup {
    Setup {
        data: vec![data.path().join("set")],
        out: out.into(),
        jobs,
        engine: EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() },
        rgb: None,
        cache_bytes_max: 1 << 30,
        bootstrap: Bootstrap { resamples: 200, ..Bootstrap::default() },
    }
}

/// Random weights in place of a training, which depend on the request.
fn graphs(request: &TrainRequest) -> Result<GraphFiles> {
    let seed = request.seed + 100 * u64::from(request.classes[0].as_bytes()[0]);
    let storage = WeightStorage::default();
    let pointnet = pointnet_model(&PointNetWeights::seeded(seed), storage, Vec::new())?;
    let normalcy = normalcy_model(&NormalcyWeights::seeded(seed), 0.02, storage, Vec::new())?;
    let describe = serde_json::json!({});
    Ok(GraphFiles { pointnet: pointnet.encode_to_vec(), normalcy: normalcy.encode_to_vec(), describe })
}

fn plan() -> Plan {
    Plan::parse(PLAN, &[]).expect("a plan")
}

/// The plan in mode `line` alone, where time counts.
fn short_plan() -> Plan {
    Plan::parse(&PLAN.replacen("\"paper\", ", "", 1), &[]).expect("a plan")
}

/// The tables.
fn tables(out: &Path) -> [String; 5] {
    ["cells.csv", "summary.csv", "summary.md", "scans.csv", "curves.csv"]
        .map(|name| fs::read_to_string(out.join(name)).expect(name))
}

/// Every other file of a folder and what lies below it, in order of path.
fn every_other_file(folder: &Path) -> Vec<PathBuf> {
    let mut open = vec![folder.to_path_buf()];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files.into_iter().step_by(2).collect()
}

#[test]
fn a_study_that_was_interrupted_ends_with_the_same_tables() {
    let (data, out) = (data_set(), tempfile::tempdir().expect("a folder"));
    let (straight, broken) = (out.path().join("straight"), out.path().join("broken"));
    let requests = RefCell::new(Vec::new());
    let trainer = |request: &TrainRequest| {
        requests.borrow_mut().push(request.clone());
        graphs(request)
    };
    run(&short_plan(), &setup(&data, &straight, 2), &trainer, &|_| {}).expect("the study runs through");
    let expected = tables(&straight);
    // Arms that differ in the perturbation alone share a training.
    let trained: Vec<_> =
        requests.borrow().iter().map(|r| (r.classes.clone(), r.test_classes.clone())).collect();
    let of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(trained, [(of(&["ring"]), of(&["ball", "cone"])), (of(&["cone"]), of(&["ball", "ring"]))]);

    // The second training fails: what was done before stays.
    let failing = |request: &TrainRequest| {
        ensure!(request.classes == ["ring"], "no power");
        graphs(request)
    };
    let error = run(&short_plan(), &setup(&data, &broken, 1), &failing, &|_| {}).expect_err("it stops");
    assert!(format!("{error:#}").contains("no power"), "{error:#}");
    assert!(!broken.join("cells.csv").exists());
    let again = RefCell::new(0);
    let counting = |request: &TrainRequest| {
        *again.borrow_mut() += 1;
        graphs(request)
    };
    run(&short_plan(), &setup(&data, &broken, 1), &counting, &|_| {}).expect("it goes on");
    assert_eq!(*again.borrow(), 1, "the first training was kept");
    assert_eq!(tables(&broken), expected);

    // Half of everything that was kept is lost, half-written files lie about.
    for file in every_other_file(&broken.join("cache")).iter().chain(&every_other_file(&broken.join("cells")))
    {
        fs::rename(file, file.with_extension("0.partial")).expect("renamed");
    }
    let none = |_: &TrainRequest| -> Result<GraphFiles> { anyhow::bail!("nothing is left to train") };
    run(&short_plan(), &setup(&data, &broken, 3), &none, &|_| {}).expect("it computes what is missing");
    assert_eq!(tables(&broken), expected);
}

#[test]
fn the_tables_hold_every_cell_and_the_detectors_figures() {
    let (data, out) = (data_set(), tempfile::tempdir().expect("a folder"));
    run(&plan(), &setup(&data, out.path(), 2), &graphs, &|_| {}).expect("the study runs through");
    every_cell_and_pair_is_there(&tables(out.path()));
    let timing = fs::read_to_string(out.path().join("timing.txt")).expect("it is written");
    assert!(timing.contains("fpfh"), "{timing}");
    let root = data.path().join("set");
    for mode in [Mode::Paper, Mode::Line] {
        the_figures_are_those_of_the_detector(&tables(out.path())[0], mode, &root);
    }
}

fn every_cell_and_pair_is_there([cells, summary, words, scans, curves]: &[String; 5]) {
    the_finer_tables_stand_beside_the_cells(cells, scans, curves);
    // Two trainings, two test classes each: three arms in two modes, one in one.
    assert_eq!(cells.lines().count(), 1 + 2 * 2 * (3 * 2 + 1));
    let mut sorted: Vec<&str> = cells.lines().skip(1).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, cells.lines().skip(1).collect::<Vec<_>>());
    let names: Vec<&str> = cells.lines().next().expect("a head").split(',').collect();
    for line in cells.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[6..9], ["2", "2", "0"], "{line}");
        let guards = |name: &str| name.starts_with("conf_") || name.starts_with("cf_");
        for (name, figure) in names.iter().zip(&fields).skip(9) {
            if guards(name) && figure.is_empty() {
                continue;
            }
            assert!((0.0..=1.0).contains(&figure.parse::<f64>().expect("a number")), "{line}");
        }
    }
    let row = |start: &str| {
        let found = summary.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} in {summary}")).split(',').collect::<Vec<_>>()
    };
    let trained = row("line,all,all,trained,aupro_fg_published_0.3");
    assert_eq!((trained[5], trained[9]), ("4", "4"), "four cells, four pairs");
    assert_eq!(row("line,all,all,without,aupro_fg_published_0.3")[9..], [""; 4]);
    assert_eq!(row("paper,ring,all,trained,hit1")[5], "2");
    assert!(!summary.contains("paper,all,all,untrained"), "that arm runs in mode line alone");
    assert!(words.contains("## Mode `paper`") && words.contains("| trained - without |"), "{words}");
}

/// Every cell has its scans and curves, and they say what it says.
fn the_finer_tables_stand_beside_the_cells(cells: &str, scans: &str, curves: &str) {
    let columns = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<String>>();
    let cell_names = columns(cells.lines().next().expect("a head"));
    let mut erased_count = 0;
    let auroc_column = cell_names.iter().position(|n| n == "image_auroc").expect("a column");
    for line in cells.lines().skip(1) {
        let (cell, prefix) = (columns(line), line.split(',').take(6).collect::<Vec<_>>().join(",") + ",");
        let of = |table: &str| -> Vec<Vec<String>> {
            table.lines().filter(|row| row.starts_with(&prefix)).map(columns).collect()
        };
        let judged = of(scans);
        assert_eq!(judged.len(), 4, "two good and two defective scans: {prefix}");
        let scores = |defective: &str, column: usize| -> Vec<f32> {
            let rows = judged.iter().filter(|row| row[7] == defective);
            rows.map(|row| row[column].parse().expect("a score")).collect()
        };
        let found = auroc(&scores("false", 8), &scores("true", 8)).expect("both kinds");
        assert_eq!(format!("{found:.6}"), cell[auroc_column]);
        // A part may be so small that too little of it is left beside its defect.
        assert!(judged.iter().all(|row| row[7] == "true" || row[9].is_empty()) && judged[0][11].is_empty());
        let left: Vec<&Vec<String>> = judged.iter().filter(|row| !row[9].is_empty()).collect();
        erased_count += left.len();
        let without: Vec<f32> = left.iter().map(|row| row[9].parse().expect("a score")).collect();
        let conf = auroc(&scores("false", 8), &without).map(|conf| format!("{conf:.6}"));
        let conf_column = cell_names.iter().position(|n| n.starts_with("conf_")).expect("a column");
        assert_eq!(conf.unwrap_or_default(), cell[conf_column]);
        for curve in ["roc", "pro_fg", "pro"] {
            let points: Vec<_> = of(curves).into_iter().filter(|row| row[6] == curve).collect();
            assert!((2..=60).contains(&points.len()), "{prefix}{curve}: {} points", points.len());
            assert_eq!(points[0][7..], ["0.000000", "0.000000"]);
        }
    }
    assert!(erased_count > 0, "some scan has something left beside its defect");
}

/// `cells.csv` as (arm, mode, class) -> (AUPRO, image AUROC) of one training.
fn figures_of(cells: &str, training: &str) -> BTreeMap<(String, String, String), (f64, f64)> {
    let names: Vec<&str> = cells.lines().next().expect("a head").split(',').collect();
    let column = |name: &str| names.iter().position(|n| *n == name).expect(name);
    let (aupro, auroc) = (column("aupro_published_0.3"), column("image_auroc"));
    let rows = cells.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|fields| fields[2] == training)
        .map(|f| {
            let figure = |column: usize| f[column].parse::<f64>().expect("a number");
            ((f[3].to_owned(), f[4].to_owned(), f[5].to_owned()), (figure(aupro), figure(auroc)))
        })
        .collect()
}

fn engine(contract: &GraphContract, onnx: &[u8]) -> Option<Box<dyn Engine>> {
    let options = EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() };
    Some(load(contract, onnx, &options).expect("the graph loads"))
}

/// The detector that `zal-export bank` and a device would make of the arm "trained".
fn detector(mode: Mode, root: &Path) -> Detector {
    let request = TrainRequest {
        data: root.into(),
        classes: vec!["ring".into()],
        test_classes: Vec::new(),
        seed: 4,
        overrides: serde_json::Value::Null,
    };
    let files = graphs(&request).expect("random weights");
    let mut params = mode_settings(mode, &[Branch::Fpfh, Branch::Point], &[(Branch::Point, 1.0)]);
    if let Scoring::Late { normalcy, .. } = &mut params.scoring {
        *normalcy = Some(NormalcyTerm { weight: 0.5, spread: 1.0 });
    }
    let graphs = Graphs {
        rgb: None,
        pointnet: engine(&POINTNET, &files.pointnet),
        normalcy: engine(&NORMALCY, &files.normalcy),
    };
    let mut describer = Describer::new(params.describe.clone(), graphs).expect("both graphs are there");
    let scans = normal_scans(root, &["ring".to_owned()]).expect("there are normal scans");
    let size = BuildParams { fraction: 0.2, rows_max: 20_000 };
    let (bank, params, _) = build(&scans, params, &mut describer, size, &mut |_| {}).expect("a bank");
    Detector::new(mode, params, describer, bank).expect("everything fits")
}

fn the_figures_are_those_of_the_detector(cells: &str, mode: Mode, root: &Path) {
    let found = figures_of(cells, "ring");
    let mut detector = detector(mode, root);
    for class in ["ball", "cone"] {
        let (mut maps, mut scores) = (Vec::new(), [Vec::new(), Vec::new()]);
        for entry in layout::entries(&root.join(class), Split::Test).expect("test scans") {
            let scan = read(&entry.xyz, &SensorProfile::default()).expect("a scan");
            let detection = detector.detect(&scan);
            scores[usize::from(entry.defect != "good")].push(detection.score.expect("a score"));
            let mask = png::decode(&fs::read(entry.gt.expect("a mask")).expect("a file")).expect("a mask");
            let mask = mask.pixels.iter().map(|rgb| rgb[0]).collect();
            let scores = scan_map(&detection.map.expect("a map"));
            maps.push(MaskedMap { scores, mask, width: scan.cloud.width(), object: None });
        }
        let expected = (aupro(&maps).expect("regions"), auroc(&scores[0], &scores[1]).expect("both kinds"));
        let key = ("trained".to_owned(), mode.name().to_owned(), class.to_owned());
        let found = found[&key];
        assert!(
            (found.0 - expected.0).abs() < 1e-6 && (found.1 - expected.1).abs() < 1e-6,
            "{key:?}: found {found:?}, expected {expected:?}"
        );
    }
}

/// Arms that need no training: controls, references with and without a bank, and their baseline.
const METHODS_PLAN: &str = r#"
    description = "methods"
    modes = ["line"]
    training = [["ring"]]
    seeds = [4]
    fraction = 0.2
    [[arm]]
    name = "bank"
    baseline = true
    branches = ["fpfh"]
    [[arm]]
    name = "random"
    control = "random"
    [[arm]]
    name = "mask"
    control = "mask"
    [[arm]]
    name = "anchors"
    branches = ["fpfh"]
    reference = { anchors = 2 }
    [[arm]]
    name = "buffer alone"
    branches = ["fpfh"]
    reference = { buffer = 4, defect_rate = 0.25, bank = false }
"#;

/// Rows of `scans.csv` of an arm and class: (scan, score).
fn scores_of(scans: &str, arm: &str, class: &str) -> BTreeMap<String, f64> {
    let rows = scans.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let rows = rows.filter(|row| row[3] == arm && row[5] == class);
    rows.map(|row| (row[6].to_owned(), row[8].parse().expect("a score"))).collect()
}

#[test]
fn controls_and_references_are_arms_of_a_plan() {
    let (data, out) = (data_set(), tempfile::tempdir().expect("a folder"));
    let plan = Plan::parse(METHODS_PLAN, &[]).expect("a plan");
    let none = |_: &TrainRequest| -> Result<GraphFiles> { anyhow::bail!("nothing is trained") };
    let of = |jobs: usize, name: &str| {
        let out = out.path().join(name);
        run(&plan, &setup(&data, &out, jobs), &none, &|_| {}).expect("it runs through");
        tables(&out)
    };
    let first = of(2, "a");
    assert_eq!(of(1, "b"), first);
    let [cells, _, words, scans, _] = first;
    assert_eq!(cells.lines().count(), 1 + 5 * 2);
    assert!(words.contains("`anchors`") && words.contains("not zero-shot"), "{words}");
    a_scan_is_explained(&plan, &setup(&data, &out.path().join("a"), 1), &scans);
    let root = data.path().join("set");
    for class in ["ball", "cone"] {
        assert_eq!(scores_of(&scans, "buffer alone", class).len(), 4);
        let mask = scores_of(&scans, "mask", class);
        for (scan, size) in &mask {
            let path = root.join(class).join("test").join(scan.split('/').nth(2).expect("a kind"));
            let path = path.join("xyz").join(format!("{}.tiff", scan.rsplit('/').next().expect("a stem")));
            let scan = read(&path, &SensorProfile::default()).expect("a scan");
            let prepared = zal::preprocess::prepare(&scan, &zal::preprocess::PreprocessParams::line());
            let count = prepared.expect("a part").cloud.valid_count();
            assert!((size - f64::from(u32::try_from(count).expect("small"))).abs() < 0.5, "{size} {count}");
        }
        references_equal_a_plain_comparison(&root, class, &scores_of(&scans, "buffer alone", class));
    }
}

/// A defective ball by every arm: the score of the table, a map of the scan's size, a normal patch.
fn a_scan_is_explained(plan: &Plan, setup: &Setup, scans: &str) {
    let name = "ball/test/bump/001".to_owned();
    for arm in plan.arm_names() {
        let place = Place {
            data_set: "set".into(),
            seed: 4,
            training: "ring".into(),
            arm: arm.to_owned(),
            mode: "line".into(),
        };
        let found = explain(plan, setup, &place, std::slice::from_ref(&name)).expect("it is explained");
        let [one] = &found[..] else { panic!("one scan") };
        let score = scores_of(scans, arm, "ball")[&name];
        assert!((f64::from(one.score.expect("a score")) - score).abs() < 1e-6, "{arm}: {one:?}");
        assert_eq!(one.scan_map.scores.len(), 120 * 130);
        let nearest = one.compared.as_ref().and_then(|compared| compared.nearest.clone());
        let from = nearest.map(|nearest| nearest.scan).unwrap_or_default();
        match arm {
            "bank" => assert!(from.starts_with("ring/train/"), "{from}"),
            "anchors" => assert!(from.contains("/train/good/"), "{from}"),
            "buffer alone" => assert!(from.starts_with("ball/") && from != name, "{from}"),
            _ => assert!(from.is_empty() && one.frame_map.is_none()),
        }
        let unknown = explain(plan, setup, &place, &["ball/test/bump/999".to_owned()]);
        assert!(unknown.expect_err("no such scan").to_string().contains("found 0 of 1"));
    }
}

/// FPFH rows of a scan in mode `line`.
fn fpfh_rows(path: &Path) -> Vec<Vec<f64>> {
    use zal::features::fpfh::{FpfhParams, MissingRule, describe_points, pool_patches};
    let scan = read(path, &SensorProfile::default()).expect("a scan");
    let prepared = zal::preprocess::prepare(&scan, &zal::preprocess::PreprocessParams::line());
    let prepared = prepared.expect("a part");
    let grid = zal::features::PatchGrid::of(&prepared.cloud);
    let points = describe_points(&prepared.cloud, &FpfhParams::default());
    let rows = pool_patches(&prepared.cloud, &grid, &points, MissingRule::Skip).rows;
    rows.rows().into_iter().map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect()
}

/// Distance of every row to the nearest row of other scans, less their median.
fn above_median(rows: &[Vec<f64>], others: &[&Vec<Vec<f64>>]) -> Vec<f64> {
    let to = |row: &Vec<f64>| {
        let all = others.iter().flat_map(|scan| scan.iter());
        let squares = all.map(|o| o.iter().zip(row).map(|(a, b)| (a - b).powi(2)).sum::<f64>());
        squares.fold(f64::INFINITY, f64::min).sqrt()
    };
    let distances: Vec<f64> = rows.iter().map(to).collect();
    let mut sorted = distances.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    distances.iter().map(|d| d - median).collect()
}

/// The scores of the buffer's arm are those of some buffer of three good scans and a defective one, each
/// judged without itself, in units of their own spread: the ratios of the scores do not depend on the unit.
fn references_equal_a_plain_comparison(root: &Path, class: &str, found: &BTreeMap<String, f64>) {
    let entries = |split| layout::entries(&root.join(class), split).expect("scans");
    let name = |entry: &layout::Entry| {
        let stem = entry.xyz.file_stem().expect("a stem").to_string_lossy().into_owned();
        format!("{class}/{}/{}/{stem}", entry.split.name(), entry.defect)
    };
    let all: Vec<layout::Entry> = entries(Split::Train).into_iter().chain(entries(Split::Test)).collect();
    let rows: BTreeMap<String, Vec<Vec<f64>>> = all.iter().map(|e| (name(e), fpfh_rows(&e.xyz))).collect();
    let good: Vec<&String> = rows.keys().filter(|name| name.contains("/good/")).collect();
    let defective: Vec<&String> = rows.keys().filter(|name| !name.contains("/good/")).collect();
    let fits = |buffer: &[&String]| {
        let ratios: Vec<f64> = found
            .iter()
            .map(|(scan, score)| {
                let others: Vec<_> = buffer.iter().filter(|n| **n != scan).map(|n| &rows[*n]).collect();
                let expected = above_median(&rows[scan], &others).into_iter().fold(f64::MIN, f64::max);
                expected / score
            })
            .collect();
        // A set keeps its rows with 11 bits.
        ratios.iter().all(|ratio| (ratio / ratios[0] - 1.0).abs() < 1e-2)
    };
    let mut fitting = 0;
    for (i, a) in good.iter().enumerate() {
        for (j, b) in good.iter().enumerate().skip(i + 1) {
            for c in &good[j + 1..] {
                fitting += defective.iter().filter(|d| fits(&[*a, *b, *c, **d])).count();
            }
        }
    }
    assert_eq!(fitting, 1, "{class}: one buffer of four explains the scores {found:?}");
}

#[test]
fn another_epsilon_is_the_graph_written_with_it() {
    let graph = |epsilon: f32| {
        let metadata = vec![("zal.epsilon".to_owned(), epsilon.to_string())];
        let weights = NormalcyWeights::seeded(3);
        normalcy_model(&weights, epsilon, WeightStorage::default(), metadata)
            .expect("a graph")
            .encode_to_vec()
    };
    for epsilon in [0.0, -0.02] {
        assert_eq!(with_epsilon(&graph(0.01), epsilon).expect("its constant is found"), graph(epsilon));
    }
    let pointnet = pointnet_model(&PointNetWeights::seeded(3), WeightStorage::default(), Vec::new());
    let refused = with_epsilon(&pointnet.expect("a graph").encode_to_vec(), 0.1).expect_err("another graph");
    assert!(refused.to_string().contains("epsilon"), "{refused}");
}

#[test]
fn data_that_does_not_fit_the_plan_is_refused() {
    let (data, out) = (data_set(), tempfile::tempdir().expect("a folder"));
    let refused = |plan: &str, setup: &Setup| {
        let plan = Plan::parse(plan, &[]).expect("a plan");
        format!("{:#}", run(&plan, setup, &graphs, &|_| {}).expect_err("it does not fit"))
    };
    let good = setup(&data, out.path(), 1);
    let missing = refused(&PLAN.replace("[\"cone\"]", "[\"rope\"]"), &good);
    assert!(missing.contains("`rope`") && missing.contains("ball, cone, ring"), "{missing}");
    let all = refused(&PLAN.replace("[\"cone\"]", "[\"ring\", \"cone\", \"ball\"]"), &good);
    assert!(all.contains("other than"), "{all}");
    let two = Setup { data: vec![good.data[0].clone(); 2], ..good.clone() };
    assert!(refused(PLAN, &two).contains("one for each"));
    assert!(refused(&PLAN.replace("[4]", "[4, 5]"), &two).contains("two data sets"));
    let unknown = |_: &TrainRequest| {
        let request = |files: GraphFiles| GraphFiles { describe: serde_json::json!({"nothing": 1}), ..files };
        graphs(&TrainRequest {
            data: PathBuf::new(),
            classes: vec!["ring".into()],
            test_classes: Vec::new(),
            seed: 0,
            overrides: serde_json::Value::Null,
        })
        .map(request)
    };
    let error = run(&plan(), &good, &unknown, &|_| {}).expect_err("unknown settings");
    assert!(format!("{error:#}").contains("unknown settings"), "{error:#}");
}

#[test]
fn the_committed_plans_are_plans() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("studies");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the plans' folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text");
        let variables: &[_] = if text.contains("${train.attention}") {
            &[("train.attention".to_owned(), "a.onnx".to_owned())]
        } else {
            &[]
        };
        let plan = Plan::read(&path, variables).expect("a plan");
        assert!(plan.arms.len() > 1, "{}", path.display());
        count += 1;
    }
    assert!(count >= 6, "found {count} plans");
}
