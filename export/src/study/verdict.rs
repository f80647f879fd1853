//! One test scan against what it is compared with: image score, map, and the score that is left when the
//! defect is erased.
//!
//! Erasing leaves out the patches of the defect and those beside them: 3 x 3 pooling and the
//! neighbourhoods of FPFH carry a defect one patch further. What is left of a defective scan should be as
//! normal as a good scan; where it is not, the image score sees how the scan was taken.

use anyhow::{Context, Result, ensure};
use ndarray::Axis;
use zal::detector::{Compared, Comparison, ModeParams, PATCHES_MIN};
use zal::features::{GRID_SIZE, PATCH_SIZE, PatchFeatures};
use zal::metrics::{MaskedMap, PixelPool, peak_on_defect};
use zal::preprocess::{FRAME_SIZE, FrameWindow};
use zal::scan::png;
use zal::score::{AnomalyMap, eight_bit_map, lifted_map, scan_map, scan_mask};

use super::arm::{Control, MapRule};
use super::controls;
use super::data_set::ScanFile;
use super::describe::Seen;
use super::explain::Explained;
use super::read_file;
use super::references::References;
use crate::bank_build::DescribedScan;

/// Patches around a defect's own that are erased with it.
const ERASE_MARGIN: usize = 1;

/// What scans are compared with.
pub(super) enum Judge {
    /// A bank, as a detector does.
    Bank {
        /// The bank.
        comparison: Box<Comparison>,
        /// Settings with the bank's statistics.
        params: Box<ModeParams>,
        /// How the map is made.
        map: MapRule,
    },
    /// Scans of the test class, and a bank beside them.
    References(Box<References>),
    /// Nothing.
    Control(Control, u64),
}

impl Judge {
    /// Scores of the patches of a scan of that name; none of a control.
    fn compare(&self, name: &str, left: &DescribedScan) -> Result<Option<Compared>> {
        let DescribedScan { patches, features, logits } = left;
        match self {
            Self::Bank { comparison, .. } => {
                Ok(Some(comparison.compare(patches, features, logits.as_deref())?))
            }
            Self::References(references) => references.compare(name, left).map(Some),
            Self::Control(..) => Ok(None),
        }
    }

    /// How the map is made: its rule and the sigma of its Gaussian.
    fn map(&self) -> (MapRule, f32) {
        match self {
            Self::Bank { params, map, .. } => (*map, params.map_sigma_px),
            Self::References(references) => (MapRule::Detector, references.params.map_sigma_px),
            Self::Control(..) => (MapRule::Detector, 0.0),
        }
    }
}

/// A judged scan.
pub(super) struct Verdict {
    /// The image score; none when the scan cannot be judged.
    pub(super) score: Option<f32>,
    /// The image score without the defect; none of good scans, and where too little is left.
    pub(super) score_erased: Option<f32>,
    /// Why it cannot be judged, as the detector's codes; empty when it can.
    pub(super) undecided: &'static str,
    /// Map and ground truth on the scan's own grid.
    pub(super) map: MaskedMap,
    /// What the detector said of the patches; none of controls and undecided scans.
    pub(super) compared: Option<Compared>,
    /// The map on the frame, as [`Verdict::compared`].
    pub(super) frame_map: Option<AnomalyMap>,
}

/// What is kept of a verdict for the figures: of its map only the pixels' scores, 4 bytes each.
pub(super) struct Judged {
    pub(super) name: String,
    pub(super) defective: bool,
    pub(super) score: Option<f32>,
    pub(super) score_erased: Option<f32>,
    pub(super) undecided: &'static str,
    pub(super) peak_on_defect: Option<bool>,
    pub(super) pixels: PixelPool,
}

impl Verdict {
    /// Keeps all that pictures need.
    pub(super) fn explained(self, file: &ScanFile) -> Explained {
        Explained {
            file: file.clone(),
            score: self.score,
            score_erased: self.score_erased,
            scan_map: self.map,
            frame_map: self.frame_map,
            compared: self.compared,
        }
    }

