//! The first pass of the search: a lower bound of every distance, as a small matrix product.
//!
//! Rows are short coordinate vectors (see `basis`) packed in panels of [`LANES`] rows, axis by
//! axis, so that a panel and a few queries stay in registers and first-level cache. Of each
//! [`GROUP_PANELS`] panels only the smallest bound of each lane is kept: the bounds themselves
//! never reach memory.

use multiversion::multiversion;
use multiversion::target::match_target;

/// Rows side by side in a panel.
pub const LANES: usize = 32;
/// Panels that share their minima: a minimum stands for this many rows.
pub const GROUP_PANELS: usize = 8;
/// Queries worked on together; a multiple of every tile's height.
pub const QUERY_BLOCK: usize = 60;

/// Coordinates of rows, packed for [`minima`].
#[derive(Debug, Clone)]
pub struct Panels {
    axes: usize,
    rows: usize,
    /// `[panel][axis][lane]`: coordinates times -2.
    coordinates: Vec<f32>,
    /// `[panel][lane]`: squared norms, infinite where no row is.
    norms_sq: Vec<f32>,
}

impl Panels {
    /// Packs row-major coordinates `[rows, axes]` and their squared norms.
    ///
    /// # Panics
    /// When the lengths do not fit each other.
    #[must_use]
    pub fn new(coordinates: &[f32], norms_sq: &[f32], axes: usize) -> Self {
        let rows = norms_sq.len();
        assert_eq!(coordinates.len(), rows * axes, "a coordinate for each row and axis");
        let panels = rows.div_ceil(LANES);
        let mut packed = vec![0.0; panels * axes * LANES];
        for (row, values) in coordinates.chunks_exact(axes).enumerate() {
            let panel = &mut packed[row / LANES * axes * LANES..];
            for (axis, value) in values.iter().enumerate() {
                panel[axis * LANES + row % LANES] = -2.0 * value;
            }
        }
        let mut norms = norms_sq.to_vec();
        norms.resize(panels * LANES, f32::INFINITY);
        Self { axes, rows, coordinates: packed, norms_sq: norms }
    }

    /// Number of minima that [`minima`] gives a query.
    #[must_use]
    pub const fn minima_count(&self) -> usize {
        self.norms_sq.len().div_ceil(LANES * GROUP_PANELS) * LANES
    }

    /// The rows that a minimum stands for.
    pub fn rows_of(&self, minimum: usize) -> impl Iterator<Item = usize> {
        let first = minimum / LANES * LANES * GROUP_PANELS + minimum % LANES;
        (first..self.rows).step_by(LANES).take(GROUP_PANELS)
    }
}

/// For each of up to [`QUERY_BLOCK`] queries (row-major coordinates `[queries, axes]`) and each
/// lane of each group of panels, the smallest `|b|^2 - 2 b.q` of the rows `b` there, to
/// `out` `[queries, minima_count]`. `scratch` is resized as needed.
///
/// # Panics
/// When `out` does not fit the queries.
pub fn minima(queries: &[f32], panels: &Panels, scratch: &mut Vec<f32>, out: &mut [f32]) {
    block_minima(queries, panels, scratch, out);
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
fn block_minima(queries: &[f32], panels: &Panels, scratch: &mut Vec<f32>, out: &mut [f32]) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma+avx2" => run::<6, 2, 16, true>(queries, panels, scratch, out),
        "x86_64+avx2+fma" => run::<6, 2, 8, true>(queries, panels, scratch, out),
        "aarch64+neon" => run::<6, 4, 4, true>(queries, panels, scratch, out),
        _ => run::<4, 2, 4, false>(queries, panels, scratch, out),
    }
}

/// Tiles of `Q` queries by `P` vectors of `W` lanes. A tile's sums fill the vector registers;
/// the shapes were found by measuring, the optimiser scalarises many others.
#[inline(always)]
fn run<const Q: usize, const P: usize, const W: usize, const FUSED: bool>(
    queries: &[f32],
    panels: &Panels,
    scratch: &mut Vec<f32>,
    out: &mut [f32],
) {
    let axes = panels.axes;
    let count = queries.len() / axes;
    let per_query = panels.minima_count();
    assert_eq!(out.len(), count * per_query, "a minimum for each query, group and lane");
    pack_queries::<Q>(queries, axes, scratch);
    let groups = panels.coordinates.chunks(GROUP_PANELS * axes * LANES);
    let groups = groups.zip(panels.norms_sq.chunks(GROUP_PANELS * LANES));
    for (group, (coordinates, norms_sq)) in groups.enumerate() {
        for (tile, tile_queries) in scratch.as_chunks::<Q>().0.chunks_exact(axes).enumerate() {
            for part in 0..LANES / (P * W) {
                let least = group_minima::<Q, P, W, FUSED>(tile_queries, coordinates, norms_sq, part);
                for (query, least) in least.iter().enumerate().take(count - tile * Q) {
                    let to = (tile * Q + query) * per_query + group * LANES + part * P * W;
                    out[to..][..P * W].copy_from_slice(least.as_flattened());
                }
            }
        }
    }
}

/// Repacks queries tile by tile, axis by axis; the last tile is padded with zeros.
fn pack_queries<const Q: usize>(queries: &[f32], axes: usize, packed: &mut Vec<f32>) {
    packed.clear();
    packed.resize((queries.len() / axes).div_ceil(Q) * Q * axes, 0.0);
    for (query, values) in queries.chunks_exact(axes).enumerate() {
        let tile = &mut packed[query / Q * Q * axes..];
        for (axis, value) in values.iter().enumerate() {
            tile[axis * Q + query % Q] = *value;
        }
    }
}

/// Smallest sums of a tile over the panels of a group; `part` counts tiles within a panel.
#[inline(always)]
fn group_minima<const Q: usize, const P: usize, const W: usize, const FUSED: bool>(
    queries: &[[f32; Q]],
    coordinates: &[f32],
    norms_sq: &[f32],
    part: usize,
) -> [[[f32; W]; P]; Q] {
    let parts = LANES / (P * W);
    let mut least = [[[f32::INFINITY; W]; P]; Q];
    let coordinates = coordinates.as_chunks::<W>().0.as_chunks::<P>().0;
    let norms_sq = norms_sq.as_chunks::<W>().0.as_chunks::<P>().0;
    for (panel, norms) in coordinates.chunks_exact(queries.len() * parts).zip(norms_sq.chunks_exact(parts)) {
        let mut sums = [norms[part]; Q];
        for (query, row) in queries.iter().zip(panel.chunks_exact(parts)) {
            for i in 0..Q {
                for p in 0..P {
                    sums[i][p] = add_product::<W, FUSED>(sums[i][p], query[i], &row[part][p]);
                }
            }
        }
        for i in 0..Q {
            for p in 0..P {
                for lane in 0..W {
                    least[i][p][lane] = if sums[i][p][lane] < least[i][p][lane] {
                        sums[i][p][lane]
                    } else {
                        least[i][p][lane]
                    };
                }
            }
        }
    }
    least
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
