//! Lines with a stranger's text in them, read back as their readers read them.

use std::collections::BTreeMap;

use ringfence_schema::{
    Digest, Timestamp,
    trail::{Entry, EntryKind, Opening, Outcome},
};
use serde_json::{Value, json};

use super::{Shape, csv};
use crate::trail::ShownEntry;

/// A denial of something whose name is an attack on whoever reads the export.
fn shown(subject: &str) -> ShownEntry {
    let opening = |value: Value| Opening { salt: "00".repeat(32), value };
    let reasons = json!({"digest": null, "reasons": [{"says": "no evidence"}, {"says": "=cmd|' /C calc'!A0"}]});
    ShownEntry {
        index: 41,
        entry: Entry {
            vault: "07".repeat(16),
            time: Timestamp::from_millis(1_800_000_000_123),
            kind: EntryKind::Denial,
            action: "release".into(),
            actor: "owner".into(),
            of: None,
            outcome: None,
            commits: BTreeMap::new(),
            changes: Vec::new(),
            state: Digest::of(b"state"),
        },
        leaf: Digest::of(b"leaf"),
        openings: BTreeMap::from([
            ("subject".to_owned(), opening(json!(subject))),
            ("policy".to_owned(), opening(reasons)),
        ]),
        about: String::new(),
    }
}

const HOSTILE: [&str; 9] = [
    "=HYPERLINK(\"http://evil\")",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "\u{ff1d}1",
    "a\"]\n<14>1 - forged - - - -\r\n\u{1b}[31m\u{202e}",
];

/// The cells of one record, as RFC 4180 reads it.
fn cells(record: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = record.strip_suffix("\r\n").unwrap_or_default().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            other => cell.push(other),
        }
    }
    assert!(!quoted, "{record}");
    cells.push(cell);
    cells
}

#[test]
fn csv_has_no_formula_and_no_control_character() {
    let columns = cells(csv::HEADER).len();
    for subject in HOSTILE {
        let line = Shape::Csv.line(&shown(subject)).unwrap_or_default();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let cells = cells(&line);
        assert_eq!(cells.len(), columns, "{line}");
        assert_eq!(&cells[..2], ["41".to_owned(), Digest::of(b"leaf").to_string()]);
        for cell in &cells {
            assert!(!cell.chars().any(char::is_control), "{cell:?}");
            assert!(!cell.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}']), "{cell:?}");
        }
    }
    assert_eq!(csv::cell("dataset/a@1"), "dataset/a@1");
    assert_eq!(csv::cell("say \"no\", twice"), "\"say \"\"no\"\", twice\"");
    assert_eq!(csv::cell("-1"), "\"'-1\"");
}

#[test]
fn syslog_is_one_line_with_escaped_values() {
    for subject in HOSTILE {
        let line = Shape::Syslog.line(&shown(subject)).unwrap_or_default();
        let message = line.strip_suffix('\n').unwrap_or_default();
        assert!(!message.is_empty() && !message.chars().any(char::is_control), "{message:?}");
        assert!(
            message.starts_with("<108>1 2027-01-15T08:00:00.123Z - ringfence - release [ringfence@32473 index=\"41\"")
        );
        // The element ends at the first bracket that is not escaped.
        let (data, text) = message.split_once("] \u{feff}").unwrap_or_default();
        assert!(data.contains("leaf=\"sha256:") && text.starts_with("release denied by owner"), "{message}");
        let inside = data.split_once('[').unwrap_or_default().1.replace("\\]", "").replace("\\\"", "");
        assert!(!inside.contains(']'), "{message}");
        assert_eq!(inside.matches('"').count() % 2, 0, "{message}");
    }
}

#[test]
fn ocsf_has_what_the_class_requires() {
    for (kind, outcome, status) in [
        (EntryKind::Denial, None, "Failure"),
        (EntryKind::Intent, None, "Intended"),
        (EntryKind::Outcome, Some(Outcome::Done), "Success"),
        (EntryKind::Outcome, Some(Outcome::Failed), "Failure"),
        (EntryKind::Outcome, Some(Outcome::Unknown), "Unknown"),
    ] {
        let mut shown = shown(HOSTILE[8]);
        (shown.entry.kind, shown.entry.outcome) = (kind, outcome);
        shown.entry.of = outcome.map(|_| 40);
        let line = Shape::Ocsf.line(&shown).unwrap_or_default();
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        for required in [
            "activity_id",
            "actor",
            "api",
            "category_uid",
            "class_uid",
            "metadata",
            "severity_id",
            "src_endpoint",
            "time",
            "type_uid",
        ] {
            assert!(!event[required].is_null(), "{required}: {line}");
        }
        assert_eq!(event["class_uid"], 6003);
        assert_eq!(event["type_uid"], 600_301);
        assert_eq!(event["status"], status);
        assert_eq!(event["unmapped"]["index"], 41);
        assert_eq!(event["unmapped"]["leaf"], json!(shown.leaf));
        let correlation = format!("{}/{}", shown.entry.vault, if outcome.is_some() { 40 } else { 41 });
        assert_eq!(event["metadata"]["correlation_uid"], correlation);
        assert_eq!(line.matches('\n').count(), 1);
    }
}

#[test]
fn json_lines_say_what_follows_from_an_entry() {
    let line = Shape::Jsonl.line(&shown("model/a@1")).unwrap_or_default();
    let value: Value = serde_json::from_str(&line).unwrap_or_default();
    assert_eq!(value["schema"], "ringfence.trail-line/1");
    assert_eq!(
        (&value["decision"], &value["subject"], &value["index"]),
        (&json!("denied"), &json!("model/a@1"), &json!(41))
    );
    assert_eq!(value["leaf"], json!(Digest::of(b"leaf")));
}
