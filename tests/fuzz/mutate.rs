//! Random changes of a valid input, from a seeded generator.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// Numbers and words at which readers stumble.
const WORDS: [&[u8]; 16] = [
    b"0",
    b"-1",
    b"4294967295",
    b"4294967296",
    b"18446744073709551615",
    b"1e309",
    b"nan",
    b"\n",
    b" ",
    b"\0",
    b"\xFF\xFF\xFF\xFF",
    b"\0\0\0\x80",
    b"\xFF\xFF\xFF\x7F",
    b"end_header\n",
    b"binary_compressed",
    b"{\"a\":[[[[",
];

/// A number below `end`, 0 when there is none.
pub fn below(random: &mut ChaCha8Rng, end: usize) -> usize {
    random.next_u32() as usize % end.max(1)
}

/// One to eight changes; `other` is a valid input to take pieces of.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut ChaCha8Rng) {
    for _ in 0..=below(random, 8) {
        let at = below(random, bytes.len());
        let end = (at + 1 + below(random, 16)).min(bytes.len());
        match below(random, 7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(random, 8),
            1 if !bytes.is_empty() => bytes[at] = random.next_u32().to_le_bytes()[0],
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let piece = bytes[at.min(end)..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            4 => drop(bytes.splice(at..at, WORDS[below(random, WORDS.len())].iter().copied())),
            5 => drop(bytes.splice(at.min(end)..end, WORDS[below(random, WORDS.len())].iter().copied())),
            _ => {
                let from = below(random, other.len());
                let piece = other[from..(from + 32).min(other.len())].to_vec();
                let end = (at + piece.len()).min(bytes.len());
                drop(bytes.splice(at.min(end)..end, piece));
            }
        }
    }
}
