//! A backdoor that is known to be there is measured as such.

use ringfence_attack::{AttackError, Examples, Patch, backdoor_success};
use ringfence_nn::Tensor;

use crate::models::linear;

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
