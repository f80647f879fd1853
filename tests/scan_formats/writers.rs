//! Small writers of the formats, independent of the readers under test.

use std::fmt::Write;

use crate::scene::{HEIGHT, WIDTH};

/// How a PCD file is written.
#[derive(Debug, Clone, Copy)]
pub struct Pcd {
    /// ascii, binary or binary_compressed.
    pub data: &'static str,
    /// 4 or 8.
    pub float_bytes: usize,
    /// Name and TYPE of the packed colour.
    pub color: Option<(&'static str, char)>,
}

impl Pcd {
    pub fn header(self, height: usize, width: usize) -> String {
        let (mut fields, mut size, mut kind) =
            ("x y z".to_owned(), [self.float_bytes.to_string().as_str(); 3].join(" "), "F F F".to_owned());
        // A field that nobody asked for, of another size, between the coordinates and the colour.
        fields += " ring";
        size += " 2";
        kind += " U";
        if let Some((name, t)) = self.color {
            write!(fields, " {name}").expect("a string");
            size += " 4";
            write!(kind, " {t}").expect("a string");
        }
        let count = vec!["1"; fields.split(' ').count()].join(" ");
        format!(
            "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS {fields}\nSIZE {size}\nTYPE {kind}\n\
             COUNT {count}\nWIDTH {width}\nHEIGHT {height}\nVIEWPOINT 1 2 3 1 0 0 0\nPOINTS {}\nDATA {}\n",
            height * width,
            self.data
        )
    }

    pub fn write(self, points: &[[f64; 3]], colors: &[[u8; 3]]) -> Vec<u8> {
        let mut bytes = self.header(HEIGHT, WIDTH).into_bytes();
        let words: Vec<u32> = colors.iter().map(|c| u32::from_be_bytes([255, c[0], c[1], c[2]])).collect();
        match self.data {
            "ascii" => bytes.extend(self.ascii(points, &words).bytes()),
            "binary" => {
                for (point, word) in points.iter().zip(&words) {
                    point.iter().for_each(|c| bytes.extend(self.float(*c)));
                    bytes.extend(7u16.to_le_bytes());
                    bytes.extend(self.color.map(|_| word.to_le_bytes()).into_iter().flatten());
                }
            }
            _ => {
                let columns = self.columns(points, &words);
                let packed = lzf(&columns);
                bytes.extend(u32::try_from(packed.len()).expect("small").to_le_bytes());
                bytes.extend(u32::try_from(columns.len()).expect("small").to_le_bytes());
                bytes.extend(packed);
            }
        }
        bytes
    }

    fn ascii(self, points: &[[f64; 3]], words: &[u32]) -> String {
        let mut text = String::new();
        for (point, word) in points.iter().zip(words) {
            #[expect(clippy::cast_possible_truncation, reason = "an f32 field")]
            let numbers =
                point.map(|c| if self.float_bytes == 4 { (c as f32).to_string() } else { c.to_string() });
            write!(text, "{} 7", numbers.join(" ")).expect("a string");
            match self.color {
                // Opaque alpha would be NaN as a float, so the text form leaves alpha out.
                Some((_, 'F')) => write!(text, " {:e}", f32::from_bits(word & 0x00ff_ffff)),
                Some((_, 'I')) => write!(text, " {}", word.cast_signed()),
                Some(_) => write!(text, " {word}"),
                None => Ok(()),
            }
            .expect("a string");
            text.push('\n');
        }
        text
    }

    fn columns(self, points: &[[f64; 3]], words: &[u32]) -> Vec<u8> {
        let mut columns = Vec::new();
        for axis in 0..3 {
            points.iter().for_each(|p| columns.extend(self.float(p[axis])));
        }
        points.iter().for_each(|_| columns.extend(7u16.to_le_bytes()));
        if self.color.is_some() {
            words.iter().for_each(|w| columns.extend(w.to_le_bytes()));
        }
        columns
    }

