//! What a model and the other records make of one record, as numbers that are larger for stranger ones.

use super::{
    Labels, SuspectPlan,
    kin::{Kin, Word},
};
use crate::{
    error::AttackError,
    examples::Examples,
    loss::{Goal, Loss, winner},
    oracle::Oracle,
    source::Predict,
};

/// A statistic of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// How far the answer moves when values are rounded (L1 distance of probabilities; Xu et al. 2018, section 3.1), to the fewest
    /// levels that leave nearly all natural records their class.
    Depth,
    /// Slope of the margin over the margin: the inverse of the distance to the boundary, to first order.
    Boundary,
    /// By how much the records around it would answer another class.
    Opinion,
    /// How far it lies from the records, in units of their own spread in each direction.
    Novelty,
    /// Cross-entropy of the record's own label; not used where there are none.
    Label,
}

impl Statistic {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// All of them, in the order of reports.
    pub const ALL: [Self; Self::COUNT] = [Self::Depth, Self::Boundary, Self::Opinion, Self::Novelty, Self::Label];

    /// As written in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Boundary => "boundary",
            Self::Opinion => "opinion",
            Self::Novelty => "novelty",
            Self::Label => "label",
        }
    }
}

/// The statistics of one record.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The model's answer.
    pub(super) class: usize,
    /// In the order of [`Statistic::ALL`].
    pub(super) values: [f64; Statistic::COUNT],
    /// Whether a score is not a number.
    pub(super) broken: bool,
}

/// What other records are held against.
pub(super) struct Usual {
    /// The fewest levels that leave nearly all their class.
    levels: f32,
    kin: Kin,
}

/// What a model says of records, whatever these are held against.
pub(super) struct Told<'a> {
    pub(super) records: &'a Examples,
    plan: &'a SuspectPlan,
    oracle: Oracle<'a>,
    /// One row of scores for each record.
    scores: Vec<f32>,
    /// `None` where a score is not a number.
    answers: Vec<Option<usize>>,
    /// The same, with class 0 for none.
    pub(super) taken: Vec<usize>,
    /// See [`Statistic::Boundary`].
    boundary: Vec<f64>,
}

impl<'a> Told<'a> {
    /// Refuses records that do not suit the model or lie outside the range, and a source without gradients.
    pub(super) fn of(
        model: &'a dyn Predict,
        records: &'a Examples,
        plan: &'a SuspectPlan,
    ) -> Result<Self, AttackError> {
        records.within(plan.range)?;
        let oracle = Oracle::new(model, records)?;
        let x = &records.inputs().data;
        let scores = oracle.scores(x)?;
        let answers: Vec<Option<usize>> = scores.chunks_exact(oracle.classes()).map(winner).collect();
        let taken: Vec<usize> = answers.iter().map(|class| class.unwrap_or(0)).collect();
        let goals: Vec<Goal> = taken.iter().map(|class| Goal::away(*class)).collect();
        let slope = oracle.slope_to(x, &goals, Loss::Margin)?;
        let rows = slope.gradient.chunks_exact(records.width()).zip(&slope.loss);
        let boundary = rows.map(|(gradient, loss)| {
            let length = gradient.iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>().sqrt() + TINY;
            // Logarithms, here and below: natural records lie apart by factors.
            (length / f64::from(-loss).max(TINY)).ln()
        });
        let boundary = boundary.collect();
        Ok(Self { records, plan, oracle, scores, answers, taken, boundary })
    }

    /// A width that is small for any value.
    pub(super) fn least_width(&self) -> f64 {
        f64::from(self.plan.range.width()) * SMALL
    }

    /// What others are held against, of the records at `places`, rising.
    pub(super) fn usual(&self, places: &[usize]) -> Result<Usual, AttackError> {
        let kin = Kin::of(self.records, places, &self.taken, self.oracle.classes(), self.plan.seed);
        Ok(Usual { levels: self.levels(places)?, kin })
    }

    /// The statistics of every record against `usual`, which others than these were fitted to.
    pub(super) fn rows(&self, usual: &Usual) -> Result<Vec<Row>, AttackError> {
        self.with(usual, usual.kin.of_others(self.records, &self.taken))
    }

    /// The same where [`Self::usual`] made it: what was fitted to is told of by the others.
    pub(super) fn own_rows(&self, usual: &Usual) -> Result<Vec<Row>, AttackError> {
        self.with(usual, usual.kin.of_own(self.records, &self.taken))
    }

    fn with(&self, usual: &Usual, said: Vec<Word>) -> Result<Vec<Row>, AttackError> {
        let classes = self.oracle.classes();
        let there = self.oracle.scores(&self.rounded(&self.records.inputs().data, usual.levels))?;
        let moved = distances(&self.scores, &there, classes);
        let row = |(row, Word { opinion, novelty }): (usize, Word)| {
            let label = match self.plan.labels {
                Labels::Given => probabilities(&self.scores[row * classes..(row + 1) * classes])
                    .get(self.records.labels()[row])
                    .map_or(0.0, |probability| (LEAST - probability.max(TINY).ln()).ln()),
                Labels::Absent => 0.0,
            };
            let values = [(moved[row] + LEAST).ln(), self.boundary[row], opinion, novelty, label];
            Row {
                class: self.taken[row],
                broken: self.answers[row].is_none() || values.iter().any(|value| !value.is_finite()),
                values: values.map(|value| if value.is_finite() { value } else { 0.0 }),
            }
        };
        Ok(said.into_iter().enumerate().map(row).collect())
    }

    /// The fewest of [`LEVELS`] at which a share of [`UNMOVED`] of the records at `places` keeps its class; the most where none does.
    fn levels(&self, places: &[usize]) -> Result<f32, AttackError> {
        let x: Vec<f32> = places.iter().flat_map(|place| self.records.row(*place)).copied().collect();
        for levels in LEVELS {
            let there = self.oracle.predict(&self.rounded(&x, levels))?;
            let same = there.iter().zip(places).filter(|(there, place)| **there == self.answers[**place]).count();
            if same as f64 >= UNMOVED * places.len() as f64 {
                return Ok(levels);
            }
        }
        Ok(LEVELS[LEVELS.len() - 1])
    }

    /// Values in so many steps over the range.
    fn rounded(&self, x: &[f32], levels: f32) -> Vec<f32> {
        let range = self.plan.range;
        let (low, step) = (range.low(), range.width() / (levels - 1.0));
        x.iter().map(|value| low + ((value - low) / step).round() * step).collect()
    }
}

/// L1 distance of the probabilities of each row, 0..=2.
fn distances(here: &[f32], there: &[f32], classes: usize) -> Vec<f64> {
    let pairs = here.chunks_exact(classes).zip(there.chunks_exact(classes));
    pairs
        .map(|(here, there)| {
            probabilities(here).iter().zip(probabilities(there)).map(|(here, there)| (here - there).abs()).sum()
        })
        .collect()
}

fn probabilities(scores: &[f32]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let p: Vec<f64> = scores.iter().map(|score| f64::from(score - largest).exp()).collect();
    let sum: f64 = p.iter().sum();
    p.into_iter().map(|p| p / sum).collect()
}

/// Levels that are tried, and the share of natural records whose class they must leave.
const LEVELS: [f32; 6] = [2.0, 3.0, 4.0, 8.0, 16.0, 32.0];
const UNMOVED: f64 = 0.95;
/// Share of the range that is little.
const SMALL: f64 = 0.1;
const TINY: f64 = 1e-12;
/// Added to distances and losses before their logarithm is taken: less than this is nothing.
const LEAST: f64 = 1e-6;
