//! Adding: a chunk of another scan's surface laid onto the part (METHOD section 5, step 3).
//!
//! Two ways, one for each extraction, because normal and pseudo patches must come out of one rule:
//!
//! - *nearest*: the 64 points nearest to the anchor's point in the union of part and chunk, both on every
//!   s-th row and column of their own scans;
//! - *lattice*: what the sensor would see. The chunk is seen on the part's pixel grid, through an affine fit
//!   of the pixels to the points around the anchor, and takes every slot where it lies nearer to the camera
//!   than the part, or where the part was not measured. Seated on the anchor, a chunk wider than the patch
//!   would cover all of it: it is seated within its own radius of the anchor (our choice), so that its rim
//!   crosses the patch as a real defect's does. A sensor measures on its own lattice, so a chunk's
//!   point moves to the slot's place, by at most [`SLOT_REACH_PX`], within its own tangent plane.

use rand_chacha::ChaCha8Rng;
use zal::features::pointnet::{Extraction, PATCH_POINT_COUNT, Slots, anchor_pixel, lattice_pixels};
use zal::features::{PATCH_POINTS_MIN, PATCH_SIZE};
use zal::neighbors::distance_sq;
use zal::preprocess::FRAME_SIZE;

use super::chunk::{Chunk, Seat, density_scale};
use super::random::{count_within, index, within};
use super::{Alteration, Frame, Kind, Pool, PseudoParams};

/// How far, in pixels, a chunk's point may lie from the slot that it takes. A lattice turned by any angle has
/// a point within 0.71 of its steps of every place; twice that closes a surface that was seen at 60 degrees
/// in its own scan, and so holds half the points.
pub const SLOT_REACH_PX: f32 = 1.5;
/// Chunks laid onto one anchor before it is given up: a caller that redraws the anchor after each rejection
/// would see fewer of the kind that is rejected more often.
const TRIES: usize = 16;
/// Least cosine between a chunk's normal and the optical axis with which a point's depth follows its tangent
/// plane: a surface seen more steeply would throw its points about by the noise of its normals.
const FACING_MIN: f32 = 0.3;

/// Lays random chunks of the pool onto the part until the share of added points is in its range; none when
/// that never happens, the anchor is not usable, or the pool has no peaks.
pub(super) fn add(
    target: &Frame,
    anchor: (usize, usize),
    pool: &Pool,
    params: &PseudoParams,
    rng: &mut ChaCha8Rng,
) -> Option<Alteration> {
    let anchor_px = anchor_pixel(&target.cloud, anchor)?;
    for _ in 0..TRIES {
        let source = index(rng, pool.scans.len());
        let irrelevant = pool.scans.get(source)?;
        let peak = *irrelevant.peaks.get(index(rng, irrelevant.peaks.len()))?;
        let count = count_within(rng, &params.chunk_points);
        let seat_px = match params.patch.extraction {
            Extraction::Nearest => anchor_px,
            Extraction::Lattice => seat_near(target, anchor_px, count, params.seat_reach, rng),
        };
        let seat = Seat {
            point: target.cloud.points()[seat_px],
            normal: target.normals[seat_px],
            turn_rad: within(rng, &(0.0..=std::f32::consts::TAU)),
            offset_m: within(rng, &params.offset_mm) / 1000.0,
            scale: density_scale(target.pitch_m, irrelevant.frame.pitch_m),
        };
        let chunk = Chunk::cut(&irrelevant.frame, peak as usize, count);
        if chunk.points.len() < PATCH_POINTS_MIN {
            continue;
        }
        let chunk = chunk.laid_on(&seat);
        let (slots, added) = match params.patch.extraction {
            Extraction::Nearest => nearest(target, anchor_px, &chunk, params.patch.stride_px),
            Extraction::Lattice => seen(target, anchor, &chunk, params.patch.stride_px)?,
        };
        if params.added_share.contains(&share(added.iter().filter(|added| **added).count())) {
            let (kind, source, peak) = (Kind::Adding, Some(source), Some(peak));
            return Some(Alteration {
                kind,
                slots,
                added,
                dropped: vec![],
                source,
                peak,
                chunk: chunk.points,
            });
        }
    }
    None
}

