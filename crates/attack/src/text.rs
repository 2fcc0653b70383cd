//! Attacks on classifiers of texts: edits of letters and words until the model reads something else.
//!
//! * [`attack_text`] runs [`TextMethod`]s over [`TextExamples`] and answers with a card that is `unsound` when a sanity check fails.
//! * [`ReadText`] is what can be attacked: a [`TextModel`] (ONNX behind a [`Tokenizer`]) or a [`TextCallback`]; each method names the
//!   [`Capability`] that it needs.
//! * `words` finds the words, `edits` says what one may become, `search` goes through a text, `checks` doubts the outcome.
//!
//! An edit changes one word. Edits of letters are one insertion, deletion, exchange or swap, so that people read the same; a
//! word from the user's own list of synonyms means the same as far as that list is right. Neighbours in the model's own embeddings,
//! gradients and random words may say something else: their figures stand apart. Absent on purpose: a lexicon of our own, and any
//! model that would judge whether a meaning is kept.

mod checks;
mod edits;
mod search;
mod source;
mod tokenizer;
mod words;

use std::fmt;

use rayon::prelude::*;
use ringfence_schema::{
    report::Soundness,
    text::{EditPoint, TextExample, TextReport, TextResult, TextSchema, TextScope, TextWorst},
};

pub use edits::Synonyms;
pub use source::{LENGTH_DEFAULT, LENGTH_MAX, ReadText, TextCallback, TextModel};
pub use tokenizer::{Encoding, FILE_BYTES_MAX as TOKENIZER_BYTES_MAX, TEXT_BYTES_MAX, Tokenizer, TokenizerError};

use crate::{error::AttackError, loss::winner, plan::bounded, source::Capability, stats::wilson95};
use search::{Outcome, Search};

/// What a word is changed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Slips and tricks of spelling that can be seen.
    Characters,
    /// A letter that looks the same.
    Homoglyphs,
    /// A character that cannot be seen.
    Invisible,
    /// A word from the user's list.
    Synonyms,
    /// A word that is near in the model's own embeddings.
    Neighbours,
    /// Any word of the texts.
    Words,
}

/// An attack on texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextMethod {
    /// The words that matter most first, in each the candidate that helps most.
    Guided(Kind),
    /// Random words, random candidates: the baseline, and all that labels allow.
    Random(Kind),
    /// Words that the slope at the embeddings recommends.
    HotFlip,
}

impl TextMethod {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 12] = [
        ("characters", Self::Guided(Kind::Characters)),
        ("homoglyphs", Self::Guided(Kind::Homoglyphs)),
        ("invisible", Self::Guided(Kind::Invisible)),
        ("synonyms", Self::Guided(Kind::Synonyms)),
        ("neighbours", Self::Guided(Kind::Neighbours)),
        ("words", Self::Guided(Kind::Words)),
        ("hotflip", Self::HotFlip),
        ("random-characters", Self::Random(Kind::Characters)),
        ("random-homoglyphs", Self::Random(Kind::Homoglyphs)),
        ("random-invisible", Self::Random(Kind::Invisible)),
        ("random-synonyms", Self::Random(Kind::Synonyms)),
        ("random-words", Self::Random(Kind::Words)),
    ];

    /// The method of this name.
    pub fn named(name: &str) -> Result<Self, AttackError> {
        let known = || Self::ALL.map(|(name, _)| name).join(", ");
        let found = Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, method)| *method);
        found.ok_or_else(|| AttackError::plan("attack", name, format!("one of {}", known())))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, method)| *method == self).map_or("random-neighbours", |(name, _)| name)
    }

    /// What it needs of the model.
    pub const fn needs(self) -> Capability {
        match self {
            Self::HotFlip | Self::Guided(Kind::Neighbours) | Self::Random(Kind::Neighbours) => Capability::Parameters,
            Self::Guided(_) => Capability::Predict,
            Self::Random(_) => Capability::Labels,
        }
    }

    /// Whether people read the same afterwards, as far as edits of letters and the user's own list go.
    pub const fn keeps_meaning(self) -> bool {
        match self {
            Self::HotFlip => false,
            Self::Guided(kind) | Self::Random(kind) => !matches!(kind, Kind::Neighbours | Kind::Words),
        }
    }

    /// What its random choices begin with.
    const fn number(self) -> u64 {
        match self {
            Self::Guided(kind) => kind as u64,
            Self::Random(kind) => 16 + kind as u64,
            Self::HotFlip => 32,
        }
    }

    /// Those that a model of this kind and these settings leave open.
    fn open_to(source: &dyn ReadText, plan: &TextPlan) -> Vec<Self> {
        let (has, table) = (source.capability(), source.open().is_some_and(TextModel::has_embeddings));
        let usual = |method: &Self| match method {
            Self::Guided(Kind::Synonyms) => !plan.synonyms.is_empty(),
            Self::Random(Kind::Synonyms) => !plan.synonyms.is_empty() && has == Capability::Labels,
            Self::Random(Kind::Homoglyphs | Kind::Invisible) => has == Capability::Labels,
            Self::HotFlip | Self::Guided(Kind::Neighbours) => table,
            _ => true,
        };
        let all = Self::ALL.iter().map(|(_, method)| *method);
        all.filter(usual).filter(|method| method.needs() <= has).collect()
    }
}

