//! People: planted misuse comes first among the alerts of a month, and honest months are quiet.

use std::collections::BTreeMap;

use ringfence_schema::{
    Digest, Timestamp,
    alert::{Access, Alert},
};
use ringfence_watch::people::PeopleWatch;

use crate::office::{Customs, DAYS, Planted, month};

fn watch(accesses: &[Access]) -> Vec<Alert> {
    let mut watch = PeopleWatch::new();
    // A later alert of the same name is the same matter, graver.
    let mut matters = BTreeMap::<Digest, Alert>::new();
    for alert in accesses.iter().flat_map(|access| watch.push(access)) {
        matters.insert(alert.id, alert);
    }
    let mut alerts: Vec<Alert> = matters.into_values().collect();
    // As a user would see them: the gravest first, among those the surest.
    alerts
        .sort_by(|a, b| b.severity.cmp(&a.severity).then(b.confidence.total_cmp(&a.confidence)).then(a.at.cmp(&b.at)));
    alerts
}

/// Whether the alert is about this person at this time, and about what was planted.
fn is_about(alert: &Alert, planted: &Planted) -> bool {
    let kinds: &[&str] = match planted.what {
        "night-time bulk reads" => &["unusual-hour", "volume", "breadth"],
        "a new place" => &["new-place", "impossible-travel"],
        "a dormant account" => &["dormant", "unusual-hour", "volume", "breadth"],
        _ => &["slow-exfiltration"],
    };
    let at_that_time = (planted.from..planted.to).contains(&alert.at);
    alert.subject.name == planted.person && at_that_time && kinds.contains(&alert.kind.as_str())
}

struct Month {
    seed: u64,
    alerts: usize,
    false_alerts: usize,
    /// What was planted, its rank from 1, and the kind that it was first told as.
    ranks: Vec<(&'static str, Option<usize>, String)>,
    noise: Vec<String>,
}

fn measure(customs: Customs, seed: u64) -> Month {
    let (accesses, planted) = month(customs, seed);
    let alerts = watch(&accesses);
    let ranks = planted
        .iter()
        .map(|planted| {
            let at = alerts.iter().position(|alert| is_about(alert, planted));
            (planted.what, at.map(|at| at + 1), at.map_or(String::new(), |at| alerts[at].kind.clone()))
        })
        .collect();
    let wrong: Vec<&Alert> = alerts.iter().filter(|alert| !planted.iter().any(|p| is_about(alert, p))).collect();
    let noise = wrong.iter().map(|alert| format!("{:?} {} {}", alert.severity, alert.kind, alert.message)).collect();
    Month { seed, alerts: alerts.len(), false_alerts: wrong.len(), ranks, noise }
}

#[test]
fn planted_misuse_is_among_the_first_alerts() {
    for (customs, seed) in [(Customs::company(), 1..4), (Customs::works(), 3_001..3_004)]
        .into_iter()
        .flat_map(|(customs, seeds)| seeds.map(move |seed| (customs, seed)))
    {
        let month = measure(customs, seed);
        for (what, rank, _) in &month.ranks {
            assert!(rank.is_some_and(|rank| rank <= 20), "seed {seed}: {what} at {rank:?}, {:#?}", month.noise);
        }
        assert!((month.false_alerts as u64) < 2 * DAYS, "seed {seed}: {:#?}", month.noise);
    }
}

#[test]
fn a_first_day_says_nothing() {
    let (accesses, _) = month(Customs::company(), 9);
    let first = accesses.iter().filter(|access| access.at < Timestamp::from_millis(1_767_571_200_000 + 86_400_000));
    let first: Vec<Access> = first.cloned().collect();
    assert!(watch(&first).is_empty());
}

/// The measurement: `cargo test --release -p ringfence-watch -- --ignored --nocapture months_of_fifty_people`.
#[test]
#[ignore = "eighty months of fifty people, a minute in release"]
fn months_of_fifty_people() {
    let sets = [
        ("company, tuned", Customs::company(), 1..21),
        ("company, held-out seeds", Customs::company(), 1_000..1_020),
        ("laboratory, held out", Customs::laboratory(), 2_000..2_020),
        ("works, held out", Customs::works(), 3_000..3_020),
    ];
    for (name, customs, seeds) in sets {
        let months: Vec<Month> = seeds.map(|seed| measure(customs, seed)).collect();
        let planted = months.iter().map(|month| month.ranks.len()).sum::<usize>();
        let first = |rank: Option<usize>| rank.is_some_and(|rank| rank <= 20);
        let found = months.iter().flat_map(|month| &month.ranks).filter(|(_, rank, _)| first(*rank)).count();
        let wrong = months.iter().map(|month| month.false_alerts).sum::<usize>();
        let per_day = wrong as f64 / (months.len() as f64 * DAYS as f64);
        let worst = months.iter().map(|month| month.false_alerts).max().unwrap_or(0);
        let alerts = months.iter().map(|month| month.alerts).sum::<usize>();
        println!("{name}: {} months, {found} of {planted} among the first 20; {alerts} alerts", months.len());
        println!("  {per_day:.2} false alerts a day, at most {:.2} in a month", worst as f64 / DAYS as f64);
        for month in &months {
            for (what, rank, _) in month.ranks.iter().filter(|(_, rank, _)| !first(*rank)) {
                println!("  seed {}: {what} at {rank:?}", month.seed);
            }
        }
        let mut kinds = std::collections::BTreeMap::<String, usize>::new();
        for line in months.iter().flat_map(|month| &month.noise) {
            *kinds.entry(line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).or_default() += 1;
        }
        println!("  false by kind: {kinds:?}");
        let mut told = std::collections::BTreeMap::<String, usize>::new();
        for (what, _, kind) in months.iter().flat_map(|month| &month.ranks) {
            *told.entry(format!("{what} as {kind}")).or_default() += 1;
        }
        println!("  told as: {told:?}");
    }
}
