//! Pictures of single scans: what was seen, where the defect is, what the map says, and the normal patch that the worst
//! patch was compared with.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use zal::detector::{AnomalyMap, Detection, Evaluation, Mode, ModeParams, NearestNormal, Timing};
use zal::features::{GRID_SIZE, PATCH_SIZE};
use zal::picture;
use zal::preprocess::{FRAME_SIZE, FrameWindow, prepare};
use zal::scan::{ColorImage, Scan, SensorProfile, read};

use super::cells::Method;
use super::markup::{escaped, picture as embedded};
use super::scans::{JudgedScan, Mistake};

/// Share of the frame's side that a picture shows around the frame.
const MARGIN: f32 = 0.04;
/// Longest side of a picture in the page.
const SIDE_MAX: usize = 420;

/// Which scan is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRef {
    /// Name of the data set.
    pub data_set: String,
    /// Seed of the training.
    pub seed: String,
    /// Training classes, joined by `+`.
    pub training: String,
    /// Arm and mode.
    pub method: Method,
    /// `class/test/defect/number`.
    pub scan: String,
}

impl ScanRef {
    /// The scan of a row of `scans.csv`.
    #[must_use]
    pub fn of(scan: &JudgedScan) -> Self {
        let place = &scan.place;
        Self {
            data_set: place.data_set.clone(),
            seed: place.seed.clone(),
            training: place.training.clone(),
            method: place.method.clone(),
            scan: scan.scan.clone(),
        }
    }
}

/// A scan judged again, with all that its pictures need.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The scan.
    pub scan: Scan,
    /// Ground truth, row-major on the scan's grid, 0 = good.
    pub mask: Vec<u8>,
    /// The map, 0 outside the object.
    pub map: AnomalyMap,
    /// Nearest normal patch of the worst patch.
    pub nearest: Option<NearestNormal>,
    /// Folder of the data set that the nearest scan belongs to, when it is at hand.
    pub nearest_data: Option<PathBuf>,
}

/// Judges a scan again.
pub type Explain<'a> = dyn FnMut(&ScanRef) -> Result<Explained> + 'a;

/// The list of mistakes, with pictures where scans can be explained. A scan that cannot be is said to be so.
pub fn mistakes(title: &str, unit: &str, list: &[Mistake], explain: Option<&mut Explain<'_>>) -> String {
    let mut html = format!("<h3>{}</h3>\n", escaped(title));
    if list.is_empty() {
        html.push_str("<p>None.</p>\n");
        return html;
    }
    html.push_str("<div class=scans>");
    let mut explain = explain;
    for mistake in list {
        let pictures = explain.as_mut().map(|explain| {
            let reference = ScanRef::of(&mistake.scan);
            explain(&reference).and_then(|explained| panels(&explained, &reference.method.mode))
        });
        let _ = write!(html, "<section class=scan><p>{}</p>", words(mistake, unit));
        match pictures {
            None => {}
            Some(Ok(pictures)) => html.push_str(&pictures),
            Some(Err(error)) => {
                let _ = write!(html, "<p class=note>No picture: {}</p>", escaped(&format!("{error:#}")));
            }
        }
        html.push_str("</section>\n");
    }
    html.push_str("</div>\n");
    html
}

fn words(mistake: &Mistake, unit: &str) -> String {
    let (scan, place) = (&mistake.scan, &mistake.scan.place);
    let peak = match scan.peak_on_defect {
        Some(true) => "; the map's peak lies on the defect",
        Some(false) => "; the map's peak lies beside the defect",
        None => "",
    };
    format!(
        "<b>{}</b> ({}, seed {}, trained on {}): score {}; {:.0} % of the {unit}{peak}",
        escaped(&scan.scan),
        escaped(&place.data_set),
        escaped(&place.seed),
        escaped(&place.training),
        scan.score.map_or_else(|| "none".into(), |score| format!("{score:.3}")),
        100.0 * mistake.wrong_share,
    )
}

