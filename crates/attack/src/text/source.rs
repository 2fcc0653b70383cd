//! What classifies texts: one family, as [`Predict`](crate::Predict) is for tensors.
//!
//! * [`TextModel`]: an ONNX model behind a [`Tokenizer`]; its table of embeddings lies open where the graph has one.
//! * [`TextCallback`]: a function of another program, or an endpoint that others run, which answers scores or labels alone.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use ringfence_nn::{Element, Model, OutputKind, Tensor, Want};
use ringfence_schema::Digest;

use super::{tokenizer::Tokenizer, words};
use crate::{
    endpoint::{Answers, Unanswered},
    error::AttackError,
    loss::{Goal, Loss},
    source::Capability,
};

/// A classifier that answers one row of scores for each text.
pub trait ReadText: Sync {
    /// What it is, for messages.
    fn name(&self) -> &str;

    /// SHA-256 of what is attacked, for the report.
    fn digest(&self) -> Result<Digest, AttackError>;

    /// Scores of each text, unbounded or logarithms, of the same two or more classes. One that answers labels alone gives 1 to
    /// the label and 0 to the others.
    fn scores(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, AttackError>;

    /// The most that it is good for.
    fn capability(&self) -> Capability;

    /// The model itself, where it lies open.
    fn open(&self) -> Option<&TextModel> {
        None
    }
}

/// An ONNX model that reads what a tokenizer makes of a text.
///
/// Its inputs are known by their names: token ids (`input_ids`, or the only input of whole numbers), and perhaps a mask, segments
/// and positions, all `[batch, sequence]`. Texts of one length go together, so that nothing is filled up unless the file fixes
/// the length: what is measured does not depend on a text's neighbours.
pub struct TextModel {
    model: Model,
    tokenizer: Tokenizer,
    inputs: Vec<Feed>,
    length_max: usize,
    fixed_length: Option<usize>,
    fixed_batch: usize,
    embedding: Option<Embedding>,
}

/// What an input is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    Ids,
    Mask,
    Types,
    Positions,
    /// Nobody reads it.
    Nothing,
}

/// The table of embeddings, and the words that have rows of their own.
struct Embedding {
    /// Its place among the parameters.
    parameter: usize,
    words: Vec<(u32, String)>,
    /// What was asked before.
    known: Mutex<BTreeMap<String, Arc<Vec<String>>>>,
}

/// A word of a text and what might stand in its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Flip {
    /// Which word.
    pub(super) word: usize,
    pub(super) with: String,
    /// By how much the loss rises, to first order.
    rise: f32,
}

impl TextModel {
    /// Puts a model and its tokenizer together. `length_max` is the most tokens of a text, special ones included; without it the
    /// model's fixed length or the tokenizer's own limit counts, else [`LENGTH_DEFAULT`].
    ///
    /// Refuses models whose inputs are not those of a text classifier, and a tokenizer whose ids the model's table lacks.
    pub fn new(model: Model, tokenizer: Tokenizer, length_max: Option<usize>) -> Result<Self, AttackError> {
        let inputs = feeds(&model)?;
        let ids = inputs.iter().position(|feed| *feed == Feed::Ids).and_then(|at| model.inputs().nth(at));
        let ids = ids.ok_or_else(|| unfit("has no input of token ids"))?;
        let (fixed_batch, fixed_length) = match ids.dims {
            [batch, length] => (batch.unwrap_or(1), *length),
            _ => return Err(unfit(format!("takes token ids of {} dimensions, not [batch, sequence]", ids.dims.len()))),
        };
        if fixed_batch == 0 || fixed_batch > ROWS_MAX {
            return Err(unfit(format!("takes {fixed_batch} texts at once, not 1 to {ROWS_MAX}")));
        }
        let wanted = length_max.or(tokenizer.length_max()).unwrap_or(LENGTH_DEFAULT);
        let length_max = fixed_length.map_or(wanted, |fixed| fixed.min(wanted));
        if !(1..=LENGTH_MAX).contains(&length_max) {
            return Err(AttackError::plan("length", length_max.to_string(), format!("1 to {LENGTH_MAX} tokens")));
        }
        let embedding = model.embedding(ids.name);
        if let Some(table) = embedding.and_then(|place| model.parameters().nth(place)) {
            let rows = table.shape.first().copied().unwrap_or(0);
            if tokenizer.id_max() as usize >= rows {
                let highest = tokenizer.id_max();
                return Err(unfit(format!(
                    "has {rows} embeddings, the tokenizer ids up to {highest}: they do not belong together"
                )));
            }
        }
        let embedding =
            embedding.map(|parameter| Embedding { parameter, words: tokenizer.words(), known: Mutex::default() });
        Ok(Self { model, tokenizer, inputs, length_max, fixed_length, fixed_batch, embedding })
    }

