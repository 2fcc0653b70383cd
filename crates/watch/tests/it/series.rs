//! What a detector promises for every stream, and what it must find in known ones.

use proptest::{collection::vec, prelude::*};
use ringfence_watch::series::{ALERT_SCORE, Detector, Joint, Kind, SIGNALS_MAX, STATE_BYTES_MAX, SURE_SCORE, Surprise};

use crate::{
    nab::{self, Worth},
    synthetic::{self, Random},
};

fn scores(points: &[(f64, f64)]) -> Vec<f64> {
    let mut detector = Detector::new();
    points.iter().map(|(at_s, value)| detector.push(*at_s, *value)).collect()
}

/// Points every five minutes.
fn steady(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
    values.into_iter().enumerate().map(|(place, value)| (1.4e9 + 300.0 * place as f64, value)).collect()
}

/// The first alert from `first` on.
fn alert_from(points: &[(f64, f64)], first: usize) -> Option<(usize, Surprise)> {
    let mut detector = Detector::new();
    let seen: Vec<Surprise> = points.iter().map(|(at_s, value)| detector.observe(*at_s, *value)).collect();
    seen.into_iter().enumerate().skip(first).find(|(_, surprise)| surprise.score >= ALERT_SCORE)
}

fn daily(random: &mut Random, days: usize) -> Vec<f64> {
    let value = |place: usize| 50.0 + 20.0 * (place as f64 / 288.0 * std::f64::consts::TAU).sin();
    (0..days * 288).map(|place| value(place) + random.normal()).collect()
}

/// Any double there is, with the troublesome ones often.
fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1e3..1e3,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_stream_is_scored_within_bounds(points in vec((any_value(), any_value()), 0..1500)) {
        let mut detector = Detector::new();
        for (at_s, value) in points {
            let seen = detector.observe(at_s, value);
            prop_assert!((0.0..=1.0).contains(&seen.score), "{seen:?}");
            prop_assert!(seen.expected.is_none_or(f64::is_finite), "{seen:?}");
            prop_assert!(seen.low.is_finite() && seen.high.is_finite() && seen.low <= seen.high, "{seen:?}");
        }
        prop_assert!(detector.state_bytes() <= STATE_BYTES_MAX, "{}", detector.state_bytes());
    }

    #[test]
    fn scores_do_not_depend_on_what_follows(seed: u64, cut in 1..1400_usize) {
        let mut random = Random(seed);
        let points = steady((0..1500).map(|_| random.normal() + if random.unit() < 0.01 { 20.0 } else { 0.0 }));
        prop_assert_eq!(&scores(&points)[..cut], &scores(&points[..cut])[..]);
    }

    #[test]
    fn shift_and_scale_change_nothing(seed: u64, scale in prop::sample::select(vec![1e-6, 0.5, 3.0, 1e9]), shift in -50.0..50.0) {
        let mut random = Random(seed);
        let mut values: Vec<f64> = (0..1200).map(|_| random.normal()).collect();
        values[1000] += 30.0;
        let before = scores(&steady(values.iter().copied()));
        let after = scores(&steady(values.iter().map(|value| scale * (value + shift))));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!((before - after).abs() < 1e-3, "{before} became {after}");
        }
    }
}

#[test]
fn a_constant_stream_is_calm_and_its_end_is_not() {
    let mut points = steady(std::iter::repeat_n(7.0, 3000));
    assert_eq!(alert_from(&points, 0), None);
    points.extend(steady([9.0]));
    assert!(scores(&points)[3000] >= ALERT_SCORE);
}

#[test]
fn a_spike_says_what_was_expected_and_seen() {
    let mut random = Random(1);
    let mut values: Vec<f64> = (0..2000).map(|_| 10.0 + random.normal()).collect();
    values[1500] = 40.0;
    let (place, seen) = alert_from(&steady(values), 1400).unwrap();
    assert_eq!(place, 1500);
    assert!(
        (seen.expected.unwrap() - 10.0).abs() < 2.0 && seen.low < 8.0 && (11.0..20.0).contains(&seen.high),
        "{seen:?}"
    );
    assert!(matches!(seen.kind, Kind::Level | Kind::Change), "{seen:?}");
    assert_eq!(seen.since_s, 1.4e9 + 300.0 * 1500.0);
}

#[test]
fn a_shift_is_one_matter_and_then_normal() {
    let mut random = Random(2);
    let values = (0..4000).map(|place| random.normal() + if place < 2000 { 0.0 } else { 12.0 });
    let scores = scores(&steady(values));
    let alerts: Vec<usize> = (1000..4000).filter(|place| scores[*place] >= ALERT_SCORE).collect();
    assert!((2000..2003).contains(alerts.first().unwrap()), "{alerts:?}");
    assert!(alerts.len() <= 5 && alerts.iter().all(|place| *place < 3200), "{alerts:?}");
}

#[test]
fn a_missing_day_is_found_by_the_season() {
    let mut random = Random(3);
    let mut values = daily(&mut random, 14);
    let noon = 10 * 288 + 216;
    values[noon..noon + 60].fill(50.0);
    let (place, seen) = alert_from(&steady(values), noon - 100).unwrap();
    assert!((noon..noon + 24).contains(&place), "{place}, {seen:?}");
}

#[test]
fn a_flat_line_is_found() {
    let mut random = Random(4);
    let mut values: Vec<f64> = (0..3000).map(|_| 10.0 + random.normal()).collect();
    let stuck = values[2000];
    values[2000..2200].fill(stuck);
    let (place, seen) = alert_from(&steady(values), 1900).unwrap();
    assert!((2000..2040).contains(&place), "{place}");
    assert_eq!(seen.kind, Kind::Stuck);
}

