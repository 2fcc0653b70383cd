//! A model whose scores another engine computes, for as long as it agrees with ours.
//!
//! The other engine may be quicker; it is not believed. It starts with answers that are held against the reference mode, later every
//! [`CHECKED_EVERY`]th answer is computed again here, and whether an input fools is decided by the model itself
//! ([`Predict::judge`]). Slopes and weights are the model's own.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use ringfence_nn::{Model, OutputKind, Tensor};
use ringfence_schema::Digest;

use crate::{
    error::AttackError,
    examples::Examples,
    source::{Gradient, Predict, Scores},
};

/// A model, and a quicker way to its scores.
pub struct Accelerated<'c> {
    model: Model,
    scores: Box<Scores<'c>>,
    /// Rows asked for so far.
    asked: AtomicUsize,
}

impl fmt::Debug for Accelerated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accelerated").field("model", &self.model.input().0).finish_non_exhaustive()
    }
}

impl<'c> Accelerated<'c> {
    /// A model whose scores `scores` computes, which is tried on some of `examples`.
    ///
    /// # Errors
    /// [`AttackError::Source`] where an answer is further than [`SPREAD_MAX`] from the model's own in the reference mode; what the
    /// model or `scores` refuses.
    pub fn new(
        model: Model,
        examples: &Examples,
        scores: impl Fn(&Tensor<f32>) -> Result<Tensor<f32>, String> + Sync + 'c,
    ) -> Result<Self, AttackError> {
        let one = Self { model, scores: Box::new(scores), asked: AtomicUsize::new(0) };
        let fixed = one.model.input().1.first().copied().flatten().unwrap_or(1);
        let rows = TRIED.next_multiple_of(fixed.max(1));
        // Where there are fewer, they come again.
        let data: Vec<f32> = (0..rows).flat_map(|row| examples.row(row % examples.count().max(1))).copied().collect();
        let x = Tensor { shape: examples.shape_of(rows), data };
        let found = one.told(&x)?;
        one.agree(&found.cast(), &one.model.forward(&x.cast::<f64>())?)?;
        Ok(one)
    }

    fn told(&self, x: &Tensor<f32>) -> Result<Tensor<f32>, AttackError> {
        (self.scores)(x).map_err(|problem| self.failed(problem))
    }

    fn failed(&self, problem: String) -> AttackError {
        AttackError::Source { model: self.name().to_owned(), problem }
    }

    fn agree(&self, found: &Tensor<f64>, own: &Tensor<f64>) -> Result<(), AttackError> {
        let size = own.data.iter().fold(f64::MIN_POSITIVE, |size, score| size.max(score.abs()));
        // What is no number has to be none on both sides.
        let differs = |(a, b): (&f64, &f64)| (a - b).abs() / size > SPREAD_MAX || a.is_nan() != b.is_nan();
        if found.shape == own.shape && !found.data.iter().zip(&own.data).any(differs) {
            return Ok(());
        }
        let apart = found.data.iter().zip(&own.data).map(|(a, b)| (a - b).abs() / size).fold(0.0, f64::max);
        Err(self.failed(format!(
            "the engine that computes its scores answers something else than the reference (shape {:?} for {:?}, apart by {apart:.1e} of the largest score); leave it out",
            found.shape, own.shape
        )))
    }

    /// One of the inputs as a batch of its own, or as many times as the file wants.
    fn alone(&self, x: &Tensor<f32>, row: usize) -> Tensor<f32> {
        let times = self.model.input().1.first().copied().flatten().unwrap_or(1).max(1);
        let width = x.row_len();
        let mut data = Vec::with_capacity(times * width);
        for _ in 0..times {
            data.extend_from_slice(&x.data[row * width..(row + 1) * width]);
        }
        Tensor { shape: std::iter::once(times).chain(x.shape.iter().skip(1).copied()).collect(), data }
    }
}

