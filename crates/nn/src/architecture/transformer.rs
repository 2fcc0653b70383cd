//! The parts that encoders and decoders share: dense layers over rows, attention over heads.
//!
//! Hidden states are rows `[batch · sequence, width]` all the way, so that dense layers are plain products; only attention
//! sees `[batch, heads, sequence, width / heads]`.

use ringfence_format::onnx::Dimension;
use ringfence_format::onnx::write::AttributeInput;

use super::LAYERS_MAX;
use super::chain::epsilon_of;
use super::error::ArchitectureError;
use super::fields::Fields;
use super::network::{Dim, Network, int};

/// Sizes of attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) count: usize,
    pub(super) width: usize,
}

impl Heads {
    /// So many heads over a hidden state of this width.
    pub(super) fn of(
        fields: &Fields<'_>,
        key: &'static str,
        usual: usize,
        hidden: usize,
    ) -> Result<Self, ArchitectureError> {
        let count = fields.positive(key, usual)?;
        if hidden.is_multiple_of(count) {
            Ok(Self { count, width: hidden / count })
        } else {
            Err(fields.wrong(key, &format!("is {count}, which does not divide the width {hidden}")))
        }
    }
}

/// How many layers a configuration has.
pub(super) fn depth(fields: &Fields<'_>, key: &'static str, usual: usize) -> Result<usize, ArchitectureError> {
    let depth = fields.positive(key, usual)?;
    if depth > LAYERS_MAX { Err(ArchitectureError::Layers { place: fields.at(key) }) } else { Ok(depth) }
}

/// `[batch, sequence]`, the sequence free unless it is fixed.
pub(super) fn sequences(length: Option<usize>) -> [Dim; 2] {
    let length = length.map_or(Dimension::Named("sequence"), |length| Dimension::Fixed(int(length)));
    [Dimension::Named("batch"), length]
}

/// A transformer in the making.
pub(super) struct Rows<'n, 't, 'w> {
    pub(super) network: &'n mut Network<'t, 'w>,
    pub(super) hidden: usize,
    /// The value that holds `[batch, sequence]`.
    shape: String,
    /// The value that holds `[batch, sequence, heads, width]`.
    headed: String,
    /// The constant `[-1, hidden]`.
    flat: String,
}

/// A layer's name in refusals, and the prefix of its tensors.
#[derive(Debug, Clone)]
pub(super) struct At(pub(super) String);

impl At {
    /// A part of it.
    pub(super) fn part(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }
}

impl<'n, 't, 'w> Rows<'n, 't, 'w> {
    /// For sequences whose ids are the value `ids`.
    pub(super) fn new(network: &'n mut Network<'t, 'w>, ids: &str, hidden: usize, heads: Heads) -> Self {
        let shape = network.node("shape", "Shape", &[ids], &[]);
        let sizes = network.integers(&[2], &[int(heads.count), int(heads.width)]);
        let headed = network.node("shape", "Concat", &[&shape, &sizes], &[("axis", AttributeInput::Int(0))]);
        let flat = network.integers(&[2], &[-1, int(hidden)]);
        Self { network, hidden, shape, headed, flat }
    }

    /// Rows of a table for each of `ids`, `[batch, sequence, hidden]`.
    pub(super) fn embed(&mut self, table: &At, ids: &str, rows: usize) -> Result<String, ArchitectureError> {
        let weight = table.part("weight").0;
        self.network.weight(&table.0, &weight, &[Some(rows), Some(self.hidden)])?;
        Ok(self.network.node(&table.0, "Gather", &[&weight, ids], &[("axis", AttributeInput::Int(0))]))
    }

    /// The places 0, 1, … of a sequence.
    pub(super) fn places(&mut self) -> String {
        let [zero, one] = [0, 1].map(|number| self.network.integers(&[], &[number]));
        let length = self.network.node("shape", "Gather", &[&self.shape, &one], &[("axis", AttributeInput::Int(0))]);
        self.network.node("shape", "Range", &[&zero, &length, &one], &[])
    }

    /// The value `[sequence, sequence]`, as a shape.
    pub(super) fn square(&mut self) -> String {
        let twice = self.network.integers(&[2], &[1, 1]);
        self.network.node("shape", "Gather", &[&self.shape, &twice], &[("axis", AttributeInput::Int(0))])
    }

