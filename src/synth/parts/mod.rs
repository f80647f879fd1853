//! [`Part`]: one product of a family, as height and colour over its own plane.
//!
//! A *variant* fixes the product (nominal dimensions, skin, material), the *seed* the piece:
//! a machined piece keeps its dimensions within a percent, a tuber or a rope is a new shape
//! each time. Lengths are millimetres. Seen from above a part is a height field: what lies
//! under an overhang cannot be seen by the camera either.

mod lying;
mod round;
mod solid;

use super::Family;
use super::draw::Draw;

/// What is seen at a point of the plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Height over the table, mm; 0 or less is the table itself.
    pub(super) height: f32,
    /// Colour in linear light, 0..1.
    pub(super) albedo: [f32; 3],
    /// Share of light mirrored, 0..1.
    pub(super) gloss: f32,
}

impl Sample {
    /// Nothing of the part is here.
    const NONE: Self = Self { height: 0.0, albedo: [0.0; 3], gloss: 0.0 };
}

/// The two sources of a piece's randomness.
pub(super) struct Draws {
    /// The product: the same for all pieces of a variant.
    product: Draw,
    /// The piece.
    piece: Draw,
}

impl Draws {
    /// A product's dimension, met by the piece within a percent.
    fn size(&mut self, low: f32, high: f32) -> f32 {
        self.product.range(low, high) * (1.0 + 0.003 * self.piece.normal())
    }
}

/// A piece, ready to be sampled.
#[derive(Debug)]
pub(super) enum Part {
    Ring(round::Ring),
    Disc(round::Disc),
    Tyre(round::Tyre),
    Ball(round::Ball),
    Gland(lying::Gland),
    Cone(lying::Cone),
    Rod(lying::Rod),
    Rope(lying::Rope),
    Block(solid::Block),
    Tuber(solid::Tuber),
}

impl Part {
    /// Makes the piece `seed` of the product `variant`.
    pub(super) fn new(family: Family, variant: u64, seed: u64) -> Self {
        let index = family.index();
        let draws = &mut Draws {
            product: Draw::new([1, index, variant, 0]),
            piece: Draw::new([2, index, variant, seed]),
        };
        match family {
            Family::Ring => Self::Ring(round::Ring::new(draws)),
            Family::Disc => Self::Disc(round::Disc::new(draws)),
            Family::Tyre => Self::Tyre(round::Tyre::new(draws)),
            Family::Ball => Self::Ball(round::Ball::new(draws)),
            Family::Gland => Self::Gland(lying::Gland::new(draws)),
            Family::Cone => Self::Cone(lying::Cone::new(draws)),
            Family::Rod => Self::Rod(lying::Rod::new(draws)),
            Family::Rope => Self::Rope(lying::Rope::new(draws)),
            Family::Block => Self::Block(solid::Block::new(draws)),
            Family::Tuber => Self::Tuber(solid::Tuber::new(draws)),
        }
    }

    /// The part at (`x`, `y`) of its own plane; `detail` 1 is its normal relief, 0 a skin worn smooth.
    pub(super) fn sample(&self, x: f32, y: f32, detail: f32) -> Sample {
        match self {
            Self::Ring(part) => part.sample(x, y, detail),
            Self::Disc(part) => part.sample(x, y, detail),
            Self::Tyre(part) => part.sample(x, y, detail),
            Self::Ball(part) => part.sample(x, y, detail),
            Self::Gland(part) => part.sample(x, y, detail),
            Self::Cone(part) => part.sample(x, y, detail),
            Self::Rod(part) => part.sample(x, y, detail),
            Self::Rope(part) => part.sample(x, y, detail),
            Self::Block(part) => part.sample(x, y, detail),
            Self::Tuber(part) => part.sample(x, y, detail),
        }
    }
}

/// Upper half of a circle of radius `r` at distance `d` from its centre; none beyond it.
fn arc(r: f32, d: f32) -> Option<f32> {
    let square = r * r - d * d;
    (square > 0.0).then(|| square.sqrt())
}
