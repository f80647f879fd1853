//! Removing: points of the part taken away around a place within the patch (METHOD section 5, step 4).
//!
//! - *nearest*: of the 64 + m points nearest to the anchor's point, the m nearest to the place go; 64 stay.
//! - *lattice*: the m measured slots nearest to the place become missing, as a hole in the part leaves them;
//!   the extraction's own rule then repeats the others.
//!
//! The place is a point of the patch itself, so that it lies on the surface.

use rand_chacha::ChaCha8Rng;
use zal::features::PATCH_POINTS_MIN;
use zal::features::pointnet::{Extraction, PATCH_POINT_COUNT, Slots, anchor_pixel, slots_at};
use zal::neighbors::distance_sq;

use super::random::{count_within, index};
use super::{Alteration, Frame, Kind, PseudoParams};

/// Takes points away; none when the anchor is not usable or fewer than 16 points would stay, which
/// no valid patch has.
pub(super) fn remove(
    target: &Frame,
    anchor: (usize, usize),
    params: &PseudoParams,
    rng: &mut ChaCha8Rng,
) -> Option<Alteration> {
    let centre = target.cloud.points()[anchor_pixel(&target.cloud, anchor)?];
    let count = count_within(rng, &params.dropped);
    let mut slots = candidates(target, anchor, count, params)?;
    let reach_m = params.centre_jitter * params.patch.unit_m(target.pitch_m);
    let place = place_near(&slots, centre, reach_m, rng);
    let dropped = drop_nearest(&mut slots, place, count);
    if slots.iter().flatten().count() < PATCH_POINTS_MIN {
        return None;
    }
    let slots = match params.patch.extraction {
        Extraction::Lattice => std::array::from_fn(|slot| slots[slot]),
        Extraction::Nearest => compact(&slots),
    };
    let added = [false; PATCH_POINT_COUNT];
    Some(Alteration { kind: Kind::Removing, slots, added, dropped, source: None, peak: None, chunk: vec![] })
}

/// What the patch is taken from: the lattice's slots, or `count` nearest points more than a patch has.
fn candidates(
    target: &Frame,
    anchor: (usize, usize),
    count: usize,
    params: &PseudoParams,
) -> Option<Vec<Option<[f32; 3]>>> {
    match params.patch.extraction {
        Extraction::Lattice => Some(slots_at(&target.cloud, None, anchor, &params.patch)?.to_vec()),
        Extraction::Nearest => {
            let pixel = anchor_pixel(&target.cloud, anchor)?;
            let stride_px = params.patch.stride_px;
            let found = target.boxes.nearest(&target.cloud, pixel, stride_px, PATCH_POINT_COUNT + count);
            Some(found.into_iter().map(|pixel| Some(target.cloud.points()[pixel])).collect())
        }
    }
}

/// A random one of the points within `reach_m` of the patch's centre; the nearest when there is none.
fn place_near(slots: &[Option<[f32; 3]>], centre: [f32; 3], reach_m: f32, rng: &mut ChaCha8Rng) -> [f32; 3] {
    let distance = |point: &[f32; 3]| distance_sq(centre, *point);
    let near: Vec<[f32; 3]> =
        slots.iter().flatten().copied().filter(|point| distance(point) <= reach_m * reach_m).collect();
    let nearest = || slots.iter().flatten().copied().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let chosen = near.get(index(rng, near.len())).copied();
    chosen.or_else(nearest).unwrap_or(centre)
}

/// Empties the `count` slots nearest to a place, of two at the same distance the first, and gives
/// what they held.
fn drop_nearest(slots: &mut [Option<[f32; 3]>], place: [f32; 3], count: usize) -> Vec<[f32; 3]> {
    let mut order: Vec<(f32, usize)> = slots
        .iter()
        .enumerate()
        .filter_map(|(slot, point)| point.map(|point| (distance_sq(place, point), slot)))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    order.into_iter().take(count).filter_map(|(_, slot)| slots[slot].take()).collect()
}

/// The points that are left, in their order, at the front.
fn compact(slots: &[Option<[f32; 3]>]) -> Slots {
    let mut left = slots.iter().flatten().copied();
    std::array::from_fn(|_| left.next())
}
