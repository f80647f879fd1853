//! What is fuzzed: every reader of bytes that come from outside, and what must hold of whatever
//! it accepts. None may panic, and none may believe a size that the bytes do not back.

use std::path::Path;

use sha2::{Digest, Sha256};
use zal::bank::file::HEADER_BYTES;
use zal::scan::SensorProfile;

/// A scan in any format, told by its content; `name` is for messages only.
fn scan(name: &str, bytes: &[u8]) {
    if let Ok(scan) = zal::scan::decode(Path::new(name), bytes, &SensorProfile::default()) {
        let count = scan.cloud.height() * scan.cloud.width();
        assert_eq!(scan.cloud.points().len(), count);
        assert!(scan.cloud.valid_count() > 0 && scan.cloud.valid_count() <= count);
        // 64 points a byte is more than any compression of float coordinates gives.
        assert!(count <= 64 * bytes.len(), "{count} points from {} bytes", bytes.len());
        if let Some(color) = scan.color {
            assert_eq!(color.pixels.len(), count);
        }
    }
}

/// Point Cloud Library's format.
pub fn pcd(bytes: &[u8]) {
    scan("fuzz.pcd", bytes);
}

/// Stanford's format.
pub fn ply(bytes: &[u8]) {
    scan("fuzz.ply", bytes);
}

/// The xyz image of an MVTec pair.
pub fn tiff(bytes: &[u8]) {
    scan("fuzz.tiff", bytes);
}

/// NumPy's format, as a scan and as an array.
pub fn npy(bytes: &[u8]) {
    scan("fuzz.npy", bytes);
    if let Ok((shape, values)) = zal::scan::npy::read_f32(bytes) {
        assert_eq!(shape.iter().product::<usize>(), values.len());
    }
}

/// The colour image of a pair.
pub fn picture(bytes: &[u8]) {
    if let Ok(image) = zal::scan::png::decode(bytes) {
        assert_eq!(image.pixels.len(), image.height * image.width);
    }
}

/// A memory bank, as it comes and with length and sha256 made right, so that what stands behind
/// them is reached too.
pub fn bank(bytes: &[u8]) {
    // Accepted or refused: its own checks are what is tested.
    let _ = zal::bank::file::read(bytes);
    if let Some((_, payload)) = bytes.split_at_checked(HEADER_BYTES) {
        let mut sealed = bytes.to_vec();
        sealed[24..32].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        sealed[32..64].copy_from_slice(&Sha256::digest(payload));
        let _ = zal::bank::file::read(&sealed);
    }
}

/// A bundle's manifest, as it is parsed once its signature holds.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = zal::bundle::Manifest::parse(bytes) {
        assert!(!manifest.full_name().is_empty());
    }
}
