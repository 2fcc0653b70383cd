//! Networks with one hidden layer are computed from their answers: every one, to the last digits, and nothing is claimed of others.

use std::time::Instant;

use ringfence_attack::{AttackError, Examples, Extraction, HardenPlan, Start, accuracy, extract_network, harden};
use ringfence_nn::{Model, builder::Builder};

use crate::{
    mnist::mnist,
    models::flattened,
    victims::{Drawn, Told, biased, natural, network, weight_error},
};

/// Networks for parity, trained on MNIST, of one output: what the score of odd is above that of even.
fn parity(train: &Examples, hidden: usize, told: Told, seed: u64) -> Model {
    let width = train.width();
    let labels = train.labels().iter().map(|label| label % 2).collect();
    let train = Examples::new(train.inputs().clone(), labels).unwrap();
    let file = Builder::new("net", seed).input("x", &[width]).linear(hidden).relu().linear(2).finish().unwrap();
    let plan = HardenPlan { start: Start::Fresh, eps: 0.0, epochs: 4, seed, ..HardenPlan::default() };
    let (two, _) = harden(Model::parse(&file).unwrap(), &train, &plan, &mut |_| {}).unwrap();
    eprintln!("parity: {:.3} right", accuracy(&two, &train).unwrap());
    let kept: Vec<Vec<f32>> = two.parameters().map(|parameter| parameter.data.to_vec()).collect();
    let mut one = network(Drawn::He, [width, hidden, 1], told, seed);
    for (place, parameter) in one.parameters_mut().enumerate() {
        let from = &kept[place];
        let half = from.len() / 2;
        match place {
            0 | 1 => parameter.data.copy_from_slice(from),
            _ => (0..half).for_each(|at| parameter.data[at] = from[half + at] - from[at]),
        }
    }
    one
}

#[test]
#[ignore = "minutes of questions: networks of many shapes and weights"]
fn measure_extraction() {
    let mut failed = 0;
    let mut tried = 0;
    let mut run = |name: String, victim: &Model, natural: &Examples, shape: [usize; 3], told: Told, seed: u64| {
        let start = Instant::now();
        let (found, asked) = extract_network(victim, natural, 10_000_000, seed).unwrap();
        let came = match found {
            Extraction::Found(found, difference) => {
                let error = weight_error(victim, &found, shape, told);
                failed += usize::from(error >= 1e-6);
                format!("error {error:.1e}, answers differ by {difference:.1e}")
            }
            Extraction::Not(why) => {
                failed += 1;
                format!("NOT: {why}")
            }
        };
        tried += 1;
        eprintln!(
            "{name} {told:?} {shape:?} {seed}: {came}; {asked} questions, {:.1} s",
            start.elapsed().as_secs_f64()
        );
    };
    let seeds = std::env::var("RINGFENCE_NETWORKS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    for told in [Told::Scores, Told::Probabilities] {
        for shape in [[784, 16, 1], [32, 16, 1], [100, 32, 1], [20, 20, 1], [30, 12, 4]] {
            for drawn in [Drawn::He, Drawn::Torch, Drawn::Normal] {
                for seed in 1..=seeds {
                    let victim = network(drawn, shape, told, seed);
                    run(format!("{drawn:?}"), &victim, &natural(8, 50, shape[0]), shape, told, seed);
                }
            }
        }
    }
    if let Some((train, _)) = mnist(10_000, 100) {
        let train = flattened(&train);
        for (told, seed) in
            [Told::Scores, Told::Probabilities].into_iter().flat_map(|told| (1..=seeds).map(move |seed| (told, seed)))
        {
            run("parity".into(), &parity(&train, 16, told, seed), &train, [784, 16, 1], told, seed);
        }
    }
    eprintln!("{failed} of {tried} failed");
}

#[test]
fn every_network_of_one_hidden_layer_is_computed_from_its_answers() {
    let cases = [
        ([784, 16, 1], Told::Scores, 1..=4),
        ([100, 32, 1], Told::Scores, 1..=4),
        ([32, 16, 1], Told::Scores, 1..=8),
        ([30, 12, 4], Told::Scores, 1..=4),
        ([784, 16, 1], Told::Probabilities, 1..=2),
        ([32, 16, 1], Told::Probabilities, 1..=6),
        ([30, 12, 4], Told::Probabilities, 1..=3),
    ];
    for (shape, told, seeds) in cases {
        for (drawn, seed) in [Drawn::He, Drawn::Torch, Drawn::Normal].into_iter().cycle().zip(seeds) {
            let victim = network(drawn, shape, told, seed);
            let (found, _) = extract_network(&victim, &natural(8, 50, shape[0]), 200_000, seed).unwrap();
            let what = format!("{drawn:?} {shape:?} {told:?} {seed}");
            let Extraction::Found(found, difference) = found else { panic!("{what}: {found:?}") };
            let error = weight_error(&victim, &found, shape, told);
            assert!(error < 1e-6 && difference < 1e-9, "{what}: {error} {difference}");
        }
    }
    // More units than inputs, where there are outputs enough to tell them apart.
    let (victim, shape) = (network(Drawn::Normal, [10, 20, 3], Told::Scores, 1), [10, 20, 3]);
    let (found, _) = extract_network(&victim, &natural(8, 50, 10), 100_000, 1).unwrap();
    let Extraction::Found(found, _) = found else { panic!("{found:?}") };
    assert!(weight_error(&victim, &found, shape, Told::Scores) < 1e-6);
}

#[test]
fn two_kinks_of_opposite_signs_are_not_taken_for_one() {
    // Units whose kinks lie close on every line, and cancel but for a little: the lines on both sides meet far outside of them.
    let mut victim = network(Drawn::Normal, [20, 4, 1], Told::Scores, 7);
    let mut parameters: Vec<&mut [f32]> = victim.parameters_mut().map(|parameter| parameter.data).collect();
    let (first, second) = parameters[0][..40].split_at_mut(20);
    second.iter_mut().zip(first).for_each(|(second, first)| *second = *first + 0.01 * *second);
    parameters[1][1] = parameters[1][0] + 0.02;
    parameters[2][..2].copy_from_slice(&[1.0, -0.9]);
    for seed in 0..8 {
        let (found, _) = extract_network(&victim, &natural(8, 50, 20), 100_000, seed).unwrap();
        let Extraction::Found(found, _) = found else { panic!("{seed}: {found:?}") };
        assert!(weight_error(&victim, &found, [20, 4, 1], Told::Scores) < 1e-6, "{seed}");
    }
}

#[test]
fn nothing_is_claimed_of_networks_that_are_not_one_layer_of_relus() {
    let layers = |seed| Builder::new("net", seed).input("x", &[20]).linear(6);
    let deep = layers(1).relu().linear(6).relu().linear(1).finish().unwrap();
    let smooth = layers(2).activation("Tanh").linear(1).finish().unwrap();
    let straight = layers(3).linear(1).finish().unwrap();
    for file in [deep, smooth, straight] {
        let (found, _) = extract_network(&biased(&file, 3), &natural(8, 50, 20), 200_000, 1).unwrap();
        assert!(matches!(found, Extraction::Not(_)), "{found:?}");
    }
    let victim = biased(&layers(1).relu().linear(1).finish().unwrap(), 1);
    let refused = extract_network(&victim, &natural(8, 50, 20), 100, 1);
    assert!(matches!(refused, Err(AttackError::Budget { budget: 100 })));
}
