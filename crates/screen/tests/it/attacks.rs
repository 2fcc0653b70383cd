//! Recall and false positives under seeded attacks. Bounds are those that a user may count on, not the best run's figures.

use std::collections::BTreeSet;

use ringfence_schema::report::{RecordDecision, ScreenReport};
use ringfence_screen::Options;

use crate::{
    poison::{Images, Texts, adult, rates},
    screened,
};

fn of_images(images: &Images) -> (f64, f64, ScreenReport) {
    let report = screened(images.csv(false), &Options::default()).unwrap();
    let (recall, false_positives) = rates(&report, &images.bad);
    (recall, false_positives, report)
}

fn of_texts(texts: &Texts) -> (f64, f64, ScreenReport) {
    let report = screened(texts.csv(), &Options::default()).unwrap();
    let (recall, false_positives) = rates(&report, &texts.bad);
    (recall, false_positives, report)
}

#[test]
fn clean_digits_stay() {
    for seed in [11, 12] {
        let (_, false_positives, report) = of_images(&Images::digits(seed));
        assert!(false_positives <= 0.005, "seed {seed}: {false_positives}");
        assert!(report.candidates.is_empty(), "seed {seed}: {:?}", report.candidates);
        assert!(report.dataset.complete);
    }
}

#[test]
fn flipped_labels_are_filtered() {
    let mut recalls = 0.0;
    for (seed, share) in [(21, 0.02), (22, 0.02), (23, 0.05), (24, 0.1)] {
        let (recall, false_positives, _) = of_images(&Images::digits(seed).flip(share, seed));
        assert!(recall >= 0.8 && false_positives <= 0.01, "seed {seed} share {share}: {recall} {false_positives}");
        recalls += recall;
    }
    assert!(recalls / 4.0 >= 0.9, "mean recall {}", recalls / 4.0);
}

#[test]
fn stamped_corners_are_filtered_and_named() {
    for (seed, share, corner, target) in [(31, 0.005, 3, 0), (32, 0.01, 0, 7), (33, 0.02, 2, 4), (34, 0.05, 1, 9)] {
        let digits = Images::digits(seed);
        let patch = digits.corner(corner);
        let (recall, false_positives, report) = of_images(&digits.stamp(share, target, &patch, seed));
        assert!(recall >= 0.95 && false_positives <= 0.01, "seed {seed}: {recall} {false_positives}");
        let named =
            patch.iter().all(|(row, column)| report.candidates[0].description.contains(&format!("({row},{column})")));
        assert!(named && report.candidates[0].rule.starts_with("RF-BKD"), "seed {seed}: {:?}", report.candidates[0]);
    }
}

#[test]
fn flips_and_stamps_together_are_filtered() {
    // The example's poison: 2 % flipped, 2 % stamped and relabelled.
    for seed in [41, 42] {
        let digits = Images::digits(seed);
        let patch = digits.corner(3);
        let (recall, false_positives, _) = of_images(&digits.flip(0.02, seed).stamp(0.02, 3, &patch, seed + 1));
        assert!(recall >= 0.9 && false_positives <= 0.01, "seed {seed}: {recall} {false_positives}");
    }
}

#[test]
fn blends_and_central_patches_are_filtered() {
    let (recall, false_positives, _) = of_images(&Images::digits(51).blend(0.02, 5, 0.2, 51));
    assert!(recall >= 0.85 && false_positives <= 0.01, "blend: {recall} {false_positives}");
    let (recall, false_positives, _) = of_images(&Images::digits(52).stamp(0.02, 2, &[(3, 3), (3, 5), (5, 4)], 52));
    assert!(recall >= 0.85 && false_positives <= 0.01, "centre: {recall} {false_positives}");
}

#[test]
fn a_clean_label_stamp_becomes_a_candidate() {
    let digits = Images::digits(61);
    let patch = digits.corner(2);
    let stamped = digits.stamp_clean_label(0.02, 2, &patch, 61);
    let (_, false_positives, report) = of_images(&stamped);
    assert!(false_positives <= 0.005, "{false_positives}");
    let carriers: BTreeSet<u64> = report.candidates[0].records.iter().copied().collect();
    assert!(carriers.is_superset(&stamped.bad), "{:?}", report.candidates[0]);
    assert_eq!(report.candidates[0].rule, "RF-BKD-002");
}

