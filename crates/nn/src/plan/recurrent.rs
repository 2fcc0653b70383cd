//! `LSTM`, `GRU` and `RNN`, unrolled over time: the products with the input are one for all times, what follows is a few
//! small steps a time. Letters are the specification's: X input, W weights of the input, R of the state, B biases, H
//! state, C cell, P peepholes.

use super::{Fact, Floats, Lowering};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::linear::Linear;
use crate::kernel::pointwise::{Function, Unary};
use crate::load::{Direction, Gate, Node, Place, Recurrence};
use crate::model::Element;

/// What one direction works with.
struct Cell<'n> {
    place: &'n Place,
    activations: &'n [Unary],
    hidden: usize,
    /// X·Wᵀ with the biases that can be added there, `[time, batch, gates · hidden]`.
    driven: Floats,
    /// `[gates · hidden, hidden]`
    weights: Floats,
    /// For a GRU that resets behind the product: the bias of the state's candidate, `[hidden]`.
    inner_bias: Option<Floats>,
    /// `[3 · hidden]`
    peepholes: Option<Floats>,
}

/// State and, of an LSTM, cell; `[batch, hidden]`.
#[derive(Clone)]
struct State {
    hidden: Floats,
    cell: Option<Floats>,
}

impl Lowering<'_> {
    pub(super) fn recurrent(&mut self, node: &Node, recurrence: &Recurrence) -> Result<Vec<Fact>, NnError> {
        let place = &node.place;
        let mut x = self.floats(node, 0)?;
        if recurrence.batch_first && x.shape.len() == 3 {
            x = self.apply_transpose(place, &x, &[1, 0, 2])?;
        }
        let [time, batch, _] = x.shape[..] else { return Err(place.problem("has an input that is not of rank 3")) };
        let hidden = usize::try_from(recurrence.hidden).ok().filter(|hidden| (1..=HIDDEN_MAX).contains(hidden));
        let hidden = hidden.ok_or_else(|| place.attribute("hidden_size", "has an impossible value"))?;
        if let Some(lengths) = self.integers(node, 4)?
            && lengths.iter().any(|length| usize::try_from(*length) != Ok(time))
        {
            return Err(place.problem("has sequences shorter than its input, which is not implemented"));
        }
        let (mut sequences, mut lasts, mut cells) = (Vec::new(), Vec::new(), Vec::new());
        for (index, direction) in recurrence.directions.iter().enumerate() {
            let (cell, mut state) = self.prepared(node, recurrence, &x, index, hidden)?;
            let mut found = Vec::with_capacity(time);
            for step in 0..time {
                let step = if *direction == Direction::Forward { step } else { time - 1 - step };
                let driven = self.apply_part(place, &cell.driven, 0, step, 1)?;
                let driven = Self::shaped(&driven, vec![batch, driven.shape[2]]);
                state = match recurrence.gate {
                    Gate::Plain => self.plain_step(&cell, &driven, &state)?,
                    Gate::Lstm => self.lstm_step(&cell, &driven, &state)?,
                    Gate::Gru { linear_before_reset } => self.gru_step(&cell, &driven, &state, linear_before_reset)?,
                };
                found.push(Self::shaped(&state.hidden, vec![1, 1, batch, hidden]));
            }
            if *direction == Direction::Reverse {
                found.reverse();
            }
            sequences.push(self.apply_concat(place, &found.iter().collect::<Vec<_>>(), 0)?);
            lasts.push(Self::shaped(&state.hidden, vec![1, batch, hidden]));
            cells.extend(state.cell.map(|cell| Self::shaped(&cell, vec![1, batch, hidden])));
        }
        let mut sequence = self.apply_concat(place, &sequences.iter().collect::<Vec<_>>(), 1)?;
        let mut ends = Vec::new();
        for parts in [lasts, cells] {
            if !parts.is_empty() {
                ends.push(self.apply_concat(place, &parts.iter().collect::<Vec<_>>(), 0)?);
            }
        }
        if recurrence.batch_first {
            sequence = self.apply_transpose(place, &sequence, &[2, 0, 1, 3])?;
            for end in &mut ends {
                *end = self.apply_transpose(place, end, &[1, 0, 2])?;
            }
        }
        Ok(std::iter::once(sequence).chain(ends).map(Fact::Floats).collect())
    }

    /// Checks the weights of one direction and multiplies the input by them.
    fn prepared<'n>(
        &mut self,
        node: &'n Node,
        recurrence: &'n Recurrence,
        x: &Floats,
        index: usize,
        hidden: usize,
    ) -> Result<(Cell<'n>, State), NnError> {
        let place = &node.place;
        let gates = match recurrence.gate {
            Gate::Plain => 1,
            Gate::Lstm => 4,
            Gate::Gru { .. } => 3,
        };
        let (time, batch, features) = (x.shape[0], x.shape[1], x.shape[2]);
        let rows = gates * hidden;
        let weights = self.direction(node, recurrence, 1, index, &[rows, features])?;
        let inner = self.direction(node, recurrence, 2, index, &[rows, hidden])?;
        let (Some(weights), Some(inner)) = (weights, inner) else { return Err(place.problem("lacks an input")) };
        let biases = self.direction(node, recurrence, 3, index, &[2 * rows])?;
        let (mut bias, mut inner_bias) = (None, None);
        if let Some(biases) = biases {
            let (outer, mut own) =
                (self.apply_part(place, &biases, 0, 0, rows)?, self.apply_part(place, &biases, 0, rows, rows)?);
            if recurrence.gate == (Gate::Gru { linear_before_reset: true }) {
                inner_bias = Some(self.apply_part(place, &own, 0, 2 * hidden, hidden)?);
                let front = self.apply_part(place, &own, 0, 0, 2 * hidden)?;
                let none = self.literal(vec![hidden], vec![0.0; hidden]);
                own = self.apply_concat(place, &[&front, &none], 0)?;
            }
            bias = Some(self.apply_binary(place, Function::Add, &outer, &own)?);
        }
        let flat = Self::shaped(x, vec![time * batch, features]);
        let driven = self.rows_by(place, &flat, &weights, bias.as_ref())?;
        let driven = Self::shaped(&driven, vec![time, batch, rows]);
        let mut initial = |at: usize| -> Result<Floats, NnError> {
            if node.inputs.get(at).copied().flatten().is_none() {
                return Ok(self.literal(vec![batch, hidden], vec![0.0; batch * hidden]));
            }
            let mut start = self.floats(node, at)?;
            if recurrence.batch_first && start.shape.len() == 3 {
                start = self.apply_transpose(place, &start, &[1, 0, 2])?;
            }
            if start.shape != [recurrence.directions.len(), batch, hidden] {
                return Err(place.problem("has an initial state that does not fit its input"));
            }
            let part = self.apply_part(place, &start, 0, index, 1)?;
            Ok(Self::shaped(&part, vec![batch, hidden]))
        };
        let start = initial(5)?;
        let cell = if recurrence.gate == Gate::Lstm { Some(initial(6)?) } else { None };
        let peepholes = match recurrence.gate {
            Gate::Lstm => self.direction(node, recurrence, 7, index, &[3 * hidden])?,
            _ => None,
        };
        let each = recurrence.activations.len() / recurrence.directions.len().max(1);
        let activations = &recurrence.activations[index * each..][..each];
        let weights = inner;
        Ok((Cell { place, activations, hidden, driven, weights, inner_bias, peepholes }, State { hidden: start, cell }))
    }

    /// One direction's part of input `at`, which has the directions in front.
    fn direction(
        &mut self,
        node: &Node,
        recurrence: &Recurrence,
        at: usize,
        index: usize,
        shape: &[usize],
    ) -> Result<Option<Floats>, NnError> {
        let Some(all) = self.optional_floats(node, at)? else { return Ok(None) };
        let wanted = std::iter::once(recurrence.directions.len()).chain(shape.iter().copied());
        if !wanted.eq(all.shape.iter().copied()) {
            return Err(node.place.problem("has weights that do not fit its input"));
        }
        if all.shape[0] == 1 {
            return Ok(Some(Self::shaped(&all, shape.to_vec())));
        }
        let part = self.apply_part(&node.place, &all, 0, index, 1)?;
        Ok(Some(Self::shaped(&part, shape.to_vec())))
    }

    /// `x · weightsᵀ + bias`
    fn rows_by(
        &mut self,
        place: &Place,
        x: &Floats,
        weights: &Floats,
        bias: Option<&Floats>,
    ) -> Result<Floats, NnError> {
        let (m, k, n) = (x.shape[0], x.shape[1], weights.shape[0]);
        let linear = Linear {
            m,
            k,
            n,
            transpose_a: false,
            transpose_b: true,
            alpha: 1.0,
            products: vec![(0, 0)],
            rectify: false,
        };
        let inputs: Vec<&Floats> = [x, weights].into_iter().chain(bias).collect();
        self.emit_as(Element::Float, place, Kernel::Linear(linear), &inputs, vec![m, n])
    }

    fn plain_step(&mut self, cell: &Cell<'_>, driven: &Floats, state: &State) -> Result<State, NnError> {
        let own = self.rows_by(cell.place, &state.hidden, &cell.weights, None)?;
        let sum = self.apply_binary(cell.place, Function::Add, driven, &own)?;
        Ok(State { hidden: self.apply_unary(cell.place, cell.activations[0], &sum)?, cell: None })
    }

    /// Gates in the order input, output, forget, candidate.
    fn lstm_step(&mut self, cell: &Cell<'_>, driven: &Floats, state: &State) -> Result<State, NnError> {
        let place = cell.place;
        let own = self.rows_by(place, &state.hidden, &cell.weights, None)?;
        let sum = self.apply_binary(place, Function::Add, driven, &own)?;
        let before = state.cell.clone().ok_or_else(|| place.problem("lacks its cell"))?;
        let (f, g, k) = (cell.activations[0], cell.activations[1], cell.activations[2]);
        let input = self.lstm_gate(cell, &sum, 0, Some((&before, 0)), f)?;
        let forget = self.lstm_gate(cell, &sum, 2, Some((&before, 2)), f)?;
        let candidate = self.lstm_gate(cell, &sum, 3, None, g)?;
        let kept = self.apply_binary(place, Function::Mul, &forget, &before)?;
        let new = self.apply_binary(place, Function::Mul, &input, &candidate)?;
        let after = self.apply_binary(place, Function::Add, &kept, &new)?;
        let output = self.lstm_gate(cell, &sum, 1, Some((&after, 1)), f)?;
        let shown = self.apply_unary(place, k, &after)?;
        let hidden = self.apply_binary(place, Function::Mul, &output, &shown)?;
        Ok(State { hidden, cell: Some(after) })
    }

    /// Gate number `gate`; `peep` is the cell that it sees and which of the peepholes it looks through.
    fn lstm_gate(
        &mut self,
        cell: &Cell<'_>,
        sums: &Floats,
        gate: usize,
        peep: Option<(&Floats, usize)>,
        activation: Unary,
    ) -> Result<Floats, NnError> {
        let (place, h) = (cell.place, cell.hidden);
        let mut sum = self.apply_part(place, sums, 1, gate * h, h)?;
        if let (Some((seen, hole)), Some(peepholes)) = (peep, &cell.peepholes) {
            let weights = self.apply_part(place, peepholes, 0, hole * h, h)?;
            let through = self.apply_binary(place, Function::Mul, seen, &weights)?;
            sum = self.apply_binary(place, Function::Add, &sum, &through)?;
        }
        self.apply_unary(place, activation, &sum)
    }

    /// Gates in the order update, reset, candidate.
    fn gru_step(
        &mut self,
        cell: &Cell<'_>,
        driven: &Floats,
        state: &State,
        linear_before_reset: bool,
    ) -> Result<State, NnError> {
        let (place, h, before) = (cell.place, cell.hidden, &state.hidden);
        let (f, g) = (cell.activations[0], cell.activations[1]);
        let front = self.apply_part(place, &cell.weights, 0, 0, 2 * h)?;
        let behind = self.apply_part(place, &cell.weights, 0, 2 * h, h)?;
        let gates = self.rows_by(place, before, &front, None)?;
        let outside = self.apply_part(place, driven, 1, 0, 2 * h)?;
        let gates = self.apply_binary(place, Function::Add, &outside, &gates)?;
        let gates = self.apply_unary(place, f, &gates)?;
        let update = self.apply_part(place, &gates, 1, 0, h)?;
        let reset = self.apply_part(place, &gates, 1, h, h)?;
        let own = if linear_before_reset {
            let product = self.rows_by(place, before, &behind, cell.inner_bias.as_ref())?;
            self.apply_binary(place, Function::Mul, &reset, &product)?
        } else {
            let reset = self.apply_binary(place, Function::Mul, &reset, before)?;
            self.rows_by(place, &reset, &behind, None)?
        };
        let outside = self.apply_part(place, driven, 1, 2 * h, h)?;
        let candidate = self.apply_binary(place, Function::Add, &outside, &own)?;
        let candidate = self.apply_unary(place, g, &candidate)?;
        // (1 - z)·n + z·h = n + z·(h - n)
        let gap = self.apply_binary(place, Function::Sub, before, &candidate)?;
        let moved = self.apply_binary(place, Function::Mul, &update, &gap)?;
        let hidden = self.apply_binary(place, Function::Add, &candidate, &moved)?;
        Ok(State { hidden, cell: None })
    }
}

/// The largest state.
const HIDDEN_MAX: usize = 1 << 20;
