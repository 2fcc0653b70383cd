//! What a language model remembers word for word: planted canaries, and training sequences that it completes by itself.
//!
//! The model answers, for token ids `[batch, length]`, scores of the next token: `[batch, length, vocabulary]` for every place, or
//! `[batch, vocabulary]` for the last one. Where the length is fixed, sequences are padded behind their end, which a model that looks ahead would
//! notice; that is measured first, and such a model is refused.

use ringfence_nn::Tensor;
use ringfence_schema::privacy::{CanaryExposure, Extraction};
use serde::{Deserialize, Serialize};

use crate::{error::AttackError, plan::bounded, random::stream, source::Predict, stats::wilson95};

/// What to look for in a language model. In a file the names are written with dashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LanguagePlan {
    /// Secrets that were planted in the training data.
    pub canaries: Vec<Canary>,
    /// Sequences that were trained on, to be completed from their beginning.
    pub sequences: Vec<Vec<u32>>,
    /// Sequences that were not, for comparison.
    pub controls: Vec<Vec<u32>>,
    /// Tokens that are given of each sequence; 0 stands for [`PREFIX_DEFAULT`].
    pub prefix: usize,
}

/// A planted secret: fixed tokens, then ones that were drawn from an alphabet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Canary {
    /// The tokens before the secret, at least one.
    pub before: Vec<u32>,
    /// The secret.
    pub secret: Vec<u32>,
    /// The tokens from which each of the secret's was drawn.
    pub alphabet: Vec<u32>,
}

impl LanguagePlan {
    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.canaries.is_empty() && self.sequences.is_empty()
    }

    fn check(&self) -> Result<(), AttackError> {
        bounded("canaries", self.canaries.len() as u64, 0, SEQUENCES_MAX as u64)?;
        bounded("sequences", (self.sequences.len() + self.controls.len()) as u64, 0, SEQUENCES_MAX as u64)?;
        bounded("prefix", self.prefix as u64, 0, TOKENS_MAX as u64)?;
        let canaries = self.canaries.iter().map(|canary| canary.before.len() + canary.secret.len());
        let longest = canaries.chain(self.sequences.iter().chain(&self.controls).map(Vec::len)).max();
        bounded("tokens of a sequence", longest.unwrap_or(1) as u64, 1, TOKENS_MAX as u64)?;
        for (place, canary) in self.canaries.iter().enumerate() {
            let drawn = canary.secret.iter().all(|token| canary.alphabet.contains(token));
            let mut alphabet = canary.alphabet.clone();
            alphabet.sort_unstable();
            let distinct = alphabet.windows(2).all(|pair| pair[0] != pair[1]);
            if canary.before.is_empty() || canary.secret.is_empty() || !drawn || !distinct || alphabet.len() < 2 {
                return Err(AttackError::plan(
                    "canaries",
                    format!("number {place} has no prefix, no secret, or one that is not of its alphabet"),
                    "tokens before it, and a secret drawn from an alphabet of at least two distinct tokens",
                ));
            }
        }
        Ok(())
    }
}

/// The exposure of each canary (Carlini et al. 2019, "The Secret Sharer", definition 5): log2 of the number of secrets of its form less log2
/// of its rank among them by log-perplexity. Exact where all are compared, at most [`CANDIDATES_MAX`]; otherwise estimated from a random
/// sample (section 4.3, equation 1), and only a lower bound where none of the sample is likelier.
pub fn canary_exposure(
    model: &dyn Predict,
    plan: &LanguagePlan,
    seed: u64,
) -> Result<Vec<CanaryExposure>, AttackError> {
    plan.check()?;
    let reader = Reader::new(model)?;
    let mut found = Vec::new();
    for (place, canary) in plan.canaries.iter().enumerate() {
        let size = (canary.alphabet.len() as f64).powf(canary.secret.len() as f64);
        let all = size <= CANDIDATES_MAX as f64;
        let mut random = stream(seed, &[CANARY_STREAM, place as u64]);
        let mut candidates = Candidates { canary, next: Some(vec![0; canary.secret.len()]) };
        let mut left = if all { usize::MAX } else { CANDIDATES_MAX };
        let own =
            reader.bits(&[whole(canary, &canary.secret)], canary.before.len())?.first().copied().unwrap_or(f64::MAX);
        let (mut likelier, mut compared) = (0_u64, 0_u64);
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH && left > 0 {
                let secret = if all {
                    candidates.next()
                } else {
                    let draw = |_: &u32| canary.alphabet.get(random.below(canary.alphabet.len())).copied().unwrap_or(0);
                    Some(canary.secret.iter().map(draw).collect())
                };
                let Some(secret) = secret else { break };
                left -= 1;
                if secret != canary.secret {
                    batch.push(whole(canary, &secret));
                }
            }
            if batch.is_empty() {
                break;
            }
            compared += batch.len() as u64;
            likelier += reader.bits(&batch, canary.before.len())?.iter().filter(|bits| **bits <= own).count() as u64;
        }
        let exposure = if all {
            size.log2() - (likelier as f64 + 1.0).log2()
        } else {
            (compared as f64).log2() - (likelier.max(1) as f64).log2()
        };
        let at_least = !all && likelier == 0;
        found.push(CanaryExposure { canary: place as u64, exposure, most: size.log2(), at_least, compared, bits: own });
    }
    Ok(found)
}

