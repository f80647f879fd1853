//! The mask as a picture: 8-bit grey PNG, the values being the defects' codes.

use super::SynthScan;

impl SynthScan {
    /// The mask as the bytes of a grey PNG, as the MVTec 3D-AD layout wants it.
    ///
    /// # Errors
    /// When the scan is too large for a PNG.
    pub fn encode_mask(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let cloud = &self.scan.cloud;
        let [width, height] = [cloud.width(), cloud.height()].map(|side| u32::try_from(side).unwrap_or(0));
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&self.mask)?;
        Ok(bytes)
    }
}
