//! The fuzzed readers on stable Rust: valid files, mutated at random from a fixed seed.
//!
//! A few seconds of it in every run; ten million with `ZAL_LONG=1`. It is no replacement for
//! coverage-guided fuzzing (`tests/fuzz`), which needs nightly, but it needs nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "the long form prints its figures")]

#[path = "fuzz/readers.rs"]
mod readers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zal::scan::ColorImage;

/// Executions of the short and the long form, over all readers.
const SHORT: usize = 40_000;
const LONG: usize = 10_000_000;

/// Numbers and words at which readers stumble.
const WORDS: [&[u8]; 16] = [
    b"0",
    b"-1",
    b"4294967295",
    b"4294967296",
    b"18446744073709551615",
    b"1e309",
    b"nan",
    b"\n",
    b" ",
    b"\0",
    b"\xFF\xFF\xFF\xFF",
    b"\0\0\0\x80",
    b"\xFF\xFF\xFF\x7F",
    b"end_header\n",
    b"binary_compressed",
    b"{\"a\":[[[[",
];

/// One reader, its seeds, and its share of the executions.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
    seeds: Vec<Vec<u8>>,
    share: usize,
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scan").join(name)).unwrap()
}

/// Twelve points on a grid of 3 x 4, a millimetre apart, half a metre away.
fn points() -> Vec<[f32; 3]> {
    (0..12_u8).map(|i| [f32::from(i % 4) * 0.01, f32::from(i / 4) * 0.01, 0.5]).collect()
}

fn npy_seed() -> Vec<u8> {
    let mut bytes = Vec::new();
    zal::scan::npy::write_f32(&mut bytes, &[3, 4, 3], points().as_flattened()).unwrap();
    bytes
}

fn pcd_seeds() -> Vec<Vec<u8>> {
    let header = |data: &str| {
        format!(
            "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 4\nHEIGHT 3\n\
             VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 12\nDATA {data}\n"
        )
        .into_bytes()
    };
    let lines: String = points().iter().map(|[x, y, z]| format!("{x} {y} {z}\n")).collect();
    let values: Vec<u8> = points().as_flattened().iter().flat_map(|v| v.to_le_bytes()).collect();
    // Literal runs only, which is valid LZF: a length of 0 to 31, then one byte more than that.
    let packed: Vec<u8> =
        values.chunks(16).flat_map(|run| std::iter::once(15).chain(run.iter().copied())).collect();
    let sizes = [packed.len(), values.len()].map(|len| u32::try_from(len).unwrap().to_le_bytes()).concat();
    vec![
        [header("ascii"), lines.into_bytes()].concat(),
        [header("binary"), values].concat(),
        [header("binary_compressed"), sizes, packed].concat(),
    ]
}

fn ply_seeds() -> Vec<Vec<u8>> {
    let header = |format: &str| {
        format!(
            "ply\nformat {format} 1.0\nobj_info num_cols 4\nobj_info num_rows 3\nelement vertex 12\nproperty float x\n\
             property float y\nproperty float z\nend_header\n"
        )
        .into_bytes()
    };
    let lines: String = points().iter().map(|[x, y, z]| format!("{x} {y} {z}\n")).collect();
    let values: Vec<u8> = points().as_flattened().iter().flat_map(|v| v.to_le_bytes()).collect();
    vec![[header("ascii"), lines.into_bytes()].concat(), [header("binary_little_endian"), values].concat()]
}

fn picture_seed() -> Vec<u8> {
    zal::scan::png::encode(&ColorImage { height: 3, width: 4, pixels: vec![[1, 2, 3]; 12] }).unwrap()
}

/// A bank of two rows.
fn bank_seed() -> Vec<u8> {
    let block = zal::bank::Block { branch: zal::features::Branch::Fpfh, dims: 3, mean_norm: 1.0 };
    let rows = ndarray::Array2::from_elem((2, 3), 0.5_f32);
    let origins =
        vec![zal::bank::RowOrigin { scan: 0, patch: 1 }, zal::bank::RowOrigin { scan: 0, patch: 2 }];
    let bank = zal::bank::MemoryBank::new(vec![block], rows, origins, vec!["scan".into()]).unwrap();
    let mut bytes = Vec::new();
    zal::bank::file::write(&bank, zal::bank::file::RowDtype::F32, &mut bytes).unwrap();
    bytes
}

/// The manifest of the demo bundle: the first file of the tar.
fn manifest_seed() -> Vec<u8> {
    let bundle = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo.zalb")).unwrap();
    let size = std::str::from_utf8(&bundle[124..135]).unwrap();
    let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).unwrap();
    bundle[512..512 + size].to_vec()
}

fn targets() -> Vec<Target> {
    let tiffs = ["plain.tiff", "deflate.tiff", "lzw.tiff", "tiled.tiff", "planar.tiff", "bigtiff.tiff"];
    let target = |name, run, seeds, share| Target { name, run, seeds, share };
    vec![
        target("npy", readers::npy, vec![npy_seed()], 25),
        target("pcd", readers::pcd, pcd_seeds(), 25),
        target("ply", readers::ply, ply_seeds(), 25),
        target("bank", readers::bank, vec![bank_seed()], 15),
        target("manifest", readers::manifest, vec![manifest_seed()], 5),
        target("picture", readers::picture, vec![picture_seed()], 4),
        target("tiff", readers::tiff, tiffs.map(golden).to_vec(), 1),
    ]
}

fn below(random: &mut ChaCha8Rng, end: usize) -> usize {
    random.next_u32() as usize % end.max(1)
}

/// One to eight changes.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut ChaCha8Rng) {
    for _ in 0..=below(random, 8) {
        let at = below(random, bytes.len());
        let end = (at + 1 + below(random, 16)).min(bytes.len());
        match below(random, 7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(random, 8),
            1 if !bytes.is_empty() => bytes[at] = random.next_u32().to_le_bytes()[0],
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let piece = bytes[at.min(end)..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            4 => drop(bytes.splice(at..at, WORDS[below(random, WORDS.len())].iter().copied())),
            5 => drop(bytes.splice(at.min(end)..end, WORDS[below(random, WORDS.len())].iter().copied())),
            _ => {
                let from = below(random, other.len());
                let piece = other[from..(from + 32).min(other.len())].to_vec();
                let end = (at + piece.len()).min(bytes.len());
                drop(bytes.splice(at.min(end)..end, piece));
            }
        }
    }
}

#[test]
fn no_reader_panics_or_believes_a_false_size() {
    let total = if std::env::var_os("ZAL_LONG").is_some() { LONG } else { SHORT };
    for target in targets() {
        for seed in &target.seeds {
            (target.run)(seed);
        }
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let (start, count) = (Instant::now(), total / 100 * target.share);
        for execution in 0..count {
            let mut bytes = target.seeds[below(&mut random, target.seeds.len())].clone();
            let other = &target.seeds[below(&mut random, target.seeds.len())];
            mutate(&mut bytes, other, &mut random);
            let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
            if outcome.is_err() {
                let path = std::env::temp_dir().join(format!("zal-fuzz-{}-{execution}", target.name));
                std::fs::write(&path, &bytes).unwrap();
                panic!("{}: execution {execution} failed; its input is {}", target.name, path.display());
            }
        }
        eprintln!("{}: {count} executions in {:.0} s", target.name, start.elapsed().as_secs_f64());
    }
}