/// A random measured pixel within `reach` radii of a chunk of `count` points around a pixel.
#[expect(clippy::cast_precision_loss, reason = "at most a thousand points")]
fn seat_near(target: &Frame, pixel: usize, count: usize, reach: f32, rng: &mut ChaCha8Rng) -> usize {
    let reach_sq = reach * reach * count as f32 / std::f32::consts::PI;
    let off_sq = |other: usize| {
        let rows = coordinate((other / FRAME_SIZE).abs_diff(pixel / FRAME_SIZE));
        let columns = coordinate((other % FRAME_SIZE).abs_diff(pixel % FRAME_SIZE));
        rows * rows + columns * columns
    };
    let valid = target.cloud.valid();
    let near: Vec<usize> =
        (0..valid.len()).filter(|other| valid[*other] && off_sq(*other) <= reach_sq).collect();
    near.get(index(rng, near.len())).copied().unwrap_or(pixel)
}

/// A number of slots as a share of all.
#[expect(clippy::cast_precision_loss, reason = "at most 64")]
fn share(count: usize) -> f32 {
    count as f32 / PATCH_POINT_COUNT as f32
}

type Added = [bool; PATCH_POINT_COUNT];

/// The nearest points of part and chunk, nearest first; of two at the same distance the part's first.
fn nearest(target: &Frame, anchor_px: usize, chunk: &Chunk, stride_px: usize) -> (Slots, Added) {
    let points = target.cloud.points();
    let centre = points[anchor_px];
    let own = target.boxes.nearest(&target.cloud, anchor_px, stride_px, PATCH_POINT_COUNT);
    let own = own.into_iter().map(|pixel| (points[pixel], false));
    let added = (0..chunk.points.len()).filter(|i| chunk.is_on_lattice(*i, stride_px));
    let mut all: Vec<([f32; 3], bool)> = own.chain(added.map(|i| (chunk.points[i], true))).collect();
    // The sort is stable: ties stay in this order.
    all.sort_by(|a, b| distance_sq(centre, a.0).total_cmp(&distance_sq(centre, b.0)));
    let slots = std::array::from_fn(|rank| all.get(rank).map(|(point, _)| *point));
    (slots, std::array::from_fn(|rank| all.get(rank).is_some_and(|(_, added)| *added)))
}

/// What the lattice's slots see of part and chunk. None when the anchor is not usable or the points
/// around it lie on one line.
fn seen(target: &Frame, anchor: (usize, usize), chunk: &Chunk, stride_px: usize) -> Option<(Slots, Added)> {
    let cloud = &target.cloud;
    let pixels = lattice_pixels(cloud, anchor, stride_px)?;
    let view = PixelFit::around(target, anchor, stride_px)?;
    let places: Vec<[f32; 2]> = chunk.points.iter().map(|point| view.place(*point)).collect();
    let mut slots = pixels.map(|pixel| pixel.filter(|p| cloud.valid()[*p]).map(|p| cloud.points()[p]));
    let mut added = [false; PATCH_POINT_COUNT];
    for (slot, pixel) in pixels.into_iter().enumerate() {
        let Some(pixel) = pixel else { continue };
        let Some(point) = seen_at(chunk, &places, &view, pixel) else { continue };
        if slots[slot].is_none_or(|own| point[2] < own[2]) {
            slots[slot] = Some(point);
            added[slot] = true;
        }
    }
    Some((slots, added))
}

/// The chunk's surface at a pixel: its point that lies nearest on the pixel grid, moved to the pixel.
fn seen_at(chunk: &Chunk, places: &[[f32; 2]], view: &PixelFit, pixel: usize) -> Option<[f32; 3]> {
    let centre = [coordinate(pixel % FRAME_SIZE), coordinate(pixel / FRAME_SIZE)];
    let off = |place: &[f32; 2]| [centre[0] - place[0], centre[1] - place[1]];
    let off_sq = |place: &[f32; 2]| off(place)[0].powi(2) + off(place)[1].powi(2);
    let (index, place) = places.iter().enumerate().min_by(|a, b| off_sq(a.1).total_cmp(&off_sq(b.1)))?;
    if off_sq(place) > SLOT_REACH_PX * SLOT_REACH_PX {
        return None;
    }
    let (point, normal) = (chunk.points[index], chunk.normals[index]);
    let facing = normal[2].abs().max(FACING_MIN).copysign(normal[2]);
    let [dx, dy] = view.step(off(place));
    Some([point[0] + dx, point[1] + dy, point[2] - (normal[0] * dx + normal[1] * dy) / facing])
}

#[expect(clippy::cast_precision_loss, reason = "a row or column of the frame")]
const fn coordinate(index: usize) -> f32 {
    index as f32
}

