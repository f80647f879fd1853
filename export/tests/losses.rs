//! The losses of training against plain versions in 64 bits, written from the formulas of METHOD section 6, and their
//! gradients against finite differences of those plain versions.
#![allow(clippy::unwrap_used, reason = "a failed test says where")]

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array2, ArrayView1};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zal_export::losses::{
    Disentanglement, Positives, binary_cross_entropy, contrastive, disentanglement, unit_rows,
};

const TAU: f64 = 0.1;

struct Numbers(ChaCha8Rng);

impl Numbers {
    fn matrix(&mut self, rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_simple_fn((rows, columns), || {
            f64::from(self.0.next_u32()) / f64::from(u32::MAX) - 0.5
        })
    }
}

fn numbers(seed: u64) -> Numbers {
    Numbers(ChaCha8Rng::seed_from_u64(seed))
}

#[expect(clippy::cast_possible_truncation, reason = "the framework computes in 32 bits")]
fn tensor(x: &Array2<f64>) -> Tensor<2> {
    let elements: Vec<f32> = x.iter().map(|v| *v as f32).collect();
    let data = TensorData::new(elements, [x.nrows(), x.ncols()]);
    Tensor::from_data(data, &Device::flex().autodiff()).require_grad()
}

fn unit(x: &Array2<f64>) -> Array2<f64> {
    let mut x = x.clone();
    x.rows_mut().into_iter().for_each(|mut row| {
        let norm = row.dot(&row).sqrt();
        row /= norm;
    });
    x
}

