//! What an endpoint says, read strictly: as many answers as there were questions, and numbers that can be what they are said to be.

use std::collections::HashMap;

use ringfence_schema::{finding::printable, strict};
use serde_json::Value;

use super::description::{Description, Objects, Output, OutputKind};

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerFault {
    /// No JSON, or a key twice.
    #[error("the answer is not JSON: {what}")]
    NotJson {
        /// What is wrong with it.
        what: String,
    },
    /// Nothing stands where the description points.
    #[error("nothing stands at `{pointer}` in the answer")]
    Missing {
        /// The JSON pointer.
        pointer: String,
    },
    /// More or fewer answers than questions.
    #[error("{found} answers to {asked} inputs")]
    Count {
        /// Inputs sent.
        asked: usize,
        /// Answers.
        found: usize,
    },
    /// More or fewer scores than classes.
    #[error("answer {row} has {found} scores, the description says {classes} classes")]
    Classes {
        /// Which answer, from 0.
        row: usize,
        /// Scores.
        found: usize,
        /// Classes described.
        classes: usize,
    },
    /// A score that is no finite number.
    #[error("score {class} of answer {row} is not a number")]
    NotANumber {
        /// Which answer, from 0.
        row: usize,
        /// Which score, from 0.
        class: usize,
    },
    /// A number that cannot be what it is said to be.
    #[error("score {class} of answer {row} is {value}, which is no {expected}")]
    Outside {
        /// Which answer, from 0.
        row: usize,
        /// Which score, from 0.
        class: usize,
        /// The number.
        value: f64,
        /// What it was said to be.
        expected: &'static str,
    },
    /// Probabilities of one answer that do not make a whole.
    #[error("the probabilities of answer {row} sum to {sum:.3}")]
    Sum {
        /// Which answer, from 0.
        row: usize,
        /// Their sum.
        sum: f64,
    },
    /// An entry of a list of classes that is no object with a name and a score.
    #[error("entry {entry} of answer {row} is no object with a name in `{label}` and a score in `{score}`")]
    NoObject {
        /// Which answer, from 0.
        row: usize,
        /// Which entry, from 0.
        entry: usize,
        /// The key of the name.
        label: String,
        /// The key of the score.
        score: String,
    },
    /// A class that the description does not name.
    #[error("answer {row} scores a class `{name}`, which the description does not name")]
    UnknownClass {
        /// Which answer, from 0.
        row: usize,
        /// The name, fit to print.
        name: String,
    },
    /// A class twice in one answer.
    #[error("answer {row} scores the class `{name}` twice")]
    ClassTwice {
        /// Which answer, from 0.
        row: usize,
        /// The name, fit to print.
        name: String,
    },
    /// A class that is described and not in the answer.
    #[error(
        "answer {row} has no score for the class `{name}`; the endpoint must answer every class, not only the best"
    )]
    ClassMissing {
        /// Which answer, from 0.
        row: usize,
        /// The name, fit to print.
        name: String,
    },
    /// A label that the description does not know.
    #[error("answer {row} is no class of the {classes} that are described")]
    Label {
        /// Which answer, from 0.
        row: usize,
        /// Classes described.
        classes: usize,
    },
}

impl Description {
    /// Reads the answer to a question about `rows` inputs: scores `[rows, classes]` after one another. A label is 1 for its
    /// class and 0 for the others. Probabilities that exceed their range by no more than rounding does are cut to it.
    pub fn answer(&self, body: &[u8], rows: usize) -> Result<Vec<f64>, AnswerFault> {
        let output = self.output();
        let document = strict::value(body, usize::try_from(self.answer_bytes_max()).unwrap_or(usize::MAX))
            .map_err(|error| AnswerFault::NotJson { what: printable(&error.to_string(), 160) })?;
        let place = at(&document, &output.pointer)?;
        let mut scores = Vec::with_capacity(rows.saturating_mul(output.classes).min(body.len()));
        if self.is_single() {
            row(output, 0, at(place, &output.within)?, &mut scores)?;
            return if rows == 1 { Ok(scores) } else { Err(AnswerFault::Count { asked: rows, found: 1 }) };
        }
        let entries = place.as_array().ok_or_else(|| AnswerFault::Missing { pointer: output.pointer.clone() })?;
        if entries.len() != rows {
            return Err(AnswerFault::Count { asked: rows, found: entries.len() });
        }
        for (place, entry) in entries.iter().enumerate() {
            row(output, place, at(entry, &output.within)?, &mut scores)?;
        }
        Ok(scores)
    }
}

fn at<'v>(value: &'v Value, pointer: &str) -> Result<&'v Value, AnswerFault> {
    value.pointer(pointer).ok_or_else(|| AnswerFault::Missing { pointer: pointer.to_owned() })
}

