//! Networks of one hidden layer to steal from, what a thief asks them, and how far off a stolen one is.

use ringfence_attack::{Examples, TwoLayer};
use ringfence_nn::{Model, Tensor, builder::Builder, random::Random};

/// Rows of values in 0..1, without labels of any meaning.
pub(crate) fn natural(seed: u64, rows: usize, width: usize) -> Examples {
    let mut random = Random::new(seed);
    let x = Tensor { shape: vec![rows, width], data: (0..rows * width).map(|_| random.uniform_in(0.0, 1.0)).collect() };
    Examples::new(x, vec![0; rows]).unwrap()
}

/// `model` with random biases, which fresh models do not have.
pub(crate) fn biased(file: &[u8], seed: u64) -> Model {
    let mut model = Model::parse(file).unwrap();
    let mut random = Random::new(seed);
    for parameter in model.parameters_mut().filter(|parameter| parameter.shape.len() == 1) {
        parameter.data.iter_mut().for_each(|value| *value = random.uniform_in(-0.5, 0.5));
    }
    model
}

/// How weights are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drawn {
    /// He's normal weights, and biases in ±0.5.
    He,
    /// Weights and biases alike in ±1/√inputs, torch's default.
    Torch,
    /// Standard normal throughout.
    Normal,
}

/// What a network answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Told {
    /// The scores of its last layer.
    Scores,
    /// A sigmoid of its only score, or the softmax of several.
    Probabilities,
}

#[expect(clippy::cast_possible_truncation, reason = "weights are single")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// A network of one hidden layer with such weights.
pub(crate) fn network(drawn: Drawn, [width, hidden, outputs]: [usize; 3], told: Told, seed: u64) -> Model {
    let scores = Builder::new("net", seed).input("x", &[width]).linear(hidden).relu().linear(outputs);
    let file = match (told, outputs) {
        (Told::Scores, _) => scores,
        (Told::Probabilities, 1) => scores.activation("Sigmoid"),
        (Told::Probabilities, _) => scores.softmax(),
    };
    let mut model = biased(&file.finish().unwrap(), seed);
    let mut random = Random::new(seed + 1_000);
    for (place, parameter) in model.parameters_mut().enumerate() {
        let bound = 1.0 / (if place < 2 { width as f32 } else { hidden as f32 }).sqrt();
        match drawn {
            Drawn::He => {}
            Drawn::Torch => parameter.data.fill_with(|| random.uniform_in(-bound, bound)),
            Drawn::Normal => parameter.data.fill_with(|| narrow(random.normal())),
        }
    }
    model
}

/// The largest difference of any weight, after scaling each hidden unit to length 1 and pairing the units. Where a softmax hides what all
/// scores have in common, that is left out.
pub(crate) fn weight_error(victim: &Model, found: &TwoLayer, [width, hidden, outputs]: [usize; 3], told: Told) -> f64 {
    let mut parameters: Vec<Vec<f64>> =
        victim.parameters().map(|parameter| parameter.data.iter().copied().map(f64::from).collect()).collect();
    if told == Told::Probabilities && outputs > 1 {
        for (place, of) in [(2, hidden), (3, 1)] {
            for unit in 0..of {
                let mean =
                    (0..outputs).map(|output| parameters[place][output * of + unit]).sum::<f64>() / outputs as f64;
                (0..outputs).for_each(|output| parameters[place][output * of + unit] -= mean);
            }
        }
    }
    assert_eq!(found.hidden.len(), hidden);
    let mut error = 0.0_f64;
    let mut used = vec![false; hidden];
    for unit in 0..hidden {
        let row = &parameters[0][unit * width..(unit + 1) * width];
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        let off = |place: usize| -> f64 {
            found.hidden[place].iter().zip(row).map(|(found, value)| (found - value / length).abs()).fold(0.0, f64::max)
        };
        let place = (0..hidden).min_by(|a, b| off(*a).total_cmp(&off(*b))).unwrap();
        assert!(!std::mem::replace(&mut used[place], true), "two units are like one");
        error = error.max(off(place)).max((found.hidden_bias[place] - parameters[1][unit] / length).abs());
        for output in 0..outputs {
            error = error.max((found.output[output][place] - parameters[2][output * hidden + unit] * length).abs());
        }
    }
    (0..outputs).fold(error, |error, output| error.max((found.output_bias[output] - parameters[3][output]).abs()))
}
