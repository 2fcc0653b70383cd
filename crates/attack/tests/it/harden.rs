//! Training on a slice of the digits: it learns, it resists, it notices its own collapse, and it repeats itself.

use ringfence_attack::{HardenPlan, Norm, Optimiser, Plan, Start, accuracy, attack, harden};
use ringfence_schema::report::AttackReport;

use crate::models::{digits, tiny_network};

fn worst_case(report: &AttackReport) -> f64 {
    report.results.iter().find(|result| result.attack == "worst-case").unwrap().accuracy
}

#[test]
fn hardening_buys_robustness() {
    let (train, test) = digits(700, 150);
    let ordinary =
        HardenPlan { start: Start::Fresh, eps: 0.0, epochs: 10, batch: 32, rate: 0.006, ..HardenPlan::default() };
    let hard = HardenPlan { eps: 0.12, epochs: 14, ..ordinary.clone() };
    let (base, _) = harden(tiny_network(1), &train, &ordinary, &mut |_| {}).unwrap();
    let (hardened, report) = harden(tiny_network(1), &train, &hard, &mut |_| {}).unwrap();
    let plan = Plan { eps: vec![0.12], norm: Norm::Linf, steps: 20, ..Plan::default() };
    let before = worst_case(&attack(&base, &test, &plan, &mut |_| {}).unwrap());
    let after = worst_case(&attack(&hardened, &test, &plan, &mut |_| {}).unwrap());
    assert!(accuracy(&hardened, &test).unwrap() > 0.85);
    assert!(after > before + 0.2, "{before} before, {after} after");
    assert_eq!(report.epochs.len(), 14);
    assert_ne!(report.base, report.model);
}

#[test]
fn a_collapse_of_robustness_is_rolled_back() {
    // One-step training does not collapse by itself on data this small, so the collapse is forced: a robust network is
    // trained on without any attacker, while the watch still attacks.
    let (train, test) = digits(500, 100);
    let hard =
        HardenPlan { start: Start::Fresh, eps: 0.12, epochs: 12, batch: 32, rate: 0.006, ..HardenPlan::default() };
    let (robust, _) = harden(tiny_network(1), &train, &hard, &mut |_| {}).unwrap();
    let careless =
        HardenPlan { start: Start::Base, clean_share: 1.0, epochs: 12, rate: 0.01, collapse: 0.1, ..hard.clone() };
    let (kept, report) = harden(robust.clone(), &train, &careless, &mut |_| {}).unwrap();
    let undone: Vec<_> = report.epochs.iter().filter(|epoch| epoch.rolled_back).collect();
    assert!(!undone.is_empty(), "{:?}", report.epochs);
    let best = report.epochs.iter().filter(|epoch| !epoch.rolled_back).map(|epoch| epoch.robust_accuracy);
    let best = best.fold(0.0, f64::max);
    assert!(undone.iter().all(|epoch| epoch.robust_accuracy + 0.1 < best), "{:?}", report.epochs);

    // What is given back is the best epoch, not the last.
    let plan = Plan { eps: vec![0.12], steps: 10, restarts: 1, margin_restarts: 0, ..Plan::default() };
    let of = |model| worst_case(&attack(model, &test, &plan, &mut |_| {}).unwrap());
    let (before, after) = (of(&robust), of(&kept));
    assert!(after > before - 0.15, "{before} before, {after} after");
}

#[test]
fn the_same_seed_gives_the_same_weights_on_any_number_of_threads() {
    let (train, _) = digits(120, 1);
    let plan = HardenPlan { epochs: 2, shift: 1, ..HardenPlan::default() };
    let run = |threads: usize, plan: &HardenPlan| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| harden(tiny_network(1), &train, plan, &mut |_| {}).unwrap().1)
    };
    let first = run(1, &plan);
    assert_eq!(first, run(1, &plan));
    assert_eq!(first, run(3, &plan));
    assert_ne!(first.model, run(1, &HardenPlan { seed: 1, ..plan }).model);
}

#[test]
fn progress_is_told_after_every_epoch_and_equals_the_report() {
    let (train, _) = digits(80, 1);
    let plan = HardenPlan { epochs: 3, optimiser: Optimiser::Sgd, rate: 0.05, ..HardenPlan::default() };
    let mut told = Vec::new();
    let (_, report) = harden(tiny_network(1), &train, &plan, &mut |epoch| told.push(epoch.clone())).unwrap();
    assert_eq!(told, report.epochs);
    assert_eq!(told.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_plan_is_read_from_dashed_names_and_nothing_else() {
    let text = r#"{"start":"fresh","eps":0.15,"clean-share":0.3,"warm-up":0.2,"optimiser":"sgd"}"#;
    let plan: HardenPlan = serde_json::from_str(text).unwrap();
    assert_eq!((plan.start, plan.clean_share, plan.optimiser), (Start::Fresh, 0.3, Optimiser::Sgd));
    assert!(serde_json::from_str::<HardenPlan>(r#"{"epoch":3}"#).is_err());
}

#[test]
fn training_that_diverges_says_so() {
    let (train, _) = digits(60, 1);
    let plan = HardenPlan { epochs: 2, rate: f32::MAX, ..HardenPlan::default() };
    let error = harden(tiny_network(1), &train, &plan, &mut |_| {}).err().unwrap();
    assert_eq!(error.to_string(), "training diverged: no epoch of 2 could be kept; lower `rate`");
}
