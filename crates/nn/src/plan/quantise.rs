//! Quantisation, to integers and back.

use super::{Fact, Floats, Lowering};
use crate::error::NnError;
use crate::kernel::elementary::Step;
use crate::kernel::pointwise::{Function, Unary};
use crate::load::Node;
use crate::model::Element;

impl Lowering<'_> {
    /// The numbers of a scale or zero point, along the axis where they are several.
    fn along_axis(node: &Node, x: &Floats, parameter: &Floats, axis: i64) -> Result<Floats, NnError> {
        match parameter.shape[..] {
            [] => Ok(parameter.clone()),
            [1] => Ok(Self::shaped(parameter, vec![])),
            [count] => {
                let axis = Self::axis(node, axis, x.shape.len())?;
                if x.shape[axis] != count {
                    return Err(node.place.problem("has a scale that does not fit its input"));
                }
                let mut shape = vec![1; x.shape.len()];
                shape[axis] = count;
                Ok(Self::shaped(parameter, shape))
            }
            _ => Err(node.place.problem("has a scale of blocks, which is not implemented")),
        }
    }

    /// round(x / scale) + zero, held to the range of the zero point's type: unsigned bytes where there is none.
    pub(super) fn quantise(&mut self, node: &Node, axis: i64) -> Result<Fact, NnError> {
        let (x, scale) = (self.floats(node, 0)?, self.floats(node, 1)?);
        let place = &node.place;
        let scale = Self::along_axis(node, &x, &scale, axis)?;
        let ratio = self.apply_binary(place, Function::Div, &x, &scale)?;
        let round = if self.order.through { Unary::Through(Step::Round) } else { Unary::Step(Step::Round) };
        let mut whole = self.apply_unary(place, round, &ratio)?;
        let (mut low, mut high) = (0.0, 255.0);
        if node.inputs.get(2).copied().flatten().is_some() {
            let mut zero = self.numbers(node, 2)?;
            if let Some((least, most)) = self.range_of(node) {
                (low, high) = (least, most);
            }
            zero.element = Element::Float;
            let zero = Self::along_axis(node, &x, &zero, axis)?;
            whole = self.apply_binary(place, Function::Add, &whole, &zero)?;
        }
        let mut held = self.apply_unary(place, Unary::Clip { low, high }, &whole)?;
        held.element = Element::Integer;
        Ok(Fact::Floats(held))
    }

    /// The range of the type that the zero point has in the file.
    fn range_of(&self, node: &Node) -> Option<(f64, f64)> {
        let value = node.inputs.get(2).copied().flatten()?;
        self.graph.ranges.get(&value).copied()
    }

    /// (x - zero) · scale
    pub(super) fn dequantise(&mut self, node: &Node, axis: i64) -> Result<Fact, NnError> {
        let (mut x, scale) = (self.numbers(node, 0)?, self.floats(node, 1)?);
        let place = &node.place;
        x.element = Element::Float;
        if node.inputs.get(2).copied().flatten().is_some() {
            let mut zero = self.numbers(node, 2)?;
            zero.element = Element::Float;
            let zero = Self::along_axis(node, &x, &zero, axis)?;
            x = self.apply_binary(place, Function::Sub, &x, &zero)?;
        }
        let scale = Self::along_axis(node, &x, &scale, axis)?;
        self.apply_binary(place, Function::Mul, &x, &scale).map(Fact::Floats)
    }
}
