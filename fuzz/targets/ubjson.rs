//! Any bytes as a Universal Binary JSON document.
#![no_main]
use ringfence_format::ubjson;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = ubjson::is_likely(data);
    let Ok(document) = ubjson::read(&mut std::io::Cursor::new(data)) else { return };
    assert!(document.runs.iter().all(|run| run.offset + run.bytes <= data.len() as u64));
});
