//! Organised point clouds in PLY: ascii, binary little-endian and binary big-endian.
//!
//! PLY itself knows no rows and columns. They are taken, in this order, from
//! `obj_info num_rows N` with `obj_info num_cols N` (Stanford's range scans), or from
//! comments or obj_info of the form `height N` with `width N`, or `rows N` with `cols N`.
//! A file that says none is not organised by itself; the profile's `grid` can say it.
//!
//! Either there is a vertex for every pixel, row by row, or, as in range scans, an element
//! `range_grid` with a list for every pixel: empty where nothing was measured, else the
//! index of its vertex.

use super::error::ScanError;
use super::source::{Format, RawScan, Scalar, Source, narrow};

/// Longest header read.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// Most values of a list: faces and range grids have few.
const LIST_MAX: f64 = 65_535.0;

/// Whether the bytes start as PLY.
pub(crate) fn is_ply(bytes: &[u8]) -> bool {
    bytes.starts_with(b"ply\n") || bytes.starts_with(b"ply\r\n")
}

/// Reads the points and colours.
pub(crate) fn read(source: Source) -> Result<RawScan, ScanError> {
    let header = Header::parse(source)?;
    let grid = header.grid(source)?;
    let vertices = header.elements.iter().find(|e| e.name == "vertex");
    let vertices = vertices.ok_or_else(|| source.malformed("no element vertex", "vertices"))?;
    let slots = Slots::of(vertices, source)?;
    let mut table = Table::default();
    let mut body = Body::new(source, &header)?;
    for element in &header.elements {
        match element.name.as_str() {
            "vertex" => table.read_vertices(&mut body, element, &slots)?,
            "range_grid" => table.read_cells(&mut body, element)?,
            _ => body.skip(element)?,
        }
    }
    body.finish()?;
    table.into_raw(source, &header, grid)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Ascii,
    Little,
    Big,
}

#[derive(Debug)]
struct Property {
    name: String,
    /// Type of a list's length, when it is a list.
    list: Option<Scalar>,
    scalar: Scalar,
}

#[derive(Debug)]
struct Element {
    name: String,
    count: usize,
    properties: Vec<Property>,
}

#[derive(Debug)]
struct Header {
    encoding: Encoding,
    elements: Vec<Element>,
    /// `height 480` and the like, from comments and obj_info.
    sizes: Vec<(String, u64)>,
    data_start: usize,
}

