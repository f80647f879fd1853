//! [`Row`]: one anchor's pictures, left to right: the irrelevant part with the chunk that is cut out of it,
//! the part with the patch and the chunk laid onto it, then the normal patch and both pseudo
//! anomalies, each from the camera and from the side.

use zal::features::pointnet::{PatchParams, Slots, anchor_pixel};
use zal::scan::ColorImage;

use super::points::{PAPER, Panel, View};
use crate::commands::label;
use crate::pseudo::{Alteration, Frame, Pool};

/// Side of a panel, pixels.
const PANEL: usize = 224;
/// Gap between panels of one group, and between groups.
const GAPS: [usize; 2] = [4, 20];
/// Panels of each group.
const GROUPS: [usize; 5] = [1, 1, 2, 2, 2];
/// Height of the titles.
const TITLE: usize = 34;
/// Metres shown from the middle of a patch to the panel's edge, in patch units.
const REACH_UNITS: f32 = 2.0;

const INK: [u8; 3] = [40, 40, 46];
/// A part's surface.
const SURFACE: [u8; 3] = [196, 198, 204];
/// Where a map is highest.
const PEAK: [u8; 3] = [228, 140, 128];
/// Points of a patch.
const OWN: [u8; 3] = [48, 110, 190];
/// Points of a chunk.
const FOREIGN: [u8; 3] = [245, 130, 32];
/// Points of a chunk that the patch does not take.
const FOREIGN_PALE: [u8; 3] = [250, 212, 176];
/// Points of the part around the patch.
const AROUND: [u8; 3] = [220, 222, 226];
/// Points that were taken away.
const GONE: [u8; 3] = [214, 60, 60];

/// An anchor with its normal patch and both anomalies.
pub(super) struct Row {
    pub(super) anchor: (usize, usize),
    pub(super) normal: Slots,
    pub(super) adding: Alteration,
    pub(super) removing: Alteration,
}

impl Row {
    /// One line for people.
    pub(super) fn words(&self) -> String {
        let added = self.adding.added.iter().filter(|added| **added).count();
        format!(
            "anchor row {}, column {}: {added} of 64 points added from a chunk of {}, {} points taken away",
            self.anchor.0,
            self.anchor.1,
            self.adding.chunk.len(),
            self.removing.dropped.len()
        )
    }

    /// The row's picture, without titles.
    pub(super) fn picture(&self, target: &Frame, pool: &Pool, params: &PatchParams) -> ColorImage {
        let mut panels = vec![self.source(pool), self.place(target)];
        let scene = Scene::new(target, self.anchor, params);
        let nothing = [false; 64];
        for (slots, added, chunk, dropped) in [
            (&self.normal, &nothing, &[][..], &[][..]),
            (&self.adding.slots, &self.adding.added, &self.adding.chunk[..], &[][..]),
            (&self.removing.slots, &nothing, &[][..], &self.removing.dropped[..]),
        ] {
            for view in scene.views() {
                panels.push(scene.patch(view, slots, added, (chunk, dropped)));
            }
        }
        beside(&panels)
    }

    /// The irrelevant part, its peaks and the chunk that was cut out of it.
    fn source(&self, pool: &Pool) -> ColorImage {
        let (Some(source), Some(peak)) = (self.adding.source, self.adding.peak) else {
            return Panel::new(PANEL, View::camera([0.0; 3], 1.0)).finish();
        };
        let scan = &pool.scans[source];
        let cut = scan.frame.boxes.nearest(&scan.frame.cloud, peak as usize, 1, self.adding.chunk.len());
        overview(&scan.frame, |pixel| {
            if cut.contains(&pixel) {
                FOREIGN
            } else if u32::try_from(pixel).is_ok_and(|pixel| scan.peaks.binary_search(&pixel).is_ok()) {
                PEAK
            } else {
                SURFACE
            }
        })
        .finish()
    }

    /// The part, the normal patch and the chunk laid onto it.
    fn place(&self, target: &Frame) -> ColorImage {
        let mut panel = overview(target, |_| SURFACE);
        let radius_m = target.pitch_m;
        self.adding.chunk.iter().for_each(|point| panel.ball(*point, radius_m, FOREIGN));
        // A little nearer to the camera than it is, so that the chunk does not hide it here.
        for point in self.normal.iter().flatten() {
            panel.ball([point[0], point[1], point[2] - 0.02], radius_m, OWN);
        }
        panel.finish()
    }
}