#[test]
fn a_short_period_that_ends_is_found() {
    let mut random = Random(5);
    let busy = |place: usize| place.is_multiple_of(14) && !(3000..3100).contains(&place);
    let values: Vec<f64> =
        (0..3200).map(|place| random.normal() * 0.3 + if busy(place) { 20.0 } else { 0.0 }).collect();
    let (place, _) = alert_from(&steady(values), 2950).unwrap();
    assert!((3000..3100).contains(&place), "{place}");
}

#[test]
fn gaps_and_repeats_are_borne() {
    let mut random = Random(6);
    let values = daily(&mut random, 14);
    let whole = steady(values);
    let mut broken = Vec::new();
    for (place, point) in whole.iter().enumerate() {
        match place % 97 {
            0 => {}
            1 => broken.extend([*point, *point]),
            2 => broken.push((point.0, f64::NAN)),
            _ => broken.push(*point),
        }
    }
    let alerts = scores(&broken).iter().skip(600).filter(|score| **score >= ALERT_SCORE).count();
    assert!(alerts <= 6, "{alerts}");
}

#[test]
fn signals_that_part_are_found_jointly_and_by_none_alone() {
    let mut random = Random(7);
    let (mut joint, mut load, mut steps) = (Joint::new(3), Detector::new(), Detector::new());
    let (mut pace, mut alerts, mut alone) = (0.0, Vec::new(), 0);
    for place in 0..4000 {
        pace = 0.9 * pace + 0.4 * random.normal();
        let parted = (3000..3060).contains(&place);
        let busy = 50.0 + 10.0 * pace + random.normal();
        let stepping = 5.0 + if parted { -pace.signum() * 1.5 } else { pace } + 0.1 * random.normal();
        let at_s = f64::from(place);
        let seen = joint.push(at_s, &[busy, stepping, random.normal()]);
        if seen.score >= ALERT_SCORE && place > 600 {
            alerts.push(place);
            assert!(seen.signal < 2, "{seen:?}");
        }
        alone += i32::from(parted && load.push(at_s, busy).max(steps.push(at_s, stepping)) >= 0.9);
    }
    assert!(alerts.first().is_some_and(|place| (3000..3030).contains(place)), "{alerts:?}");
    assert!(alerts.len() <= 4 && alone == 0, "{alerts:?}, {alone}");
}

proptest! {
    #[test]
    fn any_signals_are_scored_within_bounds(count in 0..20_usize, points in vec(vec(any_value(), 0..20), 0..300)) {
        let mut joint = Joint::new(count);
        for (place, values) in points.iter().enumerate() {
            let seen = joint.push(place as f64, values);
            prop_assert!((0.0..=1.0).contains(&seen.score) && seen.signal < SIGNALS_MAX, "{seen:?}");
        }
    }
}

/// The value at a place, by what chance and the state give.
type Stream = fn(&mut Random, &mut f64, f64) -> f64;

/// A day of a point a second.
#[test]
fn honest_days_are_calm() {
    let kinds: [(&str, Stream); 4] = [
        ("noise", |random, _, _| random.normal()),
        ("wandering", |random, state, _| {
            *state = 0.95 * *state + 0.3 * random.normal();
            *state
        }),
        ("bursts", |random, state, _| {
            *state = if random.unit() < 0.01 { -random.unit().max(1e-9).ln() * 20.0 } else { 0.5 * *state };
            5.0 + random.normal() + *state
        }),
        ("loss", |random, _, place| 3.0 / (1.0 + 1e-3 * place).sqrt() + 0.1 * random.normal()),
    ];
    for (name, value) in kinds {
        let (mut random, mut state, mut detector) = (Random(8), 0.0, Detector::new());
        let (mut alerts, mut sure) = (0, 0);
        for second in 0..86_400 {
            let place = f64::from(second);
            let score = detector.push(place, value(&mut random, &mut state, place));
            alerts += i32::from(score >= ALERT_SCORE);
            sure += i32::from(score >= SURE_SCORE);
        }
        assert!(alerts < 80 && sure == 0, "{name}: {alerts} alerts, {sure} sure");
    }
}

#[test]
fn seeded_anomalies_are_found_in_synthetic_streams() {
    let mut all = Worth::default();
    let mut missed = Vec::new();
    for seed in 0..45 {
        let stream = synthetic::stream(seed);
        let worth = nab::worth(&stream, &nab::detect(&stream), ALERT_SCORE);
        if worth.hits < worth.windows {
            missed.push(format!("{} {}", stream.category, stream.name));
        }
        all.add(worth);
    }
    assert!(all.score() >= 64.0, "{:.1}: {all:?}, missed in {missed:?}", all.score());
}

#[test]
fn nab_is_scored_as_published() {
    let Some(files) = nab::files() else {
        eprintln!("SKIPPED: no shared/data/nab (set RINGFENCE_SHARED): the score on NAB was not checked");
        return;
    };
    let scores: Vec<Vec<f64>> = files.iter().map(nab::detect).collect();
    let pairs: Vec<_> = files.iter().zip(scores.iter().map(Vec::as_slice)).collect();
    let at = |threshold| {
        let mut all = Worth::default();
        for (file, scores) in &pairs {
            all.add(nab::worth(file, scores, threshold));
        }
        all
    };
    let all = at(ALERT_SCORE);
    assert_eq!((files.len(), all.windows), (34, 67));
    assert!(all.score() >= 77.2, "{:.1}: {all:?}", all.score());
    // The threshold that NAB's own sweep prefers is ours.
    assert!(at(nab::best(&pairs)).score() - all.score() < 1.0, "{}", nab::best(&pairs));
}
