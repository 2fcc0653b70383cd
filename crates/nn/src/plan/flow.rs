//! Branches and loops, decided while planning: what a condition says and how often a body runs must not depend on the
//! input's numbers. A loop's rounds become steps one after the other.

use super::{Fact, Floats, Lowering};
use crate::error::NnError;
use crate::limits::LOOP_ROUNDS_MAX;
use crate::load::{Block, Node, Operator};

impl Lowering<'_> {
    pub(super) fn branch(&mut self, node: &Node, yes: &Block, no: &Block) -> Result<Vec<Fact>, NnError> {
        let condition = self.integers(node, 0).map_err(|_| {
            node.place.problem("has a condition that depends on the input's numbers, which is not implemented")
        })?;
        let block = match condition.as_deref() {
            Some([condition]) => {
                if *condition == 0 {
                    no
                } else {
                    yes
                }
            }
            _ => return Err(node.place.problem("has a condition that is not one truth value")),
        };
        self.nodes(&block.nodes)?;
        self.answers(node, block)
    }

    /// What the outputs of a block are now.
    fn answers(&self, node: &Node, block: &Block) -> Result<Vec<Fact>, NnError> {
        let fact = |value: &usize| self.facts.get(*value).cloned().flatten();
        let facts = block.outputs.iter().map(fact).collect::<Option<Vec<_>>>();
        facts.ok_or_else(|| node.place.problem("has a branch that lacks an output"))
    }

    pub(super) fn repeat(&mut self, node: &Node, body: &Block) -> Result<Vec<Fact>, NnError> {
        let carried = node.inputs.len().saturating_sub(2);
        let stacked = body.outputs.len().checked_sub(carried + 1);
        let (Some(stacked), true) = (stacked, body.inputs.len() == carried + 2) else {
            return Err(node.place.problem("has a body that does not fit its inputs"));
        };
        let rounds = self.integers(node, 0)?.and_then(|rounds| rounds.first().copied());
        let mut goes_on = self.integers(node, 1)?.is_none_or(|condition| condition != [0]);
        let mut state = (0..carried).map(|index| self.fact(node, index + 2)).collect::<Result<Vec<_>, _>>()?;
        let mut stacks: Vec<Vec<Floats>> = vec![Vec::new(); stacked];
        let mut round = 0;
        while goes_on && rounds.is_none_or(|rounds| round < rounds) {
            if usize::try_from(round).is_ok_and(|round| round >= LOOP_ROUNDS_MAX) {
                return Err(node.place.problem("has more rounds than are unrolled"));
            }
            let own = [
                Fact::Integers { shape: vec![], numbers: vec![round] },
                Fact::Integers { shape: vec![], numbers: vec![1] },
            ];
            for (value, fact) in body.inputs.iter().zip(own.into_iter().chain(state)) {
                self.facts[*value] = Some(fact);
            }
            self.nodes(&body.nodes)?;
            let mut answers = self.answers(node, body)?.into_iter();
            goes_on = match answers.next() {
                Some(Fact::Integers { numbers, .. }) => numbers != [0],
                _ => return Err(node.place.problem("has a condition that depends on the input's numbers")),
            };
            state = answers.by_ref().take(carried).collect();
            self.stack(&mut stacks, answers, &[]);
            round += 1;
        }
        let mut facts = state;
        for stack in stacks {
            facts.push(self.stacked(node, &stack, 0)?);
        }
        Ok(facts)
    }

    /// Adds one round's answers to the stacks, each with a new axis.
    fn stack(&mut self, stacks: &mut [Vec<Floats>], answers: impl Iterator<Item = Fact>, axes: &[usize]) {
        for (index, (stack, answer)) in stacks.iter_mut().zip(answers).enumerate() {
            let answer = self.numbers_of(answer);
            let mut shape = answer.shape.clone();
            shape.insert(axes.get(index).copied().unwrap_or(0).min(shape.len()), 1);
            stack.push(Self::shaped(&answer, shape));
        }
    }

    /// All rounds along their new axis.
    fn stacked(&mut self, node: &Node, rounds: &[Floats], axis: usize) -> Result<Fact, NnError> {
        let Some(first) = rounds.first() else {
            // Nobody can read it: an empty tensor.
            return Ok(Fact::Integers { shape: vec![0], numbers: Vec::new() });
        };
        if axis >= first.shape.len() || rounds.iter().any(|round| round.shape != first.shape) {
            return Err(node.place.problem("has rounds whose answers differ in shape"));
        }
        self.apply_concat(&node.place, &rounds.iter().collect::<Vec<_>>(), axis).map(Fact::Floats)
    }

    pub(super) fn scan(&mut self, node: &Node) -> Result<Vec<Fact>, NnError> {
        let Operator::Scan { body, inputs, input_axes, output_axes, input_backwards, output_backwards } =
            &node.operator
        else {
            return Err(node.place.unknown());
        };
        let bad = || node.place.problem("has a body that does not fit its inputs");
        let scanned = usize::try_from(*inputs).map_err(|_| bad())?;
        let carried = node.inputs.len().checked_sub(scanned).filter(|_| scanned > 0).ok_or_else(bad)?;
        let stacked = body.outputs.len().checked_sub(carried).ok_or_else(bad)?;
        if body.inputs.len() != node.inputs.len() {
            return Err(bad());
        }
        let mut state = (0..carried).map(|index| self.fact(node, index)).collect::<Result<Vec<_>, _>>()?;
        let mut sequences = Vec::with_capacity(scanned);
        for index in 0..scanned {
            let x = self.numbers(node, carried + index)?;
            let axis = Self::axis(node, input_axes.get(index).copied().unwrap_or(0), x.shape.len())?;
            sequences.push((x, axis, input_backwards.get(index).copied().unwrap_or(0) != 0));
        }
        let rounds = sequences.first().map_or(0, |(x, axis, _)| x.shape[*axis]);
        if rounds > LOOP_ROUNDS_MAX || sequences.iter().any(|(x, axis, _)| x.shape[*axis] != rounds) {
            return Err(node.place.problem("has sequences of different length, or of too many rounds"));
        }
        let axes: Vec<usize> = (0..stacked)
            .map(|at| output_axes.get(at).and_then(|axis| usize::try_from(*axis).ok()).unwrap_or(0))
            .collect();
        let mut stacks: Vec<Vec<Floats>> = vec![Vec::new(); stacked];
        for round in 0..rounds {
            let mut facts = state;
            for (x, axis, backwards) in &sequences {
                let at = if *backwards { rounds - 1 - round } else { round };
                let part = self.apply_part(&node.place, x, *axis, at, 1)?;
                let mut shape = part.shape.clone();
                shape.remove(*axis);
                let part = Fact::Floats(Self::shaped(&part, shape));
                facts.push(self.settled(part));
            }
            for (value, fact) in body.inputs.iter().zip(facts) {
                self.facts[*value] = Some(fact);
            }
            self.nodes(&body.nodes)?;
            let mut answers = self.answers(node, body)?.into_iter();
            state = answers.by_ref().take(carried).collect();
            self.stack(&mut stacks, answers, &axes);
        }
        let mut facts = state;
        for (index, mut stack) in stacks.into_iter().enumerate() {
            if output_backwards.get(index).copied().unwrap_or(0) != 0 {
                stack.reverse();
            }
            facts.push(self.stacked(node, &stack, axes[index])?);
        }
        Ok(facts)
    }
}
