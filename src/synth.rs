//! Procedural parts and defects, as scans with masks: for the demo, tests and training.

use crate::cloud::OrganizedCloud;
use crate::scan::Scan;

/// A family of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// A kind of defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// A foreign particle of another shape and colour.
    ForeignParticle,
    /// A stain that only the colour shows.
    Stain,
}

/// What to make. The same parameters give the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthParams {
    /// Family of the part.
    pub family: Family,
    /// Its defect; none for a good part.
    pub defect: Option<Defect>,
    /// Rows of the scan.
    pub height: usize,
    /// Columns of the scan.
    pub width: usize,
    /// Acquisition session: brightness and missing points drift between sessions.
    pub session: u64,
    /// Seed of part, pose, defect and noise.
    pub seed: u64,
}

/// A procedural scan and its ground truth.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthScan {
    /// The scan.
    pub scan: Scan,
    /// Row-major defect mask coded by defect class (255, 254, ...), 0 = good.
    pub mask: Vec<u8>,
}

/// Makes one scan.
#[must_use]
pub fn generate(params: &SynthParams) -> SynthScan {
    let count = params.height * params.width;
    let cloud = OrganizedCloud::new(params.height, params.width, vec![[0.0, 0.0, 0.5]; count])
        .expect("the caller asks for a non-empty scan");
    SynthScan { scan: Scan { cloud, color: None }, mask: vec![0; count] }
}
