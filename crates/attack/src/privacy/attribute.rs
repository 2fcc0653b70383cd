//! Attribute inference: what the model's answer says of a column that the attacker does not know.

use ringfence_schema::privacy::{AttributeInference, Leak};

use crate::{
    error::AttackError,
    examples::Examples,
    oracle::Oracle,
    plan::bounded,
    privacy::signals::{confidence, ln_probability},
    source::Predict,
    stats::wilson95,
};

/// Guesses, for members and non-members, the values of `columns` from all others and the label: the value whose prior times the
/// probability that the model then gives to the label is greatest (Fredrikson et al. 2014, figure 4; Yeom et al. 2018, section 4.3). That members are
/// guessed better than non-members is memory; what both have in common is correlation (Jayaraman and Evans 2022).
///
/// Several columns are one attribute that is written one-hot. Refuses columns that are not there, and more than
/// [`ATTRIBUTE_VALUES_MAX`] values.
pub(crate) fn infer(
    model: &dyn Predict,
    members: &Examples,
    non_members: &Examples,
    columns: &[usize],
) -> Result<AttributeInference, AttackError> {
    if columns.is_empty() || columns.iter().any(|column| *column >= members.width()) {
        return Err(AttackError::plan("attribute", format!("{columns:?}"), format!("below {}", members.width())));
    }
    let values = values(&[members, non_members], columns);
    bounded("values of the attribute", values.len() as u64, 2, ATTRIBUTE_VALUES_MAX as u64)?;
    let guessed = |examples: &Examples| guess(model, examples, columns, &values);
    let (inside, outside) = (guessed(members)?, guessed(non_members)?);
    let commonest = values.iter().max_by_key(|(_, count)| *count).map(|(value, _)| value.clone()).unwrap_or_default();
    let common = (0..members.count()).filter(|row| read(members.row(*row), columns) == commonest).count();
    let members_ci95 = wilson95(inside, members.count());
    let non_members_ci95 = wilson95(outside, non_members.count());
    Ok(AttributeInference {
        columns: columns.iter().map(|column| *column as u64).collect(),
        values: values.len() as u64,
        members: inside as f64 / members.count() as f64,
        members_ci95,
        non_members: outside as f64 / non_members.count() as f64,
        non_members_ci95,
        commonest: common as f64 / members.count() as f64,
        leak: if members_ci95[0] > non_members_ci95[1] {
            Leak::Shown
        } else if members.count().min(non_members.count()) < EXAMPLES_MIN {
            Leak::CannotState
        } else {
            Leak::NotShown
        },
        note: NOTE.into(),
    })
}

/// A value of the attribute, bit by bit so that it can be compared.
type Value = Vec<u32>;

fn read(row: &[f32], columns: &[usize]) -> Value {
    columns.iter().map(|column| row.get(*column).map_or(0, |value| value.to_bits())).collect()
}

/// All values with how often they occur, sorted.
fn values(groups: &[&Examples], columns: &[usize]) -> Vec<(Value, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for examples in groups {
        for row in 0..examples.count() {
            *counts.entry(read(examples.row(row), columns)).or_insert(0) += 1;
        }
    }
    counts.into_iter().collect()
}

/// How many examples are guessed rightly.
fn guess(
    model: &dyn Predict,
    examples: &Examples,
    columns: &[usize],
    values: &[(Value, usize)],
) -> Result<usize, AttackError> {
    let oracle = Oracle::new(model, examples)?;
    let total: usize = values.iter().map(|(_, count)| count).sum();
    let mut best: Vec<(f64, usize)> = vec![(f64::NEG_INFINITY, 0); examples.count()];
    for (place, (value, count)) in values.iter().enumerate() {
        let mut data = examples.inputs().data.clone();
        for row in data.chunks_exact_mut(examples.width()) {
            for (column, bits) in columns.iter().zip(value) {
                row[*column] = f32::from_bits(*bits);
            }
        }
        let prior = (*count as f64 / total as f64).ln();
        let scores = oracle.scores(&data)?;
        let rows = scores.chunks_exact(oracle.classes()).zip(examples.labels());
        for (best, (row, label)) in best.iter_mut().zip(rows) {
            let score = prior + ln_probability(confidence(row, *label));
            if score > best.0 {
                *best = (score, place);
            }
        }
    }
    let right = |(row, (_, place)): &(usize, (f64, usize))| {
        values.get(*place).is_some_and(|(value, _)| *value == read(examples.row(*row), columns))
    };
    Ok(best.into_iter().enumerate().filter(right).count())
}

/// Values of an attribute.
pub const ATTRIBUTE_VALUES_MAX: usize = 64;
/// Examples on each side below which "not shown" would mean nothing.
const EXAMPLES_MIN: usize = 100;
const NOTE: &str = "what members and non-members have in common is the columns' correlation, which any model of such data tells; only \
                    what members are guessed better by is memory";
