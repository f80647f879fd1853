//! [`Family`] and [`Defect`]: names, codes, and which defects a family can have.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A family of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Smooth torus.
    Ring,
    /// Threaded and stepped cable gland.
    Gland,
    /// Cone.
    Cone,
    /// Disc.
    Disc,
    /// Rod.
    Rod,
    /// Block.
    Block,
    /// Ball.
    Ball,
    /// Potato-like solid.
    Tuber,
    /// Twisted rope.
    Rope,
    /// Profiled tyre.
    Tyre,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 10] = [
        Self::Ring,
        Self::Gland,
        Self::Cone,
        Self::Disc,
        Self::Rod,
        Self::Block,
        Self::Ball,
        Self::Tuber,
        Self::Rope,
        Self::Tyre,
    ];

    /// Lower-case name, as in folders and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Gland => "gland",
            Self::Cone => "cone",
            Self::Disc => "disc",
            Self::Rod => "rod",
            Self::Block => "block",
            Self::Ball => "ball",
            Self::Tuber => "tuber",
            Self::Rope => "rope",
            Self::Tyre => "tyre",
        }
    }

    /// Place in [`Family::ALL`], as part of a random stream's key.
    pub(super) const fn index(self) -> u64 {
        self as u64
    }
}

/// A kind of defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// Raised material.
    Bump,
    /// Pressed-in surface.
    Dent,
    /// A hole.
    Hole,
    /// A crack.
    Crack,
    /// A scratch.
    Scratch,
    /// A cut.
    Cut,
    /// The part is bent.
    Bend,
    /// A piece is missing.
    MissingPiece,
    /// The thread or texture is smoother than normal.
    MissingThread,
    /// A foreign particle of another shape and colour, on the part or beside it.
    ForeignParticle,
    /// A stain that only the colour shows.
    Stain,
}

impl Defect {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Bump,
        Self::Dent,
        Self::Hole,
        Self::Crack,
        Self::Scratch,
        Self::Cut,
        Self::Bend,
        Self::MissingPiece,
        Self::MissingThread,
        Self::ForeignParticle,
        Self::Stain,
    ];

    /// Lower-case name, as in folders.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bump => "bump",
            Self::Dent => "dent",
            Self::Hole => "hole",
            Self::Crack => "crack",
            Self::Scratch => "scratch",
            Self::Cut => "cut",
            Self::Bend => "bend",
            Self::MissingPiece => "missing_piece",
            Self::MissingThread => "missing_thread",
            Self::ForeignParticle => "foreign_particle",
            Self::Stain => "stain",
        }
    }

    /// Value of the defect's pixels in a mask: 255 for the first kind, then downward.
    #[must_use]
    pub const fn code(self) -> u8 {
        255 - self as u8
    }

    /// Whether the family can have this defect: a rope has no skin to crack, a ball cannot
    /// bend, and only a textured skin can be smoother than normal.
    #[must_use]
    pub const fn fits(self, family: Family) -> bool {
        match self {
            Self::Hole | Self::Crack | Self::Scratch => !matches!(family, Family::Rope),
            Self::Bend => !matches!(family, Family::Block | Family::Ball | Family::Tuber | Family::Rope),
            Self::MissingThread => {
                matches!(family, Family::Gland | Family::Disc | Family::Rod | Family::Rope | Family::Tyre)
            }
            _ => true,
        }
    }
}

/// A name that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no {what} is called {found:?}; known are {known}")]
pub struct UnknownName {
    /// What was asked for.
    what: &'static str,
    /// The name given.
    found: String,
    /// The names there are.
    known: String,
}

impl FromStr for Family {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find("family", name, &Self::ALL, Self::name)
    }
}

impl FromStr for Defect {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find("defect", name, &Self::ALL, Self::name)
    }
}

/// The one of `all` with this name.
fn find<T: Copy>(
    what: &'static str,
    found: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, UnknownName> {
    let unknown = || {
        let known = all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", ");
        UnknownName { what, found: found.into(), known }
    };
    all.iter().copied().find(|one| name(*one) == found).ok_or_else(unknown)
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_codes_differ() {
        for family in Family::ALL {
            assert_eq!(family.name().parse(), Ok(family));
            assert!(Defect::ALL.iter().filter(|d| d.fits(family)).count() >= 7);
        }
        let codes: std::collections::BTreeSet<u8> = Defect::ALL.iter().map(|d| d.code()).collect();
        assert_eq!((codes.len(), codes.last()), (11, Some(&255)));
        for defect in Defect::ALL {
            assert_eq!(defect.to_string().parse(), Ok(defect));
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let message = "potato".parse::<Family>().unwrap_err().to_string();
        assert!(message.contains("potato") && message.contains("tuber"), "{message}");
    }
}
