//! The gradient itself, for those who want to check it elsewhere.

use ringfence_nn::Tensor;

use crate::{error::AttackError, examples::Examples, loss::Loss, oracle::Oracle, source::Predict};

/// The slope of the mean loss over some examples.
#[derive(Debug, Clone)]
pub struct InputGradient {
    /// Gradient of `loss` with respect to the inputs, in their shape.
    pub gx: Tensor<f32>,
    /// Mean cross-entropy over the examples, in nats.
    pub loss: f64,
}

/// The gradient of the mean cross-entropy with respect to the input. The output is read as scores, log-probabilities or
/// probabilities as the graph's last operator says.
pub fn gradient(model: &dyn Predict, examples: &Examples) -> Result<InputGradient, AttackError> {
    let oracle = Oracle::new(model, examples)?;
    let slope = oracle.slope(&examples.inputs().data, examples.labels(), Loss::CrossEntropy)?;
    let count = examples.count() as f32;
    let data = slope.gradient.into_iter().map(|value| value / count).collect();
    let total: f64 = slope.loss.iter().map(|loss| f64::from(*loss)).sum();
    Ok(InputGradient {
        gx: Tensor { shape: examples.inputs().shape.clone(), data },
        loss: total / examples.count() as f64,
    })
}

/// Predicted class of each example; `None` where the model's answer is not a number.
pub fn predict(model: &dyn Predict, examples: &Examples) -> Result<Vec<Option<usize>>, AttackError> {
    Oracle::new(model, examples)?.predict(&examples.inputs().data)
}

/// Share of the examples that `model` gets right, 0..1.
pub fn accuracy(model: &dyn Predict, examples: &Examples) -> Result<f64, AttackError> {
    let predicted = predict(model, examples)?;
    let right = predicted.iter().zip(examples.labels()).filter(|(found, label)| **found == Some(**label)).count();
    Ok(right as f64 / examples.count() as f64)
}