/// The scores of one answer.
fn row(output: &Output, row: usize, entry: &Value, scores: &mut Vec<f64>) -> Result<(), AnswerFault> {
    let classes = output.classes;
    if output.kind == OutputKind::Label {
        let found = label(output, entry).ok_or(AnswerFault::Label { row, classes })?;
        scores.extend((0..classes).map(|class| f64::from(u8::from(class == found))));
        return Ok(());
    }
    let told: Vec<&Value> = match entry {
        Value::Array(told) => match &output.objects {
            Some(keys) => by_name(output, keys, row, told)?,
            None => told.iter().collect(),
        },
        Value::Object(_) if output.objects.is_some() => {
            return Err(AnswerFault::Missing { pointer: format!("{}/{row}{}/0", output.pointer, output.within) });
        }
        Value::Object(told) if !output.names.is_empty() && told.len() == classes => {
            output.names.iter().filter_map(|name| told.get(name)).collect()
        }
        Value::Object(told) => return Err(AnswerFault::Classes { row, found: told.len(), classes }),
        _ => return Err(AnswerFault::Missing { pointer: format!("{}/{row}{}", output.pointer, output.within) }),
    };
    if told.len() != classes {
        return Err(AnswerFault::Classes { row, found: told.len(), classes });
    }
    let begin = scores.len();
    for (class, value) in told.into_iter().enumerate() {
        let value = value.as_f64().filter(|value| value.is_finite()).ok_or(AnswerFault::NotANumber { row, class })?;
        scores.push(fitting(output.kind, value).map_err(|expected| AnswerFault::Outside {
            row,
            class,
            value,
            expected,
        })?);
    }
    let sum: f64 = scores.iter().skip(begin).sum();
    let slack = (classes as f64 * ROUNDING_MAX).max(SUM_SLACK_LEAST);
    if output.kind == OutputKind::Probabilities && (sum - 1.0).abs() > slack.min(SUM_SLACK_MOST) {
        return Err(AnswerFault::Sum { row, sum });
    }
    Ok(())
}

/// The scores of a list of objects in the order of the described names: every class once.
fn by_name<'v>(output: &Output, keys: &Objects, row: usize, told: &'v [Value]) -> Result<Vec<&'v Value>, AnswerFault> {
    let places: HashMap<&str, usize> =
        output.names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let mut scores: Vec<Option<&Value>> = vec![None; output.names.len()];
    for (entry, object) in told.iter().enumerate() {
        let pair = object.get(&keys.label).and_then(Value::as_str).zip(object.get(&keys.score));
        let (name, score) = pair.ok_or_else(|| AnswerFault::NoObject {
            row,
            entry,
            label: keys.label.clone(),
            score: keys.score.clone(),
        })?;
        let shown = || printable(name, NAME_CHARS_MAX);
        let place = places.get(name).and_then(|place| scores.get_mut(*place));
        let place = place.ok_or_else(|| AnswerFault::UnknownClass { row, name: shown() })?;
        if place.replace(score).is_some() {
            return Err(AnswerFault::ClassTwice { row, name: shown() });
        }
    }
    let missing = |name: &String| AnswerFault::ClassMissing { row, name: printable(name, NAME_CHARS_MAX) };
    scores.into_iter().zip(&output.names).map(|(score, name)| score.ok_or_else(|| missing(name))).collect()
}

/// The score as it counts, or what it should have been.
fn fitting(kind: OutputKind, value: f64) -> Result<f64, &'static str> {
    match kind {
        OutputKind::Probabilities if (-EXCESS_MAX..=1.0 + EXCESS_MAX).contains(&value) => Ok(value.clamp(0.0, 1.0)),
        OutputKind::Probabilities => Err("probability"),
        OutputKind::LogProbabilities if value <= EXCESS_MAX => Ok(value.min(0.0)),
        OutputKind::LogProbabilities => Err("logarithm of a probability"),
        OutputKind::Logits | OutputKind::Label => Ok(value),
    }
}

fn label(output: &Output, entry: &Value) -> Option<usize> {
    match entry {
        Value::String(name) => output.names.iter().position(|known| known == name),
        Value::Number(place) => usize::try_from(place.as_u64()?).ok().filter(|place| *place < output.classes),
        _ => None,
    }
}

/// What is shown of a class's name, in characters.
const NAME_CHARS_MAX: usize = 60;
/// By how much arithmetic in f32 may leave the range.
const EXCESS_MAX: f64 = 1e-5;
/// What rounding to one decimal does to one probability at most.
const ROUNDING_MAX: f64 = 0.05;
/// By how much a sum of probabilities may always differ from 1, and never.
const SUM_SLACK_LEAST: f64 = 0.1;
const SUM_SLACK_MOST: f64 = 0.5;
