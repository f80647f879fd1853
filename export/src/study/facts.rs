//! What one scan holds besides its shape: whether it can be used at all, and the plain numbers that
//! tell good from defective scans without looking at the part (see `eval::confounds`).
//!
//! Numbers are kept in the study's cache by the hash of the files, so that a study that goes on does
//! not decode every scan again.

use zal::preprocess::{OBJECT_POINTS_MIN, PreprocessParams, clean};
use zal::scan::{Scan, ScanError, SensorProfile, png, read};

use super::cache::{Cache, key};
use super::data_set::{ScanFile, scan_file};
use super::timing::Times;
use crate::layout::{Entry, Problem, Split};

/// Numbers of a scan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// Rows.
    pub height: f32,
    /// Columns.
    pub width: f32,
    /// Share of the pixels without a measurement.
    pub missing_share: f32,
    /// Mean of the colour channels over all pixels, 0 to 255.
    pub brightness: f32,
    /// Mean z of the measured points, m.
    pub depth_m: f32,
    /// Share of the pixels that show the object: what is left when the background is removed.
    pub object_share: f32,
}

/// What looking at a scan needs.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The scan's class.
    pub class: &'a str,
    /// Where numbers are kept.
    pub cache: &'a Cache,
    /// Where the time is added.
    pub times: &'a Times,
}

/// Hashes, reads and measures a scan and its mask.
///
/// # Errors
/// Names the file that cannot be used.
pub fn look(entry: &Entry, how: Look<'_>) -> Result<(ScanFile, Facts), Problem> {
    let hashed = how.times.measure("hash", || scan_file(how.class, entry));
    let file = hashed.map_err(|error| unreadable(entry, &error))?;
    let facts = how.times.measure("check", || facts(&file, how.cache))?;
    if entry.split == Split::Train {
        let pixels = facts.height * facts.width * facts.object_share;
        #[expect(clippy::cast_precision_loss, reason = "a small constant")]
        if pixels < OBJECT_POINTS_MIN as f32 {
            let found = format!("{pixels:.0} points of an object once the background is removed");
            let expected = format!("at least {OBJECT_POINTS_MIN}");
            let advice = "take the scan out of the data set: nothing can be learned from it";
            return Err(Problem::new(&file.xyz, [&found, &expected, advice]));
        }
    }
    mask(&file, &facts, how.cache)?;
    Ok((file, facts))
}

fn unreadable(entry: &Entry, error: &anyhow::Error) -> Problem {
    let found = format!("{error:#}");
    Problem::new(&entry.xyz, [&found, "a scan whose files can be read", "look at permissions and disk"])
}

/// The numbers, kept or measured.
fn facts(file: &ScanFile, cache: &Cache) -> Result<Facts, Problem> {
    let key = key(&["facts", &file.key]);
    if let Some((_, values)) = cache.get(&key)
        && let [height, width, missing_share, brightness, depth_m, object_share] = *values.as_slice()
    {
        return Ok(Facts { height, width, missing_share, brightness, depth_m, object_share });
    }
    let scan = read(&file.xyz, &SensorProfile::default()).map_err(|error| of_scan_error(file, &error))?;
    let facts = measure(&scan);
    let Facts { height, width, missing_share, brightness, depth_m, object_share } = facts;
    // What cannot be kept is measured again the next time.
    let _ = cache.put(&key, &[6], &[height, width, missing_share, brightness, depth_m, object_share]);
    Ok(facts)
}

fn of_scan_error(file: &ScanFile, error: &ScanError) -> Problem {
    match error.details() {
        Some(details) => {
            let found = format!("{} ({})", details.found, error.code());
            // The colour's path leads through its neighbour: `xyz/../rgb`.
            let path = details.path.canonicalize().unwrap_or_else(|_| details.path.clone());
            Problem::new(&path, [&found, &details.expected, error.advice()])
        }
        None => Problem::new(&file.xyz, [&error.to_string(), "a scan", error.advice()]),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts of pixels and means, to seven digits"
)]
fn measure(scan: &Scan) -> Facts {
    let cloud = &scan.cloud;
    let pixels = cloud.points().len() as f64;
    let depths: f64 =
        cloud.points().iter().zip(cloud.valid()).filter(|(_, v)| **v).map(|(p, _)| f64::from(p[2])).sum();
    let colors = scan.color.as_ref().map_or(&[][..], |color| color.pixels.as_slice());
    let light: f64 = colors.as_flattened().iter().map(|value| f64::from(*value)).sum();
    let object = clean(cloud, &PreprocessParams::line()).cloud.valid_count();
    Facts {
        height: cloud.height() as f32,
        width: cloud.width() as f32,
        missing_share: (1.0 - cloud.valid_count() as f64 / pixels) as f32,
        brightness: (light / (3 * colors.len()).max(1) as f64) as f32,
        depth_m: (depths / cloud.valid_count().max(1) as f64) as f32,
        object_share: (object as f64 / pixels) as f32,
    }
}

/// The mask has the scan's size, and marks something exactly when the scan counts as defective.
fn mask(file: &ScanFile, facts: &Facts, cache: &Cache) -> Result<(), Problem> {
    let Some(path) = &file.gt else { return Ok(()) };
    let problem = |words: [&str; 3]| Err(Problem::new(path, words));
    let [height, width, marked] = match mask_facts(file, cache) {
        Ok(found) => found,
        Err(error) => return problem([&error, "a mask as 8-bit PNG", "export the mask again"]),
    };
    if [height, width].map(f32::to_bits) != [facts.height, facts.width].map(f32::to_bits) {
        let found = format!("a mask of {height} x {width} pixels");
        let expected = format!("{} x {} as its scan {}", facts.height, facts.width, file.xyz.display());
        return problem([&found, &expected, "export mask and scan on the same grid"]);
    }
    match (file.defective, marked > 0.0) {
        (true, false) => {
            problem(["a mask of zeros", "the marked defect", "mark it, or move the scan to test/good"])
        }
        (false, true) => problem([
            "a mask with marked pixels",
            "zeros, as its scan is filed as good",
            "move the scan to the folder of its defect, or clear the mask",
        ]),
        _ => Ok(()),
    }
}

/// Rows, columns, and the number of marked pixels.
#[expect(clippy::cast_precision_loss, reason = "counts of pixels")]
fn mask_facts(file: &ScanFile, cache: &Cache) -> Result<[f32; 3], String> {
    let key = key(&["mask", &file.gt_key]);
    if let Some((_, values)) = cache.get(&key)
        && let [height, width, marked] = *values.as_slice()
    {
        return Ok([height, width, marked]);
    }
    let path = file.gt.as_deref().unwrap_or(&file.xyz);
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let image = png::decode(&bytes).map_err(|error| error.to_string())?;
    let marked = image.pixels.iter().filter(|rgb| **rgb != [0; 3]).count();
    let values = [image.height as f32, image.width as f32, marked as f32];
    let _ = cache.put(&key, &[3], &values);
    Ok(values)
}
