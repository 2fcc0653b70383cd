//! Measurements that take minutes: run by hand with `cargo test --release -p ringfence-attack --test it measure -- --ignored --nocapture NAME`.

use ringfence_attack::{
    AttackError, BackdoorPlan, Battery, HardenPlan, Mode, Plan, Start, accuracy, attack, backdoor_success, backdoors,
    harden,
};
use ringfence_nn::Model;

use crate::{
    mnist::{mnist, wong},
    models::digits,
    trojans::{Planted, honest_digits, trojan},
};

/// `RINGFENCE_PLAN` holds a plan as JSON; without it, FGSM with a random start as Wong et al. 2020 train MNIST (table 1).
/// `RINGFENCE_EXAMPLES` is how many pictures are trained on, `RINGFENCE_ATTACKED` how many are attacked.
pub(crate) fn number(name: &str, or: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

#[test]
#[ignore = "minutes of training"]
fn measure_hardening_on_mnist() {
    let Some((train, test)) = mnist(number("RINGFENCE_EXAMPLES", 60_000), 10_000) else { return };
    let plan = match std::env::var("RINGFENCE_PLAN") {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(_) => HardenPlan {
            start: Start::Fresh,
            eps: 0.3,
            epochs: 10,
            batch: 100,
            rate: 0.005,
            clean_share: 0.0,
            ..HardenPlan::default()
        },
    };
    eprintln!("{plan:?}");
    let (model, _) = harden(wong(plan.seed), &train, &plan, &mut |epoch| eprintln!("{epoch:?}")).unwrap();
    eprintln!("clean accuracy on {} test pictures: {}", test.count(), accuracy(&model, &test).unwrap());
    let attacked = test.sample(number("RINGFENCE_ATTACKED", 500), 0);
    let battery = Plan { eps: vec![f64::from(plan.eps)], battery: Battery::Standard, ..Plan::default() };
    let report = attack(&model, &attacked, &battery, &mut |_| {}).unwrap();
    for result in report.results {
        eprintln!("{} {:.4} {:?}", result.attack, result.accuracy, result.ci95);
    }
}

/// The share of pairs in which the first is larger.
fn auc(bad: &[f64], good: &[f64]) -> f64 {
    let wins = bad.iter().flat_map(|bad| good.iter().map(move |good| if bad > good { 1.0 } else { 0.0 }));
    wins.sum::<f64>() / (bad.len() * good.len()) as f64
}

/// Tiny networks, half of them with planted backdoors: `RINGFENCE_NETWORKS` (200 unless given), `RINGFENCE_STRENGTH` of the triggers in
/// percent.
#[test]
#[ignore = "minutes of searches"]
fn measure_backdoors_on_digits() {
    let (train, test) = (honest_digits(usize::MAX), digits(1, 360).1);
    let networks = number("RINGFENCE_NETWORKS", 200) as u64;
    let strength = number("RINGFENCE_STRENGTH", 100) as f32 / 100.0;
    let (mut clean, mut bad) = (Vec::new(), vec![Vec::new(); Planted::ALL.len()]);
    let (mut false_alarms, mut left, mut lost) = (0, Vec::new(), Vec::new());
    let unlearn = match std::env::var("RINGFENCE_PLAN") {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(_) => HardenPlan { batch: 32, ..HardenPlan::of(Mode::Unlearn) },
    };
    for seed in 0..networks {
        let kind = (seed % 8) as usize;
        let planted = Planted::ALL.get(kind).copied();
        let target = (seed / 8 % 10) as usize;
        let model = trojan(&train, planted.map(|planted| (planted, strength)), target, seed + 1);
        let report = backdoors(&model, &train.clone().sample(300, 1), None, &BackdoorPlan::default()).unwrap();
        let named =
            report.triggers.iter().filter(|found| found.suspicious).map(|found| (found.target, found.kind.clone()));
        let named: Vec<_> = named.collect();
        let Some(planted) = planted else {
            clean.push(report.score);
            false_alarms += usize::from(!named.is_empty());
            eprintln!("{seed} clean {:.2} {named:?}", report.score);
            continue;
        };
        bad[kind].push(report.score);
        let stamped = planted.stamped(&test, seed + 1, strength);
        let success = |model: &Model| backdoor_success(model, &stamped, target).unwrap().rate;
        let healed = match harden(model.clone(), &train, &unlearn, &mut |_| {}) {
            Err(AttackError::NoTrigger) => model.clone(),
            answer => answer.unwrap().0,
        };
        let (was, is) = (accuracy(&model, &test).unwrap(), accuracy(&healed, &test).unwrap());
        eprintln!(
            "{seed} {planted:?} to {target}: {:.2} {named:?}; attack {:.2}, after unlearning {:.2}; accuracy {was:.3} {is:.3}",
            report.score,
            success(&model),
            success(&healed)
        );
        if planted.is_patch() {
            left.push(success(&healed));
            lost.push(was - is);
        }
    }
    for (kind, scores) in Planted::ALL.iter().zip(&bad) {
        eprintln!("{kind:?}: AUC {:.3} over {} and {}", auc(scores, &clean), scores.len(), clean.len());
    }
    let patches: Vec<f64> = bad.iter().take(2).flatten().copied().collect();
    eprintln!("patches: AUC {:.3}; {false_alarms} false alarms", auc(&patches, &clean));
    let below = left.iter().filter(|left| **left < 0.05).count();
    let mean = lost.iter().sum::<f64>() / lost.len() as f64;
    eprintln!("unlearned: {below} of {} patches below 5 %, mean accuracy lost {mean:.4}", left.len());
}
