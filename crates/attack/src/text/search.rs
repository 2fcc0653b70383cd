//! How an attack goes through a text: guided by scores, by the model's own slopes, or blindly.

use std::{collections::BTreeMap, ops::Range};

use ringfence_nn::random::Random;

use super::{
    Kind, Methods, TextMethod,
    edits::{characters, homoglyphs, invisible, some},
    source::ReadText,
    words,
};
use crate::{error::AttackError, loss::rival, loss::winner, random::stream};

/// What came of one attack on one text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outcome {
    /// The text that fools, with the number of words edited.
    pub(super) fooling: Option<(String, usize)>,
    /// Questions asked; a gradient counts as one.
    pub(super) asked: u64,
    /// Whether it ended because the questions were used up.
    pub(super) exhausted: bool,
    /// For attacks that look at scores first: whether leaving out words moved them at all.
    pub(super) moved: Option<bool>,
}

/// What the model makes of a text.
#[derive(Debug, Clone, Copy)]
struct View {
    /// The best other score less the label's.
    margin: f32,
    fooled: bool,
}

/// One attack on one text.
pub(super) struct Search<'s> {
    source: &'s dyn ReadText,
    methods: &'s Methods,
    text: &'s str,
    label: usize,
    words: Vec<Range<usize>>,
    limit: usize,
    budget: u64,
    asked: u64,
    exhausted: bool,
    random: Random,
}

/// Words that are changed, by their place.
type Changes = BTreeMap<usize, String>;

