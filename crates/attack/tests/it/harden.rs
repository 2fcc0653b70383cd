//! Training on a slice of the digits: it learns, it resists, it notices its own collapse, and it repeats itself.

use ringfence_attack::{
    AttackError, HardenPlan, Hardening, Mode, Norm, Optimiser, Plan, Start, Watch, accuracy, attack, harden,
};
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
fn epochs_that_learned_nothing_are_undone() {
    let (train, test) = digits(1_400, 100);
    // At the height of such a rate every unit dies; whatever goes on with dead units stays at chance to the end.
    let plan = HardenPlan { start: Start::Fresh, eps: 0.05, epochs: 12, batch: 32, rate: 0.5, ..HardenPlan::default() };
    let (kept, report) = harden(tiny_network(1), &train, &plan, &mut |_| {}).unwrap();
    let stuck: Vec<_> = report.epochs.iter().filter(|epoch| epoch.clean_accuracy < 0.15).collect();
    assert!(stuck.len() > 1 && stuck.iter().all(|epoch| epoch.rolled_back), "{:?}", report.epochs);
    assert!(accuracy(&kept, &test).unwrap() > 0.5, "{:?}", report.epochs);
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

/// Robust accuracy of training in this mode from fresh weights, and clean accuracy.
fn trained_in(plan: &HardenPlan) -> (f64, f64) {
    let (train, test) = digits(700, 150);
    let (model, report) = harden(tiny_network(1), &train, plan, &mut |_| {}).unwrap();
    assert_eq!(report.mode.as_deref(), Some(plan.mode.name()));
    let attacked = Plan { eps: vec![0.12], steps: 20, ..Plan::default() };
    (worst_case(&attack(&model, &test, &attacked, &mut |_| {}).unwrap()), accuracy(&model, &test).unwrap())
}

#[test]
fn every_mode_buys_robustness() {
    let plan = HardenPlan {
        start: Start::Fresh,
        eps: 0.12,
        epochs: 12,
        batch: 32,
        rate: 0.006,
        clean_share: 0.0,
        ..HardenPlan::default()
    };
    let ordinary = trained_in(&HardenPlan { eps: 0.0, ..plan.clone() });
    let modes = [
        ("pgd", HardenPlan { attack_steps: 5, attack_span: 2.0, ..plan.clone() }),
        ("free", HardenPlan { mode: Mode::Free, replays: 3, epochs: 8, rate: 0.004, ..plan.clone() }),
        ("trades", HardenPlan { mode: Mode::Trades, attack_steps: 4, attack_span: 2.0, beta: 3.0, ..plan.clone() }),
        ("strong watch", HardenPlan { watch: Watch::Strong, ..plan }),
    ];
    for (name, plan) in modes {
        let (robust, clean) = trained_in(&plan);
        assert!(robust > ordinary.0 + 0.15 && clean > 0.8, "{name}: {robust} {clean}, without {ordinary:?}");
    }
}

#[test]
fn an_interrupted_training_gives_the_same_weights() {
    let (train, _) = digits(120, 1);
    let base = HardenPlan { epochs: 4, batch: 32, ..HardenPlan::default() };
    let plans = [
        base.clone(),
        HardenPlan { mode: Mode::Free, replays: 2, ..base.clone() },
        HardenPlan { mode: Mode::Trades, attack_steps: 2, optimiser: Optimiser::Sgd, rate: 0.02, ..base },
    ];
    for plan in plans {
        let (_, whole) = harden(tiny_network(1), &train, &plan, &mut |_| {}).unwrap();
        let mut first = Hardening::new(tiny_network(1), &train, &plan).unwrap();
        first.epoch().unwrap();
        first.epoch().unwrap();
        let state = first.state();
        drop(first);
        let mut second = Hardening::resume(tiny_network(1), &train, &plan, &state).unwrap();
        while second.epoch().unwrap().is_some() {}
        assert_eq!(second.finish().unwrap().1, whole);
    }
}

#[test]
fn a_state_that_is_damaged_or_belongs_elsewhere_is_refused() {
    let (train, _) = digits(60, 1);
    let plan = HardenPlan { epochs: 2, ..HardenPlan::default() };
    let mut training = Hardening::new(tiny_network(1), &train, &plan).unwrap();
    training.epoch().unwrap();
    let state = training.state();
    let refused = |model, plan: &HardenPlan, state: &[u8]| {
        let error = Hardening::resume(model, &train, plan, state).err();
        assert!(matches!(error, Some(AttackError::State { .. })), "{error:?}");
    };
    refused(tiny_network(2), &plan, &state);
    refused(tiny_network(1), &HardenPlan { seed: 1, ..plan.clone() }, &state);
    for length in [0, 20, 31, 100, state.len() - 1] {
        refused(tiny_network(1), &plan, &state[..length]);
    }
    let mut changed = state.clone();
    changed[200] ^= 1;
    refused(tiny_network(1), &plan, &changed);
    assert!(Hardening::resume(tiny_network(1), &train, &plan, &state).is_ok());
}

#[test]
fn patience_ends_a_training_that_gets_no_better() {
    let (train, _) = digits(200, 1);
    let plan = HardenPlan { eps: 0.0, epochs: 40, rate: 0.01, patience: 3, ..HardenPlan::default() };
    let (_, report) = harden(tiny_network(1), &train, &plan, &mut |_| {}).unwrap();
    let kept = report.kept.unwrap();
    assert!(report.epochs.len() < 40, "{:?}", report.epochs);
    assert_eq!(report.epochs.len() as u64, kept + 3);
}

#[test]
fn negative_smoothing_makes_the_label_stand_out() {
    let (train, test) = digits(400, 150);
    let confidence = |smoothing: f32| {
        let plan = HardenPlan { eps: 0.0, epochs: 10, batch: 32, rate: 0.006, smoothing, ..HardenPlan::default() };
        let model = harden(tiny_network(1), &train, &plan, &mut |_| {}).unwrap().0;
        assert!(accuracy(&model, &test).unwrap() > 0.8);
        let scores = model.forward(test.inputs()).unwrap();
        let gaps = scores.rows().map(|row| {
            let mut row = row.to_vec();
            row.sort_by(f32::total_cmp);
            row[9] - row[8]
        });
        gaps.sum::<f32>()
    };
    let (spread, plain, sharp) = (confidence(0.1), confidence(0.0), confidence(-0.1));
    assert!(spread < plain && plain < sharp, "{spread} {plain} {sharp}");
}
