//! Any bytes as a sorted table: with a footer that points anywhere.
#![no_main]
use ringfence_format::sstable;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = sstable::read(data);
    let bytes = [data, &sstable::MAGIC.to_le_bytes()].concat();
    if let Ok(table) = sstable::read(&bytes) {
        for entry in &table.entries {
            assert!(entry.offset as usize + entry.value.len() <= bytes.len());
        }
    }
});
