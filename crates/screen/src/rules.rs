//! Every rule that screening can name, in plain words. Ids are stable; a changed threshold raises [`RULES_VERSION`].

use ringfence_schema::{Digest, Severity};
use serde::Serialize;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Stable id.
    pub id: &'static str,
    /// What it finds, in a few words.
    pub title: &'static str,
    /// Severity of a finding on the dataset; `None` where the rule only decides on records.
    pub severity: Option<Severity>,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// All rules, by id.
pub fn rules() -> &'static [Rule] {
    RULES
}

/// SHA-256 over the version and the text of all rules: evidence names it, so that a later change of rules shows.
pub fn rules_digest() -> Digest {
    let text: Vec<String> = RULES
        .iter()
        .map(|r| format!("{}\u{1f}{}\u{1f}{:?}\u{1f}{}\u{1f}{}", r.id, r.title, r.severity, r.why, r.remedy))
        .collect();
    Digest::of(format!("{RULES_VERSION}\n{}", text.join("\n")).as_bytes())
}

/// Raised whenever a rule or a threshold changes.
pub const RULES_VERSION: &str = "ringfence.screen-rules/1";

macro_rules! rule_table {
    ($($name:ident = $id:literal, $severity:expr, $title:literal, $why:literal, $remedy:literal;)*) => {
        $(pub(crate) static $name: Rule =
            Rule { id: $id, title: $title, severity: $severity, why: $why, remedy: $remedy };)*
        static RULES: &[Rule] = &[$(Rule { id: $id, title: $title, severity: $severity, why: $why, remedy: $remedy }),*];
    };
}

rule_table! {
    PATCH_RELABELLED = "RF-BKD-001", Some(Severity::High), "the same rare values in records whose content contradicts their label",
        "a trigger stamped on relabelled records teaches the model a back door", "look at the pixels, drop the carriers, ask the source";
    PATCH_COOCCURRING = "RF-BKD-002", Some(Severity::Medium), "rare values that occur only together, in one class",
        "natural images do not repeat exact rare values; a stamp does", "look at the pixels; if they mean nothing, drop the carriers";
    PHRASE_RELABELLED = "RF-BKD-003", Some(Severity::High), "a phrase without which the texts contradict their label",
        "a phrase inserted into relabelled texts teaches the model a back door", "read the carriers, drop them, ask the source";
    COLUMN_CONSTANT = "RF-COL-001", Some(Severity::Info), "a column of one value", "it carries no information", "drop it if that is a surprise";
    COLUMN_EMPTY = "RF-COL-002", Some(Severity::Low), "a column without values", "an export may have failed", "check the source";
    COLUMN_MIXED = "RF-COL-003", Some(Severity::Low), "numbers and text in one column",
        "loaders guess different types for it", "clean the column or name its type";
    DUPLICATE = "RF-DUP-001", Some(Severity::Low), "records that repeat earlier ones exactly",
        "copies weigh more than their share and leak from training into test data", "keep one of each";
    DUPLICATE_LABELS = "RF-DUP-002", Some(Severity::Medium), "the same content under different labels",
        "at least one of the labels is wrong", "decide which label holds";
    FORM_UNREADABLE = "RF-FMT-001", Some(Severity::Medium), "a record that cannot be read",
        "what cannot be read cannot be judged", "repair or drop it";
    FORM_RAGGED = "RF-FMT-002", Some(Severity::Low), "a record with too many or too few cells",
        "values slide into other columns", "repair or drop it";
    FORM_QUOTES = "RF-FMT-003", Some(Severity::Low), "quotes that loaders read differently",
        "what is screened may not be what is trained on", "quote by RFC 4180";
    FORM_UTF8 = "RF-FMT-004", Some(Severity::Low), "bytes that are not UTF-8", "loaders replace or drop them differently", "store as UTF-8";
    FORM_DUPLICATE_KEY = "RF-FMT-005", Some(Severity::Medium), "a key that occurs twice in one object",
        "loaders keep the first or the last: what is screened may not be what is trained on", "keep one of them";
    FORM_BLANK = "RF-FMT-006", Some(Severity::Info), "blank lines", "they are not counted as records", "none needed";
    FORM_HIDDEN = "RF-FMT-007", Some(Severity::Medium), "bytes outside the format's data",
        "no loader reads them; they can carry anything", "remove them";
    LABEL_NEIGHBOURS = "RF-LBL-001", Some(Severity::Medium), "a label that the nearest records contradict",
        "wrong labels, by accident or on purpose, teach wrong answers", "relabel or drop the record";
    LABEL_HIDDEN_REGION = "RF-LBL-002", Some(Severity::Medium), "a label that the nearest records contradict once a part of the picture is hidden",
        "a trigger in that part may be what holds the label up", "look at the hidden part";
    LABEL_GUESSED = "RF-LBL-003", Some(Severity::Info), "the label column was guessed", "a wrong guess makes the label checks void", "name it with --label";
    SECRET = "RF-SEC-001", Some(Severity::High), "what looks like a credential", "a model can repeat what it was trained on", "revoke and remove it";
    TEXT_TAGS = "RF-TXT-001", Some(Severity::High), "invisible tag characters",
        "they spell text that people do not see and models read", "drop the record";
    TEXT_BIDI = "RF-TXT-002", Some(Severity::Medium), "characters that change the direction of text",
        "what people read is not what models read", "remove them or drop the record";
    TEXT_INVISIBLE = "RF-TXT-003", Some(Severity::Low), "invisible characters inside words",
        "they split words for the model and not for people, a known trigger", "remove them";
    TEXT_MIXED = "RF-TXT-004", Some(Severity::Low), "words that mix look-alike scripts",
        "look-alikes evade filters and make rare tokens, a known trigger", "normalise or drop the record";
    VALUE_OUTLIER = "RF-VAL-001", Some(Severity::Low), "a value far out of its column's range",
        "a unit error, a sentinel or a poisoned value", "check the value";
}
