//! PNG in and out, 8 bits a channel.

use std::io::Cursor;

use thiserror::Error;

use super::ColorImage;

/// Most pixels decoded.
const PIXELS_MAX: usize = 64 << 20;

/// Why a PNG picture cannot be decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PngError {
    /// The bytes are no whole PNG.
    #[error("the PNG cannot be decoded: {0}")]
    Decode(#[from] png::DecodingError),
    /// The picture is larger than is read.
    #[error("the PNG has {height} x {width} pixels, at most {PIXELS_MAX} are read")]
    TooLarge {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
}

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

/// Decodes a PNG of any kind (1 to 16 bits, grey, RGB, palette, with or without alpha) to
/// 8-bit RGB: grey is repeated, 16 bits keep their upper 8, alpha is dropped.
///
/// # Errors
/// When the bytes are no whole PNG, or it is beyond 64 million pixels.
pub fn decode(bytes: &[u8]) -> Result<ColorImage, PngError> {
    let limits = png::Limits { bytes: 16 * PIXELS_MAX };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let info = decoder.read_header_info()?;
    let (height, width) = (info.height, info.width);
    let pixels = u64::from(height) * u64::from(width);
    // Deflate packs at most 1032 to 1, so a picture of a few bytes cannot be large.
    let packed_max = (bytes.len() as u64).saturating_mul(8 * 1032);
    if pixels > PIXELS_MAX as u64 || pixels > packed_max {
        return Err(PngError::TooLarge { height, width });
    }
    let mut reader = decoder.read_info()?;
    let size = reader.output_buffer_size().ok_or(PngError::TooLarge { height, width })?;
    let mut data = vec![0; size];
    let frame = reader.next_frame(&mut data)?;
    // The closing chunk proves that the file is whole.
    reader.finish()?;
    let channels = frame.color_type.samples();
    let pixels = data[..frame.buffer_size()].chunks_exact(channels).map(|p| match *p {
        [r, g, b] | [r, g, b, _] => [r, g, b],
        [grey, ..] => [grey; 3],
        [] => [0; 3],
    });
    Ok(ColorImage { height: height as usize, width: width as usize, pixels: pixels.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(color: png::ColorType, depth: png::BitDepth, palette: Option<&[u8]>, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if let Some(palette) = palette {
            encoder.set_palette(palette);
        }
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(data).expect("two pixels");
        writer.finish().expect("an end");
        bytes
    }

    #[test]
    fn every_kind_becomes_rgb() {
        use png::{BitDepth, ColorType};
        let wide = [1, 99, 2, 99, 3, 99, 4, 99, 5, 99, 6, 99];
        let cases: [(Vec<u8>, [[u8; 3]; 2]); 7] = [
            (written(ColorType::Grayscale, BitDepth::Eight, None, &[7, 9]), [[7; 3], [9; 3]]),
            (written(ColorType::Grayscale, BitDepth::One, None, &[0b0100_0000]), [[0; 3], [255; 3]]),
            (written(ColorType::GrayscaleAlpha, BitDepth::Eight, None, &[7, 0, 9, 5]), [[7; 3], [9; 3]]),
            (written(ColorType::Rgb, BitDepth::Eight, None, &[1, 2, 3, 4, 5, 6]), [[1, 2, 3], [4, 5, 6]]),
            (written(ColorType::Rgb, BitDepth::Sixteen, None, &wide), [[1, 2, 3], [4, 5, 6]]),
            (
                written(ColorType::Rgba, BitDepth::Eight, None, &[1, 2, 3, 0, 4, 5, 6, 9]),
                [[1, 2, 3], [4, 5, 6]],
            ),
            (
                written(ColorType::Indexed, BitDepth::Eight, Some(&[1, 2, 3, 4, 5, 6]), &[1, 0]),
                [[4, 5, 6], [1, 2, 3]],
            ),
        ];
        for (bytes, pixels) in cases {
            let image = decode(&bytes).expect("a good picture");
            assert_eq!((image.height, image.width, image.pixels), (1, 2, pixels.to_vec()));
        }
    }

    #[test]
    fn encoding_comes_back_and_a_cut_picture_is_refused() {
        let pixels = (0..35u8).map(|i| [i, 7 * i, 255 - i]).collect();
        let image = ColorImage { height: 5, width: 7, pixels };
        let bytes = encode(&image).expect("a whole image");
        assert_eq!(decode(&bytes).expect("what was encoded"), image);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "cut at byte {len}");
        }
    }

    #[test]
    fn a_forged_size_is_refused_before_allocating() {
        let mut bytes = written(png::ColorType::Grayscale, png::BitDepth::Eight, None, &[7, 9]);
        // Width and height stand at bytes 16..24 of the file, after the chunk's type.
        bytes[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
        assert!(decode(&bytes).is_err());
    }
}
