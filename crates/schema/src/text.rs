//! How many texts a classifier still reads rightly when they are edited.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    endpoint::QueryLedger,
    report::{Check, Soundness},
};

/// Tag of [`TextReport`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextSchema {
    /// The only version so far.
    #[default]
    #[serde(rename = "ringfence.text-attack/1")]
    One,
}

/// What `attack text` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextReport {
    /// Always `ringfence.text-attack/1`.
    pub schema: TextSchema,
    /// SHA-256 of the model.
    pub model: Digest,
    /// SHA-256 of the tokenizer, where it is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Digest>,
    /// Whether the figures may be believed.
    pub verdict: Soundness,
    /// Texts that were attacked.
    pub texts: u64,
    /// Classes of the model.
    pub classes: u64,
    /// Share of texts that the model reads rightly as they are.
    pub clean_accuracy: f64,
    /// Wilson interval at 95 %.
    pub clean_ci95: [f64; 2],
    /// How many words of a text an attack may edit: `3 words`, or a share of them: `20 %`.
    pub edits: String,
    /// Most questions that one attack may ask about one text.
    pub queries_max: u64,
    /// Seed of all random choices.
    pub seed: u64,
    /// One entry for each attack.
    pub results: Vec<TextResult>,
    /// What withstands all attacks of a scope together.
    pub worst_case: Vec<TextWorst>,
    /// Texts that fooled, beside what they were.
    pub examples: Vec<TextExample>,
    /// Sanity checks; any that fails makes the report unsound.
    pub checks: Vec<Check>,
    /// Share of the texts' tokens that stand for something unknown; absent where the tokenizer is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_tokens: Option<f64>,
    /// Texts of which the model sees only the beginning; absent where the tokenizer is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<u64>,
    /// Questions asked for the whole report.
    pub asked: u64,
    /// What was sent, where the model was behind an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<QueryLedger>,
    /// What the figures cannot tell.
    pub note: String,
}

/// One attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextResult {
    /// Such as `characters`, `random-words`.
    pub attack: String,
    /// What it needs of the model: `labels`, `scores`, `weights`.
    pub needs: String,
    /// Whether people still read the same: edits of letters, and words that the user's own list calls alike.
    pub keeps_meaning: bool,
    /// Share of texts that are read rightly whatever this attack did.
    pub accuracy: f64,
    /// Wilson interval at 95 %.
    pub ci95: [f64; 2],
    /// Mean number of words edited in the texts that fooled; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edits_mean: Option<f64>,
    /// Texts that withstood until the questions were used up: more of them might fool.
    pub exhausted: u64,
    /// Questions asked.
    pub queries: u64,
}

/// What counts: a text withstands if no attack of the scope fooled the model with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextWorst {
    /// Over which attacks.
    pub scope: TextScope,
    /// Share of texts that withstand.
    pub accuracy: f64,
    /// Wilson interval at 95 %.
    pub ci95: [f64; 2],
    /// The same for fewer edits, rising from none.
    pub curve: Vec<EditPoint>,
}

/// Over which attacks a worst case is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextScope {
    /// Those after which people still read the same.
    KeepingMeaning,
    /// All, also those that put any word for another.
    All,
}

/// What withstands so many edits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EditPoint {
    /// Words edited at most.
    pub edits: u64,
    /// Share of texts that withstand.
    pub accuracy: f64,
    /// Wilson interval at 95 %.
    pub ci95: [f64; 2],
}

/// A text that fooled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextExample {
    /// Its place in the data, counted from 0.
    pub text: u64,
    /// Its class.
    pub label: u64,
    /// What it is taken for; absent where the model answers no numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<u64>,
    /// By which attack.
    pub attack: String,
    /// Words edited.
    pub edits: u64,
    /// The beginning of the text, as it was.
    pub original: String,
    /// As it fools; characters that cannot be seen are as they are.
    pub changed: String,
}
