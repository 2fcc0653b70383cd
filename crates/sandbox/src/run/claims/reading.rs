//! Reads `name number` pairs out of one line of any trainer, in one pass over its tokens.
//!
//! [`read`] knows no format. It collects the words before a number, asks the table of names what they mean, and keeps
//! what is plainly a measurement. What is said in passing (`loss 5`, `packet loss: 0.3`) counts only beside a step or an
//! epoch.
#![deny(clippy::indexing_slicing)]

use super::{
    names::{self, Meaning, Rank},
    numbers::{Number, Token, tokens},
};

/// What one line says.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Optimiser steps.
    pub(super) step: Option<u64>,
    /// Passes over the data.
    pub(super) epoch: Option<f64>,
    /// Batches in this pass, and how many there are.
    pub(super) batch: Option<(u64, u64)>,
    /// The batch count stands first in the line, as Keras writes it.
    pub(super) batch_leads: bool,
    loss: Option<Value>,
    evaluation_loss: Option<Value>,
    learning_rate: Option<f64>,
    gradient_norm: Option<Value>,
    diverged: bool,
    /// A bare number where loggers put the step: `[100]` or `100:` in front.
    lead: Option<u64>,
    /// These are figures over a whole training, not of a moment in it.
    summary: bool,
    /// Whether what follows is about held-out data.
    pub(super) evaluation: Option<bool>,
}

/// A measurement and how plainly it was named.
#[derive(Debug, Clone, Copy)]
struct Value {
    number: f64,
    rank: Rank,
    sure: bool,
}

/// Measurements of a line that may be told.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Signals {
    /// Training loss.
    pub(super) loss: Option<f64>,
    /// Loss on held-out data.
    pub(super) evaluation_loss: Option<f64>,
    /// Learning rate.
    pub(super) learning_rate: Option<f64>,
    /// Norm of the gradient.
    pub(super) gradient_norm: Option<f64>,
    /// Something was NaN or infinite.
    pub(super) diverged: bool,
}

impl Reading {
    /// What is plain enough to be told; `None` if that is nothing.
    pub(super) fn signals(&mut self) -> Option<Signals> {
        let found = self.loss.is_some() || self.evaluation_loss.is_some() || self.learning_rate.is_some();
        if self.step.is_none() && self.epoch.is_none() && self.batch.is_none() && found {
            self.step = self.lead;
        }
        let located = self.step.is_some() || self.epoch.is_some() || self.batch.is_some();
        let kept = |value: Option<Value>| value.filter(|value| value.sure || located).map(|value| value.number);
        let signals = Signals {
            loss: kept(self.loss).filter(|_| !self.summary),
            evaluation_loss: kept(self.evaluation_loss),
            learning_rate: self.learning_rate,
            gradient_norm: kept(self.gradient_norm),
            diverged: self.diverged,
        };
        let measured = signals.loss.or(signals.evaluation_loss).or(signals.gradient_norm).is_some();
        // A learning rate by itself is what programs print of their settings.
        (measured || signals.diverged || (signals.learning_rate.is_some() && located)).then_some(signals)
    }

    fn take(&mut self, meaning: Meaning, number: Number, sure: bool) {
        let meaning = match meaning {
            Meaning::Loss(rank) if self.evaluation == Some(true) => Meaning::EvaluationLoss(rank),
            meaning => meaning,
        };
        let value = number.value;
        match meaning {
            Meaning::Step => self.step = self.step.or(number.count()),
            Meaning::Epoch if value.is_finite() && value >= 0.0 => self.epoch = self.epoch.or(Some(value)),
            Meaning::LearningRate if value.is_finite() && value >= 0.0 => {
                self.learning_rate = self.learning_rate.or(Some(value));
            }
            Meaning::Epoch | Meaning::LearningRate | Meaning::Batch => {}
            Meaning::Loss(_) | Meaning::EvaluationLoss(_) | Meaning::GradientNorm(_) if !value.is_finite() => {
                self.diverged = true;
            }
            Meaning::Loss(rank) => keep(&mut self.loss, Value { number: value, rank, sure }),
            Meaning::EvaluationLoss(rank) => keep(&mut self.evaluation_loss, Value { number: value, rank, sure }),
            Meaning::GradientNorm(rank) => {
                keep(&mut self.gradient_norm, Value { number: value, rank, sure: sure && rank == Rank::Plain });
            }
        }
    }
}

fn keep(place: &mut Option<Value>, value: Value) {
    if place.is_none_or(|before| value.rank < before.rank) {
        *place = Some(value);
    }
}

/// Reads the pairs of `line`.
pub(super) fn read(line: &str) -> Reading {
    read_about(line, None)
}

