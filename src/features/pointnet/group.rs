//! Sampling and grouping of a patch's points, outside the graph (METHOD section 4).

use ndarray::{Array3, Array4};

use super::{
    CENTRES_1, CENTRES_2, NEIGHBORS, PATCH_POINT_COUNT, PATCH_UNIT_PITCHES, RADIUS_1_PITCHES,
    RADIUS_2_PITCHES, mean,
};

/// The graph's inputs for `n` patches, all in patch units.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    /// `[n, 32, 16, 3]`: neighbours of each first centre among the patch's points, relative to
    /// the centre, nearest first.
    pub g1: Array4<f32>,
    /// `[n, 8, 16, 3]`: neighbours of each second centre among the first centres, relative to it.
    pub g2: Array4<f32>,
    /// `[n, 8, 16]`: which first centres those are, as `patch * 32 + centre`.
    pub i2: Array3<i64>,
}

/// Samples centres and groups neighbours of patches `[n, 64, 3]`.
///
/// # Panics
/// When the patches do not hold 64 points of three coordinates.
#[must_use]
pub fn group(points: &Array3<f32>) -> Grouping {
    let (count, per_patch, axes) = points.dim();
    assert_eq!((per_patch, axes), (PATCH_POINT_COUNT, 3), "patches hold 64 points");
    let mut grouping = Grouping {
        g1: Array4::zeros((count, CENTRES_1, NEIGHBORS, 3)),
        g2: Array4::zeros((count, CENTRES_2, NEIGHBORS, 3)),
        i2: Array3::zeros((count, CENTRES_2, NEIGHBORS)),
    };
    let mut scratch = Vec::with_capacity(PATCH_POINT_COUNT);
    for (patch, rows) in points.outer_iter().enumerate() {
        let points: Vec<[f32; 3]> = rows.outer_iter().map(|p| [p[0], p[1], p[2]]).collect();
        group_patch(&points, patch, &mut grouping, &mut scratch);
    }
    grouping
}

#[expect(clippy::cast_possible_wrap, reason = "patches times 32 stays far below 2^63")]
fn group_patch(points: &[[f32; 3]], patch: usize, grouping: &mut Grouping, scratch: &mut Vec<(f32, usize)>) {
    let centres: Vec<[f32; 3]> =
        farthest_points::<CENTRES_1>(points).iter().map(|index| points[*index]).collect();
    for (c, centre) in centres.iter().enumerate() {
        for (k, index) in ball(*centre, points, RADIUS_1_PITCHES, scratch).iter().enumerate() {
            write(&mut grouping.g1, [patch, c, k], difference(points[*index], *centre));
        }
    }
    // A farthest-point sample in its order is its own prefix: the first 8 of the 32 centres
    // are the 8 that farthest-point sampling would take from them.
    for (c, centre) in centres[..CENTRES_2].iter().enumerate() {
        for (k, index) in ball(*centre, &centres, RADIUS_2_PITCHES, scratch).iter().enumerate() {
            write(&mut grouping.g2, [patch, c, k], difference(centres[*index], *centre));
            grouping.i2[[patch, c, k]] = (patch * CENTRES_1 + index) as i64;
        }
    }
}

fn write(tensor: &mut Array4<f32>, [a, b, c]: [usize; 3], point: [f32; 3]) {
    for (axis, value) in point.into_iter().enumerate() {
        tensor[[a, b, c, axis]] = value;
    }
}

/// Farthest-point sampling: starts at the point nearest the mean, then always takes the point
/// farthest from those taken. Ties go to the lower index.
fn farthest_points<const N: usize>(points: &[[f32; 3]]) -> [usize; N] {
    let centre = mean(points);
    let mut next = 0;
    for (index, point) in points.iter().enumerate() {
        if distance_sq(*point, centre) < distance_sq(points[next], centre) {
            next = index;
        }
    }
    let mut nearest_sq = [f32::INFINITY; PATCH_POINT_COUNT];
    std::array::from_fn(|_| {
        let taken = next;
        next = 0;
        for (index, point) in points.iter().enumerate() {
            nearest_sq[index] = nearest_sq[index].min(distance_sq(*point, points[taken]));
            if nearest_sq[index] > nearest_sq[next] {
                next = index;
            }
        }
        taken
    })
}

