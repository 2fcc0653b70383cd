//! Defences that are none, each of which looks good to a naive attack: every one is unsound. Honest networks: none is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ringfence_attack::{
    AttackError, Battery, Callback, Examples, HardenPlan, Method, Norm, Plan, Predict, Start, attack, harden,
    self_check,
};
use ringfence_nn::{Model, Tensor, Want, builder::Builder, random::Random};
use ringfence_schema::{
    Digest,
    report::{AttackReport, Soundness},
};

use crate::models::{digits, flattened, linear, part, tiny_network, trained};

type Data = Tensor<f32>;

fn plan() -> Plan {
    Plan { eps: vec![0.05, 0.1], steps: 20, restarts: 2, ..Plan::default() }
}

fn card(source: &dyn Predict, examples: &Examples) -> AttackReport {
    attack(source, examples, &plan(), &mut |_| {}).unwrap()
}

fn failed(report: &AttackReport) -> Vec<&str> {
    report.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect()
}

/// Unsound, for this reason among others.
fn caught(name: &str, report: &AttackReport, by: &str) {
    assert_eq!(report.verdict, Soundness::Unsound, "{name}: {:?}", report.checks);
    assert!(failed(report).contains(&by), "{name}: {:?} not {by}: {:?}", failed(report), report.checks);
}

/// The network's gradients, as another program would hand them over.
fn pull(model: &Model, x: &Data, seeds: &Data) -> Data {
    let classes = seeds.shape[1];
    let copy = |row: usize, _: &[f32], seed: &mut [f32]| {
        seed.copy_from_slice(&seeds.data[row * classes..(row + 1) * classes]);
        0.0
    };
    model.pullback(x, Want::Input, &copy).unwrap().input.unwrap()
}

fn with(x: &Data, change: impl Fn(usize, f32) -> f32) -> Data {
    let data = x.data.iter().enumerate().map(|(at, value)| change(at, *value)).collect();
    Tensor { shape: x.shape.clone(), data }
}

/// A defence around a network: what it does to inputs on the way in, and to gradients on the way back.
fn around<'c>(
    model: &'c Model,
    forward: impl Fn(&Data) -> Data + Send + Sync + 'c,
    back: impl Fn(&Data, Data) -> Data + Send + Sync + 'c,
) -> Callback<'c> {
    let forward = Arc::new(forward);
    let inner = Arc::clone(&forward);
    let shape = vec![None, Some(1), Some(8), Some(8)];
    Callback::new("defended", shape, Digest::of(b"defended"), move |x| Ok(model.forward(&forward(x)).unwrap()))
        .with_gradient(move |x, seeds| Ok(back(x, pull(model, &inner(x), seeds))))
}

fn zeros(x: &Data) -> Data {
    with(x, |_, _| 0.0)
}

fn scene() -> (Model, Examples) {
    let (train, test) = digits(600, 100);
    (trained(&train, 6), test)
}

/// The same answers, the last layer's numbers multiplied.
fn scaled(model: &Model, factor: f32) -> Model {
    let mut model = model.clone();
    let count = model.parameters().count();
    for parameter in model.parameters_mut().skip(count - 2) {
        parameter.data.iter_mut().for_each(|number| *number *= factor);
    }
    model
}

#[test]
fn saturated_scores() {
    let (model, test) = scene();
    caught("logits times 100", &card(&scaled(&model, 100.0), &test), "zero-gradients");
    caught("logits times 10,000", &card(&scaled(&model, 1e4), &test), "zero-gradients");
}

#[test]
fn saturated_activations() {
    let (train, test) = digits(600, 100);
    let (train, test) = (flattened(&train), flattened(&test));
    let file = Builder::new("tanh", 3).input("input", &[64]).linear(48).activation("Tanh").linear(10).finish().unwrap();
    let ordinary = HardenPlan { eps: 0.0, epochs: 8, batch: 32, rate: 0.006, ..HardenPlan::default() };
    let mut model = harden(Model::parse(&file).unwrap(), &train, &ordinary, &mut |_| {}).unwrap().0;
    for parameter in model.parameters_mut().take(2) {
        parameter.data.iter_mut().for_each(|number| *number *= 1e4);
    }
    caught("activations at their ends", &card(&model, &test), "zero-gradients");
}

