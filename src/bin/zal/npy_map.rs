//! The anomaly map of a result as a `.npy` file in the pixels of its scan.

use std::io;
use std::path::Path;

use zal::preprocess::FRAME_SIZE;
use zal::score::AnomalyMap;

/// Row-major `[scan_height * scan_width]` scores, bilinear from the frame; 0 outside of it.
pub fn in_scan_pixels(map: &AnomalyMap) -> Vec<f32> {
    let window = &map.window;
    let mut values = Vec::with_capacity(window.scan_height * window.scan_width);
    for row in 0..window.scan_height {
        let y = frame_position(row, window.top_px, window.px_per_frame_px);
        for column in 0..window.scan_width {
            let x = frame_position(column, window.left_px, window.px_per_frame_px);
            values.push(sample(&map.values, y, x));
        }
    }
    values
}

/// Where a scan pixel lies on the frame: the inverse of `FrameWindow`'s rule.
#[expect(clippy::cast_precision_loss, reason = "a pixel index is far below 2^24")]
fn frame_position(pixel: usize, start_px: f32, px_per_frame_px: f32) -> f32 {
    (pixel as f32 + 0.5 - start_px) / px_per_frame_px - 0.5
}

/// Bilinear value, 0 more than half a pixel outside of the frame.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions are clamped to the frame"
)]
fn sample(values: &[f32], y: f32, x: f32) -> f32 {
    let last = FRAME_SIZE - 1;
    let inside = |v: f32| v >= -0.5 && v <= last as f32 + 0.5;
    if !inside(y) || !inside(x) {
        return 0.0;
    }
    let (y, x) = (y.clamp(0.0, last as f32), x.clamp(0.0, last as f32));
    let (top, left) = (y as usize, x as usize);
    let (bottom, right) = ((top + 1).min(last), (left + 1).min(last));
    let (fy, fx) = (y - top as f32, x - left as f32);
    let at = |r: usize, c: usize| values[r * FRAME_SIZE + c];
    let upper = at(top, left) * (1.0 - fx) + at(top, right) * fx;
    let lower = at(bottom, left) * (1.0 - fx) + at(bottom, right) * fx;
    upper * (1.0 - fy) + lower * fy
}

/// Writes the map; version 1.0 of the format, little-endian f32, C order.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, map: &AnomalyMap) -> io::Result<()> {
    let shape = format!("({}, {})", map.window.scan_height, map.window.scan_width);
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // Magic, version and length take 10 bytes; the data begins at a multiple of 64.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).map_err(io::Error::other)?.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(in_scan_pixels(map).iter().flat_map(|v| v.to_le_bytes()));
    let unfinished = path.with_extension("tmp");
    std::fs::write(&unfinished, bytes)?;
    std::fs::rename(&unfinished, path)
}

/// Reads the scores of a map that [`write`] wrote.
///
/// # Errors
/// When the file cannot be read or is not of that form.
pub fn read(path: &Path) -> io::Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a map", path.display()));
    let length = bytes.get(8..10).ok_or_else(wrong)?;
    let start = 10 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    let (values, rest) = bytes.get(start..).ok_or_else(wrong)?.as_chunks::<4>();
    if rest.is_empty() { Ok(values.iter().map(|v| f32::from_le_bytes(*v)).collect()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use zal::preprocess::FrameWindow;

    use super::*;

    #[test]
    fn a_map_lands_where_its_frame_lies() {
        let mut values = vec![0.0; FRAME_SIZE * FRAME_SIZE];
        values[10 * FRAME_SIZE + 20] = 1.0;
        let window = FrameWindow {
            top_px: 100.0,
            left_px: -5.0,
            px_per_frame_px: 1.0,
            scan_height: 400,
            scan_width: 300,
        };
        let scores = in_scan_pixels(&AnomalyMap { values, window });
        let peak = scores.iter().position(|v| *v > 0.99).unwrap();
        assert_eq!((peak / 300, peak % 300), (110, 15));
        assert_eq!(scores.iter().filter(|v| **v > 0.0).count(), 1, "own resolution needs no blending");
    }

    #[test]
    fn the_file_has_the_shape_and_an_aligned_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.npy");
        let window =
            FrameWindow { top_px: 0.0, left_px: 0.0, px_per_frame_px: 0.1, scan_height: 3, scan_width: 5 };
        write(&path, &AnomalyMap { values: vec![2.0; FRAME_SIZE * FRAME_SIZE], window }).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let header_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + header_len) % 64, 0);
        assert_eq!(bytes.len(), 10 + header_len + 3 * 5 * 4);
        assert!(String::from_utf8_lossy(&bytes[..10 + header_len]).contains("'shape': (3, 5)"));
        assert_eq!(read(&path).unwrap(), [2.0; 15]);
    }
}
