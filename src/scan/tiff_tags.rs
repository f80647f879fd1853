//! The first directory of a TIFF file, read for the intake checks alone.
//!
//! The decoder of the `tiff` crate answers a planar file with its first plane and no error,
//! and trusts sizes and offsets longer than a daemon should. So the tags that matter are
//! read here first, every one against the file's length, and only then the decoder runs.
//!
//! ```text
//! TIFF     0 2 'II' or 'MM'   2 2 42   4 4 offset of the directory
//! BigTIFF  0 2 'II' or 'MM'   2 2 43   4 2 8   6 2 0   8 8 offset of the directory
//! directory: count (u16; BigTIFF u64), entries, offset of the next directory
//! entry: tag u16, type u16, count u32 (u64), value or its offset in 4 (8) bytes
//! ```

use super::error::ScanError;
use super::source::{Scalar, Source};

/// Most entries of a directory that are read.
const ENTRIES_MAX: u64 = 512;
/// Most pages counted.
const PAGES_MAX: usize = 65_536;

/// The tags wanted, by number.
pub(crate) mod tag {
    pub(crate) const WIDTH: u16 = 256;
    pub(crate) const HEIGHT: u16 = 257;
    pub(crate) const BITS: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const STRIP_OFFSETS: u16 = 273;
    pub(crate) const SAMPLES: u16 = 277;
    pub(crate) const ROWS_PER_STRIP: u16 = 278;
    pub(crate) const STRIP_BYTES: u16 = 279;
    pub(crate) const PLANAR: u16 = 284;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_HEIGHT: u16 = 323;
    pub(crate) const TILE_OFFSETS: u16 = 324;
    pub(crate) const TILE_BYTES: u16 = 325;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
}

/// Whether the bytes start as TIFF or BigTIFF.
pub(crate) fn is_tiff(bytes: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| bytes.starts_with(*magic))
}

/// A tag and its values.
type Entry = (u16, Vec<u64>);

/// The first directory.
#[derive(Debug)]
pub(crate) struct Tags {
    pub(crate) big_tiff: bool,
    /// Directories in the file.
    pub(crate) pages: usize,
    entries: Vec<Entry>,
}

impl Tags {
    /// Reads the first directory and counts the others.
    pub(crate) fn read(source: Source) -> Result<Self, ScanError> {
        let reader = Reader::new(source)?;
        let (entries, mut next) = reader.directory(reader.first)?;
        let mut pages = 1;
        let mut last = reader.first;
        while next != 0 && pages < PAGES_MAX {
            pages += 1;
            // Writers append directories; a chain that goes back may be a loop and ends here.
            if next <= last {
                break;
            }
            last = next;
            next = reader.next_of(next)?;
        }
        Ok(Self { big_tiff: reader.big_tiff, pages, entries })
    }

    /// All values of a tag; empty when it is missing.
    pub(crate) fn all(&self, tag: u16) -> &[u64] {
        self.entries.iter().find(|(t, _)| *t == tag).map_or(&[], |(_, values)| values.as_slice())
    }

    /// The first value of a tag.
    pub(crate) fn first(&self, tag: u16) -> Option<u64> {
        self.all(tag).first().copied()
    }
}

struct Reader<'a> {
    source: Source<'a>,
    big_endian: bool,
    big_tiff: bool,
    /// Offset of the first directory.
    first: u64,
}

impl<'a> Reader<'a> {
    fn new(source: Source<'a>) -> Result<Self, ScanError> {
        let big_endian = source.bytes.starts_with(b"MM");
        let mut reader = Self { source, big_endian, big_tiff: false, first: 0 };
        reader.big_tiff = reader.number(Scalar::U16, 2)? == 43;
        reader.first =
            if reader.big_tiff { reader.number(Scalar::U64, 8)? } else { reader.number(Scalar::U32, 4)? };
        Ok(reader)
    }

    /// An unsigned number at an offset.
    fn number(&self, scalar: Scalar, at: u64) -> Result<u64, ScanError> {
        self.source.require(u128::from(at) + scalar.size() as u128)?;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let mut wide = [0; 8];
        let bytes = &self.source.bytes[at..at + scalar.size()];
        if self.big_endian {
            wide[8 - scalar.size()..].copy_from_slice(bytes);
            Ok(u64::from_be_bytes(wide))
        } else {
            wide[..scalar.size()].copy_from_slice(bytes);
            Ok(u64::from_le_bytes(wide))
        }
    }

    /// Count of entries of the directory at `at`, and where they start.
    fn entry_count(&self, at: u64) -> Result<(u64, u64), ScanError> {
        let (scalar, size) = if self.big_tiff { (Scalar::U64, 8) } else { (Scalar::U16, 2) };
        let count = self.number(scalar, at)?;
        if count > ENTRIES_MAX {
            let found = format!("{count} tags in a directory");
            return Err(self.source.malformed(found, format!("at most {ENTRIES_MAX}")));
        }
        Ok((count, at + size))
    }

    const fn entry_size(&self) -> u64 {
        if self.big_tiff { 20 } else { 12 }
    }

    /// Offset of the directory after the one at `at`; 0 when there is none.
    fn next_of(&self, at: u64) -> Result<u64, ScanError> {
        let (count, start) = self.entry_count(at)?;
        let scalar = if self.big_tiff { Scalar::U64 } else { Scalar::U32 };
        self.number(scalar, start + count * self.entry_size())
    }

    /// The whole-number tags of the directory at `at`, and the offset of the next directory.
    fn directory(&self, at: u64) -> Result<(Vec<Entry>, u64), ScanError> {
        let next = self.next_of(at)?;
        let (count, start) = self.entry_count(at)?;
        let mut entries = Vec::new();
        for i in 0..count {
            let entry = start + i * self.entry_size();
            let tag = u16::try_from(self.number(Scalar::U16, entry)?).unwrap_or(0);
            if let Some(values) = self.values(entry)? {
                entries.push((tag, values));
            }
        }
        Ok((entries, next))
    }

    /// The values of an entry; `None` for types that are no whole numbers.
    fn values(&self, entry: u64) -> Result<Option<Vec<u64>>, ScanError> {
        let scalar = match self.number(Scalar::U16, entry + 2)? {
            1 => Scalar::U8,
            3 => Scalar::U16,
            4 | 13 => Scalar::U32,
            16 | 18 => Scalar::U64,
            _ => return Ok(None),
        };
        let (size_type, inline) = if self.big_tiff { (Scalar::U64, 8) } else { (Scalar::U32, 4) };
        let count = self.number(size_type, entry + 4)?;
        let field = entry + 4 + size_type.size() as u64;
        let bytes = u128::from(count) * scalar.size() as u128;
        let start = if bytes <= inline { field } else { self.number(size_type, field)? };
        self.source.require(u128::from(start) + bytes)?;
        (0..count)
            .map(|i| self.number(scalar, start + i * scalar.size() as u64))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}
