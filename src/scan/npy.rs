//! NumPy's `.npy`: feature matrices out and in, and the arrays of organised clouds.
//!
//! ```text
//! 0  6  magic  93 'N' 'U' 'M' 'P' 'Y'
//! 6  2  version, major and minor (1.0, 2.0 or 3.0)
//! 8  2  header length, u16 little-endian (version 1), or 4 bytes, u32 (versions 2 and 3)
//!    n  header: a Python dict of descr, fortran_order and shape, ended by a newline
//!       values, row-major unless fortran_order is True
//! ```
//!
//! Floating point only. Columns-first ("Fortran") arrays are put into row-major order on
//! reading. No pickles, no structured types, no integers.

use std::io::{self, Write};

use thiserror::Error;

use super::error::ScanError;
use super::source::{Format, RawScan, Source};

/// The bytes every .npy file starts with.
pub const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Longest header read: an array of floats needs some 80 bytes.
const HEADER_BYTES_MAX: usize = 4096;
/// Most dimensions read.
const DIMENSIONS_MAX: usize = 8;

/// Why an .npy file is refused.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NpyError {
    /// The bytes are no .npy file.
    #[error("the file does not start as .npy (found {found}, expected the magic \\x93NUMPY)")]
    Magic {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// The header cannot be understood.
    #[error("the .npy header has {found}, expected {expected}")]
    Header {
        /// What stands there.
        found: String,
        /// What would be understood.
        expected: String,
    },
    /// The values are no floating point numbers.
    #[error("the .npy values are of type {found:?}, expected f32 or f64 ('<f4', '>f4', '<f8', '>f8')")]
    Dtype {
        /// The type as written.
        found: String,
    },
    /// The file ends too early.
    #[error("the .npy file ends at byte {found} of {expected}")]
    Truncated {
        /// Length of the file in bytes.
        found: usize,
        /// Length that the header asks for.
        expected: u128,
    },
    /// There are more bytes than the shape asks for.
    #[error("the .npy file has {found} bytes, but its shape needs {expected}")]
    TrailingBytes {
        /// Length of the file in bytes.
        found: usize,
        /// Length that the header asks for.
        expected: u128,
    },
}

/// Writes row-major `values` of the given shape as a version 1.0 .npy file.
///
/// # Errors
/// When writing fails, or (`InvalidInput`) when the values do not fill the shape.
pub fn write_f32(out: &mut impl Write, shape: &[usize], values: &[f32]) -> io::Result<()> {
    if product(shape) != Some(values.len()) {
        let text = format!("{} values do not fill the shape {shape:?}", values.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}", shape_text(shape));
    // The values start at a multiple of 64 bytes, so that they can be mapped.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let header_len = u16::try_from(header.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&header_len.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let mut block = Vec::with_capacity(4 * 4096);
    for chunk in values.chunks(4096) {
        block.clear();
        block.extend(chunk.iter().flat_map(|v| v.to_le_bytes()));
        out.write_all(&block)?;
    }
    Ok(())
}

/// Reads an array of f32 or f64 (rounded to f32) into its shape and row-major values.
///
/// # Errors
/// When the bytes are not exactly one .npy array of floating point numbers.
pub fn read_f32(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), NpyError> {
    let header = read_header(bytes)?;
    let count = check_length(bytes.len(), &header)?;
    let data = &bytes[header.data_start..];
    let values: Vec<f32> = match (header.wide, header.big_endian) {
        (false, false) => decode::<4>(data, f32::from_le_bytes),
        (false, true) => decode::<4>(data, f32::from_be_bytes),
        (true, false) => decode::<8>(data, |b| narrow(f64::from_le_bytes(b))),
        (true, true) => decode::<8>(data, |b| narrow(f64::from_be_bytes(b))),
    };
    debug_assert_eq!(values.len(), count, "the length was checked");
    let values = if header.fortran_order { to_row_major(&header.shape, &values) } else { values };
    Ok((header.shape, values))
}

/// What an .npy header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Lengths of the dimensions.
    pub(crate) shape: Vec<usize>,
    /// Columns first.
    pub(crate) fortran_order: bool,
    /// f64 rather than f32.
    pub(crate) wide: bool,
    /// Most significant byte first.
    pub(crate) big_endian: bool,
    /// Offset of the values in bytes.
    pub(crate) data_start: usize,
}

