//! Small labels: capitals of 5 x 7 pixels.

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

/// Writes `text` with its upper left corner at (`left`, `top`); what is no letter stays a gap,
/// and what does not fit is cut off.
pub fn write(image: &mut ColorImage, text: &str, [left, top]: [usize; 2], color: [u8; 3]) {
    for (place, letter) in text.bytes().map(|b| b.to_ascii_uppercase()).enumerate() {
        let Some(columns) = letter.checked_sub(b'A').and_then(|index| LETTERS.get(usize::from(index))) else {
            continue;
        };
        for (dx, column) in columns.iter().enumerate() {
            for dy in (0..LETTER[1]).filter(|dy| column >> dy & 1 == 1) {
                let (x, y) = (left + place * LETTER[0] + dx, top + dy);
                if x < image.width && y < image.height {
                    image.pixels[y * image.width + x] = color;
                }
            }
        }
    }
}

/// Writes `text` as [`write`] does, every pixel of a letter two wide and high.
pub fn write_doubled(image: &mut ColorImage, text: &str, [left, top]: [usize; 2], color: [u8; 3]) {
    const MARKED: [u8; 3] = [1; 3];
    let (height, width) = (LETTER[1], LETTER[0] * text.len());
    let mut small = ColorImage { height, width, pixels: vec![[0; 3]; height * width] };
    write(&mut small, text, [0, 0], MARKED);
    for (index, _) in small.pixels.iter().enumerate().filter(|(_, pixel)| **pixel == MARKED) {
        for part in 0..4 {
            let (x, y) = (left + index % width * 2 + part % 2, top + index / width * 2 + part / 2);
            if x < image.width && y < image.height {
                image.pixels[y * image.width + x] = color;
            }
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
    fn a_doubled_letter_has_four_times_the_pixels() {
        let mut image = ColorImage { height: 16, width: 20, pixels: vec![[0; 3]; 320] };
        write_doubled(&mut image, "L", [1, 1], [9; 3]);
        assert_eq!(image.pixels.iter().filter(|p| p[0] == 9).count(), 4 * 11);
        assert_eq!(image.pixels[20 + 1], [9; 3], "it begins at its corner");
    }
}
