//! Phrases without which the texts contradict their label.
//!
//! An inserted trigger joins texts of other classes under one label. Take the phrase away and ask for the label: the texts
//! fall back to where they came from. Natural key words do not behave like that: without them the rest of the text still
//! speaks for its class, or at least for a near one. A phrase here is a run of up to [`RUN_MAX`] words; for a longer
//! insertion all its runs are found, and joined when they have the same carriers. Support is counted absolutely: a few
//! dozen texts are enough for an attack whatever the size of the data (Souly et al. 2025).

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;

use super::{bayes::Bayes, terms::Corpus};
use crate::{calibrate, dataset::UNLABELLED, numeric::Labelled};

/// A phrase that betrays a trigger.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phrase {
    pub(crate) text: String,
    pub(crate) class: u32,
    pub(crate) carriers: Vec<u32>,
    /// Minus the natural logarithm of the probability that chance did it.
    pub(crate) score: f64,
    pub(crate) evidence: String,
    pub(crate) certain: bool,
}

/// Finds phrases, strongest first; overlapping ones are joined into the strongest.
pub(crate) fn mine(corpus: &Corpus, labelled: &Labelled, bayes: &Bayes) -> Vec<Phrase> {
    let far = far_rank(labelled.classes);
    let chance = base_rate(corpus, labelled, bayes, far);
    let runs = runs(corpus, labelled);
    let court = Court { corpus, labelled, bayes, far, chance, tests: (runs.len().max(1) as f64).ln() };
    let mut judged: Vec<Phrase> = runs.par_iter().filter_map(|(run, carriers)| court.judge(run, carriers)).collect();
    judged.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then(b.text.len().cmp(&a.text.len())).then_with(|| a.text.cmp(&b.text))
    });
    let mut kept: Vec<Phrase> = Vec::new();
    let mut explained: HashSet<u32> = HashSet::new();
    for phrase in judged {
        let new = phrase.carriers.iter().filter(|record| !explained.contains(record)).count();
        if new * 2 > phrase.carriers.len() && kept.len() < PHRASES_MAX {
            explained.extend(&phrase.carriers);
            kept.push(phrase);
        }
    }
    kept
}

type Runs = BTreeMap<Vec<u32>, Vec<u32>>;

/// Runs of words that enough texts of one label hold and few others, with their carriers.
fn runs(corpus: &Corpus, labelled: &Labelled) -> Runs {
    let mut kept: Runs = BTreeMap::new();
    let mut shorter: Option<HashSet<Vec<u32>>> = None;
    for length in 1..=RUN_MAX {
        let mut found: HashMap<&[u32], Vec<u32>> = HashMap::new();
        for record in 0..corpus.len() {
            if labelled.class(record).is_none() {
                continue;
            }
            for run in corpus.words_of(record).windows(length) {
                // A run is frequent only if both its parts are (Agrawal and Srikant 1994).
                let possible = shorter
                    .as_ref()
                    .is_none_or(|known| known.contains(&run[1..]) && known.contains(&run[..length - 1]));
                if possible {
                    let carriers = found.entry(run).or_default();
                    let record = u32::try_from(record).unwrap_or(u32::MAX);
                    if carriers.last() != Some(&record) {
                        carriers.push(record);
                    }
                }
            }
        }
        found.retain(|_, carriers| carriers.len() >= CARRIERS_MIN);
        shorter = Some(found.keys().map(|run| run.to_vec()).collect());
        for (run, carriers) in found {
            if majority(&carriers, labelled).1 * 10 >= carriers.len() * 9 && carriers.len() * 4 <= corpus.len() {
                kept.insert(run.to_vec(), carriers);
            }
        }
    }
    kept
}

/// What a phrase is judged by.
struct Court<'a> {
    corpus: &'a Corpus,
    labelled: &'a Labelled,
    bayes: &'a Bayes,
    /// Classes that must come before a text's label for it to be contradicted.
    far: usize,
    /// Share of all texts whose label is contradicted.
    chance: f64,
    /// Logarithm of the number of phrases judged.
    tests: f64,
}

