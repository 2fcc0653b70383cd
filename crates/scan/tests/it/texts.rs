//! Long texts, texts in other encodings, and what a finding about a text says.

use std::io::Cursor;

use proptest::prelude::*;
use ringfence_scan::{Limits, scan_file};
use ringfence_schema::report::FileReport;

fn scan(bytes: &[u8]) -> FileReport {
    scan_file("x", &mut Cursor::new(bytes), &Limits::default())
}

fn verdict(bytes: &[u8]) -> String {
    scan(bytes).verdict.to_string()
}

/// A JSON is read to its end whatever its length; what stands last counts.
#[test]
fn long_json() {
    let mut text = String::from("{\"vocab\": {");
    for index in 0..1_100_000 {
        text.push_str(&format!("\"token{index}\": {index}, "));
    }
    let ordinary = format!("{text}\"end\": 0}}}}");
    assert!(ordinary.len() > 20 << 20);
    assert_eq!(verdict(ordinary.as_bytes()), "clean");
    let harmful = format!("{text}\"end\": 0}}, \"_target_\": \"os.system\"}}");
    assert_eq!(verdict(harmful.as_bytes()), "malicious");
}

/// Long prose and tables are clean; long code is never called clean, wherever its harm stands.
#[test]
fn long_texts() {
    let table: String = (0..900_000).map(|index| format!("{index},\"some text, quoted\",{}\n", index * 7)).collect();
    assert!(table.len() > 20 << 20);
    assert_eq!(verdict(table.as_bytes()), "clean");
    let harm = "import os\nos.system('true')\n";
    let comments = "# nothing to see here, and more of it\n".repeat(600_000);
    assert_eq!(verdict(format!("{comments}{harm}").as_bytes()), "suspicious");
    let quoted = format!("\"\"\"\n{}\"\"\"\n{harm}", comments.replace('#', " "));
    assert_ne!(verdict(quoted.as_bytes()), "clean");
    let yaml = format!("{}z: !!python/object/apply:os.system ['true']\n", "key: value\n".repeat(1_800_000));
    assert!(matches!(verdict(yaml.as_bytes()).as_str(), "suspicious" | "malicious"));
}

/// The encoding of a text hides nothing.
#[test]
fn encodings() {
    let harm = "import os\n\n# größer\nos.system('true')\n";
    let wide = |bytes: fn(u16) -> [u8; 2], mark: [u8; 2]| {
        [mark.to_vec(), harm.encode_utf16().flat_map(bytes).collect()].concat()
    };
    assert_eq!(verdict(&wide(u16::to_le_bytes, [0xff, 0xfe])), "suspicious");
    assert_eq!(verdict(&wide(u16::to_be_bytes, [0xfe, 0xff])), "suspicious");
    let latin: Vec<u8> = harm.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(verdict(&latin), "suspicious");
    let chinese = b"\xd5\xe2\xca\xc7\xd2\xbb\xb8\xf6\xc4\xa3\xd0\xcd\xb5\xc4\xcb\xb5\xc3\xf7\xa3\xac\xc7\xeb\xd7\xd0\xcf\xb8\xd4\xc4\xb6\xc1\n\
        \xd5\xe2\xca\xc7\xd2\xbb\xb8\xf6\xc4\xa3\xd0\xcd\xb5\xc4\xcb\xb5\xc3\xf7\xa3\xac\xc7\xeb\xd7\xd0\xcf\xb8\xd4\xc4\xb6\xc1\n";
    assert_eq!(verdict(chinese), "clean");
    assert_eq!(verdict(b"\x89\xd1\x1f\x00\x92 random"), "incomplete");
}

/// A secret is never repeated.
#[test]
fn secrets_are_not_printed() {
    let token = "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";
    let report = scan(format!("token = {token}\n").as_bytes());
    assert_eq!(report.verdict.to_string(), "suspicious");
    let told = format!("{report:?}");
    assert!(!told.contains("QkTzWvBnRpLsXyGd"), "{told}");
    assert_eq!(report.findings.first().unwrap().place.offset, Some(8));
}

/// A finding in a template says under which key it stood.
#[test]
fn templates_are_placed() {
    let report = scan(br#"{"chat_template": [{"name": "tool_use", "template": "{% for m in messages %}{{ m.role.__class__ }}{% endfor %}"}]}"#);
    let finding = report.findings.first().unwrap();
    assert_eq!(finding.place.member.as_deref(), Some("template"));
    assert!(finding.message.contains("__class__"), "{}", finding.message);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is put together of their pieces, no reader of texts fails, and what says nothing is clean.
    #[test]
    fn pieces(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..40)) {
        let text = pieces.concat();
        let report = scan(text.as_bytes());
        prop_assert_eq!(report.size, text.len() as u64);
    }

    /// Records of numbers and words are clean as JSON.
    #[test]
    fn records_are_clean(words in prop::collection::vec("[a-zA-Z0-9 .,]{0,20}", 0..20), numbers in prop::collection::vec(any::<f32>(), 0..20)) {
        let numbers: Vec<f32> = numbers.into_iter().filter(|number| number.is_finite()).collect();
        let text = format!("{{\"words\": {words:?}, \"numbers\": {numbers:?}}}");
        prop_assert_eq!(verdict(text.as_bytes()), "clean");
    }
}

const PIECES: [&str; 48] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "'",
    "\n",
    "  ",
    "- ",
    "a",
    "b: ",
    "!!python/object/apply:os.system",
    "&x ",
    "*x",
    "|\n",
    ">\n",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    " if ",
    " for m in messages ",
    " endif ",
    " endfor ",
    " set x = ",
    " else ",
    "messages[0]['content']",
    " in ",
    "~",
    "|join",
    "import os",
    "os.system(",
    ")",
    "(",
    "def f():",
    "\"\"\"",
    "f'{",
    "\\",
    "\u{202e}",
    "\u{200b}",
    "_target_: ",
    "---\n",
    "%TAG ! x\n",
    "é",
];