/// Reads the pairs of `line`, which is about held-out data (`Some(true)`) until it says otherwise.
pub(super) fn read_about(line: &str, evaluation: Option<bool>) -> Reading {
    let mut pairs = Pairs { reading: Reading { evaluation, ..Reading::default() }, ..Pairs::default() };
    let tokens = tokens(line);
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| tokens.get(before)).copied();
        pairs.token(index, *token, before, tokens.get(index + 1).copied());
    }
    pairs.torchtune(&tokens);
    pairs.reading.summary = tokens.contains(&Token::Word(SUMMARY_WORD));
    pairs.reading
}

#[derive(Default)]
struct Pairs<'a> {
    reading: Reading,
    /// The last words, with no number behind them yet.
    phrase: Vec<&'a str>,
    separated: bool,
    /// A loss was named, its number has yet to come: `loss at step 3: 0.5`.
    pending: Option<Meaning>,
    answers: bool,
    /// CatBoost: `learn:` is the loss, and `test:` the one on held-out data.
    learns: bool,
    /// Numbers whose names were looked up.
    resolved: usize,
}

impl<'a> Pairs<'a> {
    fn token(&mut self, index: usize, token: Token<'a>, before: Option<Token<'_>>, after: Option<Token<'_>>) {
        match token {
            Token::Word(word) if is_in(WRAPPERS, word) && after == Some(Token::Mark('(')) => {}
            Token::Word(word) if is_in(EQUALS, word) && !self.phrase.is_empty() => {}
            Token::Word(word) => {
                if self.separated {
                    self.reset();
                }
                self.answers = false;
                if self.phrase.len() == PHRASE_WORDS_MAX {
                    self.phrase.remove(0);
                }
                self.phrase.push(word);
            }
            Token::Mark(':' | '=') if self.phrase.is_empty() => self.answers = self.pending.is_some(),
            Token::Mark(':' | '=') => self.separated = true,
            Token::Mark('(') if matches!(before, Some(Token::Word(_))) => self.note_pending(),
            Token::Mark('\'' | '"' | '#' | '[' | '(') => {}
            Token::Mark('|' | '│' | '┃') if !self.phrase.is_empty() && !self.separated => self.separated = true,
            Token::Mark(')') => self.close(),
            Token::Mark(_) => self.reset(),
            Token::Other => {
                self.phrase.clear();
                self.separated = false;
            }
            Token::Number(number) => {
                let bracketed = before == Some(Token::Mark('[')) && after == Some(Token::Mark(']'));
                let in_front = index == 0 && after == Some(Token::Mark(':'));
                self.number(number, bracketed || in_front);
            }
            Token::Ratio(at, total) => self.ratio(index, (at, total), after),
        }
    }

    fn number(&mut self, number: Number, leads: bool) {
        if let Some(meaning) = self.pending.filter(|_| self.answers) {
            if number.measured {
                self.reading.take(meaning, number, true);
            }
            self.pending = None;
            self.answers = false;
        } else if self.phrase.is_empty() {
            if leads {
                self.reading.lead = self.reading.lead.or(number.count());
            }
        } else if self.phrase == ["test"] && self.learns {
            self.reading.take(Meaning::EvaluationLoss(Rank::Plain), number, self.separated);
        } else if let Some((meaning, known)) = self.resolve() {
            self.learns |= self.phrase == ["learn"];
            let sure = known && number.measured && !self.learns;
            self.reading.take(meaning, number, sure);
        }
        self.phrase.clear();
        self.separated = false;
    }

    fn ratio(&mut self, index: usize, (at, total): (u64, u64), after: Option<Token<'_>>) {
        let reading = &self.reading;
        // `[640/60000 (1%)]` counts examples.
        let batches = total > 0 && reading.batch.is_none() && after != Some(Token::Mark('('));
        let resolved = if self.phrase.is_empty() { None } else { self.resolve().map(|(meaning, _)| meaning) };
        match resolved {
            Some(Meaning::Epoch) => self.reading.epoch = self.reading.epoch.or(Some(at as f64)),
            Some(Meaning::Batch) if batches => self.reading.batch = Some((at, total)),
            Some(Meaning::Step) if self.reading.epoch.is_some() && batches => self.reading.batch = Some((at, total)),
            Some(Meaning::Step) => self.reading.step = self.reading.step.or(Some(at)),
            Some(_) => {}
            None => {
                let bar = matches!(after, Some(Token::Mark('[' | '━' | '╸' | '-' | '=')));
                if batches && self.phrase.is_empty() && (self.reading.epoch.is_some() || (index == 0 && bar)) {
                    self.reading.batch = Some((at, total));
                    self.reading.batch_leads = index == 0;
                }
                self.heading();
            }
        }
        self.phrase.clear();
        self.separated = false;
    }

