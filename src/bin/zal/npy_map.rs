//! The anomaly map of a result as a `.npy` file in the pixels of its scan.

use std::io;
use std::path::Path;

use zal::scan::npy;
use zal::score::{AnomalyMap, scan_map};

/// Writes the map `[scan_height, scan_width]`, 0 where there is no score.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, map: &AnomalyMap) -> io::Result<()> {
    let mut bytes = Vec::new();
    let shape = [map.window.scan_height, map.window.scan_width];
    npy::write_f32(&mut bytes, &shape, &scan_map(map)).map_err(io::Error::other)?;
    let unfinished = path.with_extension("tmp");
    std::fs::write(&unfinished, bytes)?;
    std::fs::rename(&unfinished, path)
}

/// Reads the scores of a map that [`write`] wrote.
///
/// # Errors
/// When the file cannot be read or is not of that form.
pub fn read(path: &Path) -> io::Result<Vec<f32>> {
    let (_, values) = npy::read_f32(&std::fs::read(path)?).map_err(io::Error::other)?;
    Ok(values)
}