impl Header {
    fn parse(source: Source) -> Result<Self, ScanError> {
        let mut header =
            Self { encoding: Encoding::Ascii, elements: Vec::new(), sizes: Vec::new(), data_start: 0 };
        let mut format = None;
        loop {
            let window = &source.bytes[header.data_start..source.bytes.len().min(HEADER_BYTES_MAX)];
            let Some(len) = window.iter().position(|b| *b == b'\n') else {
                let found = format!("no end_header up to byte {}", header.data_start + window.len());
                let details = source.details(found, "a header ended by end_header");
                let cut = source.bytes.len() < HEADER_BYTES_MAX;
                return Err(if cut { ScanError::Truncated(details) } else { ScanError::Malformed(details) });
            };
            let line = String::from_utf8_lossy(&window[..len]).into_owned();
            header.data_start += len + 1;
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                ["end_header"] => break,
                ["format", name, _] => format = Some(encoding(source, name)?),
                ["ply"] | [] => {}
                ["comment" | "obj_info", rest @ ..] => header.take_sizes(rest),
                ["element", name, count] => header.add_element(source, name, count)?,
                ["property", rest @ ..] => header.add_property(source, rest)?,
                _ => {
                    return Err(
                        source.malformed(format!("the header line {line:?}"), "a line of a PLY header")
                    );
                }
            }
        }
        header.encoding =
            format.ok_or_else(|| source.malformed("no format line", "format ascii 1.0 or binary"))?;
        Ok(header)
    }

    /// Keeps every `name number` of a comment: `width 640 height 480` has two.
    fn take_sizes(&mut self, words: &[&str]) {
        for pair in words.windows(2) {
            let name = pair[0].trim_end_matches([':', '=']).to_ascii_lowercase();
            if let Ok(size) = pair[1].trim_end_matches([',', ';']).parse() {
                self.sizes.push((name, size));
            }
        }
    }

    fn add_element(&mut self, source: Source, name: &str, count: &str) -> Result<(), ScanError> {
        let count =
            count.parse().map_err(|_| source.malformed(format!("element {name} {count}"), "a count"))?;
        let count = source.point_count(1, count)?;
        self.elements.push(Element { name: name.into(), count, properties: Vec::new() });
        Ok(())
    }

    fn add_property(&mut self, source: Source, words: &[&str]) -> Result<(), ScanError> {
        let property = match words {
            ["list", length, kind, name] => scalar(kind)
                .zip(scalar(length))
                .map(|(scalar, length)| Property { name: (*name).into(), list: Some(length), scalar }),
            [kind, name] => scalar(kind).map(|scalar| Property { name: (*name).into(), list: None, scalar }),
            _ => None,
        };
        let malformed =
            || source.malformed(format!("property {}", words.join(" ")), "an element with a typed property");
        let (property, element) = property.zip(self.elements.last_mut()).ok_or_else(malformed)?;
        element.properties.push(property);
        Ok(())
    }

    /// Rows and columns, when the header says both.
    fn grid(&self, source: Source) -> Result<Option<(usize, usize)>, ScanError> {
        let size = |key: &str| self.sizes.iter().find(|(name, _)| name == key).map(|(_, size)| *size);
        for (rows, columns) in [("num_rows", "num_cols"), ("height", "width"), ("rows", "cols")] {
            if let (Some(height), Some(width)) = (size(rows), size(columns)) {
                source.point_count(height, width)?;
                let [height, width] = [height, width].map(|n| usize::try_from(n).unwrap_or(0));
                return Ok((height >= 2 && width >= 2).then_some((height, width)));
            }
        }
        Ok(None)
    }
}

fn encoding(source: Source, name: &str) -> Result<Encoding, ScanError> {
    match name {
        "ascii" => Ok(Encoding::Ascii),
        "binary_little_endian" => Ok(Encoding::Little),
        "binary_big_endian" => Ok(Encoding::Big),
        _ => {
            let expected = "ascii, binary_little_endian or binary_big_endian";
            Err(ScanError::Encoding(source.details(format!("format {name}"), expected)))
        }
    }
}

fn scalar(kind: &str) -> Option<Scalar> {
    Some(match kind {
        "char" | "int8" => Scalar::I8,
        "uchar" | "uint8" => Scalar::U8,
        "short" | "int16" => Scalar::I16,
        "ushort" | "uint16" => Scalar::U16,
        "int" | "int32" => Scalar::I32,
        "uint" | "uint32" => Scalar::U32,
        "float" | "float32" => Scalar::F32,
        "double" | "float64" => Scalar::F64,
        _ => return None,
    })
}

/// Which property of a vertex is which number wanted.
struct Slots {
    /// For each property: 0 to 2 are x, y, z; 3 to 5 red, green, blue.
    targets: Vec<Option<usize>>,
    /// What a full colour channel is in the file, when all three are there.
    color_full: Option<f64>,
}

impl Slots {
    fn of(vertices: &Element, source: Source) -> Result<Self, ScanError> {
        const NAMES: [&str; 6] = ["x", "y", "z", "red", "green", "blue"];
        let targets: Vec<Option<usize>> = vertices
            .properties
            .iter()
            .map(|p| NAMES.iter().position(|n| *n == p.name).filter(|_| p.list.is_none()))
            .collect();
        let property = |slot| targets.iter().position(|t| *t == Some(slot)).map(|i| &vertices.properties[i]);
        for slot in 0..3 {
            let Some(property) = property(slot) else {
                let names: Vec<&str> = vertices.properties.iter().map(|p| p.name.as_str()).collect();
                let found = format!("only the properties {}", names.join(" "));
                return Err(ScanError::NoXyz(source.details(found, "properties x, y and z")));
            };
            if !property.scalar.is_float() {
                let found = format!("{} of type {:?}", property.name, property.scalar);
                return Err(ScanError::SampleType(source.details(found, "float or double")));
            }
        }
        let full = |p: &Property| match p.scalar {
            Scalar::U8 => Some(255.0),
            Scalar::U16 => Some(65_535.0),
            Scalar::F32 | Scalar::F64 => Some(1.0),
            _ => None,
        };
        let channels = [3, 4, 5].map(|slot| property(slot).and_then(full));
        let color_full = channels[0].filter(|_| channels.iter().all(|c| *c == channels[0]));
        Ok(Self { targets, color_full })
    }
}

