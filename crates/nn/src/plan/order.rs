//! Operators along one axis that depend on the order of its numbers.

use super::{Fact, Floats, Lowering};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::index::{Address, Gather};
use crate::kernel::order::{Extreme, First, Running, Winner};
use crate::load::Node;
use crate::model::Element;
use crate::tensor::strides;

impl Lowering<'_> {
    pub(super) fn extreme(
        &mut self,
        node: &Node,
        axis: i64,
        keep: bool,
        largest: bool,
        last: bool,
    ) -> Result<Floats, NnError> {
        let x = self.numbers(node, 0)?;
        let axis = Self::axis(node, axis, x.shape.len())?;
        let (length, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product());
        let mut shape = x.shape.clone();
        if keep {
            shape[axis] = 1;
        } else {
            shape.remove(axis);
        }
        let kernel = Kernel::Extreme(Extreme { length, inner, largest, last });
        self.emit_as(Element::Integer, &node.place, kernel, &[&x], shape)
    }

    /// The numbers and their indices: the numbers are read at the indices, so they have a gradient.
    pub(super) fn first_few(
        &mut self,
        node: &Node,
        axis: i64,
        largest: bool,
        count: Option<i64>,
    ) -> Result<Vec<Fact>, NnError> {
        let x = self.numbers(node, 0)?;
        let count = match count {
            Some(count) => count,
            None => match self.integers(node, 1)?.as_deref() {
                Some([count]) => *count,
                _ => return Err(node.place.problem("needs a number of elements")),
            },
        };
        let axis = Self::axis(node, axis, x.shape.len())?;
        let count = usize::try_from(count).ok().filter(|count| *count <= x.shape[axis]);
        let count = count.ok_or_else(|| node.place.problem("wants more elements than there are"))?;
        let (length, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product());
        let mut shape = x.shape.clone();
        shape[axis] = count;
        let kernel = Kernel::First(First { length, inner, count, largest });
        let indices = self.emit_as(Element::Integer, &node.place, kernel, &[&x], shape.clone())?;
        let address = Address::Elements { shape: shape.clone(), strides: strides(&x.shape), axis, length };
        let kernel = Kernel::Gather(Gather { address });
        let numbers = self.emit_as(x.element, &node.place, kernel, &[&x, &indices], shape)?;
        Ok(vec![Fact::Floats(numbers), Fact::Floats(indices)])
    }

    pub(super) fn winner(&mut self, node: &Node, axis: i64, joins_axes: bool) -> Result<Floats, NnError> {
        let x = self.floats(node, 0)?;
        let (length, inner) = Self::along(node, axis, &x.shape, joins_axes)?;
        self.emit_as(Element::Float, &node.place, Kernel::Winner(Winner { length, inner }), &[&x], x.shape.clone())
    }

    pub(super) fn running(&mut self, node: &Node, exclusive: bool, reverse: bool) -> Result<Floats, NnError> {
        let x = self.numbers(node, 0)?;
        let axes = self.integers(node, 1)?.unwrap_or_default();
        let [axis] = axes[..] else { return Err(node.place.problem("needs one axis")) };
        let axis = Self::axis(node, axis, x.shape.len())?;
        let (length, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product());
        let element = if x.element == Element::Float { Element::Float } else { Element::Integer };
        let kernel = Kernel::Running(Running { length, inner, exclusive, reverse });
        self.emit_as(element, &node.place, kernel, &[&x], x.shape.clone())
    }
}
