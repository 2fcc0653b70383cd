//! Which buffer holds what, and when it may hold something else.

use super::{Backward, Source, Step, Target};
use crate::error::NnError;
use crate::kernel::Flow;
use crate::kernel::gemm::Into;
use crate::load::{Input, Place};
use crate::model::Element;

/// Lengths of the buffers, and where the gradient of the logits goes.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) slots: Vec<usize>,
    pub(super) gradient_slots: Vec<usize>,
    pub(super) head_gradient: usize,
}

/// Buffers that are handed out and taken back; a buffer grows to the longest value that it ever holds.
#[derive(Default)]
struct Pool {
    lengths: Vec<usize>,
    free: Vec<usize>,
}

impl Pool {
    fn take(&mut self, length: usize) -> usize {
        // The free buffer that fits best: the shortest that is long enough, or else the longest.
        let best = (0..self.free.len()).min_by_key(|at| {
            let have = self.lengths[self.free[*at]];
            (have < length, if have < length { usize::MAX - have } else { have })
        });
        let Some(at) = best else {
            self.lengths.push(length);
            return self.lengths.len() - 1;
        };
        let slot = self.free.swap_remove(at);
        self.lengths[slot] = self.lengths[slot].max(length);
        slot
    }

    fn give(&mut self, slot: usize) {
        self.free.push(slot);
    }
}

/// Forward only: a buffer is free again after the last step that reads it. `kept` outlive the pass.
pub(super) fn forward(steps: &mut [Step], kept: &[usize]) -> Buffers {
    let mut last_use: Vec<usize> = (0..steps.len()).collect();
    for (index, step) in steps.iter().enumerate() {
        for source in &step.inputs {
            if let Source::Step(made) = source {
                last_use[*made] = index;
            }
        }
    }
    for step in kept {
        last_use[*step] = usize::MAX;
    }
    let mut ends = vec![Vec::new(); steps.len()];
    for (made, end) in last_use.into_iter().enumerate() {
        if let Some(ends) = ends.get_mut(end) {
            ends.push(made);
        }
    }
    let mut pool = Pool::default();
    for (index, ends) in ends.into_iter().enumerate() {
        steps[index].slot = pool.take(steps[index].length);
        for made in ends {
            pool.give(steps[made].slot);
        }
    }
    Buffers { slots: pool.lengths, ..Buffers::default() }
}

/// With gradients: every value keeps its buffer; a gradient lives from the last reader of its value to the maker.
pub(super) fn gradients(steps: &mut [Step], head: usize, wanted: impl Fn(Source) -> bool) -> Result<Buffers, NnError> {
    let mut active = vec![false; steps.len()];
    for index in 0..steps.len() {
        let is_active = |source: &Source| match source {
            Source::Step(made) => active[*made],
            other => wanted(*other),
        };
        let step = &steps[index];
        let flows = |(which, source)| is_active(source) && step.kernel.flow(which) != Flow::Flat;
        active[index] = step.inputs.iter().enumerate().any(flows);
        steps[index].slot = index;
    }
    let is_wanted = |source: &Source, active: &[bool]| match source {
        Source::Step(made) => active[*made],
        other => wanted(*other),
    };
    let slots = steps.iter().map(|step| step.length).collect();
    let mut pool = Pool::default();
    let mut born: Vec<Option<usize>> = vec![None; steps.len()];
    let head_gradient = pool.take(steps[head].length);
    born[head] = Some(head_gradient);
    for index in (0..=head).rev() {
        let (Some(upstream), true) = (born[index], active[index]) else { continue };
        let mut backward = Backward { upstream, births: Vec::new(), targets: Vec::new() };
        for (which, source) in steps[index].inputs.iter().enumerate() {
            match steps[index].kernel.flow(which) {
                Flow::Flat => continue,
                Flow::Missing if is_wanted(source, &active) => {
                    return Err(steps[index].place.problem("has no gradient with respect to one of its inputs"));
                }
                _ => {}
            }
            let target = match *source {
                Source::Step(made) if active[made] => {
                    let length = steps[made].length;
                    let slot = *born[made].get_or_insert_with(|| {
                        let slot = pool.take(length);
                        backward.births.push((slot, length));
                        slot
                    });
                    Target::Slot(slot)
                }
                Source::Input(_) if wanted(*source) => Target::Input,
                Source::Float(float) if wanted(*source) => Target::Float(float),
                _ => continue,
            };
            backward.targets.push((which, target, Into::Add));
        }
        overwrite(&mut backward, &steps[index]);
        pool.give(upstream);
        steps[index].backward = Some(backward);
    }
    Ok(Buffers { slots, gradient_slots: pool.lengths, head_gradient })
}

