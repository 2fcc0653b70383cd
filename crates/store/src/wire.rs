//! The plain encoding inside sealed files: fixed-width big-endian integers, raw arrays, counted lists.
//!
//! Whatever is read here was authenticated first, yet it is read as if it were a stranger's: every length is checked
//! against what is left before memory is asked for.
#![deny(clippy::indexing_slicing)]

use thiserror::Error;

/// Bytes that do not say what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed {what} at byte {offset}")]
pub struct Malformed {
    /// What was expected.
    pub what: &'static str,
    /// Where, counted in the opened content.
    pub offset: usize,
}

/// Reads from the front of a slice.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(crate) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, offset: self.offset }
    }

    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(|| self.malformed(what))?;
        self.bytes = rest;
        self.offset += count;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let malformed = self.malformed(what);
        self.take(N, what)?.try_into().map_err(|_| malformed)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// A `u32` count of items that take at least `item_bytes` bytes each and so must fit into what is left.
    pub(crate) fn count(&mut self, item_bytes: usize, what: &'static str) -> Result<usize, Malformed> {
        let malformed = self.malformed(what);
        let count = usize::try_from(self.u32(what)?).map_err(|_| malformed)?;
        let fits = count.checked_mul(item_bytes).is_some_and(|bytes| bytes <= self.bytes.len());
        if fits { Ok(count) } else { Err(malformed) }
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(&self, what: &'static str) -> Result<(), Malformed> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.malformed(what)) }
    }
}

/// Writes a count as `u32`; every list here is bounded well below that by its own limit.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    // INVARIANT: the callers' limits (files, chunks, packs) are below 2^32.
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

/// The Padmé length for `bytes`: at most 12 % longer, and leaks only O(log log) bits of the true length (Nikitin et al.,
/// "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PoPETs 2019, §4).
pub(crate) fn padme(bytes: u64) -> u64 {
    if bytes < 2 {
        return bytes;
    }
    let exponent = bytes.ilog2();
    let kept_bits = exponent.checked_ilog2().map_or(1, |bits| bits + 1);
    let mask = (1_u64 << (exponent - kept_bits.min(exponent))) - 1;
    (bytes + mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::{Reader, padme};

    #[test]
    fn padme_known_lengths() {
        // E = floor(log2 L), S = floor(log2 E) + 1, the low E - S bits are rounded up.
        for (bytes, padded) in [(0, 0), (1, 1), (9, 10), (1_000, 1_024), (65_537, 67_584), (1 << 26, 1 << 26)] {
            assert_eq!(padme(bytes), padded, "{bytes}");
        }
        assert!((1..100_000).all(|bytes| padme(bytes) >= bytes && padme(bytes) * 100 <= bytes * 112 + 100));
    }

    #[test]
    fn counts_must_fit() {
        let bytes = [255, 255, 255, 255, 1];
        assert!(Reader::new(&bytes).count(1, "list").is_err());
        assert_eq!(Reader::new(&[0, 0, 0, 1, 9]).count(1, "list"), Ok(1));
    }
}
