//! The card says `unsound` where figures prove nothing.

use ringfence_attack::{Plan, attack, self_check};
use ringfence_schema::report::Soundness;

use crate::models::{digits, flattened, linear, numbers, tiny_network};

fn failed(report: &ringfence_schema::report::AttackReport) -> Vec<&str> {
    report.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect()
}

#[test]
fn a_saturated_model_that_hides_its_gradient_is_unsound() {
    // Scores scaled so far that the softmax is exactly one class in f32: the cross-entropy has no slope anywhere near, so
    // gradient attacks see nothing and accuracy under PGD looks excellent.
    let (train, _) = digits(200, 1);
    let weights: Vec<f32> = numbers(3, 10 * 64, -1.0, 1.0).into_iter().map(|w| w * 1e6).collect();
    let model = linear(64, 10, &weights, &[0.0; 10]);
    let flat = flattened(&train);
    let labels = ringfence_attack::predict(&model, &flat).unwrap().into_iter().map(Option::unwrap).collect();
    let examples = ringfence_attack::Examples::new(flat.inputs().clone(), labels).unwrap();
    let plan = Plan { eps: vec![0.02, 0.1], steps: 10, ..Plan::default() };
    let report = attack(&model, &examples, &plan, &mut |_| {}).unwrap();
    assert_eq!(report.verdict, Soundness::Unsound);
    assert!(failed(&report).contains(&"zero-gradients"), "{:?}", report.checks);
    // The margin loss does not saturate, and the worst case says so.
    let of = |name: &str| report.results.iter().rfind(|result| result.attack == name).unwrap().accuracy;
    assert!(of("pgd-10x3") > 0.5 && of("worst-case") < 0.1, "{:?}", report.results);
}

#[test]
fn an_attack_with_too_few_steps_is_unsound() {
    // One step of PGD from a random start is worse than FGSM's one step from the clean input, and more steps fool more.
    let (train, test) = digits(600, 150);
    let model = crate::models::trained(&train, 6);
    let plan = Plan { eps: vec![0.1], steps: 1, restarts: 1, margin_restarts: 0, ..Plan::default() };
    let report = attack(&model, &test, &plan, &mut |_| {}).unwrap();
    assert_eq!(report.verdict, Soundness::Unsound, "{:?}", report.checks);
    let enough = Plan { steps: 20, restarts: 2, margin_restarts: 1, ..plan };
    let report = attack(&model, &test, &enough, &mut |_| {}).unwrap();
    assert_eq!(report.verdict, Soundness::Sound, "{:?}", report.checks);
    assert!(report.clean_accuracy.unwrap() > 0.85);
}

#[test]
fn the_report_lists_every_attack_and_radius_and_progress_counts_them() {
    let (train, _) = digits(40, 1);
    let plan =
        Plan { eps: vec![0.2, 0.1, 0.2], steps: 3, levels: Some(17), members: Some(train.clone()), ..Plan::default() };
    let mut steps = Vec::new();
    let report = attack(&tiny_network(1), &train, &plan, &mut |progress| steps.push(progress.clone())).unwrap();
    let rows: Vec<String> = report.results.iter().map(|row| format!("{} {}", row.attack, row.eps)).collect();
    assert_eq!(
        rows,
        [
            "noise-10 0.1",
            "fgsm 0.1",
            "pgd-3x3 0.1",
            "worst-case 0.1",
            "noise-10 0.2",
            "fgsm 0.2",
            "pgd-3x3 0.2",
            "worst-case 0.2",
            "worst-case-in-17-levels 0.2"
        ]
    );
    assert_eq!(steps.len(), 10);
    assert!(steps.iter().enumerate().all(|(place, step)| step.done == place + 1 && step.total == 10));
    assert_eq!(report.membership.len(), 1);
    for row in &report.results {
        assert!(row.ci95[0] <= row.accuracy && row.accuracy <= row.ci95[1]);
    }
}

#[test]
fn a_model_checks_itself_without_data() {
    let report = self_check(&tiny_network(4), 9).unwrap();
    assert_eq!(report.verdict, Soundness::Sound, "{:?}", report.checks);
    assert_eq!((report.clean_accuracy, report.examples), (None, 0));
}

#[test]
fn corruptions_are_a_baseline_that_grows_worse_and_repeats_itself() {
    let (train, test) = digits(600, 100);
    let model = crate::models::trained(&train, 6);
    let plan = Plan { eps: vec![0.05], steps: 5, restarts: 1, corruptions: true, ..Plan::default() };
    let report = attack(&model, &test, &plan, &mut |_| {}).unwrap();
    assert_eq!(report.corruptions.len(), 40);
    for kind in report.corruptions.chunks(5) {
        assert!(kind[4].accuracy <= kind[0].accuracy + 0.05 && kind[0].accuracy > 0.5, "{kind:?}");
    }
    let again = attack(&model, &test, &plan, &mut |_| {}).unwrap();
    assert_eq!(report, again);
    let flat = flattened(&test);
    let table = linear(64, 10, &numbers(3, 640, -1.0, 1.0), &[0.0; 10]);
    assert!(attack(&table, &flat, &plan, &mut |_| {}).is_err());
}
