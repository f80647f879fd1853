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

/// A procedural part with its colours, as organised PLY: it takes the detector its time.
pub fn slow() -> Vec<u8> {
    let params = SynthParams { height: 400, width: 400, ..SynthParams::new(Family::Ring, 1) };
    let scan = zal::synth::generate(&params).scan;
    let mut bytes = b"ply\nformat binary_little_endian 1.0\nobj_info num_cols 400\nobj_info num_rows 400\n\
        element vertex 160000\nproperty float x\nproperty float y\nproperty float z\n\
        property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
        .to_vec();
    let colors = scan.color.expect("procedural scans have colour").pixels;
    for (point, color) in scan.cloud.points().iter().zip(colors) {
        bytes.extend(point.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(color);
    }
    bytes
}
