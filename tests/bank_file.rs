//! The bank file format, from outside: round trips, and one test per rejection.

use half::f16;
use ndarray::Array2;
use sha2::{Digest, Sha256};
use zal::bank::file::{HEADER_BYTES, RowDtype, read, write};
use zal::bank::{BankError, Block, MemoryBank, RowOrigin};
use zal::features::Branch;

fn sample() -> MemoryBank {
    let blocks = vec![
        Block { branch: Branch::Rgb, dims: 3, mean_norm: 2.5 },
        Block { branch: Branch::Fpfh, dims: 2, mean_norm: 130.0 },
    ];
    let rows = Array2::from_shape_fn((4, 5), |(row, column)| {
        let at = f32::from(u8::try_from(row * 5 + column).expect("small"));
        (at * 0.37).sin() * 10.0_f32.powi(i32::try_from(column).expect("small") - 2)
    });
    let origins =
        [(0, 0), (0, 783), (1, 5), (2, 400)].map(|(scan, patch)| RowOrigin { scan, patch }).to_vec();
    let scans = vec!["good/000".into(), "good/001".into(), "größer/2".into()];
    MemoryBank::new(blocks, rows, origins, scans).expect("the parts fit")
}

fn bytes_of(bank: &MemoryBank, dtype: RowDtype) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(bank, dtype, &mut bytes).expect("a vector takes everything");
    bytes
}

/// Replaces payload bytes and makes length and sha256 right again, as a forger would.
fn forge(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[HEADER_BYTES + at..][..new.len()].copy_from_slice(new);
    seal(bytes)
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let payload_bytes = (bytes.len() - HEADER_BYTES) as u64;
    bytes[24..32].copy_from_slice(&payload_bytes.to_le_bytes());
    let sum = Sha256::digest(&bytes[HEADER_BYTES..]);
    bytes[32..64].copy_from_slice(&sum);
    bytes
}

// Offsets in the sample's payload, by the drawing in the format's documentation.
const BLOCK_COUNT: usize = 0;
const FIRST_BRANCH: usize = 8;
const FIRST_DIMS: usize = 12;
const FIRST_MEAN_NORM: usize = 20;
const SCAN_COUNT: usize = 8 + 2 * 16;
const FIRST_NAME_LENGTH: usize = SCAN_COUNT + 8;
const FIRST_NAME: usize = FIRST_NAME_LENGTH + 8;
const ORIGIN_COUNT: usize = SCAN_COUNT + 8 + 3 * 8 + "good/000good/001größer/2".len();
const FIRST_ORIGIN: usize = ORIGIN_COUNT + 8;
const VALUE_COUNT: usize = FIRST_ORIGIN + 4 * 6;
const FIRST_VALUE: usize = VALUE_COUNT + 8;

#[test]
fn f32_round_trips_exactly() {
    let bank = sample();
    let bytes = bytes_of(&bank, RowDtype::F32);
    assert_eq!(bytes.len(), HEADER_BYTES + FIRST_VALUE + 4 * 20, "the drawn layout");
    assert_eq!(read(&bytes), Ok(bank));
}

#[test]
fn f16_round_trips_within_half_precision() {
    let bank = sample();
    let bytes = bytes_of(&bank, RowDtype::F16);
    assert_eq!(bytes.len(), HEADER_BYTES + FIRST_VALUE + 2 * 20, "the drawn layout");
    let back = read(&bytes).expect("just written");
    assert_eq!((&back.blocks, &back.origins, &back.scans), (&bank.blocks, &bank.origins, &bank.scans));
    for (found, expected) in back.rows.iter().zip(&bank.rows) {
        // 11 bits of precision: half a unit in the last place, or half the smallest subnormal.
        assert!((found - expected).abs() <= expected.abs() / 2048.0 + 3e-8, "{found} for {expected}");
    }
    // Halving is done once: a second trip changes nothing.
    assert_eq!(read(&bytes_of(&back, RowDtype::F16)), Ok(back));
}

#[test]
fn the_layout_is_the_documented_one() {
    let bytes = bytes_of(&sample(), RowDtype::F32);
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(&bytes[..8], b"ZALBANK1");
    assert_eq!([8, 12, 16, 20].map(number), [1, 5, 4, 1], "version, dims, rows, f32");
    let payload = HEADER_BYTES;
    assert_eq!([BLOCK_COUNT, FIRST_BRANCH, FIRST_DIMS].map(|at| number(payload + at)), [2, 0, 3]);
    assert_eq!(&bytes[payload + FIRST_NAME..][..8], b"good/000");
    assert_eq!([SCAN_COUNT, ORIGIN_COUNT, VALUE_COUNT].map(|at| number(payload + at)), [3, 4, 20]);
}

#[test]
fn a_value_beyond_half_precision_is_refused_on_writing() {
    let mut bank = sample();
    bank.rows[[2, 1]] = 70_000.0;
    let error = write(&bank, RowDtype::F16, &mut Vec::new()).expect_err("65,504 is the largest half");
    assert_eq!(error, BankError::Value { row: 2, column: 1, found: 70_000.0, limit: f16::MAX.to_f32() });
}

