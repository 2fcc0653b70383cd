//! Walking a plan forward and backward over buffers that are kept between calls.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::NnError;
use crate::kernel::linear::Side;
use crate::kernel::{Key, Way};
use crate::plan::{Plan, Source, Step, Target};
use crate::real::Real;

/// Workspaces that wait for the next pass, by number type, and what single-precision kernels made of the weights.
#[derive(Debug, Default)]
pub struct Pools {
    pub(crate) single: Mutex<Vec<Workspace<f32>>>,
    pub(crate) double: Mutex<Vec<Workspace<f64>>>,
    prepared: Mutex<Prepared>,
}

/// By constant and kernel.
type Prepared = HashMap<(usize, Key), Arc<Vec<f32>>>;

impl Pools {
    /// Must be called when weights change.
    pub(crate) fn forget_weights(&mut self) {
        self.prepared.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What this step makes of its weights, made before or now; `None` where it takes them as they are.
    fn prepared<T: Real>(&self, step: &Step, side: Side, weights: &Weights<'_, T>) -> Option<Arc<Vec<f32>>> {
        let Some(Source::Float(index)) = step.inputs.get(1) else { return None };
        let numbers = T::single(weights.get(*index)?)?;
        let key = step.kernel.prepares(side)?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let made = prepared.entry((*index, key)).or_insert_with(|| Arc::new(step.kernel.prepare(side, numbers)));
        Some(Arc::clone(made))
    }
}

/// A plan's constants that it computed itself.
#[derive(Debug, Default)]
pub struct Literals {
    wide: Vec<Vec<f64>>,
    /// In single precision, made when first asked for.
    narrow: OnceLock<Vec<Vec<f32>>>,
}

impl Literals {
    pub(crate) fn new(wide: Vec<Vec<f64>>) -> Self {
        Self { wide, narrow: OnceLock::new() }
    }

    pub(crate) fn wide(&self) -> &[Vec<f64>] {
        &self.wide
    }

    pub(crate) fn narrow(&self) -> &[Vec<f32>] {
        self.narrow.get_or_init(|| {
            let narrow = |numbers: &Vec<f64>| numbers.iter().copied().map(f32::of).collect();
            self.wide.iter().map(narrow).collect()
        })
    }
}

/// The buffers of one pass; they only ever grow.
#[derive(Debug, Default)]
pub struct Workspace<T> {
    values: Vec<Vec<T>>,
    gradients: Vec<Vec<T>>,
    scratch: Vec<T>,
}

/// A constant's numbers in the precision of the pass.
pub(crate) type Weights<'m, T> = Vec<Cow<'m, [T]>>;

/// One chunk of a batch on its way through a plan.
pub(crate) struct Pass<'p, T: Real> {
    plan: &'p Plan,
    weights: &'p Weights<'p, T>,
    literals: &'p [Vec<T>],
    /// One for each input of the graph.
    inputs: &'p [&'p [T]],
    pools: &'p Pools,
    workspace: Workspace<T>,
}

