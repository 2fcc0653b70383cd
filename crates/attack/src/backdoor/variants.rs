//! What a network that unlearns a backdoor is shown: found triggers, stronger and elsewhere, and stamps that nobody planted.
//!
//! A trigger that was found is the smallest that works; the planted one is larger, and may have parts that the search did not need.
//! So found ones are made stronger and moved about. What no search describes, a warp above all, is met by random changes that leave
//! a label as it is (Borgnia et al. 2021, "Strong data augmentation sanitizes poisoning and backdoor attacks").

use ringfence_nn::random::Random;

use super::trigger::{Trigger, TriggerKind};
use crate::ball::{Range, narrow};

/// Changes inputs of one shape.
pub(crate) struct Stamper<'s> {
    /// Shape of one input; `[channels, height, width]` for pictures.
    pub(crate) shape: &'s [usize],
    pub(crate) range: Range,
}

impl Stamper<'_> {
    /// Puts `trigger` on an input, as it is, stronger, or (pictures) elsewhere.
    pub(crate) fn trigger(&self, input: &mut [f32], trigger: &Trigger, random: &mut Random) {
        let mut trigger = trigger.clone();
        match trigger.kind {
            TriggerKind::Patch => {
                let stronger = random.uniform_in(1.0, STRONGER);
                trigger.mask.iter_mut().for_each(|share| *share = (*share * stronger).min(1.0));
            }
            TriggerKind::Blend => {
                let stronger = random.uniform_in(0.5, STRONGER);
                trigger.pattern.iter_mut().for_each(|value| *value *= stronger);
            }
        }
        if let [_, height, width] = *self.shape
            && random.uniform() < MOVED
        {
            let (down, right) = (random.below(height), random.below(width));
            trigger.mask = rolled(&trigger.mask, height, width, down, right);
            trigger.pattern = rolled(&trigger.pattern, height, width, down, right);
        }
        trigger.apply(input, self.range);
    }

    /// A random change: a block, scattered values, noise over everything, or a bend.
    pub(crate) fn any(&self, input: &mut [f32], random: &mut Random) {
        match random.below(4) {
            0 => self.block(input, random),
            1 => self.scattered(input, random),
            2 => self.noise(input, random),
            _ => bent(input, self.shape, random),
        }
    }

    fn value(&self, random: &mut Random) -> f32 {
        match random.below(3) {
            0 => self.range.low(),
            1 => self.range.high(),
            _ => random.uniform_in(self.range.low(), self.range.high()),
        }
    }

    /// A block of one value or of random ones; scattered values where the input is no picture.
    fn block(&self, input: &mut [f32], random: &mut Random) {
        let [_, height, width] = *self.shape else { return self.scattered(input, random) };
        let side = |length: usize, random: &mut Random| 1 + random.below((length / 4).max(1));
        let (tall, wide) = (side(height, random), side(width, random));
        let (top, left) = (random.below(height - tall + 1), random.below(width - wide + 1));
        let even = (random.uniform() < 0.5).then(|| self.value(random));
        for (place, value) in input.iter_mut().enumerate() {
            let (row, column) = (place / width % height, place % width);
            if (top..top + tall).contains(&row) && (left..left + wide).contains(&column) {
                *value = even.unwrap_or_else(|| self.value(random));
            }
        }
    }

    fn scattered(&self, input: &mut [f32], random: &mut Random) {
        for _ in 0..=random.below((input.len() / 16).max(1)) {
            let (place, new) = (random.below(input.len()), self.value(random));
            if let Some(value) = input.get_mut(place) {
                *value = new;
            }
        }
    }

    fn noise(&self, input: &mut [f32], random: &mut Random) {
        let share = random.uniform_in(0.05, NOISE);
        for value in input {
            let noise = random.uniform_in(self.range.low(), self.range.high());
            *value += share * (noise - *value);
        }
    }
}

