//! Codes of authenticator apps: RFC 6238 with SHA-1, steps of 30 seconds and six digits, as every app has it.
//!
//! [`TotpSecret::accepts`] returns the step of the code that it accepted. Whoever calls stores it, in the transaction that
//! lets the person in, and gives it back the next time: a step, and any before it, is never accepted twice (§5.2).

#![deny(clippy::indexing_slicing)]

use std::fmt::{self, Write as _};

use aws_lc_rs::hmac;
use ringfence_schema::Timestamp;
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _, ConstantTimeGreater as _};
use zeroize::Zeroizing;

use super::base32;
use crate::{
    entropy::Entropy,
    seal::{self, BlobKey, OpenError, SealError},
};

/// Length of a secret in bytes: that of the hash, as RFC 4226 §4 (R6) recommends.
pub const SECRET_BYTES: usize = 20;
/// Length of a step in milliseconds.
pub const STEP_MS: u64 = 30_000;
/// Steps before and after the present one whose codes are accepted, for clocks that disagree.
pub const DRIFT_STEPS: u64 = 1;
/// Digits of a code.
pub const DIGITS: usize = 6;

/// Six ASCII digits that somebody typed.
pub struct TotpCode([u8; DIGITS]);

/// A text that is not six ASCII digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code has exactly {DIGITS} digits")]
pub struct NotACode;

impl TotpCode {
    /// Reads a code. No other character is taken, not even around it: a code that can be written in several ways can be
    /// used in several ways.
    pub fn parse(typed: &str) -> Result<Self, NotACode> {
        let digits: [u8; DIGITS] = typed.as_bytes().try_into().map_err(|_| NotACode)?;
        if digits.iter().all(u8::is_ascii_digit) { Ok(Self(digits)) } else { Err(NotACode) }
    }
}

impl fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The key that an authenticator app shares with the vault.
pub struct TotpSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl TotpSecret {
    /// A new key.
    pub fn random(entropy: &mut dyn Entropy) -> Self {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        entropy.fill(&mut *secret);
        Self(secret)
    }

    /// What an app is told: `otpauth://totp/…`, to be shown once, as text or as a picture. `issuer` and `account` are
    /// what the app shows; everything that is not a letter or digit is escaped.
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let (issuer, account) = (escaped(issuer), escaped(account));
        let secret = base32::encode(base32::RFC4648, &*self.0);
        let seconds = STEP_MS / 1_000;
        let ends = format!("&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={seconds}");
        let mut uri = Zeroizing::new(String::with_capacity(2 * issuer.len() + account.len() + 128));
        for part in ["otpauth://totp/", &issuer, ":", &account, "?secret=", &secret, &ends] {
            uri.push_str(part);
        }
        uri
    }

    /// Seals the key, bound to `context`, which names the person.
    pub fn seal<K: BlobKey>(
        &self,
        key: &K,
        entropy: &mut dyn Entropy,
        context: &[&[u8]],
    ) -> Result<Vec<u8>, SealError> {
        seal::seal_blob(key, entropy, context, &*self.0)
    }

    /// Opens a sealed key. What is sealed and is no key is [`OpenError::NotABlob`].
    pub fn open<K: BlobKey>(key: &K, context: &[&[u8]], sealed: &[u8]) -> Result<Self, OpenError> {
        let bytes = Zeroizing::new(seal::open_blob(key, context, sealed)?);
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        if bytes.len() != SECRET_BYTES {
            return Err(OpenError::NotABlob);
        }
        secret.copy_from_slice(&bytes);
        Ok(Self(secret))
    }

    /// The step of `code`, where it is that of the present step or of one within [`DRIFT_STEPS`], and later than `last`,
    /// the step that was accepted before. In time that does not depend on which it is, nor on where a wrong code differs.
    #[must_use]
    pub fn accepts(&self, code: &TotpCode, now: Timestamp, last: Option<u64>) -> Option<u64> {
        let present = now.millis() / STEP_MS;
        // Nothing before the first step: its number is 0, so `last` is compared as the first that is open.
        let open_from = last.map_or(0, |step| step.saturating_add(1));
        // No step has this number: it would begin in half a billion years.
        let mut found = u64::MAX;
        for step in present.saturating_sub(DRIFT_STEPS)..=present.saturating_add(DRIFT_STEPS) {
            let matches = self.code(step).ct_eq(&code.0) & !open_from.ct_gt(&step);
            found.conditional_assign(&step, matches);
        }
        (found != u64::MAX).then_some(found)
    }

    /// RFC 4226 §5.3 for the counter `step`.
    fn code(&self, step: u64) -> [u8; DIGITS] {
        digits(truncated(&*self.0, step))
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The 31 bits that RFC 4226 §5.3 takes from the HMAC of the counter.
fn truncated(secret: &[u8], counter: u64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or(0) & 0xf);
    // INVARIANT: 20 bytes, and the offset is at most 15, so there are always four.
    let taken = tag.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 4]);
    u32::from_be_bytes(taken) & 0x7fff_ffff
}

