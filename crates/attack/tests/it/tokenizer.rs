//! Tokenizers: the ids of the reference implementation, and files that are hostile.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use ringfence_attack::{Tokenizer, TokenizerError};

/// A file of the text data.
pub(crate) fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/it/data/text/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

const KINDS: [&str; 5] = ["wordpiece", "bytelevel", "metaspace", "wordlevel", "unigram"];

#[test]
fn ids_are_those_of_the_reference() {
    let expected: serde_json::Value = serde_json::from_slice(&data("expected.json")).unwrap();
    assert!(expected["source"].as_str().unwrap().starts_with("Hugging Face tokenizers"));
    let texts = expected["texts"].as_array().unwrap();
    let mut wrong = String::new();
    for kind in KINDS {
        let tokenizer = Tokenizer::parse(&data(&format!("{kind}.json"))).unwrap();
        for (text, ids) in texts.iter().zip(expected["ids"][kind].as_array().unwrap()) {
            let text = text.as_str().unwrap();
            let found = tokenizer.encode(text, 512).ids;
            let ids: Vec<u32> =
                ids.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect();
            if found != ids {
                writeln!(wrong, "{kind} {text:?}\n  found    {found:?}\n  expected {ids:?}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn limits_of_a_text_are_kept() {
    let tokenizer = Tokenizer::parse(&data("wordpiece.json")).unwrap();
    let whole = tokenizer.encode("the film was good", 512);
    assert!(!whole.truncated && whole.unknown == 0 && whole.ids.len() == 6);
    let cut = tokenizer.encode("the film was good", 4);
    assert!(cut.truncated && cut.ids.len() == 4);
    assert_eq!((cut.ids[0], cut.ids[3]), (2, 3), "special tokens stay");
    assert_eq!(tokenizer.encode("the", 0).ids.len(), 2);
    let long = "word ".repeat(1 << 16);
    assert!(tokenizer.encode(&long, 1 << 20).ids.len() < 1 << 16);
    assert_eq!(tokenizer.encode("\u{4f60}", 9).unknown, 1);
    assert_eq!(tokenizer.token_of("good").map(|id| vec![id]), Some(tokenizer.tokens_of("good")));
    assert!(tokenizer.words().iter().any(|(_, word)| word == "good"));
}

/// A small file with one part put in.
fn file(part: &str) -> String {
    let model = r#""model":{"type":"WordLevel","vocab":{"a":0,"[UNK]":1},"unk_token":"[UNK]"}"#;
    if part.contains("\"model\"") { format!("{{{part}}}") } else { format!("{{{part},{model}}}") }
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let cases = [
        (r#""model":{"type":"Unigram","unk_id":1,"vocab":[["a",-1.0]]}"#, "unknown token"),
        (r#""model":{"type":"Unigram","vocab":{"a":0}}"#, "Unigram"),
        (r#""model":{"type":"BPE","vocab":[["a",-1.0]]}"#, "BPE"),
        (r#""model":{"type":"Morse","vocab":{}}"#, "Morse"),
        (r#""model":{"type":"WordPiece","vocab":{"a":0},"unk_token":"[UNK]"}"#, "[UNK]"),
        (r#""model":{"type":"WordPiece","vocab":{},"max_input_chars_per_word":100000}"#, "characters of a word"),
        (r#""model":{"type":"WordLevel","vocab":{"a":16777216}}"#, "16777216"),
        (r#""model":{"type":"WordLevel","vocab":{"a":-1}}"#, "not the expected JSON"),
        (r#""model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}"#, "`b`"),
        (r#""model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}"#, "two tokens"),
        (r#""model":{"type":"BPE","vocab":{"a":0},"merges":[["a","a"]]}"#, "`aa`"),
        (r#""model":{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}"#, "dropout"),
        (r#""normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}"#, "cut short"),
        (r#""normalizer":{"type":"Precompiled","precompiled_charsmap":"CAAAAAAAAAA="}"#, "cut short"),
        (r#""normalizer":{"type":"Precompiled","precompiled_charsmap":"AgAAAAAA"}"#, "whole length"),
        (r#""normalizer":{"type":"Precompiled","precompiled_charsmap":"!"}"#, "base64"),
        (r#""normalizer":{"type":"Replace","pattern":{"Regex":"(a+)+b"},"content":""}"#, "(a+)+b"),
        (r#""normalizer":{"type":"Lowercase","turkish":true}"#, "turkish"),
        (r#""pre_tokenizer":{"type":"Split","pattern":{"Regex":"x"},"behavior":"Isolated","invert":false}"#, "Split"),
        (r#""pre_tokenizer":{"type":"Punctuation","behavior":"MergedWithNext"}"#, "MergedWithNext"),
        (r#""post_processor":{"type":"TemplateProcessing","single":[],"special_tokens":{}}"#, "no place"),
        (
            r#""post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[X]","type_id":0}}],"special_tokens":{}}"#,
            "[X]",
        ),
        (r#""truncation":{"direction":"Left","max_length":8}"#, "left"),
        (r#""added_tokens":[{"id":9,"content":"x","single_word":true}]"#, "single_word"),
        (r#""added_tokens":[{"id":9,"content":""}]"#, "empty"),
        (r#""version":"1.0","version":"2.0""#, "version"),
    ];
    for (part, named) in cases {
        let error = Tokenizer::parse(file(part).as_bytes()).unwrap_err();
        assert!(error.to_string().contains(named), "{part}: {error}");
    }
    let sequence = |depth: usize| {
        let open = r#"{"type":"Sequence","normalizers":["#.repeat(depth);
        format!(r#""normalizer":{open}{{"type":"NFC"}}{}"#, "]}".repeat(depth))
    };
    assert!(Tokenizer::parse(file(&sequence(20)).as_bytes()).is_ok());
    assert!(matches!(Tokenizer::parse(file(&sequence(200)).as_bytes()), Err(TokenizerError::Unreadable(_))));
    let many = vec![r#"{"type":"NFC"}"#; 65].join(",");
    let many = format!(r#""normalizer":{{"type":"Sequence","normalizers":[{many}]}}"#);
    assert!(matches!(Tokenizer::parse(file(&many).as_bytes()), Err(TokenizerError::TooMany { .. })));
}

#[test]
fn growth_is_bounded() {
    let swell = r#"{"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#;
    let steps = vec![swell; 60].join(",");
    let part = format!(r#""normalizer":{{"type":"Sequence","normalizers":[{steps}]}}"#);
    let tokenizer = Tokenizer::parse(file(&part).as_bytes()).unwrap();
    assert_eq!(tokenizer.encode(&"a".repeat(1000), 512).ids, [1]);
    // A map in which each `a` becomes a mebibyte: its root, the byte's unit with a value behind it, and the value, 0.
    let mut units = [0_u32; 256];
    (units[0], units[0x61], units[0x60]) = (0, 1 << 10 | 1 << 8 | 0x61, 1 << 31);
    let mut map = 1024_u32.to_le_bytes().to_vec();
    map.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    map.extend(std::iter::repeat_n(b'b', 1 << 20));
    let map = STANDARD.encode(map);
    let part = format!(r#""normalizer":{{"type":"Precompiled","precompiled_charsmap":"{map}"}}"#);
    let tokenizer = Tokenizer::parse(file(&part).as_bytes()).unwrap();
    assert_eq!(tokenizer.encode(&"a".repeat(60_000), 512).ids, [1]);
    // Pieces that begin alike, and a text of nothing else.
    let pieces: Vec<String> = (1..=256).map(|count| format!(r#"["{}",-{count}]"#, "a".repeat(count))).collect();
    let part = format!(r#""model":{{"type":"Unigram","vocab":[{}]}}"#, pieces.join(","));
    let tokenizer = Tokenizer::parse(file(&part).as_bytes()).unwrap();
    assert_eq!(tokenizer.encode(&"a".repeat(60_000), 1 << 17).ids.len(), 60_000 / 256 + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_has_ids_of_the_vocabulary(text in any::<String>(), kind in 0..5_usize, length in 0..40_usize) {
        let tokenizer = Tokenizer::parse(&data(&format!("{}.json", KINDS[kind]))).unwrap();
        let found = tokenizer.encode(&text, length);
        prop_assert!(found.ids.iter().all(|id| *id <= tokenizer.id_max()));
        prop_assert_eq!(found.ids.len(), found.types.len());
        prop_assert!(found.ids.len() <= length.max(2));
        prop_assert_eq!(&tokenizer.encode(&text, length), &found);
    }

    #[test]
    fn damaged_files_are_read_or_refused(kind in 0..5_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = data(&format!("{}.json", KINDS[kind]));
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(tokenizer) = Tokenizer::parse(&bytes) {
            let found = tokenizer.encode("The film wasn't na\u{ef}ve \u{200b}[SEP] \u{4f60}", 16);
            prop_assert!(found.ids.len() <= 16);
        }
    }
}
