//! The built-in method `btf` against a plain float64 version of the published baseline, from the pooling of
//! the backbone's maps to the 8-bit anomaly map: image scores and figures of a small data set.
//!
//! The frame, the FPFH of single points and the backbone's raw maps come from the library, which tests
//! them by themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zal::contract::RGB;
use zal::engine::{Engine, EngineChoice, EngineOptions, Input, load};
use zal::features::fpfh::{FpfhParams, Orientation, describe_points};
use zal::features::rgb::input_tensor;
use zal::features::{GRID_SIZE, PATCH_SIZE, PatchGrid};
use zal::metrics::{Bootstrap, MaskedMap, aupro, auroc};
use zal::preprocess::{FRAME_SIZE, PreparedScan, PreprocessParams, prepare};
use zal::scan::{SensorProfile, png, read};
use zal::score::{AnomalyMap, scan_map};
use zal::synth::{Defect, Family, SynthParams, generate};
use zal_export::layout::{self, Split};
use zal_export::study::methods::by_name;
use zal_export::study::plan::Plan;
use zal_export::study::{Setup, run};

const FRACTION: f32 = 0.04;

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    fs::read(folder.join(name)).expect("a golden file")
}

/// Normal rings, and balls to judge.
fn data_set() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("set");
    let put = |family: Family, split: Split, number: usize, seed: u64, defect: Option<Defect>| {
        let made =
            generate(&SynthParams { defect, height: 140, width: 150, ..SynthParams::new(family, seed) });
        let kind = if defect.is_some() { "dent" } else { "good" };
        layout::write_scan(&root.join(family.name()), split, kind, number, &made).expect("written");
    };
    for (number, seed) in (10..13).enumerate() {
        put(Family::Ring, Split::Train, number, seed, None);
        put(Family::Ball, Split::Train, number, seed, None);
    }
    for (number, seed) in (20..22).enumerate() {
        put(Family::Ball, Split::Test, number, seed, None);
        put(Family::Ball, Split::Test, number, seed + 10, Some(Defect::Dent));
    }
    folder
}

fn engine() -> EngineOptions {
    EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() }
}

/// Runs the method by a study and gives its folder.
fn studied(data: &Path, out: &Path) {
    let mut arm = by_name("btf").expect("a method");
    arm.baseline = true;
    let plan = Plan {
        description: "the baseline".into(),
        modes: arm.modes.clone().expect("the method names its mode"),
        training: vec![vec!["ring".into()]],
        seeds: vec![1],
        fraction: FRACTION,
        rows_max: 1000,
        rgb: None,
        train: serde_json::Map::new(),
        arms: vec![arm],
    };
    let setup = Setup {
        data: vec![data.into()],
        out: out.into(),
        jobs: 2,
        engine: engine(),
        rgb: Some(golden("rgb.onnx")),
        cache_bytes_max: 1 << 30,
        bootstrap: Bootstrap { resamples: 100, ..Bootstrap::default() },
    };
    run(&plan, &setup, &|_| anyhow::bail!("nothing is trained"), &|_| {}).expect("the study runs");
}

/// Mean of the 3 x 3 cells around every inner cell, then means of the cells that each of 28 equal shares
/// of a side touches (adaptive average pooling).
fn pooled(map: &dyn Fn(usize, usize) -> f64, side: usize) -> Vec<f64> {
    let inner = side - 2;
    let mut averaged = vec![0.0; inner * inner];
    for (i, value) in averaged.iter_mut().enumerate() {
        let (row, column) = (i / inner, i % inner);
        *value = (0..9).map(|k| map(row + k / 3, column + k % 3)).sum::<f64>() / 9.0;
    }
    let share = |i: usize| (i * inner / GRID_SIZE)..((i + 1) * inner).div_ceil(GRID_SIZE);
    let mut cells = Vec::new();
    for row in 0..GRID_SIZE {
        for column in 0..GRID_SIZE {
            let members: Vec<f64> = share(row)
                .flat_map(|r| share(column).map(move |c| (r, c)))
                .map(|(r, c)| averaged[r * inner + c])
                .collect();
            cells.push(members.iter().sum::<f64>() / as_f64(members.len()));
        }
    }
    cells
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("small"))
}