impl<'p, T: Real> Pass<'p, T> {
    /// Takes a workspace and runs the plan forward.
    ///
    /// # Errors
    /// Numbers that a step cannot work with, such as an index that is out of range.
    pub(crate) fn forward(
        plan: &'p Plan,
        weights: &'p Weights<'p, T>,
        inputs: &'p [&'p [T]],
        pools: &'p Pools,
    ) -> Result<Self, NnError> {
        let waiting = T::pool(pools).lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = waiting.unwrap_or_default();
        grow(&mut workspace.values, &plan.slots);
        grow(&mut workspace.gradients, &plan.gradient_slots);
        let scratch = workspace.scratch.len().max(plan.scratch);
        workspace.scratch.resize(scratch, T::ZERO);
        let mut pass = Self { plan, weights, literals: T::literals(&plan.literals), inputs, pools, workspace };
        pass.run().map(|()| pass)
    }

    fn run(&mut self) -> Result<(), NnError> {
        let mut scratch = std::mem::take(&mut self.workspace.scratch);
        for step in &self.plan.steps {
            let mut output = std::mem::take(&mut self.workspace.values[step.slot]);
            let inputs = self.inputs(step.inputs.iter().zip(&step.input_lengths));
            let prepared = self.pools.prepared(step, Side::Forward, self.weights);
            let prepared = prepared.as_ref().map(|numbers| numbers.as_slice());
            let done = step.kernel.forward(&inputs, &mut output[..step.length], &mut scratch, prepared);
            self.workspace.values[step.slot] = output;
            done.map_err(|problem| step.place.problem(problem))?;
        }
        self.workspace.scratch = scratch;
        Ok(())
    }

    fn inputs<'s>(&'s self, sources: impl Iterator<Item = (&'s Source, &'s usize)>) -> Vec<&'s [T]> {
        sources.map(|(source, length)| &self.buffer(*source)[..*length]).collect()
    }

    fn buffer(&self, source: Source) -> &[T] {
        match source {
            Source::Input(index) => self.inputs[index],
            Source::Float(index) => &self.weights[index],
            Source::Literal(index) => &self.literals[index],
            Source::Step(index) => &self.workspace.values[self.plan.steps[index].slot],
        }
    }

    /// The model's output.
    pub(crate) fn output(&self) -> &[T] {
        &self.buffer(Source::Step(self.plan.output))[..self.plan.output_shape.iter().product()]
    }

    /// Where to put the gradient of the loss with respect to the logits, before [`Self::backward`]; with the logits.
    pub(crate) fn seed(&mut self) -> (&[T], &mut [T]) {
        let head = &self.plan.steps[self.plan.head];
        let logits = &self.workspace.values[head.slot][..head.length];
        (logits, &mut self.workspace.gradients[self.plan.head_gradient][..head.length])
    }

    /// Adds the gradients of the input to `input` and those of constants to `floats`, where the plan has them.
    pub(crate) fn backward(&mut self, input: &mut [T], floats: &mut [Vec<T>]) {
        let mut scratch = std::mem::take(&mut self.workspace.scratch);
        for step in self.plan.steps.iter().rev() {
            let Some(backward) = &step.backward else { continue };
            for (slot, length) in &backward.births {
                self.workspace.gradients[*slot][..*length].fill(T::ZERO);
            }
            if step.kernel.rectifies() {
                let output = &self.workspace.values[step.slot][..step.length];
                let upstream = self.workspace.gradients[backward.upstream][..step.length].iter_mut();
                upstream.zip(output).for_each(|(up, y)| *up = if *y > T::ZERO { *up } else { T::ZERO });
            }
            for (which, target, into) in &backward.targets {
                let mut taken = match target {
                    Target::Slot(slot) => std::mem::take(&mut self.workspace.gradients[*slot]),
                    _ => Vec::new(),
                };
                let length = step.input_lengths[*which];
                let gradient = match target {
                    Target::Slot(_) => &mut taken[..length],
                    Target::Input => &mut input[..length],
                    Target::Float(index) => &mut floats[*index][..length],
                };
                let inputs = self.inputs(step.inputs.iter().zip(&step.input_lengths));
                let output = &self.workspace.values[step.slot][..step.length];
                let upstream = &self.workspace.gradients[backward.upstream][..step.length];
                let (which, into) = (*which, *into);
                let prepared = (which == 0).then(|| self.pools.prepared(step, Side::Backward, self.weights)).flatten();
                let way = Way { which, into, prepared: prepared.as_ref().map(|numbers| numbers.as_slice()) };
                step.kernel.backward(&way, &inputs, output, upstream, gradient, &mut scratch);
                if let Target::Slot(slot) = target {
                    self.workspace.gradients[*slot] = taken;
                }
            }
        }
        self.workspace.scratch = scratch;
    }

    /// Gives the workspace back for the next pass.
    pub(crate) fn finish(self) {
        T::pool(self.pools).lock().unwrap_or_else(PoisonError::into_inner).push(self.workspace);
    }
}

fn grow<T: Real>(buffers: &mut Vec<Vec<T>>, lengths: &[usize]) {
    if buffers.len() < lengths.len() {
        buffers.resize_with(lengths.len(), Vec::new);
    }
    for (buffer, length) in buffers.iter_mut().zip(lengths) {
        if buffer.len() < *length {
            buffer.resize(*length, T::ZERO);
        }
    }
}
