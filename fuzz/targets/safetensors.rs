//! Any bytes as the header and the tensors of a safetensors file whose length is right.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((split, rest)) = data.split_first() else { return };
    let header = rest.len() * usize::from(*split) / 255;
    let mut bytes = (header as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(rest);
    let _ = ringfence_scan::scan_file("fuzz", &mut Cursor::new(&bytes), &ringfence_scan::Limits::default());
});