impl Header {
    /// Length of the whole file in bytes; `None` when it overflows.
    pub(crate) fn file_bytes(&self) -> Option<u128> {
        let count = self.shape.iter().try_fold(1u128, |n, d| n.checked_mul(*d as u128))?;
        count.checked_mul(if self.wide { 8 } else { 4 })?.checked_add(self.data_start as u128)
    }
}

/// Parses the header alone, of floating point values.
pub(crate) fn read_header(bytes: &[u8]) -> Result<Header, NpyError> {
    let Dict { descr, fortran_order, shape, data_start } = read_dict(bytes)?;
    let (wide, big_endian) = match descr.as_str() {
        "<f4" => (false, false),
        ">f4" => (false, true),
        "<f8" => (true, false),
        ">f8" => (true, true),
        _ => return Err(NpyError::Dtype { found: descr }),
    };
    Ok(Header { shape, fortran_order, wide, big_endian, data_start })
}

/// A header as written, whatever the type of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dict {
    /// Type of the values, such as `<f4`.
    pub descr: String,
    /// Columns first.
    pub fortran_order: bool,
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// Offset of the values in bytes.
    pub data_start: usize,
}

/// Longest start of a file that its header can take: what [`read_dict`] has to be given of a file that is read
/// piece by piece.
pub const HEAD_BYTES_MAX: usize = HEADER_BYTES_MAX + 12;

/// Parses a header from the first bytes of a file.
///
/// # Errors
/// When they are no .npy header.
pub fn read_dict(bytes: &[u8]) -> Result<Dict, NpyError> {
    if !bytes.starts_with(MAGIC) {
        let found = bytes.iter().take(6).map(|b| format!("{b:02x}")).collect();
        return Err(NpyError::Magic { found });
    }
    let cut = |expected: usize| NpyError::Truncated { found: bytes.len(), expected: expected as u128 };
    let (start, len) = match *bytes[6..].first_chunk::<6>().ok_or_else(|| cut(12))? {
        [1, 0, a, b, ..] => (10, usize::from(u16::from_le_bytes([a, b]))),
        [2 | 3, 0, a, b, c, d] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        [major, minor, ..] => {
            return Err(header_error(format!("version {major}.{minor}"), "version 1.0, 2.0 or 3.0"));
        }
    };
    if len > HEADER_BYTES_MAX {
        return Err(header_error(format!("{len} bytes"), "at most 4096"));
    }
    let text = bytes.get(start..start + len).ok_or_else(|| cut(start + len))?;
    let text =
        str::from_utf8(text).map_err(|_| header_error("bytes that are no text".into(), "a Python dict"))?;
    parse_dict(text, start + len)
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse_dict(text: &str, data_start: usize) -> Result<Dict, NpyError> {
    let descr = value_of(text, "descr")?;
    let descr = descr.strip_prefix(['\'', '"']).and_then(|d| d.split(['\'', '"']).next()).unwrap_or(descr);
    let order = value_of(text, "fortran_order")?;
    let fortran_order = match order {
        o if o.starts_with("False") => false,
        o if o.starts_with("True") => true,
        _ => return Err(header_error("an unreadable fortran_order".into(), "True or False")),
    };
    let shape = value_of(text, "shape")?.strip_prefix('(').and_then(|s| s.split_once(')'));
    let (shape, _) =
        shape.ok_or_else(|| header_error("an unreadable shape".into(), "a tuple such as (480, 640, 3)"))?;
    let parts = shape.split(',').map(str::trim).filter(|d| !d.is_empty());
    let shape: Result<Vec<usize>, _> = parts.map(str::parse).collect();
    let shape = shape.map_err(|_| {
        header_error("a shape that is no list of lengths".into(), "a tuple such as (480, 640, 3)")
    })?;
    if shape.len() > DIMENSIONS_MAX {
        return Err(header_error(format!("{} dimensions", shape.len()), "at most 8"));
    }
    Ok(Dict { descr: descr.chars().take(40).collect(), fortran_order, shape, data_start })
}

/// The text after `'key':`.
fn value_of<'t>(text: &'t str, key: &str) -> Result<&'t str, NpyError> {
    let found = text.split_once(&format!("'{key}':")).or_else(|| text.split_once(&format!("\"{key}\":")));
    let (_, rest) =
        found.ok_or_else(|| header_error(format!("no {key}"), "descr, fortran_order and shape"))?;
    Ok(rest.trim_start())
}

