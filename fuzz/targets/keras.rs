//! Any text as the configuration of a Keras model, as a file and inside `model_config`.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = br#"{"class_name": "Sequential", "keras_version": "3.0", "config": "#.to_vec();
    bytes.extend_from_slice(data);
    bytes.push(b'}');
    for file in [data, &bytes] {
        let _ = ringfence_scan::scan_file("config.json", &mut Cursor::new(file), &ringfence_scan::Limits::default());
    }
});
