//! Random shifts of images, so that a network does not learn where exactly things stand.

use ringfence_nn::random::Random;

use crate::{error::AttackError, examples::Examples};

/// Shifts images of shape `[examples, channels, height, width]`; what comes in from outside is 0.
pub(crate) struct Shift {
    height: usize,
    width: usize,
    most: usize,
}

impl Shift {
    /// Shifts of at most `most` pixels, which must be less than the picture's sides.
    pub(crate) fn new(examples: &Examples, most: usize) -> Result<Self, AttackError> {
        match examples.inputs().shape[..] {
            [_, _, height, width] if most < height.min(width) => Ok(Self { height, width, most }),
            _ => Err(AttackError::plan(
                "shift",
                most.to_string(),
                "0, or less than the sides of pictures [channels, height, width]",
            )),
        }
    }

    /// Shifts each example by its own random numbers.
    pub(crate) fn apply(&self, examples: &Examples, random: impl Fn(usize) -> Random) -> Result<Examples, AttackError> {
        let plane = self.height * self.width;
        let mut data = vec![0.0; examples.inputs().data.len()];
        for (row, to) in data.chunks_exact_mut(examples.width()).enumerate() {
            let mut random = random(row);
            let (down, right) = (random.below(2 * self.most + 1), random.below(2 * self.most + 1));
            for (to, from) in to.chunks_exact_mut(plane).zip(examples.row(row).chunks_exact(plane)) {
                self.shift(from, to, down, right);
            }
        }
        examples.with_inputs(data)
    }

    /// Copies `from` to `to`, moved by `down - most` and `right - most`.
    fn shift(&self, from: &[f32], to: &mut [f32], down: usize, right: usize) {
        for y in 0..self.height {
            for x in 0..self.width {
                let source = (y + self.most).checked_sub(down).zip((x + self.most).checked_sub(right));
                if let Some((sy, sx)) = source.filter(|(sy, sx)| *sy < self.height && *sx < self.width) {
                    to[y * self.width + x] = from[sy * self.width + sx];
                }
            }
        }
    }
}
