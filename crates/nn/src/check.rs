//! The runtime measured against itself: `f32` against the `f64` reference, gradients against differences.

use crate::error::NnError;
use crate::model::{Model, Want};
use crate::random::Random;
use crate::run::Weights;
use crate::tensor::Tensor;

/// How far the model's numbers are off on this machine; each error is max|Δ| / max|reference| over what was compared.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SelfCheck {
    /// Output in `f32` against `f64`.
    pub forward_error: f64,
    /// Input gradients in `f32` against central differences in `f64`.
    pub input_gradient_error: f64,
    /// The same for each parameter tensor; the worst of them.
    pub parameter_gradient_error: f64,
    /// Output of a batch against its examples one by one, in `f64`: above rounding, the model mixes examples, and
    /// cutting batches into chunks is wrong for it. 0 where the file fixes the batch.
    pub batch_error: f64,
    /// How many components and directions were compared.
    pub comparisons: usize,
}

/// Checks a model on random input of its declared shape, uniform in `[0, 1)`, with random labels.
///
/// Gradients are compared in random components, in the largest component, and along a random direction; for the input
/// and for each parameter tensor.
///
/// # Errors
/// As [`Model::gradients`]; an input with a free dimension beside the batch.
pub fn self_check(model: &Model, seed: u64) -> Result<SelfCheck, NnError> {
    let mut random = Random::new(seed);
    let (_, dims) = model.input();
    let rows = dims.first().copied().flatten().unwrap_or(BATCH);
    let mut shape = vec![rows];
    for dim in dims.iter().skip(1) {
        shape.push(
            dim.ok_or(NnError::Interface { problem: "has a free dimension beside the batch: nothing to check on" })?,
        );
    }
    let mut x: Tensor<f64> = Tensor::zeros(&shape)?;
    // Numbers that `f32` holds exactly, so that both precisions see the same input.
    x.data.iter_mut().for_each(|number| *number = f64::from(random.uniform_in(0.0, 1.0)));
    let weights = model.weights::<f64>();
    let reference = model.forward_with(&weights, &model.feeds(&x)?)?;
    let single = model.forward(&x.cast::<f32>())?.cast::<f64>();
    let forward_error = relative(single.data.iter().copied().zip(reference.data.iter().copied()));
    let batch_error = if dims.first().copied().flatten().is_some() { 0.0 } else { one_by_one(model, &x, &reference)? };

    let classes = reference.row_len();
    let labels: Vec<usize> = (0..rows).map(|_| random.below(classes)).collect();
    let analytic = model.gradients(&x.cast::<f32>(), &labels, Want::Both)?;
    let mut check = Check { model, labels: &labels, random, comparisons: 0 };
    let scale = 1.0 / rows as f64;
    let input: Vec<f64> = analytic.input.iter().flat_map(|t| &t.data).map(|g| f64::from(*g) * scale).collect();
    let input_gradient_error = check.compare(&input, INPUT_COMPONENTS, |moved| {
        let mut x = x.clone();
        x.data.iter_mut().zip(moved).for_each(|(x, by)| *x += by);
        (x, weights.clone())
    })?;
    let mut parameter_gradient_error = 0.0f64;
    let places = model.parameter_places();
    for (gradient, place) in analytic.parameters.iter().flatten().zip(places) {
        let gradient: Vec<f64> = gradient.data.iter().copied().map(f64::from).collect();
        let error = check.compare(&gradient, PARAMETER_COMPONENTS, |moved| {
            let mut weights: Weights<'_, f64> = weights.clone();
            if let Some(numbers) = weights.get_mut(place) {
                numbers.to_mut().iter_mut().zip(moved).for_each(|(number, by)| *number += by);
            }
            (x.clone(), weights)
        })?;
        parameter_gradient_error = parameter_gradient_error.max(error);
    }
    let comparisons = check.comparisons;
    Ok(SelfCheck { forward_error, input_gradient_error, parameter_gradient_error, batch_error, comparisons })
}

fn one_by_one(model: &Model, x: &Tensor<f64>, together: &Tensor<f64>) -> Result<f64, NnError> {
    let mut alone = Vec::with_capacity(together.data.len());
    for row in x.rows() {
        let mut shape = x.shape.clone();
        if let Some(batch) = shape.first_mut() {
            *batch = 1;
        }
        alone.extend(model.forward(&Tensor::new(shape, row.to_vec())?)?.data);
    }
    Ok(relative(alone.into_iter().zip(together.data.iter().copied())))
}

struct Check<'m> {
    model: &'m Model,
    labels: &'m [usize],
    random: Random,
    comparisons: usize,
}

impl Check<'_> {
    /// Compares a gradient of the mean loss with central differences. `moved` applies a displacement.
    fn compare<'w>(
        &mut self,
        gradient: &[f64],
        components: usize,
        moved: impl Fn(&mut dyn Iterator<Item = f64>) -> (Tensor<f64>, Weights<'w, f64>),
    ) -> Result<f64, NnError> {
        let count = gradient.len();
        if count == 0 {
            return Ok(0.0);
        }
        let largest = (0..count).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs())).unwrap_or(0);
        let mut places: Vec<usize> = (0..components.min(count)).map(|_| self.random.below(count)).collect();
        places.push(largest);
        let mut pairs = Vec::with_capacity(places.len() + 1);
        for place in places {
            let slope = self.slope(|step| moved(&mut (0..count).map(|at| if at == place { step } else { 0.0 })))?;
            pairs.push((gradient[place], slope));
        }
        let direction: Vec<f64> = (0..count).map(|_| self.random.normal()).collect();
        let length = direction.iter().map(|part| part * part).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        let along = gradient.iter().zip(&direction).map(|(g, d)| g * d / length).sum();
        let slope = self.slope(|step| moved(&mut direction.iter().map(|part| part * step / length)))?;
        pairs.push((along, slope));
        self.comparisons += pairs.len();
        Ok(relative(pairs.into_iter()))
    }

    /// The fourth-order central difference of the mean loss.
    fn slope<'w>(&self, moved: impl Fn(f64) -> (Tensor<f64>, Weights<'w, f64>)) -> Result<f64, NnError> {
        let loss = |step: f64| -> Result<f64, NnError> {
            let (x, weights) = moved(step);
            self.model.mean_loss(&weights, &x, self.labels)
        };
        let near = loss(STEP)? - loss(-STEP)?;
        let far = loss(2.0 * STEP)? - loss(-2.0 * STEP)?;
        Ok((8.0 * near - far) / (12.0 * STEP))
    }
}

