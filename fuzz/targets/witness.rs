//! Any bytes as a signed note with cosignatures, as what a log asks a witness, and as what a witness answers. What is read is
//! written the same.
#![no_main]
use ringfence_trust::{
    note::{Note, parse_lines},
    vkey::VerifierKey,
    witness::{AddCheckpoint, Answer, SIZE_CONTENT_TYPE},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data);
        assert!(note.checkpoint().is_ok());
    }
    if let Ok(asked) = AddCheckpoint::parse(data) {
        assert_eq!(asked.to_string().as_bytes(), data);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(lines) = parse_lines(text) {
            assert_eq!(lines.iter().map(|line| format!("{line}\n")).collect::<String>(), text);
        }
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(key.to_string(), text);
        }
    }
    for status in [200, 403, 404, 409, 422, 500] {
        let _ = Answer::read(status, SIZE_CONTENT_TYPE, data);
    }
});
