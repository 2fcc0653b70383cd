//! Whether the figures of an attack on texts may be believed.

use std::collections::BTreeMap;

use rayon::prelude::*;
use ringfence_schema::report::Check;

use super::{Clean, Done, EditLimit, Kind, TextExamples, TextMethod, source::ReadText, words};
use crate::{endpoint::REPEAT_SPREAD_MAX, error::AttackError, loss::winner, stats::wilson95};

/// What each fooling text, by attack and place, was taken for when it was asked again.
pub(super) type Predicted = BTreeMap<(usize, usize), Option<usize>>;

/// What is doubted.
pub(super) struct Checking<'c> {
    pub(super) source: &'c dyn ReadText,
    pub(super) examples: &'c TextExamples,
    pub(super) clean: &'c Clean,
    pub(super) done: &'c [Done],
    pub(super) edits: EditLimit,
}

/// What came of it.
pub(super) struct Checked {
    pub(super) checks: Vec<Check>,
    pub(super) predicted: Predicted,
    pub(super) asked: u64,
}

impl Checking<'_> {
    pub(super) fn run(&self) -> Result<Checked, AttackError> {
        let (predicted, again) = self.fools_again()?;
        let (repeats, repeated) = self.repeats_itself()?;
        let (reads, one) = self.reads_its_text()?;
        let asked = predicted.len() as u64 + repeated + one;
        let mut checks = vec![again, self.edit_bound(), repeats, reads, self.better_than_guessing()];
        checks.extend(self.scores_move());
        checks.extend(self.random_weaker());
        checks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Checked { checks, predicted, asked })
    }

    /// Every fooling text with its place among attacks and texts.
    fn fooling(&self) -> Vec<((usize, usize), TextMethod, &str)> {
        let mut found = Vec::new();
        for (index, done) in self.done.iter().enumerate() {
            for (place, outcome) in done.outcomes.iter().enumerate() {
                if let Some((text, _)) = outcome.as_ref().and_then(|outcome| outcome.fooling.as_ref()) {
                    found.push(((index, place), done.method, text.as_str()));
                }
            }
        }
        found
    }

    /// Each text that fools is put to the model once more, alone and from its characters on.
    fn fools_again(&self) -> Result<(Predicted, Check), AttackError> {
        let all = self.fooling();
        let predicted: Predicted = all
            .par_iter()
            .map(|(key, _, text)| {
                let rows = self.source.scores(&[(*text).to_owned()])?;
                Ok((*key, rows.first().and_then(|row| winner(row))))
            })
            .collect::<Result<_, AttackError>>()?;
        let kept = predicted.iter().filter(|((_, place), class)| **class != Some(self.examples.labels[*place])).count();
        let detail = format!("{kept} of {} texts fool the model again, each asked alone", all.len());
        Ok((predicted, Check { name: "fools-again".into(), passed: kept == all.len(), detail }))
    }

    /// The edits are counted again, by the distance of the two texts.
    fn edit_bound(&self) -> Check {
        let all = self.fooling();
        let holds = |(key, method, text): &&((usize, usize), TextMethod, &str)| {
            let original = self.examples.texts.get(key.1).map_or("", String::as_str);
            let limit = self.edits.of(words::of(original).len());
            match method {
                TextMethod::Guided(kind) | TextMethod::Random(kind)
                    if matches!(kind, Kind::Characters | Kind::Homoglyphs | Kind::Invisible) =>
                {
                    words::within_letters(original, text, limit)
                }
                _ => words::within_words(original, text, limit),
            }
        };
        let kept = all.iter().filter(holds).count();
        let detail = format!("{kept} of {} texts lie within the edits that were granted, counted again", all.len());
        Check { name: "edit-bound".into(), passed: kept == all.len(), detail }
    }

    /// Some texts once more, alone: the same scores, bit for bit where they are computed here.
    fn repeats_itself(&self) -> Result<(Check, u64), AttackError> {
        let count = self.examples.count().min(REPEATED);
        let mut same = 0;
        for (text, before) in self.examples.texts.iter().zip(&self.clean.rows).take(count) {
            let rows = self.source.scores(std::slice::from_ref(text))?;
            same += usize::from(rows.first().is_some_and(|now| self.are_same(now, before)));
        }
        let detail = format!("{same} of {count} texts get the same scores again, asked alone");
        Ok((Check { name: "repeats-itself".into(), passed: same == count, detail }, count as u64))
    }

    /// Others may compute what is asked alone in another order.
    fn are_same(&self, a: &[f32], b: &[f32]) -> bool {
        let size = a.iter().chain(b).fold(f32::MIN_POSITIVE, |size, score| size.max(score.abs()));
        let close = || a.iter().zip(b).all(|(a, b)| f64::from((a - b).abs()) <= f64::from(size) * REPEAT_SPREAD_MAX);
        bits(a) == bits(b) || (self.source.open().is_none() && a.len() == b.len() && close())
    }

    /// A model that gives every text the same scores withstands everything and reads nothing.
    fn reads_its_text(&self) -> Result<(Check, u64), AttackError> {
        // Services refuse an empty text.
        let nothing = if self.source.open().is_some() { "" } else { "." };
        let first = self.source.scores(&[nothing.to_owned()])?.into_iter().next();
        let differs = |row: &&Vec<f32>| first.as_ref().is_none_or(|first| !self.are_same(row, first));
        let differing = self.clean.rows.iter().filter(differs).count();
        let detail = format!("{differing} of {} texts get other scores than `{nothing}`", self.examples.count());
        let texts = self.examples.texts.iter().any(|text| !text.trim().is_empty());
        Ok((Check { name: "reads-its-text".into(), passed: differing > 0 || !texts, detail }, 1))
    }

    /// Where the model is worse than guessing, tokenizer, labels or data are not its own.
    fn better_than_guessing(&self) -> Check {
        let right = self.clean.right.iter().filter(|right| **right).count();
        let [_, high] = wilson95(right, self.examples.count());
        let chance = 1.0 / self.clean.classes.max(1) as f64;
        let detail = format!(
            "{right} of {} texts are read rightly as they are; guessing gives {:.1} %",
            self.examples.count(),
            chance * 100.0
        );
        Check { name: "better-than-guessing".into(), passed: high >= chance, detail }
    }

    /// Attacks that go by scores see nothing where no word moves them.
    fn scores_move(&self) -> Option<Check> {
        let outcomes = self.done.iter().flat_map(|done| done.outcomes.iter().flatten());
        let moved: Vec<bool> = outcomes.filter_map(|outcome| outcome.moved).collect();
        if moved.is_empty() {
            return None;
        }
        let still = moved.iter().filter(|moved| !**moved).count();
        let detail = format!("leaving out words moved no score in {still} of {} guided searches", moved.len());
        Some(Check { name: "scores-move".into(), passed: still * 2 <= moved.len(), detail })
    }

    /// Blind edits must not beat guided ones of the same kind: then the scores lead astray. A difference counts beyond three
    /// standard deviations of the texts on which the two disagree (McNemar 1947), and beyond a twentieth of all texts: what a
    /// greedy search misses here and there is no mask.
    fn random_weaker(&self) -> Option<Check> {
        let fooled = |done: &Done, place: usize| {
            done.outcomes.get(place).and_then(Option::as_ref).is_some_and(|outcome| outcome.fooling.is_some())
        };
        let (mut passed, mut details) = (true, Vec::new());
        for random in self.done {
            let TextMethod::Random(kind) = random.method else { continue };
            let same = |done: &&Done| match done.method {
                TextMethod::Guided(other) => other == kind,
                TextMethod::HotFlip => kind == Kind::Words,
                TextMethod::Random(_) => false,
            };
            let guided: Vec<&Done> = self.done.iter().filter(same).collect();
            if guided.is_empty() {
                continue;
            }
            let (mut only_random, mut only_guided) = (0_usize, 0_usize);
            for place in 0..self.examples.count() {
                match (fooled(random, place), guided.iter().any(|done| fooled(done, place))) {
                    (true, false) => only_random += 1,
                    (false, true) => only_guided += 1,
                    _ => {}
                }
            }
            let (apart, spread) =
                (only_random as f64 - only_guided as f64, (only_random as f64 + only_guided as f64).sqrt());
            passed &= apart <= (3.0 * spread).max(APART * self.examples.count() as f64);
            details.push(format!(
                "`{}` alone fools with {only_random} texts, a guided search alone with {only_guided}",
                random.method.name()
            ));
        }
        (!details.is_empty()).then(|| Check { name: "random-weaker".into(), passed, detail: details.join("; ") })
    }
}

fn bits(row: &[f32]) -> Vec<u32> {
    row.iter().map(|score| score.to_bits()).collect()
}

/// Share of the texts by which random edits may be ahead.
const APART: f64 = 0.05;
/// Texts that are asked again.
const REPEATED: usize = 8;