fn header_error(found: String, expected: &str) -> NpyError {
    NpyError::Header { found, expected: expected.into() }
}

/// Number of values, once the file is known to hold exactly them.
fn check_length(found: usize, header: &Header) -> Result<usize, NpyError> {
    let expected = header.file_bytes().unwrap_or(u128::MAX);
    match (found as u128).cmp(&expected) {
        std::cmp::Ordering::Less => Err(NpyError::Truncated { found, expected }),
        std::cmp::Ordering::Greater => Err(NpyError::TrailingBytes { found, expected }),
        std::cmp::Ordering::Equal => Ok(product(&header.shape).unwrap_or(0)),
    }
}

fn decode<const N: usize>(data: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = data.as_chunks::<N>();
    chunks.iter().map(|b| convert(*b)).collect()
}

/// Coordinates and features need no more than f32.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is asked for")]
const fn narrow(value: f64) -> f32 {
    value as f32
}

/// Columns-first values in row-major order.
fn to_row_major(shape: &[usize], values: &[f32]) -> Vec<f32> {
    let mut strides = vec![1; shape.len()];
    for d in 1..shape.len() {
        strides[d] = strides[d - 1] * shape[d - 1];
    }
    let mut index = vec![0; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            if index[d] < shape[d] {
                break;
            }
            index[d] = 0;
        }
    }
    out
}

fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

/// A Python tuple: one element needs its comma.
fn shape_text(shape: &[usize]) -> String {
    let parts: Vec<String> = shape.iter().map(ToString::to_string).collect();
    if parts.len() == 1 { format!("({},)", parts[0]) } else { format!("({})", parts.join(", ")) }
}

/// Reads the points of an array `[height, width, 3]`, or `[n, 3]` (which has no grid).
pub(crate) fn read_cloud(source: Source) -> Result<RawScan, ScanError> {
    let header = read_header(source.bytes).map_err(|e| refusal(source, e))?;
    let (grid, layout) = cloud_shape(source, &header.shape)?;
    let (_, values) = read_f32(source.bytes).map_err(|e| refusal(source, e))?;
    let points = values.as_chunks::<3>().0.to_vec();
    if points.is_empty() {
        return Err(ScanError::NothingMeasured(source.details("0 points", "a cloud")));
    }
    let order = if header.fortran_order { "columns first" } else { "rows first" };
    let encoding = format!("{}, {order}", if header.wide { "f64" } else { "f32" });
    Ok(RawScan { format: Format::Npy, encoding, grid, layout, points, colors: None })
}

/// Height and width of an array of points, and the shape in words.
fn cloud_shape(source: Source, shape: &[usize]) -> Result<(Option<(usize, usize)>, String), ScanError> {
    let expected = "shape (height, width, 3)";
    let found = format!("shape {}", shape_text(shape));
    match *shape {
        [height, width, 3] => {
            source.point_count(height as u64, width as u64)?;
            Ok(((height >= 2 && width >= 2).then_some((height, width)), found))
        }
        [n, 3] => source.point_count(1, n as u64).map(|_| (None, found)),
        [3, _, _] => Err(ScanError::ChannelsFirst(source.details(found, expected))),
        [_, _] | [_, _, 1] => Err(ScanError::DepthOnly(source.details(found, expected))),
        _ => Err(ScanError::NoXyz(source.details(found, expected))),
    }
}

