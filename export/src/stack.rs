//! A stack of images in a `.npy` file, `[n, height, width]`, read one image at a time: other people's anomaly maps and
//! masks, however many there are.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use half::f16;
use zal::scan::npy::{self, Dict};

/// Type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sample {
    F16,
    F32,
    F64,
    Signed(usize),
    /// Also true and false.
    Unsigned(usize),
}

impl Sample {
    const fn size_bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Signed(size) | Self::Unsigned(size) => size,
        }
    }

    const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// Type and byte order of NumPy's `descr`, such as `<f4`.
    fn parse(descr: &str) -> Option<(Self, bool)> {
        let (order, kind) = descr.split_at_checked(1)?;
        let sample = match kind {
            "f2" => Self::F16,
            "f4" => Self::F32,
            "f8" => Self::F64,
            "i1" | "i2" | "i4" | "i8" => Self::Signed(kind[1..].parse().ok()?),
            "b1" | "u1" | "u2" | "u4" | "u8" => Self::Unsigned(kind[1..].parse().ok()?),
            _ => return None,
        };
        match order {
            "<" => Some((sample, false)),
            ">" => Some((sample, true)),
            "|" if sample.size_bytes() == 1 => Some((sample, false)),
            _ => None,
        }
    }
}

/// An open file of images.
#[derive(Debug)]
pub struct Stack {
    path: PathBuf,
    file: File,
    /// Images, rows, columns.
    shape: [usize; 3],
    sample: Sample,
    big_endian: bool,
    data_start: usize,
    bytes: Vec<u8>,
}

impl Stack {
    /// Opens a file and checks that it is whole.
    ///
    /// # Errors
    /// Names the file, what was found and what was expected.
    pub fn open(path: &Path) -> Result<Self> {
        Self::try_open(path).with_context(|| format!("{} cannot be used", path.display()))
    }

    fn try_open(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        let mut head = Vec::new();
        Read::by_ref(&mut file).take(npy::HEAD_BYTES_MAX as u64).read_to_end(&mut head)?;
        let Dict { descr, fortran_order, shape, data_start } = npy::read_dict(&head)?;
        let (sample, big_endian) = Sample::parse(&descr)
            .with_context(|| format!("found values of type `{descr}`, expected floats, integers or bool"))?;
        ensure!(
            !fortran_order,
            "found columns-first (Fortran) order, expected rows first: save numpy.ascontiguousarray(...)"
        );
        let shape = images(&shape).with_context(|| {
            format!(
                "found shape {shape:?}, expected [n, height, width], [n, 1, height, width] or [height, width]"
            )
        })?;
        let image_bytes = shape[1].checked_mul(shape[2]).and_then(|n| n.checked_mul(sample.size_bytes()));
        let data_bytes = image_bytes.and_then(|n| n.checked_mul(shape[0]));
        let expected = data_bytes.and_then(|n| n.checked_add(data_start)).map(|n| n as u64);
        let found = file.metadata()?.len();
        if expected != Some(found) {
            let expected = expected.map_or_else(|| "more than any file".into(), |n| n.to_string());
            bail!(
                "found {found} bytes, expected {expected} for shape {shape:?} of {descr}; is the file cut off?"
            );
        }
        Ok(Self { path: path.into(), file, shape, sample, big_endian, data_start, bytes: Vec::new() })
    }

    /// Images, rows and columns.
    #[must_use]
    pub const fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Checks that the values are floats, as scores are.
    ///
    /// # Errors
    /// Names the file and its type.
    pub fn expect_floats(&self) -> Result<()> {
        ensure!(
            self.sample.is_float(),
            "{}: found {:?} values, expected scores as f32, f64 or f16",
            self.path.display(),
            self.sample
        );
        Ok(())
    }

    /// Reads the scores of an image, row-major; f64 is rounded to f32.
    ///
    /// # Errors
    /// When the file cannot be read, or a score is not finite.
    pub fn read_scores(&mut self, index: usize, scores: &mut Vec<f32>) -> Result<()> {
        self.expect_floats()?;
        self.read_bytes(index)?;
        let (bytes, big) = (self.bytes.as_slice(), self.big_endian);
        match self.sample {
            Sample::F16 => decode(bytes, big, scores, |b| f16::from_le_bytes(b).to_f32()),
            Sample::F64 => decode(bytes, big, scores, |b| narrow(f64::from_le_bytes(b))),
            _ => decode(bytes, big, scores, f32::from_le_bytes),
        }
        self.check_finite(index, scores)
    }

