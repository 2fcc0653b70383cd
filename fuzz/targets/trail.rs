//! Any bytes as a trail leaf, canonical JSON and CBOR: what is read is written the same.
#![no_main]
use ringfence_schema::{canon, trail::Entry};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = Entry::from_leaf(data) {
        assert_eq!(entry.to_leaf().as_deref(), Ok(data));
    }
    if let Ok(value) = canon::from_cbor(data) {
        assert_eq!(canon::to_cbor(&value), data);
    }
    if let Ok(value) = canon::from_canonical::<serde_json::Value>(data) {
        assert_eq!(canon::to_canonical(&value).ok().as_deref(), Some(data));
    }
});
