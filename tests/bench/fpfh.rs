//! Normals and FPFH on the 49,480-point reference cloud, one thread.
//!
//! Reads `vectors/fpfh/spud_bump_224.npy` and its `_index.npy` under the folder named by
//! `ZAL_SHARED`; without it, a wavy surface of the same size stands in.
//! `fpfh_vs_open3d.sh` runs this beside Open3D and prints the ratio.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, criterion_group, criterion_main};
use zal::cloud::OrganizedCloud;
use zal::features::fpfh::{FpfhParams, Orientation, describe_points, describe_unorganized};
use zal::neighbors::Reach;
use zal::normals;

const SIZE: usize = 224;

fn npy_payload(name: &str) -> Option<Vec<u8>> {
    let folder = PathBuf::from(std::env::var_os("ZAL_SHARED")?).join("vectors/fpfh");
    let bytes = std::fs::read(folder.join(name)).ok()?;
    let header_len = usize::from(u16::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?]));
    Some(bytes[10 + header_len..].to_vec())
}

fn reference_cloud() -> Option<OrganizedCloud> {
    let word = |bytes: &[u8]| [bytes[0], bytes[1], bytes[2], bytes[3]];
    let (values, pixels) = (npy_payload("spud_bump_224.npy")?, npy_payload("spud_bump_224_index.npy")?);
    let mut points = vec![[0.0; 3]; SIZE * SIZE];
    for (point, pixel) in values.chunks_exact(12).zip(pixels.chunks_exact(4)) {
        let pixel = usize::try_from(i32::from_le_bytes(word(pixel))).ok()?;
        points[pixel] = [0, 4, 8].map(|at| f32::from_le_bytes(word(&point[at..])));
    }
    OrganizedCloud::new(SIZE, SIZE, points).ok()
}

#[expect(clippy::cast_precision_loss, reason = "pixel numbers are small")]
fn wavy_cloud() -> OrganizedCloud {
    let point = |i: usize| {
        let (u, v) = ((i % SIZE) as f32 / 112.0 - 1.0, (i / SIZE) as f32 / 112.0 - 1.0);
        let z = 0.57 + 0.01 * (u * 9.0).sin() * (v * 7.0).cos();
        [u * 0.15 * z, v * 0.15 * z, z]
    };
    OrganizedCloud::new(SIZE, SIZE, (0..SIZE * SIZE).map(point).collect()).expect("the points fill the grid")
}

fn bench(criterion: &mut Criterion) {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("no pool was started before");
    let cloud = reference_cloud().unwrap_or_else(wavy_cloud);
    let points: Vec<_> = cloud.valid_indices().into_iter().map(|i| cloud.points()[i]).collect();
    let params = FpfhParams::default();
    let mut group = criterion.benchmark_group(format!("fpfh_{}_points", points.len()));
    group.sample_size(10);
    group.bench_function("organized", |b| b.iter(|| describe_points(black_box(&cloud), &params)));
    group.bench_function("organized_normals_only", |b| {
        b.iter(|| normals::estimate(black_box(&cloud), Reach::Nearest(30), Orientation::Camera));
    });
    group.bench_function("unorganized", |b| {
        b.iter(|| describe_unorganized(black_box(&points), None, &params).expect("finite points"));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
