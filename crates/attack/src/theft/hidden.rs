//! How wide the layer before the last is, from answers alone (Carlini et al. 2024, "Stealing part of a production language
//! model", section 4): scores are a linear image of that layer, so a matrix of answers has no higher rank than it is wide.
//!
//! A bias of the last layer adds one to the rank, unless the answers' mean is taken off; a layer normalisation takes one
//! off what is left then, because its outputs lie in a plane. The two are told apart by their shape: after a normalisation
//! the outputs lie on an ellipsoid, which is looked for where it takes few enough answers ([`QUADRIC_RANK_MAX`]). A
//! normalisation without an offset of its own is not told from a layer that is narrower by one.

use ringfence_nn::random::Random;

use crate::{
    algebra::{least_squares, norm, singular},
    error::AttackError,
    random::stream,
    theft::{natural::Natural, victim::Victim},
};

/// What the rank of answers says.
#[derive(Debug, Clone, PartialEq)]
pub struct Width {
    /// Width of the layer before the last, where it can be stated.
    pub hidden: Option<usize>,
    /// Rank of the answers, and of the answers less their mean.
    pub ranks: Option<[usize; 2]>,
    /// Questions that it took.
    pub queries: u64,
    /// Why nothing can be stated.
    pub note: Option<String>,
}

/// Looks for the rank with at most `queries` questions.
pub(crate) fn width(
    victim: &mut Victim<'_>,
    natural: &Natural,
    queries: usize,
    seed: u64,
) -> Result<Width, AttackError> {
    let mut random = stream(seed, &[HIDDEN_STREAM]);
    let before = victim.asked();
    let unknown = |victim: &Victim<'_>, note: String| Width {
        hidden: None,
        ranks: None,
        queries: victim.asked() - before,
        note: Some(note),
    };
    let mut answers: Vec<Vec<f64>> = Vec::new();
    let mut wanted = FIRST;
    let ranks = loop {
        if wanted > queries || wanted > ANSWERS_MAX {
            let most = queries.min(ANSWERS_MAX);
            return Ok(unknown(victim, format!("the rank keeps up with the answers; {most} questions are too few")));
        }
        ask(victim, natural, &mut answers, wanted, &mut random)?;
        let outputs = answers.first().map_or(0, Vec::len);
        if outputs < OUTPUTS_MIN {
            return Ok(unknown(victim, format!("{outputs} outputs say nothing about a wider layer before them")));
        }
        let sketch = sketched(&answers, &mut random);
        let plain = rank(&singular(sketch.clone()).0, victim.is_wide(), answers.len());
        let centred = rank(&singular(less_mean(sketch)).0, victim.is_wide(), answers.len());
        match (plain, centred) {
            (Some(plain), Some(centred)) if plain + MARGIN <= answers.len().min(outputs) => {
                break [plain, centred];
            }
            (Some(plain), _) if plain + MARGIN > outputs && plain + MARGIN <= answers.len() => {
                let note = format!("the layer before the last is at least as wide as the {outputs} outputs");
                return Ok(unknown(victim, note));
            }
            _ => wanted *= 2,
        }
    };
    let [plain, centred] = ranks;
    let mut found = Width { hidden: None, ranks: Some([plain, centred]), queries: 0, note: None };
    if plain == centred {
        found.hidden = Some(plain);
    } else if centred > QUADRIC_RANK_MAX || answers_for(centred) > queries {
        found.note = Some(format!(
            "{centred} if the last layer has a bias, {plain} if a layer normalisation comes before it; telling them apart \
             takes more answers"
        ));
    } else {
        ask(victim, natural, &mut answers, answers_for(centred), &mut random)?;
        let (_, coordinates) = singular(less_mean(sketched(&answers, &mut random)));
        let normalised = on_quadric(&coordinates[..centred]);
        found.hidden = Some(if normalised { plain } else { centred });
    }
    found.queries = victim.asked() - before;
    Ok(found)
}

