//! Concatenated descriptors for mode `paper`: the branches side by side in one row.
//!
//! FPFH rows have norms above 100 where ReLU features are of order 10, so the raw
//! concatenation's Euclidean distance is FPFH alone. Dividing each block by its mean norm
//! over normal patches makes the branches count alike; `raw` is the paper's baseline.

use ndarray::{Array2, s};

use super::{Branch, PatchFeatures};

/// The factor of a block: `weight / mean_norm`; 0 when the block was always zero.
#[must_use]
pub fn block_scale(mean_norm: f32, weight: f32) -> f32 {
    if mean_norm > f32::MIN_POSITIVE { weight / mean_norm } else { 0.0 }
}

/// Mean Euclidean norm of the rows of one branch; 0 without rows.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a mean of norms, over far fewer than 2^52 rows"
)]
pub fn mean_norm(features: &PatchFeatures) -> f32 {
    let norm =
        |row: ndarray::ArrayView1<'_, f32>| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let total: f64 = features.rows.rows().into_iter().map(norm).sum();
    (total / features.rows.nrows().max(1) as f64) as f32
}

/// Puts the branches side by side in the order of `blocks`, each multiplied by its scale:
/// `[patches, sum of dims]`. A scale of 1 is the raw descriptor.
///
/// # Panics
/// When a block's branch is not among the parts, or the parts describe different patches.
#[must_use]
pub fn concatenate(parts: &[&PatchFeatures], blocks: &[(Branch, f32)]) -> Array2<f32> {
    let part_of = |branch: Branch| {
        let part = parts.iter().find(|part| part.branch == branch);
        part.expect("every block's branch was extracted: detector and bank agree on the branches")
    };
    let dims = blocks.iter().map(|(branch, _)| part_of(*branch).rows.ncols()).sum();
    let rows = parts.first().map_or(0, |part| part.rows.nrows());
    let mut joined = Array2::zeros((rows, dims));
    let mut start = 0;
    for (branch, scale) in blocks {
        let part = &part_of(*branch).rows;
        let end = start + part.ncols();
        joined.slice_mut(s![.., start..end]).zip_mut_with(part, |joined, value| *joined = value * scale);
        start = end;
    }
    joined
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the expected values are exact in binary")]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn blocks_stand_in_the_order_asked_for_and_are_scaled() {
        let rgb = PatchFeatures { branch: Branch::Rgb, rows: array![[3.0, 4.0], [6.0, 8.0]] };
        let fpfh = PatchFeatures { branch: Branch::Fpfh, rows: array![[100.0], [200.0]] };
        let joined = concatenate(&[&rgb, &fpfh], &[(Branch::Fpfh, 0.01), (Branch::Rgb, 1.0)]);
        assert_eq!(joined, array![[1.0, 3.0, 4.0], [2.0, 6.0, 8.0]]);
        assert_eq!(mean_norm(&rgb), 7.5);
        assert_eq!(block_scale(mean_norm(&fpfh), 1.0), 1.0 / 150.0);
        assert_eq!(block_scale(0.0, 1.0), 0.0);
    }

    #[test]
    fn no_patches_give_no_rows_of_the_right_width() {
        let rgb = PatchFeatures { branch: Branch::Rgb, rows: Array2::zeros((0, 5)) };
        assert_eq!(concatenate(&[&rgb], &[(Branch::Rgb, 1.0)]).dim(), (0, 5));
        assert_eq!(mean_norm(&rgb), 0.0);
    }
}
