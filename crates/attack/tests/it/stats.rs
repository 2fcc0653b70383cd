//! Intervals and curves against published and hand-computed values.

use ringfence_attack::{Roc, paired95, wilson95};

#[test]
fn wilson_intervals_of_the_literature() {
    // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    let cases = [
        (81, 263, [0.2553, 0.3662]),
        (15, 148, [0.0624, 0.1605]),
        (0, 20, [0.0000, 0.1611]),
        (1, 29, [0.0061, 0.1718]),
    ];
    for (successes, trials, expected) in cases {
        let found = wilson95(successes, trials);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 5e-5, "{successes} of {trials}: {found} is not {expected}");
        }
    }
    assert!(wilson95(0, 0).iter().zip([0.0, 1.0]).all(|(found, end)| (found - end).abs() < f64::EPSILON));
    let [low, high] = wilson95(20, 20);
    assert!((low - (1.0 - 0.1611)).abs() < 5e-5 && (high - 1.0).abs() < f64::EPSILON);
}

#[test]
fn roc_counts_ties_half_and_ranks_the_rest() {
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    near(Roc::new(&[3.0, 4.0], &[1.0, 2.0]).area(), 1.0);
    near(Roc::new(&[1.0, 2.0], &[3.0, 4.0]).area(), 0.0);
    near(Roc::new(&[1.0, 1.0], &[1.0, 1.0]).area(), 0.5);
    // Pairs won by a positive: 3 beats 1, 2; 2 beats 1 and ties 2: 3.5 of 4.
    near(Roc::new(&[3.0, 2.0], &[1.0, 2.0]).area(), 0.875);
    near(Roc::new(&[f64::NAN], &[0.0]).area(), 0.0);
}

#[test]
fn a_rate_is_stated_only_where_ten_false_positives_stand_for_it() {
    let positives: Vec<f64> = (0..100).map(|place| if place < 30 { 2.0 } else { 0.0 }).collect();
    let negatives: Vec<f64> = (0..1000).map(|place| if place < 10 { 1.0 } else { 0.0 }).collect();
    let roc = Roc::new(&positives, &negatives);
    assert_eq!(roc.tpr_at(0.01), Some(0.3));
    assert_eq!(roc.tpr_at(0.001), None);
    assert_eq!(Roc::new(&positives, &negatives[..999]).tpr_at(0.01), None);
    assert_eq!(Roc::new(&[], &negatives).tpr_at(0.01), None);
}

#[test]
fn paired_shares_as_published() {
    // Newcombe 1998, table II: 36, 12, 2 and 0 of 50.
    let [low, high] = paired95([36, 12, 2, 0]);
    assert!((low - 0.0569).abs() < 1e-4 && (high - 0.3404).abs() < 1e-4, "{low} {high}");
    let [other_low, other_high] = paired95([36, 2, 12, 0]);
    assert!((other_low + high).abs() < 1e-12 && (other_high + low).abs() < 1e-12);
    let [low, high] = paired95([0; 4]);
    assert!(low <= -1.0 && high >= 1.0);
    // Where nothing differs, as many trials decide as there are.
    let [low, high] = paired95([50, 0, 0, 50]);
    assert!(low < 0.0 && high > 0.0 && high < 0.1, "{low} {high}");
}
