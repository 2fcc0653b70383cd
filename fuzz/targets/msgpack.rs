//! Any bytes as a MessagePack document, and as the array in an extension of it.
#![no_main]
use ringfence_format::msgpack;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (msgpack::is_likely(data), msgpack::array(data));
    let Ok(document) = msgpack::read(&mut std::io::Cursor::new(data)) else { return };
    assert!(document.leaves.iter().all(|leaf| leaf.offset + leaf.bytes <= data.len() as u64));
});
