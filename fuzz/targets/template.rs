//! Any text as a chat template of a tokenizer's configuration.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = serde_json::json!({"tokenizer_class": "LlamaTokenizer", "chat_template": text}).to_string();
    let limits = ringfence_scan::Limits::default();
    let _ = ringfence_scan::scan_file("tokenizer_config.json", &mut Cursor::new(file.as_bytes()), &limits);
});