fn digits<const N: usize>(number: u32) -> [u8; N] {
    let mut out = [b'0'; N];
    let mut rest = number;
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out
}

/// RFC 3986: unreserved characters as they are, everything else as `%XX`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringfence_schema::Timestamp;
    use zeroize::Zeroizing;

    use super::{NotACode, STEP_MS, TotpCode, TotpSecret, digits, truncated};

    /// RFC 4226 appendix D and RFC 6238 appendix B use this key.
    const KEY: &[u8; 20] = b"12345678901234567890";

    fn secret() -> TotpSecret {
        TotpSecret(Zeroizing::new(*KEY))
    }

    fn code(digits: &str) -> TotpCode {
        TotpCode::parse(digits).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn the_vectors_of_rfc_4226() {
        let expected =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (counter, expected) in (0..).zip(expected) {
            assert_eq!(&secret().code(counter), expected.as_bytes());
        }
    }

    #[test]
    fn the_vectors_of_rfc_6238() {
        for (seconds, expected) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let step = seconds * 1_000 / STEP_MS;
            assert_eq!(&digits::<8>(truncated(KEY, step)), expected.as_bytes());
            assert_eq!(secret().accepts(&code(&expected[2..]), at(seconds), None), Some(step));
        }
    }

    #[test]
    fn a_step_is_accepted_once() {
        let now = at(1_111_111_111);
        let step = 1_111_111_111_u64 / 30;
        let shown = code("050471");
        assert_eq!(secret().accepts(&shown, now, None), Some(step));
        assert_eq!(secret().accepts(&shown, now, Some(step - 1)), Some(step));
        assert_eq!(secret().accepts(&shown, now, Some(step)), None, "it was used");
        assert_eq!(secret().accepts(&shown, now, Some(step + 1)), None, "a later one was used");
        assert_eq!(secret().accepts(&shown, now, Some(u64::MAX)), None);
        // The code of step 0 at the beginning of time, where there is no step before.
        assert_eq!(secret().accepts(&code("755224"), at(0), None), Some(0));
        assert_eq!(secret().accepts(&code("755224"), at(0), Some(0)), None);
    }

    #[test]
    fn clocks_may_differ_by_one_step() {
        let shown = code("050471");
        let step = 1_111_111_111_u64 / 30;
        for (shift, expected) in [(-2_i64, None), (-1, Some(step)), (0, Some(step)), (1, Some(step)), (2, None)] {
            let now = at((step.cast_signed() + shift).cast_unsigned() * 30);
            assert_eq!(secret().accepts(&shown, now, None), expected, "{shift}");
        }
    }

    #[test]
    fn six_ascii_digits_and_nothing_else() {
        for other in
            ["", "12345", "1234567", " 123456", "123456 ", "12 456", "12345a", "１２３４５６", "+12345", "-1234\n"]
        {
            assert_eq!(TotpCode::parse(other).unwrap_err(), NotACode, "{other:?}");
        }
        assert_eq!(format!("{:?}{:?}", code("123456"), secret()), "[redacted][redacted]");
    }

    #[test]
    fn apps_are_told_in_their_own_words() {
        assert_eq!(
            *secret().uri("Ringfence: lab", "ann@example.org"),
            "otpauth://totp/Ringfence%3A%20lab:ann%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Ringfence%3A%20lab&algorithm=SHA1&digits=6&period=30"
        );
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_recent_and_new(digits in "[0-9]{6}", seconds in 0_u64..4_000_000_000, last in any::<Option<u32>>()) {
            let last = last.map(u64::from);
            if let Some(step) = secret().accepts(&code(&digits), at(seconds), last) {
                prop_assert!(step.abs_diff(seconds / 30) <= 1);
                prop_assert!(last.is_none_or(|last| step > last));
            }
        }
    }
}