impl<'s> Search<'s> {
    /// `place` is the text's place in the data; random choices depend on it and on the method alone.
    pub(super) fn new(
        source: &'s dyn ReadText,
        methods: &'s Methods,
        method: TextMethod,
        (place, text, label): (usize, &'s str, usize),
    ) -> Self {
        let words = words::of(text);
        let limit = methods.edits.of(words.len());
        let random = stream(methods.seed, &[TEXT_STREAM, method.number(), place as u64]);
        let budget = methods.queries;
        Self { source, methods, text, label, words, limit, budget, asked: 0, exhausted: false, random }
    }

    /// Goes through with it.
    pub(super) fn run(mut self, method: TextMethod) -> Result<Outcome, AttackError> {
        if self.words.is_empty() || self.limit == 0 {
            return Ok(Outcome::default());
        }
        let mut moved = None;
        let found = match method {
            TextMethod::Guided(kind) => self.guided(kind, &mut moved)?,
            TextMethod::Random(kind) => self.blind(kind)?,
            TextMethod::HotFlip => self.sloped()?,
        };
        let fooling = found.map(|changes| (words::with(self.text, &self.words, &changes), changes.len()));
        Ok(Outcome { fooling, asked: self.asked, exhausted: self.exhausted, moved })
    }

    /// The words in the order in which leaving each out lowers the label's lead, and in each the best of its candidates, as long
    /// as it helps (Li et al. 2019, TextBugger, algorithm 1; Jin et al. 2020, TextFooler; Ren et al. 2019, PWWS).
    fn guided(&mut self, kind: Kind, moved: &mut Option<bool>) -> Result<Option<Changes>, AttackError> {
        let Some(start) = self.ask(&[Changes::new()])?.first().copied() else { return Ok(None) };
        let mut places: Vec<usize> = (0..self.words.len()).collect();
        // Half of the questions are for the candidates.
        let most = usize::try_from(self.budget / 2).unwrap_or(usize::MAX);
        if places.len() > most {
            self.random.shuffle(&mut places);
            places.truncate(most);
            places.sort_unstable();
        }
        let without: Vec<Changes> = places.iter().map(|place| Changes::from([(*place, String::new())])).collect();
        let views = self.ask(&without)?;
        *moved = Some(views.iter().any(|view| view.margin.to_bits() != start.margin.to_bits()));
        let mut order: Vec<(f32, usize)> =
            views.iter().zip(&places).map(|(view, place)| (view.margin - start.margin, *place)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        // A pass that ends at the limit has perhaps begun with the wrong word: the next one leaves it out.
        for first in 0..order.len().min(PASSES_MAX) {
            if let Some(found) = self.pass(kind, order.get(first..).unwrap_or(&[]), start.margin)? {
                return Ok(Some(found));
            }
            if self.exhausted || order.len() <= self.limit {
                break;
            }
        }
        Ok(None)
    }

    /// The words in their order, in each the best of its candidates, as long as it helps and edits are left.
    fn pass(&mut self, kind: Kind, order: &[(f32, usize)], start: f32) -> Result<Option<Changes>, AttackError> {
        let (mut changes, mut best) = (Changes::new(), start);
        for (_, place) in order {
            if changes.len() >= self.limit || self.exhausted {
                break;
            }
            let candidates = self.candidates(kind, *place, CANDIDATES);
            let tried: Vec<Changes> = candidates.iter().map(|with| changed(&changes, *place, with)).collect();
            let views = self.ask(&tried)?;
            let ranked = views.iter().zip(tried);
            let Some((view, tried)) = ranked.reduce(|a, b| if better(*a.0, *b.0) { b } else { a }) else { continue };
            if view.fooled {
                return Ok(Some(tried));
            }
            if view.margin > best {
                (changes, best) = (tried, view.margin);
            }
        }
        Ok(None)
    }

    /// Random words and random candidates for as many of them as may be edited, until a text fools; then edits are taken back
    /// while it still does (Maheshwary, Maheshwary and Pudi 2021, the first phase of their label-only attack). The baseline that
    /// a guided attack must not lose against, and all that there is where a model answers labels alone.
    fn blind(&mut self, kind: Kind) -> Result<Option<Changes>, AttackError> {
        let tries = self.budget.min(BLIND_TRIES_MAX);
        let mut known: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for batch in 0..tries.div_ceil(BLIND_BATCH) {
            let count = BLIND_BATCH.min(tries - batch * BLIND_BATCH);
            let tried: Vec<Changes> = (0..count).map(|_| self.random_changes(kind, &mut known)).collect();
            if tried.iter().all(Changes::is_empty) {
                return Ok(None);
            }
            let views = self.ask(&tried)?;
            if let Some((_, changes)) = views.iter().zip(tried).find(|(view, _)| view.fooled) {
                return self.reduced(changes).map(Some);
            }
            if self.exhausted {
                break;
            }
        }
        self.exhausted |= self.asked >= self.budget;
        Ok(None)
    }

    fn random_changes(&mut self, kind: Kind, known: &mut BTreeMap<usize, Vec<String>>) -> Changes {
        let order = self.random.permutation(self.words.len());
        let mut changes = Changes::new();
        for place in order {
            if changes.len() >= self.limit {
                break;
            }
            let candidates = known.entry(place).or_insert_with(|| self.candidates(kind, place, usize::MAX));
            if candidates.is_empty() {
                continue;
            }
            if let Some(with) = candidates.get(self.random.below(candidates.len())) {
                changes.insert(place, with.clone());
            }
        }
        changes
    }

    /// Without the edits that are not needed.
    fn reduced(&mut self, mut changes: Changes) -> Result<Changes, AttackError> {
        for place in changes.keys().copied().collect::<Vec<_>>() {
            let mut fewer = changes.clone();
            fewer.remove(&place);
            if fewer.is_empty() {
                break;
            }
            match self.ask(std::slice::from_ref(&fewer))?.first() {
                Some(view) if view.fooled => changes = fewer,
                Some(_) => {}
                None => break,
            }
        }
        Ok(changes)
    }

    /// The exchanges of words that the slope at their embeddings recommends; the one of them that in truth helps most is kept,
    /// also where it helps little, and the slope taken anew (Ebrahimi et al. 2018, HotFlip).
    fn sloped(&mut self) -> Result<Option<Changes>, AttackError> {
        let Some(model) = self.source.open() else { return Ok(None) };
        let mut changes = Changes::new();
        while changes.len() < self.limit && !self.exhausted {
            if self.asked >= self.budget {
                self.exhausted = true;
                break;
            }
            self.asked += 1;
            let now = words::with(self.text, &self.words, &changes);
            let places: Vec<usize> = (0..self.words.len()).filter(|place| !changes.contains_key(place)).collect();
            let flips = model.flips(&now, &places, self.label, FLIPS)?;
            let tried: Vec<Changes> = flips
                .iter()
                .map(|flip| changed(&changes, flip.word, &words::cased(&flip.with, self.word(flip.word))))
                .collect();
            let views = self.ask(&tried)?;
            let ranked = views.iter().zip(tried);
            let Some((view, tried)) = ranked.reduce(|a, b| if better(*a.0, *b.0) { b } else { a }) else { break };
            if view.fooled {
                return Ok(Some(tried));
            }
            changes = tried;
        }
        Ok(None)
    }

    fn word(&self, place: usize) -> &'s str {
        self.words.get(place).and_then(|range| self.text.get(range.clone())).unwrap_or("")
    }

    /// Whether the texts or the model's vocabulary have this word.
    fn is_word(&self, word: &str) -> bool {
        let lower = word.to_lowercase();
        self.methods.vocabulary.binary_search(&lower).is_ok()
            || self.source.open().is_some_and(|model| model.has_word(word))
    }

    /// What the word may become, at most `count`.
    fn candidates(&mut self, kind: Kind, place: usize, count: usize) -> Vec<String> {
        let word = self.word(place);
        let spelt = |all: Vec<String>, random: &mut Random| some(all, count, random);
        let mut found = match kind {
            Kind::Characters => {
                // A slip that makes another word, such as `had` of `bad`, says something else.
                let mut slips = characters(word);
                slips.retain(|slip| !self.is_word(slip));
                return spelt(slips, &mut self.random);
            }
            Kind::Homoglyphs => return spelt(homoglyphs(word), &mut self.random),
            Kind::Invisible => return spelt(invisible(word), &mut self.random),
            Kind::Synonyms => some(self.methods.synonyms.of(word), count, &mut self.random),
            Kind::Neighbours => {
                let near = count.min(CANDIDATES);
                self.source.open().map(|model| model.neighbours(word, near).to_vec()).unwrap_or_default()
            }
            Kind::Words => {
                let pool = &self.methods.vocabulary;
                let draws = if pool.is_empty() { 0 } else { count.min(CANDIDATES) };
                (0..draws).filter_map(|_| pool.get(self.random.below(pool.len())).cloned()).collect()
            }
        };
        for with in &mut found {
            *with = words::cased(with, word);
        }
        found.retain(|with| with != word && words::is_one(with));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What the model makes of these; fewer answers than questions where the budget ends.
    fn ask(&mut self, all: &[Changes]) -> Result<Vec<View>, AttackError> {
        let left = usize::try_from(self.budget.saturating_sub(self.asked)).unwrap_or(usize::MAX);
        self.exhausted |= all.len() > left;
        let texts: Vec<String> =
            all.iter().take(left).map(|changes| words::with(self.text, &self.words, changes)).collect();
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        self.asked += texts.len() as u64;
        let rows = self.source.scores(&texts)?;
        let view = |row: Vec<f32>| {
            let label = self.label.min(row.len().saturating_sub(1));
            let score = |class: usize| row.get(class).copied().unwrap_or(f32::NEG_INFINITY);
            // What is no number fools: it is not the label.
            View { margin: score(rival(&row, label)) - score(label), fooled: winner(&row) != Some(self.label) }
        };
        Ok(rows.into_iter().map(view).collect())
    }
}

fn changed(changes: &Changes, place: usize, with: &str) -> Changes {
    let mut changes = changes.clone();
    changes.insert(place, with.to_owned());
    changes
}

/// Whether `b` is better for an attacker than `a`.
fn better(a: View, b: View) -> bool {
    (b.fooled, b.margin) > (a.fooled, a.margin)
}

/// Candidates for one word that are tried.
const CANDIDATES: usize = 24;
/// How many of the first words a guided attack begins with, one after another.
const PASSES_MAX: usize = 8;
/// Exchanges that a slope recommends and that are tried.
const FLIPS: usize = 24;
/// Random edits of one text.
const BLIND_TRIES_MAX: u64 = 256;
/// Of which so many are put to the model at once; random choices do not depend on it.
const BLIND_BATCH: u64 = 16;
const TEXT_STREAM: u64 = 71;
