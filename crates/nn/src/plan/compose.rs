//! The steps that operators are composed of.

use super::{Floats, Lowering};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::layout::{Broadcast, Concat, Move, Part};
use crate::kernel::order::Blend;
use crate::kernel::pointwise::{Binary, Function, Unary};
use crate::load::Place;
use crate::model::Element;
use crate::tensor::strides;

impl Lowering<'_> {
    pub(super) fn apply_unary(&mut self, place: &Place, function: Unary, x: &Floats) -> Result<Floats, NnError> {
        self.emit_as(Element::Float, place, Kernel::Unary(function), &[x], x.shape.clone())
    }

    /// A function of two operands, broadcast. Integers stay integers, comparisons make truth values.
    pub(super) fn apply_binary(
        &mut self,
        place: &Place,
        function: Function,
        a: &Floats,
        b: &Floats,
    ) -> Result<Floats, NnError> {
        let Some((walk, shape)) = Broadcast::new(&a.shape, &b.shape) else {
            return Err(place.problem("has operands whose shapes do not fit each other"));
        };
        if function == Function::PRelu && shape != a.shape {
            return Err(place.problem("has a slope that does not fit its input"));
        }
        let whole = a.element != Element::Float && b.element != Element::Float;
        let (function, element) = match function {
            truth if truth.is_truth() => (truth, Element::Truth),
            Function::Div if whole => (Function::Quotient, Element::Integer),
            Function::Pow if a.element != Element::Float => (Function::Pow, Element::Integer),
            other if whole => (other, Element::Integer),
            other => (other, Element::Float),
        };
        self.emit_as(element, place, Kernel::Binary(Binary { function, walk }), &[a, b], shape)
    }

    /// `x` with its shape read otherwise; the number of elements must be the same.
    pub(super) fn shaped(x: &Floats, shape: Vec<usize>) -> Floats {
        Floats { shape, source: x.source, element: x.element }
    }

    /// Numbers `start..start + length` along an axis.
    pub(super) fn apply_part(
        &mut self,
        place: &Place,
        x: &Floats,
        axis: usize,
        start: usize,
        length: usize,
    ) -> Result<Floats, NnError> {
        let inner: usize = x.shape[axis + 1..].iter().product();
        let outer = x.shape[..axis].iter().product();
        let mut shape = x.shape.clone();
        shape[axis] = length;
        let kernel = Part { outer, row: x.shape[axis] * inner, start: start * inner, length: length * inner };
        self.emit_as(x.element, place, Kernel::Part(kernel), &[x], shape)
    }

    /// Operands of the same shape but for one axis, one behind the other.
    pub(super) fn apply_concat(&mut self, place: &Place, parts: &[&Floats], axis: usize) -> Result<Floats, NnError> {
        let Some(first) = parts.first() else { return Err(place.problem("lacks an input")) };
        let mut shape = first.shape.clone();
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let lengths = parts.iter().map(|part| part.shape[axis..].iter().product()).collect();
        let kernel = Concat { outer: shape[..axis].iter().product(), lengths };
        self.emit_as(first.element, place, Kernel::Concat(kernel), parts, shape)
    }

    /// The axes in another order.
    pub(super) fn apply_transpose(&mut self, place: &Place, x: &Floats, order: &[usize]) -> Result<Floats, NnError> {
        let shape: Vec<usize> = order.iter().map(|axis| x.shape[*axis]).collect();
        if order.iter().copied().eq(0..x.shape.len()) {
            return Ok(x.clone());
        }
        let steps = strides(&x.shape);
        self.afford_table::<u32>(shape.iter().product())?;
        let tables: Vec<(Vec<Option<usize>>, usize)> =
            order.iter().map(|axis| ((0..x.shape[*axis]).map(Some).collect(), steps[*axis])).collect();
        self.emit_as(x.element, place, Kernel::Move(Move::new(&tables, 0.0)), &[x], shape)
    }

    /// Weighted sums along the middle of `[outer, length, inner]`.
    pub(super) fn apply_blend(
        &mut self,
        place: &Place,
        x: &Floats,
        length: usize,
        inner: usize,
        taps: Vec<Vec<(usize, f64)>>,
        shape: Vec<usize>,
    ) -> Result<Floats, NnError> {
        self.emit_as(Element::Float, place, Kernel::Blend(Blend { length, inner, taps }), &[x], shape)
    }
}
