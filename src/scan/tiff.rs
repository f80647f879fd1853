//! xyz images in TIFF, the layout of MVTec 3D-AD: three floating point samples a pixel.
//!
//! Strips or tiles, TIFF or BigTIFF, either byte order; uncompressed, deflate, LZW or
//! PackBits, with or without a predictor; f32 or f64. One image a file, samples interleaved.

use std::io::Cursor;

use tiff::decoder::{Decoder, DecodingResult, Limits};

use super::error::ScanError;
use super::source::{Format, RawScan, Source, narrow};
use super::tiff_tags::{Tags, tag};

/// No compression that is read packs better than this; a larger claim is forged.
const PACKING_MAX: u64 = 2048;
/// Longest side of a tile.
const TILE_SIDE_MAX: u64 = 1 << 16;

/// Reads the points.
pub(crate) fn read(source: Source) -> Result<RawScan, ScanError> {
    let tags = Tags::read(source)?;
    let shape = Shape::of(source, &tags)?;
    check_samples(source, &tags, &shape)?;
    let compression = check_compression(source, &tags)?;
    check_chunks(source, &tags, &shape)?;
    let values = decode(source, &shape)?;
    let points: Vec<[f32; 3]> = values.as_chunks::<3>().0.to_vec();
    if points.len() != shape.count || values.len() != 3 * shape.count {
        let found = format!("{} values", values.len());
        return Err(source.malformed(found, format!("3 x {}", shape.count)));
    }
    let (height, width) = (shape.height, shape.width);
    let grid = (height >= 2 && width >= 2).then_some((height, width));
    let layout = format!("{height} rows, {width} columns");
    let encoding = describe(&tags, compression);
    Ok(RawScan { format: Format::Tiff, encoding, grid, layout, points, colors: None })
}

/// Size of the image.
struct Shape {
    height: usize,
    width: usize,
    count: usize,
    /// Bytes of a pixel.
    pixel_bytes: u64,
}

impl Shape {
    fn of(source: Source, tags: &Tags) -> Result<Self, ScanError> {
        let size = |tag| tags.first(tag).filter(|n| *n > 0);
        let (Some(height), Some(width)) = (size(tag::HEIGHT), size(tag::WIDTH)) else {
            return Err(source.malformed("no image size", "ImageWidth and ImageLength from 1"));
        };
        let count = source.point_count(height, width)?;
        let [height, width] = [height, width].map(|n| usize::try_from(n).unwrap_or(count));
        let bits = tags.first(tag::BITS).unwrap_or(1).min(64);
        Ok(Self { height, width, count, pixel_bytes: 3 * bits / 8 })
    }
}

/// Three interleaved floating point samples, or the reason why not.
fn check_samples(source: Source, tags: &Tags, shape: &Shape) -> Result<(), ScanError> {
    let samples = tags.first(tag::SAMPLES).unwrap_or(1);
    let (height, width, pages) = (shape.height, shape.width, tags.pages);
    let expected = "x, y and z as three interleaved samples a pixel";
    if samples == 1 && pages == 3 {
        let found = format!("three pages of {height} x {width}");
        return Err(ScanError::ChannelsFirst(source.details(found, expected)));
    }
    if samples == 1 && width == 3 && pages > 1 {
        let found = format!("{pages} pages of {height} x 3: each row became a page of its own");
        let expected = "one page (tifffile: photometric='rgb', planarconfig='contig')";
        return Err(ScanError::ChannelsFirst(source.details(found, expected)));
    }
    if tags.first(tag::PLANAR).unwrap_or(1) == 2 && samples > 1 {
        let found = format!("PlanarConfiguration 2 with {samples} planes of {height} x {width}");
        return Err(ScanError::Planar(source.details(found, expected)));
    }
    if samples == 1 {
        let found = format!("one value a pixel ({height} x {width}), perhaps a depth image");
        return Err(ScanError::DepthOnly(source.details(found, expected)));
    }
    if samples != 3 || pages != 1 {
        let found = format!("{pages} page(s) with {samples} samples a pixel");
        return Err(source.malformed(found, "one page with 3 samples a pixel"));
    }
    let (bits, formats) = (tags.all(tag::BITS), tags.all(tag::SAMPLE_FORMAT));
    let wide = |b: &u64| *b == 32 || *b == 64;
    let same = |values: &[u64]| matches!(values.len(), 1 | 3) && values.iter().all(|v| *v == values[0]);
    if !(same(bits) && same(formats) && bits.iter().all(wide) && formats[0] == 3) {
        let kind = match formats.first() {
            Some(3) => "floating point",
            Some(2) => "signed integer",
            _ => "unsigned integer",
        };
        let found = format!("{kind} samples of {bits:?} bits");
        return Err(ScanError::SampleType(source.details(found, "32 or 64-bit floating point")));
    }
    Ok(())
}

