//! A backdoor that is known to be there is measured as such, found where it is not known, and taken out.

use ringfence_attack::{
    AttackError, BackdoorPlan, Examples, HardenPlan, Mode, Patch, Trigger, TriggerKind, accuracy, backdoor_success,
    backdoors, harden,
};
use ringfence_nn::Tensor;
use ringfence_schema::backdoor::BackdoorVerdict;

use crate::{
    models::{digits, linear, tiny_network},
    trojans::{Planted, honest_digits, trojan},
};

#[test]
fn success_counts_only_inputs_that_the_stamp_could_switch() {
    // Class 1 wins where the last value is above a half; class 0 otherwise; class 2 never.
    let model = linear(3, 3, &[0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0], &[0.0, -1.0, -9.0]);
    let x = Tensor { shape: vec![4, 3], data: vec![0.1; 12] };
    let examples = Examples::new(x, vec![0, 1, 2, 0]).unwrap();
    let patch = Patch { places: vec![2], value: 1.0 };
    let stamped = patch.stamp(&examples, 1).unwrap();
    assert_eq!(stamped.labels(), [0, 2, 0]);
    let found = backdoor_success(&model, &stamped, 1).unwrap();
    assert_eq!((found.rate, found.examples), (1.0, 3));
    let unstamped = backdoor_success(&model, &examples, 1).unwrap();
    assert_eq!((unstamped.rate, unstamped.examples), (0.0, 3));
}

#[test]
fn stamps_and_targets_that_do_not_fit_are_refused() {
    let model = linear(3, 3, &[0.0; 9], &[0.0; 3]);
    let examples = Examples::new(Tensor { shape: vec![1, 3], data: vec![0.1; 3] }, vec![1]).unwrap();
    let outside = Patch { places: vec![3], value: 1.0 };
    assert!(matches!(outside.stamp(&examples, 0), Err(AttackError::Plan { .. })));
    let patch = Patch { places: vec![0], value: 1.0 };
    assert!(matches!(patch.stamp(&examples, 1), Err(AttackError::Empty { .. })));
    assert!(matches!(backdoor_success(&model, &examples, 3), Err(AttackError::Plan { .. })));
    assert!(matches!(backdoor_success(&model, &examples, 1), Err(AttackError::Empty { .. })));
}

#[test]
fn a_planted_patch_is_found_named_and_unlearned() {
    let (train, test) = (honest_digits(1_000), digits(1, 300).1);
    let (target, seed) = (3, 5);
    let clean = trojan(&train, None, target, seed);
    let bad = trojan(&train, Some((Planted::Corner, 1.0)), target, seed);
    let stamped = Planted::Corner.stamped(&test, seed, 1.0);
    assert!(backdoor_success(&bad, &stamped, target).unwrap().rate > 0.9);

    let plan = BackdoorPlan::default();
    let report = backdoors(&bad, &test, Some(&clean), &plan).unwrap();
    let worst = report.triggers.iter().max_by(|a, b| a.anomaly.total_cmp(&b.anomaly)).unwrap();
    assert_eq!((report.verdict, worst.target), (BackdoorVerdict::Suspicious, target as u64), "{:?}", report.triggers);
    assert!(worst.base_success.unwrap() < 0.5, "{worst:?}");
    assert!(report.layers.iter().all(|layer| layer.change.is_some()));
    assert_eq!(report.last_layer.len(), 10);
    let honest = backdoors(&clean, &test, None, &plan).unwrap();
    assert_eq!(honest.verdict, BackdoorVerdict::NothingFound, "{:?}", honest.triggers);
    assert!(honest.score < report.score, "{} {}", honest.score, report.score);

    let unlearn = HardenPlan { batch: 32, ..HardenPlan::of(Mode::Unlearn) };
    let (healed, told) = harden(bad.clone(), &train, &unlearn, &mut |_| {}).unwrap();
    let left = backdoor_success(&healed, &stamped, target).unwrap().rate;
    let lost = accuracy(&bad, &test).unwrap() - accuracy(&healed, &test).unwrap();
    assert!(left < 0.05 && lost < 0.01, "{left} of the attack left, {lost} accuracy lost: {:?}", told.triggers);
    assert!(told.triggers.iter().any(|trigger| trigger.target == target as u64 && trigger.after < trigger.before));
}

#[test]
fn a_search_that_cannot_say_anything_is_refused() {
    let (train, _) = digits(40, 1);
    let model = tiny_network(1);
    let few = BackdoorPlan { victims: 3, ..BackdoorPlan::default() };
    assert!(matches!(backdoors(&model, &train, None, &few), Err(AttackError::Plan { name: "victims", .. })));
    let none = BackdoorPlan { steps: 0, ..BackdoorPlan::default() };
    assert!(matches!(backdoors(&model, &train, None, &none), Err(AttackError::Plan { name: "steps", .. })));
    let (small, _) = digits(12, 1);
    assert!(backdoors(&model, &small, None, &BackdoorPlan::default()).is_err());
}

#[test]
fn triggers_replace_or_add_within_the_range() {
    let range = ringfence_attack::Range::default();
    let mut trigger =
        Trigger { target: 0, kind: TriggerKind::Patch, mask: vec![0.0, 1.0, 0.5], pattern: vec![1.0, 1.0, 1.0] };
    let mut input = [0.2, 0.2, 0.2];
    trigger.apply(&mut input, range);
    assert!(input.iter().zip([0.2, 1.0, 0.6]).all(|(found, wanted)| (found - wanted).abs() < 1e-6), "{input:?}");
    assert!((trigger.size() - 1.5).abs() < 1e-9);
    trigger.kind = TriggerKind::Blend;
    trigger.apply(&mut input, range);
    assert!(input.iter().all(|value| (value - 1.0).abs() < 1e-6), "{input:?}");
}