/// Descriptors of the valid patches: both maps of the backbone and FPFH with zeros averaged in, raw.
fn described(prepared: &PreparedScan, graph: &mut dyn Engine) -> (PatchGrid, Vec<Vec<f64>>) {
    let grid = PatchGrid::of(&prepared.cloud);
    let mut rows = vec![Vec::new(); grid.count()];
    let image = input_tensor(prepared.color.as_ref().expect("colour"));
    for map in graph.run(&[Input::F32(image.view().into_dyn())]).expect("the graph runs") {
        let side = map.shape()[2];
        for channel in 0..map.shape()[1] {
            let cells = pooled(&|r, c| f64::from(map[[0, channel, r, c]]), side);
            for (row, patch) in rows.iter_mut().zip(grid.patches()) {
                row.push(cells[usize::from(*patch)]);
            }
        }
    }
    let params = FpfhParams { orientation: Orientation::None, ..FpfhParams::default() };
    let points = describe_points(&prepared.cloud, &params);
    let pixels = prepared.cloud.valid_indices();
    for (row, patch) in rows.iter_mut().zip(grid.patches()) {
        let cell =
            |pixel: usize| (pixel / FRAME_SIZE / PATCH_SIZE) * GRID_SIZE + pixel % FRAME_SIZE / PATCH_SIZE;
        let mut sums = vec![0.0; 33];
        for (at, pixel) in pixels.iter().enumerate().filter(|(_, p)| cell(**p) == usize::from(*patch)) {
            assert!(*pixel < FRAME_SIZE * FRAME_SIZE);
            sums.iter_mut().zip(points.row(at)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        row.extend(sums.iter().map(|sum| sum / 64.0));
    }
    (grid, rows)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
}

fn lowest(values: &[f64]) -> usize {
    (0..values.len()).min_by(|a, b| values[*a].total_cmp(&values[*b])).expect("there are values")
}

fn highest(values: &[f64]) -> usize {
    let first_of_equals = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]).then(b.cmp(a));
    (0..values.len()).max_by(first_of_equals).expect("there are values")
}

/// Greedy k-centre from the first row on.
fn coreset(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let count = (as_f64(rows.len()) * f64::from(FRACTION)).floor();
    let mut picked = vec![0];
    let mut nearest: Vec<f64> = rows.iter().map(|row| distance(row, &rows[0])).collect();
    while as_f64(picked.len()) < count {
        let next = highest(&nearest);
        picked.push(next);
        for (near, row) in nearest.iter_mut().zip(rows) {
            *near = near.min(distance(row, &rows[next]));
        }
    }
    picked.into_iter().map(|row| rows[row].clone()).collect()
}

/// Distance of every patch and the re-weighted image score.
fn compared(rows: &[Vec<f64>], bank: &[Vec<f64>]) -> (Vec<f64>, f64) {
    let to_bank = |row: &[f64]| bank.iter().map(|b| distance(row, b)).collect::<Vec<f64>>();
    let all: Vec<Vec<f64>> = rows.iter().map(|row| to_bank(row)).collect();
    let distances: Vec<f64> = all.iter().map(|d| d[lowest(d)]).collect();
    let worst = highest(&distances);
    let around = to_bank(&bank[lowest(&all[worst])]);
    let mut order: Vec<usize> = (0..bank.len()).collect();
    order.sort_by(|a, b| around[*a].total_cmp(&around[*b]));
    let scale = as_f64(bank[0].len()).sqrt();
    let sum: f64 = order[1..3].iter().map(|i| (all[worst][*i] / scale).exp()).sum();
    let score = distances[worst] * (1.0 - (distances[worst] / scale).exp() / sum);
    (distances, score)
}

/// One pass of a box blur of radius 3.4375, rounded.
fn box_blur(line: &[f64]) -> Vec<f64> {
    let last = line.len() - 1;
    let at = |i: usize, step: isize| line[i.saturating_add_signed(step).min(last)];
    let one = |i: usize| {
        let whole: f64 = (-3..=3).map(|step| at(i, step)).sum();
        ((whole + 0.4375 * (at(i, -4) + at(i, 4))) / 7.875).round()
    };
    (0..line.len()).map(one).collect()
}

