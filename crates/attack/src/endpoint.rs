//! A model behind an interface that others run: questions cost something, may be used up, and may stay without an answer.
//!
//! How questions travel is another's business: [`Endpoint`] is given a function. It hands out scores or labels and nothing else, so
//! whatever needs slopes or weights is refused.

use std::fmt;

use ringfence_nn::{OutputKind, Tensor};
use ringfence_schema::Digest;

use crate::{
    error::AttackError,
    source::{Capability, Predict},
};

/// What an endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// A row of scores.
    Scores(OutputKind),
    /// The class alone, as a row that is 1 there and 0 elsewhere.
    Labels,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// The questions that were granted are used up.
    Spent {
        /// Inputs granted.
        budget: u64,
    },
    /// It could not be asked, or what it said is no answer.
    Failed {
        /// Why.
        problem: String,
    },
}

/// For inputs `[rows, …]` the answers `[rows, classes]`.
pub type Question<'c> = dyn Fn(&Tensor<f64>) -> Result<Tensor<f64>, Unanswered> + Sync + 'c;

/// A classifier that can only be asked.
pub struct Endpoint<'c> {
    name: String,
    shape: Vec<Option<usize>>,
    digest: Digest,
    answers: Answers,
    ask: Box<Question<'c>>,
}

impl<'c> Endpoint<'c> {
    /// An endpoint for inputs of this shape (the batch first), which `digest` stands for in the report.
    pub fn new(
        name: impl Into<String>,
        shape: Vec<Option<usize>>,
        digest: Digest,
        answers: Answers,
        ask: impl Fn(&Tensor<f64>) -> Result<Tensor<f64>, Unanswered> + Sync + 'c,
    ) -> Self {
        Self { name: name.into(), shape, digest, answers, ask: Box::new(ask) }
    }

    /// Asks the same question twice.
    ///
    /// # Errors
    /// [`AttackError::Source`] where the answers differ: what is computed from them would be a matter of luck. Else what asking
    /// brings.
    pub fn repeats_itself(&self, x: &Tensor<f64>) -> Result<(), AttackError> {
        let (first, second) = (self.scores_wide(x)?, self.scores_wide(x)?);
        let size = first.data.iter().fold(f64::MIN_POSITIVE, |size, score| size.max(score.abs()));
        let differs = |(a, b): (&f64, &f64)| (a - b).abs() / size > REPEAT_SPREAD_MAX;
        if first.shape == second.shape && !first.data.iter().zip(&second.data).any(differs) {
            return Ok(());
        }
        Err(AttackError::Source {
            model: self.name.clone(),
            problem: "it gives different answers to the same question, so nothing can be stated of it".into(),
        })
    }
}

impl fmt::Debug for Endpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("name", &self.name).field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Predict for Endpoint<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn shape(&self) -> &[Option<usize>] {
        &self.shape
    }

    fn digest(&self) -> Result<Digest, AttackError> {
        Ok(self.digest)
    }

    fn scores(&self, x: &Tensor<f32>) -> Result<Tensor<f32>, AttackError> {
        Ok(self.scores_wide(&x.cast())?.cast())
    }

    fn scores_wide(&self, x: &Tensor<f64>) -> Result<Tensor<f64>, AttackError> {
        (self.ask)(x).map_err(|error| match error {
            Unanswered::Spent { budget } => AttackError::Budget { budget },
            Unanswered::Failed { problem } => AttackError::Source { model: self.name.clone(), problem },
        })
    }

    fn scale(&self) -> OutputKind {
        match self.answers {
            Answers::Scores(kind) => kind,
            Answers::Labels => OutputKind::Logits,
        }
    }

    fn capability(&self) -> Capability {
        match self.answers {
            Answers::Scores(_) => Capability::Predict,
            Answers::Labels => Capability::Labels,
        }
    }
}

/// By how much two answers to one question may differ, as a share of the largest score.
pub(crate) const REPEAT_SPREAD_MAX: f64 = 1e-4;
