//! Any bytes as an envelope, a trust root and a checkpoint.
#![no_main]
use ringfence_trust::{checkpoint, dsse::Envelope, keys::WrappedKey, root::TrustRoot};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Envelope::parse(data);
    let _ = TrustRoot::open(data);
    let _ = checkpoint::parse_unverified(data);
    let _ = serde_json::from_slice::<WrappedKey>(data);
});