impl Predict for Accelerated<'_> {
    fn name(&self) -> &str {
        Predict::name(&self.model)
    }

    fn shape(&self) -> &[Option<usize>] {
        self.model.shape()
    }

    fn digest(&self) -> Result<Digest, AttackError> {
        self.model.digest()
    }

    fn scores(&self, x: &Tensor<f32>) -> Result<Tensor<f32>, AttackError> {
        let found = self.told(x)?;
        let rows = x.shape.first().copied().unwrap_or(0);
        let width = found.row_len();
        if found.shape.first() != Some(&rows) || found.data.len() != rows * width {
            return Err(AttackError::Output { rows, found: found.shape });
        }
        let before = self.asked.fetch_add(rows, Ordering::Relaxed);
        let first = before.next_multiple_of(CHECKED_EVERY) - before;
        for row in (first..rows).step_by(CHECKED_EVERY) {
            let mut own = self.model.forward(&self.alone(x, row))?.cast();
            own.data.truncate(width);
            own.shape[0] = 1;
            let shape = std::iter::once(1).chain(found.shape.iter().skip(1).copied()).collect();
            let told = Tensor { shape, data: found.data[row * width..(row + 1) * width].to_vec() };
            self.agree(&told.cast(), &own)?;
        }
        Ok(found)
    }

    fn scores_wide(&self, x: &Tensor<f64>) -> Result<Tensor<f64>, AttackError> {
        self.model.scores_wide(x)
    }

    fn is_wide(&self) -> bool {
        true
    }

    fn scale(&self) -> OutputKind {
        self.model.scale()
    }

    fn gradient(&self) -> Option<&dyn Gradient> {
        Some(&self.model)
    }

    fn parameters(&self) -> Option<&Model> {
        Some(&self.model)
    }

    fn judge(&self) -> Option<&Model> {
        Some(&self.model)
    }
}

/// Examples that are tried first.
const TRIED: usize = 16;
/// One answer in so many is computed again.
const CHECKED_EVERY: usize = 64;
/// By how much two engines may differ, as a share of the largest score: sums in another order differ by far less.
const SPREAD_MAX: f64 = 1e-3;

#[cfg(test)]
mod tests {
    use ringfence_nn::builder::Builder;

    use super::*;

    fn examples() -> Examples {
        let data = (0..200 * 4).map(|value| f32::from(u8::try_from(value % 7).unwrap()) / 7.0).collect();
        Examples::new(Tensor { shape: vec![200, 4], data }, vec![0; 200]).unwrap()
    }

    fn model() -> Model {
        Model::parse(&Builder::new("net", 1).input("x", &[4]).linear(8).relu().linear(3).finish().unwrap()).unwrap()
    }

    #[test]
    fn an_engine_that_agrees_answers() {
        let own = model();
        let fast = Accelerated::new(model(), &examples(), |x| Ok(own.forward(x).unwrap())).unwrap();
        let x = examples().inputs().clone();
        assert_eq!(fast.scores(&x).unwrap(), own.forward(&x).unwrap());
    }

    #[test]
    fn one_that_is_off_is_refused_at_once() {
        let own = model();
        let off = |x: &Tensor<f32>| {
            let mut scores = own.forward(x).unwrap();
            scores.data[0] += 1.0;
            Ok(scores)
        };
        let refused = Accelerated::new(model(), &examples(), off).unwrap_err().to_string();
        assert!(refused.contains("something else than the reference"), "{refused}");
    }

    #[test]
    fn one_that_turns_is_found_out() {
        let own = model();
        let calls = AtomicUsize::new(0);
        let turning = |x: &Tensor<f32>| {
            let mut scores = own.forward(x).unwrap();
            if calls.fetch_add(1, Ordering::Relaxed) > 0 {
                scores.data.iter_mut().for_each(|score| *score = -*score);
            }
            Ok(scores)
        };
        let fast = Accelerated::new(model(), &examples(), turning).unwrap();
        assert!(matches!(fast.scores(examples().inputs()), Err(AttackError::Source { .. })));
    }
}
