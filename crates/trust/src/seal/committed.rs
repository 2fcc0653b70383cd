//! Sealing in one piece under a one-time key, with a commitment to the key.
//!
//! `salt(32) ‖ commitment(32) ‖ AES-256-GCM ciphertext ‖ tag(16)`, where HKDF-SHA256 (RFC 5869) over the long-lived key
//! with that salt yields the cipher's key and the commitment, and the nonce is zero because the key is used once.
//! AES-GCM alone is not committing: without the commitment one ciphertext can be made to open under two keys.

#![deny(clippy::indexing_slicing)]

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{entropy, entropy::Entropy, secret::Secret};

const SALT_BYTES: usize = 32;
const COMMITMENT_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Bytes that sealing adds.
pub(crate) const OVERHEAD_BYTES: usize = SALT_BYTES + COMMITMENT_BYTES + TAG_BYTES;

const HKDF_INFO: &[u8] = b"ringfence.committed/1";

/// Why nothing was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenFailure {
    WrongKey,
    Tampered,
    Truncated,
}

/// The library failed; not caused by input.
#[derive(Debug)]
pub(crate) struct CipherFailed;

/// Joins parts so that no two lists of parts yield the same bytes: their count, then each behind its length.
pub(crate) fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + parts.iter().map(|part| 8 + part.len()).sum::<usize>());
    out.extend_from_slice(&(parts.len() as u64).to_be_bytes());
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Seals `plain` under `key`, bound to `bound`.
pub(crate) fn seal(
    key: &Secret,
    entropy: &mut dyn Entropy,
    bound: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, CipherFailed> {
    let salt: [u8; SALT_BYTES] = entropy::bytes(entropy);
    let (cipher, commitment) = derive(key, &salt).ok_or(CipherFailed)?;
    let mut out = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
    out.extend_from_slice(&salt);
    out.extend_from_slice(&commitment);
    let start = out.len();
    out.extend_from_slice(plain);
    let in_place = out.get_mut(start..).ok_or(CipherFailed)?;
    let tag = cipher.seal_in_place_separate_tag(zero_nonce(), Aad::from(bound), in_place).map_err(|_| CipherFailed)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Opens what [`seal`] made with the same key and binding.
pub(crate) fn open(key: &Secret, bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenFailure> {
    let (salt, rest) = sealed.split_first_chunk::<SALT_BYTES>().ok_or(OpenFailure::Truncated)?;
    let (commitment, ciphertext) = rest.split_first_chunk::<COMMITMENT_BYTES>().ok_or(OpenFailure::Truncated)?;
    let plain_bytes = ciphertext.len().checked_sub(TAG_BYTES).ok_or(OpenFailure::Truncated)?;
    let (cipher, expected) = derive(key, salt).ok_or(OpenFailure::WrongKey)?;
    if !bool::from(expected.ct_eq(commitment)) {
        return Err(OpenFailure::WrongKey);
    }
    let mut buffer = ciphertext.to_vec();
    cipher.open_in_place(zero_nonce(), Aad::from(bound), &mut buffer).map_err(|_| OpenFailure::Tampered)?;
    buffer.truncate(plain_bytes);
    Ok(buffer)
}

fn zero_nonce() -> Nonce {
    // INVARIANT: the key comes from a fresh random salt and seals one message.
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// The cipher under the one-time key, and the commitment, of `key` and `salt`.
fn derive(key: &Secret, salt: &[u8; SALT_BYTES]) -> Option<(LessSafeKey, [u8; COMMITMENT_BYTES])> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            KEY_BYTES + COMMITMENT_BYTES
        }
    }
    let mut output = Zeroizing::new([0; KEY_BYTES + COMMITMENT_BYTES]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(key.expose())
        .expand(&[HKDF_INFO], Length)
        .and_then(|stream| stream.fill(output.as_mut_slice()))
        .ok()?;
    let (one_time, commitment) = output.split_first_chunk::<KEY_BYTES>()?;
    let cipher = UnboundKey::new(&AES_256_GCM, one_time).ok()?;
    Some((LessSafeKey::new(cipher), commitment.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{OVERHEAD_BYTES, OpenFailure, frame, open, seal};
    use crate::{entropy::SeededEntropy, secret::Secret};

    #[test]
    fn frames_of_different_parts_differ() {
        let splits: [&[&[u8]]; 5] = [&[b"ab"], &[b"a", b"b"], &[b"ab", b""], &[b"", b"ab"], &[]];
        for (index, a) in splits.iter().enumerate() {
            assert!(splits.iter().skip(index + 1).all(|b| frame(a) != frame(b)));
        }
    }

    #[test]
    fn every_part_is_guarded_and_named() {
        let mut entropy = SeededEntropy::new(2);
        let (key, other) = (Secret::random(&mut entropy), Secret::random(&mut entropy));
        let sealed = seal(&key, &mut entropy, b"here", b"value").unwrap();
        assert_eq!(sealed.len(), OVERHEAD_BYTES + 5);
        assert_eq!(open(&key, b"here", &sealed).unwrap(), b"value");
        assert_eq!(open(&key, b"there", &sealed).unwrap_err(), OpenFailure::Tampered);
        assert_eq!(open(&other, b"here", &sealed).unwrap_err(), OpenFailure::WrongKey);
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            let expected = if position < 64 { OpenFailure::WrongKey } else { OpenFailure::Tampered };
            assert_eq!(open(&key, b"here", &changed).unwrap_err(), expected, "byte {position}");
        }
        for length in 0..OVERHEAD_BYTES {
            assert_eq!(open(&key, b"here", &sealed[..length]).unwrap_err(), OpenFailure::Truncated);
        }
    }
}