/// What was read.
#[derive(Default)]
struct Table {
    points: Vec<[f32; 3]>,
    colors: Option<Vec<[u8; 3]>>,
    /// For each pixel its vertex, when there is a range grid.
    cells: Option<Vec<Option<usize>>>,
}

impl Table {
    fn read_vertices(&mut self, body: &mut Body, element: &Element, slots: &Slots) -> Result<(), ScanError> {
        body.check_room(element)?;
        self.points.reserve_exact(element.count);
        let mut colors = Vec::new();
        for _ in 0..element.count {
            let mut row = [0.0f64; 6];
            for (property, target) in element.properties.iter().zip(&slots.targets) {
                match target {
                    Some(slot) => row[*slot] = body.next(property.scalar)?,
                    None => body.skip_property(property)?,
                }
            }
            let [x, y, z, r, g, b] = row;
            self.points.push([x, y, z].map(narrow));
            if let Some(full) = slots.color_full {
                colors.push([r, g, b].map(|c| to_channel(c / full)));
            }
        }
        self.colors = slots.color_full.map(|_| colors);
        Ok(())
    }

    fn read_cells(&mut self, body: &mut Body, element: &Element) -> Result<(), ScanError> {
        body.check_room(element)?;
        let mut cells = Vec::with_capacity(element.count);
        for _ in 0..element.count {
            let mut cell = None;
            for property in &element.properties {
                let length = body.list_length(property)?;
                for _ in 0..length {
                    cell = Some(to_index(body.next(property.scalar)?));
                }
            }
            cells.push(cell);
        }
        self.cells = Some(cells);
        Ok(())
    }

    fn into_raw(
        self,
        source: Source,
        header: &Header,
        grid: Option<(usize, usize)>,
    ) -> Result<RawScan, ScanError> {
        let encoding = match header.encoding {
            Encoding::Ascii => "ascii",
            Encoding::Little => "binary little-endian",
            Encoding::Big => "binary big-endian",
        };
        let (points, colors) = match &self.cells {
            Some(cells) => self.spread(source, cells)?,
            None => (self.points, self.colors),
        };
        if points.is_empty() {
            return Err(ScanError::NothingMeasured(source.details("0 points", "a cloud")));
        }
        if let Some((height, width)) = grid.filter(|(h, w)| h * w != points.len()) {
            let found = format!("{} points for {height} rows and {width} columns", points.len());
            let expected = "a vertex or range_grid entry for every pixel";
            return Err(ScanError::NotOrganized(source.details(found, expected)));
        }
        let layout = match grid {
            Some((height, width)) => format!("{height} rows, {width} columns"),
            None => format!("{} vertices, and no rows and columns in obj_info or a comment", points.len()),
        };
        Ok(RawScan { format: Format::Ply, encoding: encoding.into(), grid, layout, points, colors })
    }

    /// Puts the vertices onto their pixels.
    fn spread(&self, source: Source, cells: &[Option<usize>]) -> Result<Spread, ScanError> {
        if let Some(wrong) = cells.iter().flatten().find(|i| **i >= self.points.len()) {
            let found = format!("vertex {wrong} in the range_grid");
            return Err(source.malformed(found, format!("one of {} vertices", self.points.len())));
        }
        let points = cells.iter().map(|c| c.map_or([f32::NAN; 3], |i| self.points[i])).collect();
        let colors = self.colors.as_ref();
        let colors = colors.map(|colors| cells.iter().map(|c| c.map_or([0; 3], |i| colors[i])).collect());
        Ok((points, colors))
    }
}

