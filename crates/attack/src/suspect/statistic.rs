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

/// The rows of records, and what others are held against where these were held against one another.
pub(super) type Seen = (Vec<Row>, Option<Usual>);

/// The statistics of every record against `usual`, or against one another where that is not given, with what they are held
/// against then.
pub(super) fn rows(
    model: &dyn Predict,
    records: &Examples,
    usual: Option<&Usual>,
    plan: &SuspectPlan,
) -> Result<Seen, AttackError> {
    records.within(plan.range)?;
    let oracle = Oracle::new(model, records)?;
    let (x, width, classes) = (&records.inputs().data, records.width(), oracle.classes());
    let scores = oracle.scores(x)?;
    let answers: Vec<Option<usize>> = scores.chunks_exact(classes).map(winner).collect();
    let taken: Vec<usize> = answers.iter().map(|class| class.unwrap_or(0)).collect();
    let goals: Vec<Goal> = taken.iter().map(|class| Goal::away(*class)).collect();
    let slope = oracle.slope_to(x, &goals, Loss::Margin)?;
    let (own, said) = if let Some(usual) = usual {
        (None, usual.kin.of_others(records, &taken))
    } else {
        let kin = Kin::of(records, &taken, classes, plan.seed);
        let said = kin.of_own(records, &taken);
        (Some(Usual { levels: levels(&oracle, x, &answers, plan)?, kin }), said)
    };
    let levels = usual.or(own.as_ref()).map_or(LEVELS[0], |usual| usual.levels);
    let moved = distances(&scores, &oracle.scores(&rounded(x, plan, levels))?, classes);
    let row = |row: usize, Word { opinion, novelty }: Word| {
        let gradient = &slope.gradient[row * width..(row + 1) * width];
        let length = gradient.iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>().sqrt() + TINY;
        let margin = f64::from(-slope.loss[row]).max(TINY);
        let label = match plan.labels {
            Labels::Given => probabilities(&scores[row * classes..(row + 1) * classes])
                .get(records.labels()[row])
                .map_or(0.0, |probability| (LEAST - probability.max(TINY).ln()).ln()),
            Labels::Absent => 0.0,
        };
        // Logarithms: natural records lie apart by factors.
        let values = [(moved[row] + LEAST).ln(), (length / margin).ln(), opinion, novelty, label];
        Row {
            class: taken[row],
            broken: answers[row].is_none() || values.iter().any(|value| !value.is_finite()),
            values: values.map(|value| if value.is_finite() { value } else { 0.0 }),
        }
    };
    Ok((said.into_iter().enumerate().map(|(place, word)| row(place, word)).collect(), own))
}

/// The fewest of [`LEVELS`] at which a share of [`UNMOVED`] keeps its class; the most where none does.
fn levels(oracle: &Oracle<'_>, x: &[f32], answers: &[Option<usize>], plan: &SuspectPlan) -> Result<f32, AttackError> {
    for levels in LEVELS {
        let there = oracle.predict(&rounded(x, plan, levels))?;
        let same = there.iter().zip(answers).filter(|(there, here)| there == here).count();
        if same as f64 >= UNMOVED * answers.len() as f64 {
            return Ok(levels);
        }
    }
    Ok(LEVELS[LEVELS.len() - 1])
}

/// Values in so many steps over the range.
fn rounded(x: &[f32], plan: &SuspectPlan, levels: f32) -> Vec<f32> {
    let (low, step) = (plan.range.low(), plan.range.width() / (levels - 1.0));
    x.iter().map(|value| low + ((value - low) / step).round() * step).collect()
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
const TINY: f64 = 1e-12;
/// Added to distances and losses before their logarithm is taken: less than this is nothing.
const LEAST: f64 = 1e-6;
