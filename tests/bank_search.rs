//! The bank search against measuring every row: the same rows and the same bits, on data made
//! to break lower bounds.

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zal::bank::distance::distance_sq;
use zal::bank::search::{Neighbors, SearchError, SearchIndex, VALUE_MAX};

/// Uniform values in -0.5..0.5.
fn noise(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((rows, columns), || {
        let draw = u16::try_from(generator.next_u32() >> 16).expect("16 bits");
        f32::from(draw) / 65536.0 - 0.5
    })
}

/// Rows near a few-dimensional curved sheet, as descriptors are: most energy in few axes.
fn sheet(rows: usize, columns: usize, spread: f32, seed: u64) -> Array2<f32> {
    let place = noise(rows, 6, seed);
    let axes = noise(6, columns, 99);
    let curve = noise(6, columns, 98);
    let bent = place.mapv(|value| (3.0 * value).sin());
    (place.dot(&axes) * 4.0 + bent.dot(&curve) * 2.0 + noise(rows, columns, seed + 1) * spread)
        .mapv(|value| value.max(-0.3))
}

fn measure_all(rows: ArrayView2<f32>, query: &[f32], k: usize) -> Vec<(u32, f32)> {
    let mut all: Vec<(f32, u32)> =
        rows.rows().into_iter().zip(0..).map(|(row, at)| (distance_sq(query, &row.to_vec()), at)).collect();
    all.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    all.truncate(k);
    all.into_iter().map(|(sq, row)| (row, sq.sqrt())).collect()
}

fn pairs(neighbors: &Neighbors, query: usize) -> Vec<(u32, f32)> {
    neighbors.of(query).iter().map(|found| (found.row, found.distance)).collect()
}

/// Searches and compares every query, for several k.
fn check(what: &str, rows: &Array2<f32>, queries: &Array2<f32>) {
    let index = SearchIndex::new(rows.clone().into_shared(), 0..rows.ncols()).expect("valid rows");
    for k in [1, 3, 11] {
        let found = index.nearest(queries.view(), k).expect("valid queries");
        for (at, query) in queries.rows().into_iter().enumerate() {
            let expected = measure_all(rows.view(), &query.to_vec(), k);
            assert_eq!(pairs(&found, at), expected, "{what}, query {at}, k {k}");
        }
    }
}

fn stack(parts: &[&Array2<f32>]) -> Array2<f32> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    concatenate(Axis(0), &views).expect("equal columns")
}

#[test]
fn equals_measuring_every_row_for_all_shapes() {
    for (rows, columns) in [
        (1, 1),
        (2, 700),
        (40, 3),
        (257, 1),
        (300, 33),
        (300, 64),
        (300, 65),
        (700, 130),
        (520, 511),
        (600, 640),
    ] {
        let bank = sheet(rows, columns, 0.3, 1);
        let queries = stack(&[&sheet(20, columns, 0.3, 7), &bank.slice(s![..1, ..]).to_owned()]);
        check(&format!("{rows} x {columns}"), &bank, &queries);
    }
}

#[test]
fn equals_measuring_every_row_without_structure() {
    // Bounds tell nothing here; more than a few such queries take the full product.
    for columns in [90, 600] {
        check("noise", &noise(900, columns, 3), &noise(40, columns, 4));
        check("few noisy queries", &noise(900, columns, 3), &noise(5, columns, 5));
    }
}

#[test]
fn a_row_lies_at_distance_zero_of_itself_and_its_lowest_duplicate_is_found() {
    let half = sheet(400, 520, 0.2, 5);
    let bank = stack(&[&half, &half]);
    let index = SearchIndex::new(bank.clone().into_shared(), 0..520).expect("valid rows");
    let found = index.nearest(half.view(), 2).expect("valid queries");
    for (query, row) in (0..400).zip(0_u32..) {
        assert_eq!(pairs(&found, query), [(row, 0.0), (row + 400, 0.0)]);
    }
}

#[test]
fn near_ties_are_told_apart() {
    // Rows that differ from each other by single units in the last place.
    let base = sheet(1, 600, 0.2, 8);
    let mut bank = Array2::from_shape_fn((500, 600), |(_, column)| base[[0, column]]);
    for row in 0..500 {
        let value = &mut bank[[row, row % 600]];
        *value = f32::from_bits(value.to_bits() + 1 + u32::from(row % 3 == 0));
    }
    let queries =
        stack(&[&base, &(&base + 0.01), &bank.slice(s![490.., ..]).to_owned(), &sheet(8, 600, 0.2, 9)]);
    check("near ties", &bank, &queries);
}

#[test]
fn tiny_differences_far_from_the_origin() {
    for offset in [1e3, 1e7] {
        let bank = sheet(400, 530, 0.3, 11).mapv(|value| value + offset);
        check("offset", &bank, &sheet(20, 530, 0.3, 12).mapv(|value| value + offset));
    }
}

