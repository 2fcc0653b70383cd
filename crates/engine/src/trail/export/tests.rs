//! Lines with a stranger's text in them, read back as their readers read them.

use std::collections::BTreeMap;

use ringfence_schema::{
    Digest, Timestamp,
    trail::{Entry, EntryKind, Opening, Outcome},
};
use serde_json::{Value, json};

use super::{Press, Shape, csv};
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

/// The entry as it stands in a text.
fn line(shape: Shape, shown: &ShownEntry) -> String {
    String::from_utf8(Press::of(shape).entry(shown).unwrap_or_default()).unwrap_or_default()
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
        let line = line(Shape::Csv, &shown(subject));
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
        let line = line(Shape::Syslog, &shown(subject));
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
        (EntryKind::Access, None, "Success"),
        (EntryKind::Outcome, Some(Outcome::Failed), "Failure"),
        (EntryKind::Outcome, Some(Outcome::Unknown), "Unknown"),
    ] {
        let mut shown = shown(HOSTILE[8]);
        (shown.entry.kind, shown.entry.outcome) = (kind, outcome);
        shown.entry.of = outcome.map(|_| 40);
        let line = line(Shape::Ocsf, &shown);
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
    let line = line(Shape::Jsonl, &shown("model/a@1"));
    let value: Value = serde_json::from_str(&line).unwrap_or_default();
    assert_eq!(value["schema"], "ringfence.trail-line/1");
    assert_eq!(
        (&value["decision"], &value["subject"], &value["index"]),
        (&json!("denied"), &json!("model/a@1"), &json!(41))
    );
    assert_eq!(value["leaf"], json!(Digest::of(b"leaf")));
}

/// What a reader of Thrift's compact protocol sees: numbers as they are, text, lists, structs by field.
#[derive(Debug, Clone, PartialEq)]
enum Thrift {
    Number(i64),
    Text(String),
    List(Vec<Thrift>),
    Struct(BTreeMap<u8, Thrift>),
}

impl Thrift {
    fn field(&self, id: u8) -> &Self {
        let Self::Struct(fields) = self else { panic!("{self:?} is no struct") };
        &fields[&id]
    }

    fn number(&self, id: u8) -> usize {
        let Self::Number(number) = self.field(id) else { panic!("{id} is no number") };
        usize::try_from(*number).unwrap_or_default()
    }

    fn list(&self, id: u8) -> &[Self] {
        let Self::List(list) = self.field(id) else { panic!("{id} is no list") };
        list
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, length: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn varint(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn value(&mut self, kind: u8) -> Thrift {
        match kind {
            5 | 6 => {
                let number = self.varint();
                Thrift::Number((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
            }
            8 => {
                let length = self.varint();
                let text = self.take(usize::try_from(length).unwrap_or_default()).to_vec();
                Thrift::Text(String::from_utf8(text).unwrap_or_default())
            }
            9 => {
                let head = self.take(1)[0];
                let length = if head >> 4 == 15 { self.varint() } else { u64::from(head >> 4) };
                Thrift::List((0..length).map(|_| self.value(head & 15)).collect())
            }
            12 => {
                let (mut fields, mut id) = (BTreeMap::new(), 0);
                loop {
                    let head = self.take(1)[0];
                    if head == 0 {
                        return Thrift::Struct(fields);
                    }
                    id += head >> 4;
                    let value = self.value(head & 15);
                    assert!(fields.insert(id, value).is_none(), "field {id} twice");
                }
            }
            other => panic!("type {other}"),
        }
    }
}

/// The columns of a Parquet file by name: text as it is, numbers in decimal.
fn columns(file: &[u8]) -> BTreeMap<String, Vec<String>> {
    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
    let (head, _) = file.split_at(file.len() - 4);
    let (head, length) = head.split_at(head.len() - 4);
    let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
    let footer = Reader(&head[head.len() - usize::try_from(length).unwrap_or_default()..]).value(12);
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for group in footer.list(4) {
        for chunk in group.list(1) {
            let meta = chunk.field(3);
            let (from, length) = (meta.number(9), meta.number(7));
            let mut page = Reader(&file[from..from + length]);
            let header = page.value(12);
            assert_eq!((header.number(1), header.number(3)), (0, page.0.len()));
            assert_eq!(header.field(5).number(1), group.number(3));
            let [Thrift::Text(name)] = meta.list(3) else { panic!("{meta:?}") };
            let column = columns.entry(name.clone()).or_default();
            for _ in 0..group.number(3) {
                column.push(if meta.number(1) == 6 {
                    let length = u32::from_le_bytes(page.take(4).try_into().unwrap_or_default());
                    String::from_utf8_lossy(page.take(usize::try_from(length).unwrap_or_default())).into_owned()
                } else {
                    u64::from_le_bytes(page.take(8).try_into().unwrap_or_default()).to_string()
                });
            }
            assert!(page.0.is_empty());
        }
    }
    let rows: usize = footer.list(4).iter().map(|group| group.number(3)).sum();
    assert_eq!(footer.number(3), rows);
    assert_eq!(footer.list(2).len(), 13);
    columns
}

/// The whole file of `rows` entries.
fn table(rows: u64) -> Vec<u8> {
    let mut press = Press::of(Shape::Parquet);
    let mut file = press.begin();
    for index in 0..rows {
        let mut shown = shown(HOSTILE[usize::try_from(index).unwrap_or_default() % HOSTILE.len()]);
        shown.index = index;
        file.extend(press.entry(&shown).unwrap_or_default());
    }
    file.extend(press.end());
    file
}

#[test]
fn a_parquet_table_reads_back_over_several_row_groups() {
    assert!(columns(&table(0)).is_empty());
    let columns = columns(&table(9_000));
    assert_eq!(columns.len(), 12);
    let indexes: Vec<String> = (0..9_000).map(|index| index.to_string()).collect();
    assert_eq!(columns["index"], indexes);
    assert_eq!(columns["of"], indexes);
    assert_eq!(columns["leaf"][8_999], Digest::of(b"leaf").to_string());
    assert_eq!(columns["time"][1], "1800000000123");
    assert_eq!((columns["kind"][0].as_str(), columns["decision"][0].as_str()), ("denial", "denied"));
    assert_eq!(columns["subject"][0], HOSTILE[0]);
    assert!(columns["subject"].iter().all(|text| !text.chars().any(char::is_control)));
    assert!(columns["reason"][0].contains("no evidence"));
}