/// Name of the compression, when it is read.
fn check_compression(source: Source, tags: &Tags) -> Result<&'static str, ScanError> {
    let refuse = |found: String, expected| Err(ScanError::Encoding(source.details(found, expected)));
    // Anything but black-is-zero and RGB would be converted on decoding.
    match tags.first(tag::PHOTOMETRIC) {
        Some(1 | 2) => {}
        other => return refuse(format!("PhotometricInterpretation {other:?}"), "1 (grey) or 2 (RGB)"),
    }
    match tags.first(tag::PREDICTOR).unwrap_or(1) {
        1..=3 => {}
        other => {
            return refuse(format!("predictor {other}"), "1 (none), 2 (horizontal) or 3 (floating point)");
        }
    }
    match tags.first(tag::COMPRESSION).unwrap_or(1) {
        1 => Ok("uncompressed"),
        5 => Ok("LZW"),
        8 | 32_946 => Ok("deflate"),
        32_773 => Ok("PackBits"),
        other => refuse(format!("TIFF compression {other}"), "none, deflate, LZW or PackBits"),
    }
}

/// Every strip or tile must lie within the file, and they must be as many as the size needs.
fn check_chunks(source: Source, tags: &Tags, shape: &Shape) -> Result<(), ScanError> {
    let (height, width) = (shape.height as u64, shape.width as u64);
    let tiled = !tags.all(tag::TILE_OFFSETS).is_empty();
    let (offsets, lengths, needed, largest) = if tiled {
        let side = |tag| tags.first(tag).filter(|n| (1..=TILE_SIDE_MAX).contains(n));
        let (Some(tile_height), Some(tile_width)) = (side(tag::TILE_HEIGHT), side(tag::TILE_WIDTH)) else {
            return Err(
                source.malformed("no usable tile size", format!("1 to {TILE_SIDE_MAX} pixels a side"))
            );
        };
        let needed = height.div_ceil(tile_height) * width.div_ceil(tile_width);
        (tag::TILE_OFFSETS, tag::TILE_BYTES, needed, source.point_count(tile_height, tile_width)? as u64)
    } else {
        let rows = tags.first(tag::ROWS_PER_STRIP).unwrap_or(height).clamp(1, height);
        (tag::STRIP_OFFSETS, tag::STRIP_BYTES, height.div_ceil(rows), rows * width)
    };
    let (offsets, lengths) = (tags.all(offsets), tags.all(lengths));
    if offsets.len() as u64 != needed || lengths.len() as u64 != needed {
        let found = format!("{} strips or tiles with {} lengths", offsets.len(), lengths.len());
        return Err(source.malformed(found, format!("{needed}")));
    }
    let packing = if tags.first(tag::COMPRESSION).unwrap_or(1) == 1 { 1 } else { PACKING_MAX };
    let mut room = 0u64;
    for (offset, length) in offsets.iter().zip(lengths) {
        source.require(u128::from(*offset) + u128::from(*length))?;
        room = room.saturating_add(length.saturating_mul(packing).min(largest * shape.pixel_bytes));
    }
    let all = shape.count as u64 * shape.pixel_bytes;
    if room < all {
        let found = format!("strips or tiles that hold at most {room} bytes");
        return Err(ScanError::Truncated(source.details(found, format!("{all} bytes"))));
    }
    Ok(())
}

/// All samples, interleaved.
fn decode(source: Source, shape: &Shape) -> Result<Vec<f32>, ScanError> {
    let damaged = |error: tiff::TiffError| {
        let cut =
            matches!(&error, tiff::TiffError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof);
        let details = source.details(format!("image data that cannot be decoded ({error})"), "a whole image");
        if cut { ScanError::Truncated(details) } else { ScanError::Malformed(details) }
    };
    let mut limits = Limits::default();
    limits.decoding_buffer_size = shape.count.saturating_mul(24);
    limits.intermediate_buffer_size = source.bytes.len().max(1 << 20);
    limits.ifd_value_size = source.bytes.len();
    let decoder = Decoder::new(Cursor::new(source.bytes)).map(|d| d.with_limits(limits));
    match decoder.and_then(|mut d| d.read_image()).map_err(damaged)? {
        DecodingResult::F32(values) => Ok(values),
        DecodingResult::F64(values) => Ok(values.into_iter().map(narrow).collect()),
        _ => Err(ScanError::SampleType(source.details("integer samples", "32 or 64-bit floating point"))),
    }
}

fn describe(tags: &Tags, compression: &str) -> String {
    let mut words = vec![compression.to_owned()];
    if tags.big_tiff {
        words.insert(0, "BigTIFF".into());
    }
    words.push(match tags.first(tag::PREDICTOR) {
        Some(2) => "with horizontal predictor".into(),
        Some(3) => "with floating point predictor".into(),
        _ => "no predictor".into(),
    });
    words.push(match (tags.first(tag::TILE_HEIGHT), tags.first(tag::TILE_WIDTH)) {
        (Some(height), Some(width)) => format!("tiles of {height} x {width}"),
        _ => format!("{} strip(s)", tags.all(tag::STRIP_OFFSETS).len()),
    });
    words.push(format!("f{} x 3", tags.first(tag::BITS).unwrap_or(0)));
    words.join(", ")
}
