//! [`Scene`]: a piece in its pose on the table, and the search for places a defect can be.

use std::f32::consts::TAU;

use super::defects::Flaw;
use super::draw::Draw;
use super::parts::{Part, Sample};
use super::relief::Relief;
use super::{Defect, Family};

/// No part reaches further from its own centre, mm.
pub(super) const PART_REACH_MM: f32 = 64.0;
/// Places tried for a defect before the best known one is taken.
const TRIES: usize = 4000;

/// A piece lying on the table.
pub(super) struct Scene {
    part: Part,
    cos: f32,
    sin: f32,
    shift: [f32; 2],
}

impl Scene {
    /// Lays the piece down: any rotation, a small shift.
    pub(super) fn new(family: Family, variant: u64, seed: u64) -> Self {
        let mut draw = Draw::new([3, family.index(), variant, seed]);
        let angle = draw.range(0.0, TAU);
        let shift = [draw.range(-5.0, 5.0), draw.range(-5.0, 5.0)];
        Self { part: Part::new(family, variant, seed), cos: angle.cos(), sin: angle.sin(), shift }
    }

    /// The part's centre on the table, mm.
    pub(super) const fn centre(&self) -> [f32; 2] {
        self.shift
    }

    /// What is at a place of the table.
    pub(super) fn sample(&self, x: f32, y: f32) -> Sample {
        let [a, b] = self.to_part(x, y);
        self.part.sample(a, b, 1.0)
    }

    /// What is there with the defect.
    pub(super) fn sample_flawed(&self, flaw: &Flaw, x: f32, y: f32) -> Sample {
        let [a, b] = self.to_part(x, y);
        let [a, b] = flaw.unbend(a, b);
        flaw.edit(self.part.sample(a, b, flaw.detail(x, y)), x, y)
    }

    fn to_part(&self, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = (x - self.shift[0], y - self.shift[1]);
        [dx * self.cos + dy * self.sin, dy * self.cos - dx * self.sin]
    }

    /// Puts the flaw on a place that suits it. `relief` is the piece without it.
    pub(super) fn place(&self, flaw: &mut Flaw, relief: &Relief, draw: &mut Draw) {
        let detached = flaw.defect == Defect::ForeignParticle && draw.chance(0.35);
        let at_edge = matches!(flaw.defect, Defect::Cut | Defect::MissingPiece);
        let [rows, columns] = relief.shape();
        let mut fallback = self.shift;
        for _ in 0..TRIES {
            let (row, column) = (draw.index(rows), draw.index(columns));
            let angle = draw.range(0.0, TAU);
            let axis = [angle.cos(), angle.sin()];
            let place = relief.position(row, column);
            let on_part = relief.cell_height(row, column) > 1.0;
            if on_part == detached || !self.within_reach(place) {
                continue;
            }
            fallback = place;
            let suits = if detached {
                is_beside(relief, place, flaw.size)
            } else if at_edge {
                is_at_edge(relief, place, axis)
            } else if flaw.defect == Defect::MissingThread {
                self.has_texture(place, 0.6 * flaw.size)
            } else {
                is_open(relief, place, flaw.size.min(4.0))
            };
            if suits {
                return flaw.place(place, at_edge.then_some(axis));
            }
        }
        flaw.place(fallback, None);
    }

    /// Whether a place is near the part, where it is surely inside the picture.
    fn within_reach(&self, [x, y]: [f32; 2]) -> bool {
        (x - self.shift[0]).hypot(y - self.shift[1]) < 0.95 * PART_REACH_MM
    }

    /// Whether the normal skin differs visibly from a worn one around the place.
    fn has_texture(&self, [x, y]: [f32; 2], radius: f32) -> bool {
        let rough = around([x, y], radius).chain([[x, y]]).filter(|[x, y]| {
            let [a, b] = self.to_part(*x, *y);
            let (full, worn) = (self.part.sample(a, b, 1.0), self.part.sample(a, b, 0.0));
            full.height > 0.0 && (full.height - worn.height).abs() > 0.15
        });
        rough.count() >= 7
    }
}

/// Eight places on a circle.
fn around([x, y]: [f32; 2], radius: f32) -> impl Iterator<Item = [f32; 2]> {
    (0_u8..8).map(move |i| {
        let angle = f32::from(i) * TAU / 8.0;
        [x + radius * angle.cos(), y + radius * angle.sin()]
    })
}

/// Whether the place faces the camera: its surroundings are part, and not steep.
fn is_open(relief: &Relief, place: [f32; 2], radius: f32) -> bool {
    let own = relief.height(place[0], place[1]);
    around(place, radius).all(|[x, y]| {
        let height = relief.height(x, y);
        height > 1.0 && (height - own).abs() < 0.9 * radius
    })
}

/// Whether the part ends just beyond the place in direction `axis` and goes on behind it.
fn is_at_edge(relief: &Relief, [x, y]: [f32; 2], axis: [f32; 2]) -> bool {
    let along = |distance: f32| relief.height(x + distance * axis[0], y + distance * axis[1]);
    along(2.0) < 0.5 && along(6.0) < 0.5 && along(-3.0) > 2.0 && along(-6.0) > 2.0
}

/// Whether a particle of this size lies free on the table, not far from the part.
fn is_beside(relief: &Relief, place: [f32; 2], size: f32) -> bool {
    let free =
        around(place, size + 3.0).chain(around(place, 0.5 * size)).all(|[x, y]| relief.height(x, y) < 0.1);
    free && around(place, size + 9.0).any(|[x, y]| relief.height(x, y) > 1.0)
}