#[test]
fn inputs_coded_as_a_thermometer() {
    // Steep steps at four thresholds, as an ONNX graph; training leaves them as they are, since they have no gradient.
    let (train, test) = digits(600, 100);
    let file = Builder::new("thermometer", 5)
        .input("input", &[1, 8, 8])
        .conv(4, [1, 1], [1, 1], [0, 0])
        .activation("HardSigmoid")
        .flatten()
        .linear(32)
        .relu()
        .linear(10)
        .finish()
        .unwrap();
    let mut model = Model::parse(&file).unwrap();
    for (parameter, bias) in model.parameters_mut().take(2).zip([false, true]) {
        for (number, threshold) in parameter.data.iter_mut().zip([0.21, 0.41, 0.61, 0.81]) {
            *number = if bias { -1e6 * threshold } else { 1e6 };
        }
    }
    let ordinary =
        HardenPlan { start: Start::Base, eps: 0.0, epochs: 8, batch: 32, rate: 0.006, ..HardenPlan::default() };
    let model = harden(model, &train, &ordinary, &mut |_| {}).unwrap().0;
    let report = card(&model, &test);
    assert!(report.clean_accuracy.unwrap() > 0.8);
    caught("thermometer", &report, "zero-gradients");
}

#[test]
fn quantised_inputs() {
    let (model, test) = scene();
    let round = |levels: f32| move |x: &Data| with(x, |_, value| (value * levels).round() / levels);
    let four = around(&model, round(4.0), |x, _| zeros(x));
    caught("four levels", &card(&four, &test), "zero-gradients");
    let two = around(&model, round(1.0), |x, _| zeros(x));
    caught("black and white", &card(&two, &test), "zero-gradients");
}

#[test]
fn stochastic_layers() {
    let (model, test) = scene();
    let other = trained(&digits(600, 1).0, 5);
    let calls = AtomicU64::new(0);
    let noisy = |x: &Data| {
        let mut random = Random::new(calls.fetch_add(1, Ordering::Relaxed));
        let noise: Vec<f32> = x.data.iter().map(|_| random.uniform_in(-0.1, 0.1)).collect();
        with(x, |at, value| value + noise[at])
    };
    caught("noise on inputs", &card(&around(&model, noisy, |_, g| g), &test), "repeatable");
    let moving = |x: &Data| {
        let shift = calls.fetch_add(1, Ordering::Relaxed) % 2;
        with(x, |at, value| if shift == 1 && at % 8 > 0 { x.data[at - 1] } else { value })
    };
    caught("random shifts", &card(&around(&model, moving, |_, g| g), &test), "repeatable");
    let shape = vec![None, Some(1), Some(8), Some(8)];
    let pick = || if calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { &model } else { &other };
    let switching = Callback::new("switching", shape, Digest::of(b"s"), |x| Ok(pick().forward(x).unwrap()))
        .with_gradient(|x, seeds| Ok(pull(pick(), x, seeds)));
    caught("switching networks", &card(&switching, &test), "repeatable");
}

#[test]
fn answers_that_depend_on_neighbours() {
    let (model, test) = scene();
    let centred = |x: &Data| {
        let mean = x.data.iter().sum::<f32>() / x.data.len() as f32;
        with(x, |_, value| value - mean + 0.3)
    };
    caught("batch statistics", &card(&around(&model, centred, |_, g| g), &test), "independent-examples");
}

#[test]
fn shattered_gradients() {
    let (model, test) = scene();
    let ripple = |x: &Data| with(x, |_, value| value + 0.01 * (2_000.0 * value).sin());
    let back = |x: &Data, g: Data| with(&g, |at, slope| slope * (1.0 + 20.0 * (2_000.0 * x.data[at]).cos()));
    caught("ripples", &card(&around(&model, ripple, back), &test), "gradient-predicts-loss");
}