/// Completes each sequence greedily from its beginning and counts those that come out word for word (Carlini et al. 2023, "Quantifying
/// Memorization", definition 3.1 with greedy decoding). `None` where no sequence has something after the prefix.
pub fn extract(model: &dyn Predict, plan: &LanguagePlan) -> Result<Option<Extraction>, AttackError> {
    plan.check()?;
    let reader = Reader::new(model)?;
    let prefix = if plan.prefix == 0 { PREFIX_DEFAULT } else { plan.prefix };
    let (tried, extracted) = reader.completed(&plan.sequences, prefix)?;
    if tried == 0 {
        return Ok(None);
    }
    let (controls, by_chance) = reader.completed(&plan.controls, prefix)?;
    Ok(Some(Extraction {
        prefix: prefix as u64,
        sequences: tried as u64,
        extracted: extracted.len() as u64,
        rate: extracted.len() as f64 / tried as f64,
        ci95: wilson95(extracted.len(), tried),
        places: extracted.iter().take(PLACES_MAX).map(|place| *place as u64).collect(),
        control_rate: (controls > 0).then(|| by_chance.len() as f64 / controls as f64),
        note: EXTRACTION_NOTE.into(),
    }))
}

fn whole(canary: &Canary, secret: &[u32]) -> Vec<u32> {
    canary.before.iter().chain(secret).copied().collect()
}

/// All secrets of a canary's form, in order.
struct Candidates<'c> {
    canary: &'c Canary,
    /// Places in the alphabet.
    next: Option<Vec<usize>>,
}

impl Iterator for Candidates<'_> {
    type Item = Vec<u32>;

    fn next(&mut self) -> Option<Vec<u32>> {
        let places = self.next.as_mut()?;
        let secret = places.iter().map(|place| self.canary.alphabet.get(*place).copied().unwrap_or(0)).collect();
        let last = self.canary.alphabet.len() - 1;
        if let Some(at) = places.iter().rposition(|place| *place < last) {
            places.iter_mut().skip(at + 1).for_each(|place| *place = 0);
            places.iter_mut().skip(at).take(1).for_each(|place| *place += 1);
        } else {
            self.next = None;
        }
        Some(secret)
    }
}

/// Asks a model for next tokens.
struct Reader<'m> {
    model: &'m dyn Predict,
    /// The only length that it takes.
    fixed: Option<usize>,
    fixed_batch: Option<usize>,
}

/// Scores of next tokens after some places of each sequence.
struct Scores {
    /// `[rows, places, vocabulary]`.
    data: Vec<f32>,
    places: usize,
    vocabulary: usize,
}

impl Scores {
    /// After `place` tokens of row `row`; the last place where the model answers only that.
    fn after(&self, row: usize, place: usize) -> &[f32] {
        let at = (row * self.places + (place - 1).min(self.places - 1)) * self.vocabulary;
        self.data.get(at..at + self.vocabulary).unwrap_or_default()
    }
}

impl<'m> Reader<'m> {
    fn new(model: &'m dyn Predict) -> Result<Self, AttackError> {
        let [batch, length] = *model.shape() else {
            return Err(AttackError::Shape {
                input: model.name().to_owned(),
                expected: model.shape().to_vec(),
                found: vec![1, 1],
            });
        };
        let reader = Self { model, fixed: length, fixed_batch: batch };
        // A padded sequence must not be seen through its padding.
        if let Some(length) = length.filter(|length| *length > 1) {
            let (mut a, mut b) = (vec![0; length], vec![0; length]);
            (a[length - 1], b[length - 1]) = (0, 1);
            a.truncate(length);
            b.truncate(length);
            let scores = reader.scores(&[a, b])?;
            let far = |(x, y): (&f32, &f32)| (x - y).abs() > 1e-4 * x.abs().max(1.0);
            if scores.places > 1 && scores.after(0, 1).iter().zip(scores.after(1, 1)).any(far) {
                return Err(AttackError::Source {
                    model: model.name().to_owned(),
                    problem: "its answer at one place depends on later tokens: it does not predict the next one".into(),
                });
            }
        }
        Ok(reader)
    }

