//! Small dense products in registers: tiles of a few queries by 32 packed rows.
//!
//! The tile shapes were found by measuring, one for each vector width; the optimiser turns
//! many others into scalar code, so a benchmark watches them. No sum depends on how many
//! queries or threads there are.

use multiversion::multiversion;
use multiversion::target::match_target;
use ndarray::{ArrayView2, Axis};

/// Rows side by side in a panel.
pub const LANES: usize = 32;
/// Columns summed in f32 before the sum is added to the others: keeps rounding small.
pub const CHUNK: usize = 128;

/// Packs rows `[rows, columns]` in panels of [`LANES`] rows, column by column:
/// `[panel][column][lane]`, missing rows as zeros.
///
/// # Panics
/// When the values of a row do not lie side by side.
#[must_use]
pub fn pack_rows(rows: ArrayView2<f32>) -> Vec<f32> {
    let columns = rows.ncols();
    let mut packed = vec![0.0; rows.nrows().div_ceil(LANES) * columns * LANES];
    let panels = packed.chunks_exact_mut(columns * LANES).zip(rows.axis_chunks_iter(Axis(0), LANES));
    for (panel, rows) in panels {
        // Some columns of all rows at a time, so that what is written stays in cache.
        for (chunk, panel) in panel.chunks_mut(LANES * LANES).enumerate() {
            for (lane, row) in rows.rows().into_iter().enumerate() {
                let row = row.to_slice().expect("rows are contiguous");
                for (values, value) in panel.chunks_exact_mut(LANES).zip(&row[chunk * LANES..]) {
                    values[lane] = *value;
                }
            }
        }
    }
    packed
}

/// Products `out[query][row] = start[row] + row . query` of row-major `queries`
/// `[queries, columns]` with packed `rows`; `start` has a number for each lane. Each product is
/// summed by [`CHUNK`] columns, and the sums are added to `start` one after the other.
///
/// # Panics
/// When `start` or `out` does not fit.
pub fn products(queries: &[f32], columns: usize, rows: &[f32], start: &[f32], out: &mut [f32]) {
    assert_eq!(start.len() * columns, rows.len(), "a start for each row");
    assert_eq!(out.len() * columns, queries.len() * start.len(), "a product for each query and row");
    dispatched(queries, columns, rows, start, out);
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
fn dispatched(queries: &[f32], columns: usize, rows: &[f32], start: &[f32], out: &mut [f32]) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma+avx2" => tiled::<6, 2, 16, true>(queries, columns, rows, start, out),
        "x86_64+avx2+fma" => tiled::<6, 2, 8, true>(queries, columns, rows, start, out),
        "aarch64+neon" => tiled::<6, 4, 4, true>(queries, columns, rows, start, out),
        _ => tiled::<4, 2, 4, false>(queries, columns, rows, start, out),
    }
}

/// Panel by panel and chunk by chunk, so that both stay in the first-level cache while all
/// queries pass by.
#[inline(always)]
fn tiled<const Q: usize, const P: usize, const W: usize, const FUSED: bool>(
    queries: &[f32],
    columns: usize,
    rows: &[f32],
    start: &[f32],
    out: &mut [f32],
) {
    let count = queries.len() / columns;
    let packed = pack_queries::<Q>(queries, columns);
    for (panel, rows) in rows.chunks_exact(columns * LANES).enumerate() {
        set_start(panel, start, out);
        for (chunk, rows) in rows.chunks(CHUNK * LANES).enumerate() {
            for (tile, queries) in packed.as_chunks::<Q>().0.chunks_exact(columns).enumerate() {
                let queries = &queries[chunk * CHUNK..][..rows.len() / LANES];
                for part in 0..LANES / (P * W) {
                    let sums = tile_sums::<Q, P, W, FUSED>(queries, rows, part);
                    for (query, sums) in sums.iter().enumerate().take(count - tile * Q) {
                        let to = (tile * Q + query) * start.len() + panel * LANES + part * P * W;
                        let to = &mut out[to..][..P * W];
                        to.iter_mut().zip(sums.as_flattened()).for_each(|(to, sum)| *to += sum);
                    }
                }
            }
        }
    }
}

/// Sets the products of one panel to their start.
fn set_start(panel: usize, start: &[f32], out: &mut [f32]) {
    let lanes = panel * LANES..(panel + 1) * LANES;
    for out in out.chunks_exact_mut(start.len()) {
        out[lanes.clone()].copy_from_slice(&start[lanes.clone()]);
    }
}

