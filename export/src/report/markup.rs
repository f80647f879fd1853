//! Pieces of HTML: escaping, numbers, pictures as data.

use anyhow::Result;
use zal::scan::{ColorImage, png};

/// A text without signs that HTML gives a meaning.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A share in percent with one decimal, as the published tables have it.
#[must_use]
pub fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "\u{2013}".into(), |value| format!("{:.1}", 100.0 * value))
}

/// A picture in the page itself.
///
/// # Errors
/// When it cannot be encoded.
pub fn picture(image: &ColorImage, alternative: &str) -> Result<String> {
    let data = base64(&png::encode(image)?);
    Ok(format!(
        "<img src=\"data:image/png;base64,{data}\" width={} height={} alt=\"{}\">",
        image.width,
        image.height,
        escaped(alternative)
    ))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(sign) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_meets_the_vectors_of_rfc_4648() {
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (len, expected) in vectors.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..len]), *expected);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn texts_and_numbers() {
        assert_eq!(escaped("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
        assert_eq!((percent(Some(0.8264)).as_str(), percent(None).as_str()), ("82.6", "\u{2013}"));
    }
}
