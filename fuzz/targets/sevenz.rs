//! Any bytes as a 7z archive, whose members are then read.
#![no_main]
use std::io::{Cursor, Read as _};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut members = 0;
    let _ = ringfence_format::sevenz::walk(&mut Cursor::new(data), &mut |_, content| {
        members += 1;
        let _ = std::io::copy(&mut content.take(1 << 16), &mut std::io::sink());
        members < 8
    });
});