fn partners(i: usize, count: usize, positives: Positives) -> Vec<usize> {
    match positives {
        Positives::All => (0..count).filter(|j| *j != i).collect(),
        Positives::Partner => vec![i ^ 1],
    }
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn plain_contrastive(normal: &Array2<f64>, pseudo: &Array2<f64>, positives: Positives) -> f64 {
    let (normal, pseudo) = (unit(normal), unit(pseudo));
    let similar = |a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>| (a.dot(&b) / TAU).exp();
    let mut total = 0.0;
    for i in 0..normal.nrows() {
        let negatives: f64 = pseudo.rows().into_iter().map(|s| similar(normal.row(i), s)).sum();
        let others = partners(i, normal.nrows(), positives);
        let mut inner = 0.0;
        for j in &others {
            let positive = similar(normal.row(i), normal.row(*j));
            inner -= (positive / (positive + negatives)).ln();
        }
        total += inner / others.len() as f64;
    }
    total / normal.nrows() as f64
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn plain_cosine(f: &Array2<f64>, h: &Array2<f64>) -> f64 {
    let (f, h) = (unit(f), unit(h));
    f.rows().into_iter().zip(h.rows()).map(|(a, b)| a.dot(&b).powi(2)).sum::<f64>() / f.nrows() as f64
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn plain_correlation(f: &Array2<f64>, h: &Array2<f64>) -> f64 {
    let column = |x: &Array2<f64>, i: usize| -> Vec<f64> {
        let mean = x.column(i).sum() / x.nrows() as f64;
        x.column(i).iter().map(|v| v - mean).collect()
    };
    let mut total = 0.0;
    for i in 0..f.ncols() {
        for j in 0..h.ncols() {
            let (a, b) = (column(f, i), column(h, j));
            let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(p, q)| p * q).sum::<f64>();
            total += product(&a, &b).powi(2) / (product(&a, &a) * product(&b, &b));
        }
    }
    total / (f.ncols() * h.ncols()) as f64
}

/// Central differences of a plain loss by every element of `x`.
fn numeric(x: &Array2<f64>, loss: impl Fn(&Array2<f64>) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    (0..x.len())
        .map(|i| {
            let moved = |by: f64| {
                let mut x = x.clone();
                x.as_slice_mut().unwrap()[i] += by;
                loss(&x)
            };
            (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
        })
        .collect()
}

/// Value within 1e-5 and gradient within 1e-4 of its largest element: what 32 bits leave of sums over exponentials.
fn check(loss: Tensor<1>, expected: f64, gradients: &[(&Tensor<2>, Vec<f64>)]) {
    let all = loss.backward();
    let found = f64::from(loss.into_scalar::<f32>());
    assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "value {found}, expected {expected}");
    for (input, expected) in gradients {
        let found = input.grad(&all).unwrap().into_data().try_to_vec::<f32>().unwrap();
        let largest = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        assert!(largest > 1e-6, "a gradient that is zero shows nothing");
        for (f, e) in found.iter().zip(expected) {
            assert!(
                (f64::from(*f) - e).abs() < 1e-4 * largest,
                "gradient {f}, expected {e} of at most {largest}"
            );
        }
    }
}

#[test]
fn contrastive_equals_its_formula() {
    let mut numbers = numbers(1);
    for positives in [Positives::All, Positives::Partner] {
        let (normal, pseudo) = (numbers.matrix(6, 5), numbers.matrix(4, 5));
        let (n, s) = (tensor(&normal), tensor(&pseudo));
        let loss = contrastive(&unit_rows(n.clone()), &unit_rows(s.clone()), 0.1, positives);
        let by_normal = numeric(&normal, |x| plain_contrastive(x, &pseudo, positives));
        let by_pseudo = numeric(&pseudo, |x| plain_contrastive(&normal, x, positives));
        check(loss, plain_contrastive(&normal, &pseudo, positives), &[(&n, by_normal), (&s, by_pseudo)]);
    }
}

#[test]
fn contrastive_does_not_overflow_where_the_plain_formula_would() {
    let normal = tensor(&Array2::from_elem((2, 3), 1.0));
    let pseudo = tensor(&Array2::from_elem((2, 3), -1.0));
    // e^(1/0.001) overflows in 32 and in 64 bits.
    let loss = contrastive(&unit_rows(normal.clone()), &unit_rows(pseudo), 0.001, Positives::All);
    assert!(loss.into_scalar::<f32>().abs() < 1e-6);
    let apart = contrastive(&unit_rows(normal.clone()), &unit_rows(normal), 0.001, Positives::All);
    assert!(
        (apart.into_scalar::<f32>() - 3.0_f32.ln()).abs() < 1e-3,
        "one positive among two equal negatives"
    );
}

#[test]
fn disentanglement_equals_its_formulas() {
    let mut numbers = numbers(2);
    let (f, h) = (numbers.matrix(7, 4), numbers.matrix(7, 4));
    type Plain = fn(&Array2<f64>, &Array2<f64>) -> f64;
    let kinds: [(Disentanglement, Plain); 2] =
        [(Disentanglement::Cosine, plain_cosine), (Disentanglement::CrossCorrelation, plain_correlation)];
    for (kind, plain) in kinds {
        let embedding = tensor(&f);
        let loss = disentanglement(embedding.clone(), tensor(&h), kind);
        check(loss, plain(&f, &h), &[(&embedding, numeric(&f, |x| plain(x, &h)))]);
    }
}

#[test]
fn cross_entropy_equals_its_formula() {
    let mut numbers = numbers(3);
    let (normal, pseudo) = (numbers.matrix(1, 5) * 8.0, numbers.matrix(1, 3) * 8.0);
    let plain = |n: &Array2<f64>, s: &Array2<f64>| {
        let sigmoid = |l: f64| 1.0 / (1.0 + (-l).exp());
        let normal = n.iter().map(|l| -(1.0 - sigmoid(*l)).ln()).sum::<f64>() / 5.0;
        let pseudo = s.iter().map(|l| -sigmoid(*l).ln()).sum::<f64>() / 3.0;
        f64::midpoint(normal, pseudo)
    };
    let (n, s) = (tensor(&normal), tensor(&pseudo));
    let loss = binary_cross_entropy(n.clone().reshape([5]), s.clone().reshape([3]));
    let by_normal = numeric(&normal, |x| plain(x, &pseudo));
    check(loss, plain(&normal, &pseudo), &[(&n, by_normal), (&s, numeric(&pseudo, |x| plain(&normal, x)))]);
}
