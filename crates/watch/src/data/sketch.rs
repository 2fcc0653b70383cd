//! Two versions of a dataset, held against each other by their sketches.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_schema::report::{
    ColumnSketch, DatasetSketch, SKETCH_BUCKETS, SKETCH_COLUMNS_MAX, SKETCH_MARKS, SKETCH_RECORDS_MAX, Spread,
};

/// What one version changed against the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// Records that are new, beyond those that took another's place.
    pub added: u64,
    /// Records that are gone without one in their place.
    pub removed: u64,
    /// Records that are gone with a new one in their place.
    pub changed: u64,
    /// How far the column that moved most has moved, beyond what samples of this size do by chance: 0 to 1. Numbers by
    /// the greatest distance of their distribution functions (Kolmogorov and Smirnov), words by total variation.
    pub drift: f64,
}

/// Compares two sketches. Counts are exact for datasets of up to [`SKETCH_RECORDS_MAX`] records without duplicates; beyond
/// that they are estimates with a standard error of 3 % of the records at most, from the share of distinct records. `None` where one of them is of an empty dataset.
pub fn compare(before: &DatasetSketch, after: &DatasetSketch) -> Option<Moved> {
    let (old, new) = (hashes(before), hashes(after));
    // Below this both samples are complete.
    let reach = [&old, &new]
        .into_iter()
        .filter(|hashes| hashes.len() == SKETCH_RECORDS_MAX)
        .filter_map(BTreeSet::last)
        .min()
        .map_or(u64::MAX, |last| *last);
    let within = |hashes: &BTreeSet<u64>| hashes.range(..=reach).count();
    let kept = old.range(..=reach).filter(|hash| new.contains(hash)).count();
    let share = |all: usize| (all > 0).then(|| (all - kept) as f64 / all as f64);
    let gone = share(within(&old))? * before.total as f64;
    let come = share(within(&new))? * after.total as f64;
    let changed = gone.min(come);
    let columns: BTreeMap<&str, &ColumnSketch> =
        before.columns.iter().take(SKETCH_COLUMNS_MAX).map(|column| (column.name.as_str(), column)).collect();
    let moves = after
        .columns
        .iter()
        .take(SKETCH_COLUMNS_MAX)
        .filter_map(|column| columns.get(column.name.as_str()).and_then(|earlier| distance(earlier, column)));
    Some(Moved {
        added: count(come - changed),
        removed: count(gone - changed),
        changed: count(changed),
        drift: moves.fold(0.0, f64::max),
    })
}

fn hashes(sketch: &DatasetSketch) -> BTreeSet<u64> {
    sketch.records.iter().take(SKETCH_RECORDS_MAX).copied().collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rounded share of a count")]
fn count(records: f64) -> u64 {
    records.round().max(0.0) as u64
}

/// How far a column has moved beyond chance; `None` where the two cannot be compared.
fn distance(before: &ColumnSketch, after: &ColumnSketch) -> Option<f64> {
    if before.values == 0 || after.values == 0 {
        return None;
    }
    let noise = 1.0 / before.values as f64 + 1.0 / after.values as f64;
    let (far, chance) = match (&before.spread, &after.spread) {
        (Spread::Quantiles(old), Spread::Quantiles(new)) => {
            let old = old.get(..SKETCH_MARKS)?;
            let new = new.get(..SKETCH_MARKS)?;
            let apart = old.iter().chain(new).map(|at| (share_up_to(old, *at) - share_up_to(new, *at)).abs());
            // One step of the marks, and the distance that one sample in a hundred exceeds.
            (apart.fold(0.0, f64::max), 1.0 / SKETCH_MARKS as f64 + 1.63 * noise.sqrt())
        }
        (Spread::Buckets(old), Spread::Buckets(new)) => {
            let pairs = old.get(..SKETCH_BUCKETS)?.iter().zip(new.get(..SKETCH_BUCKETS)?);
            let apart: f64 = pairs.map(|(old, new)| (old - new).abs()).sum();
            // Words of a record come together, so that it counts as one draw.
            (apart / 2.0, 0.5 * (SKETCH_BUCKETS as f64 * noise).sqrt())
        }
        _ => return None,
    };
    let moved = far - chance;
    moved.is_finite().then_some(moved.clamp(0.0, 1.0))
}

/// Share of values up to `at`, by quantiles at equal distances.
fn share_up_to(marks: &[f64], at: f64) -> f64 {
    marks.partition_point(|mark| *mark <= at) as f64 / marks.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(records: impl IntoIterator<Item = u64>) -> DatasetSketch {
        // Odd multipliers spread the numbers over 48 bits and keep them different.
        let all: BTreeSet<u64> = records.into_iter().map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16).collect();
        DatasetSketch {
            total: all.len() as u64,
            records: all.into_iter().take(SKETCH_RECORDS_MAX).collect(),
            columns: Vec::new(),
        }
    }

    fn normal(mean: f64, values: u64) -> ColumnSketch {
        let marks = (0..SKETCH_MARKS).map(|mark| mean + (mark as f64 / 16.0 - 1.0) * 2.0);
        ColumnSketch { name: "x".into(), values, spread: Spread::Quantiles(marks.collect()) }
    }

    #[test]
    fn small_datasets_are_counted_exactly() {
        let moved = compare(&sketch(0..600), &sketch((30..600).chain(1_000..1_050))).unwrap();
        assert_eq!((moved.added, moved.removed, moved.changed), (20, 0, 30));
        let moved = compare(&sketch(0..600), &sketch(100..600)).unwrap();
        assert_eq!((moved.added, moved.removed, moved.changed), (0, 100, 0));
        assert_eq!(compare(&sketch(0..600), &sketch([])), None);
    }

    #[test]
    fn large_datasets_are_estimated() {
        let rewritten = sketch((20_000..200_000).chain(300_000..320_000));
        let moved = compare(&sketch(0..200_000), &rewritten).unwrap();
        assert!((14_000..26_000).contains(&moved.changed) && moved.added < 4_000 && moved.removed < 4_000, "{moved:?}");
    }

    #[test]
    fn drift_is_what_moved_beyond_chance() {
        let of = |mean, values| DatasetSketch { columns: vec![normal(mean, values)], ..sketch(0..9) };
        let drift = |a: &DatasetSketch, b: &DatasetSketch| compare(a, b).unwrap().drift;
        assert!(drift(&of(0.0, 10_000), &of(0.02, 10_000)) < 1e-9);
        assert!(drift(&of(0.0, 10_000), &of(1.0, 10_000)) > 0.15);
        assert!(drift(&of(0.0, 20), &of(1.0, 20)) < 1e-9, "too few values to tell");
        assert!(drift(&of(0.0, 10_000), &of(9.0, 10_000)) > 0.9);
    }
}
