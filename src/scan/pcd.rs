//! Organised point clouds in PCD (version 0.7 and its forerunners of the same shape).
//!
//! ```text
//! # comment                       a text header, one key a line
//! VERSION 0.7
//! FIELDS x y z rgba               any order, further fields are passed over
//! SIZE 4 4 4 4                    bytes of each
//! TYPE F F F U                    F float, U unsigned, I signed
//! COUNT 1 1 1 1                   values of each (optional)
//! WIDTH 640
//! HEIGHT 480                      1 means: no grid
//! VIEWPOINT 0 0 0 1 0 0 0
//! POINTS 307200
//! DATA ascii | binary | binary_compressed
//! ```
//!
//! After the DATA line: `ascii`, a line of numbers per point; `binary`, the fields point by
//! point, little-endian; `binary_compressed`, u32 compressed size, u32 decompressed size and
//! one LZF stream that holds the fields one after the other (all x, all y, ...).
//!
//! `rgb` and `rgba` are 0xAARRGGBB in four bytes, whichever TYPE they claim. VIEWPOINT is
//! not applied: it places the sensor in a room, and the points are wanted as the sensor saw them.

use super::error::ScanError;
use super::source::{Format, POINTS_MAX, RawScan, Scalar, Source, narrow};

/// Longest header read.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Most bytes of a point: real ones have at most some hundred.
const STRIDE_MAX: usize = 4096;
/// LZF's best case: 264 bytes out of 3.
const LZF_RATIO_MAX: u64 = 88;

/// Whether the bytes start as PCD.
pub(crate) fn is_pcd(bytes: &[u8]) -> bool {
    [&b"# .PCD"[..], b"VERSION ", b"FIELDS "].iter().any(|start| bytes.starts_with(start))
}

/// Reads the points and colours.
pub(crate) fn read(source: Source) -> Result<RawScan, ScanError> {
    let header = Header::parse(source)?;
    let (values, encoding) = match header.encoding {
        Encoding::Ascii => (Values::Ascii(ascii_rows(source, &header)?), "ascii"),
        Encoding::Binary => {
            let end = header.data_start as u128 + header.count as u128 * header.stride as u128;
            source.require(end)?;
            (Values::Interleaved(&source.bytes[header.data_start..]), "binary")
        }
        Encoding::Compressed => (Values::Columns(decompress(source, &header)?), "binary_compressed"),
    };
    let position = ["x", "y", "z"].map(|name| header.field(name));
    let [Some(x), Some(y), Some(z)] = position else {
        return Err(ScanError::NoXyz(source.details(header.field_list(), "fields x, y and z")));
    };
    if let Some(field) = [x, y, z].iter().find(|f| !f.scalar.is_float() || f.count != 1) {
        let found = format!("{} of type {:?} x {}", field.name, field.scalar, field.count);
        return Err(ScanError::SampleType(source.details(found, "F4 or F8, one value")));
    }
    let point = |i| [x, y, z].map(|f| narrow(values.number(&header, f, i)));
    let points = (0..header.count).map(point).collect();
    let packed = header.field("rgba").or_else(|| header.field("rgb")).filter(|f| f.scalar.size() == 4);
    let colors = packed.map(|f| (0..header.count).map(|i| unpack(values.bits(&header, f, i))).collect());
    let (height, width) = (header.height, header.width);
    let grid = (height >= 2 && width >= 2).then_some((height, width));
    let layout = format!("WIDTH {width}, HEIGHT {height}");
    Ok(RawScan { format: Format::Pcd, encoding: encoding.into(), grid, layout, points, colors })
}

/// 0x..RRGGBB.
const fn unpack(bits: u32) -> [u8; 3] {
    let [_, r, g, b] = bits.to_be_bytes();
    [r, g, b]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Ascii,
    Binary,
    Compressed,
}

/// One field of a point.
#[derive(Debug)]
struct Field {
    name: String,
    scalar: Scalar,
    /// Values of it.
    count: usize,
    /// Bytes before it within a point.
    offset: usize,
    /// Values before it within a point.
    column: usize,
}

#[derive(Debug)]
struct Header {
    fields: Vec<Field>,
    height: usize,
    width: usize,
    /// Points.
    count: usize,
    encoding: Encoding,
    /// Bytes of a point.
    stride: usize,
    /// Values of a point.
    columns: usize,
    data_start: usize,
}

impl Header {
    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    fn field_list(&self) -> String {
        let names: Vec<&str> = self.fields.iter().map(|f| f.name.as_str()).collect();
        format!("only the fields {}", names.join(" "))
    }