    /// Scores for sequences of one length.
    fn scores(&self, sequences: &[Vec<u32>]) -> Result<Scores, AttackError> {
        let rows = sequences.len();
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let length = self.fixed.unwrap_or(longest);
        let padded = self.fixed_batch.map_or(rows, |batch| rows.next_multiple_of(batch.max(1)));
        if longest > length || longest == 0 {
            return Err(AttackError::plan("tokens of a sequence", longest.to_string(), format!("1 to {length}")));
        }
        let mut data = vec![0.0; padded * length];
        for (row, sequence) in data.chunks_exact_mut(length).zip(sequences) {
            row.iter_mut().zip(sequence).for_each(|(to, token)| *to = *token as f32);
        }
        let found = self.model.scores(&Tensor { shape: vec![padded, length], data })?;
        let (places, vocabulary) = match found.shape[..] {
            [batch, places, vocabulary] if batch == padded && places == length => (places, vocabulary),
            [batch, vocabulary] if batch == padded => (1, vocabulary),
            _ => return Err(AttackError::Output { rows: padded, found: found.shape }),
        };
        if vocabulary < 2 || found.data.len() != padded * places * vocabulary {
            return Err(AttackError::Output { rows: padded, found: found.shape });
        }
        if places == 1 && length > 1 && longest < length {
            return Err(AttackError::Source {
                model: self.model.name().to_owned(),
                problem: format!("it answers only after {length} tokens; a sequence has {longest}"),
            });
        }
        Ok(Scores { data: found.data, places, vocabulary })
    }

    /// Bits in which the model encodes each sequence after its first `from` tokens; all have one length.
    fn bits(&self, sequences: &[Vec<u32>], from: usize) -> Result<Vec<f64>, AttackError> {
        let length = sequences.first().map_or(0, Vec::len);
        let mut bits = vec![0.0; sequences.len()];
        let all = self.scores(sequences)?;
        for place in from..length {
            let shorter;
            let scores = if all.places > 1 || length == 1 {
                &all
            } else {
                let begun: Vec<Vec<u32>> =
                    sequences.iter().map(|tokens| tokens.iter().take(place).copied().collect()).collect();
                shorter = self.scores(&begun)?;
                &shorter
            };
            for (row, (bits, tokens)) in bits.iter_mut().zip(sequences).enumerate() {
                let next = tokens.get(place).copied().unwrap_or(0) as usize;
                *bits += surprise(scores.after(row, place), next)?;
            }
        }
        Ok(bits)
    }

    /// How many sequences go beyond the prefix, and the places of those that come out word for word.
    fn completed(&self, sequences: &[Vec<u32>], prefix: usize) -> Result<(usize, Vec<usize>), AttackError> {
        let long: Vec<usize> = (0..sequences.len()).filter(|place| sequences[*place].len() > prefix).collect();
        let mut extracted = Vec::new();
        for places in long.chunks(BATCH) {
            // What differs once never comes back: only what still agrees is asked about.
            let mut standing: Vec<usize> = places.to_vec();
            let mut length = prefix;
            while !standing.is_empty() {
                let begun: Vec<Vec<u32>> =
                    standing.iter().map(|place| sequences[*place].iter().take(length).copied().collect()).collect();
                let scores = self.scores(&begun)?;
                let agrees = |(row, place): (usize, &usize)| {
                    let next = crate::loss::winner(scores.after(row, length));
                    let wanted = sequences[*place].get(length).map(|token| *token as usize);
                    (next.is_some() && next == wanted).then_some(*place)
                };
                let agreeing: Vec<usize> = standing.iter().enumerate().filter_map(agrees).collect();
                length += 1;
                let (done, open): (Vec<usize>, Vec<usize>) =
                    agreeing.into_iter().partition(|place| sequences[*place].len() == length);
                extracted.extend(done);
                standing = open;
            }
        }
        extracted.sort_unstable();
        Ok((long.len(), extracted))
    }
}

/// −log2 of the probability of `token`.
fn surprise(scores: &[f32], token: usize) -> Result<f64, AttackError> {
    let Some(own) = scores.get(token) else {
        return Err(AttackError::Label { example: 0, label: token, classes: scores.len() });
    };
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|score| f64::from(score - highest).exp()).sum();
    let found = (sum.ln() - f64::from(own - highest)) / std::f64::consts::LN_2;
    // What is no number counts as the least likely there is.
    Ok(if found.is_nan() { f64::MAX / TOKENS_MAX as f64 } else { found })
}

/// Secrets that are compared with a canary.
pub const CANDIDATES_MAX: usize = 1 << 17;
/// Canaries or sequences of one test.
pub const SEQUENCES_MAX: usize = 100_000;
/// Tokens of one sequence.
pub const TOKENS_MAX: usize = 4_096;
/// Tokens that are given of a sequence.
pub const PREFIX_DEFAULT: usize = 8;
/// Sequences put to the model at once.
const BATCH: usize = 128;
/// Places of extracted sequences that are listed.
const PLACES_MAX: usize = 1_000;
const CANARY_STREAM: u64 = 45;
const EXTRACTION_NOTE: &str = "greedy completion word for word: a lower bound of what sampling, longer prefixes or near copies would give; \
                               what the controls give too is common language, not memory";
