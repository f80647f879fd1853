//! The pair feature of Rusu et al. (ICRA 2009), counted into 3 x 11 bins.
//!
//! For points p1, p2 with unit normals n1, n2 and d = p2 - p1: when |n1.d| < |n2.d| the two
//! points change roles; then v = d x n1, w = n1 x v / |v|, and the features are
//! f1 = atan2(w.n2, n1.n2), f2 = v.n2 / |v|, f3 = n1.d / |d|. Written with s1 = n1.d,
//! s2 = n2.d, c = n1.n2 and (p, q) = (s1, s2), or (-s2, -s1) after the change of roles:
//!
//! ```text
//! f3 = p / |d|    f2 = d.(n1 x n2) / |v|    tan f1 = (q - c p) / (c |v|)    |v|^2 = |d|^2 - p^2
//! ```
//!
//! The bins are symmetric around zero, so a value's bin is its sign and the number of
//! borders (1/11, 3/11, .. 9/11 of the range) that its square exceeds: no arc tangent, no
//! root and no division per pair. The counters of a lane are 5-bit fields of one word,
//! field `i` holding the pairs that lie `i` bins from the centre.

use crate::neighbors::grid::{LANES, Lane};

/// Pairs a lane can count before its 5-bit fields are full.
pub(crate) const PAIRS_PER_FLUSH: usize = 31;
/// Bins of one feature.
pub const BINS: usize = 11;
/// Bins to either side of the centre.
pub(crate) const LEVELS: usize = BINS / 2;

/// Squares of 1/11, 3/11, .. 9/11.
const BORDERS_SQ: [f32; LEVELS] = [1.0 / 121.0, 9.0 / 121.0, 25.0 / 121.0, 49.0 / 121.0, 81.0 / 121.0];
/// Squared tangents of pi/11 times 1, 3, 5, 7, 9.
const TANGENTS_SQ: [f32; LEVELS] = [0.086_216_52, 1.331_858, 48.374_15, 4.794_762, 0.413_013_13];
/// Of those, how many lie below a right angle.
const ACUTE: usize = 3;
/// |v|^2 below this share of |d|^2 is rounding: the pair has no frame.
const FRAME_MIN: f32 = 2e-7;
/// Width of a counter's field.
const FIELD_BITS: usize = 5;

/// The counters of [`LANES`] lanes: for each feature one word for the bins above the
/// centre and one for those below.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) above: [[u32; LANES]; 3],
    pub(crate) below: [[u32; LANES]; 3],
    /// Pairs counted.
    pub(crate) pairs: [u32; LANES],
    /// Pairs looked at.
    pub(crate) members: [u32; LANES],
}

/// What the two finishing rules do with a pair that has no frame (coincident points, or
/// the normal along d).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Degenerate {
    /// Counted in the three centre bins.
    Centre,
    /// Not counted.
    Skip,
}

/// One pair per lane: both points and both normals.
pub(crate) struct Pairs<'a> {
    pub(crate) p1: [&'a Lane; 3],
    pub(crate) n1: [&'a Lane; 3],
    pub(crate) p2: [&'a Lane; 3],
    pub(crate) n2: [&'a Lane; 3],
    /// Lanes whose squared distance is larger have no pair.
    pub(crate) limits: &'a Lane,
}

/// Counts one pair per lane.
#[inline(always)]
pub(crate) fn count(pairs: &Pairs<'_>, degenerate: Degenerate, counters: &mut Counters) {
    let Pairs { p1, n1, p2, n2, limits } = pairs;
    for l in 0..LANES {
        let d = [p2[0][l] - p1[0][l], p2[1][l] - p1[1][l], p2[2][l] - p1[2][l]];
        let length_sq = dot(d, d);
        let (steps, framed) =
            steps(d, length_sq, [n1[0][l], n1[1][l], n1[2][l]], [n2[0][l], n2[1][l], n2[2][l]]);
        let member = length_sq <= limits[l];
        let counted = member & (framed | (degenerate == Degenerate::Centre));
        for (feature, (negative, step)) in steps.into_iter().enumerate() {
            let step = if counted { step } else { 0 };
            counters.above[feature][l] += if negative { 0 } else { step };
            counters.below[feature][l] += if negative { step } else { 0 };
        }
        counters.pairs[l] += u32::from(counted);
        counters.members[l] += u32::from(member);
    }
}

/// The three features of a pair, each as its sign and `1 << (5 * bins from the centre)`,
/// and whether the pair has a frame.
#[inline(always)]
fn steps(d: [f32; 3], length_sq: f32, n1: [f32; 3], n2: [f32; 3]) -> ([(bool, u32); 3], bool) {
    let (s1, s2, c) = (dot(n1, d), dot(n2, d), dot(n1, n2));
    let cross = [n1[1] * n2[2] - n1[2] * n2[1], n1[2] * n2[0] - n1[0] * n2[2], n1[0] * n2[1] - n1[1] * n2[0]];
    let triple = dot(d, cross);
    let swapped = s1 * s1 < s2 * s2;
    let p = if swapped { -s2 } else { s1 };
    let q = if swapped { -s1 } else { s2 };
    let frame_sq = length_sq - p * p;
    let framed = frame_sq > FRAME_MIN * length_sq;
    // Without a frame all three features are zero by definition.
    let gate = if framed { 1.0 } else { 0.0 };
    let frame_sq = if framed { frame_sq } else { 0.0 };
    let y = (q - c * p) * gate;
    let x_sq = c * c.abs() * frame_sq;
    let features = [
        (y < 0.0, angle_step(y * y, x_sq)),
        (triple < 0.0, ratio_step(triple * triple * gate, frame_sq)),
        (p < 0.0, ratio_step(p * p * gate, length_sq)),
    ];
    (features, framed)
}

#[inline(always)]
fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Borders exceeded by a value whose square is `numerator_sq / denominator_sq`.
#[inline(always)]
fn ratio_step(numerator_sq: f32, denominator_sq: f32) -> u32 {
    let mut step = 1;
    for (level, border) in BORDERS_SQ.into_iter().enumerate() {
        step = if numerator_sq > border * denominator_sq { field(level + 1) } else { step };
    }
    step
}

/// Borders exceeded by the angle with squared sine part `y_sq` and cosine part squared,
/// with the cosine's sign, `x_sq`.
#[inline(always)]
fn angle_step(y_sq: f32, x_sq: f32) -> u32 {
    let mut step = 1;
    for (level, tangent) in TANGENTS_SQ.into_iter().enumerate() {
        let exceeded = if level < ACUTE { y_sq > tangent * x_sq } else { y_sq < -tangent * x_sq };
        step = if exceeded { field(level + 1) } else { step };
    }
    step
}

const fn field(level: usize) -> u32 {
    1 << (FIELD_BITS * level)
}

/// The count in one field of a counter word.
#[inline(always)]
pub(crate) const fn count_at(word: u32, level: usize) -> u32 {
    word >> (FIELD_BITS * level) & ((1 << FIELD_BITS) - 1)
}
