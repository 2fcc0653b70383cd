//! Any bytes as JSON in any encoding; what a strict reader takes, this one takes too.
#![no_main]
use ringfence_format::json;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(text) = json::text_of(data) else { return };
    let ours = json::parse(&text);
    // serde_json stops at 128 levels; beyond that there is nothing to compare.
    if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
        assert!(ours.is_ok(), "{ours:?}");
    }
});