    /// `[batch, sequence, hidden]` as rows.
    pub(super) fn flatten(&mut self, value: &str) -> String {
        self.network.node("shape", "Reshape", &[value, &self.flat], &[])
    }

    /// Rows as `[batch, sequence, width]`.
    pub(super) fn unflatten(&mut self, value: &str, width: usize) -> String {
        let last = self.network.integers(&[1], &[int(width)]);
        let shape = self.network.node("shape", "Concat", &[&self.shape, &last], &[("axis", AttributeInput::Int(0))]);
        self.network.node("shape", "Reshape", &[value, &shape], &[])
    }

    /// A dense layer whose weights are `[out, in]`, as `torch.nn.Linear` stores them.
    pub(super) fn linear(
        &mut self,
        at: &At,
        value: &str,
        [inputs, out]: [usize; 2],
    ) -> Result<String, ArchitectureError> {
        self.dense(at, value, [out, inputs], out, true)
    }

    /// A dense layer whose weights are `[in, out]`, as the `Conv1D` of transformers stores them.
    pub(super) fn turned(
        &mut self,
        at: &At,
        value: &str,
        [inputs, out]: [usize; 2],
    ) -> Result<String, ArchitectureError> {
        self.dense(at, value, [inputs, out], out, false)
    }

    fn dense(
        &mut self,
        at: &At,
        value: &str,
        shape: [usize; 2],
        out: usize,
        by_output: bool,
    ) -> Result<String, ArchitectureError> {
        let [weight, bias] = ["weight", "bias"].map(|name| at.part(name).0);
        self.network.weight(&at.0, &weight, &shape.map(Some))?;
        self.network.weight(&at.0, &bias, &[Some(out)])?;
        let turn = ("transB", AttributeInput::Int(i64::from(by_output)));
        Ok(self.network.node(&at.0, "Gemm", &[value, &weight, &bias], &[turn]))
    }

    /// Normalises rows. Old files call the scale `gamma` and the bias `beta`.
    pub(super) fn norm(&mut self, at: &At, value: &str, epsilon: f64) -> Result<String, ArchitectureError> {
        let old = self.network.tensors.holds(&at.part("gamma").0);
        let names = if old { ["gamma", "beta"] } else { ["weight", "bias"] };
        let [scale, bias] = names.map(|name| at.part(name).0);
        for name in [&scale, &bias] {
            self.network.weight(&at.0, name, &[Some(self.hidden)])?;
        }
        let attributes = [("axis", AttributeInput::Int(-1)), epsilon_of(epsilon)];
        Ok(self.network.node(&at.0, "LayerNormalization", &[value, &scale, &bias], &attributes))
    }

    pub(super) fn add(&mut self, at: &At, one: &str, other: &str) -> String {
        self.network.node(&at.0, "Add", &[one, other], &[])
    }

    /// softmax(q·kᵀ · scale + mask) · v over heads; rows in, rows out.
    pub(super) fn attend(&mut self, at: &At, [query, key, value]: [&str; 3], scale: f64, mask: &str) -> String {
        let [query, value] = [query, value].map(|rows| self.split(at, rows, [0, 2, 1, 3]));
        let key = self.split(at, key, [0, 2, 3, 1]);
        let scores = self.network.node(&at.0, "MatMul", &[&query, &key], &[]);
        let scale = self.network.numbers(&[], &[scale]);
        let scores = self.network.node(&at.0, "Mul", &[&scores, &scale], &[]);
        let scores = self.network.node(&at.0, "Add", &[&scores, mask], &[]);
        let shares = self.network.node(&at.0, "Softmax", &[&scores], &[("axis", AttributeInput::Int(-1))]);
        let mixed = self.network.node(&at.0, "MatMul", &[&shares, &value], &[]);
        let order = ("perm", AttributeInput::Ints(&[0, 2, 1, 3]));
        let mixed = self.network.node(&at.0, "Transpose", &[&mixed], &[order]);
        self.flatten(&mixed)
    }

    /// Rows by heads, their axes in this order of `[batch, sequence, heads, width]`.
    fn split(&mut self, at: &At, rows: &str, order: [i64; 4]) -> String {
        let by_heads = self.network.node(&at.0, "Reshape", &[rows, &self.headed], &[]);
        self.network.node(&at.0, "Transpose", &[&by_heads], &[("perm", AttributeInput::Ints(&order))])
    }
}

/// What is added to a score that must not count: far below every score, so that its share is exactly 0.
pub(super) const NEVER: f32 = -1e30;
