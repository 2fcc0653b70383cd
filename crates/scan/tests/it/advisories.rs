//! The peers' published bypasses, one case each: `tests/advisories.txt`.

use std::{fs, io::Cursor, path::Path};

use ringfence_scan::{Limits, scan_file};

use crate::samples;

struct Case {
    id: String,
    streams: Vec<Vec<u8>>,
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/advisories.txt");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| line.split(" # ").next().unwrap().trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(case).collect()
}

fn case(line: &str) -> Case {
    let mut words = line.split_whitespace();
    let (id, scanner, how) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    assert!(matches!(scanner, "picklescan" | "fickling" | "modelscan"), "{line}");
    let rest: Vec<&str> = words.collect();
    let streams = match how {
        "call" => vec![called_by_stack(&rest), called_by_lines(&rest)],
        "raw" => vec![unescaped(line.split_once(" raw ").unwrap().1.trim())],
        "sample" => vec![fs::read(samples::folder().join(rest[0])).unwrap()],
        _ => Vec::new(),
    };
    assert!(!streams.is_empty(), "{line}");
    Case { id: format!("{scanner} {id}"), streams }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend([0x8c, u8::try_from(text.len()).unwrap()]);
    out.extend(text.as_bytes());
}

fn called_by_stack(words: &[&str]) -> Vec<u8> {
    let mut out = b"\x80\x04".to_vec();
    text(&mut out, words[0]);
    text(&mut out, words[1]);
    out.extend(b"\x93(");
    words[2..].iter().for_each(|word| text(&mut out, word));
    out.extend(b"tR.");
    out
}

fn called_by_lines(words: &[&str]) -> Vec<u8> {
    let mut out = format!("c{}\n{}\n(", words[0], words[1]).into_bytes();
    words[2..].iter().for_each(|word| out.extend(format!("S'{word}'\n").bytes()));
    out.extend(b"tR.");
    out
}

pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let escape = if byte == b'\\' { bytes.next() } else { None };
        out.push(match escape {
            None => byte,
            Some(b'n') => b'\n',
            Some(b'x') => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            // `\\` and the like.
            Some(other) => other,
        });
    }
    out
}

#[test]
fn every_published_bypass_is_flagged() {
    let cases = cases();
    assert!(cases.len() > 90, "the table is there");
    let mut wrong = Vec::new();
    for case in cases {
        for stream in case.streams {
            let report = scan_file("x", &mut Cursor::new(stream), &Limits::default());
            let verdict = report.verdict.to_string();
            if verdict != "malicious" && verdict != "suspicious" {
                wrong.push(format!("{}: {verdict} {:?}", case.id, report.findings));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
