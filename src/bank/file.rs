//! The bank file: a 64-byte header of our own, then a bincode payload.
//!
//! bincode is unmaintained and a forged length makes its collections allocate what it claims,
//! so it is named in this file only, decodes single numbers and length-checked arrays, and
//! always under a limit. Reading checks in this order: header, length, sha256, then every
//! count against the bytes that are left before anything is allocated for it.
//!
//! All numbers are little-endian.
//!
//! ```text
//! offset  bytes  header
//!      0      8  magic "ZALBANK1"
//!      8      4  format version, 1
//!     12      4  dims: columns of a row
//!     16      4  rows
//!     20      4  data type of the rows: 1 = f32, 2 = f16 (IEEE 754 binary16)
//!     24      8  payload length in bytes
//!     32     32  sha256 of the payload
//!
//!     64         payload (bincode 2, fixed-size integers)
//!             8  number of blocks, then for each block
//!             4    branch: 0 = rgb, 1 = fpfh, 2 = point
//!             8    dims
//!             4    mean norm, f32
//!             8  number of scans, then for each scan
//!             8    length of its name in bytes
//!             n    its name, UTF-8
//!             8  number of origins (= rows), then for each row
//!             4    scan
//!             2    patch
//!             8  number of values (= rows * dims), then row by row
//!        4 or 2    a value
//! ```
//!
//! Nothing follows the payload.

use std::io::Write;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use half::f16;
use ndarray::Array2;
use sha2::{Digest, Sha256};

use super::{BankError, Block, MemoryBank, RowOrigin, expect_equal, index};
use crate::features::Branch;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"ZALBANK1";
const VERSION: u32 = 1;
/// No number or array of the payload may be longer than this, whatever it claims.
const LIMIT_BYTES: usize = 1 << 32;
const FORMAT: Configuration<LittleEndian, Fixint, Limit<LIMIT_BYTES>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<LIMIT_BYTES>();

/// How descriptors are stored in the file. In memory they are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowDtype {
    /// Exactly as they are.
    F32,
    /// Half the size, 11 bits of precision, magnitudes up to 65,504.
    F16,
}

impl RowDtype {
    const fn code(self) -> u32 {
        match self {
            Self::F32 => 1,
            Self::F16 => 2,
        }
    }

