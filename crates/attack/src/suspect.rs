//! Records that were changed against a model: what it makes of them tells them from natural ones.
//!
//! An input that was moved over a decision boundary stands where natural inputs seldom do: its answer does not survive
//! rounding, smoothing or noise (Xu et al. 2018, "Feature squeezing"), the boundary is near or the scores are too good, and the
//! label is not what the model sees. [`suspects`] takes these statistics of every record ([`Statistic`]), measures each against the
//! records that the model puts into the same class, and orders the records by how far the worst and the sum of them lie out.
//!
//! The threshold comes from clean records where some are given, and otherwise from the bulk of the data itself: medians and
//! inner quantiles, which a minority of changed records hardly moves. What cannot be seen is said in [`SuspectReport::blind_to`].

mod statistic;

use ringfence_schema::suspect::{SuspectRecord, SuspectReport, SuspectSchema};

pub use self::statistic::Statistic;
use self::statistic::{Row, rows};
use crate::{ball::Range, error::AttackError, examples::Examples, source::Predict};

/// Settings of [`suspects`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuspectPlan {
    /// Range of valid inputs.
    pub range: Range,
    /// Share of natural records that may be called suspect, above 0 and at most 0.5.
    pub false_positives: f64,
    /// Seed of the noise.
    pub seed: u64,
}

impl Default for SuspectPlan {
    fn default() -> Self {
        Self { range: Range::default(), false_positives: 0.01, seed: 0 }
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
    let known = reference.map(|clean| rows(model, clean, None, plan)).transpose()?;
    let (seen, _) = rows(model, records, known.as_ref().map(|(_, usual)| usual), plan)?;
    let measure = known.as_ref().map_or(&seen, |(rows, _)| rows);
    if measure.len() < RECORDS_MIN {
        let allowed = format!("at least {RECORDS_MIN}");
        return Err(AttackError::plan("records to measure against", measure.len().to_string(), allowed));
    }
    let scale = Scale::of(measure);
    let natural: Vec<f64> = measure.iter().map(|row| scale.place(row).0).collect();
    let threshold = match known {
        Some(_) => quantile(&natural, 1.0 - plan.false_positives),
        None => extrapolated(&natural, plan.false_positives),
    };
    let mut found: Vec<SuspectRecord> = seen
        .iter()
        .zip(records.labels())
        .enumerate()
        .filter_map(|(record, (row, label))| {
            let (score, why) = scale.place(row);
            (score > threshold || row.broken).then(|| SuspectRecord {
                record: record as u64,
                score: if row.broken { f64::MAX } else { score },
                statistic: why.name().into(),
                predicted: row.class as u64,
                label: *label as u64,
            })
        })
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.record.cmp(&b.record)));
    Ok(SuspectReport {
        schema: SuspectSchema::One,
        model: model.digest()?,
        records: records.count() as u64,
        reference: reference.map(|clean| clean.count() as u64),
        false_positives: plan.false_positives,
        threshold,
        suspects: found,
        blind_to: BLIND_TO.iter().map(|text| (*text).to_owned()).collect(),
    })
}

/// Every statistic of every record, in the order of [`Statistic::ALL`], for those who want to look themselves; `reference` and
/// errors as in [`suspects`].
pub fn statistics(
    model: &dyn Predict,
    records: &Examples,
    reference: Option<&Examples>,
    plan: &SuspectPlan,
) -> Result<Vec<[f64; Statistic::COUNT]>, AttackError> {
    let known = reference.map(|clean| rows(model, clean, None, plan)).transpose()?;
    let (seen, _) = rows(model, records, known.as_ref().map(|(_, usual)| usual), plan)?;
    Ok(seen.into_iter().map(|row| row.values).collect())
}

/// Where natural records lie in each statistic: by predicted class, and over all where a class has few.
struct Scale {
    /// For each class, or one for all at the end.
    classes: Vec<Option<Spreads>>,
    all: Spreads,
}

type Spreads = [Spread; Statistic::COUNT];

/// Median and inner width of a statistic.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    /// From the median to the quantile [`INNER`].
    width: f64,
}

impl Scale {
    fn of(rows: &[Row]) -> Self {
        let all = spreads(rows.iter().collect::<Vec<_>>().as_slice());
        let count = rows.iter().map(|row| row.class + 1).max().unwrap_or(0);
        let classes = (0..count)
            .map(|class| {
                let members: Vec<&Row> = rows.iter().filter(|row| row.class == class).collect();
                (members.len() >= CLASS_MIN).then(|| spreads(&members))
            })
            .collect();
        Self { classes, all }
    }

    /// How far out a record lies, in the terms of an exponential tail, and the statistic that says so most.
    fn place(&self, row: &Row) -> (f64, Statistic) {
        let spreads = self.classes.get(row.class).and_then(Option::as_ref).unwrap_or(&self.all);
        let mut worst = (f64::MIN, Statistic::Depth);
        let mut sum = 0.0;
        for ((statistic, value), spread) in Statistic::ALL.into_iter().zip(&row.values).zip(spreads) {
            let out = ((value - spread.median) / spread.width).clamp(0.0, OUT_MAX);
            sum += out;
            if out > worst.0 {
                worst = (out, statistic);
            }
        }
        (worst.0 + sum, worst.1)
    }
}

fn spreads(rows: &[&Row]) -> Spreads {
    std::array::from_fn(|index| {
        let values: Vec<f64> = rows.iter().filter_map(|row| row.values.get(index)).copied().collect();
        let median = quantile(&values, 0.5);
        let width = (quantile(&values, INNER) - median).max(f64::EPSILON);
        Spread { median, width }
    })
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

/// The value that so small a share of natural records passes, from quantiles that a minority of others hardly moves: the tail
/// goes on as it falls between them, as an exponential's does.
fn extrapolated(values: &[f64], share: f64) -> f64 {
    let (near, far) = (quantile(values, TAIL[0]), quantile(values, TAIL[1]));
    let fall = ((1.0 - TAIL[0]) / (1.0 - TAIL[1])).ln();
    near + (far - near) * ((1.0 - TAIL[0]) / share).ln().max(0.0) / fall
}

/// Records below which no threshold can be stated.
pub const RECORDS_MIN: usize = 200;
/// Records of a class below which it is measured against all.
const CLASS_MIN: usize = 50;
/// The quantile that ends the inner width.
const INNER: f64 = 0.8;
/// The quantiles between which the tail's fall is measured.
const TAIL: [f64; 2] = [0.5, 0.85];
/// No single statistic counts for more widths than this.
const OUT_MAX: f64 = 20.0;
/// What this screening does not see.
const BLIND_TO: [&str; 4] = [
    "inputs made against another model that do not transfer to this one",
    "inputs made with this screening in mind: each of its statistics can be attacked like the model itself",
    "changes that move no answer, such as triggers that are yet to be learned, and clean-label poison in feature space",
    "more than about a fifth of the records changed, where no clean reference is given: the bulk is then no longer natural",
];