#[test]
fn extreme_scales() {
    for scale in [1e-30, 1e-18, 1e-9, 1e9, 1e14] {
        let bank = sheet(300, 70, 0.3, 13).mapv(|value| value * scale);
        check("scaled", &bank, &sheet(18, 70, 0.3, 14).mapv(|value| value * scale));
    }
}

#[test]
fn outliers_do_not_disturb_the_others() {
    let mut bank = sheet(500, 540, 0.3, 15);
    bank.row_mut(123).fill(9e14);
    bank.row_mut(321).fill(-3e8);
    let mut queries = sheet(20, 540, 0.3, 16);
    queries.row_mut(0).fill(9e14);
    queries.row_mut(1).fill(1e8);
    check("outliers", &bank, &queries);
}

#[test]
fn constant_low_rank_and_sparse_rows() {
    check("constant", &Array2::from_elem((300, 80), 2.5), &noise(3, 80, 17));
    check("zero", &Array2::zeros((300, 600)), &stack(&[&noise(17, 600, 18), &Array2::zeros((1, 600))]));
    let low_rank = noise(400, 2, 19).dot(&noise(2, 600, 20));
    check("rank two", &low_rank, &noise(20, 2, 21).dot(&noise(2, 600, 20)));
    let sparse = noise(400, 600, 22).mapv(|value| if value > 0.49 { 100.0 } else { 0.0 });
    check("sparse", &sparse, &noise(20, 600, 23).mapv(|value| if value > 0.49 { 100.0 } else { 0.0 }));
}

#[test]
fn distances_agree_with_double_precision() {
    let (bank, queries) = (sheet(400, 600, 0.3, 24), sheet(25, 600, 0.3, 25));
    let index = SearchIndex::new(bank.clone().into_shared(), 0..600).expect("valid rows");
    let found = index.nearest(queries.view(), 1).expect("valid queries");
    for (query, found) in queries.rows().into_iter().zip(found.iter()) {
        let exact = bank.rows().into_iter().map(|row| {
            row.iter().zip(query).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
        });
        let least = exact.fold(f64::INFINITY, f64::min);
        // 28 roundings of at most 6e-8 each, halved by the root.
        assert!((f64::from(found[0].distance) - least).abs() <= 1e-6 * least);
    }
}

#[test]
fn columns_are_searched_in_place_and_a_foreign_basis_changes_nothing() {
    let bank = sheet(400, 700, 0.3, 26).into_shared();
    let queries = sheet(30, 700, 0.3, 27);
    let part = 100..640;
    let view = queries.slice(s![.., part.clone()]);
    let index = SearchIndex::new(bank.clone(), part.clone()).expect("valid rows");
    let found = index.nearest(view, 2).expect("valid queries");
    for (at, query) in view.rows().into_iter().enumerate() {
        assert_eq!(pairs(&found, at), measure_all(bank.slice(s![.., part.clone()]), &query.to_vec(), 2));
    }
    let foreign = SearchIndex::new(noise(300, 540, 28).into_shared(), 0..540).expect("valid rows");
    let basis = foreign.basis().expect("large enough to have one");
    let other = SearchIndex::with_basis(bank, part, basis).expect("same columns");
    assert_eq!(other.nearest(view, 2), Ok(found));
}

#[test]
fn the_number_of_threads_does_not_show() {
    let index = SearchIndex::new(sheet(600, 540, 0.3, 29).into_shared(), 0..540).expect("valid rows");
    let queries = stack(&[&sheet(60, 540, 0.3, 30), &(noise(40, 540, 31) * 9.0)]);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| index.nearest(queries.view(), 3)).expect("valid queries")
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let bank = noise(10, 4, 32).into_shared();
    let index = SearchIndex::new(bank.clone(), 0..4).expect("valid rows");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0 * VALUE_MAX] {
        let mut rows = bank.clone();
        rows[[3, 2]] = bad;
        let refused = SearchIndex::new(rows.clone(), 0..4);
        assert!(matches!(refused, Err(SearchError::Value { what: "row", row: 3, .. })), "{bad}");
        assert!(SearchIndex::new(rows.clone(), 0..2).is_ok(), "other columns do not matter");
        let refused = index.nearest(rows.view(), 1);
        assert!(matches!(refused, Err(SearchError::Value { what: "query", row: 3, .. })), "{bad}");
    }
    assert_eq!(index.nearest(noise(2, 5, 33).view(), 1), Err(SearchError::Dims { found: 5, expected: 4 }));
    assert!(matches!(index.nearest(bank.view(), 0), Err(SearchError::Empty { .. })));
    assert!(matches!(
        SearchIndex::new(Array2::zeros((0, 4)).into_shared(), 0..4),
        Err(SearchError::Empty { .. })
    ));
    assert!(matches!(SearchIndex::new(bank.clone(), 2..2), Err(SearchError::Empty { .. })));
    assert!(matches!(SearchIndex::new(bank, 2..5), Err(SearchError::Columns { found: 5, expected: 4 })));
    assert_eq!(index.nearest(Array2::zeros((0, 4)).view(), 1).map(|found| found.iter().len()), Ok(0));
}
