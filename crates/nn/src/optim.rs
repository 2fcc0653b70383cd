//! Optimisers: they turn gradients into smaller losses.
//!
//! Both keep their state by position, so one optimiser belongs to one model. Gradients come from
//! [`Model::gradients`], in the order of [`Model::parameters`].

use crate::error::NnError;
use crate::model::Model;
use crate::real::Real;
use crate::tensor::Tensor;

/// Stochastic gradient descent (Sutskever et al. 2013), with the conventions of PyTorch: weight decay is added to the
/// gradient, the velocity is `momentum · velocity + gradient`.
#[derive(Debug, Clone)]
pub struct Sgd {
    /// The step's size; may be changed between steps.
    pub rate: f32,
    momentum: f32,
    weight_decay: f32,
    look: Look,
    velocity: Vec<Vec<f32>>,
}

/// Where the velocity is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Plain momentum.
    Behind,
    /// Nesterov's momentum.
    Ahead,
}

impl Sgd {
    /// Plain descent with this step size.
    pub fn new(rate: f32) -> Self {
        Self { rate, momentum: 0.0, weight_decay: 0.0, look: Look::Behind, velocity: Vec::new() }
    }

    /// With momentum.
    #[must_use]
    pub fn momentum(mut self, momentum: f32, look: Look) -> Self {
        self.momentum = momentum;
        self.look = look;
        self
    }

    /// With weight decay.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f32) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// What it remembers, one list for each parameter; nothing before the first step.
    pub fn velocity(&self) -> &[Vec<f32>] {
        &self.velocity
    }

    /// Goes on from what [`Sgd::velocity`] told. Where it does not suit the model, the next step begins anew.
    pub fn resume(&mut self, velocity: Vec<Vec<f32>>) {
        self.velocity = velocity;
    }

    /// Moves the parameters one step against their gradients.
    ///
    /// # Errors
    /// [`NnError::TensorShape`] where the gradients are not the model's.
    pub fn step(&mut self, model: &mut Model, gradients: &[Tensor<f32>]) -> Result<(), NnError> {
        fits(model, gradients)?;
        prepare(&mut self.velocity, gradients);
        for ((parameter, gradient), velocity) in model.parameters_mut().zip(gradients).zip(&mut self.velocity) {
            let numbers = parameter.data.iter_mut().zip(&gradient.data).zip(velocity);
            for ((number, gradient), velocity) in numbers {
                let gradient = gradient + self.weight_decay * *number;
                *velocity = self.momentum * *velocity + gradient;
                let direction = match self.look {
                    Look::Behind => *velocity,
                    Look::Ahead => gradient + self.momentum * *velocity,
                };
                *number -= self.rate * direction;
            }
        }
        Ok(())
    }
}

/// Adam (Kingma and Ba 2015, algorithm 1), with bias correction.
#[derive(Debug, Clone)]
pub struct Adam {
    /// The step's size; may be changed between steps.
    pub rate: f32,
    first_decay: f32,
    second_decay: f32,
    epsilon: f32,
    weight_decay: f32,
    steps: i32,
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
}

impl Adam {
    /// With the paper's decays, 0.9 and 0.999, and epsilon 1e-8.
    pub fn new(rate: f32) -> Self {
        Self {
            rate,
            first_decay: 0.9,
            second_decay: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            steps: 0,
            first: Vec::new(),
            second: Vec::new(),
        }
    }

    /// With other decays.
    #[must_use]
    pub fn decays(mut self, first: f32, second: f32) -> Self {
        (self.first_decay, self.second_decay) = (first, second);
        self
    }

    /// With weight decay, added to the gradient.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f32) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Steps taken, and the first and second moments, one list for each parameter; no lists before the first step.
    pub fn moments(&self) -> (i32, &[Vec<f32>], &[Vec<f32>]) {
        (self.steps, &self.first, &self.second)
    }

    /// Goes on from what [`Adam::moments`] told. Where it does not suit the model, the next step begins anew.
    pub fn resume(&mut self, steps: i32, first: Vec<Vec<f32>>, second: Vec<Vec<f32>>) {
        (self.steps, self.first, self.second) = (steps, first, second);
    }

    /// Moves the parameters one step.
    ///
    /// # Errors
    /// As [`Sgd::step`].
    pub fn step(&mut self, model: &mut Model, gradients: &[Tensor<f32>]) -> Result<(), NnError> {
        fits(model, gradients)?;
        prepare(&mut self.first, gradients);
        prepare(&mut self.second, gradients);
        self.steps = self.steps.saturating_add(1);
        let correct = |decay: f32| f32::of(1.0 - f64::from(decay).powi(self.steps));
        let (first_scale, second_scale) = (correct(self.first_decay), correct(self.second_decay));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in model.parameters_mut().zip(gradients).zip(moments) {
            let numbers = parameter.data.iter_mut().zip(&gradient.data).zip(first.iter_mut().zip(second));
            for ((number, gradient), (first, second)) in numbers {
                let gradient = gradient + self.weight_decay * *number;
                *first = self.first_decay * *first + (1.0 - self.first_decay) * gradient;
                *second = self.second_decay * *second + (1.0 - self.second_decay) * gradient * gradient;
                *number -= self.rate * (*first / first_scale) / ((*second / second_scale).sqrt() + self.epsilon);
            }
        }
        Ok(())
    }
}

fn fits(model: &Model, gradients: &[Tensor<f32>]) -> Result<(), NnError> {
    let mut parameters = model.parameters();
    for gradient in gradients {
        match parameters.next() {
            Some(parameter) if parameter.data.len() == gradient.data.len() => {}
            _ => return Err(NnError::TensorShape { shape: gradient.shape.clone(), found: gradient.data.len() }),
        }
    }
    match parameters.next() {
        Some(parameter) => Err(NnError::TensorShape { shape: parameter.shape.to_vec(), found: 0 }),
        None => Ok(()),
    }
}

/// Fresh state where there is none, or none that suits.
fn prepare(state: &mut Vec<Vec<f32>>, gradients: &[Tensor<f32>]) {
    let suits = state.len() == gradients.len()
        && state.iter().zip(gradients).all(|(state, gradient)| state.len() == gradient.data.len());
    if !suits {
        *state = gradients.iter().map(|gradient| vec![0.0; gradient.data.len()]).collect();
    }
}
