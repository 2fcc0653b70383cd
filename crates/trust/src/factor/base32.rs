//! Base32 of fixed alphabets (RFC 4648 §6, without padding): strict, so that a value has one spelling.

#![deny(clippy::indexing_slicing)]

use zeroize::Zeroizing;

/// RFC 4648's alphabet, as authenticator apps expect it.
pub(super) const RFC4648: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// The same in lower case, for tokens.
pub(super) const LOWER: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Crockford's, without `i`, `l`, `o` and `u`: for codes that people read from paper.
pub(super) const PAPER: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters that `bytes` bytes take.
pub(super) const fn chars(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// `bytes` in the characters of `alphabet`.
pub(super) fn encode(alphabet: &[u8; 32], bytes: &[u8]) -> Zeroizing<String> {
    // The whole length at once: a string that grows would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(chars(bytes.len())));
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(character(alphabet, held >> bits));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(character(alphabet, held << (5 - bits)));
    }
    text
}

fn character(alphabet: &[u8; 32], value: u32) -> char {
    alphabet.get((value & 31) as usize).map_or('?', |byte| char::from(*byte))
}

/// Exactly `N` bytes; `None` for any other length, any other character, and bits that stand for nothing.
pub(super) fn decode<const N: usize>(alphabet: &[u8; 32], text: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    if text.len() != chars(N) {
        return None;
    }
    let mut out = Zeroizing::new([0_u8; N]);
    let mut slots = out.iter_mut();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text {
        let value = u32::try_from(alphabet.iter().position(|known| known == byte)?).ok()?;
        held = (held << 5) | value;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            *slots.next()? = u8::try_from(held >> bits).ok()?;
            held &= (1 << bits) - 1;
        }
    }
    (held == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::{LOWER, PAPER, RFC4648, decode, encode};

    #[test]
    fn the_vectors_of_rfc_4648() {
        // §10, without padding.
        for (plain, text) in [
            (&b""[..], ""),
            (b"f", "MY"),
            (b"fo", "MZXQ"),
            (b"foo", "MZXW6"),
            (b"foob", "MZXW6YQ"),
            (b"fooba", "MZXW6YTB"),
            (b"foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(*encode(RFC4648, plain), text);
        }
        assert_eq!(*decode::<6>(RFC4648, b"MZXW6YTBOI").unwrap(), *b"foobar");
    }

    #[test]
    fn one_spelling_a_value() {
        assert!(decode::<1>(RFC4648, b"MY").is_some());
        for other in [&b"MZ"[..], b"my", b"MY======", b"M", b"M1", b" MY"] {
            assert!(decode::<1>(RFC4648, other).is_none());
        }
        for alphabet in [RFC4648, LOWER, PAPER] {
            let bytes = [0, 1, 2, 253, 254, 255, 128, 127, 85, 170];
            assert_eq!(*decode::<10>(alphabet, encode(alphabet, &bytes).as_bytes()).unwrap(), bytes);
        }
    }
}