/// A whole part from the camera, each point in a colour by its pixel.
fn overview(frame: &Frame, color: impl Fn(usize) -> [u8; 3]) -> Panel {
    let points = frame.cloud.points();
    let pixels = frame.cloud.valid_indices();
    let bounds = pixels.iter().fold([[f32::INFINITY; 3], [f32::NEG_INFINITY; 3]], |[low, high], pixel| {
        let point = points[*pixel];
        [[0, 1, 2].map(|i| low[i].min(point[i])), [0, 1, 2].map(|i| high[i].max(point[i]))]
    });
    let centre = [0, 1, 2].map(|i| f32::midpoint(bounds[0][i], bounds[1][i]));
    let reach_m = (bounds[1][0] - centre[0]).max(bounds[1][1] - centre[1]) * 1.06;
    let mut panel = Panel::new(PANEL, View::camera(centre, reach_m));
    for pixel in pixels {
        panel.dot(points[pixel], frame.pitch_m * 0.9, color(pixel), frame.normals[pixel]);
    }
    panel
}

/// The neighbourhood of an anchor.
struct Scene<'a> {
    target: &'a Frame,
    centre: [f32; 3],
    normal: [f32; 3],
    unit_m: f32,
}

impl<'a> Scene<'a> {
    fn new(target: &'a Frame, anchor: (usize, usize), params: &PatchParams) -> Self {
        let pixel = anchor_pixel(&target.cloud, anchor).expect("the row's patches were drawn at this anchor");
        let (centre, normal) = (target.cloud.points()[pixel], target.normals[pixel]);
        Self { target, centre, normal, unit_m: params.unit_m(target.pitch_m) }
    }

    fn views(&self) -> [View; 2] {
        let reach_m = REACH_UNITS * self.unit_m;
        [View::camera(self.centre, reach_m), View::side(self.centre, self.normal, reach_m)]
    }

    /// A patch: its own points and the added ones large, what lies around small and pale.
    fn patch(
        &self,
        view: View,
        slots: &Slots,
        added: &[bool; 64],
        (chunk, dropped): (&[[f32; 3]], &[[f32; 3]]),
    ) -> ColorImage {
        let (large, small) = (0.13 * self.unit_m, 0.07 * self.unit_m);
        let mut panel = Panel::new(PANEL, view);
        let taken = |point: &[f32; 3]| {
            slots
                .iter()
                .flatten()
                .chain(dropped)
                .any(|slot| slot.map(f32::to_bits) == point.map(f32::to_bits))
        };
        let limit_sq = (2.0 * REACH_UNITS * self.unit_m).powi(2);
        let near = |point: &[f32; 3]| zal::neighbors::distance_sq(self.centre, *point) < limit_sq;
        for pixel in self.target.cloud.valid_indices() {
            let point = self.target.cloud.points()[pixel];
            if near(&point) && !taken(&point) {
                panel.ball(point, small, AROUND);
            }
        }
        chunk.iter().filter(|p| near(p) && !taken(p)).for_each(|p| panel.ball(*p, small, FOREIGN_PALE));
        dropped.iter().for_each(|point| panel.ring(*point, large, GONE));
        for (point, added) in slots.iter().zip(added) {
            if let Some(point) = point {
                panel.ball(*point, large, if *added { FOREIGN } else { OWN });
            }
        }
        panel.finish()
    }
}

/// Left edges of the panels, and the row's width.
fn layout() -> (Vec<usize>, usize) {
    let (mut edges, mut left) = (Vec::new(), GAPS[1]);
    for count in GROUPS {
        for _ in 0..count {
            edges.push(left);
            left += PANEL + GAPS[0];
        }
        left += GAPS[1] - GAPS[0];
    }
    (edges, left)
}

fn beside(panels: &[ColorImage]) -> ColorImage {
    let (edges, width) = layout();
    let mut row = blank(PANEL, width);
    panels.iter().zip(edges).for_each(|(panel, left)| paste(&mut row, panel, [left, 0]));
    row
}

/// Rows below each other under their titles.
pub(super) fn with_titles(rows: &[ColorImage]) -> ColorImage {
    const NAMES: [&str; 8] = [
        "irrelevant part",
        "part",
        "normal",
        "from the side",
        "adding",
        "from the side",
        "removing",
        "from the side",
    ];
    let (edges, width) = layout();
    let mut sheet = blank(TITLE + rows.len() * (PANEL + GAPS[1]), width);
    for (name, left) in NAMES.iter().zip(edges) {
        label::write_enlarged(&mut sheet, name, [left, TITLE / 3], INK, 2);
    }
    for (index, row) in rows.iter().enumerate() {
        paste(&mut sheet, row, [0, TITLE + index * (PANEL + GAPS[1])]);
    }
    sheet
}

fn blank(height: usize, width: usize) -> ColorImage {
    ColorImage { height, width, pixels: vec![PAPER; height * width] }
}

fn paste(sheet: &mut ColorImage, picture: &ColorImage, [left, top]: [usize; 2]) {
    for (row, pixels) in picture.pixels.chunks(picture.width).enumerate() {
        let start = (top + row) * sheet.width + left;
        sheet.pixels[start..start + picture.width].copy_from_slice(pixels);
    }
}
