//! When a certificate ends: the one field of X.509 that an alarm needs, read from the DER.
//!
//! ```text
//! Certificate ::= SEQUENCE { tbsCertificate SEQUENCE {
//!     [0] version OPTIONAL, serialNumber INTEGER, signature SEQUENCE, issuer SEQUENCE,
//!     validity SEQUENCE { notBefore Time, notAfter Time }, ... }, ... }        (RFC 5280, 4.1)
//! ```
//!
//! Whether a certificate is good is for rustls to say; a certificate that cannot be read here
//! only has no end.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The last moment at which a certificate is valid.
pub fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = element_of(der, SEQUENCE)?;
    let (mut fields, _) = element_of(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element_of(fields, EXPLICIT_VERSION) {
        fields = rest;
    }
    for _serial_signature_issuer in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (validity, _) = element_of(fields, SEQUENCE)?;
    let (_, _, after_begin) = element(validity)?;
    let (tag, text, _) = element(after_begin)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// The first element: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (size, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F).clamp(1, 5))?;
        (digits.iter().fold(0_usize, |size, digit| (size << 8) | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(size)?;
    Some((tag, content, rest))
}

/// The first element when it has this tag: its content and what follows it.
fn element_of(bytes: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == expected).then_some((content, rest))
}

/// `YYMMDDHHMMSSZ` (1950 to 2049) or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z')?;
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<i16>().ok();
    let (year, at) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(0..2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        (GENERALIZED_TIME, 14) => (number(0..4)?, 4),
        _ => return None,
    };
    let part = |index: usize| i8::try_from(number(at + 2 * index..at + 2 * index + 2)?).ok();
    let moment = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    TimeZone::UTC.to_timestamp(moment).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's skeleton with the given validity.
    fn certificate(end: &[u8], long_form: bool) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let size = u8::try_from(content.len()).unwrap();
            let mut bytes = if long_form { vec![tag, 0x81, size] } else { vec![tag, size] };
            bytes.extend(content);
            bytes
        };
        let validity = [&b"\x17\x0d240101000000Z"[..], end].concat();
        let fields =
            [&b"\xA0\x03\x02\x01\x02\x02\x01\x05\x30\x00\x30\x00"[..], &wrap(SEQUENCE, &validity)].concat();
        wrap(SEQUENCE, &wrap(SEQUENCE, &fields))
    }

    #[test]
    fn both_kinds_of_time_and_of_length_are_read() {
        let expect = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        for long_form in [false, true] {
            let utc = certificate(b"\x17\x0d310203040506Z", long_form);
            assert_eq!(not_after(&utc), expect("2031-02-03T04:05:06Z"));
            let general = certificate(b"\x18\x0f20510203040506Z", long_form);
            assert_eq!(not_after(&general), expect("2051-02-03T04:05:06Z"));
        }
    }

    #[test]
    fn a_certificate_cut_anywhere_has_no_end_and_harms_nobody() {
        let whole = certificate(b"\x17\x0d310203040506Z", true);
        for len in 0..whole.len() {
            assert_eq!(not_after(&whole[..len]), None, "{len}");
        }
        assert_eq!(not_after(&certificate(b"\x17\x0d319903040506Z", false)), None);
        assert_eq!(not_after(&[0x30, 0x85, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }
}
