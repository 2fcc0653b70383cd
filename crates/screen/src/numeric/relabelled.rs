//! Values that records share whose content contradicts their label.
//!
//! A stamp on relabelled records leaves two marks at once: their neighbours contradict the label (seen by the views that
//! hide the stamp), and the same few values, rare elsewhere, stand in all of them. The first mark alone is common among
//! hard records; the second alone among natural strokes. [`mine`] asks for both: it collects the contradicted records of a
//! class, finds (column, value) items that are over-represented among them, joins the items that go together, and accepts
//! the conjunction only if most records of the whole dataset that carry it are contradicted, far beyond chance.

use super::{Labelled, votes::Votes};
use crate::{
    calibrate,
    dataset::{Dataset, Matrix},
};

/// The numbers of a dataset as small codes: exact values where there are few, levels otherwise.
pub(crate) struct Codes {
    pub(crate) columns: usize,
    pub(crate) levels: usize,
    data: Vec<u8>,
    /// Lowest and highest value behind each code of each column.
    ranges: Vec<Vec<(f32, f32)>>,
}

/// One (column, value) pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Item {
    pub(crate) column: usize,
    pub(crate) code: u8,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

/// Values that betray a trigger.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trigger {
    pub(crate) items: Vec<Item>,
    /// The one label of its carriers, if it is one.
    pub(crate) class: Option<u32>,
    pub(crate) carriers: Vec<u32>,
    /// Minus the natural logarithm of the probability that chance did it.
    pub(crate) score: f64,
    pub(crate) evidence: String,
    pub(crate) relabelled: bool,
    /// Carriers, sorted, that are at most reviewed: they may have the values by nature.
    pub(crate) doubtful: Vec<u32>,
    /// Whether its carriers are to be filtered.
    pub(crate) certain: bool,
}

impl Codes {
    /// Codes the matrix: one scale for all pixels of images, one for each column of tables.
    pub(crate) fn of(data: &Dataset, image: bool) -> Self {
        let numbers = &data.numbers;
        let columns = numbers.columns;
        let scales: Vec<Vec<f32>> = if image {
            vec![bounds(numbers.data.iter().copied())]
        } else {
            (0..columns).map(|column| bounds(column_of(numbers, column))).collect()
        };
        let scale_of = |column: usize| &scales[if image { 0 } else { column }];
        let mut codes = vec![0_u8; numbers.data.len()];
        let mut ranges: Vec<Vec<(f32, f32)>> =
            scales.iter().map(|s| vec![(f32::INFINITY, f32::NEG_INFINITY); s.len() + 1]).collect();
        for (at, (code, value)) in codes.iter_mut().zip(&numbers.data).enumerate() {
            let column = at % columns.max(1);
            // Code 0 stands for a missing number; the levels follow.
            *code = if value.is_nan() {
                0
            } else {
                u8::try_from(scale_of(column).partition_point(|bound| bound <= value)).unwrap_or(u8::MAX)
            };
            let range = &mut ranges[if image { 0 } else { column }][usize::from(*code)];
            *range = (range.0.min(*value), range.1.max(*value));
        }
        let levels = scales.iter().map(|scale| scale.len() + 1).max().unwrap_or(1);
        Self { columns, levels, data: codes, ranges }
    }

    pub(crate) fn row(&self, record: usize) -> &[u8] {
        &self.data[record * self.columns..(record + 1) * self.columns]
    }

    pub(crate) fn item(&self, column: usize, code: u8) -> Item {
        let scale = if self.ranges.len() == 1 { 0 } else { column };
        let (low, high) = self.ranges[scale][usize::from(code)];
        Item { column, code, low, high }
    }

    /// How often each item occurs among `records`.
    pub(crate) fn count(&self, records: impl Iterator<Item = usize>) -> Vec<u32> {
        let mut counts = vec![0; self.columns * self.levels];
        for record in records {
            for (column, code) in self.row(record).iter().enumerate() {
                counts[column * self.levels + usize::from(*code)] += 1;
            }
        }
        counts
    }
}

