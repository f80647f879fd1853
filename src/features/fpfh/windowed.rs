//! SPFH and FPFH of an organised cloud, 16 neighbouring pixels at once.
//!
//! Two passes over the image follow the windows that the neighbour search left: the first
//! counts pairs into SPFH rows, the second adds up the neighbours' rows. Members are
//! recognised by measuring again. The few points left to the kd-tree are done one by one
//! after each pass.

use multiversion::multiversion;
use ndarray::Array2;
use rayon::prelude::*;

use super::FpfhParams;
use super::histogram::{FPFH_DIMS, FinishingRule, SpfhRow, finish, weight};
use super::lanes::LaneCounts;
use super::listed::{Leftover, degenerate_by};
use super::pair::{Degenerate, Pairs};
use crate::neighbors::grid::{LANES, Lane, PaddedGrid};
use crate::neighbors::spans::{BAND_ROWS, Band, Span};
use crate::neighbors::window::lane_at;
use crate::normals::{Compact, Surface};

/// The SPFH rows of an image, `stride` per image row, and [`LANES`] rows before and after:
/// a block's outer lanes may look past the image (and find no members there).
struct SpfhImage {
    rows: Vec<SpfhRow>,
    stride: usize,
}

/// Describes the measured points of a cloud, `[n, 33]`.
pub(super) fn describe(surface: &Surface, params: &FpfhParams) -> Array2<f32> {
    let (grid, rule) = (surface.grid(), params.rule);
    let mut image = spfh_image(surface, rule);
    if surface.unresolved().is_empty() {
        return weigh_image(surface, &image, rule);
    }
    let compact = Compact::new(grid);
    let unresolved: Vec<_> = surface.unresolved().iter().map(|at| compact.index_of(*at)).collect();
    let leftover = Leftover::new(&compact.points, &unresolved, params.reach());
    let normals: Vec<_> = compact.places.iter().map(|at| surface.normal(*at)).collect();
    for (index, row) in leftover.spfhs(&normals, rule) {
        let at = image_place(grid, &image, compact.places[index]);
        image.rows[at] = row;
    }
    let mut rows = weigh_image(surface, &image, rule);
    let spfh = |index: usize| &image.rows[image_place(grid, &image, compact.places[index])];
    for (index, row) in leftover.fpfhs(spfh, rule) {
        rows.row_mut(index).assign(&ndarray::aview1(&row));
    }
    rows
}

/// Place in the SPFH image of a place of the grid.
fn image_place(grid: &PaddedGrid, image: &SpfhImage, at: usize) -> usize {
    let (row, column) = (at / grid.stride() - grid.margin(), at % grid.stride() - grid.margin());
    LANES + row * image.stride + column
}

fn spfh_image(surface: &Surface, rule: FinishingRule) -> SpfhImage {
    let grid = surface.grid();
    let stride = grid.width().next_multiple_of(LANES);
    let inside = LANES..LANES + grid.height() * stride;
    let mut rows = vec![[0.0; 32]; inside.end + LANES];
    rows[inside].par_chunks_mut(BAND_ROWS * stride).zip(&surface.windows().bands).enumerate().for_each(
        |(index, (rows, band))| {
            let first_row = index * BAND_ROWS;
            for (block, spans) in band.blocks() {
                let at = (block.row - first_row) * stride + block.column;
                let out = (&mut rows[at..at + LANES]).try_into().expect("the slice has LANES rows");
                let place = grid.at(block.row, block.column);
                let source = Source { points: grid.planes(), normals: surface.normal_planes() };
                count_block(&source, grid.stride(), place, (&block.limits, spans), degenerate_by(rule), out);
            }
        },
    );
    SpfhImage { rows, stride }
}

