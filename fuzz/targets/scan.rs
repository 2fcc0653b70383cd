//! Any bytes as a file to be scanned: every format that the scanner recognises, nested ones too.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let report = ringfence_scan::scan_file("fuzz", &mut Cursor::new(data), &ringfence_scan::Limits::default());
    assert_eq!(report.path, "fuzz");
    let _ = ringfence_scan::tensor_cuts(&mut Cursor::new(data));
});
