//! Numbers and strings as SSH writes them (RFC 4251 §5).

#![deny(clippy::indexing_slicing)]

use super::AgentError;

/// Reads from the front of bytes that are all here.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, AgentError> {
        let (first, rest) = self.0.split_first().ok_or(AgentError::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u32, AgentError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(AgentError::Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*first))
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], AgentError> {
        let length = usize::try_from(self.number()?).map_err(|_| AgentError::Malformed)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(AgentError::Malformed)?;
        self.0 = rest;
        Ok(string)
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<(), AgentError> {
        if self.0.is_empty() { Ok(()) } else { Err(AgentError::Malformed) }
    }
}

/// Writes a string of at most 4 GiB; ours are far below.
pub(super) fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(&u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(string);
}

/// A positive number of at most `N` bytes (`mpint`) in its one spelling, with zeros in front.
pub(super) fn positive<const N: usize>(bytes: &[u8]) -> Result<[u8; N], AgentError> {
    let digits = match bytes {
        // A zero in front only where the number would read as negative without it.
        [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => digits,
        [first, ..] if (1..0x80).contains(first) => bytes,
        _ => return Err(AgentError::Malformed),
    };
    let mut number = [0; N];
    let start = N.checked_sub(digits.len()).ok_or(AgentError::Malformed)?;
    number.get_mut(start..).ok_or(AgentError::Malformed)?.copy_from_slice(digits);
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(positive::<2>(&[0x7f]), Ok([0, 0x7f]));
        assert_eq!(positive::<2>(&[0, 0x80, 1]), Ok([0x80, 1]));
        for wrong in [&[][..], &[0], &[0, 0x7f], &[0x80], &[1, 2, 3], &[0, 0x80, 2, 3]] {
            assert_eq!(positive::<2>(wrong), Err(AgentError::Malformed), "{wrong:?}");
        }
    }
}
