//! Any bytes as a file of a mirrored trail: a path, a tile, a bundle of entries. What is read is written the same.
#![no_main]
use ringfence_trust::tiles::{Part, push_entry, read_bundle, read_tile, tile_bytes};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(part) = Part::parse(text)
    {
        assert_eq!(part.path(), text);
    }
    // The first byte is the width less one.
    let Some((width, bytes)) = data.split_first() else { return };
    let width = u16::from(*width) + 1;
    if let Ok(hashes) = read_tile(bytes, width) {
        assert_eq!(tile_bytes(&hashes), bytes);
    }
    if let Ok(entries) = read_bundle(bytes, width) {
        let mut again = Vec::new();
        for entry in &entries {
            assert!(push_entry(&mut again, entry).is_ok());
        }
        assert_eq!(again, bytes);
    }
});
