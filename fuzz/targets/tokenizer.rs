//! Any bytes as a `tokenizer.json`, a text after it, and as a list of synonyms.
#![no_main]

use ringfence_attack::{Synonyms, Tokenizer};

/// Tokens of a text.
const LENGTH: usize = 64;
/// What is encoded where the bytes hold no text of their own.
const TEXT: &str = "The film wasn't na\u{ef}ve \u{200b}[SEP] \u{4f60}\u{597d} 12 \u{1f600}";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // A zero byte, which JSON never has, parts the file from the text.
    let (file, text) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], String::from_utf8_lossy(&data[at + 1..]).into_owned()),
        None => (data, TEXT.to_owned()),
    };
    if let Ok(tokenizer) = Tokenizer::parse(file) {
        let found = tokenizer.encode(&text, LENGTH);
        assert_eq!(found.ids.len(), found.types.len());
        assert!(found.ids.iter().all(|id| *id <= tokenizer.id_max()));
        for (id, word) in tokenizer.words() {
            assert_eq!(tokenizer.token_of(&word), Some(id));
        }
    }
    if let Ok(list) = std::str::from_utf8(data) {
        let _ = Synonyms::parse(list);
    }
});