/// (x, y) -> (column, row), affine, by least squares over the measured points around an anchor.
///
/// A pinhole camera's projection is affine only at one depth: over the part's own relief the fit averages,
/// and a chunk that stands 5 mm higher at half a metre is seen displaced by a pixel at a frame's edge.
struct PixelFit {
    mean_m: [f32; 2],
    mean_px: [f32; 2],
    /// Pixels per metre: rows are column and row, columns x and y.
    px_per_m: [[f32; 2]; 2],
}

impl PixelFit {
    /// None when the points lie on one line.
    fn around(target: &Frame, (row, column): (usize, usize), stride_px: usize) -> Option<Self> {
        let reach = stride_px * PATCH_SIZE / 2;
        let along = |anchor: usize| anchor.saturating_sub(reach)..(anchor + reach).min(FRAME_SIZE);
        let pixels = along(row).flat_map(|r| along(column).map(move |c| (r, c)));
        let measured: Vec<[f64; 4]> = pixels
            .filter(|(r, c)| target.cloud.valid()[r * FRAME_SIZE + c])
            .map(|(r, c)| {
                let [x, y, _] = target.cloud.points()[r * FRAME_SIZE + c];
                [x, y, coordinate(c), coordinate(r)].map(f64::from)
            })
            .collect();
        Self::of(&measured)
    }

    /// From rows of x, y, column, row.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "about a thousand points; the result is used in f32"
    )]
    fn of(measured: &[[f64; 4]]) -> Option<Self> {
        let count = measured.len() as f64;
        let mean: [f64; 4] = std::array::from_fn(|i| measured.iter().map(|m| m[i]).sum::<f64>() / count);
        let moment =
            |i: usize, j: usize| measured.iter().map(|m| (m[i] - mean[i]) * (m[j] - mean[j])).sum::<f64>();
        let (xx, xy, yy) = (moment(0, 0), moment(0, 1), moment(1, 1));
        let determinant = xx * yy - xy * xy;
        // Not a number for no points at all.
        if determinant.is_nan() || determinant <= 1e-6 * (xx + yy).powi(2) {
            return None;
        }
        let row = |j: usize| {
            let (x, y) = (moment(0, j), moment(1, j));
            [((x * yy - y * xy) / determinant) as f32, ((y * xx - x * xy) / determinant) as f32]
        };
        let [x, y, column, line] = mean.map(|m| m as f32);
        Some(Self { mean_m: [x, y], mean_px: [column, line], px_per_m: [row(2), row(3)] })
    }

    /// Column and row of a point.
    fn place(&self, point: [f32; 3]) -> [f32; 2] {
        let [dx, dy] = [point[0] - self.mean_m[0], point[1] - self.mean_m[1]];
        [0, 1].map(|i| self.mean_px[i] + self.px_per_m[i][0] * dx + self.px_per_m[i][1] * dy)
    }

    /// The step in x and y, metres, of a step in columns and rows.
    fn step(&self, [columns, rows]: [f32; 2]) -> [f32; 2] {
        let [[a, b], [c, d]] = self.px_per_m;
        let determinant = a * d - b * c;
        [(d * columns - b * rows) / determinant, (a * rows - c * columns) / determinant]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_finds_an_affine_camera_and_refuses_a_line() {
        let grid = (0..64_u8).map(|i| (f64::from(i % 8), f64::from(i / 8)));
        let measured: Vec<[f64; 4]> =
            grid.map(|(c, r)| [(c - 0.2 * r) * 0.000_5 + 0.1, (r + 0.1 * c) * 0.000_5 - 0.2, c, r]).collect();
        let fit = PixelFit::of(&measured).expect("a plane");
        for [x, y, column, row] in &measured {
            #[expect(clippy::cast_possible_truncation, reason = "test values")]
            let place = fit.place([*x as f32, *y as f32, 9.0]);
            assert!((f64::from(place[0]) - column).abs() < 1e-2 && (f64::from(place[1]) - row).abs() < 1e-2);
        }
        let [dx, dy] = fit.step([1.0, 0.0]);
        assert!((dx - 0.000_5).abs() < 1e-6 && (dy - 0.000_05).abs() < 1e-6, "{dx} {dy}");

        let line: Vec<[f64; 4]> = measured.iter().map(|[x, _, c, r]| [*x, 2.0 * x, *c, *r]).collect();
        assert!(PixelFit::of(&line).is_none() && PixelFit::of(&[]).is_none());
    }
}