/// Repacks queries tile by tile, column by column; the last tile is padded with zeros.
fn pack_queries<const Q: usize>(queries: &[f32], columns: usize) -> Vec<f32> {
    let mut packed = vec![0.0; (queries.len() / columns).div_ceil(Q) * Q * columns];
    for (query, values) in queries.chunks_exact(columns).enumerate() {
        let tile = &mut packed[query / Q * Q * columns..];
        for (column, value) in values.iter().enumerate() {
            tile[column * Q + query % Q] = *value;
        }
    }
    packed
}

/// Sums of `Q` queries by `P` vectors of `W` lanes over one chunk; `part` counts such tiles
/// within a panel.
#[inline(always)]
fn tile_sums<const Q: usize, const P: usize, const W: usize, const FUSED: bool>(
    queries: &[[f32; Q]],
    rows: &[f32],
    part: usize,
) -> [[[f32; W]; P]; Q] {
    let mut sums = [[[0.0; W]; P]; Q];
    let columns = rows.as_chunks::<W>().0.as_chunks::<P>().0.chunks_exact(LANES / (P * W));
    for (query, row) in queries.iter().zip(columns) {
        for i in 0..Q {
            for vector in 0..P {
                sums[i][vector] = add_product::<W, FUSED>(sums[i][vector], query[i], &row[part][vector]);
            }
        }
    }
    sums
}

#[inline(always)]
fn add_product<const W: usize, const FUSED: bool>(
    mut sums: [f32; W],
    factor: f32,
    row: &[f32; W],
) -> [f32; W] {
    for lane in 0..W {
        sums[lane] =
            if FUSED { factor.mul_add(row[lane], sums[lane]) } else { factor * row[lane] + sums[lane] };
    }
    sums
}

/// The smallest value, or infinity when there is none.
#[must_use]
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub fn smallest(values: &[f32]) -> f32 {
    let (lanes, rest) = values.as_chunks::<LANES>();
    let mut least = [f32::INFINITY; LANES];
    for values in lanes {
        for lane in 0..LANES {
            least[lane] = if values[lane] < least[lane] { values[lane] } else { least[lane] };
        }
    }
    least.iter().chain(rest).copied().fold(f32::INFINITY, f32::min)
}

/// Appends the positions of all values up to `limit`, ascending.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub fn positions_within(values: &[f32], limit: f32, to: &mut Vec<usize>) {
    for (chunk, values) in values.chunks(LANES).enumerate() {
        // Few chunks hold one, and this test is branch-free.
        if values.iter().fold(false, |any, value| any | (*value <= limit)) {
            let at = (0..values.len()).filter(|at| values[*at] <= limit);
            to.extend(at.map(|at| chunk * LANES + at));
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Small whole numbers: their sums are exact in any order.
    fn whole(rows: usize, columns: usize, step: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(row, column)| {
            f32::from(u8::try_from((row * 37 + column * step) % 13).expect("small")) - 6.0
        })
    }

    #[test]
    fn products_equal_the_plain_ones_for_all_remainders() {
        for (queries, rows, columns) in
            [(1, 1, 1), (5, 31, 3), (6, 32, 127), (7, 33, 128), (13, 70, 129), (24, 64, 300)]
        {
            let (query, row) = (whole(queries, columns, 5), whole(rows, columns, 11));
            let packed = pack_rows(row.view());
            let start: Vec<f32> = whole(1, rows.next_multiple_of(LANES), 3).into_iter().collect();
            let mut out = vec![f32::NAN; queries * start.len()];
            products(query.as_slice().expect("standard"), columns, &packed, &start, &mut out);
            let plain = query.dot(&row.t());
            for ((q, r), product) in plain.indexed_iter() {
                let found = out[q * start.len() + r];
                assert!((found - start[r] - product).abs() < 0.5, "{queries} x {rows} x {columns}: {q} {r}");
            }
        }
    }

    #[test]
    fn scans_find_the_smallest_and_all_within() {
        for count in [0, 1, 31, 32, 33, 100] {
            let values: Vec<f32> = whole(1, count, 7).into_iter().collect();
            assert_eq!(
                smallest(&values).to_bits(),
                values.iter().copied().fold(f32::INFINITY, f32::min).to_bits()
            );
            let mut found = Vec::new();
            positions_within(&values, -2.0, &mut found);
            let expected: Vec<usize> = (0..count).filter(|at| values[*at] <= -2.0).collect();
            assert_eq!(found, expected);
        }
    }
}