/// The map of the patch distances on the frame.
fn map_of(grid: &PatchGrid, distances: &[f64]) -> Vec<f32> {
    let mut cells = vec![0.0; GRID_SIZE * GRID_SIZE];
    grid.patches().iter().zip(distances).for_each(|(patch, d)| cells[usize::from(*patch)] = *d);
    let tap = |i: usize| {
        let at = ((as_f64(i) + 0.5) / 8.0 - 0.5).max(0.0);
        let first = (i + 4) / 8;
        let first = first.saturating_sub(1);
        (first, (first + 1).min(GRID_SIZE - 1), at - as_f64(first))
    };
    let value = |row: usize, column: usize| {
        let ((top, bottom, down), (left, right, along)) = (tap(row), tap(column));
        let mix =
            |r: usize| cells[r * GRID_SIZE + left] * (1.0 - along) + cells[r * GRID_SIZE + right] * along;
        mix(top) * (1.0 - down) + mix(bottom) * down
    };
    let enlarged: Vec<f64> =
        (0..FRAME_SIZE * FRAME_SIZE).map(|i| value(i / FRAME_SIZE, i % FRAME_SIZE)).collect();
    let unit = enlarged[highest(&enlarged)];
    let mut levels: Vec<f64> = enlarged.iter().map(|v| (v / unit * 255.0).floor()).collect();
    for _ in 0..2 {
        let mut turned = vec![0.0; levels.len()];
        for (row, line) in levels.chunks(FRAME_SIZE).enumerate() {
            let blurred = box_blur(&box_blur(&box_blur(line)));
            blurred.iter().enumerate().for_each(|(column, v)| turned[column * FRAME_SIZE + row] = *v);
        }
        levels = turned;
    }
    levels.iter().map(|level| narrow(level / 255.0 * unit)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a map's values")]
const fn narrow(value: f64) -> f32 {
    value as f32
}

fn prepared(path: &Path) -> PreparedScan {
    let scan = read(path, &SensorProfile::default()).expect("a scan");
    prepare(&scan, &PreprocessParams::paper()).expect("a part")
}

/// Rows of a table by the value of one column.
fn rows_by(text: &str, column: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let names: Vec<&str> = text.lines().next().expect("a head").split(',').collect();
    let row = |line: &str| -> BTreeMap<String, String> {
        names.iter().map(|n| (*n).to_owned()).zip(line.split(',').map(str::to_owned)).collect()
    };
    text.lines().skip(1).map(row).map(|row| (row[column].clone(), row)).collect()
}

fn close(found: &str, expected: f64, tolerance: f64, what: &str) {
    let number: f64 = found.parse().expect("a number");
    assert!((number - expected).abs() <= tolerance, "{what}: found {number}, expected {expected}");
}

#[test]
fn the_method_btf_is_the_published_baseline() {
    let (data, out) = (data_set(), tempfile::tempdir().expect("a folder"));
    let root = data.path().join("set");
    studied(&root, out.path());
    let table = |name: &str| fs::read_to_string(out.path().join(name)).expect(name);
    let scans = rows_by(&table("scans.csv"), "scan");
    let cells = rows_by(&table("cells.csv"), "test_class");
    let mut graph = load(&RGB, &golden("rgb.onnx"), &engine()).expect("the graph loads");
    let entries = |class: &str, split| layout::entries(&root.join(class), split).expect("scans");
    let normal: Vec<PathBuf> = entries("ring", Split::Train).into_iter().map(|e| e.xyz).collect();
    let rows: Vec<Vec<f64>> =
        normal.iter().flat_map(|path| described(&prepared(path), graph.as_mut()).1).collect();
    let bank = coreset(&rows);
    assert!(bank.len() > 5, "the bank has {} rows of {}", bank.len(), rows.len());
    let (mut maps, mut scores) = (Vec::new(), [Vec::new(), Vec::new()]);
    for entry in entries("ball", Split::Test) {
        let prepared = prepared(&entry.xyz);
        let (grid, rows) = described(&prepared, graph.as_mut());
        let (distances, score) = compared(&rows, &bank);
        let stem = entry.xyz.file_stem().expect("a stem").to_string_lossy().into_owned();
        let name = format!("ball/test/{}/{stem}", entry.defect);
        // f32 rows of norm 100 and more: six digits are left of a distance.
        close(&scans[&name]["score"], score, 1e-3 * score.abs().max(1.0), &name);
        scores[usize::from(entry.defect != "good")].push(narrow(score));
        let mask = png::decode(&fs::read(entry.gt.expect("a mask")).expect("a file")).expect("a mask");
        let map = AnomalyMap { values: map_of(&grid, &distances), window: prepared.window };
        let mask: Vec<u8> = mask.pixels.iter().map(|rgb| rgb[0]).collect();
        maps.push(MaskedMap { scores: scan_map(&map), mask, width: map.window.scan_width, object: None });
    }
    // A distance at the edge of a level may fall to either side of it in f32.
    let expected = aupro(&maps).expect("regions");
    close(&cells["ball"]["aupro_published_0.3"], expected, 5e-3, "AUPRO");
    let expected = auroc(&scores[0], &scores[1]).expect("both kinds");
    close(&cells["ball"]["image_auroc"], expected, 1e-6, "image AUROC");
}
