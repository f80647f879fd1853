//! The objectives of training (METHOD section 6), as functions of embeddings and logits.
//!
//! N are normal patches, S pseudo anomalies; `g` are embeddings brought to unit length by [`unit_rows`].

use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Which normal patches attract each other in the contrastive loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Positives {
    /// Every other normal patch, as published: the embedding of normal patches may collapse to a point.
    #[default]
    All,
    /// Only the patch's partner: the neighbouring patch that was drawn with it.
    Partner,
}

/// How f_theta is kept away from what FPFH says already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Disentanglement {
    /// Mean of cos^2(f_theta, f_fpfh).
    #[default]
    Cosine,
    /// Mean square of the correlations between the columns of both over the batch.
    CrossCorrelation,
}

/// Rows of unit length; a row of zeros stays one.
#[must_use]
pub fn unit_rows(x: Tensor<2>) -> Tensor<2> {
    let norms = x.clone().powi_scalar(2).sum_dim(1).add_scalar(1e-12).sqrt();
    x / norms
}

/// The contrastive loss of unit rows `normal` `[N, d]` against `pseudo` `[S, d]`:
///
/// ```text
/// L = 1/|N| sum_i 1/|P_i| sum_(j in P_i) -log( e^(g_i.g_j/tau) / (e^(g_i.g_j/tau) + sum_(s in S) e^(g_i.g_s/tau)) )
///   = mean softplus(logsumexp_s(g_i.g_s/tau) - g_i.g_j/tau)
/// ```
///
/// P_i are all other normal patches, or the partner alone: rows 2k and 2k + 1 are partners.
///
/// # Panics
/// With fewer than two normal patches or no pseudo anomaly; with partners, when N is odd.
#[must_use]
pub fn contrastive(normal: &Tensor<2>, pseudo: &Tensor<2>, tau: f32, positives: Positives) -> Tensor<1> {
    let count = normal.dims()[0];
    assert!(count >= 2 && pseudo.dims()[0] >= 1, "a batch holds normal patches and pseudo anomalies");
    let against = normal.clone().matmul(pseudo.clone().transpose()).div_scalar(tau);
    let negatives = log_sum_exp(against);
    let attraction = normal.clone().matmul(normal.clone().transpose()).div_scalar(tau);
    let pairs = softplus(negatives - attraction, 1.0);
    let weights = pair_weights(count, positives, &normal.device());
    (pairs * weights).sum()
}

/// Logarithm of the sum of exponentials of each row, `[n, m]` -> `[n, 1]`; the maximum is taken out, so that
/// nothing overflows.
fn log_sum_exp(x: Tensor<2>) -> Tensor<2> {
    let largest = x.clone().max_dim(1).detach();
    (x - largest.clone()).exp().sum_dim(1).log() + largest
}

/// What each ordered pair of normal patches contributes; sums to 1.
#[expect(clippy::cast_precision_loss, reason = "a batch holds some hundred patches")]
fn pair_weights(count: usize, positives: Positives, device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0_f32; count * count];
    for i in 0..count {
        match positives {
            Positives::All => {
                let each = 1.0 / (count * (count - 1)) as f32;
                (0..count).filter(|j| *j != i).for_each(|j| weights[i * count + j] = each);
            }
            Positives::Partner => {
                assert!(count.is_multiple_of(2), "partners come in pairs, found {count} patches");
                weights[i * count + (i ^ 1)] = 1.0 / count as f32;
            }
        }
    }
    Tensor::from_data(TensorData::new(weights, [count, count]), device)
}

/// The disentanglement loss of embeddings `[N, d]` of normal patches against their FPFH `[N, e]`; `d = e` for
/// [`Disentanglement::Cosine`].
#[must_use]
pub fn disentanglement(embedding: Tensor<2>, fpfh: Tensor<2>, kind: Disentanglement) -> Tensor<1> {
    match kind {
        Disentanglement::Cosine => (unit_rows(embedding) * unit_rows(fpfh)).sum_dim(1).powi_scalar(2).mean(),
        Disentanglement::CrossCorrelation => {
            let correlation = unit_columns(embedding).transpose().matmul(unit_columns(fpfh));
            correlation.powi_scalar(2).mean()
        }
    }
}

/// Columns around their mean, of unit length: products of two such columns are correlations.
fn unit_columns(x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(0);
    let norms = centred.clone().powi_scalar(2).sum_dim(0).add_scalar(1e-12).sqrt();
    centred / norms
}

/// Binary cross-entropy of the classifier's logits, normal = 0, pseudo anomaly = 1; the two kinds weigh the
/// same however many there are of each.
#[must_use]
pub fn binary_cross_entropy(normal: Tensor<1>, pseudo: Tensor<1>) -> Tensor<1> {
    (softplus(normal, 1.0).mean() + softplus(pseudo.neg(), 1.0).mean()).div_scalar(2.0)
}
