//! Small clouds that the tests describe.

use ndarray::Array2;
use zal::cloud::OrganizedCloud;

/// A small generator with a fixed stream (Knuth's MMIX constants), uniform in 0..1.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(self.0 >> 48).unwrap()) / 65536.0
    }
}

/// A wavy surface half a metre before a pinhole camera, 1 mm between pixels, with noise; a
/// step of 20 mm in the middle.
pub fn surface(height: usize, width: usize, seed: u64) -> Vec<[f32; 3]> {
    let mut noise = Noise::new(seed);
    let point = |i: usize| {
        let (row, column) = ((i / width) as f32, (i % width) as f32);
        let step = if column > width as f32 * 0.5 { 0.02 } else { 0.0 };
        let z = 0.5 + step + 0.004 * (column * 0.21).sin() * (row * 0.17).cos() + 5e-5 * noise.next();
        [(column - width as f32 / 2.0) * 0.002 * z, (row - height as f32 / 2.0) * 0.002 * z, z]
    };
    (0..height * width).map(point).collect()
}

/// The surface with a tenth of its points missing at random, two round holes, and one
/// measured speck in the middle of the first hole.
pub fn holed(height: usize, width: usize, seed: u64) -> OrganizedCloud {
    let mut noise = Noise::new(seed ^ 77);
    let in_hole = |i: usize, row: f32, column: f32, radius: f32| {
        let (dy, dx) = ((i / width) as f32 - row, (i % width) as f32 - column);
        dy * dy + dx * dx < radius * radius
    };
    let (center_row, center_column) = (height / 2, width / 3);
    let speck = center_row * width + center_column;
    let keep = |i: usize| {
        let first = in_hole(i, center_row as f32, center_column as f32, 9.0);
        let second = in_hole(i, height as f32 * 0.8, width as f32 * 0.8, 4.0);
        i == speck || (!first && !second)
    };
    let points = surface(height, width, seed).into_iter().enumerate();
    let points =
        points.map(|(i, p)| if keep(i) && (noise.next() > 0.1 || i == speck) { p } else { [0.0; 3] });
    OrganizedCloud::new(height, width, points.collect()).unwrap()
}

/// The measured points in their order.
pub fn measured(cloud: &OrganizedCloud) -> Vec<[f32; 3]> {
    cloud.valid_indices().into_iter().map(|i| cloud.points()[i]).collect()
}

/// Rows in which a value differs by more than 1e-3, each with its bins, for messages.
pub fn differing(found: &Array2<f32>, expected: &Array2<f32>) -> Vec<String> {
    assert_eq!(found.dim(), expected.dim());
    let mut texts = Vec::new();
    for (row, (found, expected)) in found.rows().into_iter().zip(expected.rows()).enumerate() {
        let bins: Vec<_> = (0..33).filter(|b| (found[*b] - expected[*b]).abs().gt(&1e-3)).collect();
        let worst = bins.iter().map(|b| (found[*b] - expected[*b]).abs()).fold(0.0, f32::max);
        assert!(found.iter().all(|v| v.is_finite()), "row {row} is finite");
        if !bins.is_empty() {
            texts.push(format!("row {row}: bins {bins:?} by up to {worst:.4}"));
        }
    }
    texts
}