/// The pictures of one scan side by side.
///
/// # Errors
/// When a picture cannot be encoded.
pub fn panels(explained: &Explained, mode: &str) -> Result<String> {
    let Explained { scan, mask, map, nearest, nearest_data } = explained;
    let crop = Crop::around(&map.window);
    let mut html = String::from("<div class=panels>");
    let mut panel = |image: &ColorImage, words: &str| -> Result<()> {
        let picture = embedded(&fitted(image), words)?;
        let _ = write!(html, "<figure>{picture}<figcaption>{}</figcaption></figure>", escaped(words));
        Ok(())
    };
    let truth = picture::mask_overlay(scan, mask);
    let marked = mask.iter().any(|m| *m > 0);
    panel(&crop.of(&truth, scan), if marked { "scan, the defect outlined" } else { "scan, no defect" })?;
    panel(&crop.of(&picture::depth(scan), scan), "shape: height, shaded")?;
    if let Some(heat) = picture::overlay(scan, &shown(map)) {
        panel(&crop.of(&heat, scan), "anomaly map: yellow = most unusual, outline = region threshold")?;
    }
    if let Some(nearest) = nearest {
        let patch = usize::from(nearest.patch);
        let place =
            format!("{}, patch row {}, column {}", nearest.scan, patch / GRID_SIZE, patch % GRID_SIZE);
        match nearest_data.as_deref().map(|root| nearest_picture(root, nearest, mode)) {
            Some(Ok(image)) => panel(&image, &format!("nearest normal patch: {place}"))?,
            Some(Err(_)) | None => {
                let _ =
                    write!(html, "<p class=note>Nearest normal patch: {} (no picture)</p>", escaped(&place));
            }
        }
    }
    html.push_str("</div>");
    Ok(html)
}

/// A detection that holds the map alone.
fn shown(map: &AnomalyMap) -> Detection {
    Detection {
        evaluation: Evaluation::Undefined,
        score: None,
        threshold: None,
        p_value: None,
        reasons: Vec::new(),
        branches: Vec::new(),
        regions: Vec::new(),
        nearest: None,
        map: Some(map.clone()),
        against: None,
        timing: Timing::default(),
    }
}

/// The normal scan around the patch, with the patch in a box.
///
/// # Errors
/// When the scan is not there or shows no object.
pub fn nearest_picture(root: &Path, nearest: &NearestNormal, mode: &str) -> Result<ColorImage> {
    let mode = match mode {
        "paper" => Mode::Paper,
        _ => Mode::Line,
    };
    let path = scan_path(root, &nearest.scan)?;
    let scan = read(&path, &SensorProfile::default())?;
    let prepared = prepare(&scan, &ModeParams::of(mode).preprocess)?;
    let none = vec![0; scan.cloud.points().len()];
    let mut image = picture::mask_overlay(&scan, &none);
    let patch = usize::from(nearest.patch);
    let window = prepared.window;
    let side = as_f32(PATCH_SIZE) * window.px_per_frame_px;
    let corner =
        [window.top_px + as_f32(patch / GRID_SIZE) * side, window.left_px + as_f32(patch % GRID_SIZE) * side];
    draw_box(&mut image, &scan, corner, side);
    Ok(Crop::around(&window).of(&image, &scan))
}

/// Points of a scan named `class/split/defect/number`.
///
/// # Errors
/// When the name is not of that form or there is no such file.
pub fn scan_path(root: &Path, name: &str) -> Result<PathBuf> {
    let (folder, number) = name.rsplit_once('/').with_context(|| format!("`{name}` names no scan"))?;
    let xyz = root.join(folder).join("xyz");
    let found = ["tiff", "tif"].map(|ending| xyz.join(format!("{number}.{ending}")));
    let found = found.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("there is no scan {number} in {}", xyz.display()))
}

/// A part of a scan in pixels of the scan: top, left, bottom, right.
struct Crop([f32; 4]);

impl Crop {
    fn around(window: &FrameWindow) -> Self {
        let side = as_f32(FRAME_SIZE) * window.px_per_frame_px;
        let margin = MARGIN * side;
        Self([
            window.top_px - margin,
            window.left_px - margin,
            window.top_px + side + margin,
            window.left_px + side + margin,
        ])
    }

