//! Writing the library's pictures.

use std::path::Path;

use zal::scan::ColorImage;

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