    /// What the model is given of `text`.
    pub fn encode(&self, text: &str) -> super::tokenizer::Encoding {
        self.tokenizer.encode(text, self.length_max)
    }

    /// Whether its table of embeddings could be found, and has words.
    pub fn has_embeddings(&self) -> bool {
        self.embedding.as_ref().is_some_and(|embedding| !embedding.words.is_empty())
    }

    /// Whether `word` has a token of its own.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.tokenizer.token_of(word).is_some()
    }

    /// The words whose embeddings have the smallest angle to that of `word`, at most `count`, the nearest first (the neighbours
    /// that Alzantot et al. 2018 seek in word vectors made for it; these are the model's own).
    pub(super) fn neighbours(&self, word: &str, count: usize) -> Arc<Vec<String>> {
        let Some((embedding, rows)) = self.embedding.as_ref().zip(self.rows()) else { return Arc::default() };
        let locked = |known: &Mutex<BTreeMap<_, _>>| -> Option<Arc<Vec<String>>> {
            known.lock().unwrap_or_else(PoisonError::into_inner).get(word).cloned()
        };
        if let Some(found) = locked(&embedding.known) {
            return found;
        }
        let own = self.tokenizer.tokens_of(word);
        let mean = mean(own.iter().filter_map(|id| rows.row(*id)), rows.width);
        let lower = word.to_lowercase();
        let mut ranked: Vec<(f32, &String)> = embedding
            .words
            .iter()
            .filter(|(id, other)| !own.contains(id) && other.to_lowercase() != lower)
            .filter_map(|(id, other)| Some((cosine(&mean, rows.row(*id)?), other)))
            .collect();
        if own.is_empty() {
            ranked.clear();
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let found: Arc<Vec<String>> = Arc::new(ranked.iter().take(count).map(|(_, word)| (*word).clone()).collect());
        let mut known = embedding.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < KNOWN_MAX {
            known.insert(word.to_owned(), Arc::clone(&found));
        }
        found
    }

    /// The `count` exchanges of one of `places` among the words of `text` that raise the margin against `label` most, to first
    /// order: the slope at the word's embedding times the difference of embeddings (Ebrahimi et al. 2018, HotFlip, eq. 5; Wallace
    /// et al. 2019, eq. 2). A word counts where it is one token; where it stands twice, the slopes of both are added. One gradient.
    pub(super) fn flips(
        &self,
        text: &str,
        places: &[usize],
        label: usize,
        count: usize,
    ) -> Result<Vec<Flip>, AttackError> {
        let Some((embedding, rows)) = self.embedding.as_ref().zip(self.rows()) else { return Ok(Vec::new()) };
        let encoded = self.encode(text);
        let batch = vec![encoded; self.fixed_batch];
        let inputs = self.tensors(&batch)?;
        let seed = |_: usize, scores: &[f32], slope: &mut [f32]| Loss::Margin.of(Goal::away(label), scores, slope);
        let slopes = self.model.pullback_all(&inputs, Want::Parameters, &seed)?;
        let Some(table) = slopes.parameters.as_ref().and_then(|all| all.get(embedding.parameter)) else {
            return Ok(Vec::new());
        };
        let slopes = Rows { data: &table.data, width: rows.width };
        let all = words::of(text);
        let mut best: Vec<Flip> = Vec::new();
        for place in places {
            let Some(word) = all.get(*place).and_then(|range| text.get(range.clone())) else { continue };
            let Some(id) = self.tokenizer.token_of(word) else { continue };
            let (Some(slope), Some(now)) = (slopes.row(id), rows.row(id)) else { continue };
            let base = dot(slope, now);
            let mut some: Vec<Flip> = embedding
                .words
                .iter()
                .filter(|(other, _)| *other != id)
                .filter_map(|(other, with)| {
                    let rise = dot(slope, rows.row(*other)?) - base;
                    (rise > 0.0).then(|| Flip { word: *place, with: with.clone(), rise })
                })
                .collect();
            some.sort_by(|a, b| b.rise.total_cmp(&a.rise).then_with(|| a.with.cmp(&b.with)));
            best.extend(some.into_iter().take(count.div_ceil(2)));
        }
        best.sort_by(|a, b| b.rise.total_cmp(&a.rise).then_with(|| (a.word, &a.with).cmp(&(b.word, &b.with))));
        best.truncate(count);
        Ok(best)
    }

    fn rows(&self) -> Option<Rows<'_>> {
        let table = self.model.parameters().nth(self.embedding.as_ref()?.parameter)?;
        Some(Rows { data: table.data, width: table.shape.get(1).copied()? })
    }

    /// The inputs for texts of one length, which are as many as a batch takes.
    fn tensors(&self, batch: &[super::tokenizer::Encoding]) -> Result<Vec<Tensor<f32>>, AttackError> {
        let own = batch.first().map_or(0, |encoded| encoded.ids.len());
        let length = self.fixed_length.unwrap_or(own.max(1));
        let row = |feed: Feed, encoded: &super::tokenizer::Encoding, at: usize| {
            let within = at < encoded.ids.len();
            let number = |list: &[u32], other: u32| list.get(at).copied().unwrap_or(other) as f32;
            match feed {
                Feed::Ids => number(&encoded.ids, self.tokenizer.padding()),
                Feed::Mask => f32::from(u8::from(within || encoded.ids.is_empty())),
                Feed::Types => number(&encoded.types, 0),
                Feed::Positions => at as f32,
                Feed::Nothing => 0.0,
            }
        };
        let tensor = |feed: &Feed| -> Result<Tensor<f32>, AttackError> {
            if *feed == Feed::Nothing {
                return Ok(Tensor { shape: vec![0], data: Vec::new() });
            }
            let data = batch.iter().flat_map(|encoded| (0..length).map(move |at| row(*feed, encoded, at))).collect();
            Ok(Tensor::new(vec![batch.len(), length], data)?)
        };
        self.inputs.iter().map(tensor).collect()
    }

    /// Scores of texts of one length.
    fn group(&self, batch: &[super::tokenizer::Encoding]) -> Result<Vec<Vec<f32>>, AttackError> {
        let mut filled = batch.to_vec();
        while !filled.len().is_multiple_of(self.fixed_batch) {
            filled.extend(batch.first().cloned());
        }
        let found = self.model.forward_all(&self.tensors(&filled)?)?;
        let [rows, classes] = found.shape[..] else {
            return Err(AttackError::Output { rows: filled.len(), found: found.shape });
        };
        if rows != filled.len() || classes < 2 {
            return Err(AttackError::Output { rows: filled.len(), found: found.shape });
        }
        let score = logarithmic(self.model.output_kind());
        Ok(found
            .data
            .chunks(classes)
            .take(batch.len())
            .map(|row| row.iter().map(|one| score(*one)).collect())
            .collect())
    }
}

