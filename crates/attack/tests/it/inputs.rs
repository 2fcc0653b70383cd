//! Wrong inputs are refused by name before anything runs.

use ringfence_attack::{AttackError, Examples, HardenPlan, Plan, Range, attack, gradient, harden};
use ringfence_nn::Tensor;

use crate::models::{digits, linear, tiny_network};

fn message(result: Result<impl Sized, AttackError>) -> String {
    result.err().unwrap().to_string()
}

fn rows(shape: Vec<usize>, value: f32, labels: Vec<usize>) -> Examples {
    let data = vec![value; shape.iter().product()];
    Examples::new(Tensor { shape, data }, labels).unwrap()
}

#[test]
fn data_that_does_not_suit_the_model_is_refused() {
    let model = linear(4, 3, &[0.5; 12], &[0.0; 3]);
    let plan = Plan::default();
    let attacked = |examples: &Examples| message(attack(&model, examples, &plan, &mut |_| {}));
    assert_eq!(
        attacked(&rows(vec![2, 5], 0.5, vec![0, 0])),
        "inputs have shape [2, 5], the model `input` expects [any, 4]"
    );
    assert_eq!(attacked(&rows(vec![2, 4], 0.5, vec![0, 3])), "example 1 has label 3, the model has 3 classes");
    assert_eq!(attacked(&rows(vec![2, 4], 1.5, vec![0, 0])), "example 0 holds 1.5, outside the declared range 0..1");
    assert!(matches!(gradient(&model, &rows(vec![1, 4, 1], 0.5, vec![0])), Err(AttackError::Shape { .. })));
}

#[test]
fn examples_that_make_no_sense_cannot_be_made() {
    let make = |shape: &[usize], data: Vec<f32>, labels: &[usize]| {
        message(Examples::new(Tensor { shape: shape.to_vec(), data }, labels.to_vec()))
    };
    assert_eq!(make(&[2, 1], vec![0.0; 2], &[0]), "2 rows of inputs but 1 labels");
    assert_eq!(make(&[0, 1], vec![], &[]), "data: no examples");
    assert_eq!(make(&[2, 1], vec![0.0, f32::NAN], &[0, 0]), "example 1 holds a value that is not finite");
    make(&[2, 3], vec![0.0; 5], &[0, 0]);
}

#[test]
fn plans_outside_their_limits_are_refused() {
    let (train, _) = digits(10, 1);
    let model = tiny_network(1);
    let plans = [
        Plan { eps: vec![], ..Plan::default() },
        Plan { eps: vec![-0.1], ..Plan::default() },
        Plan { eps: vec![f64::NAN], ..Plan::default() },
        Plan { at: Some(0.3), ..Plan::default() },
        Plan { steps: 0, ..Plan::default() },
        Plan { restarts: 1_001, ..Plan::default() },
        Plan { levels: Some(1), ..Plan::default() },
        Plan { noise_tries: 0, ..Plan::default() },
    ];
    for plan in plans {
        let refused = attack(&model, &train, &plan, &mut |_| {});
        assert!(matches!(refused, Err(AttackError::Plan { .. })), "{plan:?}");
    }
    let plans = [
        HardenPlan { epochs: 0, ..HardenPlan::default() },
        HardenPlan { batch: 0, ..HardenPlan::default() },
        HardenPlan { eps: -1.0, ..HardenPlan::default() },
        HardenPlan { rate: f32::INFINITY, ..HardenPlan::default() },
        HardenPlan { clean_share: 1.5, ..HardenPlan::default() },
        HardenPlan { held_out: 0.0, ..HardenPlan::default() },
        HardenPlan { attack_steps: 65, ..HardenPlan::default() },
        HardenPlan { shift: 8, ..HardenPlan::default() },
        HardenPlan { collapse: 0.0, ..HardenPlan::default() },
    ];
    for plan in plans {
        let refused = harden(tiny_network(1), &train, &plan, &mut |_| {});
        assert!(matches!(refused, Err(AttackError::Plan { .. })), "{plan:?}");
    }
    assert!(Range::new(1.0, 1.0).is_err() && Range::new(0.0, f32::NAN).is_err());
}

#[test]
fn the_gradient_is_that_of_the_mean_loss() {
    // One input, two classes, scores (x, 0): loss of class 0 is ln(1 + e^-x), its slope -1 / (1 + e^x).
    let model = linear(1, 2, &[1.0, 0.0], &[0.0, 0.0]);
    let x = Tensor { shape: vec![2, 1], data: vec![0.0, 1.0] };
    let found = gradient(&model, &Examples::new(x, vec![0, 0]).unwrap()).unwrap();
    let slope = |x: f64| -1.0 / (1.0 + x.exp());
    assert!((found.loss - f64::midpoint(2_f64.ln(), (-1_f64).exp().ln_1p())).abs() < 1e-6);
    for (found, x) in found.gx.data.iter().zip([0.0, 1.0]) {
        assert!((f64::from(*found) - slope(x) / 2.0).abs() < 1e-6);
    }
}
