//! Membership by likelihood: LiRA and RMIA, as functions of confidences alone.
//!
//! Each answers one score for each audited example, higher where it is likelier to be a member.

use crate::{
    error::AttackError,
    privacy::signals::{Signals, ln_probability},
};

/// Which references are used for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those that were trained on it and those that were not.
    Online,
    /// Only those that were not: no reference needs to know the example.
    Offline,
}

/// Whose spread stands for that of an example's confidences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Its own: needs many references.
    PerExample,
    /// That of all examples around their own means: good with few references.
    Global,
}

/// The likelihood ratio attack (Carlini et al. 2022). Online (algorithm 1): the logarithm of how much likelier the confidence is among
/// references that were trained on the example than among those that were not, both taken for normal. Offline (section VI-E): how many
/// standard deviations it lies above those that were not.
///
/// Refuses signals of different lengths and examples without a reference on a needed side (two for spreads of their own).
pub fn lira(signals: &Signals, side: Side, spread: Spread) -> Result<Vec<f64>, AttackError> {
    signals.check()?;
    let least = if spread == Spread::PerExample { 2 } else { 1 };
    needs(signals, false, least)?;
    if side == Side::Online {
        needs(signals, true, least)?;
    }
    let count = signals.target.len();
    let shared = [true, false].map(|inside| pooled(signals, inside));
    let normal = |example: usize, inside: bool| -> (f64, f64) {
        let values: Vec<f64> = signals.of(example, inside).collect();
        let mean = mean(&values);
        let deviation = match spread {
            Spread::Global => shared[usize::from(!inside)],
            Spread::PerExample => (squares(&values, mean) / (values.len() as f64 - 1.0)).sqrt(),
        };
        (mean, deviation.max(DEVIATION_MIN))
    };
    Ok((0..count)
        .map(|example| {
            let at = signals.target[example];
            let (out_mean, out_deviation) = normal(example, false);
            let away = (at - out_mean) / out_deviation;
            match side {
                Side::Offline => away,
                Side::Online => {
                    let (in_mean, in_deviation) = normal(example, true);
                    let near = (at - in_mean) / in_deviation;
                    (away * away - near * near) / 2.0 + out_deviation.ln() - in_deviation.ln()
                }
            }
        })
        .collect())
}

/// The robust membership inference attack (Zarifzadeh, Liu and Shokri 2024, equations 3 and 4): the share of non-members against which
/// the example's probability grew more in the model than in the references.
///
/// Online, the references' probability is the mean of those with and those without the example (equation 11); offline, of those
/// without, stretched by `a` = 0.3 (appendix B.2.2: p(x) = ((1 + a) p_out + 1 − a) / 2). The non-members of the audit stand for the
/// population, each but itself.
///
/// Refuses what [`lira`] refuses, and signals without two non-members.
pub fn rmia(signals: &Signals, side: Side) -> Result<Vec<f64>, AttackError> {
    signals.check()?;
    needs(signals, false, 1)?;
    if side == Side::Online {
        needs(signals, true, 1)?;
    }
    let probability = |example: usize, inside: bool| {
        let values: Vec<f64> = signals.of(example, inside).map(|value| ln_probability(value).exp()).collect();
        mean(&values)
    };
    // Logarithms of the ratios: probabilities of wrong answers are too small to divide.
    let ratios: Vec<f64> = (0..signals.target.len())
        .map(|example| {
            let without = probability(example, false);
            let base = match side {
                Side::Online => f64::midpoint(without, probability(example, true)),
                Side::Offline => f64::midpoint((1.0 + STRETCH) * without, 1.0 - STRETCH),
            };
            ln_probability(signals.target[example]) - base.max(f64::MIN_POSITIVE).ln()
        })
        .collect();
    let [_, mut population] = signals.split(&ratios);
    if population.len() < 2 {
        return Err(AttackError::Empty { what: "non-members beside the audited one" });
    }
    population.sort_by(f64::total_cmp);
    let scores = ratios.iter().zip(&signals.member).map(|(ratio, member)| {
        let beaten = population.partition_point(|other| other <= ratio);
        // A non-member always equals itself.
        let (beaten, of) = if *member { (beaten, population.len()) } else { (beaten - 1, population.len() - 1) };
        beaten as f64 / of as f64
    });
    Ok(scores.collect())
}

fn needs(signals: &Signals, inside: bool, least: usize) -> Result<(), AttackError> {
    let fewest = signals.fewest(inside);
    if fewest >= least {
        return Ok(());
    }
    let which = if inside { "trained on each example" } else { "not trained on each example" };
    Err(AttackError::plan("references", fewest.to_string(), format!("at least {least} that were {which}")))
}

/// The deviation of confidences around their example's own mean, over all examples.
fn pooled(signals: &Signals, inside: bool) -> f64 {
    let (mut sum, mut freedom) = (0.0, 0.0);
    let mut all = Vec::new();
    for example in 0..signals.target.len() {
        let values: Vec<f64> = signals.of(example, inside).collect();
        if values.len() > 1 {
            sum += squares(&values, mean(&values));
            freedom += values.len() as f64 - 1.0;
        }
        all.extend(values);
    }
    if freedom > 0.0 {
        return (sum / freedom).sqrt();
    }
    // With a single reference only the spread between examples is known; it changes no order.
    (squares(&all, mean(&all)) / (all.len() as f64 - 1.0).max(1.0)).sqrt()
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len() as f64).max(1.0)
}

fn squares(values: &[f64], mean: f64) -> f64 {
    values.iter().map(|value| (value - mean) * (value - mean)).sum()
}

/// The least spread of confidences: references that all agree know no better.
const DEVIATION_MIN: f64 = 1e-6;
/// How far offline references are corrected for not knowing the example; the paper's value for pictures.
const STRETCH: f64 = 0.3;
