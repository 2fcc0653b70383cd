//! Measurements that take minutes: run by hand with `cargo test --release -p ringfence-attack --test it measure -- --ignored --nocapture NAME`.

use std::io::Write as _;

use ringfence_attack::{
    AttackError, BackdoorPlan, Battery, Examples, HardenPlan, Method, Mode, Norm, Plan, Start, Statistic, SuspectPlan,
    accuracy, attack, backdoor_success, backdoors, fooling, gradient, harden, statistics, suspects,
};
use ringfence_nn::{Model, Tensor};

use crate::{
    mnist::{mnist, wong},
    models::digits,
    trojans::{Planted, honest_digits, trojan},
};

/// `RINGFENCE_PLAN` holds a plan as JSON; without it, FGSM with a random start as Wong et al. 2020 train MNIST (table 1).
/// `RINGFENCE_EXAMPLES` is how many pictures are trained on, `RINGFENCE_ATTACKED` how many are attacked.
fn number(name: &str, or: usize) -> usize {
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

/// PGD that goes on after it has fooled the model, as somebody would who wants the model to be sure.
fn sure(model: &Model, examples: &Examples, eps: f32) -> Examples {
    let clean = &examples.inputs().data;
    let mut x = examples.inputs().clone();
    for _ in 0..40 {
        let at = Examples::new(x.clone(), examples.labels().to_vec()).unwrap();
        let slope = gradient(model, &at).unwrap().gx;
        for ((value, slope), clean) in x.data.iter_mut().zip(&slope.data).zip(clean) {
            let sign = if *slope == 0.0 { 0.0 } else { slope.signum() };
            *value = (*value + eps / 16.0 * sign).clamp(clean - eps, clean + eps).clamp(0.0, 1.0);
        }
    }
    Examples::new(x, examples.labels().to_vec()).unwrap()
}

/// The examples that fool `model`, changed by `method`, with the label that the model gives them.
fn fooled(model: &Model, examples: &Examples, method: Method, norm: Norm, eps: f64) -> Examples {
    let plan = Plan { eps: vec![eps], norm, ..Plan::default() };
    let found = fooling(model, examples, method, &plan).unwrap();
    let labels = found.iter().map(|(place, _)| examples.labels()[*place]).collect();
    let mut shape = examples.inputs().shape.clone();
    shape[0] = found.len();
    let data = found.into_iter().flat_map(|(_, point)| point).collect();
    Examples::new(Tensor { shape, data }, labels).unwrap()
}

fn joined(parts: &[&Examples]) -> Examples {
    let mut shape = parts[0].inputs().shape.clone();
    shape[0] = parts.iter().map(|part| part.count()).sum();
    let data = parts.iter().flat_map(|part| part.inputs().data.clone()).collect();
    Examples::new(Tensor { shape, data }, parts.iter().flat_map(|part| part.labels().to_vec()).collect()).unwrap()
}

/// What `screen --model` finds of inputs made against the base model. `RINGFENCE_OUT` gets the statistics as CSV.
#[test]
#[ignore = "minutes of attacks"]
fn measure_suspects_on_mnist() {
    let Some((train, test)) = mnist(number("RINGFENCE_EXAMPLES", 20_000), 10_000) else { return };
    let plan =
        HardenPlan { start: Start::Fresh, eps: 0.0, epochs: 4, batch: 100, rate: 0.003, ..HardenPlan::default() };
    let (model, _) = harden(wong(1), &train, &plan, &mut |_| {}).unwrap();
    eprintln!("clean accuracy {}", accuracy(&model, &test).unwrap());
    let pick = |from: usize, count: usize| {
        // Three parts that share no picture.
        let order = test.clone();
        let places: Vec<usize> = (0..order.count()).filter(|place| place % 5 == from).take(count).collect();
        let data = places.iter().flat_map(|place| order.row(*place).to_vec()).collect();
        let labels = places.iter().map(|place| order.labels()[*place]).collect();
        Examples::new(Tensor { shape: vec![places.len(), 1, 28, 28], data }, labels).unwrap()
    };
    let (reference, natural, victims) =
        (pick(0, 2_000), pick(1, 2_000), pick(2, 2_000).sample(number("RINGFENCE_VICTIMS", 100), 1));
    let mut sets: Vec<(&str, Examples)> = vec![
        ("pgd-0.3", sure(&model, &victims, 0.3)),
        ("pgd-0.1", sure(&model, &victims, 0.1)),
        ("pgd-0.3-just", fooled(&model, &victims, Method::Pgd, Norm::Linf, 0.3)),
        ("carlini-wagner", fooled(&model, &victims, Method::CarliniWagner, Norm::L2, 3.0)),
        ("square-0.3", fooled(&model, &victims, Method::Square, Norm::Linf, 0.3)),
        ("square-l2-3", fooled(&model, &victims, Method::Square, Norm::L2, 3.0)),
    ];
    let suspicion = SuspectPlan::default();
    let found = suspects(&model, &natural, Some(&reference), &suspicion).unwrap();
    eprintln!("natural: {} of {} suspect", found.suspects.len(), natural.count());
    for (name, set) in &sets {
        let wrong = set.count() as f64 * (1.0 - accuracy(&model, set).unwrap());
        let with = suspects(&model, set, Some(&reference), &suspicion).unwrap().suspects;
        let mixed = joined(&[&natural, set]);
        let without = suspects(&model, &mixed, None, &suspicion).unwrap().suspects;
        let caught = without.iter().filter(|suspect| suspect.record >= natural.count() as u64).count();
        eprintln!(
            "{name}: {} inputs, {wrong:.0} fool; {} found with a reference; {caught} without, and {} natural ones",
            set.count(),
            with.len(),
            without.len() - caught
        );
    }
    sets.push(("natural", natural));
    sets.push(("reference", reference.clone()));
    if let Some(path) = std::env::var_os("RINGFENCE_OUT") {
        let mut out = std::fs::File::create(path).unwrap();
        let names: Vec<&str> = Statistic::ALL.iter().map(|statistic| statistic.name()).collect();
        writeln!(out, "set,predicted,label,{}", names.join(",")).unwrap();
        for (name, set) in &sets {
            let predicted = ringfence_attack::predict(&model, set).unwrap();
            let rows = statistics(&model, set, Some(&reference), &suspicion).unwrap();
            for ((row, predicted), label) in rows.iter().zip(predicted).zip(set.labels()) {
                let row: Vec<String> = row.iter().map(f64::to_string).collect();
                writeln!(out, "{name},{},{label},{}", predicted.unwrap_or(99), row.join(",")).unwrap();
            }
        }
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
        Err(_) => HardenPlan { mode: Mode::Unlearn, batch: 32, ..HardenPlan::default() },
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