fn refusal(source: Source, error: NpyError) -> ScanError {
    match error {
        NpyError::Magic { found } => ScanError::UnknownFormat(source.details(found, "the magic of .npy")),
        NpyError::Header { found, expected } => source.malformed(found, expected),
        NpyError::Dtype { found } => {
            ScanError::SampleType(source.details(format!("type {found:?}"), "'<f4', '>f4', '<f8' or '>f8'"))
        }
        NpyError::Truncated { found, expected } => {
            let found = format!("the end at byte {found}");
            ScanError::Truncated(source.details(found, format!("{expected} bytes")))
        }
        NpyError::TrailingBytes { found, expected } => {
            source.malformed(format!("{found} bytes"), format!("{expected} for the shape"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(shape: &[usize], values: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_f32(&mut bytes, shape, values).expect("writing to memory");
        bytes
    }

    /// A file as NumPy writes it, with the header given.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend(u16::try_from(header.len()).expect("short").to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn every_shape_comes_back() {
        for shape in [vec![], vec![0], vec![3], vec![2, 3], vec![2, 0, 3], vec![2, 3, 4]] {
            let count: usize = shape.iter().product();
            let values: Vec<f32> =
                (0..count).map(|i| f32::from(u16::try_from(i).expect("small")) - 2.5).collect();
            let bytes = written(&shape, &values);
            assert_eq!((bytes.len() - 4 * count) % 64, 0, "the values are aligned");
            assert_eq!(read_f32(&bytes), Ok((shape, values)));
        }
    }

    #[test]
    fn values_that_do_not_fill_the_shape_are_not_written() {
        let mut out = Vec::new();
        assert!(write_f32(&mut out, &[2, 2], &[1.0; 3]).is_err());
        assert!(out.is_empty());
    }

    #[test]
    fn wide_swapped_and_columns_first_values_are_read() {
        let expected = Ok((vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let columns_first = [1.0f64, 4.0, 2.0, 5.0, 3.0, 6.0];
        let data: Vec<u8> = columns_first.iter().flat_map(|v| v.to_be_bytes()).collect();
        assert_eq!(
            read_f32(&file("{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3), }\n", &data)),
            expected
        );
        let data: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|v| v.to_be_bytes()).collect();
        assert_eq!(
            read_f32(&file("{\"descr\": \">f4\",\"fortran_order\":False,\"shape\":(2,3)}", &data)),
            expected
        );
    }

    #[test]
    fn malformed_files_are_refused_with_the_reason() {
        let header = |dict: &str| read_f32(&file(dict, &[0; 8])).expect_err("malformed");
        assert!(matches!(read_f32(b"PK\x03\x04"), Err(NpyError::Magic { .. })));
        assert!(matches!(
            header("{'descr': '<i4', 'fortran_order': False, 'shape': (2,)}"),
            NpyError::Dtype { .. }
        ));
        assert!(matches!(header("{'descr': '<f4', 'shape': (2,)}"), NpyError::Header { .. }));
        assert!(matches!(
            header("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}"),
            NpyError::Header { .. }
        ));
        assert!(matches!(
            header("{'descr': '<f4', 'fortran_order': False, 'shape': 2}"),
            NpyError::Header { .. }
        ));
        assert!(matches!(
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}"),
            NpyError::Header { .. }
        ));
        assert!(matches!(
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}"),
            NpyError::TrailingBytes { .. }
        ));
    }

    #[test]
    fn a_forged_shape_is_refused_before_allocating() {
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999, 3)}";
        assert!(matches!(read_f32(&file(huge, &[0; 8])), Err(NpyError::Truncated { .. })));
        let overflowing =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({0}, {0}, {0})}}", usize::MAX);
        assert!(matches!(read_f32(&file(&overflowing, &[0; 8])), Err(NpyError::Truncated { .. })));
    }

    #[test]
    fn a_file_cut_at_any_byte_is_refused() {
        let bytes = written(&[3, 5], &[1.5; 15]);
        for len in 0..bytes.len() {
            assert!(read_f32(&bytes[..len]).is_err(), "cut at byte {len}");
        }
    }
}
