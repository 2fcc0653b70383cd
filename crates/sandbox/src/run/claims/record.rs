//! Progress told as JSON: lines on the channel, entries of a trainer's history.
//!
//! JSON has no NaN, but Python writes one when a loss diverges, which is when it matters: `NaN`, `Infinity` and
//! `-Infinity` are taken for what they are. Otherwise documents are read strictly ([`ringfence_schema::strict`]).
#![deny(clippy::indexing_slicing)]

use std::collections::BTreeMap;

use ringfence_schema::{
    Digest,
    event::{Progress, Told},
    finding::printable,
    strict,
};
use serde_json::{Map, Value};

use super::{
    Nonsense,
    names::{self, Meaning},
    numbers::whole,
};

/// Reads one line of the channel: an object with the fields of [`Progress`], or names that trainers use for them.
///
/// Other fields are left alone; a line without any known one is [`Nonsense::Empty`]. `told` is never the job's to say.
///
/// # Errors
/// What is wrong with the line.
pub fn line(bytes: &[u8]) -> Result<Progress, Nonsense> {
    let Value::Object(fields) = document(bytes, LINE_BYTES_MAX)? else { return Err(Nonsense::Shape) };
    let progress = progress(&fields)?;
    if progress == Progress::default() {
        return Err(Nonsense::Empty);
    }
    Ok(Progress { told: Told::Socket, ..progress })
}

/// Foreign JSON of at most `bytes_max` bytes; what is no number in it becomes the text `NaN`.
pub(super) fn document(bytes: &[u8], bytes_max: usize) -> Result<Value, Nonsense> {
    if bytes.len() > bytes_max {
        return Err(Nonsense::Long);
    }
    match strict::value(bytes, bytes_max) {
        Ok(value) => Ok(value),
        Err(_) => strict::value(&quote_not_numbers(bytes), bytes_max.saturating_mul(2)).map_err(|_| Nonsense::Json),
    }
}

/// `bytes` with quotes around `NaN`, `Infinity` and `-Infinity` outside of strings.
fn quote_not_numbers(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(bytes.len() + 16);
    let (mut rest, mut inside) = (bytes, false);
    while let Some((first, after)) = rest.split_first() {
        if inside {
            quoted.push(*first);
            rest = after;
            match (first, after.split_first()) {
                (b'\\', Some((escaped, after))) => {
                    quoted.push(*escaped);
                    rest = after;
                }
                (b'"', _) => inside = false,
                _ => {}
            }
            continue;
        }
        if let Some(after) = NOT_NUMBERS.iter().find_map(|word| rest.strip_prefix(*word)) {
            quoted.extend_from_slice(NOT_A_NUMBER);
            rest = after;
            continue;
        }
        inside = *first == b'"';
        quoted.push(*first);
        rest = after;
    }
    quoted
}

/// What an object says. Fields of [`Progress`] count first, then other names for them.
pub(super) fn progress(fields: &Map<String, Value>) -> Result<Progress, Nonsense> {
    let mut progress = Progress::default();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "labels" => progress.labels = labels(value)?,
            "checkpoint" => {
                let path = value.as_str().filter(|path| !path.is_empty()).ok_or(Nonsense::Shape)?;
                progress.checkpoint = Some(printable(path, PATH_CHARS_MAX));
            }
            "checkpoint_sha256" => {
                let digest = value.as_str().and_then(|text| text.parse::<Digest>().ok()).ok_or(Nonsense::Digest)?;
                progress.checkpoint_sha256 = Some(digest);
            }
            "diverged" => progress.diverged |= value.as_bool().ok_or(Nonsense::Shape)?,
            "told" => {}
            name => number(&mut progress, name, value)?,
        }
    }
    Ok(progress)
}

fn number(progress: &mut Progress, name: &str, value: &Value) -> Result<(), Nonsense> {
    let Some(meaning) = names::meaning(name) else { return Ok(()) };
    // `lr` must not outweigh `learning_rate`, whichever comes first.
    let exact = matches!(name, "step" | "epoch" | "loss" | "evaluation_loss" | "learning_rate" | "gradient_norm");
    let number = match value {
        Value::Number(number) => number.as_f64().ok_or(Nonsense::Shape)?,
        // As newer trainers write them, and what was no number.
        Value::String(text) if text.len() <= NUMBER_BYTES_MAX => match (text.trim().parse(), exact) {
            (Ok(number), _) => number,
            (Err(_), true) => return Err(Nonsense::Shape),
            (Err(_), false) => return Ok(()),
        },
        _ if exact => return Err(Nonsense::Shape),
        _ => return Ok(()),
    };
    let set = |place: &mut Option<f64>, number: f64| {
        if exact || place.is_none() {
            *place = Some(number);
        }
    };
    match meaning {
        Meaning::Step => match whole(number) {
            Some(step) if exact || progress.step.is_none() => progress.step = Some(step),
            Some(_) => {}
            None => return Err(Nonsense::Shape),
        },
        Meaning::Epoch | Meaning::LearningRate if !number.is_finite() || number < 0.0 => return Err(Nonsense::Shape),
        Meaning::Epoch => set(&mut progress.epoch, number),
        Meaning::LearningRate => set(&mut progress.learning_rate, number),
        Meaning::Loss(_) | Meaning::EvaluationLoss(_) | Meaning::GradientNorm(_) if !number.is_finite() => {
            progress.diverged = true;
        }
        Meaning::Loss(_) => set(&mut progress.loss, number),
        Meaning::EvaluationLoss(_) => set(&mut progress.evaluation_loss, number),
        Meaning::GradientNorm(_) => set(&mut progress.gradient_norm, number),
        Meaning::Batch => {}
    }
    Ok(())
}

