//! Any bytes as a tar archive.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(archive) = ringfence_format::tar::read(&mut Cursor::new(data)) else { return };
    for member in &archive.members {
        assert!(member.data_offset + member.size <= data.len() as u64);
    }
});