/// How many words of a text may be edited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EditLimit {
    /// So many.
    Words(usize),
    /// This share of them, at least one.
    Share(f64),
}

impl EditLimit {
    /// Reads `3` or `20%`.
    pub fn named(text: &str) -> Result<Self, AttackError> {
        let wrong = || AttackError::plan("edits", text, "a number of words such as 3, or a share of them such as 20%");
        let limit = match text.trim().strip_suffix('%') {
            Some(share) => Self::Share(share.trim_end().parse::<f64>().map_err(|_| wrong())? / 100.0),
            None => Self::Words(text.trim().parse().map_err(|_| wrong())?),
        };
        limit.check().map_err(|_| wrong())?;
        Ok(limit)
    }

    fn of(self, words: usize) -> usize {
        match self {
            Self::Words(count) => count.min(words),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share between 0 and 1 of a small number"
            )]
            Self::Share(share) => ((share * words as f64 + 1e-9) as usize).clamp(1, words.max(1)).min(words),
        }
    }

    fn check(self) -> Result<(), AttackError> {
        match self {
            Self::Words(count) => bounded("edits", count as u64, 1, words::WORDS_MAX as u64),
            Self::Share(share) if share > 0.0 && share <= 1.0 => Ok(()),
            Self::Share(share) => Err(AttackError::plan("edits", share.to_string(), "a share above 0, at most 1")),
        }
    }
}

impl fmt::Display for EditLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(1) => f.write_str("1 word"),
            Self::Words(count) => write!(f, "{count} words"),
            Self::Share(share) => write!(f, "{} % of the words, at least 1", (share * 1e4).round() / 100.0),
        }
    }
}

/// Settings of [`attack_text`].
#[derive(Debug, Clone, PartialEq)]
pub struct TextPlan {
    /// Attacks; what the model and the list of synonyms leave open where there are none.
    pub methods: Vec<TextMethod>,
    /// How many words of a text may be edited.
    pub edits: EditLimit,
    /// Most questions that one attack may ask about one text, at least [`TEXT_QUERIES_MIN`].
    pub queries: u64,
    /// Words that may stand for one another.
    pub synonyms: Synonyms,
    /// Texts that are shown.
    pub examples: usize,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for TextPlan {
    fn default() -> Self {
        Self {
            methods: Vec::new(),
            edits: EditLimit::Share(0.2),
            queries: 1_000,
            synonyms: Synonyms::default(),
            examples: 12,
            seed: 0,
        }
    }
}

/// Texts with their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextExamples {
    texts: Vec<String>,
    labels: Vec<usize>,
    /// Where each stood before some were drawn.
    places: Vec<usize>,
}

impl TextExamples {
    /// Puts them together. Refuses none, more than [`TEXTS_MAX`], texts beyond [`TEXT_BYTES_MAX`], and not one label for each.
    pub fn new(texts: Vec<String>, labels: Vec<usize>) -> Result<Self, AttackError> {
        if texts.len() != labels.len() {
            return Err(AttackError::Count { rows: texts.len(), labels: labels.len() });
        }
        if texts.is_empty() {
            return Err(AttackError::Empty { what: "texts" });
        }
        bounded("texts", texts.len() as u64, 1, TEXTS_MAX as u64)?;
        if let Some((place, text)) = texts.iter().enumerate().find(|(_, text)| text.len() > TEXT_BYTES_MAX) {
            let problem = format!("text {place} has {} bytes, limit is {TEXT_BYTES_MAX}", text.len());
            return Err(AttackError::Text { problem });
        }
        let places = (0..texts.len()).collect();
        Ok(Self { texts, labels, places })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.texts.len()
    }