    #[expect(clippy::cast_possible_truncation, reason = "an f32 field")]
    fn float(self, value: f64) -> Vec<u8> {
        if self.float_bytes == 4 {
            (value as f32).to_le_bytes().to_vec()
        } else {
            value.to_le_bytes().to_vec()
        }
    }
}

/// An LZF stream: runs of literals, and a back reference wherever 8 bytes repeat 2 bytes before.
fn lzf(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < data.len() {
        if at >= 2 && data.len() - at >= 8 && (0..8).all(|i| data[at + i] == data[at + i - 2]) {
            // Length 8 is written as 8 - 2 in the upper three bits, distance 2 as 2 - 1.
            out.extend([6 << 5, 1]);
            at += 8;
        } else {
            let run = (data.len() - at).min(5);
            out.push(u8::try_from(run - 1).expect("short"));
            out.extend(&data[at..at + run]);
            at += run;
        }
    }
    out
}

/// How a PLY file is written.
#[derive(Debug, Clone, Copy)]
pub struct Ply {
    /// ascii, binary_little_endian or binary_big_endian.
    pub format: &'static str,
    /// float or double.
    pub float: &'static str,
    /// Type of the colour.
    pub color: Option<&'static str>,
    /// Lines that say rows and columns.
    pub size: &'static str,
    /// Only measured vertices, and a range_grid that places them.
    pub range_grid: bool,
}

impl Ply {
    pub fn write(self, points: &[[f64; 3]], colors: &[[u8; 3]]) -> Vec<u8> {
        let kept: Vec<usize> =
            (0..points.len()).filter(|i| !self.range_grid || points[*i][2].is_finite()).collect();
        let mut header = format!("ply\nformat {} 1.0\ncomment by hand\n{}", self.format, self.size);
        // An element before the vertices, with a list, has to be passed over.
        header += "element camera 1\nproperty list uchar int id\nproperty float f\n";
        writeln!(header, "element vertex {}", kept.len()).expect("a string");
        for name in ["x", "y", "z"] {
            writeln!(header, "property {} {name}", self.float).expect("a string");
        }
        header += "property short ring\n";
        if let Some(kind) = self.color {
            for name in ["red", "green", "blue"] {
                writeln!(header, "property {kind} {name}").expect("a string");
            }
        }
        if self.range_grid {
            writeln!(header, "element range_grid {}\nproperty list uchar int vertex_indices", points.len())
                .expect("a string");
        }
        header += "end_header\n";
        let mut out = Numbers {
            big: self.format.ends_with("big_endian"),
            bytes: header.into_bytes(),
            text: self.format == "ascii",
        };
        [("uchar", 2.0), ("int", 5.0), ("int", 6.0), ("float", 0.5)].iter().for_each(|(t, v)| out.put(t, *v));
        out.line();
        for &i in &kept {
            points[i].iter().for_each(|c| out.put(self.float, *c));
            out.put("short", -3.0);
            if let Some(kind) = self.color {
                let full = if kind == "float" { 255.0 } else { 1.0 };
                colors[i].iter().for_each(|c| out.put(kind, f64::from(*c) / full));
            }
            out.line();
        }
        let cells = if self.range_grid { points.len() } else { 0 };
        for i in 0..cells {
            match kept.iter().position(|k| *k == i) {
                Some(index) => [("uchar", 1.0), ("int", f64::from(u32::try_from(index).expect("small")))]
                    .iter()
                    .for_each(|(t, v)| out.put(t, *v)),
                None => out.put("uchar", 0.0),
            }
            out.line();
        }
        out.bytes
    }
}

/// Numbers as text or bytes.
struct Numbers {
    bytes: Vec<u8>,
    text: bool,
    big: bool,
}

impl Numbers {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small test values")]
    fn put(&mut self, kind: &str, value: f64) {
        if self.text {
            let text = if kind == "float" { (value as f32).to_string() } else { value.to_string() };
            self.bytes.extend(format!("{text} ").bytes());
            return;
        }
        let mut bytes = match kind {
            "uchar" => vec![value as u8],
            "short" => (value as i16).to_be_bytes().to_vec(),
            "int" => (value as i32).to_be_bytes().to_vec(),
            "float" => (value as f32).to_be_bytes().to_vec(),
            _ => value.to_be_bytes().to_vec(),
        };
        if !self.big {
            bytes.reverse();
        }
        self.bytes.extend(bytes);
    }

    fn line(&mut self) {
        if self.text {
            self.bytes.push(b'\n');
        }
    }
}

/// An .npy file with this shape.
pub fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).expect("short").to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// f32 values, little-endian.
#[expect(clippy::cast_possible_truncation, reason = "an f32 file")]
pub fn f32_bytes(points: &[[f64; 3]]) -> Vec<u8> {
    points.iter().flatten().flat_map(|c| (*c as f32).to_le_bytes()).collect()
}
