//! What other records say of one: a second opinion on its class, and how new it is.
//!
//! Two Gaussian processes over the same records (Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning",
//! algorithm 2.1), fitted to what the model answered:
//! * one with a Gaussian kernel, whose mean is a classifier of another make than the model. A change made against the model
//!   seldom turns both;
//! * one with a linear kernel, whose variance is the squared distance from the records in units of their own spread in each
//!   direction (Mahalanobis', with a ridge), so that what never varies among them weighs most. It follows the data's dimension.
//!
//! A record that was fitted to is told of by all the others (leave-one-out, equations 5.12), so that it compares with one
//! that was not.

use rayon::prelude::*;
use ringfence_nn::random::Random;

use crate::{algebra::Cholesky, ball::narrow, examples::Examples, random::stream};

/// What is said of one record. Larger is stranger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Word {
    /// By how much another class is preferred to the model's answer; below 0 where both agree.
    pub(super) opinion: f64,
    /// Logarithm of the variance.
    pub(super) novelty: f64,
}

/// The records that are asked.
pub(super) struct Kin {
    /// Their places among those that were fitted, rising.
    members: Vec<usize>,
    /// What the others say of each.
    own: Vec<Word>,
    /// Their values less `mean`, one after another.
    points: Vec<f32>,
    mean: Vec<f32>,
    /// Squared length of each.
    lengths: Vec<f64>,
    /// Median squared distance, and mean squared length.
    spread: [f64; 2],
    /// For each class the weight of each member.
    weights: Vec<Vec<f64>>,
    linear: Cholesky,
}

impl Kin {
    /// Fits at most [`MEMBERS_MAX`] of the records at `places` (rising), drawn by `seed`, to the `answers` that a model of `classes`
    /// classes gave.
    pub(super) fn of(records: &Examples, places: &[usize], answers: &[usize], classes: usize, seed: u64) -> Self {
        let members = drawn(places, MEMBERS_MAX, seed);
        let (width, count) = (records.width(), members.len());
        let mut sum = vec![0.0; width];
        for member in &members {
            for (sum, value) in sum.iter_mut().zip(records.row(*member)) {
                *sum += f64::from(*value) / count as f64;
            }
        }
        let mean: Vec<f32> = sum.into_iter().map(narrow).collect();
        let points: Vec<f32> = members.iter().flat_map(|member| less(records.row(*member), &mean)).collect();
        let rows: Vec<&[f32]> = points.chunks_exact(width).collect();
        let products: Vec<Vec<f64>> = rows
            .par_iter()
            .enumerate()
            .map(|(place, row)| rows[..=place].iter().map(|other| product(row, other)).collect())
            .collect();
        let lengths: Vec<f64> = products.iter().filter_map(|row| row.last()).copied().collect();
        let apart = |row: usize, other: usize| lengths[row] + lengths[other] - 2.0 * products[row][other];
        let pairs: Vec<f64> =
            (1..count).flat_map(|row| (0..row).map(move |other| (row, other))).map(|(a, b)| apart(a, b)).collect();
        let spread =
            [super::quantile(&pairs, 0.5).max(LEAST), (lengths.iter().sum::<f64>() / count.max(1) as f64).max(LEAST)];
        let kernel = |ridge: f64, value: &(dyn Fn(usize, usize) -> f64 + Sync)| {
            let row = |row: usize| {
                (0..=row).map(|other| value(row, other) + if row == other { ridge } else { 0.0 }).collect()
            };
            Cholesky::new((0..count).into_par_iter().map(row).collect())
        };
        let near = kernel(NEAR_RIDGE, &|row, other| (-apart(row, other) / spread[0]).exp());
        let linear = kernel(LINEAR_RIDGE, &|row, other| products[row][other] / spread[1]);
        let answers: Vec<usize> = members.iter().map(|member| answers[*member]).collect();
        let sign = |member: usize, class: usize| if answers[member] == class { 1.0 } else { -1.0 };
        let weights: Vec<Vec<f64>> = (0..classes)
            .into_par_iter()
            .map(|class| {
                let mut weights: Vec<f64> = (0..count).map(|member| sign(member, class)).collect();
                near.solve(&mut weights);
                weights
            })
            .collect();
        let own = near.inverse_diagonal().into_iter().zip(linear.inverse_diagonal()).enumerate();
        let own = own.map(|(member, (near, linear))| {
            let scores = (0..classes).map(|class| sign(member, class) - weights[class][member] / near);
            Word { opinion: opinion(scores, answers[member]), novelty: (1.0 / linear - LINEAR_RIDGE).max(LEAST).ln() }
        });
        Self { own: own.collect(), members, points, mean, lengths, spread, weights, linear }
    }

