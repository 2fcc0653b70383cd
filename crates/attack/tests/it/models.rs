//! Models and data that the tests share.

use std::ops::Range;

use ringfence_attack::{DpPlan, Examples, Guarantee, HardenPlan, harden, train_private};
use ringfence_nn::{Model, Tensor, builder::Builder, random::Random};

/// Scores `weights · x + bias` of flat inputs; `weights` is `[classes, inputs]`.
pub(crate) fn linear(inputs: usize, classes: usize, weights: &[f32], bias: &[f32]) -> Model {
    let file = Builder::new("linear", 1).input("input", &[inputs]).linear(classes).finish().unwrap();
    let mut model = Model::parse(&file).unwrap();
    for (parameter, numbers) in model.parameters_mut().zip([weights, bias]) {
        parameter.data.copy_from_slice(numbers);
    }
    model
}

/// A small network for digits, with fresh weights.
pub(crate) fn tiny_network(seed: u64) -> Model {
    let file = Builder::new("tiny", seed)
        .input("input", &[1, 8, 8])
        .conv(8, [3, 3], [2, 2], [1, 1])
        .relu()
        .flatten()
        .linear(32)
        .relu()
        .linear(10)
        .finish()
        .unwrap();
    Model::parse(&file).unwrap()
}

/// `count` numbers in `low..high`.
pub(crate) fn numbers(seed: u64, count: usize, low: f32, high: f32) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.uniform_in(low, high)).collect()
}

/// The first rows of the example's training and test data, as inputs of shape `[rows, 1, 8, 8]` in `0..=1`.
pub(crate) fn digits(train: usize, test: usize) -> (Examples, Examples) {
    (read("train.csv", train), read("test.csv", test))
}

/// The same examples as rows of plain values.
pub(crate) fn flattened(examples: &Examples) -> Examples {
    let x = Tensor { shape: vec![examples.count(), examples.width()], data: examples.inputs().data.clone() };
    Examples::new(x, examples.labels().to_vec()).unwrap()
}

/// Some of the examples.
pub(crate) fn part(examples: &Examples, places: Range<usize>) -> Examples {
    let data = places.clone().flat_map(|place| examples.row(place)).copied().collect();
    let shape = std::iter::once(places.len()).chain(examples.inputs().shape[1..].iter().copied()).collect();
    Examples::new(Tensor { shape, data }, examples.labels()[places].to_vec()).unwrap()
}

/// Digits as rows of plain values, of which every third label is wrong, so that it can only be known by heart.
pub(crate) fn mislabelled(count: usize) -> Examples {
    let all = flattened(&digits(count, 1).0);
    let labels = all.labels().iter().enumerate();
    let labels = labels.map(|(row, label)| if row % 3 == 0 { (label + 1 + row % 9) % 10 } else { *label }).collect();
    Examples::new(all.inputs().clone(), labels).unwrap()
}

/// `model` after so much training on `examples` that it knows them, without a best epoch being chosen.
pub(crate) fn by_heart(model: &Model, examples: &Examples, epochs: u64) -> Model {
    let plan = DpPlan {
        epochs,
        batch: 32,
        noise: Some(0.0),
        clip: 1e6,
        guarantee: Guarantee::None,
        held_out: 0.01,
        ..DpPlan::default()
    };
    train_private(model.clone(), examples, &plan, &[1; 32], &mut |_| {}).unwrap().0
}

/// A tiny network after ordinary training.
pub(crate) fn trained(examples: &Examples, epochs: u64) -> Model {
    let plan = HardenPlan { eps: 0.0, epochs, batch: 32, rate: 0.006, ..HardenPlan::default() };
    harden(tiny_network(1), examples, &plan, &mut |_| {}).unwrap().0
}

fn read(file: &str, count: usize) -> Examples {
    let path = format!("{}/../../examples/digits/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let (mut data, mut labels) = (Vec::new(), Vec::new());
    for line in text.lines().skip(1).take(count) {
        let mut values: Vec<u8> = line.split(',').map(|value| value.parse().unwrap()).collect();
        labels.push(usize::from(values.pop().unwrap()));
        data.extend(values.into_iter().map(|value| f32::from(value) / 16.0));
    }
    Examples::new(Tensor { shape: vec![labels.len(), 1, 8, 8], data }, labels).unwrap()
}