#[test]
fn stopped_gradients() {
    let (model, test) = scene();
    let same = |x: &Data| x.clone();
    let rim = |_: &Data, g: Data| with(&g, |at, slope| if at % 64 < 8 { slope } else { 0.0 });
    caught("gradient of the first row alone", &card(&around(&model, same, rim), &test), "black-box-is-weaker");
    let half = |_: &Data, g: Data| with(&g, |at, slope| if (at / 64) % 2 == 0 { slope } else { 0.0 });
    caught("every second example", &card(&around(&model, same, half), &test), "zero-gradients");
    let none = |_: &Data, g: Data| zeros(&g);
    caught("no gradient at all", &card(&around(&model, same, none), &test), "zero-gradients");
}

/// The network of `scene` with a step that is constant between its jumps before its first layer, or behind its last one.
fn stepped(model: &Model, before: bool) -> Model {
    let input = Builder::new("stepped", 1).input("input", &[1, 8, 8]);
    let input = if before { input.activation("Round") } else { input };
    let scores = input.conv(8, [3, 3], [2, 2], [1, 1]).relu().flatten().linear(32).relu().linear(10);
    let scores = if before { scores } else { scores.activation("Round") };
    let mut stepped = Model::parse(&scores.finish().unwrap()).unwrap();
    for (parameter, numbers) in stepped.parameters_mut().zip(model.parameters()) {
        parameter.data.copy_from_slice(numbers.data);
    }
    stepped
}

#[test]
fn gradients_that_do_not_exist() {
    let (model, test) = scene();
    for (name, before) in [("inputs of black and white", true), ("whole scores", false)] {
        let model = stepped(&model, before);
        let report = card(&model, &test);
        caught(name, &report, "no-gradient");
        // What needs no slope still ran: the figure is an upper bound, and none of a gradient's rows is there.
        let ran: Vec<&str> = report.results.iter().map(|row| row.attack.as_str()).collect();
        assert!(
            ran.iter().any(|row| row.starts_with("square")) && !ran.iter().any(|row| row.starts_with("pgd")),
            "{ran:?}"
        );
        let worst = report.worst_case.last().unwrap();
        assert!(worst.accuracy < report.clean_accuracy.unwrap(), "{name}: {worst:?}");
        let standard = Plan { battery: Battery::Standard, eps: vec![0.1], ..plan() };
        let report = attack(&model, &part(&test, 0..40), &standard, &mut |_| {}).unwrap();
        caught(name, &report, "no-gradient");
        assert!(report.results.iter().any(|row| row.attack.starts_with("transfer")), "{:?}", report.results);
        // Asked for by name, it is refused with the reason.
        let named = Plan { attacks: vec![Method::ApgdCe], ..plan() };
        let refused = attack(&model, &test, &named, &mut |_| {});
        assert!(matches!(refused, Err(AttackError::Capability { .. })), "{refused:?}");
        let alone = self_check(&model, 1).unwrap();
        caught(name, &alone, "no-gradient");
    }
}

#[test]
fn wrong_gradients() {
    let (model, test) = scene();
    let same = |x: &Data| x.clone();
    let negated = |_: &Data, g: Data| with(&g, |_, slope| -slope);
    caught("negated", &card(&around(&model, same, negated), &test), "gradient-predicts-loss");
    let invented = |x: &Data, g: Data| {
        let mut random = Random::new(u64::from(x.data[3].to_bits()));
        let noise: Vec<f32> = g.data.iter().map(|_| random.uniform_in(-1.0, 1.0)).collect();
        with(&g, |at, _| noise[at])
    };
    caught("invented", &card(&around(&model, same, invented), &test), "gradient-predicts-loss");
}

#[test]
fn labels_in_place_of_scores() {
    let (model, test) = scene();
    let shape = vec![None, Some(1), Some(8), Some(8)];
    let labels = |x: &Data| {
        let scores = model.forward(x).unwrap();
        let rows = scores.data.chunks(10).flat_map(|row| {
            let best = row.iter().copied().fold(f32::MIN, f32::max);
            row.iter().map(move |score| if *score >= best { 1.0 } else { 0.0 }).collect::<Vec<f32>>()
        });
        Ok(Tensor { shape: scores.shape.clone(), data: rows.collect() })
    };
    let hidden = Callback::new("labels", shape, Digest::of(b"l"), labels).with_gradient(|x, _| Ok(zeros(x)));
    caught("labels alone", &card(&hidden, &test), "zero-gradients");
}