    /// At most `count` of them, drawn without replacement and kept in their order; all where `count` is 0.
    #[must_use]
    pub fn sample(self, count: usize, seed: u64) -> Self {
        if count == 0 || count >= self.count() {
            return self;
        }
        let mut places = crate::random::stream(seed, &[SAMPLE_STREAM]).permutation(self.count());
        places.truncate(count);
        places.sort_unstable();
        Self {
            texts: places.iter().map(|place| self.texts[*place].clone()).collect(),
            labels: places.iter().map(|place| self.labels[*place]).collect(),
            places: places.iter().map(|place| self.places[*place]).collect(),
        }
    }
}

/// What all attacks on texts have in common.
struct Methods {
    edits: EditLimit,
    queries: u64,
    synonyms: Synonyms,
    /// Words of the texts, for random ones.
    vocabulary: Vec<String>,
    seed: u64,
}

/// What the model makes of the texts as they are.
struct Clean {
    rows: Vec<Vec<f32>>,
    classes: usize,
    right: Vec<bool>,
}

/// One attack with what came of it for each text; none where the model was wrong before.
struct Done {
    method: TextMethod,
    outcomes: Vec<Option<Outcome>>,
}

/// Attacks a classifier of texts and tells how many texts withstand.
///
/// A text that the model reads wrongly as it is counts as one that does not withstand; nothing is tried on it. `progress` is called
/// with the number of texts done, over all attacks, and their total. The same seed gives the same report on any number of cores.
///
/// # Errors
/// A method that needs more than the model has, labels out of range, plans outside their limits, a model that does not answer.
pub fn attack_text(
    source: &dyn ReadText,
    examples: &TextExamples,
    plan: &TextPlan,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<TextReport, AttackError> {
    let methods = checked(source, plan)?;
    let clean = clean(source, examples)?;
    let common = Methods {
        edits: plan.edits,
        queries: plan.queries,
        synonyms: plan.synonyms.clone(),
        vocabulary: vocabulary(examples),
        seed: plan.seed,
    };
    let mut asked = examples.count() as u64;
    let mut all = Vec::with_capacity(methods.len());
    let total = methods.len() * examples.count();
    for method in &methods {
        let mut outcomes = Vec::with_capacity(examples.count());
        let places: Vec<usize> = (0..examples.count()).collect();
        for chunk in places.chunks(CHUNK) {
            progress(all.len() * examples.count() + outcomes.len(), total);
            let one = |place: &usize| -> Result<Option<Outcome>, AttackError> {
                if !clean.right[*place] {
                    return Ok(None);
                }
                let (text, label) = (examples.texts[*place].as_str(), examples.labels[*place]);
                Search::new(source, &common, *method, (*place, text, label)).run(*method).map(Some)
            };
            outcomes.extend(chunk.par_iter().map(one).collect::<Result<Vec<_>, _>>()?);
        }
        asked += outcomes.iter().flatten().map(|outcome| outcome.asked).sum::<u64>();
        all.push(Done { method: *method, outcomes });
    }
    progress(total, total);
    let checking = checks::Checking { source, examples, clean: &clean, done: &all, edits: plan.edits };
    let checked = checking.run()?;
    let right = clean.right.iter().filter(|right| **right).count();
    let (unknown_tokens, truncated) = seen(source, examples);
    Ok(TextReport {
        schema: TextSchema::One,
        model: source.digest()?,
        tokenizer: None,
        verdict: if checked.checks.iter().all(|check| check.passed) { Soundness::Sound } else { Soundness::Unsound },
        texts: examples.count() as u64,
        classes: clean.classes as u64,
        clean_accuracy: right as f64 / examples.count() as f64,
        clean_ci95: wilson95(right, examples.count()),
        edits: plan.edits.to_string(),
        queries_max: plan.queries,
        seed: plan.seed,
        results: all.iter().map(|done| result(done, examples.count())).collect(),
        worst_case: [TextScope::KeepingMeaning, TextScope::All]
            .into_iter()
            .filter_map(|scope| worst(scope, &all, &clean.right))
            .collect(),
        examples: shown(examples, &all, &checked.predicted, plan.examples),
        checks: checked.checks,
        unknown_tokens,
        truncated,
        asked: asked + checked.asked,
        ledger: None,
        note: NOTE.into(),
    })
}

/// The methods, each of which the model can be attacked with.
fn checked(source: &dyn ReadText, plan: &TextPlan) -> Result<Vec<TextMethod>, AttackError> {
    plan.edits.check()?;
    bounded("queries", plan.queries, TEXT_QUERIES_MIN, TEXT_QUERIES_MAX)?;
    bounded("examples", plan.examples as u64, 0, EXAMPLES_MAX as u64)?;
    let mut methods = if plan.methods.is_empty() { TextMethod::open_to(source, plan) } else { plan.methods.clone() };
    methods.sort_unstable();
    methods.dedup();
    for method in &methods {
        if method.needs() > source.capability() {
            return Err(AttackError::Capability {
                attack: method.name().to_owned(),
                needs: method.needs(),
                model: source.name().to_owned(),
                has: source.capability(),
            });
        }
        let table = source.open().is_some_and(TextModel::has_embeddings);
        if method.needs() == Capability::Parameters && !table {
            let problem = "the graph has no table of embeddings that is asked with the token ids, or no word has a row of its own";
            return Err(AttackError::Text { problem: format!("`{}` cannot be tried: {problem}", method.name()) });
        }
        let wants_list = matches!(method, TextMethod::Guided(Kind::Synonyms) | TextMethod::Random(Kind::Synonyms));
        if wants_list && plan.synonyms.is_empty() {
            return Err(AttackError::Text { problem: format!("`{}` needs a list of synonyms", method.name()) });
        }
    }
    Ok(methods)
}

fn clean(source: &dyn ReadText, examples: &TextExamples) -> Result<Clean, AttackError> {
    let mut rows = Vec::with_capacity(examples.count());
    for chunk in examples.texts.chunks(CLEAN_CHUNK) {
        rows.extend(source.scores(chunk)?);
    }
    let classes = rows.first().map_or(0, Vec::len);
    if let Some((example, label)) = examples.labels.iter().enumerate().find(|(_, label)| **label >= classes) {
        return Err(AttackError::Label { example: examples.places[example], label: *label, classes });
    }
    let right = rows.iter().zip(&examples.labels).map(|(row, label)| winner(row) == Some(*label)).collect();
    Ok(Clean { rows, classes, right })
}

/// Words of letters that the texts have, each once, sorted.
fn vocabulary(examples: &TextExamples) -> Vec<String> {
    let mut found = std::collections::BTreeSet::new();
    for text in &examples.texts {
        for range in words::of(text) {
            let word = text.get(range).unwrap_or("");
            if word.chars().nth(1).is_some() && word.chars().all(char::is_alphabetic) {
                found.insert(word.to_lowercase());
            }
        }
        if found.len() >= VOCABULARY_MAX {
            break;
        }
    }
    found.into_iter().filter(|word| words::is_one(word)).collect()
}

fn result(done: &Done, count: usize) -> TextResult {
    let tried = || done.outcomes.iter().flatten();
    let edits: Vec<usize> = tried().filter_map(|outcome| outcome.fooling.as_ref()).map(|(_, edits)| *edits).collect();
    let stands = tried().count() - edits.len();
    TextResult {
        attack: done.method.name().to_owned(),
        needs: done.method.needs().to_string(),
        keeps_meaning: done.method.keeps_meaning(),
        accuracy: stands as f64 / count as f64,
        ci95: wilson95(stands, count),
        edits_mean: (!edits.is_empty()).then(|| edits.iter().sum::<usize>() as f64 / edits.len() as f64),
        exhausted: tried().filter(|outcome| outcome.fooling.is_none() && outcome.exhausted).count() as u64,
        queries: tried().map(|outcome| outcome.asked).sum(),
    }
}

/// What withstands all attacks of a scope; nothing where the scope has none of its own.
fn worst(scope: TextScope, all: &[Done], right: &[bool]) -> Option<TextWorst> {
    let within = |done: &&Done| scope == TextScope::All || done.method.keeps_meaning();
    let own = all.iter().any(|done| done.method.keeps_meaning() == (scope == TextScope::KeepingMeaning));
    if !own {
        return None;
    }
    let fewest = |place: usize| {
        let outcomes = all.iter().filter(within).filter_map(|done| done.outcomes.get(place)?.as_ref());
        outcomes.filter_map(|outcome| outcome.fooling.as_ref()).map(|(_, edits)| *edits).min()
    };
    // A text that was wrong before has fallen with no edit at all.
    let fallen: Vec<Option<usize>> =
        right.iter().enumerate().map(|(place, right)| if *right { fewest(place) } else { Some(0) }).collect();
    let most = fallen.iter().flatten().copied().max().unwrap_or(0).min(CURVE_MAX);
    let standing = |edits: usize| fallen.iter().filter(|fell| fell.is_none_or(|fell| fell > edits)).count();
    let point = |edits: usize| EditPoint {
        edits: edits as u64,
        accuracy: standing(edits) as f64 / right.len() as f64,
        ci95: wilson95(standing(edits), right.len()),
    };
    let stands = fallen.iter().filter(|fell| fell.is_none()).count();
    Some(TextWorst {
        scope,
        accuracy: stands as f64 / right.len() as f64,
        ci95: wilson95(stands, right.len()),
        curve: (0..=most).map(point).collect(),
    })
}

/// Texts that fooled, in their order: of each the one that keeps the meaning if there is one, with the fewest edits.
fn shown(examples: &TextExamples, all: &[Done], predicted: &checks::Predicted, count: usize) -> Vec<TextExample> {
    let best = |place: usize| {
        let fooling = |(index, done): (usize, &Done)| {
            let (_, edits) = done.outcomes.get(place)?.as_ref()?.fooling.as_ref()?;
            Some((!done.method.keeps_meaning(), *edits, index))
        };
        let (_, edits, index) = all.iter().enumerate().filter_map(fooling).min()?;
        let done = all.get(index)?;
        let (changed, _) = done.outcomes.get(place)?.as_ref()?.fooling.as_ref()?;
        let beginning = |text: &str| text.chars().take(SHOWN_CHARS_MAX).collect::<String>();
        Some(TextExample {
            text: examples.places[place] as u64,
            label: examples.labels[place] as u64,
            predicted: predicted.get(&(index, place)).copied().flatten().map(|class| class as u64),
            attack: done.method.name().to_owned(),
            edits: edits as u64,
            original: beginning(&examples.texts[place]),
            changed: beginning(changed),
        })
    };
    (0..examples.count()).filter_map(best).take(count).collect()
}

/// The share of unknown tokens, and how many texts are cut off, where the tokenizer is known.
fn seen(source: &dyn ReadText, examples: &TextExamples) -> (Option<f64>, Option<u64>) {
    let Some(model) = source.open() else { return (None, None) };
    let encoded: Vec<Encoding> = examples.texts.par_iter().map(|text| model.encode(text)).collect();
    let tokens: usize = encoded.iter().map(|encoded| encoded.ids.len()).sum();
    let unknown: usize = encoded.iter().map(|encoded| encoded.unknown).sum();
    let cut = encoded.iter().filter(|encoded| encoded.truncated).count();
    (Some((unknown as f64 / tokens.max(1) as f64).min(1.0)), Some(cut as u64))
}

/// Most texts of one report.
pub const TEXTS_MAX: usize = 100_000;
/// Fewest questions about a text: with less no word can be ranked and tried.
pub const TEXT_QUERIES_MIN: u64 = 16;
/// Most questions about a text.
pub const TEXT_QUERIES_MAX: u64 = 1 << 20;
/// Texts that are shown at most.
pub const EXAMPLES_MAX: usize = 1_000;
/// What is shown of a text, in characters.
const SHOWN_CHARS_MAX: usize = 2_000;
/// Points of a curve.
const CURVE_MAX: usize = 100;
/// Texts that are attacked side by side between two words about progress.
const CHUNK: usize = 32;
/// Texts whose clean scores are asked at once.
const CLEAN_CHUNK: usize = 256;
/// Words from which random ones are drawn.
const VOCABULARY_MAX: usize = 1 << 16;
const SAMPLE_STREAM: u64 = 72;
const NOTE: &str = "an upper bound: a text withstands the attacks tried, with the edits and questions granted; who tries more finds more. Edits \
                    of letters and words of the given list count as keeping the meaning; neighbours in the model's embeddings, hotflip and \
                    random words may change what a text says, and count in the scope `all` alone";
