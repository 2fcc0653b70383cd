//! Any bytes as a pickle, whatever its protocol says: the first byte chooses it.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((pick, opcodes)) = data.split_first() else { return };
    let mut bytes = vec![0x80, 2 + pick % 4];
    bytes.extend_from_slice(opcodes);
    let _ = ringfence_scan::scan_file("fuzz.pkl", &mut Cursor::new(&bytes), &ringfence_scan::Limits::default());
});
