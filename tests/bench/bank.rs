//! Benchmarks of the bank: nearest rows and coreset.
//!
//! `ZAL_BANK_FEATURES` names a folder made by `bank_features.py` (`bank_vs_faiss.sh` does both);
//! without it the descriptors are synthetic. Set `RAYON_NUM_THREADS=1` to compare with one thread.

use std::hint::black_box;
use std::path::Path;

#[path = "synthetic.rs"]
mod synthetic;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::{Array2, s};
use synthetic::{DIMS, noise, synthetic};
use zal::bank::coreset::{greedy_k_center, sparse_random_projection};
use zal::bank::search::SearchIndex;

const BANK_ROWS: usize = 20_000;
const QUERIES: usize = 784;

fn load(path: &Path) -> Array2<f32> {
    let bytes = std::fs::read(path).expect("made by bank_features.py");
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    Array2::from_shape_vec((values.len() / DIMS, DIMS), values).expect("whole rows")
}

/// Name, bank rows and queries.
fn features() -> (&'static str, Array2<f32>, Array2<f32>) {
    match std::env::var_os("ZAL_BANK_FEATURES") {
        Some(folder) => {
            let folder = Path::new(&folder);
            ("real", load(&folder.join("rows.f32")), load(&folder.join("queries.f32")))
        }
        None => ("synthetic", synthetic(BANK_ROWS, 2), synthetic(QUERIES, 4)),
    }
}

fn nearest(criterion: &mut Criterion) {
    let (kind, rows, queries) = features();
    let rows = rows.into_shared();
    let mut group = criterion.benchmark_group("nearest");
    group.sample_size(20);
    for (name, count, columns) in [
        ("all", BANK_ROWS, 0..DIMS),
        ("all_2k", 2000, 0..DIMS),
        ("rgb", BANK_ROWS, 0..1536),
        ("fpfh", BANK_ROWS, 1536..DIMS),
    ] {
        let bank = rows.slice(s![..count, ..]).to_owned().into_shared();
        let queries = queries.slice(s![.., columns.clone()]);
        let index = SearchIndex::new(bank, columns).expect("finite rows");
        for k in [1, 3] {
            group.bench_function(format!("{kind}_{name}_k{k}"), |bencher| {
                bencher.iter(|| index.nearest(black_box(queries), k));
            });
        }
    }
    group.sample_size(10);
    let index = SearchIndex::new(noise(BANK_ROWS, DIMS, 8).into_shared(), 0..DIMS).expect("finite rows");
    let queries = noise(QUERIES, DIMS, 9);
    group.bench_function("worst_case_noise_k1", |bencher| {
        bencher.iter(|| index.nearest(black_box(queries.view()), 1));
    });
    group.finish();
}

fn coreset(criterion: &mut Criterion) {
    let (kind, rows, _) = features();
    let projected = sparse_random_projection(rows.slice(s![..BANK_ROWS, ..]), 128, 0);
    let mut group = criterion.benchmark_group("coreset");
    group.sample_size(10);
    group.bench_function(format!("{kind}_20k_to_2k"), |bencher| {
        bencher.iter(|| greedy_k_center(black_box(projected.view()), 2000, 0));
    });
    group.finish();
}

criterion_group!(benches, nearest, coreset);
criterion_main!(benches);
