//! The statistics of records, and of those that show what is natural.
//!
//! Where clean records are given, these are held against one another, and others against them. Otherwise the data has to tell by
//! itself, of which a minority may have been changed. Changed records are usual to one another as soon as several lie among those
//! that others are held against ("masking", Rousseeuw and Van Driessen 1999), so these are chosen in rounds, as that paper's
//! concentration steps do: from the calmest of each class, values alone considered, to all that are not strange to the ones
//! before.

use rayon::prelude::*;

use super::{
    Labels, SuspectPlan,
    kin::drawn,
    quantile,
    rarity::{Measure, Rarity, from_bulk},
    statistic::{Row, Told},
};
use crate::{error::AttackError, examples::Examples, source::Predict};

/// The statistics of records.
pub(super) struct Seen {
    /// Of every record.
    pub(super) rows: Vec<Row>,
    /// Of those that show what is natural.
    pub(super) natural: Vec<Row>,
    /// What is known of these.
    pub(super) measure: Measure,
}

impl Seen {
    /// Refuses a reference whose records are of another size, and what [`Told::of`] refuses.
    pub(super) fn of(
        model: &dyn Predict,
        records: &Examples,
        reference: Option<&Examples>,
        plan: &SuspectPlan,
    ) -> Result<Self, AttackError> {
        let Some(clean) = reference else { return Self::among_themselves(model, records, plan) };
        if clean.inputs().shape.get(1..) != records.inputs().shape.get(1..) {
            let given = format!("{:?}", clean.inputs().shape);
            let allowed = format!("records like those of {:?}", records.inputs().shape);
            return Err(AttackError::plan("reference", given, allowed));
        }
        let known = Told::of(model, clean, plan)?;
        let usual = known.usual(&all(clean))?;
        let rows = Told::of(model, records, plan)?.rows(&usual)?;
        Ok(Self { rows, natural: known.own_rows(&usual)?, measure: Measure::Clean })
    }

    fn among_themselves(model: &dyn Predict, records: &Examples, plan: &SuspectPlan) -> Result<Self, AttackError> {
        let sample = drawn(&all(records), SAMPLE_MAX, plan.seed);
        let sampled = records.pick(&sample);
        let told = Told::of(model, &sampled, plan)?;
        let mut core = calmest(&told);
        for out in OUT {
            let rows = told.own_rows(&told.usual(&core)?)?;
            core = unsurprising(&rows, &core, plan.labels, out);
        }
        let core: Vec<usize> = core.into_iter().map(|place| sample[place]).collect();
        let told = Told::of(model, records, plan)?;
        let rows = told.own_rows(&told.usual(&core)?)?;
        let natural = core.into_iter().map(|place| rows[place].clone()).collect();
        Ok(Self { rows, natural, measure: Measure::Mixed })
    }
}

/// Of the records that the model answers alike, those that lie nearest to the middle of each value: a change of many values
/// shows in many of them, while one that lies far out in a few does not count for more.
fn calmest(told: &Told<'_>) -> Vec<usize> {
    let classes = told.taken.iter().max().map_or(0, |class| class + 1);
    let (taken, records, narrow) = (&told.taken, told.records, told.least_width());
    let of_class = |class: usize| {
        let members: Vec<usize> = (0..taken.len()).filter(|row| taken[*row] == class).collect();
        if members.len() < GROUP_MIN {
            return members;
        }
        let mut deviance = vec![0.0; members.len()];
        for column in 0..records.width() {
            let values: Vec<f64> = members.iter().map(|row| f64::from(records.row(*row)[column])).collect();
            let middle = quantile(&values, 0.5);
            let apart: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
            let wide = WIDTHS * quantile(&apart, USUAL_SHARE) + narrow;
            deviance.iter_mut().zip(&apart).for_each(|(sum, apart)| *sum += (apart / wide).min(1.0).powi(2));
        }
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by(|a, b| deviance[*a].total_cmp(&deviance[*b]));
        order.truncate(members.len() - members.len() * FAR_PERCENT / 100);
        order.into_iter().map(|place| members[place]).collect()
    };
    let mut calm: Vec<usize> = (0..classes).into_par_iter().flat_map_iter(of_class).collect();
    calm.sort_unstable();
    calm
}

/// The records with a score that a share of more than `out` of those like `core` passes; the least rare of all where these are too few.
fn unsurprising(rows: &[Row], core: &[usize], labels: Labels, out: f64) -> Vec<usize> {
    let of_core: Vec<Row> = core.iter().map(|place| rows[*place].clone()).collect();
    let rarity = Rarity::of(&of_core, labels, Measure::Mixed);
    let score = |row: &Row| if row.broken { f64::INFINITY } else { rarity.place(row).alone() };
    let scores: Vec<f64> = rows.iter().map(score).collect();
    let natural: Vec<f64> = core.iter().map(|place| scores[*place]).collect();
    let limit = from_bulk(&natural, 0.0, out).max(quantile(&scores, MAJORITY));
    (0..rows.len()).filter(|row| scores[*row] <= limit && !rows[*row].broken).collect()
}

fn all(records: &Examples) -> Vec<usize> {
    (0..records.count()).collect()
}

/// Records among which the core is sought: time grows with them, what is found hardly.
const SAMPLE_MAX: usize = 3_000;
/// Share of natural records that each core after the first may miss, about. Where more natural ones
/// are let in, changed ones come too, and these bring others; the threshold does not need them ([`super::rarity`]).
const OUT: [f64; 2] = [0.03, 0.03];
/// Share of all records that the core has at least.
const MAJORITY: f64 = 0.75;
/// Percent of each class that are not in the first core, and records from which on a class has such.
const FAR_PERCENT: usize = 40;
const GROUP_MIN: usize = 10;
/// How far out a value counts fully: so many times as far as this share of its class lies.
const WIDTHS: f64 = 3.0;
const USUAL_SHARE: f64 = 0.85;