    fn check_finite(&self, index: usize, scores: &[f32]) -> Result<()> {
        // The magnitudes are compared as integers, so that the loop over a good image is vectors alone.
        let infinity = f32::INFINITY.to_bits();
        if scores.iter().fold(0, |most, score| most.max(score.to_bits() & infinity)) < infinity {
            return Ok(());
        }
        let pixel = scores.iter().position(|score| !score.is_finite()).unwrap_or_default();
        bail!(
            "{}: found {} in image {index} at row {}, column {}, expected finite scores",
            self.path.display(),
            scores[pixel],
            pixel / self.shape[2],
            pixel % self.shape[2]
        )
    }

    /// Reads which pixels of an image are above 0, row-major.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_marks(&mut self, index: usize, marks: &mut Vec<bool>) -> Result<()> {
        self.read_bytes(index)?;
        let (bytes, big) = (self.bytes.as_slice(), self.big_endian);
        match self.sample {
            Sample::F16 => decode(bytes, big, marks, |b| f16::from_le_bytes(b).to_f32() > 0.0),
            Sample::F32 => decode(bytes, big, marks, |b| f32::from_le_bytes(b) > 0.0),
            Sample::F64 => decode(bytes, big, marks, |b| f64::from_le_bytes(b) > 0.0),
            Sample::Signed(1) => decode(bytes, big, marks, |b| i8::from_le_bytes(b) > 0),
            Sample::Signed(2) => decode(bytes, big, marks, |b| i16::from_le_bytes(b) > 0),
            Sample::Signed(4) => decode(bytes, big, marks, |b| i32::from_le_bytes(b) > 0),
            Sample::Signed(_) => decode(bytes, big, marks, |b| i64::from_le_bytes(b) > 0),
            Sample::Unsigned(1) => decode(bytes, big, marks, |[b]| b > 0),
            Sample::Unsigned(2) => decode(bytes, big, marks, |b| u16::from_le_bytes(b) > 0),
            Sample::Unsigned(4) => decode(bytes, big, marks, |b| u32::from_le_bytes(b) > 0),
            Sample::Unsigned(_) => decode(bytes, big, marks, |b| u64::from_le_bytes(b) > 0),
        }
        Ok(())
    }

    fn read_bytes(&mut self, index: usize) -> Result<()> {
        let [count, height, width] = self.shape;
        assert!(index < count, "image {index} of {count}");
        let size = height * width * self.sample.size_bytes();
        self.bytes.resize(size, 0);
        let start = self.data_start as u64 + index as u64 * size as u64;
        self.file
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.file.read_exact(&mut self.bytes))
            .with_context(|| format!("cannot read image {index} of {}", self.path.display()))
    }
}

/// Images, rows, columns; none when the shape is not one of images.
fn images(shape: &[usize]) -> Option<[usize; 3]> {
    let shape = match *shape {
        [n, height, width] | [n, 1, height, width] => [n, height, width],
        [height, width] => [1, height, width],
        _ => return None,
    };
    shape.iter().all(|len| *len > 0).then_some(shape)
}

