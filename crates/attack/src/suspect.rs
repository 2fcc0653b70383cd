//! Records that were changed against a model: what it makes of them tells them from natural ones.
//!
//! An input that was moved over a decision boundary stands where natural inputs seldom do: its answer does not survive
//! rounding (Xu et al. 2018, "Feature squeezing"), the boundary is near, the records around it are of another class, it differs
//! from them where they never differ, or its label is not what the model sees. [`suspects`] takes these statistics of every
//! record ([`Statistic`]), asks how rare each is among natural ones, and orders the records by that.
//!
//! What is rare comes from clean records where some are given, and otherwise from a core of the data itself (`seen`), which a
//! minority of changed records hardly enters. What cannot be seen is said in [`SuspectReport::blind_to`].

mod kin;
mod rarity;
mod seen;
mod statistic;

use std::collections::HashSet;

use ringfence_schema::suspect::{SuspectRecord, SuspectReport, SuspectSchema};

pub use self::statistic::Statistic;
use self::{
    rarity::{Measure, Place, Rarity},
    seen::Seen,
};
use crate::{ball::Range, error::AttackError, examples::Examples, source::Predict};

/// Settings of [`suspects`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuspectPlan {
    /// Range of valid inputs.
    pub range: Range,
    /// Share of natural records that may be called suspect, above 0 and at most 0.5.
    pub false_positives: f64,
    /// Draws the records that others are held against, where there are many.
    pub seed: u64,
    /// Whether the labels say anything.
    pub labels: Labels,
}

/// Whether records have labels of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// Those of the [`Examples`].
    Given,
    /// None: those of the [`Examples`] mean nothing.
    Absent,
}

impl Default for SuspectPlan {
    fn default() -> Self {
        Self { range: Range::default(), false_positives: 0.01, seed: 0, labels: Labels::Given }
    }
}

/// The records that `model` finds strange, the strangest first. `reference` are records known to be clean, that the model was not
/// trained on.
///
/// Refuses records that do not suit the model or lie outside the range, a source without gradients, and fewer than
/// [`RECORDS_MIN`] records to measure against.
pub fn suspects(
    model: &dyn Predict,
    records: &Examples,
    reference: Option<&Examples>,
    plan: &SuspectPlan,
) -> Result<SuspectReport, AttackError> {
    if !(plan.false_positives > 0.0 && plan.false_positives <= 0.5) {
        let given = plan.false_positives.to_string();
        return Err(AttackError::plan("false-positives", given, "above 0, at most 0.5"));
    }
    let fewest = reference.unwrap_or(records).count();
    if fewest < RECORDS_MIN {
        let allowed = format!("at least {RECORDS_MIN}");
        return Err(AttackError::plan("records to measure against", fewest.to_string(), allowed));
    }
    let Seen { rows: seen, natural, measure } = Seen::of(model, records, reference, plan)?;
    let rarity = Rarity::of(&natural, plan.labels, measure);
    let score = |place: &Place| match measure {
        Measure::Clean => place.alone(),
        Measure::Mixed => place.together(),
    };
    let scores: Vec<f64> = natural.iter().map(|row| score(&rarity.place(row))).collect();
    let places: Vec<Place> = seen.iter().map(|row| rarity.place(row)).collect();
    let threshold = match measure {
        Measure::Clean => rarity::passed(&scores, plan.false_positives),
        Measure::Mixed => {
            let whole = places.iter().zip(&seen).filter(|(_, row)| !row.broken);
            let parts: Vec<[f64; 2]> = whole.map(|(place, _)| place.parts()).collect();
            rarity::from_mixed(&parts, &scores, plan.false_positives)
        }
    };
    let mut found: Vec<SuspectRecord> = places
        .iter()
        .zip(&seen)
        .zip(records.labels())
        .enumerate()
        .filter_map(|(record, ((place, row), label))| {
            let score = score(place);
            (score > threshold || row.broken).then(|| SuspectRecord {
                record: record as u64,
                score: if row.broken { f64::MAX } else { score },
                statistic: place.statistic.name().into(),
                predicted: row.class as u64,
                label: (plan.labels == Labels::Given).then_some(*label as u64),
            })
        })
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.record.cmp(&b.record)));
    Ok(SuspectReport {
        schema: SuspectSchema::One,
        model: model.digest()?,
        records: records.count() as u64,
        duplicates: duplicates(records),
        reference: reference.map(|clean| clean.count() as u64),
        false_positives: plan.false_positives,
        threshold,
        suspects: found,
        blind_to: BLIND_TO.iter().map(|text| (*text).to_owned()).collect(),
    })
}

/// Records that repeat an earlier one bit for bit.
fn duplicates(records: &Examples) -> u64 {
    let mut known = HashSet::with_capacity(records.count());
    let bits = |row: usize| records.row(row).iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    (0..records.count()).filter(|row| !known.insert(bits(*row))).count() as u64
}

/// Every statistic of every record, in the order of [`Statistic::ALL`], for those who want to look themselves; `reference` and
/// errors as in [`suspects`].
pub fn statistics(
    model: &dyn Predict,
    records: &Examples,
    reference: Option<&Examples>,
    plan: &SuspectPlan,
) -> Result<Vec<[f64; Statistic::COUNT]>, AttackError> {
    Ok(Seen::of(model, records, reference, plan)?.rows.into_iter().map(|row| row.values).collect())
}

/// The value below which this share of `values` lies; 0 for none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let place = (share.clamp(0.0, 1.0) * last as f64).round();
    sorted.get(whole(place)).copied().unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rounded share of a length")]
fn whole(place: f64) -> usize {
    place.max(0.0) as usize
}

/// Records below which no threshold can be stated.
pub const RECORDS_MIN: usize = 200;
/// What this screening does not see.
const BLIND_TO: [&str; 6] = [
    "inputs made against another model that do not transfer to this one",
    "inputs made with this screening in mind: each of its statistics can be attacked like the model itself",
    "changes that move no answer, such as triggers that are yet to be learned, and clean-label poison in feature space",
    "the difference between changed records and natural ones of another kind than the records measured against: both are strange",
    "where no clean reference is given: many small changes, most of all where all are of one kind and leave records usual by their values (of one in 20 by Carlini-Wagner alone, 30 to 97 % were found), changed records that make up a tenth of the data or more, and how many natural records are named (measured: 0.6 to 1.5 % for 1 %, and up to 2.3 % where nothing is changed)",
    "most changes, where the model errs on many natural records too: strange is then usual (not so yet at one in 11)",
];
