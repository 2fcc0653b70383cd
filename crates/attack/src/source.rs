//! What can be attacked: one family of capabilities behind which every attack works.
//!
//! Whatever answers scores is a [`Predict`]; one that can also be differentiated hands out a [`Gradient`], one whose weights lie
//! open a [`Model`]. An attack names the [`Capability`] that it needs; a pairing that cannot work is refused with the
//! reason ([`AttackError::Capability`]), never tried with something weaker.
//!
//! * [`Model`], the ONNX runtime's, has all three.
//! * [`Callback`] wraps functions of another program: scores, and, where it has them, vector-Jacobian products.
//! * [`Accelerated`](crate::Accelerated) is a model whose scores another engine computes.
//! * [`Endpoint`](crate::Endpoint) wraps questions that cost something and may be used up.
//!
//! A source may fail: an endpoint that is slow, limited or gone answers with [`AttackError::Source`], which ends the attack
//! and is never read as an answer. How often it was asked is counted where it is asked, not by the source.

use std::fmt;

use ringfence_nn::{Model, NnError, OutputKind, Seed, Tensor, Want};
use ringfence_schema::Digest;

use crate::error::AttackError;

/// What an attack needs of the model that it attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// The class of given inputs.
    Labels,
    /// Scores of given inputs.
    Predict,
    /// Slopes of a loss with respect to the input.
    Gradient,
    /// The weights themselves.
    Parameters,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Labels => "labels",
            Self::Predict => "scores",
            Self::Gradient => "input gradients",
            Self::Parameters => "weights",
        })
    }
}

/// A classifier that answers one row of scores for each input.
pub trait Predict: Sync {
    /// What it is, for messages: such as "the model `image`".
    fn name(&self) -> &str;

    /// Dimensions of the input, the batch first; `None` is any.
    fn shape(&self) -> &[Option<usize>];

    /// SHA-256 of what is attacked, for the report.
    fn digest(&self) -> Result<Digest, AttackError>;

    /// Scores `[rows, classes]` of inputs `[rows, …]`.
    fn scores(&self, x: &Tensor<f32>) -> Result<Tensor<f32>, AttackError>;

    /// The same in f64, as precise as the source is: the scores rounded to f32 unless it says otherwise.
    fn scores_wide(&self, x: &Tensor<f64>) -> Result<Tensor<f64>, AttackError> {
        Ok(self.scores(&x.cast())?.cast())
    }

    /// Whether [`Predict::scores_wide`] computes in f64.
    fn is_wide(&self) -> bool {
        false
    }

    /// What the scores are.
    fn scale(&self) -> OutputKind {
        OutputKind::Logits
    }

    /// The slopes, where it has them.
    fn gradient(&self) -> Option<&dyn Gradient> {
        None
    }

    /// The weights, where they lie open.
    fn parameters(&self) -> Option<&Model> {
        None
    }

    /// The model that decides what an input is taken for, where [`Predict::scores`] come from another engine that is quicker.
    fn judge(&self) -> Option<&Model> {
        None
    }

    /// The most that this source is good for.
    fn capability(&self) -> Capability {
        match (self.parameters(), self.gradient()) {
            (Some(_), _) => Capability::Parameters,
            (None, Some(_)) => Capability::Gradient,
            (None, None) => Capability::Predict,
        }
    }
}

/// A classifier that can be differentiated with respect to its input.
pub trait Gradient: Sync {
    /// For each row of `x` the value and the slope of a loss of its unbounded scores; `loss` gets the row, its scores and the
    /// place for the loss's own gradient with respect to them.
    fn pullback(&self, x: &Tensor<f32>, loss: &Seed<'_, f32>) -> Result<Slopes, AttackError>;

    /// The same for the cross-entropy of `labels`, one for each row, each below the number of classes.
    fn cross_entropy(&self, x: &Tensor<f32>, labels: &[usize]) -> Result<Slopes, AttackError> {
        self.pullback(x, &|row, scores, seed| {
            crate::loss::cross_entropy(scores, labels.get(row).copied().unwrap_or_default(), seed)
        })
    }
}

/// What a backward pass answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Slopes {
    /// The loss of each row.
    pub loss: Vec<f32>,
    /// Scores, `[rows, classes]`, unbounded.
    pub scores: Tensor<f32>,
    /// Gradient of each row's own loss with respect to it; the input's shape.
    pub input: Tensor<f32>,
}

impl Predict for Model {
    fn name(&self) -> &str {
        self.input().0
    }

    fn shape(&self) -> &[Option<usize>] {
        self.input().1
    }

    fn digest(&self) -> Result<Digest, AttackError> {
        Ok(Digest::of(&self.to_onnx()?))
    }

    fn scores(&self, x: &Tensor<f32>) -> Result<Tensor<f32>, AttackError> {
        Ok(self.forward(x)?)
    }