    const fn of_code(found: u32) -> Result<Self, BankError> {
        match found {
            1 => Ok(Self::F32),
            2 => Ok(Self::F16),
            _ => Err(BankError::Code { what: "data type", found, expected: "1 (f32) or 2 (f16)" }),
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// Writes a bank.
///
/// # Errors
/// When a value is too large for `dtype`, a count does not fit the format, or `out` fails.
pub fn write(bank: &MemoryBank, dtype: RowDtype, out: &mut impl Write) -> Result<(), BankError> {
    let dims = u32::try_from(bank.rows.ncols()).map_err(|_| too_many("columns", bank.rows.ncols()))?;
    let rows = u32::try_from(bank.rows.nrows()).map_err(|_| too_many("rows", bank.rows.nrows()))?;
    let payload = encode_payload(bank, dtype)?;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(MAGIC);
    for number in [VERSION, dims, rows, dtype.code()] {
        header.extend(number.to_le_bytes());
    }
    header.extend((payload.len() as u64).to_le_bytes());
    header.extend(Sha256::digest(&payload));
    let failed = |error: std::io::Error| BankError::Write { reason: error.to_string() };
    out.write_all(&header).map_err(failed)?;
    out.write_all(&payload).map_err(failed)?;
    out.flush().map_err(failed)
}

/// Reads a bank from the whole of its file.
///
/// # Errors
/// When the bytes are not exactly one well-formed bank file of a known version.
pub fn read(bytes: &[u8]) -> Result<MemoryBank, BankError> {
    let (header, payload) = read_header(bytes)?;
    if Sha256::digest(payload)[..] != header.sha256 {
        return Err(BankError::Checksum);
    }
    decode_payload(&header, &mut Payload { left: payload })
}

struct Header {
    dims: usize,
    rows: usize,
    dtype: RowDtype,
    sha256: [u8; 32],
}

fn read_header(bytes: &[u8]) -> Result<(Header, &[u8]), BankError> {
    let magic: [u8; 8] = header_field(bytes, 0)?;
    if magic != MAGIC {
        return Err(BankError::Magic { found: magic, expected: MAGIC });
    }
    let version = u32::from_le_bytes(header_field(bytes, 8)?);
    if version != VERSION {
        return Err(BankError::Version { found: version, expected: VERSION });
    }
    let dims = index(u32::from_le_bytes(header_field(bytes, 12)?));
    let rows = index(u32::from_le_bytes(header_field(bytes, 16)?));
    let dtype = RowDtype::of_code(u32::from_le_bytes(header_field(bytes, 20)?))?;
    let payload_bytes = u64::from_le_bytes(header_field(bytes, 24)?);
    let sha256 = header_field(bytes, 32)?;
    let payload = &bytes[HEADER_BYTES..];
    let found = payload.len() as u64;
    if found < payload_bytes {
        return Err(BankError::Truncated { what: "the payload", found, expected: payload_bytes });
    }
    expect_equal("bytes after the header", found, payload_bytes)?;
    Ok((Header { dims, rows, dtype, sha256 }, payload))
}

fn header_field<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], BankError> {
    let field = bytes.get(offset..offset + N).and_then(|field| field.try_into().ok());
    let found = bytes.len() as u64;
    field.ok_or(BankError::Truncated { what: "the header", found, expected: HEADER_BYTES as u64 })
}

fn decode_payload(header: &Header, payload: &mut Payload) -> Result<MemoryBank, BankError> {
    let blocks = decode_blocks(payload)?;
    let dims = blocks.iter().fold(0_usize, |sum, block| sum.saturating_add(block.dims));
    expect_equal("dims in the header", header.dims as u64, dims as u64)?;
    let scans = decode_scans(payload)?;
    let origins = decode_origins(payload, header.rows)?;
    let rows = decode_rows(header, payload)?;
    expect_equal("bytes after the last value", payload.left.len() as u64, 0)?;
    MemoryBank::new(blocks, rows, origins, scans)
}

fn decode_blocks(payload: &mut Payload) -> Result<Vec<Block>, BankError> {
    let count = payload.count("blocks", 16)?;
    (0..count)
        .map(|_| {
            let branch = branch_of_code(payload.number("branch")?)?;
            let dims: u64 = payload.number("block dims")?;
            let dims = usize::try_from(dims).map_err(|_| too_many("columns of a block", usize::MAX))?;
            Ok(Block { branch, dims, mean_norm: payload.number("mean norm")? })
        })
        .collect()
}

fn decode_scans(payload: &mut Payload) -> Result<Vec<String>, BankError> {
    let count = payload.count("scans", 8)?;
    (0..count)
        .map(|_| {
            let length = payload.count("scan name", 1)?;
            let name = payload.take("scan name", length)?.to_vec();
            String::from_utf8(name)
                .map_err(|error| BankError::Decode { what: "scan name", reason: error.to_string() })
        })
        .collect()
}

fn decode_origins(payload: &mut Payload, rows: usize) -> Result<Vec<RowOrigin>, BankError> {
    let count = payload.count("origins", 6)?;
    expect_equal("rows in the header", rows as u64, count as u64)?;
    (0..count)
        .map(|_| {
            Ok(RowOrigin { scan: payload.number("origin's scan")?, patch: payload.number("origin's patch")? })
        })
        .collect()
}

fn decode_rows(header: &Header, payload: &mut Payload) -> Result<Array2<f32>, BankError> {
    let count = payload.count("values", header.dtype.bytes())?;
    let expected = (header.rows as u64).saturating_mul(header.dims as u64);
    expect_equal("values of the rows", count as u64, expected)?;
    let bytes = payload.take("values", count * header.dtype.bytes())?;
    let values = match header.dtype {
        RowDtype::F32 => bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect(),
        RowDtype::F16 => {
            bytes.as_chunks::<2>().0.iter().map(|value| f16::from_le_bytes(*value).to_f32()).collect()
        }
    };
    Array2::from_shape_vec((header.rows, header.dims), values)
        .map_err(|error| BankError::Decode { what: "values", reason: error.to_string() })
}

/// The payload that is left to read.
struct Payload<'a> {
    left: &'a [u8],
}

impl<'a> Payload<'a> {
    fn number<T: bincode::Decode<()>>(&mut self, what: &'static str) -> Result<T, BankError> {
        let (number, read) = bincode::decode_from_slice::<T, _>(self.left, FORMAT).map_err(|error| {
            let (found, expected) = (self.left.len() as u64, size_of::<T>() as u64);
            if found < expected {
                BankError::Truncated { what, found, expected }
            } else {
                BankError::Decode { what, reason: error.to_string() }
            }
        })?;
        self.left = &self.left[read..];
        Ok(number)
    }