/// Moves the values of a picture by a smooth random field, a few hundredths of its size; what leaves it comes in on the other side or
/// is cut off. Other inputs stay.
fn bent(input: &mut [f32], shape: &[usize], random: &mut Random) {
    let [_, height, width] = *shape else { return };
    if height == 0 || width == 0 {
        return;
    }
    let far = (narrow(height.max(width) as f64) / 14.0).max(1.2);
    let (down, right) = (random.uniform_in(-far, far), random.uniform_in(-far, far));
    let field: [[f32; 2]; 4] =
        std::array::from_fn(|_| [down, right].map(|all| all + random.uniform_in(-far, far) / 2.0));
    let around = random.uniform() < 0.5;
    let old = input.to_vec();
    for (place, value) in input.iter_mut().enumerate() {
        let (channel, row, column) = (place / (height * width), place / width % height, place % width);
        let (lower, righter) = (row as f32 / height as f32, column as f32 / width as f32);
        let moved = |axis: usize| {
            let [north_west, north_east, south_west, south_east] = field.map(|corner| corner[axis]);
            (north_west * (1.0 - righter) + north_east * righter) * (1.0 - lower)
                + (south_west * (1.0 - righter) + south_east * righter) * lower
        };
        let (y, x) = (row as f32 + moved(0), column as f32 + moved(1));
        let at = |y: f32, x: f32| {
            let (row, column) = (inside(y, height, around), inside(x, width, around));
            old.get(channel * height * width + row * width + column).copied().unwrap_or_default()
        };
        let (top, left) = (y.floor(), x.floor());
        let (low, side) = (y - top, x - left);
        *value = (at(top, left) * (1.0 - side) + at(top, left + 1.0) * side) * (1.0 - low)
            + (at(top + 1.0, left) * (1.0 - side) + at(top + 1.0, left + 1.0) * side) * low;
    }
}

/// A whole number as a place in `0..length`: around the edge, or held there.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "held within 0..length, which is a length of a picture"
)]
fn inside(place: f32, length: usize, around: bool) -> usize {
    let length = length as f32;
    let place = if around { place.rem_euclid(length) } else { place };
    place.clamp(0.0, length - 1.0) as usize
}

/// Every channel moved around its edges; what is no whole number of channels stays.
fn rolled(values: &[f32], height: usize, width: usize, down: usize, right: usize) -> Vec<f32> {
    let mut moved = values.to_vec();
    for (new, old) in moved.chunks_exact_mut(height * width).zip(values.chunks_exact(height * width)) {
        for (place, new) in new.iter_mut().enumerate() {
            let (row, column) = ((place / width + down) % height, (place % width + right) % width);
            *new = old[row * width + column];
        }
    }
    moved
}

/// How much stronger than found.
const STRONGER: f32 = 3.0;
/// Share of triggers that are moved.
const MOVED: f64 = 0.25;
/// Largest share of noise.
const NOISE: f32 = 0.35;

#[cfg(test)]
mod tests {
    use super::{Random, Range, Stamper, Trigger, TriggerKind, bent};

    #[test]
    fn changes_stay_in_range_and_change_something() {
        let (shape, range) = ([2, 8, 8], Range::default());
        let stamper = Stamper { shape: &shape, range };
        let mask = (0..128).map(|place| if place % 64 < 2 { 0.6 } else { 0.0 }).collect();
        let trigger = Trigger { target: 0, kind: TriggerKind::Patch, mask, pattern: vec![1.0; 128] };
        let mut random = Random::new(1);
        for _ in 0..200 {
            let clean: Vec<f32> = (0..128).map(|_| random.uniform_in(0.0, 1.0)).collect();
            let (mut any, mut stamped, mut flat) = (clean.clone(), clean.clone(), clean.clone());
            stamper.any(&mut any, &mut random);
            stamper.trigger(&mut stamped, &trigger, &mut random);
            for changed in [&any, &stamped] {
                assert!(changed.iter().all(|value| (0.0..=1.0).contains(value)) && *changed != clean);
            }
            bent(&mut flat, &[128], &mut random);
            assert_eq!(flat, clean);
        }
    }
}
