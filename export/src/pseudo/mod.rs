//! Pseudo anomalies: patches that never were on a part, made out of normal scans (METHOD section 5).
//!
//! The paper's two kinds are *adding* (a chunk of a task-irrelevant scan's surface, cut where an untrained
//! network's activation is high, laid onto the part) and *removing* (points of the part taken away). Source
//! tags: \[P\] published, \[C\] our choice.
//!
//! A pseudo anomaly leaves this module as a patch of 64 points made by the device's own
//! [`pointnet::patch_of`] from slots chosen by the rule of [`pointnet::slots_at`]: had normal and pseudo
//! patches been extracted in two ways, the classifier would learn the way instead of the anomaly (METHOD
//! section 7b).
//! Where they are anchored is the caller's choice, and must be one rule for both.
//!
//! Everything is drawn from the caller's generator. What is not here: the activation map itself, and
//! which scans a training run reads.

pub mod pool;

mod adding;
mod chunk;
pub mod random;
mod removing;
pub(crate) mod vector;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use zal::cloud::OrganizedCloud;
use zal::features::pointnet::{self, CellBoxes, PATCH_POINT_COUNT, PatchParams, Slots};
use zal::neighbors::Reach;
use zal::normals::{self, Orientation};
use zal::preprocess::PreparedScan;

pub use adding::SLOT_REACH_PX;
pub use chunk::PITCH_RATIO_FREE;
pub use pool::{Irrelevant, LeakageError, Pool, PoolKind, check_leakage, peaks};

/// Neighbours of a point's normal, the point among them: as FPFH's.
const NORMAL_NEIGHBORS: usize = 30;

/// A frame as training sees it.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Object points, 224 x 224, metres, camera frame.
    pub cloud: OrganizedCloud,
    /// Median distance of neighbouring points, metres.
    pub pitch_m: f32,
    /// Unit normals towards the camera, one a pixel, row-major; zero where nothing was measured.
    pub normals: Vec<[f32; 3]>,
    /// Boxes of the cloud's cells, for the searches.
    pub boxes: CellBoxes,
}

impl Frame {
    /// Makes a frame's cloud ready.
    ///
    /// # Panics
    /// When the cloud is not a frame (224 x 224).
    #[must_use]
    pub fn new(cloud: OrganizedCloud, pitch_m: f32) -> Self {
        let boxes = CellBoxes::of(&cloud);
        let found = normals::estimate(&cloud, Reach::Nearest(NORMAL_NEIGHBORS), Orientation::Camera);
        let mut normals = vec![[0.0; 3]; cloud.points().len()];
        for (pixel, normal) in cloud.valid_indices().into_iter().zip(found) {
            normals[pixel] = normal;
        }
        Self { cloud, pitch_m, normals, boxes }
    }

    /// A prepared scan's frame.
    #[must_use]
    pub fn of(prepared: &PreparedScan) -> Self {
        Self::new(prepared.cloud.clone(), prepared.pitch_m)
    }

    /// The normal patch at an anchor: exactly [`pointnet::patch_at`], with the boxes at hand.
    #[must_use]
    pub fn patch_at(
        &self,
        anchor: (usize, usize),
        params: &PatchParams,
    ) -> Option<[[f32; 3]; PATCH_POINT_COUNT]> {
        let slots = pointnet::slots_at(&self.cloud, Some(&self.boxes), anchor, params)?;
        Some(pointnet::patch_of(&slots, params.unit_m(self.pitch_m)))
    }
}

/// Which kinds of pseudo anomalies are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Kinds {
    /// Adding alone.
    Adding,
    /// Removing alone.
    Removing,
    /// One or the other, with equal chances: the paper's best.
    #[default]
    Both,
}

/// The kind of one pseudo anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A foreign chunk was laid onto the part.
    Adding,
    /// Points of the part were taken away.
    Removing,
}