    /// What the words before a number mean, and whether all of them are known.
    fn resolve(&mut self) -> Option<(Meaning, bool)> {
        if !self.phrase.iter().any(|word| names::hints(word)) || self.resolved == RESOLVED_MAX {
            return None;
        }
        self.resolved += 1;
        let (mut words, mut starts) = (Vec::new(), Vec::new());
        for word in &self.phrase {
            starts.push(words.len());
            words.extend(names::words(word).unwrap_or_else(|| vec![UNKNOWN.to_owned()]));
        }
        let (start, meaning, own) = starts.iter().enumerate().find_map(|(start, first)| {
            let own = words.get(*first..)?;
            Some((start, names::of_words(own)?, own))
        })?;
        let before = self.phrase.get(..start).unwrap_or_default();
        if before.last().is_some_and(|word| names::changes_meaning(&word.to_ascii_lowercase())) {
            return None;
        }
        let unknown: Vec<&str> = before.iter().copied().filter(|word| !is_in(FILLERS, word)).collect();
        match meaning {
            Meaning::Step | Meaning::Epoch | Meaning::Batch => {
                self.pending = loss_in(&unknown).or(self.pending);
                self.reading.evaluation = names::of_data(own).or(self.reading.evaluation);
            }
            Meaning::Loss(_) | Meaning::EvaluationLoss(_) => self.pending = None,
            Meaning::LearningRate | Meaning::GradientNorm(_) => {}
        }
        Some((meaning, unknown.is_empty()))
    }

    /// The words so far had no number.
    fn reset(&mut self) {
        self.heading();
        self.note_pending();
        self.phrase.clear();
        self.separated = false;
        self.answers = false;
    }

    /// `Test set:`, `valid |`: what follows is about other data.
    fn heading(&mut self) {
        if let Some(section) = section_in(&self.phrase) {
            self.reading.evaluation = Some(section);
        }
    }

    /// `Epoch(train)  [1]`: what stands in parentheses says of what data the word before is.
    fn close(&mut self) {
        let last = self.phrase.split_last().and_then(|(last, before)| Some((section_in(&[last])?, before)));
        match last {
            Some((section, before)) if !before.is_empty() && !self.separated => {
                self.reading.evaluation = Some(section);
                self.phrase.pop();
            }
            _ => self.reset(),
        }
    }

    fn note_pending(&mut self) {
        if let Some(loss) = loss_in(&self.phrase) {
            self.pending = Some(loss);
        }
    }

    /// `1|20|Loss: 0.9` is epoch 1, step 20.
    fn torchtune(&mut self, tokens: &[Token<'_>]) {
        let Some([Token::Number(epoch), Token::Mark('|'), Token::Number(step), Token::Mark('|'), ..]) = tokens.get(..4)
        else {
            return;
        };
        if self.reading.loss.is_some()
            && let (Some(epoch), Some(step)) = (epoch.count(), step.count())
        {
            self.reading.epoch = Some(epoch as f64);
            self.reading.step = Some(step);
        }
    }
}

/// The loss that these words name, if they name nothing else.
fn loss_in(phrase: &[&str]) -> Option<Meaning> {
    let named = phrase.iter().any(|word| names::hints(word)).then(|| names::meaning(&phrase.join(" ")))??;
    matches!(named, Meaning::Loss(_) | Meaning::EvaluationLoss(_)).then_some(named)
}

/// The section that these words begin, if they are a heading.
fn section_in(phrase: &[&str]) -> Option<bool> {
    let first = phrase.first().filter(|first| names::hints_section(first))?;
    if phrase.len() == 1 {
        names::section(&names::words(first)?)
    } else {
        names::section(&names::words(&phrase.join(" "))?)
    }
}

fn is_in(list: &[&str], word: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(word))
}

/// Words before a name that leave its meaning as it is.
const FILLERS: &[&str] =
    &["info", "debug", "at", "after", "in", "for", "on", "and", "with", "is", "now", "the", "done", "rank", "end"];
/// Words that stand where others write `=`.
const EQUALS: &[&str] = &["is", "was", "became"];
/// What libraries write around a number.
const WRAPPERS: &[&str] = &["tensor", "array", "float", "np.float32", "np.float64", "numpy.float32", "numpy.float64"];
/// Stands for a word that cannot be cut.
const UNKNOWN: &str = "?";
/// Words before a number that are looked at.
const PHRASE_WORDS_MAX: usize = 5;
/// Most numbers of a line whose names are looked up.
const RESOLVED_MAX: usize = 64;
/// A line with this word sums up a training (Hugging Face's trainer writes it last).
const SUMMARY_WORD: &str = "train_runtime";
