//! The demo's parts: procedural scans of a family that the demo bundle never saw, written as
//! an MVTec camera would, the colour image first and the .tiff last, each renamed in.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::Context as _;
use tiff::encoder::{TiffEncoder, colortype::RGB32Float};
use zal::scan::Scan;
use zal::synth::{Defect, Family, SynthParams, generate};

use crate::pictures;

/// A family that the embedded bundle's bank was not built from.
pub const DEFAULT_FAMILY: &str = "tuber";

/// Rows and columns of a scan.
const SIZE_PX: usize = 400;

/// Shown one after the other, as far as they fit the family.
const DEFECTS: [Defect; 7] = [
    Defect::Bump,
    Defect::ForeignParticle,
    Defect::Dent,
    Defect::MissingPiece,
    Defect::Hole,
    Defect::Cut,
    Defect::Crack,
];

/// The family of a name.
///
/// # Errors
/// When there is none, with the names there are.
pub fn family(name: &str) -> anyhow::Result<Family> {
    name.parse().map_err(anyhow::Error::from)
}

/// What the demo shows.
#[derive(Debug)]
pub struct Plan {
    /// The parts in their order.
    pub parts: Vec<Part>,
    /// The first so many are good and set the threshold.
    pub calibration_count: usize,
}

/// One part.
#[derive(Debug)]
pub struct Part {
    /// Its name, which is its part id.
    pub name: String,
    params: SynthParams,
    /// Ground truth, row-major, 0 = good; empty until the scan is written.
    pub mask: Vec<u8>,
    /// Columns of the scan.
    pub width: usize,
}

impl Plan {
    /// A third of the parts, 3 to 12, set the threshold; of the others every second is
    /// defective.
    pub fn new(family: Family, count: usize, seed: u64) -> Self {
        let calibration_count = (count / 3).clamp(1, 12);
        let fitting: Vec<Defect> = DEFECTS.into_iter().filter(|defect| defect.fits(family)).collect();
        let parts = (0..count).map(|index| {
            let shown = index.checked_sub(calibration_count).filter(|shown| shown % 2 == 0);
            let defect = shown.and_then(|shown| fitting.get(shown / 2 % fitting.len().max(1)).copied());
            let number = u64::try_from(index).unwrap_or_default();
            let params = SynthParams {
                family,
                defect,
                height: SIZE_PX,
                width: SIZE_PX,
                variant: seed,
                session: seed,
                seed: seed.wrapping_mul(1_000_003).wrapping_add(number),
            };
            Part { name: format!("part{:03}", index + 1), params, mask: Vec::new(), width: SIZE_PX }
        });
        Self { parts: parts.collect(), calibration_count }
    }
}

impl Part {
    /// Whether it has a defect.
    pub const fn is_defective(&self) -> bool {
        self.params.defect.is_some()
    }

    /// `good`, or the name of its defect.
    pub fn truth(&self) -> String {
        self.params.defect.map_or("good", Defect::name).to_owned()
    }

    /// Makes the scan, keeps its pictures, and hands it to the spool.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&mut self, incoming: &Path, out: &Path) -> anyhow::Result<()> {
        let made = generate(&self.params);
        let images = out.join("images");
        pictures::write_png(
            &images.join(format!("{}-depth.png", self.name)),
            &zal::picture::depth(&made.scan),
        )?;
        let truth = zal::picture::mask_overlay(&made.scan, &made.mask);
        pictures::write_png(&images.join(format!("{}-truth.png", self.name)), &truth)?;
        if let Some(color) = &made.scan.color {
            // `write_png` writes `part.tmp` first, which the intake does not look at.
            pictures::write_png(&incoming.join(format!("{}.png", self.name)), color)?;
        }
        write_xyz(&incoming.join(format!("{}.tiff", self.name)), &made.scan)?;
        self.mask = made.mask;
        Ok(())
    }
}

/// Writes the xyz image, metres, the origin where nothing was measured.
fn write_xyz(path: &Path, scan: &Scan) -> anyhow::Result<()> {
    let unfinished = path.with_extension("tmp");
    let mut encoder = TiffEncoder::new(BufWriter::new(File::create(&unfinished)?))?;
    let (width, height) = (u32::try_from(scan.cloud.width())?, u32::try_from(scan.cloud.height())?);
    encoder.write_image::<RGB32Float>(width, height, scan.cloud.points().as_flattened())?;
    drop(encoder);
    fs::rename(&unfinished, path).with_context(|| format!("cannot rename to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parts_are_good_and_then_half_are_defective() {
        for count in [2, 24, 40, 100] {
            let plan = Plan::new(Family::Tyre, count, 7);
            assert!(plan.parts[..plan.calibration_count].iter().all(|p| !p.is_defective()));
            let rest = &plan.parts[plan.calibration_count..];
            let defective = rest.iter().filter(|p| p.is_defective()).count();
            assert_eq!(defective, rest.len().div_ceil(2), "{count}");
        }
    }

    #[test]
    fn seeds_do_not_meet() {
        let (a, b) = (Plan::new(Family::Tyre, 50, 1), Plan::new(Family::Tyre, 50, 2));
        let mut seeds: Vec<u64> = a.parts.iter().chain(&b.parts).map(|p| p.params.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 100);
    }
}
