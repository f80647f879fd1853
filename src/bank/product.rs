//! Small dense products in registers: tiles of a few queries by 32 packed rows.
//!
//! The tile shapes were found by measuring, one for each vector width; the optimiser turns
//! many others into scalar code, so a benchmark watches them. No sum depends on how many
//! queries or threads there are.

use multiversion::multiversion;
use multiversion::target::match_target;

/// Rows side by side in a panel.
pub const LANES: usize = 32;
/// Columns summed in f32 before the sum is added to the others: keeps rounding small.
pub const CHUNK: usize = 128;

/// Packs row-major `values` `[rows, columns]` in panels of [`LANES`] rows, column by column:
/// `[panel][column][lane]`, missing rows as zeros.
#[must_use]
pub fn pack_rows(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let mut packed = vec![0.0; rows.div_ceil(LANES) * columns * LANES];
    for (row, values) in values.chunks_exact(columns).enumerate() {
        let panel = &mut packed[row / LANES * columns * LANES..];
        for (column, value) in values.iter().enumerate() {
            panel[column * LANES + row % LANES] = *value;
        }
    }
    packed
}

/// Smallest sums of each group of `group_panels` panels and each lane:
/// `out[query][group][lane] = min over panels of start[panel][lane] + row . query`, for
/// row-major `queries` `[queries, columns]` and packed `rows`.
///
/// # Panics
/// When `out` does not fit.
pub fn group_minima(
    queries: &[f32],
    columns: usize,
    rows: &[f32],
    start: &[f32],
    group_panels: usize,
    out: &mut [f32],
) {
    minima_dispatched(queries, columns, rows, start, group_panels, out);
}

/// Products `out[query][row] = row . query` of row-major `queries` `[queries, columns]` with
/// packed `rows`, `[queries, panels * LANES]`. Each product is summed by [`CHUNK`] columns.
///
/// # Panics
/// When `out` does not fit.
pub fn products(queries: &[f32], columns: usize, rows: &[f32], out: &mut [f32]) {
    products_dispatched(queries, columns, rows, out);
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
fn minima_dispatched(
    queries: &[f32],
    columns: usize,
    rows: &[f32],
    start: &[f32],
    group_panels: usize,
    out: &mut [f32],
) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma+avx2" =>
            minima_tiled::<6, 2, 16, true>(queries, columns, rows, start, group_panels, out),
        "x86_64+avx2+fma" => minima_tiled::<6, 2, 8, true>(queries, columns, rows, start, group_panels, out),
        "aarch64+neon" => minima_tiled::<6, 4, 4, true>(queries, columns, rows, start, group_panels, out),
        _ => minima_tiled::<4, 2, 4, false>(queries, columns, rows, start, group_panels, out),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
fn products_dispatched(queries: &[f32], columns: usize, rows: &[f32], out: &mut [f32]) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma+avx2" => products_tiled::<6, 2, 16, true>(queries, columns, rows, out),
        "x86_64+avx2+fma" => products_tiled::<6, 2, 8, true>(queries, columns, rows, out),
        "aarch64+neon" => products_tiled::<6, 4, 4, true>(queries, columns, rows, out),
        _ => products_tiled::<4, 2, 4, false>(queries, columns, rows, out),
    }
}

/// A tile: sums of `Q` queries by `P` vectors of `W` lanes.
type Tile<const Q: usize, const P: usize, const W: usize> = [[[f32; W]; P]; Q];

#[inline(always)]
fn minima_tiled<const Q: usize, const P: usize, const W: usize, const FUSED: bool>(
    queries: &[f32],
    columns: usize,
    rows: &[f32],
    start: &[f32],
    group_panels: usize,
    out: &mut [f32],
) {
    let count = queries.len() / columns;
    let per_query = start.len().div_ceil(LANES * group_panels) * LANES;
    assert_eq!(out.len(), count * per_query, "a minimum for each query, group and lane");
    let packed = pack_queries::<Q>(queries, columns);
    let groups = rows.chunks(group_panels * columns * LANES).zip(start.chunks(group_panels * LANES));
    for (group, (rows, start)) in groups.enumerate() {
        for (tile, queries) in packed.as_chunks::<Q>().0.chunks_exact(columns).enumerate() {
            for part in 0..LANES / (P * W) {
                let least = tile_minima::<Q, P, W, FUSED>(queries, rows, start, part);
                for (query, least) in least.iter().enumerate().take(count - tile * Q) {
                    let to = (tile * Q + query) * per_query + group * LANES + part * P * W;
                    out[to..][..P * W].copy_from_slice(least.as_flattened());
                }
            }
        }
    }
}

#[inline(always)]
fn products_tiled<const Q: usize, const P: usize, const W: usize, const FUSED: bool>(
    queries: &[f32],
    columns: usize,
    rows: &[f32],
    out: &mut [f32],
) {
    let count = queries.len() / columns;
    let per_query = rows.len() / columns;
    assert_eq!(out.len(), count * per_query, "a product for each query and row");
    out.fill(0.0);
    let packed = pack_queries::<Q>(queries, columns);
    for (tile, queries) in packed.as_chunks::<Q>().0.chunks_exact(columns).enumerate() {
        for (panel, rows) in rows.chunks_exact(columns * LANES).enumerate() {
            for (queries, rows) in queries.chunks(CHUNK).zip(rows.chunks(CHUNK * LANES)) {
                for part in 0..LANES / (P * W) {
                    let sums = tile_sums::<Q, P, W, FUSED>(queries, rows, [[0.0; W]; P], part);
                    for (query, sums) in sums.iter().enumerate().take(count - tile * Q) {
                        let to = (tile * Q + query) * per_query + panel * LANES + part * P * W;
                        out[to..][..P * W].iter_mut().zip(sums.as_flattened()).for_each(|(to, sum)| *to += sum);
                    }
                }
            }
        }
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

/// Smallest sums of a tile over the panels of a group; `part` counts tiles within a panel.
#[inline(always)]
fn tile_minima<const Q: usize, const P: usize, const W: usize, const FUSED: bool>(
    queries: &[[f32; Q]],
    rows: &[f32],
    start: &[f32],
    part: usize,
) -> Tile<Q, P, W> {
    let mut least = [[[f32::INFINITY; W]; P]; Q];
    let start = start.as_chunks::<W>().0.as_chunks::<P>().0;
    let panels = rows.chunks_exact(queries.len() * LANES).zip(start.chunks_exact(LANES / (P * W)));
    for (panel, start) in panels {
        let sums = tile_sums::<Q, P, W, FUSED>(queries, panel, start[part], part);
        for query in 0..Q {
            for vector in 0..P {
                for lane in 0..W {
                    let sum = sums[query][vector][lane];
                    let kept = &mut least[query][vector][lane];
                    *kept = if sum < *kept { sum } else { *kept };
                }
            }
        }
    }
    least
}

/// Sums of a tile over the columns of one panel (or some of them).
#[inline(always)]
fn tile_sums<const Q: usize, const P: usize, const W: usize, const FUSED: bool>(
    queries: &[[f32; Q]],
    panel: &[f32],
    start: [[f32; W]; P],
    part: usize,
) -> Tile<Q, P, W> {
    let mut sums = [start; Q];
    let columns = panel.as_chunks::<W>().0.as_chunks::<P>().0.chunks_exact(LANES / (P * W));
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
