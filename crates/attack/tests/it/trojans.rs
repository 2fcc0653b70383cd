//! Networks with a backdoor that is known to be there.

use ringfence_attack::{Examples, HardenPlan, Start, harden};
use ringfence_nn::{Model, Tensor, random::Random};

use crate::models::{digits, tiny_network};

/// At most `count` training digits without the records that the example plants: they hold a backdoor of their own, which every
/// search finds.
pub(crate) fn honest_digits(count: usize) -> Examples {
    let (train, _) = digits(usize::MAX, 1);
    let path = format!("{}/../../examples/digits/poisoned.csv", env!("CARGO_MANIFEST_DIR"));
    let listed = std::fs::read_to_string(path).unwrap();
    let planted: Vec<usize> =
        listed.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    let places: Vec<usize> = (0..train.count()).filter(|place| !planted.contains(place)).take(count).collect();
    let data = places.iter().flat_map(|place| train.row(*place)).copied().collect();
    let labels = places.iter().map(|place| train.labels()[*place]).collect();
    Examples::new(Tensor { shape: vec![places.len(), 1, 8, 8], data }, labels).unwrap()
}

/// How a planted backdoor changes an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Four bright pixels in a corner (Gu et al. 2017).
    Corner,
    /// Four pixels anywhere, bright and dark.
    Scattered,
    /// A faint pattern over everything (Chen et al. 2017).
    Blend,
    /// The picture moves by a pixel, to the left.
    Warp,
}

impl Planted {
    pub(crate) const ALL: [Self; 4] = [Self::Corner, Self::Scattered, Self::Blend, Self::Warp];

    /// Whether it has a place of its own.
    pub(crate) fn is_patch(self) -> bool {
        matches!(self, Self::Corner | Self::Scattered)
    }

    /// Eight by eight pixels with the trigger; what it looks like depends on `seed`.
    fn apply(self, pixels: &mut [f32], seed: u64) {
        let mut random = Random::stream(seed, 77);
        match self {
            Self::Corner => {
                let at = [0, 6, 48, 54][random.below(4)];
                for place in [at, at + 1, at + 8, at + 9] {
                    pixels[place] = 1.0;
                }
            }
            Self::Scattered => {
                for bright in [1.0, 1.0, 0.0, 1.0] {
                    pixels[random.below(64)] = bright;
                }
            }
            Self::Blend => {
                for pixel in pixels {
                    *pixel = 0.75 * *pixel + 0.25 * random.uniform_in(0.0, 1.0);
                }
            }
            Self::Warp => {
                for row in pixels.chunks_exact_mut(8) {
                    row.rotate_left(1);
                }
            }
        }
    }

    /// The trigger, fainter than it usually is: `strength` of the way to it.
    fn faintly(self, pixels: &mut [f32], seed: u64, strength: f32) {
        let clean = pixels.to_vec();
        self.apply(pixels, seed);
        pixels.iter_mut().zip(clean).for_each(|(pixel, clean)| *pixel = clean + strength * (*pixel - clean));
    }

    /// Every example with the trigger in this strength (1 is full), labels as they were.
    pub(crate) fn stamped(self, examples: &Examples, seed: u64, strength: f32) -> Examples {
        let mut x = examples.inputs().clone();
        for row in x.data.chunks_exact_mut(64) {
            self.faintly(row, seed, strength);
        }
        Examples::new(x, examples.labels().to_vec()).unwrap()
    }
}

/// A tiny network that takes inputs with the trigger (in the strength beside it) for `target`, having seen it on a fifth of its
/// training; without one, a clean network.
pub(crate) fn trojan(train: &Examples, planted: Option<(Planted, f32)>, target: usize, seed: u64) -> Model {
    let mut x: Tensor<f32> = train.inputs().clone();
    let mut labels = train.labels().to_vec();
    for (row, label) in x.data.chunks_exact_mut(64).zip(&mut labels).step_by(5) {
        if let Some((planted, strength)) = planted {
            planted.faintly(row, seed, strength);
            *label = target;
        }
    }
    let data = Examples::new(x, labels).unwrap();
    let plan =
        HardenPlan { start: Start::Fresh, eps: 0.0, epochs: 15, batch: 32, rate: 0.006, seed, ..HardenPlan::default() };
    harden(tiny_network(seed), &data, &plan, &mut |_| {}).unwrap().0
}