/// Coordinate planes of points and normals.
struct Source<'a> {
    points: [&'a [f32]; 3],
    normals: [&'a [f32]; 3],
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn count_block(
    source: &Source<'_>,
    stride: usize,
    at: usize,
    (limits, spans): (&Lane, &[Span]),
    degenerate: Degenerate,
    out: &mut [SpfhRow; LANES],
) {
    let p1 = source.points.map(|plane| lane_at(plane, at));
    let n1 = source.normals.map(|plane| lane_at(plane, at));
    let mut counts = LaneCounts::default();
    for span in spans {
        let first = offset_from(at, stride, *span);
        for other in (first..first + usize::from(span.len)).filter(|other| *other != at) {
            let p2 = source.points.map(|plane| lane_at(plane, other));
            let n2 = source.normals.map(|plane| lane_at(plane, other));
            counts.count(&Pairs { p1, n1, p2, n2, limits }, degenerate);
        }
    }
    counts.finish(out);
}

fn weigh_image(surface: &Surface, image: &SpfhImage, rule: FinishingRule) -> Array2<f32> {
    let grid = surface.grid();
    let row_len = grid.stride();
    let counts: Vec<usize> = (0..grid.height().div_ceil(BAND_ROWS))
        .map(|band| {
            let first = (band * BAND_ROWS + grid.margin()) * row_len;
            let last = ((band + 1) * BAND_ROWS).min(grid.height()) + grid.margin();
            grid.valid()[first..last * row_len].iter().filter(|v| **v).count()
        })
        .collect();
    let mut rows = Array2::zeros((counts.iter().sum(), FPFH_DIMS));
    let mut rest = rows.as_slice_mut().expect("a new array is contiguous");
    let mut parts = Vec::with_capacity(counts.len());
    for count in counts {
        let (part, tail) = rest.split_at_mut(count * FPFH_DIMS);
        parts.push(part);
        rest = tail;
    }
    parts.into_par_iter().zip(&surface.windows().bands).for_each(|(part, band)| {
        weigh_band(surface, image, band, rule, part);
    });
    rows
}

fn weigh_band(surface: &Surface, image: &SpfhImage, band: &Band, rule: FinishingRule, out: &mut [f32]) {
    let grid = surface.grid();
    let mut weights = Vec::new();
    let mut out = out.chunks_exact_mut(FPFH_DIMS);
    let mut sums = [[0.0; 32]; LANES];
    for (block, spans) in band.blocks() {
        let place = grid.at(block.row, block.column);
        weigh_offsets(grid.planes(), grid.stride(), place, (&block.limits, spans), &mut weights);
        let at = LANES + block.row * image.stride + block.column;
        sum_block(&image.rows, image.stride, at, spans, &weights, &mut sums);
        for lane in (0..LANES).filter(|lane| grid.valid()[place + lane]) {
            let row = out.next().expect("a band has a row for each of its measured points");
            finish(&sums[lane], &image.rows[at + lane], rule, row);
        }
    }
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn weigh_offsets(
    planes: [&[f32]; 3],
    stride: usize,
    at: usize,
    (limits, spans): (&Lane, &[Span]),
    weights: &mut Vec<Lane>,
) {
    let center = planes.map(|plane| lane_at(plane, at));
    weights.clear();
    for span in spans {
        let first = offset_from(at, stride, *span);
        for other in first..first + usize::from(span.len) {
            let p = planes.map(|plane| lane_at(plane, other));
            let mut lanes = [0.0; LANES];
            for l in 0..LANES {
                let (dx, dy, dz) = (p[0][l] - center[0][l], p[1][l] - center[1][l], p[2][l] - center[2][l]);
                let distance_sq = dx * dx + dy * dy + dz * dz;
                let weight = weight(distance_sq);
                lanes[l] = if distance_sq <= limits[l] { weight } else { 0.0 };
            }
            weights.push(lanes);
        }
    }
}

/// Place of a span's first offset, seen from the block at `at`.
#[inline(always)]
fn offset_from(at: usize, stride: usize, span: Span) -> usize {
    let rows = isize::from(span.row) * stride.cast_signed();
    at.wrapping_add_signed(rows).wrapping_add_signed(isize::from(span.column))
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn sum_block(
    rows: &[SpfhRow],
    stride: usize,
    at: usize,
    spans: &[Span],
    weights: &[Lane],
    sums: &mut [SpfhRow; LANES],
) {
    for l in 0..LANES {
        let mut sum = [0.0; 32];
        let mut weights = weights;
        for span in spans {
            let first = offset_from(at, stride, *span) + l;
            let (span_weights, rest) = weights.split_at(usize::from(span.len));
            weights = rest;
            let rows = &rows[first..first + span_weights.len()];
            for (weights, row) in span_weights.iter().zip(rows) {
                let weight = weights[l];
                for bin in 0..32 {
                    sum[bin] += weight * row[bin];
                }
            }
        }
        sums[l] = sum;
    }
}