/// Settings of the pseudo anomalies. The paper gives the steps, and shows rather than states the sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PseudoParams {
    /// Which kinds; both, 50/50 \[P\].
    pub kinds: Kinds,
    /// Points of a chunk, counted on the scan's full grid: 256 to 1024, 4 to 16 patches \[C; the paper's
    /// figure shows about this\].
    pub chunk_points: RangeInclusive<usize>,
    /// Offset of a chunk along the surface's normal, towards the camera: 0 to 3 mm \[C\].
    pub offset_mm: RangeInclusive<f32>,
    /// How far from the anchor the chunk's peak may come to lie, in radii of the chunk, when patches are
    /// lattices: 1 \[C\]. Nearest patches have it on the anchor itself \[P\].
    pub seat_reach: f32,
    /// Share of a patch's 64 slots that added points may hold, 0.1 to 0.8 \[C\]: with less there is
    /// nothing to see, with more the chunk itself is the patch. Outside it the draw is rejected.
    pub added_share: RangeInclusive<f32>,
    /// Points that removing takes: 8 to 32 \[C; about 20 in the paper's figure\].
    pub dropped: RangeInclusive<usize>,
    /// How far from the patch's centre the middle of the removed points may lie, in patch units (half a flat
    /// patch): 0.75 \[C\], so that holes reach the rim as often as they lie within.
    pub centre_jitter: f32,
    /// How patches are taken; training and device must agree.
    pub patch: PatchParams,
}

impl Default for PseudoParams {
    fn default() -> Self {
        Self {
            kinds: Kinds::Both,
            chunk_points: 256..=1024,
            offset_mm: 0.0..=3.0,
            seat_reach: 1.0,
            added_share: 0.1..=0.8,
            dropped: 8..=32,
            centre_jitter: 0.75,
            // Twice a cell's side: bumps and dents are larger than a cell. Better than 1 and 3 in export/studies.
            patch: PatchParams { stride_px: 2, ..PatchParams::default() },
        }
    }
}

/// A pseudo anomaly as training sees it. Its label is 1.
#[derive(Debug, Clone, PartialEq)]
pub struct PseudoPatch {
    /// In patch units, by the conventions of [`pointnet::patch_at`].
    pub points: [[f32; 3]; PATCH_POINT_COUNT],
    /// What was done.
    pub kind: Kind,
    /// Where in the pool an added chunk comes from.
    pub source: Option<usize>,
    /// How many of the 64 slots hold added points, or how many points were taken away.
    pub altered: usize,
}

/// A pseudo anomaly before it becomes a patch: everything in metres, in the part's camera frame, for
/// pictures and checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Alteration {
    /// What was done.
    pub kind: Kind,
    /// The patch's points.
    pub slots: Slots,
    /// Which slots hold points of the chunk.
    pub added: [bool; PATCH_POINT_COUNT],
    /// Points that were taken away.
    pub dropped: Vec<[f32; 3]>,
    /// Where in the pool the chunk comes from.
    pub source: Option<usize>,
    /// The peak (pixel) that the chunk was cut around.
    pub peak: Option<u32>,
    /// The whole chunk as it lies on the part.
    pub chunk: Vec<[f32; 3]>,
}

/// Makes one pseudo anomaly at an anchor of the target (row, column; as [`pointnet::patch_at`]). None when
/// the rules reject what was drawn, the anchor is not usable, or a chunk is due and the pool has no peak:
/// the caller draws another anchor.
#[must_use]
pub fn draw(
    target: &Frame,
    anchor: (usize, usize),
    pool: &Pool,
    params: &PseudoParams,
    rng: &mut ChaCha8Rng,
) -> Option<PseudoPatch> {
    let alteration = alter(target, anchor, pool, params, rng)?;
    let altered = match alteration.kind {
        Kind::Adding => alteration.added.iter().filter(|added| **added).count(),
        Kind::Removing => alteration.dropped.len(),
    };
    Some(PseudoPatch {
        points: pointnet::patch_of(&alteration.slots, params.patch.unit_m(target.pitch_m)),
        kind: alteration.kind,
        source: alteration.source,
        altered,
    })
}

/// The same draw as [`draw`], before it becomes a patch.
#[must_use]
pub fn alter(
    target: &Frame,
    anchor: (usize, usize),
    pool: &Pool,
    params: &PseudoParams,
    rng: &mut ChaCha8Rng,
) -> Option<Alteration> {
    let kind = match params.kinds {
        Kinds::Adding => Kind::Adding,
        Kinds::Removing => Kind::Removing,
        Kinds::Both => [Kind::Adding, Kind::Removing][random::index(rng, 2)],
    };
    match kind {
        Kind::Adding => adding::add(target, anchor, pool, params, rng),
        Kind::Removing => removing::remove(target, anchor, params, rng),
    }
}