    /// What is said of each of the records that were fitted to, and of those left out of the draw.
    pub(super) fn of_own(&self, records: &Examples, answers: &[usize]) -> Vec<Word> {
        (0..records.count())
            .into_par_iter()
            .map(|row| match self.members.binary_search(&row) {
                Ok(member) => self.own[member],
                Err(_) => self.word(records.row(row), answers[row]),
            })
            .collect()
    }

    /// What is said of each of other records.
    pub(super) fn of_others(&self, records: &Examples, answers: &[usize]) -> Vec<Word> {
        (0..records.count()).into_par_iter().map(|row| self.word(records.row(row), answers[row])).collect()
    }

    fn word(&self, row: &[f32], answer: usize) -> Word {
        let point: Vec<f32> = less(row, &self.mean).collect();
        let length = product(&point, &point);
        let mut products: Vec<f64> =
            self.points.chunks_exact(point.len()).map(|member| product(&point, member)).collect();
        let near: Vec<f64> = products
            .iter()
            .zip(&self.lengths)
            .map(|(product, other)| (-(length + other - 2.0 * product) / self.spread[0]).exp())
            .collect();
        let scores = self.weights.iter().map(|weights| crate::algebra::dot(weights, &near));
        for product in &mut products {
            *product /= self.spread[1];
        }
        self.linear.forward(&mut products, 0);
        let variance = length / self.spread[1] - crate::algebra::dot(&products, &products);
        Word { opinion: opinion(scores, answer), novelty: variance.max(LEAST).ln() }
    }
}

/// At most `most` of `places`, rising.
pub(super) fn drawn(places: &[usize], most: usize, seed: u64) -> Vec<usize> {
    let mut members = places.to_vec();
    if members.len() > most {
        let mut random: Random = stream(seed, &[MEMBER_STREAM]);
        random.shuffle(&mut members);
        members.truncate(most);
        members.sort_unstable();
    }
    members
}

/// The best score of another class less that of `answer`; 0 where there is one class.
fn opinion(scores: impl Iterator<Item = f64>, answer: usize) -> f64 {
    let (mut other, mut own) = (f64::NEG_INFINITY, 0.0);
    for (class, score) in scores.enumerate() {
        if class == answer {
            own = score;
        } else {
            other = score.max(other);
        }
    }
    if other.is_finite() { other - own } else { 0.0 }
}

fn less<'a>(row: &'a [f32], mean: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    row.iter().zip(mean).map(|(value, mean)| value - mean)
}

/// The sum of the products.
fn product(a: &[f32], b: &[f32]) -> f64 {
    // Eight sums, so that additions need not wait for one another.
    let mut sums = [0.0_f32; 8];
    let (mut left, mut right) = (a.chunks_exact(8), b.chunks_exact(8));
    for (x, y) in left.by_ref().zip(right.by_ref()) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + f64::from(rest)
}

/// Records that are asked: time and memory grow with the cube and the square of them.
const MEMBERS_MAX: usize = 1_500;
/// Noise of the second opinion, as a share of the kernel's greatest value.
const NEAR_RIDGE: f64 = 0.02;
/// Least variance that counts in a direction, times the records, as a share of their mean squared length.
const LINEAR_RIDGE: f64 = 0.001;
const LEAST: f64 = 1e-12;
const MEMBER_STREAM: u64 = 41;