    fn scores_wide(&self, x: &Tensor<f64>) -> Result<Tensor<f64>, AttackError> {
        Ok(self.forward(x)?)
    }

    fn is_wide(&self) -> bool {
        true
    }

    fn scale(&self) -> OutputKind {
        self.output_kind()
    }

    fn gradient(&self) -> Option<&dyn Gradient> {
        Some(self)
    }

    fn parameters(&self) -> Option<&Model> {
        Some(self)
    }
}

impl Gradient for Model {
    fn pullback(&self, x: &Tensor<f32>, loss: &Seed<'_, f32>) -> Result<Slopes, AttackError> {
        slopes(Model::pullback(self, x, Want::Input, loss)?)
    }

    fn cross_entropy(&self, x: &Tensor<f32>, labels: &[usize]) -> Result<Slopes, AttackError> {
        slopes(self.gradients(x, labels, Want::Input)?)
    }
}

fn slopes(found: ringfence_nn::Gradients<f32>) -> Result<Slopes, AttackError> {
    let input = found.input.ok_or(NnError::Loss { problem: "the runtime gave no input gradient" })?;
    Ok(Slopes { loss: found.loss_per_example, scores: found.logits, input })
}

/// Scores of a batch, or why there are none.
pub type Scores<'c> = dyn Fn(&Tensor<f32>) -> Result<Tensor<f32>, String> + Sync + 'c;
/// For inputs `[rows, …]` and weights `[rows, classes]` of their scores: the gradient of the weighted sum of each row's scores
/// with respect to the row, in the inputs' shape.
pub type VectorJacobian<'c> = dyn Fn(&Tensor<f32>, &Tensor<f32>) -> Result<Tensor<f32>, String> + Sync + 'c;

/// A classifier that lives in another program and is reached by calling it.
pub struct Callback<'c> {
    name: String,
    shape: Vec<Option<usize>>,
    digest: Digest,
    scores: Box<Scores<'c>>,
    slopes: Option<Box<VectorJacobian<'c>>>,
}

impl<'c> Callback<'c> {
    /// A source that answers unbounded scores (or log-probabilities) for inputs of this shape, the batch first. `digest` stands for it in the report.
    pub fn new(
        name: impl Into<String>,
        shape: Vec<Option<usize>>,
        digest: Digest,
        scores: impl Fn(&Tensor<f32>) -> Result<Tensor<f32>, String> + Sync + 'c,
    ) -> Self {
        Self { name: name.into(), shape, digest, scores: Box::new(scores), slopes: None }
    }

    /// The same with vector-Jacobian products.
    #[must_use]
    pub fn with_gradient(
        mut self,
        slopes: impl Fn(&Tensor<f32>, &Tensor<f32>) -> Result<Tensor<f32>, String> + Sync + 'c,
    ) -> Self {
        self.slopes = Some(Box::new(slopes));
        self
    }

    fn failed(&self, problem: String) -> AttackError {
        AttackError::Source { model: self.name.clone(), problem }
    }
}

impl fmt::Debug for Callback<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("name", &self.name).field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Predict for Callback<'_> {
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
        let scores = (self.scores)(x).map_err(|problem| self.failed(problem))?;
        let whole = scores.shape.iter().product::<usize>() == scores.data.len();
        let rows = x.shape.first().copied().unwrap_or(0);
        if whole { Ok(scores) } else { Err(AttackError::Output { rows, found: scores.shape }) }
    }

    fn gradient(&self) -> Option<&dyn Gradient> {
        self.slopes.is_some().then_some(self)
    }
}

impl Gradient for Callback<'_> {
    fn pullback(&self, x: &Tensor<f32>, loss: &Seed<'_, f32>) -> Result<Slopes, AttackError> {
        let Some(slopes) = &self.slopes else {
            return Err(self.failed("it has no gradients".into()));
        };
        let scores = self.scores(x)?;
        let [rows, classes] = scores.shape[..] else {
            return Err(AttackError::Output { rows: x.shape.first().copied().unwrap_or(0), found: scores.shape });
        };
        let mut seeds = Tensor { shape: vec![rows, classes], data: vec![0.0; scores.data.len()] };
        let parts = scores.data.chunks(classes.max(1)).zip(seeds.data.chunks_mut(classes.max(1)));
        let values = parts.enumerate().map(|(row, (scores, seed))| loss(row, scores, seed)).collect();
        let input = slopes(x, &seeds).map_err(|problem| self.failed(problem))?;
        if input.shape != x.shape || input.data.len() != x.data.len() {
            return Err(self.failed(format!("its gradient has shape {:?}, the inputs {:?}", input.shape, x.shape)));
        }
        Ok(Slopes { loss: values, scores, input })
    }
}
