//! Benchmarks of a reference set: one scan of 430 patches against N others, taking it in, and reading the
//! set back.
//!
//! `ZAL_BANK_FEATURES` names a folder made by `bank_features.py` (`references_vs_faiss.sh` does both);
//! without it the descriptors are synthetic. Set `RAYON_NUM_THREADS=1` to compare with one thread.

use std::hint::black_box;
use std::path::Path;

#[path = "synthetic.rs"]
mod synthetic;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ndarray::{Array2, s};
use synthetic::{DIMS, synthetic};
use zal::detector::params::Scoring;
use zal::detector::references::{
    Candidate, DescribedScan, ReferenceRules, References, ScanFacts, Source, decode, encode,
};
use zal::detector::{Mode, ModeParams};
use zal::features::{Branch, PatchFeatures};

const PATCHES: usize = 430;
const RGB_DIMS: usize = 512;

/// Real descriptors, or synthetic ones.
fn rows() -> (&'static str, Array2<f32>) {
    match std::env::var_os("ZAL_BANK_FEATURES") {
        Some(folder) => {
            let bytes = std::fs::read(Path::new(&folder).join("rows.f32")).expect("made by bank_features.py");
            let values: Vec<f32> =
                bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
            ("real", Array2::from_shape_vec((values.len() / DIMS, DIMS), values).expect("whole rows"))
        }
        None => ("synthetic", synthetic(20_000, 2)),
    }
}

/// The `index`-th scan: consecutive rows, from the start again when they end.
fn scan(rows: &Array2<f32>, index: usize) -> Candidate {
    let at = index * PATCHES % (rows.nrows() - PATCHES);
    let part = |branch, columns: std::ops::Range<usize>| PatchFeatures {
        branch,
        rows: rows.slice(s![at..at + PATCHES, columns]).to_owned(),
    };
    // The third branch has as many columns as FPFH.
    let features = vec![
        part(Branch::Rgb, 0..RGB_DIMS),
        part(Branch::Fpfh, DIMS - 33..DIMS),
        part(Branch::Point, DIMS - 66..DIMS - 33),
    ];
    let patches = (0..PATCHES).map(|patch| u16::try_from(patch).expect("a patch of the grid")).collect();
    let described = DescribedScan { patches, features, logits: None };
    Candidate { name: format!("scan {index}"), described, turned: Vec::new(), facts: ScanFacts::default() }
}

fn set(rows: &Array2<f32>, count: usize, params: &ModeParams) -> References {
    let rules = ReferenceRules { buffer_len: count, bank: false, ..ReferenceRules::default() };
    let mut set = References::new(rules, params).expect("mode line");
    for index in 0..count {
        set.add(scan(rows, index), Source::Buffer, None).expect("the rows fit");
    }
    set.refresh_all().expect("finite rows");
    set
}

fn references(criterion: &mut Criterion) {
    let (kind, rows) = rows();
    let params = ModeParams::of(Mode::Line);
    let mut search = params.clone();
    if let Scoring::Late { repetition, .. } = &mut search.scoring {
        // Alone, as faiss does it; the scan's own repetition is another stage.
        *repetition = None;
    }
    let mut group = criterion.benchmark_group("references");
    group.sample_size(10);
    for count in [32, 128] {
        let set_of = set(&rows, count, &search);
        let next = scan(&rows, count);
        group.bench_function(format!("{kind}_look_{count}"), |bencher| {
            bencher.iter(|| set_of.look("next", black_box(&next.described), None));
        });
        let look = set_of.look("next", &next.described, None).expect("finite rows");
        let judgement = set_of.judge(&look);
        group.bench_function(format!("{kind}_judge_{count}"), |bencher| {
            bencher.iter(|| set_of.judge(black_box(&look)));
        });
        group.bench_function(format!("{kind}_admit_{count}"), |bencher| {
            let fresh = || (set_of.clone(), next.clone());
            let admit = |(mut set, next): (References, Candidate)| set.admit(next, &look, &judgement);
            bencher.iter_batched(fresh, admit, BatchSize::PerIteration);
        });
        let names: Vec<String> = set_of.members().iter().map(|member| member.name.clone()).collect();
        let files: Vec<Vec<u8>> = names.iter().filter_map(|name| encode(&set_of, name)).collect();
        let rules = *set_of.rules();
        group.bench_function(format!("{kind}_read_back_{count}"), |bencher| {
            bencher.iter(|| {
                let stored = files.iter().map(|bytes| decode(bytes).expect("its own file")).collect();
                let mut again = References::new(rules, &search).expect("mode line");
                again.restore(stored, set_of.state().clone())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, references);
criterion_main!(benches);