/// max|found - reference| / max|reference|; 0 where both are nothing but rounding.
fn relative(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut difference, mut size) = (0.0f64, 0.0f64);
    for (found, reference) in pairs {
        let gap = (found - reference).abs();
        if gap.is_nan() {
            return f64::INFINITY;
        }
        difference = difference.max(gap);
        size = size.max(reference.abs());
    }
    if difference <= NOTHING { 0.0 } else { difference / size }
}

/// Examples in the checked batch where the file leaves it free.
const BATCH: usize = 2;
/// Random components compared in the input's gradient, and in each parameter's.
const INPUT_COMPONENTS: usize = 24;
const PARAMETER_COMPONENTS: usize = 4;
/// The step of the differences, small beside the numbers and large beside `f64` rounding.
const STEP: f64 = 1e-5;
/// Below this, differences are rounding of the reference itself.
const NOTHING: f64 = 1e-13;

#[cfg(test)]
#[path = "../tests/it/cases.rs"]
mod cases;

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::plan::{Order, Plan, Purpose};
    use crate::run::{Pass, Pools};

    /// The bound that every operator is held to.
    const TOLERANCE: f64 = 1e-4;

    const ORDER: Order = Order { purpose: Purpose::Gradients(Want::Both), through: false, memory_limit: usize::MAX };

    /// One model with a fixed input and a random linear function of its output as the loss.
    struct Probe<'m> {
        model: &'m Model,
        plan: Plan,
        pools: Pools,
        direction: Vec<f64>,
    }

    impl Probe<'_> {
        fn loss(&self, weights: &Weights<'_, f64>, x: &[f64]) -> f64 {
            let inputs = [x];
            let mut pass = Pass::forward(&self.plan, weights, &inputs, &self.pools).unwrap();
            let loss = pass.seed().0.iter().zip(&self.direction).map(|(y, d)| y * d).sum();
            pass.finish();
            loss
        }

        /// Analytic gradients in `f32`: of the input, and of every constant.
        fn gradients(&self, x: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
            let weights = self.model.weights::<f32>();
            let inputs = [x];
            let mut pass = Pass::forward(&self.plan, &weights, &inputs, &self.pools).unwrap();
            pass.seed().1.iter_mut().zip(&self.direction).for_each(|(seed, d)| *seed = crate::real::Real::of(*d));
            let mut input = vec![0.0; x.len()];
            let mut floats: Vec<Vec<f32>> = weights.iter().map(|numbers| vec![0.0; numbers.len()]).collect();
            pass.backward(&mut input, &mut floats);
            pass.finish();
            (input, floats)
        }
    }

    fn compare(analytic: &[f32], loss: impl Fn(usize, f64) -> f64) -> f64 {
        relative(analytic.iter().enumerate().map(|(at, found)| {
            let near = loss(at, STEP) - loss(at, -STEP);
            let far = loss(at, 2.0 * STEP) - loss(at, -2.0 * STEP);
            (f64::from(*found), (8.0 * near - far) / (12.0 * STEP))
        }))
    }

    #[test]
    fn every_operator_has_the_gradients_of_its_differences() {
        let (mut failures, mut worst, mut tensors) = (Vec::new(), (0.0, String::new()), 0);
        for case in cases::cases().into_iter().filter(|case| !case.is_flat()) {
            let model = Model::parse(&case.model).unwrap();
            let plan = Plan::new(&model.graph, std::slice::from_ref(&case.input.shape), ORDER).unwrap();
            let mut random = Random::new(case.name.len() as u64);
            let length = plan.steps[plan.head].length;
            let direction = (0..length).map(|_| f64::from(random.uniform_in(-1.0, 1.0))).collect();
            let probe = Probe { model: &model, plan, pools: Pools::default(), direction };
            let (input, floats) = probe.gradients(&case.input.data);
            let weights = model.weights::<f64>();
            let x: Vec<f64> = case.input.data.iter().copied().map(f64::from).collect();
            assert!(!case.output.data.is_empty());
            let mut errors = vec![(
                "input".to_owned(),
                compare(&input, |at, step| {
                    let mut moved = x.clone();
                    moved[at] += step;
                    probe.loss(&weights, &moved)
                }),
            )];
            for place in model.parameter_places() {
                let error = compare(&floats[place], |at, step| {
                    let mut moved: Vec<Cow<'_, [f64]>> = weights.clone();
                    moved[place].to_mut()[at] += step;
                    probe.loss(&moved, &x)
                });
                errors.push((model.graph.floats[place].name.clone(), error));
            }
            tensors += errors.len();
            for (name, error) in errors {
                if error > worst.0 {
                    worst = (error, format!("{} {name}", case.name));
                }
                if error > TOLERANCE {
                    failures.push(format!("{} {name}: {error:e}", case.name));
                }
            }
        }
        println!("{tensors} tensors, worst error {:e} ({})", worst.0, worst.1);
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}