    fn parse(source: Source) -> Result<Self, ScanError> {
        let mut keys = Keys::default();
        let mut at = 0;
        let encoding = loop {
            let window = &source.bytes[at..source.bytes.len().min(HEADER_BYTES_MAX)];
            let Some(len) = window.iter().position(|b| *b == b'\n') else {
                let expected = "a header ended by a DATA line";
                if source.bytes.len() < HEADER_BYTES_MAX {
                    let found = format!("the end at byte {} within the header", source.bytes.len());
                    return Err(ScanError::Truncated(source.details(found, expected)));
                }
                return Err(source.malformed(format!("no DATA line in {HEADER_BYTES_MAX} bytes"), expected));
            };
            let line = String::from_utf8_lossy(&window[..len]);
            at += len + 1;
            if let Some(data) = keys.take(line.trim()) {
                break match data.as_str() {
                    "ascii" => Encoding::Ascii,
                    "binary" => Encoding::Binary,
                    "binary_compressed" => Encoding::Compressed,
                    _ => {
                        let found = format!("DATA {data}");
                        let expected = "ascii, binary or binary_compressed";
                        return Err(ScanError::Encoding(source.details(found, expected)));
                    }
                };
            }
        };
        keys.into_header(source, encoding, at)
    }
}

/// The header's lines, split at blanks.
#[derive(Default)]
struct Keys {
    lines: Vec<(String, Vec<String>)>,
}

impl Keys {
    /// Keeps a line; returns the encoding when it is the DATA line.
    fn take(&mut self, line: &str) -> Option<String> {
        let mut words = line.split_ascii_whitespace();
        let key = words.next().filter(|k| !k.starts_with('#'))?;
        let mut values = words.map(str::to_owned);
        if key == "DATA" {
            return Some(values.next().unwrap_or_default());
        }
        self.lines.push((key.into(), values.collect()));
        None
    }

    fn get(&self, key: &str) -> Option<&[String]> {
        self.lines.iter().find(|(k, _)| k == key).map(|(_, values)| values.as_slice())
    }

    fn number(&self, source: Source, key: &str) -> Result<u64, ScanError> {
        let value = self.get(key).and_then(|v| v.first());
        value.and_then(|v| v.parse().ok()).ok_or_else(|| {
            let found = value.map_or_else(|| format!("no {key}"), |v| format!("{key} {v}"));
            source.malformed(found, format!("{key} and a number"))
        })
    }

    fn into_header(self, source: Source, encoding: Encoding, data_start: usize) -> Result<Header, ScanError> {
        let width = self.number(source, "WIDTH")?;
        let height = if self.get("HEIGHT").is_some() { self.number(source, "HEIGHT")? } else { 1 };
        let count = source.point_count(height, width)?;
        if self.get("POINTS").is_some() && self.number(source, "POINTS")? != count as u64 {
            let found = format!("POINTS {}", self.number(source, "POINTS")?);
            return Err(source.malformed(found, format!("WIDTH x HEIGHT = {count}")));
        }
        if count == 0 {
            return Err(ScanError::NothingMeasured(source.details("0 points", "a cloud")));
        }
        let (fields, stride, columns) = self.fields(source)?;
        let [height, width] = [height, width].map(|n| usize::try_from(n).unwrap_or(POINTS_MAX));
        Ok(Header { fields, height, width, count, encoding, stride, columns, data_start })
    }

    /// The fields, the bytes and the values of a point.
    fn fields(&self, source: Source) -> Result<(Vec<Field>, usize, usize), ScanError> {
        let names = self.get("FIELDS").unwrap_or_default();
        let (sizes, types) = (self.get("SIZE").unwrap_or_default(), self.get("TYPE").unwrap_or_default());
        let counts = self.get("COUNT");
        if names.is_empty()
            || [Some(sizes), Some(types), counts].iter().flatten().any(|v| v.len() != names.len())
        {
            let found = format!("{} FIELDS, {} SIZE, {} TYPE", names.len(), sizes.len(), types.len());
            return Err(source.malformed(found, "one SIZE, TYPE and COUNT for each of FIELDS"));
        }
        let (mut fields, mut stride, mut columns) = (Vec::new(), 0usize, 0usize);
        for (i, name) in names.iter().enumerate() {
            let count =
                counts.map_or(Some(1), |c| c[i].parse().ok().filter(|n| (1..=STRIDE_MAX).contains(n)));
            let (Some(scalar), Some(count)) = (scalar(&types[i], &sizes[i]), count) else {
                let found = format!("field {name} of TYPE {} and SIZE {}", types[i], sizes[i]);
                return Err(source.malformed(found, "TYPE F, U or I of SIZE 1, 2, 4 or 8 and a COUNT from 1"));
            };
            fields.push(Field { name: name.clone(), scalar, count, offset: stride, column: columns });
            stride += scalar.size() * count;
            columns += count;
            if stride > STRIDE_MAX {
                return Err(source.malformed("points of too many bytes", format!("at most {STRIDE_MAX}")));
            }
        }
        Ok((fields, stride, columns))
    }
}

fn scalar(kind: &str, size: &str) -> Option<Scalar> {
    Some(match (kind, size) {
        ("I", "1") => Scalar::I8,
        ("U", "1") => Scalar::U8,
        ("I", "2") => Scalar::I16,
        ("U", "2") => Scalar::U16,
        ("I", "4") => Scalar::I32,
        ("U", "4") => Scalar::U32,
        ("I", "8") => Scalar::I64,
        ("U", "8") => Scalar::U64,
        ("F", "4") => Scalar::F32,
        ("F", "8") => Scalar::F64,
        _ => return None,
    })
}

