//! Any bytes as a TFLite or ONNX Runtime model: every offset is followed by the scanner.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((pick, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    let name: &[u8; 4] = if pick & 1 == 0 { b"TFL3" } else { b"ORTM" };
    if let Some(place) = bytes.get_mut(4..8) {
        place.copy_from_slice(name);
    }
    let _ = ringfence_scan::scan_file("fuzz", &mut Cursor::new(&bytes), &ringfence_scan::Limits::default());
});