    /// A count of items of at least `item_bytes` each, refused when they cannot all follow.
    fn count(&mut self, what: &'static str, item_bytes: usize) -> Result<usize, BankError> {
        let count: u64 = self.number(what)?;
        let (found, expected) = (self.left.len() as u64, count.saturating_mul(item_bytes as u64));
        if found < expected {
            return Err(BankError::Truncated { what, found, expected });
        }
        usize::try_from(count).map_err(|_| too_many(what, usize::MAX))
    }

    fn take(&mut self, what: &'static str, bytes: usize) -> Result<&'a [u8], BankError> {
        let (found, expected) = (self.left.len() as u64, bytes as u64);
        let (taken, left) =
            self.left.split_at_checked(bytes).ok_or(BankError::Truncated { what, found, expected })?;
        self.left = left;
        Ok(taken)
    }
}

fn encode_payload(bank: &MemoryBank, dtype: RowDtype) -> Result<Vec<u8>, BankError> {
    let mut payload = Vec::with_capacity(bank.rows.len() * dtype.bytes() + bank.origins.len() * 6 + 4096);
    put(&mut payload, bank.blocks.len() as u64)?;
    for block in &bank.blocks {
        put(&mut payload, code_of_branch(block.branch))?;
        put(&mut payload, block.dims as u64)?;
        put(&mut payload, block.mean_norm)?;
    }
    put(&mut payload, bank.scans.len() as u64)?;
    for scan in &bank.scans {
        put(&mut payload, scan.as_str())?;
    }
    put(&mut payload, bank.origins.len() as u64)?;
    for origin in &bank.origins {
        put(&mut payload, origin.scan)?;
        put(&mut payload, origin.patch)?;
    }
    put(&mut payload, bank.rows.len() as u64)?;
    match dtype {
        RowDtype::F32 => bank.rows.iter().for_each(|value| payload.extend(value.to_le_bytes())),
        RowDtype::F16 => encode_f16(bank, &mut payload)?,
    }
    Ok(payload)
}

fn encode_f16(bank: &MemoryBank, payload: &mut Vec<u8>) -> Result<(), BankError> {
    for ((row, column), &found) in bank.rows.indexed_iter() {
        let value = f16::from_f32(found);
        if !value.is_finite() {
            return Err(BankError::Value { row, column, found, limit: f16::MAX.to_f32() });
        }
        payload.extend(value.to_le_bytes());
    }
    Ok(())
}

fn put(payload: &mut Vec<u8>, value: impl bincode::Encode) -> Result<(), BankError> {
    bincode::encode_into_std_write(value, payload, FORMAT)
        .map(|_| ())
        .map_err(|error| BankError::Write { reason: error.to_string() })
}

const fn code_of_branch(branch: Branch) -> u32 {
    match branch {
        Branch::Rgb => 0,
        Branch::Fpfh => 1,
        Branch::Point => 2,
    }
}

const fn branch_of_code(found: u32) -> Result<Branch, BankError> {
    match found {
        0 => Ok(Branch::Rgb),
        1 => Ok(Branch::Fpfh),
        2 => Ok(Branch::Point),
        _ => Err(BankError::Code { what: "branch", found, expected: "0 (rgb), 1 (fpfh) or 2 (point)" }),
    }
}

const fn too_many(what: &'static str, found: usize) -> BankError {
    BankError::Mismatch { what, found: found as u64, expected: u32::MAX as u64 }
}