/// `convert` takes the bytes of one value, least significant first.
fn decode<const N: usize, T>(bytes: &[u8], big: bool, out: &mut Vec<T>, convert: impl Fn([u8; N]) -> T) {
    let (values, _) = bytes.as_chunks::<N>();
    out.clear();
    if big {
        let reversed = |mut value: [u8; N]| {
            value.reverse();
            value
        };
        out.extend(values.iter().map(|value| convert(reversed(*value))));
    } else {
        out.extend(values.iter().map(|value| convert(*value)));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is asked for")]
const fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as NumPy writes it.
    fn file(folder: &Path, descr: &str, shape: &str, data: &[u8]) -> PathBuf {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).expect("short").to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        let path = folder.join("stack.npy");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    fn scores(path: &Path, index: usize) -> Result<Vec<f32>> {
        let mut scores = Vec::new();
        Stack::open(path)?.read_scores(index, &mut scores).map(|()| scores)
    }

    fn marks(path: &Path, index: usize) -> Vec<bool> {
        let mut marks = Vec::new();
        Stack::open(path).expect("a stack").read_marks(index, &mut marks).expect("read");
        marks
    }

    #[test]
    fn floats_of_every_width_and_order_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let values = [0.5_f64, -2.0, 3.25, 1.0];
        let of = |bytes: &dyn Fn(f64) -> Vec<u8>| values.iter().flat_map(|v| bytes(*v)).collect::<Vec<u8>>();
        let narrow = |v: f64| half::f16::from_f64(v);
        for (descr, data) in [
            ("<f8", of(&|v| v.to_le_bytes().to_vec())),
            (">f8", of(&|v| v.to_be_bytes().to_vec())),
            ("<f4", of(&|v| super::narrow(v).to_le_bytes().to_vec())),
            (">f4", of(&|v| super::narrow(v).to_be_bytes().to_vec())),
            ("<f2", of(&|v| narrow(v).to_le_bytes().to_vec())),
            (">f2", of(&|v| narrow(v).to_be_bytes().to_vec())),
        ] {
            let path = file(folder.path(), descr, "(2, 1, 2)", &data);
            assert_eq!(scores(&path, 0).expect(descr), [0.5, -2.0], "{descr}");
            assert_eq!(scores(&path, 1).expect(descr), [3.25, 1.0], "{descr}");
            assert_eq!(marks(&path, 0), [true, false], "{descr}");
        }
    }

    #[test]
    fn marks_of_every_integer_are_what_is_above_0() {
        let folder = tempfile::tempdir().expect("a folder");
        for size in [1, 2, 4, 8_usize] {
            for (kind, order) in [("u", "<"), ("u", ">"), ("i", "<"), ("i", ">")] {
                let value = |value: i64| {
                    let bytes = value.to_le_bytes()[..size].to_vec();
                    if order == ">" { bytes.into_iter().rev().collect() } else { bytes }
                };
                let data: Vec<u8> = [0, 1, -2, 0x7f].into_iter().flat_map(value).collect();
                let path = file(folder.path(), &format!("{order}{kind}{size}"), "(1, 2, 2)", &data);
                assert_eq!(marks(&path, 0), [false, true, kind == "u", true], "{order}{kind}{size}");
                assert!(scores(&path, 0).is_err(), "integers are no scores");
            }
        }
        let path = file(folder.path(), "|b1", "(2, 2)", &[1, 0, 0, 1]);
        assert_eq!(marks(&path, 0), [true, false, false, true]);
    }

    #[test]
    fn shapes_of_images_alone_are_taken() {
        assert_eq!(images(&[5, 1, 3, 4]), Some([5, 3, 4]));
        assert_eq!(images(&[3, 4]), Some([1, 3, 4]));
        for shape in [&[][..], &[4], &[5, 3, 3, 4], &[0, 3, 4], &[2, 0, 4]] {
            assert_eq!(images(shape), None, "{shape:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = |descr: &str, shape: &str, data: &[u8]| {
            format!("{:#}", scores(&file(folder.path(), descr, shape, data), 0).expect_err("refused"))
        };
        let nan: Vec<u8> =
            [1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN].iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
        for (descr, shape, data, words) in [
            ("<f4", "(1, 2, 3)", &nan[..], "found NaN in image 0 at row 1, column 2"),
            ("<f4", "(1, 2, 3)", &nan[..23], "bytes, expected"),
            ("<f4", "(1, 2, 2)", &nan[..], "bytes, expected"),
            ("<c8", "(1, 1, 3)", &nan[..], "type `<c8`"),
            ("<f4", "(6,)", &nan[..], "found shape [6]"),
            ("<i4", "(1, 2, 3)", &nan[..], "expected scores as f32"),
        ] {
            let found = refused(descr, shape, data);
            assert!(found.contains(words) && found.contains("stack.npy"), "{words}: {found}");
        }
    }
}