/// Points and colours per pixel.
type Spread = (Vec<[f32; 3]>, Option<Vec<[u8; 3]>>);

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is clamped first")]
fn to_channel(share: f64) -> u8 {
    (share.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// A negative or broken index becomes one that no vertex has.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
fn to_index(value: f64) -> usize {
    if value >= 0.0 { value as usize } else { usize::MAX }
}

/// The values after the header, one after the other.
struct Body<'a> {
    source: Source<'a>,
    encoding: Encoding,
    words: std::str::SplitAsciiWhitespace<'a>,
    at: usize,
}

impl<'a> Body<'a> {
    fn new(source: Source<'a>, header: &Header) -> Result<Self, ScanError> {
        let text = if header.encoding == Encoding::Ascii { &source.bytes[header.data_start..] } else { &[] };
        let text = str::from_utf8(text).map_err(|e| {
            source.malformed(
                format!("a byte that is no text at {}", header.data_start + e.valid_up_to()),
                "ascii",
            )
        })?;
        let words = text.split_ascii_whitespace();
        Ok(Self { source, encoding: header.encoding, words, at: header.data_start })
    }

    /// The rows of an element need at least so many bytes: checked before they are allocated.
    fn check_room(&self, element: &Element) -> Result<(), ScanError> {
        if element.properties.is_empty() {
            return Err(self
                .source
                .malformed(format!("element {} without properties", element.name), "properties"));
        }
        let least = |p: &Property| match self.encoding {
            Encoding::Ascii => 2,
            _ => p.list.unwrap_or(p.scalar).size(),
        };
        let row: usize = element.properties.iter().map(least).sum();
        self.source.require(self.at as u128 + element.count as u128 * row as u128)
    }

    fn next(&mut self, scalar: Scalar) -> Result<f64, ScanError> {
        let value = match self.encoding {
            Encoding::Ascii => match self.words.next() {
                Some(word) => word.parse().map_err(|_| {
                    let word: String = word.chars().take(20).collect();
                    self.source.malformed(format!("{word:?} in the data"), "a number")
                })?,
                None => {
                    let found = format!("the end at byte {} within the data", self.source.bytes.len());
                    return Err(ScanError::Truncated(
                        self.source.details(found, "all elements of the header"),
                    ));
                }
            },
            _ => {
                self.source.require(self.at as u128 + scalar.size() as u128)?;
                let big_endian = self.encoding == Encoding::Big;
                scalar.read(&self.source.bytes[self.at..], big_endian).unwrap_or(f64::NAN)
            }
        };
        if self.encoding != Encoding::Ascii {
            self.at += scalar.size();
        }
        Ok(value)
    }

    /// Number of values of a property: one, or a list's length.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    fn list_length(&mut self, property: &Property) -> Result<usize, ScanError> {
        let Some(length) = property.list else { return Ok(1) };
        let length = self.next(length)?;
        if (0.0..=LIST_MAX).contains(&length) {
            return Ok(length as usize);
        }
        Err(self.source.malformed(format!("a list of {length} values"), format!("at most {LIST_MAX}")))
    }

    fn skip_property(&mut self, property: &Property) -> Result<(), ScanError> {
        for _ in 0..self.list_length(property)? {
            self.next(property.scalar)?;
        }
        Ok(())
    }

    fn skip(&mut self, element: &Element) -> Result<(), ScanError> {
        self.check_room(element)?;
        for _ in 0..element.count {
            for property in &element.properties {
                self.skip_property(property)?;
            }
        }
        Ok(())
    }

    /// Nothing may be left over in text, and its last number must be whole.
    fn finish(mut self) -> Result<(), ScanError> {
        if self.encoding != Encoding::Ascii {
            return Ok(());
        }
        if self.words.next().is_some() {
            return Err(self.source.malformed("more values than the header announces", "no more"));
        }
        self.source.require_last_line()
    }
}
