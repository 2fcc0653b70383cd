//! A small network that imitates what is attacked, trained on nothing but its answers: what an attacker without any access to the
//! model's inside has.

use ringfence_nn::{Model, NnError, Tensor, Want, builder::Builder, optim::Adam};

use crate::{error::AttackError, examples::Examples, oracle::Oracle, random::stream};

/// Trains a surrogate on the examples, their blends and the labels that `oracle` gives to them.
///
/// Two convolutions where inputs look like pictures, one hidden layer otherwise.
pub(crate) fn surrogate(oracle: &Oracle<'_>, examples: &Examples, seed: u64) -> Result<Model, AttackError> {
    let most = (VALUES_MAX / examples.width()).clamp(EXAMPLES_MIN, EXAMPLES_MAX);
    let places: Vec<usize> = (0..examples.count().min(most)).collect();
    let chosen = examples.pick(&places);
    let mut random = stream(seed, &[SURROGATE_STREAM]);
    let width = chosen.width();
    // Blends of two examples show where the boundaries lie between them.
    let mut data = chosen.inputs().data.clone();
    for _ in 0..chosen.count() / 2 {
        let (a, b) = (random.below(chosen.count()), random.below(chosen.count()));
        let share = random.uniform_in(0.2, 0.8);
        data.extend(chosen.row(a).iter().zip(chosen.row(b)).map(|(a, b)| a * share + b * (1.0 - share)));
    }
    let labels = oracle.predict(&data)?.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>();
    let mut model = Model::parse(&network(oracle.shape(), oracle.classes(), seed)?)?;
    let mut adam = Adam::new(RATE);
    for _ in 0..EPOCHS {
        for places in random.permutation(labels.len()).chunks(BATCH) {
            let x = places.iter().flat_map(|place| &data[place * width..(place + 1) * width]).copied().collect();
            let shape = chosen.shape_of(places.len());
            let y: Vec<usize> = places.iter().map(|place| labels[*place]).collect();
            let found = model.gradients(&Tensor { shape, data: x }, &y, Want::Parameters)?;
            adam.step(&mut model, &found.parameters.unwrap_or_default())?;
        }
    }
    Ok(model)
}

/// The file of a fresh network for examples of this shape.
pub(crate) fn network(shape: &[usize], classes: usize, seed: u64) -> Result<Vec<u8>, NnError> {
    let input = Builder::new("surrogate", seed).input("input", shape);
    let flat = match shape {
        [_, height, width] if *height >= 4 && *width >= 4 => {
            // Large pictures are looked at through larger windows, so that what follows stays small.
            let side = (height.min(width) / SIDE).max(2);
            let first = input.conv(16, [side + 2, side + 2], [side, side], [1, 1]).relu();
            first.conv(32, [3, 3], [2, 2], [1, 1]).relu().flatten()
        }
        [_] => input,
        _ => input.flatten(),
    };
    flat.linear(HIDDEN).relu().linear(classes).finish()
}

/// Examples whose answers are asked for, blends aside: at most, at least, and by the values that they have together.
const EXAMPLES_MAX: usize = 1_000;
const EXAMPLES_MIN: usize = 50;
const VALUES_MAX: usize = 4_000_000;
/// Places along a side after the first layer, about.
const SIDE: usize = 14;
const HIDDEN: usize = 64;
const EPOCHS: usize = 12;
const BATCH: usize = 32;
const RATE: f32 = 0.003;
const SURROGATE_STREAM: u64 = 16;
