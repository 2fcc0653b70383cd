//! Models of known weights are stolen: the weights are known again, or the copy answers alike.

use ringfence_attack::{
    AttackError, BUDGET_MIN, Callback, Examples, OutputLevel, Single, TheftPlan, hidden_width, solve_equations, steal,
};
use ringfence_nn::{Model, Tensor, builder::Builder, random::Random};
use ringfence_schema::Digest;

use crate::{
    models::{digits, flattened, linear, numbers, part, trained},
    victims::{biased, natural},
};

#[test]
fn a_logistic_regression_falls_to_as_many_questions_as_it_has_weights() {
    for (seed, width, classes) in [(1, 20, 3), (2, 64, 10), (3, 200, 2)] {
        let weights = numbers(seed, width * classes, -1.0, 1.0);
        let bias = numbers(seed + 50, classes, -1.0, 1.0);
        let victim = linear(width, classes, &weights, &bias);
        let asked = width + 1;
        let found = solve_equations(&victim, &natural(9, 50, width), OutputLevel::Full, Single::Score, asked, seed);
        let found = found.unwrap().unwrap();
        for class in 0..classes {
            for place in 0..width {
                let wanted = f64::from(weights[class * width + place]) - f64::from(weights[place]);
                assert!((found.weights[class][place] - wanted).abs() < 1e-9);
            }
            assert!((found.bias[class] - f64::from(bias[class]) + f64::from(bias[0])).abs() < 1e-9);
        }
        // One question less leaves a weight open.
        let less = solve_equations(&victim, &natural(9, 50, width), OutputLevel::Full, Single::Score, asked - 1, seed);
        assert!(less.unwrap().is_none());
    }
}

#[test]
fn a_regression_that_answers_one_probability_is_stolen_too() {
    for seed in 1..4 {
        let file = Builder::new("lr", seed).input("x", &[30]).linear(1).activation("Sigmoid").finish().unwrap();
        let victim = biased(&file, seed);
        let weights: Vec<f64> =
            victim.parameters().flat_map(|parameter| parameter.data.iter().copied().map(f64::from)).collect();
        let found = solve_equations(&victim, &natural(7, 40, 30), OutputLevel::Full, Single::Probability, 31, seed)
            .unwrap()
            .unwrap();
        let stolen = found.weights[1].iter().chain(&found.bias[1..]);
        assert!(stolen.zip(&weights).all(|(found, wanted)| (found - wanted).abs() < 1e-9));
    }
}

#[test]
fn the_width_of_the_layer_before_the_last_is_the_rank_of_answers() {
    for (seed, hidden, vocabulary) in [(1, 12, 60), (2, 24, 200), (3, 48, 150)] {
        // A language model with a context of one-hot tokens; probabilities, as services answer them.
        let file = Builder::new("lm", seed).input("x", &[90]).linear(hidden).activation("Tanh").linear(vocabulary);
        for file in [file.clone().finish(), file.log_softmax().finish()] {
            let victim = biased(&file.unwrap(), seed);
            let found = hidden_width(&victim, &natural(4, 200, 90), 2_000, seed).unwrap();
            let stated = found.hidden.or(found.ranks.map(|ranks| ranks[1]));
            assert_eq!(stated, Some(hidden), "{found:?}");
            assert_eq!(found.hidden.is_none(), hidden > 24, "{found:?}");
        }
    }
    // As wide as its outputs: nothing can be said.
    let file = Builder::new("wide", 1).input("x", &[90]).linear(64).activation("Tanh").linear(32).finish().unwrap();
    let found = hidden_width(&biased(&file, 1), &natural(4, 200, 90), 2_000, 1).unwrap();
    assert!(found.hidden.is_none() && found.note.is_some(), "{found:?}");
}

/// A small transformer's last position: embeddings, one head of attention, a layer normalisation, no bias in the last layer.
struct Toy {
    hidden: usize,
    vocabulary: usize,
    weights: Vec<f64>,
}

impl Toy {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "tokens are small whole numbers; logits are told in single precision on purpose"
    )]
    fn logits(&self, tokens: &[f32]) -> Vec<f32> {
        let (h, v) = (self.hidden, self.vocabulary);
        let (embedding, rest) = self.weights.split_at(v * h);
        let (key, rest) = rest.split_at(h * h);
        let (gain, rest) = rest.split_at(h);
        let (offset, head) = rest.split_at(h);
        let rows: Vec<&[f64]> = tokens.iter().map(|token| &embedding[*token as usize * h..][..h]).collect();
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let last = rows[rows.len() - 1];
        let query: Vec<f64> = (0..h).map(|place| dot(&key[place * h..(place + 1) * h], last)).collect();
        let shares: Vec<f64> =
            rows.iter().enumerate().map(|(at, row)| (dot(&query, row) / h as f64 + 0.1 * at as f64).exp()).collect();
        let sum: f64 = shares.iter().sum();
        let state: Vec<f64> = (0..h)
            .map(|place| {
                last[place] + rows.iter().zip(&shares).map(|(row, share)| row[place] * share / sum).sum::<f64>()
            })
            .collect();
        let mean = state.iter().sum::<f64>() / h as f64;
        let deviation = (state.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / h as f64).sqrt();
        let normal: Vec<f64> =
            (0..h).map(|place| (state[place] - mean) / deviation * gain[place] + offset[place]).collect();
        (0..v).map(|word| dot(&head[word * h..(word + 1) * h], &normal) as f32).collect()
    }
}