    /// Keeps what the figures need.
    pub(super) fn summed_up(self, file: &ScanFile) -> Judged {
        let mut pixels = PixelPool::default();
        pixels.add(&self.map);
        Judged {
            name: file.name.clone(),
            defective: file.defective,
            score: self.score,
            score_erased: self.score_erased,
            undecided: self.undecided,
            peak_on_defect: peak_on_defect(&self.map),
            pixels,
        }
    }
}

/// Judges a test scan as the detector does. One that the detector could not decide on has a map of zeros
/// and no image score.
pub(super) fn judge_scan(file: &ScanFile, seen: Option<&Seen>, judge: &Judge) -> Result<Verdict> {
    let mask = read_mask(file)?;
    let Some(seen) = seen else { return Ok(undecided("no_object", &mask)) };
    if seen.grid.count() < PATCHES_MIN {
        return Ok(undecided("too_few_patches", &mask));
    }
    let window = seen.frame.window;
    let found = [window.scan_height * window.scan_width, window.scan_width];
    let expected = [mask.values.len(), mask.width];
    ensure!(
        found == expected,
        "{}: scan and mask differ in size: found {found:?} and {expected:?} pixels and columns",
        file.name
    );
    let verdict = match judge {
        Judge::Control(control, seed) => by_control(file, seen, &mask, (*control, *seed)),
        _ => by_patches(file, seen, &mask, judge)?,
    };
    let scores = verdict.score.iter().chain(&verdict.score_erased);
    if let Some(bad) = scores.into_iter().find(|score| !score.is_finite()) {
        anyhow::bail!("{}: an image score is {bad}, expected a finite one", file.name);
    }
    Ok(verdict)
}

fn undecided(code: &'static str, mask: &Mask) -> Verdict {
    let (zeros, nowhere) = (vec![0.0; mask.values.len()], vec![false; mask.values.len()]);
    Verdict {
        score: None,
        score_erased: None,
        undecided: code,
        map: mask.with(zeros, nowhere),
        compared: None,
        frame_map: None,
    }
}

fn by_patches(file: &ScanFile, seen: &Seen, mask: &Mask, judge: &Judge) -> Result<Verdict> {
    let nothing = vec![false; GRID_SIZE * GRID_SIZE];
    let compare = |erased: &[bool]| -> Result<Option<Compared>> {
        let left = seen.without(erased);
        if left.patches.len() < PATCHES_MIN { Ok(None) } else { judge.compare(&file.name, &left) }
    };
    let compared = compare(&nothing)?.context("a scan with enough patches has scores")?;
    let erased = file.defective.then(|| compare(&erased_patches(mask, &seen.frame.window)));
    let (rule, sigma_px) = judge.map();
    let frame_map = map_on_frame(seen, &compared.map_scores, rule, sigma_px);
    let object = scan_mask(&seen.frame.object, &seen.frame.window);
    Ok(Verdict {
        score: Some(compared.image_score),
        score_erased: erased.transpose()?.flatten().map(|compared| compared.image_score),
        undecided: "",
        map: mask.with(scan_map(&frame_map), object),
        compared: Some(compared),
        frame_map: Some(frame_map),
    })
}

fn map_on_frame(seen: &Seen, patch_scores: &[f32], rule: MapRule, sigma_px: f32) -> AnomalyMap {
    let window = seen.frame.window;
    match rule {
        MapRule::Detector => lifted_map(&seen.grid, patch_scores, sigma_px, &seen.frame.mask_cloud(), window),
        MapRule::EightBits => AnomalyMap {
            values: eight_bit_map(&seen.grid, patch_scores),
            object: seen.frame.object.clone(),
            window,
        },
    }
}

fn by_control(file: &ScanFile, seen: &Seen, mask: &Mask, (control, seed): (Control, u64)) -> Verdict {
    let object = scan_mask(&seen.frame.object, &seen.frame.window);
    let defect: Vec<bool> = mask.values.iter().map(|value| *value > 0).collect();
    let found = controls::judge(control, seed, &file.name, &object, &defect);
    Verdict {
        score: Some(found.score),
        score_erased: file.defective.then_some(found.score_erased),
        undecided: "",
        map: mask.with(found.map, object),
        compared: None,
        frame_map: None,
    }
}