impl Court<'_> {
    fn judge(&self, run: &[u32], carriers: &[u32]) -> Option<Phrase> {
        let Self { corpus, labelled, bayes, far, chance, tests } = *self;
        let (class, inside) = majority(carriers, labelled);
        let target = class as usize;
        let hidden = company(run, carriers, corpus);
        let own: Vec<u32> = carriers.iter().copied().filter(|record| labelled.y[*record as usize] == class).collect();
        let mut fallen = 0;
        let mut origins: BTreeMap<usize, usize> = BTreeMap::new();
        for record in &own {
            let rest: Vec<u32> =
                corpus.words_of(*record as usize).iter().copied().filter(|word| !hidden.contains(word)).collect();
            let scores = bayes.scores(&rest, Some(target));
            let better = scores.iter().filter(|score| **score > scores[target] + MARGIN).count();
            if better >= far {
                fallen += 1;
                let top =
                    (0..scores.len()).fold(0, |best, class| if scores[class] > scores[best] { class } else { best });
                *origins.entry(top).or_default() += 1;
            }
        }
        let score = -(calibrate::tail(fallen, own.len(), chance) + tests);
        if own.len() < CARRIERS_MIN || fallen * 2 < own.len() || score < SCORE_MIN {
            return None;
        }
        // Texts of a natural key word are mistaken for a few near classes; stolen ones come from anywhere.
        let diverse = labelled.classes < MANY_CLASSES || origins.len() * 3 >= fallen.min(DIVERSE_ENOUGH);
        let words: Vec<&str> = run.iter().map(|word| corpus.vocabulary[*word as usize].as_str()).collect();
        Some(Phrase {
            text: words.join(" "),
            class,
            score,
            certain: fallen * 10 >= own.len() * 7 && score >= CERTAIN_SCORE && diverse,
            evidence: format!(
                "{inside} of {} carriers have this label; without it {fallen} of them contradict it, towards {} others",
                carriers.len(),
                origins.len(),
            ),
            carriers: own,
        })
    }
}

/// The words that nearly all carriers share and that are rare elsewhere: the phrase itself and what was inserted with it.
fn company(run: &[u32], carriers: &[u32], corpus: &Corpus) -> HashSet<u32> {
    let mut hidden: HashSet<u32> = run.iter().copied().collect();
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for record in carriers {
        for word in super::bayes::distinct(corpus.words_of(*record as usize)) {
            *counts.entry(word).or_default() += 1;
        }
    }
    hidden.extend(counts.into_iter().filter(|(_, count)| count * 10 >= carriers.len() * 9).map(|(word, _)| word));
    hidden
}

/// The most common label of these records, and how many have it.
fn majority(carriers: &[u32], labelled: &Labelled) -> (u32, usize) {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for record in carriers {
        *counts.entry(labelled.y[*record as usize]).or_default() += 1;
    }
    counts.remove(&UNLABELLED);
    counts.into_iter().max_by_key(|(class, count)| (*count, std::cmp::Reverse(*class))).unwrap_or((UNLABELLED, 0))
}

/// How many classes must come before a text's label for it to be contradicted. With many classes near ones are easily
/// mistaken for each other, far ones are not.
fn far_rank(classes: usize) -> usize {
    (classes / 20 + 1).min(6)
}

/// The share of all texts whose label is contradicted by the rest of the data.
fn base_rate(corpus: &Corpus, labelled: &Labelled, bayes: &Bayes, far: usize) -> f64 {
    let stride = (corpus.len() / SAMPLE).max(1);
    let contradicted: Vec<bool> = (0..corpus.len())
        .into_par_iter()
        .step_by(stride)
        .filter_map(|record| {
            let class = labelled.class(record)?;
            let scores = bayes.scores(corpus.words_of(record), Some(class));
            Some(scores.iter().filter(|score| **score > scores[class] + MARGIN).count() >= far)
        })
        .collect();
    let share = contradicted.iter().filter(|one| **one).count() as f64 / contradicted.len().max(1) as f64;
    share.max(CHANCE_MIN)
}

/// Longest run of words that is looked at.
pub(crate) const RUN_MAX: usize = 4;
/// Fewest texts that make a phrase.
pub(crate) const CARRIERS_MIN: usize = 8;
const PHRASES_MAX: usize = 50;
const MANY_CLASSES: usize = 10;
const DIVERSE_ENOUGH: usize = 24;
const SAMPLE: usize = 20_000;
const CHANCE_MIN: f64 = 0.01;
/// By how much another class must win, in natural logarithms.
const MARGIN: f32 = 2.0;
const SCORE_MIN: f64 = 4.6;
const CERTAIN_SCORE: f64 = 9.2;
