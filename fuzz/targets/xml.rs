//! Any text as XML: events in rising order, and as a model to be scanned.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut before = 0;
    for event in ringfence_format::xml::read(text) {
        let Ok((offset, _)) = event else { break };
        assert!(offset >= before && offset <= text.len());
        before = offset;
    }
    let _ = ringfence_scan::scan_file("fuzz", &mut Cursor::new(data), &ringfence_scan::Limits::default());
});
