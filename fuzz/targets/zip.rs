//! Any bytes as a zip archive, whose members are then read.
#![no_main]
use std::io::{Cursor, Read as _};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut source = Cursor::new(data);
    let Ok(archive) = ringfence_format::zip::read(&mut source) else { return };
    for member in archive.members.iter().take(8) {
        if let Ok(Some(content)) = member.open(&mut source) {
            let _ = std::io::copy(&mut content.take(1 << 16), &mut std::io::sink());
        }
    }
});