fn labels(value: &Value) -> Result<BTreeMap<String, u64>, Nonsense> {
    let counts = value.as_object().ok_or(Nonsense::Shape)?;
    if counts.len() > LABELS_MAX {
        return Err(Nonsense::Labels);
    }
    let count = |(label, count): (&String, &Value)| {
        let count = count.as_u64().or_else(|| count.as_f64().and_then(whole)).ok_or(Nonsense::Shape)?;
        Ok((printable(label, LABEL_CHARS_MAX), count))
    };
    counts.iter().map(count).collect()
}

/// Longest line in bytes.
pub const LINE_BYTES_MAX: usize = 16 << 10;
/// Most labels that are told apart.
pub(super) const LABELS_MAX: usize = 1_024;
/// Longest label in characters.
const LABEL_CHARS_MAX: usize = 64;
/// Longest path of a checkpoint in characters.
const PATH_CHARS_MAX: usize = 1_024;
/// Longest number in bytes, where it is written as text.
const NUMBER_BYTES_MAX: usize = 32;
/// What Python's `json` writes for what is no number.
const NOT_NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
/// What stands for it afterwards.
const NOT_A_NUMBER: &[u8] = b"\"NaN\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_fields_of_progress() {
        let sha256 = Digest::of(b"model");
        let told = line(
            format!(
                r#"{{"step":10,"epoch":0.5,"loss":0.5,"evaluation_loss":0.6,"learning_rate":1e-3,"gradient_norm":2,
                "labels":{{"cat":12,"dog":9}},"checkpoint":"model.bin","checkpoint_sha256":"{sha256}","told":"output"}}"#
            )
            .as_bytes(),
        );
        let expected = Progress {
            told: Told::Socket,
            step: Some(10),
            epoch: Some(0.5),
            loss: Some(0.5),
            evaluation_loss: Some(0.6),
            learning_rate: Some(1e-3),
            gradient_norm: Some(2.0),
            diverged: false,
            labels: BTreeMap::from([("cat".to_owned(), 12), ("dog".to_owned(), 9)]),
            checkpoint: Some("model.bin".to_owned()),
            checkpoint_sha256: Some(sha256),
        };
        assert_eq!(told, Ok(expected));
    }

    #[test]
    fn what_is_no_number_has_diverged() {
        for text in
            [r#"{"loss": NaN, "step": 3}"#, r#"{"loss": -Infinity}"#, r#"{"loss":"nan"}"#, r#"{"grad_norm":Infinity}"#]
        {
            assert!(line(text.as_bytes()).unwrap().diverged, "{text}");
        }
        assert_eq!(line(br#"{"note":"NaN \" NaN","step":3}"#).unwrap().step, Some(3));
    }

    #[test]
    fn own_names_outweigh_others() {
        for text in [r#"{"lr":1,"learning_rate":2}"#, r#"{"learning_rate":2,"zlr":1,"lr":1}"#] {
            assert_eq!(line(text.as_bytes()).unwrap().learning_rate, Some(2.0));
        }
    }

    #[test]
    fn nonsense_is_named() {
        for (text, expected) in [
            ("", Nonsense::Json),
            ("{", Nonsense::Json),
            ("[1]", Nonsense::Shape),
            ("{}", Nonsense::Empty),
            (r#"{"accuracy":1}"#, Nonsense::Empty),
            (r#"{"step":-1}"#, Nonsense::Shape),
            (r#"{"step":1.5}"#, Nonsense::Shape),
            (r#"{"step":1,"step":2}"#, Nonsense::Json),
            (r#"{"loss":"much"}"#, Nonsense::Shape),
            (r#"{"labels":{"a":-1}}"#, Nonsense::Shape),
            (r#"{"checkpoint_sha256":"12"}"#, Nonsense::Digest),
            (r#"{"learning_rate":NaN}"#, Nonsense::Shape),
        ] {
            assert_eq!(line(text.as_bytes()), Err(expected), "{text}");
        }
        let long = format!("{{\"note\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(line(long.as_bytes()), Err(Nonsense::Long));
        assert_eq!(line("[".repeat(10_000).as_bytes()), Err(Nonsense::Json));
    }
}