impl Seen {
    /// The description without the marked patches of the grid.
    fn without(&self, erased: &[bool]) -> DescribedScan {
        let patches = self.grid.patches();
        let kept: Vec<usize> = (0..patches.len()).filter(|i| !erased[usize::from(patches[*i])]).collect();
        let rows = |part: &PatchFeatures| PatchFeatures {
            branch: part.branch,
            rows: part.rows.select(Axis(0), &kept),
        };
        let described = &self.described;
        DescribedScan {
            patches: kept.iter().map(|i| patches[*i]).collect(),
            features: described.features.iter().map(rows).collect(),
            logits: described.logits.as_ref().map(|logits| kept.iter().map(|i| logits[*i]).collect()),
        }
    }
}

/// The patches of the grid that show a defect, and those within [`ERASE_MARGIN`] of them.
fn erased_patches(mask: &Mask, window: &FrameWindow) -> Vec<bool> {
    let mut erased = vec![false; GRID_SIZE * GRID_SIZE];
    for pixel in (0..mask.values.len()).filter(|pixel| mask.values[*pixel] > 0) {
        let rows = cells(pixel / mask.width, window.top_px, window.px_per_frame_px);
        let columns = cells(pixel % mask.width, window.left_px, window.px_per_frame_px);
        for row in rows {
            for column in columns.clone() {
                erased[row * GRID_SIZE + column] = true;
            }
        }
    }
    erased
}

/// The rows (or columns) of the grid that a pixel of the scan reaches, margin included; none outside the
/// frame.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie within the frame before the cast"
)]
fn cells(pixel: usize, start_px: f32, step_px: f32) -> std::ops::Range<usize> {
    let position = (pixel as f32 + 0.5 - start_px) / step_px;
    if !(0.0..FRAME_SIZE as f32).contains(&position) {
        return 0..0;
    }
    let cell = position as usize / PATCH_SIZE;
    cell.saturating_sub(ERASE_MARGIN)..(cell + ERASE_MARGIN + 1).min(GRID_SIZE)
}

/// Ground truth of a test scan.
pub(super) struct Mask {
    values: Vec<u8>,
    width: usize,
}

impl Mask {
    /// A map with this ground truth, and as its object what the preprocessing kept and what is
    /// defective: a missing piece belongs to the part.
    fn with(&self, scores: Vec<f32>, mut object: Vec<bool>) -> MaskedMap {
        object.iter_mut().zip(&self.values).for_each(|(on, defect)| *on |= *defect > 0);
        MaskedMap { scores, mask: self.values.clone(), width: self.width, object: Some(object) }
    }
}

fn read_mask(file: &ScanFile) -> Result<Mask> {
    let path = file.gt.as_ref().with_context(|| format!("{} has no mask", file.name))?;
    let image = png::decode(&read_file(path)?).with_context(|| format!("{}", path.display()))?;
    let values = image.pixels.iter().map(|rgb| rgb.iter().copied().fold(0, u8::max)).collect();
    Ok(Mask { values, width: image.width })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defects_patches_and_those_beside_them_are_erased() {
        let (height, width) = (300, 260);
        let window = FrameWindow {
            top_px: 20.0,
            left_px: -4.0,
            px_per_frame_px: 1.25,
            scan_height: height,
            scan_width: width,
        };
        let mut mask = Mask { values: vec![0; height * width], width };
        assert!(erased_patches(&mask, &window).iter().all(|erased| !erased));
        // Row 120 is frame row 80.4, patch 10; column 1 is frame column 4.4, patch 0. Row 5 is outside.
        mask.values[120 * width + 1] = 255;
        mask.values[5 * width + 100] = 255;
        let erased = erased_patches(&mask, &window);
        let found: Vec<usize> = (0..erased.len()).filter(|patch| erased[*patch]).collect();
        assert_eq!(found, [9 * 28, 9 * 28 + 1, 10 * 28, 10 * 28 + 1, 11 * 28, 11 * 28 + 1]);
    }
}