/// Ball query: the nearest 16 candidates within the radius, nearest first, ties by index.
/// Fewer are filled up with the nearest, which is the centre itself.
fn ball(
    centre: [f32; 3],
    candidates: &[[f32; 3]],
    radius_pitches: f32,
    scratch: &mut Vec<(f32, usize)>,
) -> [usize; NEIGHBORS] {
    let radius = radius_pitches / PATCH_UNIT_PITCHES;
    scratch.clear();
    for (index, point) in candidates.iter().enumerate() {
        let d_sq = distance_sq(*point, centre);
        if d_sq <= radius * radius {
            scratch.push((d_sq, index));
        }
    }
    scratch.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    std::array::from_fn(|k| scratch.get(k).unwrap_or(&scratch[0]).1)
}

fn difference(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

fn distance_sq(a: [f32; 3], b: [f32; 3]) -> f32 {
    difference(a, b).iter().map(|d| d * d).sum()
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;

    use super::super::tests::{random_patches, random_points};
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn slow_distance_sq(a: [f32; 3], b: [f32; 3]) -> f64 {
        (0..3).map(|axis| (f64::from(a[axis]) - f64::from(b[axis])).powi(2)).sum()
    }

    /// Farthest-point sampling that measures every distance anew.
    fn slow_farthest(points: &[[f32; 3]], count: usize, first: usize) -> Vec<usize> {
        let mut taken = vec![first];
        while taken.len() < count {
            let gap = |i: usize| {
                taken.iter().map(|t| slow_distance_sq(points[i], points[*t])).fold(f64::INFINITY, f64::min)
            };
            let best = (0..points.len()).fold(0, |best, i| if gap(i) > gap(best) { i } else { best });
            taken.push(best);
        }
        taken
    }

    #[test]
    fn farthest_points_are_those_of_the_slow_version() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let points = random_points(&mut rng, 64);
            let fast = farthest_points::<32>(&points);
            let centre = mean(&points);
            let nearest = (0..64).min_by(|a, b| {
                slow_distance_sq(points[*a], centre).total_cmp(&slow_distance_sq(points[*b], centre))
            });
            assert_eq!(Some(fast[0]), nearest);
            assert_eq!(fast.to_vec(), slow_farthest(&points, 32, fast[0]));
        }
    }

    #[test]
    fn the_first_centres_are_the_farthest_sample_of_the_centres() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let points = random_points(&mut rng, 64);
        let centres: Vec<[f32; 3]> = farthest_points::<32>(&points).iter().map(|i| points[*i]).collect();
        assert_eq!(slow_farthest(&centres, 8, 0), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_ball_holds_the_nearest_within_the_radius_and_is_filled_up() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut filled = 0;
        for radius in [0.1_f32, 0.2, 0.3, 10.0] {
            let points = random_points(&mut rng, 64);
            let limit = f64::from(radius / PATCH_UNIT_PITCHES).powi(2);
            let mut within: Vec<usize> =
                (0..64).filter(|i| slow_distance_sq(points[*i], points[7]) <= limit).collect();
            within.sort_by(|a, b| {
                slow_distance_sq(points[*a], points[7]).total_cmp(&slow_distance_sq(points[*b], points[7]))
            });
            let found = ball(points[7], &points, radius, &mut Vec::new());
            filled += usize::from(within.len() < 16);
            within.resize(16.max(within.len()), within[0]);
            assert_eq!(found[..], within[..16]);
        }
        assert!((1..4).contains(&filled), "both cases occur");
    }

    #[test]
    fn indices_point_at_the_rows_they_describe() {
        let points = random_patches(4, 3);
        let grouping = group(&points);
        for ((patch, centre, k), row) in grouping.i2.indexed_iter() {
            let row = usize::try_from(*row).expect("not negative");
            assert_eq!(row / CENTRES_1, patch);
            let first: Vec<[f32; 3]> =
                points.index_axis(Axis(0), patch).outer_iter().map(|p| [p[0], p[1], p[2]]).collect();
            let centres = farthest_points::<32>(&first);
            let expected = difference(first[centres[row % CENTRES_1]], first[centres[centre]]);
            let found: [f32; 3] = std::array::from_fn(|axis| grouping.g2[[patch, centre, k, axis]]);
            assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits));
        }
        assert!(
            grouping.g1.index_axis(Axis(2), 0).iter().all(|v| *v == 0.0),
            "a centre is nearest to itself"
        );
    }

    #[test]
    fn grouping_ignores_where_the_patch_lies() {
        let points = random_patches(5, 2);
        let moved = &points + 4.0;
        assert_eq!(group(&points), group(&moved));
    }

    #[test]
    fn identical_points_group_into_zeros() {
        let grouping = group(&Array3::from_elem((1, 64, 3), 0.25));
        assert!(grouping.g1.iter().chain(&grouping.g2).all(|v| *v == 0.0));
        assert!(grouping.i2.outer_iter().flatten().copied().eq((0..8).flat_map(|_| 0..16)));
    }
}