/// A buffer that one gradient of this step is the first and only one to reach needs no zeros before it.
fn overwrite(backward: &mut Backward, step: &Step) {
    let Backward { births, targets, .. } = backward;
    births.retain(|(slot, length)| {
        let mut reached = targets.iter_mut().filter(|(_, target, _)| *target == Target::Slot(*slot));
        match (reached.next(), reached.next()) {
            (Some((which, _, into)), None)
                if step.kernel.overwrites(*which) && step.input_lengths.get(*which) == Some(length) =>
            {
                *into = Into::Write;
                false
            }
            _ => true,
        }
    });
}

/// What of a plan depends on the input, and by which ways a gradient gets back to it.
pub(super) struct Paths {
    input: Source,
    /// Steps whose output changes smoothly with the input.
    smooth: Vec<bool>,
}

impl Paths {
    pub(super) fn new(steps: &[Step], input: Source) -> Self {
        let mut smooth: Vec<bool> = Vec::with_capacity(steps.len());
        for step in steps {
            let flows = |(which, source): (usize, &Source)| {
                let moves = match source {
                    Source::Step(made) => smooth[*made],
                    other => *other == input,
                };
                moves && step.kernel.flow(which) != Flow::Flat
            };
            let moves = step.inputs.iter().enumerate().any(flows);
            smooth.push(moves);
        }
        Self { input, smooth }
    }

    fn moves(&self, source: &Source) -> bool {
        match source {
            Source::Step(made) => self.smooth[*made],
            other => *other == self.input,
        }
    }

    /// The steps before `head`, on ways to it, at which a way of the gradient ends.
    pub(super) fn stops(&self, steps: &[Step], head: usize) -> Vec<Place> {
        let mut read = vec![false; steps.len()];
        read[head] = true;
        let mut found = Vec::new();
        for index in (0..=head).rev().filter(|index| *index < steps.len()) {
            if !read[index] {
                continue;
            }
            let step = &steps[index];
            let mut inputs = step.inputs.iter().enumerate();
            if inputs.any(|(which, source)| self.moves(source) && step.kernel.flow(which) == Flow::Flat) {
                found.push(step.place.clone());
            }
            for source in &step.inputs {
                if let Source::Step(made) = source {
                    read[*made] = true;
                }
            }
        }
        found.reverse();
        found
    }

    /// Refuses where no gradient gets from `head` to the input: it would be zeros that say nothing.
    pub(super) fn reach(&self, steps: &[Step], head: usize, input: &Input) -> Result<(), NnError> {
        if input.element != Element::Float {
            return Err(NnError::NoGradient { input: input.name.clone(), reason: "it holds integers".to_owned() });
        }
        if self.smooth[head] {
            return Ok(());
        }
        let reason = match self.stops(steps, head).first() {
            Some(stop) => {
                let Place { node, operator, opset } = stop;
                format!("node `{node}`: `{operator}` (opset {opset}) is constant between its jumps")
            }
            None => "the output does not depend on it".to_owned(),
        };
        Err(NnError::NoGradient { input: input.name.clone(), reason })
    }
}
