//! Checks that need no model: the form of records, columns, exact duplicates, hidden characters.

use std::collections::BTreeMap;

use rayon::prelude::*;
use ringfence_schema::{
    Digest,
    finding::printable,
    report::{Column, RecordDecision},
};

use crate::{
    dataset::{Dataset, UNLABELLED},
    hygiene,
    merkle::Tree,
    options::Meter,
    record::{self, RecordHash},
    report::Book,
    rules,
    sketch::Sample,
    table::{Cell, Flaw, Format},
};

/// Canonical names of all records.
pub(crate) struct Names {
    pub(crate) root: Digest,
    pub(crate) duplicates: u64,
    /// Records of equal content (the label aside) have the same number.
    pub(crate) twins: Vec<u32>,
    pub(crate) sample: Sample,
}

/// Hashes every record, and finds exact duplicates and contradicting labels.
pub(crate) fn names(data: &Dataset, book: &mut Book, meter: &mut Meter<'_>) -> Names {
    let mut hashes: Vec<RecordHash> = Vec::with_capacity(data.len());
    while hashes.len() < data.len() {
        meter.at("hashing", hashes.len(), data.len());
        let end = (hashes.len() + HASH_WAVE).min(data.len());
        let wave: Vec<RecordHash> =
            (hashes.len()..end).into_par_iter().map(|r| record::hash(&data.table, r, data.label)).collect();
        hashes.extend(wave);
    }
    meter.at("hashing", data.len(), data.len());
    let (mut tree, mut sample) = (Tree::default(), Sample::default());
    for hash in &hashes {
        tree.push(&hash.whole);
        sample.push(&hash.whole);
    }
    let mut whole: BTreeMap<Digest, Vec<u32>> = BTreeMap::new();
    let mut content: BTreeMap<Digest, Vec<u32>> = BTreeMap::new();
    for (record, hash) in (0_u32..).zip(&hashes) {
        whole.entry(hash.whole).or_default().push(record);
        content.entry(hash.content).or_default().push(record);
    }
    let duplicates = whole.values().map(|records| records.len() as u64 - 1).sum();
    report_duplicates(&whole, duplicates, book);
    if data.label.is_some() {
        report_contradictions(data, &content, book);
        book.detector("contradicting duplicates", Ok("equal content, different labels"));
    } else {
        book.detector("contradicting duplicates", Err("no label column"));
    }
    let mut twins = vec![0; data.len()];
    for (number, records) in (0_u32..).zip(content.values()) {
        for record in records {
            twins[*record as usize] = number;
        }
    }
    Names { root: tree.root(), duplicates, twins, sample }
}

/// Turns flaws of form into decisions and one finding a kind.
pub(crate) fn form(data: &Dataset, book: &mut Book) {
    let mut counts: BTreeMap<&'static str, (u64, &'static rules::Rule)> = BTreeMap::new();
    for (record, flaw) in &data.flaws {
        let (rule, evidence) = match flaw {
            Flaw::Ragged { cells, columns } => (&rules::FORM_RAGGED, format!("{cells} cells, {columns} columns")),
            Flaw::AmbiguousQuotes => (&rules::FORM_QUOTES, "text beside a quoted field".to_owned()),
            Flaw::NotUtf8 => (&rules::FORM_UTF8, "not UTF-8".to_owned()),
            Flaw::DuplicateKey(key) => (&rules::FORM_DUPLICATE_KEY, format!("key `{}` twice", printable(key, 60))),
            Flaw::Unreadable(why) => (&rules::FORM_UNREADABLE, why.clone()),
        };
        let decision = if flaw.is_fatal() { RecordDecision::Filter } else { RecordDecision::Review };
        book.decide(*record, decision, rule, 1.0, &evidence);
        counts.entry(rule.id).or_insert((0, rule)).0 += 1;
    }
    for (count, rule) in counts.into_values() {
        book.finding(rule, &format!("{}: {count} records", rule.title));
    }
}

/// Profiles the columns, and reviews values far outside of their column's range.
pub(crate) fn columns(data: &Dataset, image: bool, book: &mut Book) -> Vec<Column> {
    let mut out = Vec::new();
    let mut constant = 0_u64;
    for (column, stats) in data.stats.iter().enumerate() {
        let missing = (data.len() as u64).saturating_sub(stats.present());
        let numeric = stats.numbers > 0;
        if out.len() < COLUMNS_SHOWN_MAX {
            out.push(Column {
                name: data.column(column),
                kind: stats.kind().to_owned(),
                missing,
                min: numeric.then_some(stats.min),
                max: numeric.then_some(stats.max),
            });
        }
        match stats.kind() {
            "empty" => book.finding(&rules::COLUMN_EMPTY, &format!("column `{}` has no values", data.column(column))),
            "mixed" if data.text.contains(&column) => {}
            "mixed" => book.finding(
                &rules::COLUMN_MIXED,
                &format!(
                    "column `{}` has {} numbers and {} other values",
                    data.column(column),
                    stats.numbers,
                    stats.present() - stats.numbers
                ),
            ),
            "integer" | "number" if stats.min >= stats.max && missing == 0 && data.len() > 1 => constant += 1,
            _ => {}
        }
    }
    if constant > 0 && data.table.format != Format::Idx {
        book.finding(&rules::COLUMN_CONSTANT, &format!("{constant} columns hold one value only"));
    }
    if !image {
        outliers(data, book);
    }
    out
}

