//! PNG in and out, 8 bits a channel.

use super::ColorImage;

/// Encodes an RGB image as PNG bytes.
///
/// # Errors
/// When the image is empty or its pixels do not fill it.
pub fn encode(image: &ColorImage) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let (width, height) = (u32::try_from(image.width), u32::try_from(image.height));
    let (width, height) = (width.unwrap_or(0), height.unwrap_or(0));
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(image.pixels.as_flattened())?;
    Ok(bytes)
}