/// The values, in the three ways they are stored.
enum Values<'a> {
    /// Words, `[count, columns]`.
    Ascii(Vec<&'a str>),
    /// Point by point.
    Interleaved(&'a [u8]),
    /// Field by field.
    Columns(Vec<u8>),
}

impl Values<'_> {
    /// The first value of a field of point `i`. Lengths were checked, words too.
    fn number(&self, header: &Header, field: &Field, i: usize) -> f64 {
        match self {
            Self::Ascii(words) => parse(words[i * header.columns + field.column]).unwrap_or(f64::NAN),
            _ => field.scalar.read(self.bytes(header, field, i), false).unwrap_or(f64::NAN),
        }
    }

    /// The four bytes of a packed colour.
    fn bits(&self, header: &Header, field: &Field, i: usize) -> u32 {
        match self {
            Self::Ascii(words) => packed_word(words[i * header.columns + field.column], field.scalar),
            _ => self.bytes(header, field, i).first_chunk().map_or(0, |b| u32::from_le_bytes(*b)),
        }
    }

    fn bytes(&self, header: &Header, field: &Field, i: usize) -> &[u8] {
        match self {
            Self::Ascii(_) => &[],
            Self::Interleaved(data) => &data[i * header.stride + field.offset..],
            Self::Columns(data) => {
                &data[header.count * field.offset + i * field.scalar.size() * field.count..]
            }
        }
    }
}

/// A colour written as text: the integer, or the float that has its bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturating is right for a colour"
)]
fn packed_word(word: &str, scalar: Scalar) -> u32 {
    match scalar {
        Scalar::F32 => word.parse::<f32>().map_or(0, f32::to_bits),
        // Some writers print the signed value of the same bits.
        _ => word.parse::<i64>().map_or_else(|_| parse(word).unwrap_or(0.0) as u32, |n| n as u32),
    }
}

fn parse(word: &str) -> Option<f64> {
    word.parse().ok()
}

/// The words of all points.
fn ascii_rows<'a>(source: Source<'a>, header: &Header) -> Result<Vec<&'a str>, ScanError> {
    let data = &source.bytes[header.data_start..];
    let text = str::from_utf8(data).map_err(|e| {
        source
            .malformed(format!("a byte that is no text at {}", header.data_start + e.valid_up_to()), "ascii")
    })?;
    // Two characters a value at least, so that a forged size cannot allocate.
    let needed = header.count * header.columns;
    source.require(header.data_start as u128 + 2 * needed as u128)?;
    let mut words = Vec::with_capacity(needed);
    let mut rows = 0;
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let before = words.len();
        words.extend(line.split_ascii_whitespace().take(header.columns + 1));
        rows += 1;
        let found = words.len() - before;
        let bad = words[before..].iter().find(|w| parse(w).is_none());
        if found != header.columns || bad.is_some() || rows > header.count {
            let found = match bad {
                Some(word) => {
                    format!("{:?} in line {rows} of the data", word.chars().take(20).collect::<String>())
                }
                None => format!("{found} values in line {rows} of the data"),
            };
            let expected = format!("{} lines of {} numbers", header.count, header.columns);
            return Err(source.malformed(found, expected));
        }
    }
    if rows < header.count {
        let found = format!("{rows} points, the end at byte {}", source.bytes.len());
        return Err(ScanError::Truncated(source.details(found, format!("{} points", header.count))));
    }
    source.require_last_line()?;
    Ok(words)
}

/// The decompressed fields of a `binary_compressed` file.
fn decompress(source: Source, header: &Header) -> Result<Vec<u8>, ScanError> {
    let start = header.data_start;
    source.require(start as u128 + 8)?;
    let size = |at: usize| Scalar::U32.read(&source.bytes[at..], false).unwrap_or(0.0);
    let [packed, unpacked] = [size(start), size(start + 4)].map(to_u64);
    let expected = header.count as u64 * header.stride as u64;
    if unpacked != expected {
        let found = format!("a decompressed size of {unpacked} bytes");
        return Err(source.malformed(found, format!("{} points x {} bytes", header.count, header.stride)));
    }
    let end = start as u128 + 8 + u128::from(packed);
    source.require(end)?;
    if unpacked > packed.saturating_mul(LZF_RATIO_MAX) {
        return Err(source.malformed(format!("{unpacked} bytes out of {packed}"), "what LZF can reach"));
    }
    let stream = &source.bytes[start + 8..];
    let stream = &stream[..stream.len().min(usize::try_from(packed).unwrap_or(usize::MAX))];
    let length = usize::try_from(expected).unwrap_or(usize::MAX);
    match lzf::decompress(stream, length) {
        Ok(data) if data.len() == length => Ok(data),
        Ok(data) => {
            Err(source.malformed(format!("{} bytes after decompressing", data.len()), format!("{length}")))
        }
        Err(error) => Err(source.malformed(format!("a damaged LZF stream ({error})"), "a whole one")),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a u32")]
const fn to_u64(value: f64) -> u64 {
    value as u64
}
