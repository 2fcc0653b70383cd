//! A naive Bayes model over words, which answers for a text as if that text had not been learnt from.

use super::terms::Corpus;
use crate::numeric::Labelled;

/// How many texts of each class hold each word.
pub(crate) struct Bayes {
    classes: usize,
    counts: Vec<u32>,
    sizes: Vec<u32>,
}

impl Bayes {
    pub(crate) fn of(corpus: &Corpus, labelled: &Labelled) -> Self {
        let classes = labelled.classes;
        let mut bayes = Self { classes, counts: vec![0; corpus.vocabulary.len() * classes], sizes: vec![0; classes] };
        for record in 0..corpus.len() {
            if let Some(class) = labelled.class(record) {
                bayes.sizes[class] += 1;
                for word in distinct(corpus.words_of(record)) {
                    bayes.counts[word as usize * classes + class] += 1;
                }
            }
        }
        bayes
    }

    /// The logarithm of each class's weight for a text of these words; `own` is the class it was counted under, if any.
    /// Words that no other text holds say nothing.
    pub(crate) fn scores(&self, words: &[u32], own: Option<usize>) -> Vec<f32> {
        let total: u32 = self.sizes.iter().sum();
        let sizes: Vec<f32> =
            (0..self.classes).map(|class| (self.sizes[class] - u32::from(own == Some(class))) as f32).collect();
        let mut scores: Vec<f32> = sizes
            .iter()
            .map(|size| ((size + 1.0) / (total as f32 + self.classes as f32)).ln() * PRIOR_WEIGHT)
            .collect();
        for word in distinct(words) {
            let counts = &self.counts[word as usize * self.classes..(word as usize + 1) * self.classes];
            let held: u32 = counts.iter().sum::<u32>() - u32::from(own.is_some());
            if held == 0 {
                continue;
            }
            let share = held as f32 / total as f32;
            for (class, score) in scores.iter_mut().enumerate() {
                let count = (counts[class] - u32::from(own == Some(class))) as f32;
                // Smoothed towards the word's overall share.
                *score += ((count + SMOOTHING * share) / (sizes[class] + SMOOTHING)).ln();
            }
        }
        scores
    }

    /// The same as shares of one. Words are not independent, so the scores are softened by the text's length.
    pub(crate) fn shares(&self, words: &[u32], own: Option<usize>) -> Vec<f32> {
        let scores = self.scores(words, own);
        let soften = 1.0 / (1.0 + (words.len() as f32 / LENGTH_UNIT)).sqrt();
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut shares: Vec<f32> = scores.iter().map(|score| ((score - most) * soften).exp()).collect();
        let total: f32 = shares.iter().sum();
        for share in &mut shares {
            *share /= total;
        }
        shares
    }
}

/// Sorted words without repeats.
pub(crate) fn distinct(words: &[u32]) -> Vec<u32> {
    let mut words = words.to_vec();
    words.sort_unstable();
    words.dedup();
    words
}

const SMOOTHING: f32 = 8.0;
const PRIOR_WEIGHT: f32 = 0.5;
const LENGTH_UNIT: f32 = 4.0;