    /// That part of a picture of the scan.
    fn of(&self, image: &ColorImage, scan: &Scan) -> ColorImage {
        let scale = as_f32(image.width) / as_f32(scan.cloud.width());
        let [top, left, bottom, right] = self.0.map(|edge| edge * scale);
        let (rows, columns) = (span(top, bottom, image.height), span(left, right, image.width));
        let pixels = rows.clone().flat_map(|row| &image.pixels[row * image.width..][columns.clone()]);
        ColorImage { height: rows.len(), width: columns.len(), pixels: pixels.copied().collect() }
    }
}

/// Whole pixels between two edges, at least one of those there are.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the picture")]
fn span(start: f32, end: f32, len: usize) -> std::ops::Range<usize> {
    let first = (start.max(0.0) as usize).min(len.saturating_sub(1));
    first..(end.ceil().max(0.0) as usize).clamp(first + 1, len.max(1))
}

/// A picture made smaller by a whole factor when it is too large, each pixel the mean of a block.
fn fitted(image: &ColorImage) -> ColorImage {
    let factor = image.height.max(image.width).div_ceil(SIDE_MAX);
    if factor <= 1 {
        return image.clone();
    }
    let (height, width) = (image.height.div_ceil(factor), image.width.div_ceil(factor));
    let block = |row: usize, column: usize| {
        let rows = row * factor..((row + 1) * factor).min(image.height);
        let columns = column * factor..((column + 1) * factor).min(image.width);
        let count = u32::try_from(rows.len() * columns.len()).unwrap_or(1).max(1);
        let mut sum = [0_u32; 3];
        for pixel in rows.flat_map(|row| &image.pixels[row * image.width..][columns.clone()]) {
            sum.iter_mut().zip(pixel).for_each(|(total, channel)| *total += u32::from(*channel));
        }
        sum.map(|total| u8::try_from((total + count / 2) / count).unwrap_or(u8::MAX))
    };
    let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
    ColorImage { height, width, pixels: pixels.map(|(row, column)| block(row, column)).collect() }
}

/// A square outline with a dark edge, given in pixels of the scan.
fn draw_box(image: &mut ColorImage, scan: &Scan, [top, left]: [f32; 2], side: f32) {
    const INNER: [u8; 3] = [255, 235, 60];
    const OUTER: [u8; 3] = [20, 20, 24];
    let scale = as_f32(image.width) / as_f32(scan.cloud.width());
    for (grow, ink) in [(2.0, OUTER), (-1.0, OUTER), (1.0, INNER), (0.0, INNER)] {
        let edge = |from: f32, len: usize| span(from * scale - grow, (from + side) * scale + grow, len);
        let (rows, columns) = (edge(top, image.height), edge(left, image.width));
        for row in rows.clone() {
            for column in columns.clone() {
                let on_edge = row == rows.start
                    || row + 1 == rows.end
                    || column == columns.start
                    || column + 1 == columns.end;
                if on_edge {
                    image.pixels[row * image.width + column] = ink;
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "pixels of a picture")]
const fn as_f32(count: usize) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_picture_is_averaged_down() {
        let pixels = (0..900 * 600).map(|i| if i % 2 == 0 { [0; 3] } else { [200; 3] }).collect();
        let small = fitted(&ColorImage { height: 600, width: 900, pixels });
        assert_eq!((small.height, small.width, small.pixels.len()), (200, 300, 60_000));
        assert!(small.pixels.iter().all(|p| [67, 133].contains(&p[0])), "stripes turn grey, two to one");
    }

    #[test]
    fn spans_stay_within_the_picture() {
        assert_eq!(span(-5.0, 3.2, 10), 0..4);
        assert_eq!(span(8.0, 30.0, 10), 8..10);
        assert_eq!(span(30.0, 40.0, 10), 9..10);
    }

    #[test]
    fn scans_are_found_by_name() {
        let root = tempfile::tempdir().expect("a folder");
        let xyz = root.path().join("ring/test/cut/xyz");
        std::fs::create_dir_all(&xyz).expect("made");
        std::fs::write(xyz.join("004.tiff"), b"x").expect("written");
        assert_eq!(scan_path(root.path(), "ring/test/cut/004").expect("there"), xyz.join("004.tiff"));
        assert!(scan_path(root.path(), "ring/test/cut/005").is_err());
        assert!(scan_path(root.path(), "ring").is_err());
    }
}
