//! Small labels: capitals, digits and a few signs of 5 x 7 pixels.

use zal::scan::ColorImage;

/// Width and height of a letter with its gap, pixels.
pub const LETTER: [usize; 2] = [6, 7];

/// Columns of the letters A to Z from left to right; the lowest bit is the top row.
const LETTERS: [[u8; 5]; 26] = [
    [0x7e, 0x09, 0x09, 0x09, 0x7e],
    [0x7f, 0x49, 0x49, 0x49, 0x36],
    [0x3e, 0x41, 0x41, 0x41, 0x22],
    [0x7f, 0x41, 0x41, 0x41, 0x3e],
    [0x7f, 0x49, 0x49, 0x49, 0x41],
    [0x7f, 0x09, 0x09, 0x09, 0x01],
    [0x3e, 0x41, 0x49, 0x49, 0x3a],
    [0x7f, 0x08, 0x08, 0x08, 0x7f],
    [0x00, 0x41, 0x7f, 0x41, 0x00],
    [0x30, 0x40, 0x40, 0x40, 0x3f],
    [0x7f, 0x08, 0x14, 0x22, 0x41],
    [0x7f, 0x40, 0x40, 0x40, 0x40],
    [0x7f, 0x02, 0x04, 0x02, 0x7f],
    [0x7f, 0x04, 0x08, 0x10, 0x7f],
    [0x3e, 0x41, 0x41, 0x41, 0x3e],
    [0x7f, 0x09, 0x09, 0x09, 0x06],
    [0x3e, 0x41, 0x51, 0x61, 0x7e],
    [0x7f, 0x09, 0x19, 0x29, 0x46],
    [0x26, 0x49, 0x49, 0x49, 0x32],
    [0x01, 0x01, 0x7f, 0x01, 0x01],
    [0x3f, 0x40, 0x40, 0x40, 0x3f],
    [0x0f, 0x30, 0x40, 0x30, 0x0f],
    [0x3f, 0x40, 0x30, 0x40, 0x3f],
    [0x63, 0x14, 0x08, 0x14, 0x63],
    [0x03, 0x04, 0x78, 0x04, 0x03],
    [0x61, 0x51, 0x49, 0x45, 0x43],
];

/// Columns of the digits 0 to 9.
const DIGITS: [[u8; 5]; 10] = [
    [0x3e, 0x51, 0x49, 0x45, 0x3e],
    [0x00, 0x42, 0x7f, 0x40, 0x00],
    [0x42, 0x61, 0x51, 0x49, 0x46],
    [0x21, 0x41, 0x45, 0x4b, 0x31],
    [0x18, 0x14, 0x12, 0x7f, 0x10],
    [0x27, 0x45, 0x45, 0x45, 0x39],
    [0x3c, 0x4a, 0x49, 0x49, 0x30],
    [0x01, 0x71, 0x09, 0x05, 0x03],
    [0x36, 0x49, 0x49, 0x49, 0x36],
    [0x06, 0x49, 0x49, 0x29, 0x1e],
];

/// Writes `text` with its upper left corner at (`left`, `top`); what is neither letter, digit nor one of
/// `. , % ( )` stays a gap, and what does not fit is cut off.
pub fn write(image: &mut ColorImage, text: &str, place: [usize; 2], color: [u8; 3]) {
    write_enlarged(image, text, place, color, 1);
}

/// As [`write()`], every pixel of a letter `scale` pixels wide and high.
pub fn write_enlarged(
    image: &mut ColorImage,
    text: &str,
    [left, top]: [usize; 2],
    color: [u8; 3],
    scale: usize,
) {
    for (place, columns) in text.bytes().map(columns).enumerate() {
        for (dx, column) in columns.iter().enumerate() {
            for dy in (0..LETTER[1]).filter(|dy| column >> dy & 1 == 1) {
                let corner = [left + (place * LETTER[0] + dx) * scale, top + dy * scale];
                fill(image, corner, scale, color);
            }
        }
    }
}

/// Columns of one sign; empty ones for what is not known.
fn columns(sign: u8) -> [u8; 5] {
    let sign = sign.to_ascii_uppercase();
    match sign {
        b'A'..=b'Z' => LETTERS[usize::from(sign - b'A')],
        b'0'..=b'9' => DIGITS[usize::from(sign - b'0')],
        b'.' => [0x00, 0x60, 0x60, 0x00, 0x00],
        b',' => [0x00, 0x50, 0x30, 0x00, 0x00],
        b'%' => [0x23, 0x13, 0x08, 0x64, 0x62],
        b'(' => [0x00, 0x1c, 0x22, 0x41, 0x00],
        b')' => [0x00, 0x41, 0x22, 0x1c, 0x00],
        _ => [0; 5],
    }
}

/// Fills a square, as far as it lies on the image.
fn fill(image: &mut ColorImage, [left, top]: [usize; 2], side: usize, color: [u8; 3]) {
    for y in (top..top + side).take_while(|y| *y < image.height) {
        for x in (left..left + side).take_while(|x| *x < image.width) {
            image.pixels[y * image.width + x] = color;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_drawn_and_the_rest_cut_off() {
        let mut image = ColorImage { height: 8, width: 8, pixels: vec![[0; 3]; 64] };
        write(&mut image, "l_xyz", [0, 0], [9; 3]);
        let drawn = image.pixels.iter().filter(|p| p[0] == 9).count();
        assert_eq!(drawn, 7 + 4, "the stem and the foot of an L");
    }

    #[test]
    fn digits_and_signs_are_drawn_at_any_size() {
        let drawn = |text: &str, scale: usize| {
            let mut image = ColorImage { height: 30, width: 30, pixels: vec![[0; 3]; 900] };
            write_enlarged(&mut image, text, [0, 0], [9; 3], scale);
            image.pixels.iter().filter(|p| p[0] == 9).count()
        };
        assert_eq!((drawn("1", 1), drawn("1", 3)), (10, 90));
        assert!(".,%()0".chars().all(|sign| drawn(&sign.to_string(), 1) >= 3));
        assert_eq!(drawn("-", 1), 0, "an unknown sign is a gap");
    }
}