#[test]
fn a_toy_transformers_width_is_found_from_logits_in_single_precision() {
    for (seed, hidden) in [(1, 8), (2, 12), (3, 16)] {
        let vocabulary = 100;
        let count = 2 * vocabulary * hidden + hidden * hidden + 2 * hidden;
        let mut random = Random::new(seed);
        let toy = Toy { hidden, vocabulary, weights: (0..count).map(|_| random.normal()).collect() };
        let answer = |x: &Tensor<f32>| {
            Ok(Tensor { shape: vec![x.shape[0], vocabulary], data: x.rows().flat_map(|row| toy.logits(row)).collect() })
        };
        let victim = Callback::new("toy", vec![None, Some(6)], Digest::of(b"toy"), answer);
        let tokens: Vec<f32> = (0..600 * 6).map(|_| random.below(vocabulary) as f32).collect();
        let natural = Examples::new(Tensor { shape: vec![600, 6], data: tokens }, vec![0; 600]).unwrap();
        let found = hidden_width(&victim, &natural, 2_000, seed).unwrap();
        assert_eq!(found.hidden, Some(hidden), "{found:?}");
    }
}

#[test]
fn the_report_prices_a_theft_at_every_level() {
    let (train, test) = digits(900, 300);
    let (train, test) = (flattened(&train), flattened(&test));
    let file = Builder::new("lr", 1).input("x", &[64]).linear(10).softmax().finish().unwrap();
    let plan = ringfence_attack::HardenPlan { eps: 0.0, epochs: 15, rate: 0.01, ..Default::default() };
    let (victim, _) =
        ringfence_attack::harden(Model::parse(&file).unwrap(), &part(&train, 0..400), &plan, &mut |_| {}).unwrap();
    let plan = TheftPlan {
        levels: vec![OutputLevel::Full, OutputLevel::Rounded(2), OutputLevel::Label],
        budget: Some(16 * 65),
        ..TheftPlan::default()
    };
    let mut told = Vec::new();
    let report = steal(&victim, &part(&train, 400..900), &test, &plan, &mut |done, of| told.push((done, of))).unwrap();
    assert_eq!(told, [(0, 4), (1, 4), (2, 4), (3, 4)]);
    let [full, rounded, label] = &report.levels[..] else { panic!("{report:?}") };
    // In full, d + 1 questions buy everything.
    let once = full.residual[0].best.as_ref().unwrap();
    assert_eq!((full.residual[0].queries, once.method.as_str()), (65, "equation-solving"));
    assert!(once.fidelity >= 1.0 && once.distance < 1e-9, "{once:?}");
    assert!(full.price.iter().all(|price| price.queries == Some(65)));
    // Labels alone cost more, and still do not stop it.
    let fidelity = |level: &ringfence_schema::theft::LevelTheft, place: usize| {
        level.residual[place].best.as_ref().unwrap().fidelity
    };
    assert!(fidelity(label, 0) < 0.95 && fidelity(label, 2) > 0.8, "{label:?}");
    assert!(fidelity(label, 2) > fidelity(label, 0));
    assert!(fidelity(rounded, 2) >= fidelity(rounded, 0));
    assert!(label.runs.iter().all(|run| run.method != "equation-solving"));
    assert!(label.price.iter().all(|price| price.queries.is_some() || price.note.is_some()));
    for run in report.levels.iter().flat_map(|level| &level.runs) {
        assert!(run.ci95[0] <= run.fidelity && run.fidelity <= run.ci95[1] && run.ci95[1] - run.ci95[0] < 0.15);
    }
    assert!(report.extraction.hidden_units.is_none() && report.extraction.note.is_some());
    assert_eq!(serde_json::to_value(&report).unwrap()["schema"], "ringfence.theft/1");
}

#[test]
fn thefts_that_make_no_sense_are_refused() {
    let (train, test) = digits(60, 20);
    let model = trained(&train, 1);
    let refused = |plan: TheftPlan| steal(&model, &train, &test, &plan, &mut |_, _| {}).err().unwrap();
    assert!(matches!(refused(TheftPlan { levels: vec![], ..TheftPlan::default() }), AttackError::Plan { .. }));
    let small = TheftPlan { budget: Some(BUDGET_MIN - 1), ..TheftPlan::default() };
    assert_eq!(refused(small).to_string(), "`budget` is 159, it must be 160 to 1048576");
    assert!(matches!(refused(TheftPlan { fidelities: vec![1.5], ..TheftPlan::default() }), AttackError::Plan { .. }));
    let other = flattened(&test);
    assert!(matches!(
        steal(&model, &train, &other, &TheftPlan::default(), &mut |_, _| {}),
        Err(AttackError::Shape { .. })
    ));
    let silent = Callback::new("silent", vec![None, Some(4)], Digest::of(b""), |x: &Tensor<f32>| {
        Ok(Tensor { shape: vec![x.shape[0], 2], data: vec![f32::NAN; 2 * x.shape[0]] })
    });
    let refused = hidden_width(&silent, &natural(1, 5, 4), 100, 1).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "`silent` gave no answer: an answer is not a number, so nothing can be learned from it"
    );
    for name in ["full", "rounded-3", "top-2", "label"] {
        assert_eq!(OutputLevel::named(name).unwrap().to_string(), name);
    }
    assert!(OutputLevel::named("rounded-0").is_err() && OutputLevel::named("top-0").is_err());
}