/// Finds triggers on relabelled records, strongest first.
pub(crate) fn mine(codes: &Codes, labelled: &Labelled, votes: &Votes) -> Vec<Trigger> {
    let records = labelled.y.len();
    if codes.columns == 0 {
        return Vec::new();
    }
    let suspicious: Vec<bool> = votes.strength.iter().map(|strength| *strength >= SUSPICION).collect();
    let takes_part: Vec<bool> = (0..records).map(|record| labelled.class(record).is_some()).collect();
    let ordinary: Vec<usize> = (0..records).filter(|record| takes_part[*record] && !suspicious[*record]).collect();
    let background = codes.count(ordinary.iter().copied());
    let chance = (suspicious.iter().filter(|one| **one).count() as f64 / records.max(1) as f64).max(CHANCE_MIN);
    let ground =
        Ground { codes, labelled, suspicious: &suspicious, background: &background, ordinary: ordinary.len(), chance };
    let mut explained = vec![false; records];
    let mut triggers = Vec::new();
    let pools = (0..labelled.classes).filter_map(|class| u32::try_from(class).ok()).map(Some).chain([None]);
    for class in pools {
        for _ in 0..TRIGGERS_A_POOL_MAX {
            let pool: Vec<usize> = (0..records)
                .filter(|record| suspicious[*record] && takes_part[*record] && !explained[*record])
                .filter(|record| class.is_none_or(|class| labelled.y[*record] == class))
                .collect();
            let Some(trigger) = ground.strongest(&pool, class) else { break };
            for record in &trigger.carriers {
                explained[*record as usize] = true;
            }
            triggers.push(trigger);
        }
    }
    triggers.sort_by(|a, b| b.score.total_cmp(&a.score));
    triggers
}

struct Ground<'a> {
    codes: &'a Codes,
    labelled: &'a Labelled,
    suspicious: &'a [bool],
    background: &'a [u32],
    ordinary: usize,
    chance: f64,
}

impl Ground<'_> {
    /// The strongest acceptable trigger among the records of `pool`.
    fn strongest(&self, pool: &[usize], class: Option<u32>) -> Option<Trigger> {
        if pool.len() < CARRIERS_MIN {
            return None;
        }
        let items = self.items(pool);
        items
            .iter()
            .take(SEEDS)
            .filter_map(|seed| self.grow(*seed, &items, pool, class))
            .max_by(|a, b| a.score.total_cmp(&b.score).then(a.items.len().cmp(&b.items.len())))
    }

    /// Items that are common in the pool and rare elsewhere, by the likelihood ratio.
    fn items(&self, pool: &[usize]) -> Vec<(usize, u8)> {
        let counts = self.codes.count(pool.iter().copied());
        let least = CARRIERS_MIN.max(pool.len().div_ceil(POOL_SHARE));
        let mut items: Vec<(f64, usize, u8)> = Vec::new();
        for (at, count) in counts.iter().enumerate() {
            let (inside, outside) = (f64::from(*count), f64::from(self.background[at]) + 1.0);
            let (inside_rate, outside_rate) = (inside / pool.len() as f64, outside / (self.ordinary + 1) as f64);
            if (*count as usize) < least || outside_rate > BACKGROUND_MAX || inside_rate < LIFT_MIN * outside_rate {
                continue;
            }
            let code = u8::try_from(at % self.codes.levels).unwrap_or(u8::MAX);
            items.push((inside * (inside_rate / outside_rate).ln(), at / self.codes.levels, code));
        }
        items.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        items.into_iter().take(ITEMS_MAX).map(|(_, column, code)| (column, code)).collect()
    }

    /// Joins to `seed` the items that its carriers in the pool share, and judges the conjunction.
    fn grow(&self, seed: (usize, u8), items: &[(usize, u8)], pool: &[usize], class: Option<u32>) -> Option<Trigger> {
        let rows: Vec<&[u8]> = pool.iter().map(|record| self.codes.row(*record)).collect();
        let strict = company(&rows, &[seed], items, 9);
        // Natural carriers of the seed dilute its company: then loosely first, and strictly among those that have it all.
        let loose = company(&rows, &company(&rows, &[seed], items, 6), items, 9);
        [strict, loose]
            .iter()
            .filter_map(|conjunction| self.judge(conjunction, class))
            .max_by(|a, b| a.score.total_cmp(&b.score))
    }

    /// The trigger of these items, if most of all that carry them contradict their label.
    fn judge(&self, conjunction: &[(usize, u8)], class: Option<u32>) -> Option<Trigger> {
        let needed = if conjunction.len() <= 4 { conjunction.len() } else { (conjunction.len() * 17).div_ceil(20) };
        let carriers: Vec<u32> = (0_u32..)
            .zip(&self.labelled.y)
            .filter(|(record, _)| self.labelled.class(*record as usize).is_some())
            .filter(|(record, _)| {
                let row = self.codes.row(*record as usize);
                conjunction.iter().filter(|item| row[item.0] == item.1).count() >= needed
            })
            .map(|(record, _)| record)
            .collect();
        let of_class: Vec<u32> = carriers
            .iter()
            .copied()
            .filter(|r| class.is_none_or(|class| self.labelled.y[*r as usize] == class))
            .collect();
        let contradicted = of_class.iter().filter(|record| self.suspicious[**record as usize]).count();
        // Where most carriers contradict their label, all of them carry the trigger; else some have the values by nature.
        let doubtful = if contradicted * 5 >= of_class.len() * 4 {
            Vec::new()
        } else {
            of_class.iter().copied().filter(|record| !self.suspicious[*record as usize]).collect()
        };
        let tests = (self.codes.columns * self.codes.levels) as f64;
        let score = -(calibrate::tail(contradicted, of_class.len(), self.chance) + tests.ln());
        let acceptable = of_class.len() >= CARRIERS_MIN
            && of_class.len() * 5 >= carriers.len() * 4
            && contradicted * 2 >= of_class.len()
            && score >= SCORE_MIN;
        acceptable.then(|| Trigger {
            items: conjunction.iter().map(|(column, code)| self.codes.item(*column, *code)).collect(),
            class,
            score,
            evidence: format!("{contradicted} of {} carriers contradict their label", of_class.len()),
            carriers: of_class,
            relabelled: true,
            doubtful,
            certain: true,
        })
    }
}

