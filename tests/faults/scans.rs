//! Scan files: a quick one, a slow one, and pieces for bad ones.

use zal::synth::{Family, SynthParams};

/// A `.npy` header of version 1 for any description, as NumPy pads it.
pub fn npy(description: &str, payload: &[u8]) -> Vec<u8> {
    let mut header = description.to_owned();
    header.push_str(&" ".repeat((64 - (11 + header.len()) % 64) % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(payload);
    bytes
}

/// A `.npy` of f32 points on a grid.
pub fn npy_of(height: usize, width: usize, point: impl Fn(usize, usize) -> [f32; 3]) -> Vec<u8> {
    let description =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}, 3), }}");
    npy(&description, &payload(height, width, point))
}

/// The values of such a file.
pub fn payload(height: usize, width: usize, point: impl Fn(usize, usize) -> [f32; 3]) -> Vec<u8> {
    let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
    pixels.flat_map(|(row, column)| point(row, column).into_iter().flat_map(f32::to_le_bytes)).collect()
}

/// A point of a flat table half a metre away, a millimetre a pixel.
pub fn table(row: usize, column: usize) -> [f32; 3] {
    let metres = |index: usize| f32::from(u16::try_from(index).unwrap()) * 1e-3;
    [metres(column), metres(row), 0.5]
}

/// Quickly read, quickly answered `not_decidable`: a table without a part.
pub fn quick() -> Vec<u8> {
    npy_of(32, 32, table)
}

/// A procedural part, which takes the detector its time.
pub fn slow() -> Vec<u8> {
    let params = SynthParams { height: 400, width: 400, ..SynthParams::new(Family::Ring, 1) };
    let scan = zal::synth::generate(&params).scan;
    let points = scan.cloud.points();
    npy_of(400, 400, |row, column| points[row * 400 + column])
}
