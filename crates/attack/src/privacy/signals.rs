//! What membership tests compare: how sure models are of the right class, for each audited example.

use crate::{error::AttackError, examples::Examples, loss::winner, oracle::Oracle, source::Predict};

/// Confidences of a model under test and of reference models, one for each audited example: members and non-members.
///
/// A confidence is ln p − ln (1 − p) of the right class (Carlini et al. 2022, section IV-D), from scores, so that it does not round
/// away where p is almost 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals {
    /// Of the model under test.
    pub target: Vec<f64>,
    /// Which examples it was trained on.
    pub member: Vec<bool>,
    /// Of each reference.
    pub references: Vec<ReferenceSignals>,
}

/// Confidences of one reference model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReferenceSignals {
    /// One for each audited example.
    pub confidence: Vec<f64>,
    /// Which of them it was trained on.
    pub contains: Vec<bool>,
}

impl Signals {
    /// Refuses lists of different lengths.
    pub fn check(&self) -> Result<(), AttackError> {
        let count = self.target.len();
        if count == 0 {
            return Err(AttackError::Empty { what: "confidences" });
        }
        let fits =
            |list: usize| if list == count { Ok(()) } else { Err(AttackError::Count { rows: count, labels: list }) };
        fits(self.member.len())?;
        self.references.iter().try_for_each(|one| fits(one.confidence.len()).and_then(|()| fits(one.contains.len())))
    }

    /// Scores split into those of members and those of non-members.
    pub(crate) fn split(&self, scores: &[f64]) -> [Vec<f64>; 2] {
        let of = |wanted: bool| {
            let pairs = scores.iter().zip(&self.member);
            pairs.filter(|(_, member)| **member == wanted).map(|(score, _)| *score).collect()
        };
        [of(true), of(false)]
    }

    /// Confidences of references that were, or were not, trained on an example.
    pub(crate) fn of(&self, example: usize, inside: bool) -> impl Iterator<Item = f64> {
        self.references.iter().filter_map(move |one| {
            (one.contains.get(example) == Some(&inside)).then(|| one.confidence.get(example).copied()).flatten()
        })
    }

    /// The fewest references on one side of any example.
    pub(crate) fn fewest(&self, inside: bool) -> usize {
        (0..self.target.len()).map(|example| self.of(example, inside).count()).min().unwrap_or(0)
    }
}

/// How sure `model` is of each example's label, and whether it gets it right.
pub(crate) fn confidences(model: &dyn Predict, examples: &Examples) -> Result<(Vec<f64>, Vec<bool>), AttackError> {
    let oracle = Oracle::new(model, examples)?;
    let scores = oracle.scores(&examples.inputs().data)?;
    let rows = scores.chunks_exact(oracle.classes()).zip(examples.labels());
    Ok(rows.map(|(row, label)| (confidence(row, *label), winner(row) == Some(*label))).unzip())
}

/// ln p − ln (1 − p) of `label`: its score less the logarithm of the sum of the others' exponentials. A score that is not a number
/// makes it the least there is: nothing is known of such an example.
pub(crate) fn confidence(scores: &[f32], label: usize) -> f64 {
    let others = || scores.iter().enumerate().filter(|(class, _)| *class != label).map(|(_, score)| f64::from(*score));
    let highest = others().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = others().map(|score| (score - highest).exp()).sum();
    let own = scores.get(label).map_or(f64::NAN, |score| f64::from(*score));
    let found = own - (highest + sum.ln());
    if found.is_nan() { f64::MIN } else { found.clamp(f64::MIN, f64::MAX) }
}

/// ln p of the right class, from its confidence.
pub(crate) fn ln_probability(confidence: f64) -> f64 {
    -ln_one_plus_exp(-confidence)
}

fn ln_one_plus_exp(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}