/// The items that at least `tenths` in ten of the rows with all of `wanted` have; one a column.
fn company(rows: &[&[u8]], wanted: &[(usize, u8)], items: &[(usize, u8)], tenths: usize) -> Vec<(usize, u8)> {
    let having: Vec<&&[u8]> =
        rows.iter().filter(|row| wanted.iter().all(|(column, code)| row[*column] == *code)).collect();
    let mut found: Vec<(usize, u8)> = Vec::new();
    for item in items {
        let together = having.iter().filter(|row| row[item.0] == item.1).count();
        if !found.iter().any(|known| known.0 == item.0) && together * 10 >= having.len() * tenths {
            found.push(*item);
        }
    }
    found
}

/// Lower bounds of the codes: every value where there are at most [`EXACT_VALUES_MAX`], else even levels.
fn bounds(values: impl Iterator<Item = f32> + Clone) -> Vec<f32> {
    let mut distinct: Vec<f32> = Vec::new();
    for value in values.clone().filter(|value| !value.is_nan()) {
        if let Err(at) = distinct.binary_search_by(|known| known.total_cmp(&value)) {
            distinct.insert(at, value);
            if distinct.len() > EXACT_VALUES_MAX {
                break;
            }
        }
    }
    if distinct.len() <= EXACT_VALUES_MAX {
        return distinct;
    }
    let (low, high) = values
        .filter(|value| !value.is_nan())
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    (0..LEVELS).map(|level| low + (high - low) * level as f32 / LEVELS as f32).collect()
}

fn column_of(numbers: &Matrix, column: usize) -> impl Iterator<Item = f32> + Clone + '_ {
    numbers.data.iter().skip(column).step_by(numbers.columns.max(1)).copied()
}

const EXACT_VALUES_MAX: usize = 64;
const LEVELS: usize = 16;
/// A record contradicted this strongly by any view belongs to the pools.
const SUSPICION: f32 = 0.5;
const CHANCE_MIN: f64 = 0.005;
const CARRIERS_MIN: usize = 5;
/// An item is looked at when one in so many of the pool has it.
const POOL_SHARE: usize = 12;
const BACKGROUND_MAX: f64 = 0.6;
const LIFT_MIN: f64 = 1.4;
const ITEMS_MAX: usize = 128;
const SEEDS: usize = 16;
const TRIGGERS_A_POOL_MAX: usize = 4;
/// Minus the natural logarithm of one in ten thousand.
const SCORE_MIN: f64 = 9.2;