/// Looks for hidden characters and credentials in every text cell.
pub(crate) fn texts(data: &Dataset, book: &mut Book, meter: &mut Meter<'_>) {
    if data.stats.iter().all(|stats| stats.texts == 0) {
        book.detector("hygiene", Err("no text"));
        return;
    }
    meter.at("hygiene", 0, data.len());
    let hits: Vec<Vec<(usize, hygiene::Hit)>> = (0..data.len())
        .into_par_iter()
        .map(|record| {
            let mut hits = Vec::new();
            data.table.visit(record, &mut |column, cell| {
                if let Cell::Text(text) = cell {
                    hits.extend(hygiene::inspect(&text).into_iter().map(|hit| (column, hit)));
                }
            });
            hits
        })
        .collect();
    let mut counts: BTreeMap<&'static str, (u64, &'static rules::Rule)> = BTreeMap::new();
    for (record, hits) in hits.into_iter().enumerate() {
        for (column, hit) in hits {
            let evidence = format!("column `{}`: {}", data.column(column), hit.evidence);
            book.decide(record, hit.decision, hit.rule, 1.0, &evidence);
            counts.entry(hit.rule.id).or_insert((0, hit.rule)).0 += 1;
        }
    }
    for (count, rule) in counts.into_values() {
        book.finding(rule, &format!("{}: {count} places", rule.title));
    }
    book.detector("hygiene", Ok("every text cell"));
    meter.at("hygiene", data.len(), data.len());
}

fn report_duplicates(whole: &BTreeMap<Digest, Vec<u32>>, duplicates: u64, book: &mut Book) {
    book.detector("exact duplicates", Ok("canonical hashes, rule ringfence.record/1"));
    if duplicates == 0 {
        return;
    }
    let mut groups: Vec<&Vec<u32>> = whole.values().filter(|records| records.len() > 1).collect();
    groups.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    book.finding(&rules::DUPLICATE, &format!("{duplicates} records repeat earlier ones, in {} groups", groups.len()));
    for group in groups.into_iter().filter(|group| group.len() >= DUPLICATE_GROUP_MIN).take(DUPLICATE_GROUPS_MAX) {
        let description = format!("{} copies of record {}", group.len() - 1, group[0]);
        book.candidate(&rules::DUPLICATE, group.len() as f64, &description, group);
    }
}

fn report_contradictions(data: &Dataset, content: &BTreeMap<Digest, Vec<u32>>, book: &mut Book) {
    let mut groups = 0_u64;
    for records in content.values().filter(|records| records.len() > 1) {
        let first = data.y[records[0] as usize];
        let labels: Vec<u32> = records.iter().map(|r| data.y[*r as usize]).filter(|y| *y != UNLABELLED).collect();
        if labels.iter().all(|label| *label == first) || labels.is_empty() {
            continue;
        }
        groups += 1;
        let shown: Vec<String> = records
            .iter()
            .take(DUPLICATE_SHOWN_MAX)
            .map(|r| format!("{r} (`{}`)", data.class(data.y[*r as usize])))
            .collect();
        let evidence = format!("equal content under different labels: {}", shown.join(", "));
        for record in records {
            book.decide(
                *record as usize,
                RecordDecision::Review,
                &rules::DUPLICATE_LABELS,
                records.len() as f64,
                &evidence,
            );
        }
    }
    if groups > 0 {
        book.finding(&rules::DUPLICATE_LABELS, &format!("{groups} groups of equal content have different labels"));
    }
}

/// Few values that lie far beyond all others of their column.
fn outliers(data: &Dataset, book: &mut Book) {
    let most = (data.len() / OUTLIER_SHARE).max(1);
    for at in 0..data.numbers.columns {
        let mut values: Vec<(f32, usize)> = (0..data.len())
            .map(|record| (data.numbers.row(record)[at], record))
            .filter(|(value, _)| !value.is_nan())
            .collect();
        if values.len() < OUTLIER_RECORDS_MIN {
            continue;
        }
        values.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // The body: all but the outermost values. Outliers lie several times its width away from it.
        let (low, high) = (values[most].0, values[values.len() - 1 - most].0);
        let reach = OUTLIER_REACH * (high - low);
        if reach <= 0.0 {
            continue;
        }
        for (value, record) in values.iter().take(most).chain(values.iter().rev().take(most)) {
            if *value < low - reach || *value > high + reach {
                let name = data.column(data.numeric[at]);
                let evidence = format!("`{name}` is {value}; nearly all others lie in {low}..{high}");
                let score = f64::from((low - value).max(value - high) / (high - low));
                book.decide(*record, RecordDecision::Review, &rules::VALUE_OUTLIER, score, &evidence);
            }
        }
    }
    book.detector("outliers", Ok("robust range of each numeric column"));
}

const HASH_WAVE: usize = 1 << 15;
const COLUMNS_SHOWN_MAX: usize = 4096;
const DUPLICATE_GROUP_MIN: usize = 4;
const DUPLICATE_GROUPS_MAX: usize = 20;
const DUPLICATE_SHOWN_MAX: usize = 6;
const OUTLIER_SHARE: usize = 1000;
const OUTLIER_RECORDS_MIN: usize = 50;
const OUTLIER_REACH: f32 = 3.0;