#[test]
fn inputs_that_are_remembered() {
    // What lies near a known input is answered as that input is; the gradient is the bare network's.
    let (model, test) = scene();
    let known = test.inputs().clone();
    let snap = move |x: &Data| {
        let mut data = x.data.clone();
        for row in data.chunks_exact_mut(64) {
            let near =
                known.data.chunks_exact(64).find(|other| row.iter().zip(*other).all(|(a, b)| (a - b).abs() < 0.15));
            if let Some(near) = near {
                row.copy_from_slice(near);
            }
        }
        Tensor { shape: x.shape.clone(), data }
    };
    caught("a memory", &card(&around(&model, snap, |_, g| g), &test), "gradient-predicts-loss");
}

#[test]
fn answers_that_change_when_many_are_asked_for() {
    let (model, test) = scene();
    let calls = AtomicU64::new(0);
    let tired = |x: &Data| {
        let asked = calls.fetch_add(1, Ordering::Relaxed);
        if asked < 20 { x.clone() } else { with(x, |_, value| value * (1.0 - 0.000_5 * asked.min(1_000) as f32)) }
    };
    let report = card(&around(&model, tired, |_, g| g), &test);
    assert_eq!(report.verdict, Soundness::Unsound, "{:?}", report.checks);
}

#[test]
fn tiny_step_counts() {
    let (model, test) = scene();
    for steps in [1, 2] {
        let plan = Plan { eps: vec![0.1], steps, restarts: 1, margin_restarts: 0, ..Plan::default() };
        let report = attack(&model, &test, &plan, &mut |_| {}).unwrap();
        assert_eq!(report.verdict, Soundness::Unsound, "{steps}: {:?}", report.checks);
    }
}

#[test]
fn honest_networks_are_sound() {
    let (train, test) = digits(700, 100);
    let sound = |name: &str, source: &dyn Predict, test: &Examples| {
        let report = card(source, test);
        assert_eq!(report.verdict, Soundness::Sound, "{name}: {:?}", report.checks);
    };
    let ordinary = HardenPlan { eps: 0.0, epochs: 8, batch: 32, rate: 0.006, ..HardenPlan::default() };
    sound("standard", &trained(&train, 8), &test);
    let hard = HardenPlan { start: Start::Fresh, eps: 0.12, epochs: 14, attack_steps: 3, ..ordinary.clone() };
    sound("hardened", &harden(tiny_network(1), &train, &hard, &mut |_| {}).unwrap().0, &test);
    let file = Builder::new("mlp", 2).input("input", &[64]).linear(64).relu().linear(10).finish().unwrap();
    let (flat, flat_test) = (flattened(&train), flattened(&test));
    let mlp = harden(Model::parse(&file).unwrap(), &flat, &ordinary, &mut |_| {}).unwrap().0;
    sound("multi-layer perceptron", &mlp, &flat_test);
    let plain = harden(linear(64, 10, &[0.0; 640], &[0.0; 10]), &flat, &ordinary, &mut |_| {}).unwrap().0;
    sound("linear", &plain, &flat_test);
    let small = trained(&part(&train, 0..60), 20);
    sound("small data", &small, &part(&test, 0..40));
    let honest = trained(&train, 8);
    sound("behind a callback", &around(&honest, Data::clone, |_, g| g), &test);
}

#[test]
fn an_honest_network_is_sound_in_every_norm_and_towards_a_target() {
    let (train, test) = digits(600, 100);
    let model = trained(&train, 6);
    let cases = [(Norm::L2, 0.4, None), (Norm::L1, 1.5, None), (Norm::L0, 3.0, None), (Norm::Linf, 0.15, Some(3))];
    for (norm, eps, target) in cases {
        let plan = Plan { norm, eps: vec![eps], target, levels: Some(256), ..plan() };
        let report = attack(&model, &test, &plan, &mut |_| {}).unwrap();
        assert_eq!(report.verdict, Soundness::Sound, "{norm:?} {target:?}: {:?}", report.checks);
        assert!(report.worst_case[0].accuracy < 0.95, "{norm:?}: {:?}", report.results);
    }
}
