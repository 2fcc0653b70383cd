//! Operators that read and write at computed places, and the choice between two operands.

use super::layout::shape_of;
use super::{Fact, Floats, Lowering};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::index::{Address, Gather, Meeting, Places, Scatter, Select, advance};
use crate::kernel::pointwise::Function;
use crate::load::{Node, Operator, Place};
use crate::model::Element;
use crate::tensor::{elements, strides};

impl Lowering<'_> {
    /// Lowers what this module and [`super::order`] know; `None` is for others.
    pub(super) fn indexed(&mut self, node: &Node) -> Result<Option<Fact>, NnError> {
        let floats = match &node.operator {
            Operator::GatherElements { axis } => self.gather_elements(node, *axis)?,
            Operator::GatherNd { batch_dims } => self.gather_tuples(node, *batch_dims)?,
            Operator::ScatterElements { axis, meeting } => self.scatter_elements(node, *axis, *meeting)?,
            Operator::ScatterNd { meeting } => self.scatter_tuples(node, *meeting)?,
            Operator::OneHot { axis } => self.one_hot(node, *axis)?,
            Operator::Where => {
                let (condition, yes, no) = (self.numbers(node, 0)?, self.numbers(node, 1)?, self.numbers(node, 2)?);
                if (yes.element == Element::Float) != (no.element == Element::Float) {
                    return Err(node.place.problem("mixes integers and floating-point numbers"));
                }
                self.apply_select(&node.place, &condition, &yes, &no)?
            }
            Operator::Extreme { axis, keep, largest, last } => self.extreme(node, *axis, *keep, *largest, *last)?,
            Operator::Hardmax { axis, joins_axes } => self.winner(node, *axis, *joins_axes)?,
            Operator::CumSum { exclusive, reverse } => self.running(node, *exclusive, *reverse)?,
            Operator::NonZero => self.non_zero(node)?,
            _ => return Ok(None),
        };
        Ok(Some(Fact::Floats(floats)))
    }

    /// `Gather` at places that depend on the input: embeddings of token ids.
    pub(super) fn gather_computed(&mut self, node: &Node, axis: i64) -> Result<Fact, NnError> {
        let (data, indices) = (self.numbers(node, 0)?, self.indices(node)?);
        let axis = Self::axis(node, axis, data.shape.len())?;
        let shape: Vec<usize> =
            data.shape[..axis].iter().chain(&indices.shape).chain(&data.shape[axis + 1..]).copied().collect();
        let run = data.shape[axis + 1..].iter().product();
        let address = Address::Axis { outer: data.shape[..axis].iter().product(), length: data.shape[axis], run };
        self.emit_gather(node, address, &data, &indices, shape).map(Fact::Floats)
    }

    fn indices(&mut self, node: &Node) -> Result<Floats, NnError> {
        let indices = self.numbers(node, 1)?;
        if indices.element == Element::Float {
            return Err(node.place.problem("has indices that are not integers"));
        }
        Ok(indices)
    }

    fn emit_gather(
        &mut self,
        node: &Node,
        address: Address,
        data: &Floats,
        indices: &Floats,
        shape: Vec<usize>,
    ) -> Result<Floats, NnError> {
        self.emit_as(data.element, &node.place, Kernel::Gather(Gather { address }), &[data, indices], shape)
    }

    fn gather_elements(&mut self, node: &Node, axis: i64) -> Result<Floats, NnError> {
        let (data, indices) = (self.numbers(node, 0)?, self.indices(node)?);
        let address = Self::by_elements(node, axis, &data, &indices)?;
        self.emit_gather(node, address, &data, &indices, indices.shape.clone())
    }

    fn by_elements(node: &Node, axis: i64, data: &Floats, indices: &Floats) -> Result<Address, NnError> {
        let axis = Self::axis(node, axis, data.shape.len())?;
        let mut pairs = indices.shape.iter().zip(&data.shape).enumerate();
        if indices.shape.len() != data.shape.len() || !pairs.all(|(at, (index, data))| at == axis || index <= data) {
            return Err(node.place.problem("has indices whose shape does not fit its data"));
        }
        let (shape, strides, length) = (indices.shape.clone(), strides(&data.shape), data.shape[axis]);
        Ok(Address::Elements { shape, strides, axis, length })
    }

    /// How rows of indices name places: the address, and the shape of what lies at each.
    fn by_tuples(
        node: &Node,
        batch_dims: usize,
        data: &[usize],
        indices: &[usize],
    ) -> Result<(Address, Vec<usize>), NnError> {
        let bad = || node.place.problem("has indices whose shape does not fit its data");
        let (width, rows) = indices.split_last().ok_or_else(bad)?;
        let end = batch_dims.checked_add(*width).filter(|end| *end <= data.len() && *width > 0).ok_or_else(bad)?;
        if rows.len() < batch_dims || rows[..batch_dims] != data[..batch_dims] {
            return Err(bad());
        }
        let all = strides(data);
        let address = Address::Tuples {
            batch: rows[batch_dims..].iter().product(),
            span: data[batch_dims..].iter().product(),
            lengths: data[batch_dims..end].to_vec(),
            strides: all[batch_dims..end].to_vec(),
            run: data[end..].iter().product(),
        };
        Ok((address, data[end..].to_vec()))
    }

    fn gather_tuples(&mut self, node: &Node, batch_dims: i64) -> Result<Floats, NnError> {
        let (data, indices) = (self.numbers(node, 0)?, self.indices(node)?);
        let batch_dims = usize::try_from(batch_dims).unwrap_or(usize::MAX);
        let (address, inner) = Self::by_tuples(node, batch_dims, &data.shape, &indices.shape)?;
        let rows = &indices.shape[..indices.shape.len() - 1];
        let shape: Vec<usize> = rows.iter().chain(&inner).copied().collect();
        self.emit_gather(node, address, &data, &indices, shape)
    }

    fn scatter_elements(&mut self, node: &Node, axis: i64, meeting: Meeting) -> Result<Floats, NnError> {
        let (data, indices, updates) = (self.numbers(node, 0)?, self.indices(node)?, self.numbers(node, 2)?);
        let address = Self::by_elements(node, axis, &data, &indices)?;
        if updates.shape != indices.shape {
            return Err(node.place.problem("has updates that do not fit its indices"));
        }
        self.emit_scatter(node, Scatter { address, meeting }, &data, &indices, &updates)
    }

    fn scatter_tuples(&mut self, node: &Node, meeting: Meeting) -> Result<Floats, NnError> {
        let (data, indices, updates) = (self.numbers(node, 0)?, self.indices(node)?, self.numbers(node, 2)?);
        let (address, inner) = Self::by_tuples(node, 0, &data.shape, &indices.shape)?;
        let rows = &indices.shape[..indices.shape.len() - 1];
        if !rows.iter().chain(&inner).eq(&updates.shape) {
            return Err(node.place.problem("has updates that do not fit its indices"));
        }
        self.emit_scatter(node, Scatter { address, meeting }, &data, &indices, &updates)
    }

    fn emit_scatter(
        &mut self,
        node: &Node,
        scatter: Scatter,
        data: &Floats,
        indices: &Floats,
        updates: &Floats,
    ) -> Result<Floats, NnError> {
        if (data.element == Element::Float) != (updates.element == Element::Float) {
            return Err(node.place.problem("mixes integers and floating-point numbers"));
        }
        let shape = data.shape.clone();
        self.emit_as(data.element, &node.place, Kernel::Scatter(scatter), &[data, indices, updates], shape)
    }

    /// One of two operands at each place, all three broadcast.
    pub(super) fn apply_select(
        &mut self,
        place: &Place,
        condition: &Floats,
        yes: &Floats,
        no: &Floats,
    ) -> Result<Floats, NnError> {
        let bad = || place.problem("has operands whose shapes do not fit each other");
        let mut shape: Vec<usize> = Vec::new();
        for operand in [condition, yes, no] {
            shape = broadcast(&shape, &operand.shape).ok_or_else(bad)?;
        }
        let mut operands = Vec::with_capacity(3);
        for operand in [condition, yes, no] {
            operands.push(self.places(&operand.shape, &shape)?);
        }
        let operands = operands.try_into().map_err(|_| bad())?;
        self.emit_as(yes.element, place, Kernel::Select(Select { operands }), &[condition, yes, no], shape)
    }

    /// Where an operand's numbers lie for each place of a larger shape.
    fn places(&mut self, operand: &[usize], shape: &[usize]) -> Result<Places, NnError> {
        if operand == shape {
            return Ok(Places::Same);
        }
        if operand.iter().all(|dim| *dim == 1) {
            return Ok(Places::One);
        }
        let count = elements(shape).unwrap_or(usize::MAX);
        self.afford_table::<u32>(count)?;
        let own = strides(operand);
        let missing = shape.len() - operand.len();
        let steps: Vec<usize> = (0..shape.len())
            .map(|axis| if axis < missing || operand[axis - missing] == 1 { 0 } else { own[axis - missing] })
            .collect();
        let mut place = vec![0usize; shape.len()];
        let mut table = Vec::with_capacity(count);
        for _ in 0..count {
            let at: usize = place.iter().zip(&steps).map(|(at, step)| at * step).sum();
            // INVARIANT: plans hold tensors to ELEMENTS_MAX < 2^31 elements, so every place fits.
            table.push(u32::try_from(at).unwrap_or(0));
            advance(&mut place, shape);
        }
        Ok(Places::Table(table))
    }

    /// `on` where a class number equals the place along the new axis, `off` elsewhere.
    fn one_hot(&mut self, node: &Node, axis: i64) -> Result<Floats, NnError> {
        let indices = self.numbers(node, 0)?;
        let (depth, values) = (self.constants(node, 1)?, self.constants(node, 2)?);
        let (Some([depth]), Some([off, on])) = (depth.as_deref(), values.as_deref()) else {
            return Err(node.place.problem("needs a depth and two values"));
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against the limits below")]
        let depth = *depth as usize;
        let rank = indices.shape.len() + 1;
        let axis = Self::axis(node, axis, rank)?;
        let mut shape = indices.shape.clone();
        shape.insert(axis, 1);
        let indices = Self::shaped(&indices, shape);
        if elements(&[depth, indices.shape.iter().product()]).is_none() {
            return Err(node.place.problem("makes a tensor beyond the limits"));
        }
        let mut classes = vec![1; rank];
        classes[axis] = depth;
        let classes = self.literal_of(indices.element, classes, (0..depth).map(|class| class as f64).collect());
        // A negative class counts from the end.
        let whole = self.literal_of(indices.element, vec![], vec![depth as f64]);
        let indices = self.apply_binary(&node.place, Function::Modulo, &indices, &whole)?;
        let hit = self.apply_binary(&node.place, Function::Equal, &indices, &classes)?;
        let element = match self.fact(node, 2)? {
            Fact::Floats(values) => values.element,
            Fact::Integers { .. } => Element::Integer,
        };
        let (on, off) = (self.literal_of(element, vec![], vec![*on]), self.literal_of(element, vec![], vec![*off]));
        self.apply_select(&node.place, &hit, &on, &off)
    }

    /// Places of known numbers only: how many there are must be known before the input is.
    fn non_zero(&mut self, node: &Node) -> Result<Floats, NnError> {
        let fact = self.fact(node, 0)?;
        let shape = shape_of(&fact).to_vec();
        let numbers = self.constants(node, 0)?.unwrap_or_default();
        let mut columns = Vec::new();
        let mut place = vec![0usize; shape.len()];
        for number in &numbers {
            if *number != 0.0 {
                columns.push(place.clone());
            }
            advance(&mut place, &shape);
        }
        self.afford_table::<f64>(columns.len().saturating_mul(shape.len()))?;
        let rows = 0..shape.len();
        let found = rows.flat_map(|axis| columns.iter().map(move |column| column[axis] as f64)).collect();
        Ok(self.literal_of(Element::Integer, vec![shape.len(), columns.len()], found))
    }
}

/// The shape that two shapes are broadcast to.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let joined = (0..rank).map(|axis| match (dim(a, axis), dim(b, axis)) {
        (1, other) | (other, 1) => Some(other),
        (same, other) if same == other => Some(same),
        _ => None,
    });
    joined.collect()
}