fn ask(
    victim: &mut Victim<'_>,
    natural: &Natural,
    answers: &mut Vec<Vec<f64>>,
    wanted: usize,
    random: &mut Random,
) -> Result<(), AttackError> {
    let missing = wanted.saturating_sub(answers.len());
    let points: Vec<f64> = (0..missing).flat_map(|_| natural.mixed(random)).collect();
    answers.extend(victim.scores_of(&points)?);
    Ok(())
}

/// Columns of answers: all outputs, or as many random mixtures of them as there are answers, which have the same rank.
fn sketched(answers: &[Vec<f64>], random: &mut Random) -> Vec<Vec<f64>> {
    let outputs = answers.first().map_or(0, Vec::len);
    if outputs <= answers.len().min(SKETCH_MAX) {
        return (0..outputs).map(|place| answers.iter().map(|row| row[place]).collect()).collect();
    }
    (0..answers.len().min(SKETCH_MAX))
        .map(|_| {
            let mixture: Vec<f64> = (0..outputs).map(|_| random.normal()).collect();
            answers.iter().map(|row| crate::algebra::dot(row, &mixture)).collect()
        })
        .collect()
}

fn less_mean(mut columns: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for column in &mut columns {
        let mean = column.iter().sum::<f64>() / column.len().max(1) as f64;
        for value in column.iter_mut() {
            *value -= mean;
        }
    }
    columns
}

/// How many singular values stand above rounding; `None` where they fade without a gap.
fn rank(values: &[f64], wide: bool, rows: usize) -> Option<usize> {
    let first = values.first().copied().unwrap_or(0.0);
    let (precision, gap) = if wide { (f64::EPSILON, GAP_WIDE) } else { (f64::from(f32::EPSILON), GAP_SINGLE) };
    let floor = first * precision * rows as f64;
    let rank = values.iter().filter(|value| **value > floor).count();
    let (last, next) = (values.get(rank.checked_sub(1)?)?, values.get(rank).copied().unwrap_or(0.0));
    (*last > gap * next).then_some(rank)
}

/// Whether the points lie on a quadric: z·A·z + b·z = 1 for all of them.
fn on_quadric(coordinates: &[Vec<f64>]) -> bool {
    let rows = coordinates.first().map_or(0, Vec::len);
    let unit: Vec<Vec<f64>> = coordinates
        .iter()
        .map(|column| {
            let scale = norm(column) / (rows as f64).sqrt();
            column.iter().map(|value| value / scale).collect()
        })
        .collect();
    let mut columns = unit.clone();
    for (place, a) in unit.iter().enumerate() {
        for b in &unit[place..] {
            columns.push(a.iter().zip(b).map(|(a, b)| a * b).collect());
        }
    }
    let ones = vec![1.0; rows];
    let Some(found) = least_squares(columns.clone(), vec![ones]) else { return false };
    let Some(solution) = found.first() else { return false };
    let residual = (0..rows).map(|row| {
        let value: f64 = columns.iter().zip(solution).map(|(column, weight)| column[row] * weight).sum();
        (value - 1.0).powi(2)
    });
    (residual.sum::<f64>() / rows as f64).sqrt() < QUADRIC_ERROR
}

/// Answers that fix a quadric in so many dimensions, half as many again as it has unknowns.
fn answers_for(rank: usize) -> usize {
    rank * (rank + 3) / 2 * 3 / 2 + MARGIN
}

/// Answers asked for first; doubled until the rank stays behind.
const FIRST: usize = 32;
/// By how much the rank must stay behind the answers and the outputs.
const MARGIN: usize = 4;
/// Fewer outputs are no language model's.
const OUTPUTS_MIN: usize = 8;
const ANSWERS_MAX: usize = 4_096;
const SKETCH_MAX: usize = 1_024;
/// Highest rank at which a quadric is looked for.
pub const QUADRIC_RANK_MAX: usize = 24;
/// Residual of what lies on a quadric.
const QUADRIC_ERROR: f64 = 1e-3;
/// Factor between the last singular value that counts and the next.
const GAP_WIDE: f64 = 1e3;
const GAP_SINGLE: f64 = 10.0;
const HIDDEN_STREAM: u64 = 33;