#[test]
fn truncated_at_every_length_is_an_error() {
    for dtype in [RowDtype::F32, RowDtype::F16] {
        let bytes = bytes_of(&sample(), dtype);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_resealed_payload_truncated_at_every_length_is_an_error() {
    let bytes = bytes_of(&sample(), RowDtype::F32);
    for length in HEADER_BYTES..bytes.len() {
        let error = read(&seal(bytes[..length].to_vec())).expect_err("bytes are missing");
        assert!(matches!(error, BankError::Truncated { .. }), "{length}: {error}");
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = bytes_of(&sample(), RowDtype::F32);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(&damaged).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn bytes_after_the_end_are_an_error() {
    let mut bytes = bytes_of(&sample(), RowDtype::F32);
    bytes.push(0);
    assert!(matches!(read(&bytes), Err(BankError::Mismatch { .. })));
    assert!(matches!(
        read(&seal(bytes)),
        Err(BankError::Mismatch { what: "bytes after the last value", .. })
    ));
}

#[test]
fn forged_counts_are_refused_before_they_allocate() {
    let bytes = bytes_of(&sample(), RowDtype::F32);
    for at in [BLOCK_COUNT, SCAN_COUNT, FIRST_NAME_LENGTH, ORIGIN_COUNT, VALUE_COUNT] {
        // A claim of this size would end the process if it were believed.
        for count in [u64::MAX, 1 << 62, 1 << 40] {
            let error = read(&forge(&bytes, at, &count.to_le_bytes())).expect_err("nothing follows");
            assert!(matches!(error, BankError::Truncated { .. }), "{at}: {error}");
        }
    }
    for (at, value) in [(FIRST_DIMS, u64::MAX), (FIRST_DIMS, 4), (ORIGIN_COUNT, 3), (VALUE_COUNT, 19)] {
        assert!(read(&forge(&bytes, at, &value.to_le_bytes())).is_err(), "{value} at {at}");
    }
}

#[test]
fn a_forged_header_that_claims_a_giant_bank_is_refused() {
    let mut bytes = bytes_of(&sample(), RowDtype::F32);
    bytes[12..20].fill(0xff);
    assert!(matches!(read(&bytes), Err(BankError::Mismatch { what: "dims in the header", .. })));
    let mut bytes = bytes_of(&sample(), RowDtype::F32);
    bytes[16..20].fill(0xff);
    assert!(matches!(read(&bytes), Err(BankError::Mismatch { what: "rows in the header", .. })));
}

#[test]
fn every_rejection_names_what_was_found() {
    let bytes = bytes_of(&sample(), RowDtype::F32);
    let mut magic = bytes.clone();
    magic[0] = b'X';
    assert!(matches!(read(&magic), Err(BankError::Magic { found, .. }) if found == *b"XALBANK1"));
    let mut version = bytes.clone();
    version[8] = 9;
    assert_eq!(read(&version), Err(BankError::Version { found: 9, expected: 1 }));
    let mut dtype = bytes.clone();
    dtype[20] = 7;
    assert!(matches!(read(&dtype), Err(BankError::Code { what: "data type", found: 7, .. })));
    let mut checksum = bytes.clone();
    checksum[40] ^= 1;
    assert_eq!(read(&checksum), Err(BankError::Checksum));
    assert!(matches!(read(b"ZALBANK1"), Err(BankError::Truncated { what: "the header", found: 8, .. })));
}

#[test]
fn every_field_of_the_payload_is_checked() {
    let bytes = bytes_of(&sample(), RowDtype::F32);
    let found = |at: usize, new: &[u8]| read(&forge(&bytes, at, new)).expect_err("forged");
    assert!(matches!(found(FIRST_BRANCH, &[9]), BankError::Code { what: "branch", found: 9, .. }));
    assert_eq!(found(FIRST_BRANCH, &[1]), BankError::DuplicateBranch(Branch::Fpfh));
    let nan = f32::NAN.to_le_bytes();
    assert!(matches!(found(FIRST_MEAN_NORM, &nan), BankError::MeanNorm { branch: Branch::Rgb, .. }));
    assert!(matches!(found(FIRST_MEAN_NORM, &[0; 4]), BankError::MeanNorm { .. }));
    assert!(matches!(found(FIRST_NAME, &[0xff]), BankError::Decode { what: "scan name", .. }));
    let scan = found(FIRST_ORIGIN, &3_u32.to_le_bytes());
    assert_eq!(scan, BankError::Origin { row: 0, what: "scan", found: 3, limit: 3 });
    let patch = found(FIRST_ORIGIN + 4, &784_u16.to_le_bytes());
    assert_eq!(patch, BankError::Origin { row: 0, what: "patch", found: 784, limit: 784 });
    assert!(matches!(found(FIRST_VALUE + 4, &nan), BankError::Value { row: 0, column: 1, .. }));
}
