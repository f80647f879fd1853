//! Lattice noise: smooth random functions of the plane, for skins, mottling and outlines.
//!
//! The lattice values come from hashing the cell's coordinates, not from a generator's
//! stream, so any point can be asked in any order by any thread.

use std::array::from_fn;

/// `index` as a coordinate; exact, as no grid here is wider than 2^24.
#[expect(clippy::cast_precision_loss, reason = "grids are far smaller than 2^24")]
pub(super) const fn coordinate(index: usize) -> f32 {
    index as f32
}

/// Largest integer at or below `value`, saturating. Without `f32::floor`, which is a call into
/// the C library where the processor is not known to have the instruction.
#[expect(clippy::cast_possible_truncation, reason = "float casts saturate, which is what is wanted")]
pub(super) fn floor(value: f32) -> i32 {
    let towards_zero = value as i32;
    if whole(towards_zero) > value { towards_zero.saturating_sub(1) } else { towards_zero }
}

/// An integer as a float; exact for lattice coordinates.
#[expect(clippy::cast_precision_loss, reason = "lattices are far smaller than 2^24")]
const fn whole(value: i32) -> f32 {
    value as f32
}

/// 32 well-mixed bits of a lattice point: two rounds of multiply and xor-shift.
pub(super) const fn hash(seed: u32, column: i32, row: i32) -> u32 {
    let mixed = seed
        ^ column.cast_unsigned().wrapping_mul(0x9E37_79B1)
        ^ row.cast_unsigned().wrapping_mul(0x85EB_CA77).rotate_left(13);
    let first = (mixed ^ (mixed >> 16)).wrapping_mul(0x7FEB_352D);
    let second = (first ^ (first >> 15)).wrapping_mul(0x846C_A68B);
    second ^ (second >> 16)
}

/// The lattice point's value in -1..1.
#[expect(clippy::cast_precision_loss, reason = "24 bits are exact in f32")]
pub(super) fn lattice(seed: u32, column: i32, row: i32) -> f32 {
    (hash(seed, column, row) >> 8) as f32 / 8_388_608.0 - 1.0
}

/// `t` in 0..1 eased so that its slope is zero at both ends; clamped outside.
pub(super) fn smooth_step(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Linear mix of `a` (at 0) and `b` (at 1).
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// [`mix`] of two colours.
pub(super) fn mix_color(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    from_fn(|c| mix(a[c], b[c], t))
}

/// A colour times a factor.
pub(super) fn scale_color(color: [f32; 3], factor: f32) -> [f32; 3] {
    color.map(|c| c * factor)
}

/// Smooth noise in -1..1 with a feature size of 1.
pub(super) fn value(seed: u32, x: f32, y: f32) -> f32 {
    let (column, row) = (floor(x), floor(y));
    let ease = |f: f32| f * f * (3.0 - 2.0 * f);
    let (fx, fy) = (ease(x - whole(column)), ease(y - whole(row)));
    let at = |dx, dy| lattice(seed, column.wrapping_add(dx), row.wrapping_add(dy));
    mix(mix(at(0, 0), at(1, 0), fx), mix(at(0, 1), at(1, 1), fx), fy)
}

/// `octaves` of [`value`], each half as large and twice as fine as the one before; about -1..1.
pub(super) fn fractal(seed: u32, x: f32, y: f32, octaves: u32) -> f32 {
    let (mut sum, mut amplitude, mut total, mut scale) = (0.0, 1.0, 0.0, 1.0);
    for octave in 0..octaves {
        // The turn by a non-trivial angle hides the lattice's axes.
        let (rx, ry) = (0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y);
        sum += amplitude * value(seed.wrapping_add(octave), rx * scale, ry * scale);
        total += amplitude;
        amplitude *= 0.5;
        scale *= 2.03;
    }
    sum / total
}

/// Triangle wave of period 1 in -1..1, 1 at whole numbers.
pub(super) fn triangle(phase: f32) -> f32 {
    4.0 * (phase - whole(floor(phase)) - 0.5).abs() - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_bounded_continuous_and_not_constant() {
        let samples: Vec<f32> =
            (0..2000).map(|i| fractal(7, coordinate(i) * 0.01, -3.3 + coordinate(i) * 0.007, 3)).collect();
        assert!(samples.iter().all(|v| v.abs() <= 1.0));
        assert!(samples.windows(2).all(|w| (w[0] - w[1]).abs() < 0.15));
        assert!(samples.iter().any(|v| *v > 0.1) && samples.iter().any(|v| *v < -0.1));
    }

    #[test]
    fn triangle_has_period_one() {
        for (phase, wanted) in [(0.0, 1.0), (0.5, -1.0), (1.0, 1.0), (-0.25, 0.0), (2.75, 0.0)] {
            assert!((triangle(phase) - wanted).abs() < 1e-6, "{phase}");
        }
    }
}
