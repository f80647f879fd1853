//! Normals and FPFH in double precision, written from the formulas: a full sort for the
//! neighbours, an eigenvalue decomposition, arc tangents and floors.

use nalgebra::{Matrix3, SymmetricEigen, Vector3};
use ndarray::Array2;

/// Who a point's neighbours are.
#[derive(Clone, Copy)]
pub enum Near {
    Count(usize),
    Radius(f64),
}

pub struct Slow {
    pub fpfh: Near,
    pub pcl: bool,
}

fn vectors(points: &[[f32; 3]]) -> Vec<Vector3<f64>> {
    points.iter().map(|p| Vector3::from(p.map(f64::from))).collect()
}

/// Neighbours without the point itself.
fn neighbors(points: &[Vector3<f64>], index: usize, near: Near) -> Vec<usize> {
    let mut others: Vec<usize> = (0..points.len()).filter(|i| *i != index).collect();
    let distance = |i: usize| (points[i] - points[index]).norm();
    match near {
        Near::Count(k) => {
            others.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)));
            others.truncate(k - 1);
        }
        Near::Radius(radius) => others.retain(|i| distance(*i) <= radius),
    }
    others
}

/// Normals; `None` with fewer than three points, which have none.
pub fn normals(points: &[[f32; 3]], near: Near) -> Vec<Option<[f32; 3]>> {
    let points = vectors(points);
    let normal = |index: usize| {
        let mut members = neighbors(&points, index, near);
        members.push(index);
        if members.len() < 3 {
            return None;
        }
        let mean = members.iter().map(|i| points[*i]).sum::<Vector3<f64>>() / members.len() as f64;
        let spread = |i: &usize| (points[*i] - mean) * (points[*i] - mean).transpose();
        let eigen = SymmetricEigen::new(members.iter().map(spread).sum::<Matrix3<f64>>() * 1e6);
        let normal = eigen.eigenvectors.column(eigen.eigenvalues.imin()).normalize();
        let normal = if normal.dot(&points[index]) > 0.0 { -normal } else { normal };
        #[expect(clippy::cast_possible_truncation, reason = "normals are compared as f32")]
        Some([normal.x as f32, normal.y as f32, normal.z as f32])
    };
    (0..points.len()).map(normal).collect()
}

/// The three features of a pair; `None` when it has no frame.
fn features(p: Vector3<f64>, n: Vector3<f64>, p2: Vector3<f64>, n2: Vector3<f64>) -> Option<[f64; 3]> {
    let d = p2 - p;
    let length = d.norm();
    let (a1, a2) = (n.dot(&d) / length, n2.dot(&d) / length);
    let swap = a1.abs() < a2.abs();
    let (first, second, d, f3) = if swap { (n2, n, -d, -a2) } else { (n, n2, d, a1) };
    let v = d.cross(&first);
    if length == 0.0 || v.norm() <= 1e-9 * length {
        return None;
    }
    let v = v.normalize();
    Some([first.cross(&v).dot(&second).atan2(first.dot(&second)), v.dot(&second), f3])
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a bin")]
fn bin(share: f64) -> usize {
    (share * 11.0).floor().clamp(0.0, 10.0) as usize
}

fn spfh(points: &[Vector3<f64>], normals: &[Vector3<f64>], index: usize, slow: &Slow) -> [f64; 33] {
    let near = neighbors(points, index, slow.fpfh);
    let mut row = [0.0; 33];
    for other in &near {
        let found = features(points[index], normals[index], points[*other], normals[*other]);
        if found.is_none() && slow.pcl {
            continue;
        }
        let [f1, f2, f3] = found.unwrap_or_default();
        let bins =
            [bin((f1 / std::f64::consts::PI + 1.0) / 2.0), bin((f2 + 1.0) / 2.0), bin((f3 + 1.0) / 2.0)];
        for (block, bin) in bins.into_iter().enumerate() {
            row[block * 11 + bin] += 100.0 / near.len() as f64;
        }
    }
    row
}

/// Descriptors of all points with given normals.
pub fn fpfh(points: &[[f32; 3]], normals: &[[f32; 3]], slow: &Slow) -> Array2<f32> {
    let (points, normals) = (vectors(points), vectors(normals));
    let spfhs: Vec<_> = (0..points.len()).map(|i| spfh(&points, &normals, i, slow)).collect();
    let mut rows = Array2::zeros((points.len(), 33));
    for index in 0..points.len() {
        let mut sums = [0.0; 33];
        for other in neighbors(&points, index, slow.fpfh) {
            let distance_sq = (points[other] - points[index]).norm_squared();
            for bin in 0..33 {
                sums[bin] += if distance_sq > 0.0 { spfhs[other][bin] / distance_sq } else { 0.0 };
            }
        }
        for bin in 0..33 {
            let block: f64 = sums[bin / 11 * 11..bin / 11 * 11 + 11].iter().sum();
            let own = if slow.pcl { 0.0 } else { spfhs[index][bin] };
            let value = if block > 0.0 { sums[bin] * 100.0 / block } else { 0.0 } + own;
            #[expect(clippy::cast_possible_truncation, reason = "descriptors are f32")]
            let value = value as f32;
            rows[[index, bin]] = value;
        }
    }
    rows
}