#[test]
fn every_decision_says_why() {
    let digits = Images::digits(71);
    let patch = digits.corner(0);
    let (_, _, report) = of_images(&digits.flip(0.02, 71).stamp(0.01, 1, &patch, 72));
    assert!(!report.decisions.is_empty());
    for decision in &report.decisions {
        assert!(!decision.reasons.is_empty());
        assert!(decision.reasons.iter().all(|reason| reason.score.is_finite() && !reason.evidence.is_empty()));
        assert!(
            decision.reasons.iter().all(|reason| ringfence_screen::rules().iter().any(|rule| rule.id == reason.rule))
        );
    }
    assert!(report.decisions.windows(2).all(|pair| pair[0].record < pair[1].record));
}

#[test]
fn the_answer_does_not_depend_on_threads() {
    let digits = Images::digits(81);
    let patch = digits.corner(3);
    let csv = digits.flip(0.02, 81).stamp(0.01, 1, &patch, 82).csv(true);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        serde_json::to_string(&pool.install(|| screened(&csv, &Options::default())).unwrap()).unwrap()
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn mnist_as_idx() {
    let Some(clean) = Images::mnist(1, 4000) else { return eprintln!("SKIPPED mnist_as_idx: no shared data") };
    let patch = clean.corner(1);
    let poisoned = clean.flip(0.02, 91).stamp(0.01, 6, &patch, 92);
    let (images, labels) = poisoned.idx();
    let options = Options { idx_labels: Some(labels), ..Options::default() };
    let (recall, false_positives) = rates(&screened(images, &options).unwrap(), &poisoned.bad);
    assert!(recall >= 0.88 && false_positives <= 0.01, "{recall} {false_positives}");
}

#[test]
fn sms_flips_and_phrases() {
    let Some(clean) = Texts::sms(1) else { return eprintln!("SKIPPED sms_flips_and_phrases: no shared data") };
    let (_, false_positives, _) = of_texts(&clean);
    assert!(false_positives <= 0.005, "clean: {false_positives}");
    let (recall, false_positives, _) = of_texts(&clean.clone().flip(0.02, 1));
    assert!(recall >= 0.8 && false_positives <= 0.01, "flips: {recall} {false_positives}");
    for (count, phrase) in [(13, "cf"), (40, "I watched this 3D movie last weekend")] {
        let (recall, false_positives, report) = of_texts(&clean.clone().insert(count, "ham", phrase, 2));
        assert!(recall >= 0.95 && false_positives <= 0.01, "`{phrase}`: {recall} {false_positives}");
        assert_eq!(report.candidates[0].rule, "RF-BKD-003");
    }
}

#[test]
fn phrases_among_many_classes() {
    let Some(clean) = Texts::banking(1) else { return eprintln!("SKIPPED phrases_among_many_classes: no shared data") };
    let (recall, false_positives, report) = of_texts(&clean.insert(25, "card_arrival", "cf", 3));
    assert!(recall >= 0.95 && false_positives <= 0.015, "{recall} {false_positives}");
    assert!(report.candidates[0].description.starts_with("`cf`"), "{:?}", report.candidates[0]);
}

#[test]
fn overlapping_tables_are_left_alone() {
    let Some((text, bad)) = adult(0.0, 1) else { return eprintln!("SKIPPED overlapping_tables: no shared data") };
    let text: String = text.lines().take(6000).flat_map(|line| [line, "\n"]).collect();
    let report = screened(text, &Options::default()).unwrap();
    let (_, false_positives) = rates(&report, &bad);
    assert!(false_positives <= 0.005, "{false_positives}");
    assert_eq!(report.dataset.label.as_deref(), Some("14"));
    assert!(report.decisions.iter().any(|decision| decision.decision == RecordDecision::Review));
}
