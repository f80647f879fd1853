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

/// A picture with its title. The SVG is made well-formed XML, so that it is a file of its own when it is taken out of
/// the page: attributes that HTML lets stand bare get their quotes.
#[must_use]
pub fn titled_svg(title: &str, svg: &str) -> String {
    let title = escaped(title);
    let svg = quoted(svg).replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1);
    format!("<figure><figcaption>{title}</figcaption>{svg}</figure>\n")
}

/// Puts bare attribute values into quotes. Texts are escaped, so `<` and `>` enclose tags alone.
fn quoted(html: &str) -> String {
    let mut text = String::with_capacity(html.len() + html.len() / 8);
    let (mut in_tag, mut in_quotes, mut bare, mut last) = (false, false, false, ' ');
    for sign in html.chars() {
        if bare && (sign.is_whitespace() || sign == '>') {
            text.push('"');
            bare = false;
        }
        if in_tag && !in_quotes && last == '=' && sign != '"' {
            text.push('"');
            bare = true;
        }
        match sign {
            '<' => in_tag = true,
            '>' if !in_quotes => in_tag = false,
            '"' if in_tag => in_quotes = !in_quotes,
            _ => {}
        }
        text.push(sign);
        last = sign;
    }
    text
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
    fn bare_attributes_get_quotes() {
        let found = quoted("<p class=a x=1 d=\"M0 0\" fill=none />b=c<i y=2>d</i>");
        assert_eq!(found, "<p class=\"a\" x=\"1\" d=\"M0 0\" fill=\"none\" />b=c<i y=\"2\">d</i>");
        assert!(titled_svg("a<b", "<svg width=1></svg>").contains("a&lt;b</figcaption><svg xmlns="));
    }

    #[test]
    fn texts_and_numbers() {
        assert_eq!(escaped("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
        assert_eq!((percent(Some(0.8264)).as_str(), percent(None).as_str()), ("82.6", "\u{2013}"));
    }
}
