//! Any bytes as a GGUF model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(file) = ringfence_format::gguf::read(&mut std::io::Cursor::new(data)) else { return };
    assert!(file.stop <= data.len() as u64);
});