/// What makes logarithms of probabilities, and leaves other scores as they are.
fn logarithmic(kind: OutputKind) -> impl Fn(f32) -> f32 {
    move |score| if kind == OutputKind::Probabilities { score.max(f32::MIN_POSITIVE).ln() } else { score }
}

impl fmt::Debug for TextModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextModel")
            .field("inputs", &self.inputs)
            .field("length_max", &self.length_max)
            .finish_non_exhaustive()
    }
}

impl ReadText for TextModel {
    fn name(&self) -> &str {
        self.model.input().0
    }

    fn digest(&self) -> Result<Digest, AttackError> {
        Ok(Digest::of(&self.model.to_onnx()?))
    }

    fn scores(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, AttackError> {
        let mut lengths: BTreeMap<usize, Vec<(usize, super::tokenizer::Encoding)>> = BTreeMap::new();
        for (place, text) in texts.iter().enumerate() {
            let encoded = self.encode(text);
            let length = if self.fixed_length.is_some() { 0 } else { encoded.ids.len() };
            lengths.entry(length).or_default().push((place, encoded));
        }
        let mut found = vec![Vec::new(); texts.len()];
        for group in lengths.into_values() {
            let (places, encoded): (Vec<usize>, Vec<_>) = group.into_iter().unzip();
            let rows_max = ROWS_MAX / self.fixed_batch * self.fixed_batch;
            for (places, batch) in places.chunks(rows_max).zip(encoded.chunks(rows_max)) {
                for (place, row) in places.iter().zip(self.group(batch)?) {
                    found[*place] = row;
                }
            }
        }
        Ok(found)
    }

    fn capability(&self) -> Capability {
        Capability::Parameters
    }

    fn open(&self) -> Option<&TextModel> {
        Some(self)
    }
}

/// What each of the model's inputs is, by its name.
fn feeds(model: &Model) -> Result<Vec<Feed>, AttackError> {
    let mut found = Vec::new();
    let whole = model.inputs().filter(|input| input.used && input.element == Element::Integer).count();
    for input in model.inputs() {
        let name = input.name.to_ascii_lowercase();
        found.push(if !input.used {
            Feed::Nothing
        } else if name.contains("mask") {
            Feed::Mask
        } else if name.contains("type") || name.contains("segment") {
            Feed::Types
        } else if name.contains("position") {
            Feed::Positions
        } else if input.element == Element::Integer && (name.contains("ids") || name.contains("token") || whole == 1) {
            Feed::Ids
        } else {
            return Err(unfit(format!("has the input `{}`, which is none of a text's", input.name)));
        });
    }
    let twice = [Feed::Ids, Feed::Mask, Feed::Types, Feed::Positions]
        .iter()
        .any(|feed| found.iter().filter(|found| *found == feed).count() > 1);
    if twice { Err(unfit("has two inputs of one kind")) } else { Ok(found) }
}

fn unfit(problem: impl Into<String>) -> AttackError {
    AttackError::Text { problem: format!("the model {}", problem.into()) }
}

/// A table of vectors.
#[derive(Clone, Copy)]
struct Rows<'r> {
    data: &'r [f32],
    width: usize,
}

