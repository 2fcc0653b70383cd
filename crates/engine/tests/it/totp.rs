//! RFC 6238 from the app's side, written apart from the library.

use aws_lc_rs::hmac;
use ringfence_engine::schema::digest::from_hex;

/// The six digits of `key` at `step`.
pub(crate) fn code(key: &[u8], step: u64) -> String {
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), &step.to_be_bytes());
    let mac = mac.as_ref();
    let at = usize::from(mac[19] & 15);
    let number = u32::from_be_bytes(mac[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[test]
fn the_codes_of_rfc_6238() {
    // Appendix B, SHA-1, the last six of eight digits.
    let key = from_hex("3132333435363738393031323334353637383930").unwrap();
    assert_eq!(code(&key, 59 / 30), "287082");
    assert_eq!(code(&key, 1_111_111_109 / 30), "081804");
}
