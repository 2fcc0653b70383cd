//! Any bytes as a file whose weights are studied, alone and beside themselves.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = ringfence_scan::Limits::default();
    let alone = ringfence_scan::weights("fuzz", &mut Cursor::new(data), &limits);
    let beside = ringfence_scan::compare("fuzz", &mut Cursor::new(data), &mut Cursor::new(data), &limits);
    assert_eq!(alone.tensors.len(), beside.tensors.len());
});
