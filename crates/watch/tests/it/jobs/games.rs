//! Trainings without a dataset, real and small: a learner by reward, and two learners against each other. Their losses do not
//! fall: the one rises as rewards are found, the other two balance.

use crate::chance::Chance;

/// What a job trains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Task {
    /// Digits.
    Digits,
    /// A walk along a chain, with a reward at its far end.
    Chain,
    /// A generator against a discriminator.
    Duel,
}

/// Q-learning (Watkins and Dayan 1992) on a chain whose end pays: the squared error is nothing until it is found.
pub(super) struct Chain {
    values: Vec<[f64; 2]>,
    at: usize,
    taken: u64,
}

impl Default for Chain {
    fn default() -> Self {
        Self { values: vec![[0.0; 2]; 12], at: 0, taken: 0 }
    }
}

impl Chain {
    /// Moves along the chain; mean squared error of the values, and the norm of its gradient.
    pub(super) fn step(&mut self, moves: usize, rate: f64, chance: &mut Chance) -> (f64, f64) {
        let mut squares = 0.0;
        for _ in 0..moves {
            self.taken += 1;
            // The game gets harder with time: the end pays more, and curiosity fades.
            let pays = 1.0 + (self.taken as f64 / 20_000.0).min(4.0);
            let [left, right] = self.values[self.at];
            let curious = chance.happens(0.1 + 0.6 * (-(self.taken as f64) / 30_000.0).exp());
            let action = if curious || left == right { chance.below(2) } else { usize::from(right > left) };
            let next = if action == 1 { self.at + 1 } else { self.at.saturating_sub(1) };
            let ends = next == self.values.len();
            let reward = if ends { pays * chance.log_normal(0.3) } else { 0.02 * chance.normal() };
            let future = if ends { 0.0 } else { self.values[next].iter().copied().fold(f64::NEG_INFINITY, f64::max) };
            let error = reward + 0.97 * future - self.values[self.at][action];
            squares += error * error;
            self.values[self.at][action] += rate * error;
            self.at = if ends { 0 } else { next };
        }
        let loss = squares / moves as f64;
        (loss, 2.0 * loss.sqrt())
    }
}

/// A generator of one number against a discriminator of one weight and a bias (Goodfellow et al. 2014, algorithm 1).
#[derive(Default)]
pub(super) struct Duel {
    shift: f64,
    weight: f64,
    bias: f64,
    taken: u64,
}

impl Duel {
    /// One step of both; the discriminator's loss or the generator's, in turn, and the gradient's norm.
    pub(super) fn step(&mut self, batch: usize, rate: f64, chance: &mut Chance) -> (f64, f64) {
        let count = batch as f64;
        let (mut loss, mut to_weight, mut to_bias) = (0.0, 0.0, 0.0);
        let (mut other, mut to_shift) = (0.0, 0.0);
        for _ in 0..batch {
            let (real, made) = (2.0 + chance.normal(), self.shift + chance.normal());
            let of = |x: f64| 1.0 / (1.0 + (-(self.weight * x + self.bias)).exp());
            let (p, q) = (of(real).clamp(1e-6, 1.0 - 1e-6), of(made).clamp(1e-6, 1.0 - 1e-6));
            loss -= p.ln() + (1.0 - q).ln();
            to_weight += (p - 1.0) * real + q * made;
            to_bias += p - 1.0 + q;
            other -= q.ln();
            to_shift -= (1.0 - q) * self.weight;
        }
        self.weight -= rate * to_weight / count;
        self.bias -= rate * to_bias / count;
        self.shift -= rate * to_shift / count;
        self.taken += 1;
        let norm = (to_weight.powi(2) + to_bias.powi(2)).sqrt() / count;
        if self.taken.is_multiple_of(2) { (loss / count, norm) } else { (other / count, to_shift.abs() / count) }
    }
}
