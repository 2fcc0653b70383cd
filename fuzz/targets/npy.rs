//! Any bytes as the header and the items of a NumPy array whose length is right.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((split, rest)) = data.split_first() else { return };
    let header = rest.len().min(1 << 15) * usize::from(*split) / 255;
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((header as u16).to_le_bytes());
    bytes.extend_from_slice(rest);
    let _ = ringfence_scan::scan_file("fuzz", &mut Cursor::new(&bytes), &ringfence_scan::Limits::default());
});
