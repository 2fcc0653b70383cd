//! Versions of a dataset: ordinary growth is quiet, what is out of the ordinary is told as what it is.

use ringfence_schema::Timestamp;
use ringfence_watch::data::{DataWatch, VersionChange};

use crate::chance::Chance;

const DAY_MS: u64 = 86_400_000;

/// The `number`th ordinary version: a day after the last, about two percent added, a few records corrected.
fn ordinary(number: u64, records: u64, chance: &mut Chance) -> VersionChange {
    let added = (records as f64 * 0.02 * chance.log_normal(0.4)) as u64;
    let cat = 0.6 + 0.004 * chance.normal();
    VersionChange {
        at: Timestamp::from_millis(1_760_000_000_000 + number * DAY_MS + chance.below(1_000_000) as u64),
        artifact: "dataset/pets".to_owned(),
        version: number,
        records: records + added,
        added,
        removed: chance.below(5) as u64,
        changed: chance.below(20) as u64,
        bytes: 1_000 * (records + added),
        label_shares: [("cat".to_owned(), cat), ("dog".to_owned(), 1.0 - cat)].into(),
        drift: Some(0.02 * chance.log_normal(0.3)),
    }
}

/// The kinds told about a version that `change` made out of an ordinary one, after `history` ordinary ones.
fn told(history: u64, seed: u64, change: impl Fn(&mut VersionChange)) -> Vec<String> {
    let (mut watch, mut chance, mut records) = (DataWatch::new(), Chance::new(seed), 10_000);
    for number in 1..=history {
        let version = ordinary(number, records, &mut chance);
        records = version.records;
        let alerts = watch.push(&version);
        assert!(alerts.is_empty(), "seed {seed}, version {number}: {alerts:#?}");
    }
    let mut last = ordinary(history + 1, records, &mut chance);
    change(&mut last);
    watch.push(&last).into_iter().map(|alert| alert.kind).collect()
}

#[test]
fn ordinary_versions_are_quiet() {
    for seed in 0..50 {
        assert!(told(60, seed, |_| {}).is_empty(), "seed {seed}");
    }
}

#[test]
fn what_is_out_of_the_ordinary_is_told_as_what_it_is() {
    for seed in 0..20 {
        let shifted = |change: &mut VersionChange| {
            change.label_shares = [("cat".to_owned(), 0.5), ("dog".to_owned(), 0.5)].into();
        };
        assert_eq!(told(12, seed, shifted), ["label-shift"]);
        assert_eq!(told(12, seed, |change| change.changed = 1_500), ["version-rewrite"]);
        assert_eq!(told(12, seed, |change| change.removed = 4_000), ["version-size"]);
        assert_eq!(told(12, seed, |change| change.added = change.records), ["version-size"]);
        assert_eq!(told(12, seed, |change| change.drift = Some(0.4)), ["drift"]);
        let hasty = |change: &mut VersionChange| {
            change.at = Timestamp::from_millis(1_760_000_000_000 + 12 * DAY_MS + 1_060_000);
        };
        assert_eq!(told(12, seed, hasty), ["version-rate"]);
    }
}

#[test]
fn without_a_history_only_the_inexcusable_is_told() {
    assert!(told(1, 1, |change| change.changed = 1_500).is_empty());
    assert_eq!(told(1, 1, |change| change.changed = 9_000), ["version-rewrite"]);
    assert_eq!(told(1, 1, |change| change.removed = 9_000), ["version-size"]);
}