impl<'r> Rows<'r> {
    fn row(self, id: u32) -> Option<&'r [f32]> {
        let start = (id as usize).checked_mul(self.width)?;
        self.data.get(start..start.checked_add(self.width)?)
    }
}

fn mean<'r>(rows: impl Iterator<Item = &'r [f32]>, width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
    }
    sum
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let lengths = dot(a, a).sqrt() * dot(b, b).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

/// What a function answers about texts.
type Answer<'c> = dyn Fn(&[String]) -> Result<Vec<Vec<f32>>, Unanswered> + Sync + 'c;

/// A classifier of texts that lives in another program, or on another machine, and is reached by calling it.
pub struct TextCallback<'c> {
    name: String,
    digest: Digest,
    capability: Capability,
    answer: Box<Answer<'c>>,
}

impl<'c> TextCallback<'c> {
    /// A source that answers unbounded scores, or logarithms of probabilities. `digest` stands for it in the report.
    pub fn scores(
        name: impl Into<String>,
        digest: Digest,
        answer: impl Fn(&[String]) -> Result<Vec<Vec<f32>>, String> + Sync + 'c,
    ) -> Self {
        let answer = move |texts: &[String]| answer(texts).map_err(|problem| Unanswered::Failed { problem });
        Self { name: name.into(), digest, capability: Capability::Predict, answer: Box::new(answer) }
    }

    /// A source that others run: questions may be used up. A label comes as a row that is 1 there and 0 elsewhere.
    pub fn asked(
        name: impl Into<String>,
        digest: Digest,
        answers: Answers,
        ask: impl Fn(&[String]) -> Result<Vec<Vec<f32>>, Unanswered> + Sync + 'c,
    ) -> Self {
        let (capability, kind) = match answers {
            Answers::Scores(kind) => (Capability::Predict, kind),
            Answers::Labels => (Capability::Labels, OutputKind::Logits),
        };
        let score = logarithmic(kind);
        let answer = move |texts: &[String]| {
            let mut rows = ask(texts)?;
            rows.iter_mut().flatten().for_each(|one| *one = score(*one));
            Ok(rows)
        };
        Self { name: name.into(), digest, capability, answer: Box::new(answer) }
    }

    /// A source that answers labels below `classes`, and nothing else.
    pub fn labels(
        name: impl Into<String>,
        digest: Digest,
        classes: usize,
        answer: impl Fn(&[String]) -> Result<Vec<usize>, String> + Sync + 'c,
    ) -> Self {
        let row = move |label: usize| (0..classes).map(|class| if class == label { 1.0 } else { 0.0 }).collect();
        let answer = move |texts: &[String]| match answer(texts) {
            Ok(labels) => Ok(labels.into_iter().map(row).collect()),
            Err(problem) => Err(Unanswered::Failed { problem }),
        };
        Self { name: name.into(), digest, capability: Capability::Labels, answer: Box::new(answer) }
    }
}

impl fmt::Debug for TextCallback<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextCallback").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ReadText for TextCallback<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn digest(&self) -> Result<Digest, AttackError> {
        Ok(self.digest)
    }

    fn scores(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, AttackError> {
        let failed = |problem: String| AttackError::Source { model: self.name.clone(), problem };
        let rows = (self.answer)(texts).map_err(|error| match error {
            Unanswered::Spent { budget } => AttackError::Budget { budget },
            Unanswered::Failed { problem } => failed(problem),
        })?;
        let classes = rows.first().map_or(0, Vec::len);
        if rows.len() != texts.len()
            || (classes < 2 && !texts.is_empty())
            || rows.iter().any(|row| row.len() != classes)
        {
            return Err(failed(format!("{} rows of {classes} scores for {} texts", rows.len(), texts.len())));
        }
        Ok(rows)
    }

    fn capability(&self) -> Capability {
        self.capability
    }
}

/// Tokens of a text where nothing says how many, special ones included.
pub const LENGTH_DEFAULT: usize = 512;
/// Most tokens of a text.
pub const LENGTH_MAX: usize = 1 << 16;
/// Texts that are put to the model at once.
const ROWS_MAX: usize = 64;
/// Words whose neighbours are kept.
const KNOWN_MAX: usize = 1 << 16;
