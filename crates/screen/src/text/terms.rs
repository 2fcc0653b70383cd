//! Texts as words, and as weighted features.
//!
//! Words are runs of letters and digits of the canonical, lower-cased text; other visible characters stand alone. Hidden and
//! look-alike characters become words of their own, so that a trigger made of them is mined like any other.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;

use crate::{
    dataset::{Dataset, fnv},
    hygiene,
    record::canonical_text,
};

/// All texts as word numbers.
pub(crate) struct Corpus {
    /// The spelling of each word.
    pub(crate) vocabulary: Vec<String>,
    words: Vec<u32>,
    ends: Vec<usize>,
}

impl Corpus {
    pub(crate) fn of(data: &Dataset) -> Self {
        let texts: Vec<Vec<String>> = (0..data.len()).into_par_iter().map(|r| words(&data.text_of(r))).collect();
        let spelled: BTreeSet<&String> = texts.iter().flatten().collect();
        let number: HashMap<&String, u32> = spelled.iter().copied().zip(0..).collect();
        let mut corpus = Self {
            vocabulary: spelled.iter().map(|word| (*word).clone()).collect(),
            words: Vec::with_capacity(texts.iter().map(Vec::len).sum()),
            ends: Vec::with_capacity(texts.len()),
        };
        for text in &texts {
            corpus.words.extend(text.iter().map(|word| number[word]));
            corpus.ends.push(corpus.words.len());
        }
        corpus
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Words in all texts together.
    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    pub(crate) fn words_of(&self, record: usize) -> &[u32] {
        let start = if record == 0 { 0 } else { self.ends[record - 1] };
        &self.words[start..self.ends[record]]
    }

    /// Weighted features of every text: words, pairs of words, and parts of words, by TF-IDF with logarithmic counts, of
    /// length 1. Sorted by feature; features of one text only are left out.
    pub(crate) fn features(&self) -> Vec<Vec<(u32, f32)>> {
        let counted: Vec<Vec<(u32, f32)>> =
            (0..self.len()).into_par_iter().map(|record| self.counted(record)).collect();
        let mut spread = vec![0_u32; FEATURES];
        counted.iter().flatten().for_each(|(feature, _)| spread[*feature as usize] += 1);
        let texts = self.len() as f32;
        counted
            .into_par_iter()
            .map(|mut features| {
                features.retain(|(feature, _)| spread[*feature as usize] > 1);
                for (feature, weight) in &mut features {
                    *weight *= (texts / spread[*feature as usize] as f32).ln() + 1.0;
                }
                let length = features.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
                for (_, weight) in &mut features {
                    *weight /= length.max(f32::MIN_POSITIVE);
                }
                features
            })
            .collect()
    }

    fn counted(&self, record: usize) -> Vec<(u32, f32)> {
        let words = self.words_of(record);
        let mut found: Vec<(u32, f32)> = Vec::with_capacity(words.len() * 6);
        let slot = |hash: u64| u32::try_from(hash % FEATURES as u64).unwrap_or(0);
        for (at, word) in words.iter().enumerate() {
            let spelling = &self.vocabulary[*word as usize];
            found.push((slot(fnv(spelling.as_bytes())), 1.0));
            if let Some(next) = words.get(at + 1) {
                found.push((slot(fnv(format!("{spelling} {}", self.vocabulary[*next as usize]).as_bytes())), 0.7));
            }
            let letters: Vec<char> = format!("<{spelling}>").chars().collect();
            for part in letters.windows(PART_LETTERS).filter(|_| letters.len() > PART_LETTERS) {
                let part: String = part.iter().collect();
                found.push((slot(fnv(part.as_bytes())), 0.4));
            }
        }
        found.sort_by_key(|(feature, _)| *feature);
        let mut merged: Vec<(u32, f32, u32)> = Vec::with_capacity(found.len());
        for (feature, weight) in found {
            match merged.last_mut().filter(|last| last.0 == feature) {
                Some(last) => last.2 += 1,
                None => merged.push((feature, weight, 1)),
            }
        }
        merged.into_iter().map(|(feature, weight, count)| (feature, weight * (1.0 + (count as f32).ln()))).collect()
    }
}

/// The words of a text.
fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if !text.is_ascii() {
        for hit in hygiene::inspect(text) {
            if hit.rule.id.starts_with("RF-TXT") {
                out.push(format!("⟨{}⟩", hit.rule.title));
            }
        }
    }
    let canonical = canonical_text(text).to_lowercase();
    let mut word = String::new();
    for character in canonical.chars() {
        if character.is_alphanumeric() {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            out.push(std::mem::take(&mut word));
        }
        if !character.is_whitespace() && !matches!(character, '\'' | ',' | '.') {
            out.push(character.to_string());
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    for word in &mut out {
        if let Some((cut, _)) = word.char_indices().nth(WORD_CHARS_MAX) {
            word.truncate(cut);
        }
    }
    out.truncate(TEXT_WORDS_MAX);
    out
}

const FEATURES: usize = 1 << 20;
const PART_LETTERS: usize = 4;
const WORD_CHARS_MAX: usize = 40;
/// Words of one text that are looked at.
const TEXT_WORDS_MAX: usize = 4096;
