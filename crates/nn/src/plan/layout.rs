//! Operators that only move numbers, and the shape arithmetic that tells them where.

use super::{Fact, Floats, Lowering};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::elementary::Step;
use crate::kernel::layout::{Broadcast, Move};
use crate::kernel::pointwise::Unary;
use crate::limits::{ELEMENTS_MAX, SHAPE_ELEMENTS_MAX};
use crate::load::{Bounds, CastTo, Node, Operator, PadMode, Shuffle};
use crate::model::Element;
use crate::tensor::{elements, strides};

/// For each index of an output axis the index of the input axis, or `None` for padding; and the input axis's stride.
type Table = (Vec<Option<usize>>, usize);

impl Lowering<'_> {
    pub(super) fn layout(&mut self, node: &Node) -> Result<Fact, NnError> {
        match &node.operator {
            Operator::Identity => self.identity(node),
            Operator::Flatten { axis } => self.flatten(node, *axis),
            Operator::Reshape { zero_is_zero } => self.reshape(node, *zero_is_zero),
            Operator::Squeeze { axes } => self.squeeze(node, axes.as_deref()),
            Operator::Unsqueeze { axes } => self.unsqueeze(node, axes.as_deref()),
            Operator::Transpose { order } => self.transpose(node, order.as_deref()),
            Operator::Concat { axis } => self.concat(node, *axis),
            Operator::Slice { bounds } => {
                let bounds = bounds.clone().map_or_else(|| self.bounds(node), Ok)?;
                self.slice(node, bounds)
            }
            Operator::Gather { axis } => self.gather(node, *axis),
            Operator::Pad { mode, pads, value } => self.pad(node, *mode, pads.clone(), *value),
            Operator::Expand => self.expand(node),
            Operator::Resize(mode) => self.resize(node, mode),
            Operator::Tile => self.tile(node),
            Operator::Shuffle(shuffle) => self.shuffle(node, *shuffle),
            Operator::Trilu { upper } => self.triangle(node, *upper),
            Operator::Range => self.range(node),
            Operator::EyeLike { offset } => self.eye(node, *offset),
            Operator::Size => {
                let count = shape_of(&self.fact(node, 0)?).iter().product::<usize>();
                Ok(Fact::Integers { shape: vec![], numbers: vec![i64::try_from(count).unwrap_or(i64::MAX)] })
            }
            Operator::Shape { start, end } => {
                let shape = shape_of(&self.fact(node, 0)?).to_vec();
                Ok(Self::shape(&shape, *start, *end))
            }
            Operator::ConstantOfShape { value, integer } => self.constant_of_shape(node, *value, *integer),
            Operator::Cast { to } => self.cast(node, *to),
            Operator::CastLike => {
                let to = match self.fact(node, 1)? {
                    Fact::Floats(Floats { element: Element::Float, .. }) => CastTo::Float,
                    Fact::Floats(Floats { element: Element::Truth, .. }) => CastTo::Truth,
                    _ => CastTo::Integer,
                };
                self.cast(node, to)
            }
            _ => Err(node.place.unknown()),
        }
    }

    fn identity(&self, node: &Node) -> Result<Fact, NnError> {
        // Dropout's third input: training mode.
        if let Some(mode) = self.integers(node, 2)?
            && mode != [0]
        {
            return Err(node.place.problem("is in training mode"));
        }
        self.fact(node, 0)
    }

    fn view(fact: Fact, shape: Vec<usize>) -> Fact {
        match fact {
            Fact::Floats(floats) => Fact::Floats(Floats { shape, ..floats }),
            Fact::Integers { numbers, .. } => Fact::Integers { shape, numbers },
        }
    }

    fn flatten(&self, node: &Node, axis: i64) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let shape = shape_of(&fact);
        let axis = if axis == i64::try_from(shape.len()).unwrap_or(0) {
            shape.len()
        } else {
            Self::axis(node, axis, shape.len())?
        };
        let (rows, columns) = (shape[..axis].iter().product(), shape[axis..].iter().product());
        Ok(Self::view(fact, vec![rows, columns]))
    }

    fn reshape(&self, node: &Node, zero_is_zero: bool) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let target = self.integers(node, 1)?.ok_or_else(|| node.place.problem("lacks an input"))?;
        let old = shape_of(&fact);
        let bad = || node.place.problem("has a target shape that does not fit its input");
        let mut shape = Vec::with_capacity(target.len());
        let mut free = None;
        for (axis, dim) in target.iter().enumerate() {
            shape.push(match dim {
                -1 if free.is_none() => {
                    free = Some(axis);
                    1
                }
                0 if !zero_is_zero => *old.get(axis).ok_or_else(bad)?,
                dim => usize::try_from(*dim).map_err(|_| bad())?,
            });
        }
        let (count, known) = (old.iter().product::<usize>(), elements(&shape).ok_or_else(bad)?);
        if let Some(axis) = free {
            shape[axis] = count.checked_div(known).ok_or_else(bad)?;
        }
        if elements(&shape) != Some(count) {
            return Err(bad());
        }
        Ok(Self::view(fact, shape))
    }

    /// Axes from the attribute, or from input 1.
    fn axes(&self, node: &Node, attribute: Option<&[i64]>, rank: usize) -> Result<Option<Vec<usize>>, NnError> {
        let axes = match attribute {
            Some(axes) => Some(axes.to_vec()),
            None => self.integers(node, 1)?,
        };
        let Some(axes) = axes else { return Ok(None) };
        let axes = axes.iter().map(|axis| Self::axis(node, *axis, rank)).collect::<Result<Vec<_>, _>>()?;
        let twice = (1..axes.len()).any(|at| axes[..at].contains(&axes[at]));
        if twice { Err(node.place.problem("names an axis twice")) } else { Ok(Some(axes)) }
    }

    fn squeeze(&self, node: &Node, attribute: Option<&[i64]>) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let old = shape_of(&fact);
        let axes = match self.axes(node, attribute, old.len())? {
            Some(axes) => axes,
            None => (0..old.len()).filter(|axis| old[*axis] == 1).collect(),
        };
        if axes.iter().any(|axis| old[*axis] != 1) {
            return Err(node.place.problem("squeezes an axis that is not 1 long"));
        }
        let shape = (0..old.len()).filter(|axis| !axes.contains(axis)).map(|axis| old[axis]).collect();
        Ok(Self::view(fact, shape))
    }

    fn unsqueeze(&self, node: &Node, attribute: Option<&[i64]>) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let more = match attribute {
            Some(axes) => axes.len(),
            None => self.integers(node, 1)?.map_or(0, |axes| axes.len()),
        };
        let rank = shape_of(&fact).len().saturating_add(more);
        if rank > crate::limits::RANK_MAX {
            return Err(node.place.problem("makes a tensor beyond the limits"));
        }
        let Some(axes) = self.axes(node, attribute, rank)? else {
            return Err(node.place.problem("lacks its axes"));
        };
        let mut old = shape_of(&fact).iter();
        let shape =
            (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { old.next().copied().unwrap_or(1) }).collect();
        Ok(Self::view(fact, shape))
    }

    /// Emits a move, or carries it out where the numbers are known.
    pub(super) fn moved(
        &mut self,
        node: &Node,
        fact: Fact,
        tables: &[Table],
        shape: Vec<usize>,
        fill: f64,
    ) -> Result<Fact, NnError> {
        let lengths: Vec<usize> = tables.iter().map(|table| table.0.len()).collect();
        let count = elements(&lengths).ok_or_else(|| node.place.problem("makes a tensor beyond the limits"))?;
        self.afford_table::<u32>(count)?;
        match fact {
            Fact::Integers { numbers, .. } if count <= SHAPE_ELEMENTS_MAX => {
                Ok(Fact::Integers { shape, numbers: Move::new(tables, fill).apply(&numbers) })
            }
            fact => {
                let floats = self.numbers_of(fact);
                let kernel = Kernel::Move(Move::new(tables, fill));
                self.emit_as(floats.element, &node.place, kernel, &[&floats], shape).map(Fact::Floats)
            }
        }
    }

    fn transpose(&mut self, node: &Node, order: Option<&[i64]>) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let old = shape_of(&fact);
        let order: Vec<usize> = match order {
            None => (0..old.len()).rev().collect(),
            Some(order) => order.iter().filter_map(|axis| usize::try_from(*axis).ok()).collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..old.len()) {
            return Err(node.place.attribute("perm", "is not an order of the axes"));
        }
        let steps = strides(old);
        let shape: Vec<usize> = order.iter().map(|axis| old[*axis]).collect();
        let tables: Vec<Table> = order.iter().map(|axis| ((0..old[*axis]).map(Some).collect(), steps[*axis])).collect();
        self.moved(node, fact, &tables, shape, 0.0)
    }

    /// A move that treats every axis by itself.
    pub(super) fn per_axis(
        &mut self,
        node: &Node,
        fact: Fact,
        tables: Vec<Vec<Option<usize>>>,
        fill: f64,
    ) -> Result<Fact, NnError> {
        let shape: Vec<usize> = tables.iter().map(Vec::len).collect();
        let tables: Vec<Table> = tables.into_iter().zip(strides(shape_of(&fact))).collect();
        self.moved(node, fact, &tables, shape, fill)
    }

    fn concat(&mut self, node: &Node, axis: i64) -> Result<Fact, NnError> {
        let facts = (0..node.inputs.len()).map(|index| self.fact(node, index)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = facts.first() else { return Err(node.place.problem("lacks an input")) };
        let mut shape = shape_of(first).to_vec();
        let axis = Self::axis(node, axis, shape.len())?;
        let mut total = 0usize;
        for fact in &facts {
            let other = shape_of(fact);
            let fits = other.len() == shape.len()
                && other.iter().zip(&shape).enumerate().all(|(at, (a, b))| at == axis || a == b);
            if !fits {
                return Err(node.place.problem("has inputs whose shapes do not fit each other"));
            }
            total = total.saturating_add(other[axis]);
        }
        shape[axis] = total;
        if elements(&shape).is_none() {
            return Err(node.place.problem("makes a tensor beyond the limits"));
        }
        if shape.len() == 1
            && let Some(numbers) = joined_integers(&facts)
        {
            return Ok(Fact::Integers { shape, numbers });
        }
        let mut inputs = Vec::with_capacity(facts.len());
        for fact in facts {
            let floats = self.numbers_of(fact);
            // Nothing is joined to nothing.
            if !floats.shape.contains(&0) {
                inputs.push(floats);
            }
        }
        let whole = inputs.iter().filter(|input| input.element != Element::Float).count();
        if whole > 0 && whole < inputs.len() {
            return Err(node.place.problem("mixes integers and floating-point numbers"));
        }
        self.apply_concat(&node.place, &inputs.iter().collect::<Vec<_>>(), axis).map(Fact::Floats)
    }

    pub(super) fn split(&mut self, node: &Node, axis: i64, sizes: Option<&[i64]>) -> Result<Vec<Fact>, NnError> {
        let fact = self.fact(node, 0)?;
        let old = shape_of(&fact).to_vec();
        let axis = Self::axis(node, axis, old.len())?;
        let sizes = match sizes {
            Some(sizes) => Some(sizes.to_vec()),
            None => self.integers(node, 1)?,
        };
        let count = node.outputs.len();
        let sizes: Vec<usize> = if let Some(sizes) = sizes {
            sizes.iter().filter_map(|size| usize::try_from(*size).ok()).collect()
        } else {
            // Equal parts; the last one may be smaller.
            let part = old[axis].div_ceil(count.max(1));
            (0..count).map(|index| part.min(old[axis].saturating_sub(index * part))).collect()
        };
        let whole = sizes.iter().try_fold(0usize, |sum, size| sum.checked_add(*size));
        if sizes.len() != count || whole != Some(old[axis]) {
            return Err(node.place.problem("has parts that do not make up its input"));
        }
        let mut start = 0;
        let mut parts = Vec::with_capacity(count);
        for size in sizes {
            let range = |at: usize| if at == axis { start..start + size } else { 0..old[at] };
            let tables = (0..old.len()).map(|at| range(at).map(Some).collect()).collect();
            parts.push(self.per_axis(node, fact.clone(), tables, 0.0)?);
            start += size;
        }
        Ok(parts)
    }

    /// A slice's bounds from its inputs.
    fn bounds(&self, node: &Node) -> Result<Bounds, NnError> {
        let needed = |index| self.integers(node, index)?.ok_or_else(|| node.place.problem("lacks an input"));
        let (axes, steps) = (self.integers(node, 3)?, self.integers(node, 4)?);
        Ok(Bounds { starts: needed(1)?, ends: needed(2)?, axes, steps })
    }

    fn slice(&mut self, node: &Node, bounds: Bounds) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let old = shape_of(&fact).to_vec();
        let Bounds { starts, ends, axes, steps } = bounds;
        let axes = axes.unwrap_or_else(|| (0..).take(starts.len()).collect());
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(node.place.problem("has bounds of different lengths"));
        }
        let mut tables: Vec<Vec<Option<usize>>> = old.iter().map(|dim| (0..*dim).map(Some).collect()).collect();
        for (at, axis) in axes.iter().enumerate() {
            let axis = Self::axis(node, *axis, old.len())?;
            tables[axis] = sliced(old[axis], starts[at], ends[at], steps[at])
                .ok_or_else(|| node.place.problem("has a step of 0"))?;
        }
        self.per_axis(node, fact, tables, 0.0)
    }

    fn gather(&mut self, node: &Node, axis: i64) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let Some(Fact::Integers { shape: places, numbers }) = self.optional_fact(node, 1) else {
            return self.gather_computed(node, axis);
        };
        let old = shape_of(&fact).to_vec();
        let axis = Self::axis(node, axis, old.len())?;
        let picked = numbers.iter().map(|index| Self::axis(node, *index, old[axis]).map(Some));
        let picked = picked.collect::<Result<Vec<_>, _>>();
        let picked = picked.map_err(|_| node.place.problem("has an index that is out of range"))?;
        let mut tables: Vec<Vec<Option<usize>>> = old.iter().map(|dim| (0..*dim).map(Some).collect()).collect();
        tables[axis] = picked;
        let moved = self.per_axis(node, fact, tables, 0.0)?;
        let shape: Vec<usize> = old[..axis].iter().chain(&places).chain(&old[axis + 1..]).copied().collect();
        if elements(&shape).is_none() {
            return Err(node.place.problem("makes a tensor beyond the limits"));
        }
        Ok(Self::view(moved, shape))
    }

    fn pad(&mut self, node: &Node, mode: PadMode, pads: Option<Vec<i64>>, value: f64) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let old = shape_of(&fact).to_vec();
        let pads = match pads {
            Some(pads) => pads,
            None => self.integers(node, 1)?.ok_or_else(|| node.place.problem("lacks its pads"))?,
        };
        let value = match self.constants(node, 2)?.as_deref() {
            None | Some([]) => value,
            Some([value]) => *value,
            Some(_) => return Err(node.place.problem("has a fill value that is not a scalar")),
        };
        let axes = match self.integers(node, 3)? {
            Some(axes) => axes.iter().map(|axis| Self::axis(node, *axis, old.len())).collect::<Result<Vec<_>, _>>()?,
            None => (0..old.len()).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(node.place.problem("has pads that do not fit its axes"));
        }
        let mut tables: Vec<Vec<Option<usize>>> = old.iter().map(|dim| (0..*dim).map(Some).collect()).collect();
        for (at, axis) in axes.iter().enumerate() {
            let longest = [pads[at], pads[at + axes.len()]].map(i64::unsigned_abs).into_iter();
            let longest = longest.fold(old[*axis] as u64, u64::saturating_add);
            self.afford_table::<Option<usize>>(usize::try_from(longest).unwrap_or(usize::MAX))?;
            tables[*axis] = padded(old[*axis], pads[at], pads[at + axes.len()], mode)
                .ok_or_else(|| node.place.problem("has pads that are not possible"))?;
        }
        self.per_axis(node, fact, tables, value)
    }

    fn expand(&mut self, node: &Node) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let target = self.integers(node, 1)?.ok_or_else(|| node.place.problem("lacks its shape"))?;
        let wanted: Option<Vec<usize>> = target.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let old = shape_of(&fact).to_vec();
        let shape = wanted.filter(|wanted| elements(wanted).is_some());
        let shape = shape.and_then(|wanted| Broadcast::new(&old, &wanted)).map(|(_, shape)| shape);
        let shape = shape.filter(|shape| elements(shape).is_some());
        let shape = shape.ok_or_else(|| node.place.problem("has a shape that does not fit its input"))?;
        self.afford_table::<Option<usize>>(shape.iter().fold(0, |sum, dim| sum.saturating_add(*dim)))?;
        let (steps, missing) = (strides(&old), shape.len() - old.len());
        let table = |axis: usize| -> Table {
            let repeats = axis < missing || old[axis - missing] == 1;
            let stride = if repeats { 0 } else { steps[axis - missing] };
            ((0..shape[axis]).map(|index| Some(if repeats { 0 } else { index })).collect(), stride)
        };
        let tables: Vec<Table> = (0..shape.len()).map(table).collect();
        self.moved(node, fact, &tables, shape, 0.0)
    }

    fn shape(shape: &[usize], start: i64, end: Option<i64>) -> Fact {
        let rank = i64::try_from(shape.len()).unwrap_or(0);
        let clamp =
            |at: i64| usize::try_from(if at < 0 { at.saturating_add(rank) } else { at }.clamp(0, rank)).unwrap_or(0);
        let (start, end) = (clamp(start), clamp(end.unwrap_or(rank)));
        let part = shape.get(start..end).unwrap_or_default();
        let numbers: Vec<i64> = part.iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect();
        Fact::Integers { shape: vec![numbers.len()], numbers }
    }

    fn constant_of_shape(&mut self, node: &Node, value: f64, integer: bool) -> Result<Fact, NnError> {
        let shape = self.integers(node, 0)?.ok_or_else(|| node.place.problem("lacks its shape"))?;
        let shape: Option<Vec<usize>> = shape.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let shape = shape.ok_or_else(|| node.place.problem("has an impossible shape"))?;
        let count = elements(&shape).ok_or_else(|| node.place.problem("makes a tensor beyond the limits"))?;
        if integer && count == 0 {
            return Ok(Fact::Integers { shape, numbers: Vec::new() });
        }
        self.afford_table::<f64>(count)?;
        let element = if integer { Element::Integer } else { Element::Float };
        Ok(Fact::Floats(self.literal_of(element, shape, vec![value; count])))
    }

    fn cast(&mut self, node: &Node, to: CastTo) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let from = match &fact {
            Fact::Floats(floats) => floats.element,
            Fact::Integers { .. } if to == CastTo::Integer => return Ok(fact),
            Fact::Integers { .. } => Element::Integer,
        };
        let mut x = self.numbers_of(fact);
        let (element, step) = match to {
            CastTo::Float => (Element::Float, None),
            CastTo::Integer => (Element::Integer, (from == Element::Float).then_some(Step::Truncate)),
            CastTo::Truth => (Element::Truth, (from != Element::Truth).then_some(Step::Truth)),
        };
        let Some(step) = step else {
            x.element = element;
            return Ok(Fact::Floats(x));
        };
        let kernel = if self.order.through && step.rounds() { Unary::Through(step) } else { Unary::Step(step) };
        self.emit_as(element, &node.place, Kernel::Unary(kernel), &[&x], x.shape.clone()).map(Fact::Floats)
    }

    fn tile(&mut self, node: &Node) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let repeats = self.integers(node, 1)?.ok_or_else(|| node.place.problem("lacks its repeats"))?;
        let old = shape_of(&fact).to_vec();
        let repeats: Vec<usize> = repeats.iter().filter_map(|count| usize::try_from(*count).ok()).collect();
        let shape: Option<Vec<usize>> = old.iter().zip(&repeats).map(|(dim, count)| dim.checked_mul(*count)).collect();
        let shape = shape.filter(|shape| repeats.len() == old.len() && elements(shape).is_some());
        let shape = shape.ok_or_else(|| node.place.problem("has repeats that do not fit its input"))?;
        self.afford_table::<Option<usize>>(shape.iter().fold(0, |sum, dim| sum.saturating_add(*dim)))?;
        let tables = shape.iter().zip(&old).map(|(new, old)| (0..*new).map(|at| at.checked_rem(*old)).collect());
        self.per_axis(node, fact, tables.collect(), 0.0)
    }

    fn shuffle(&mut self, node: &Node, shuffle: Shuffle) -> Result<Fact, NnError> {
        let x = self.floats(node, 0)?;
        let [batch, channels, height, width] = x.shape[..] else {
            return Err(node.place.problem("has an input that is not of rank 4"));
        };
        let (Shuffle::DepthFirst { block } | Shuffle::ColumnFirst { block } | Shuffle::SpaceToDepth { block }) =
            shuffle;
        let bad = || node.place.attribute("blocksize", "does not divide the input");
        let side = usize::try_from(block).ok().filter(|side| (1..=BLOCK_MAX).contains(side)).ok_or_else(bad)?;
        let fits = match shuffle {
            Shuffle::SpaceToDepth { .. } => height % side == 0 && width % side == 0,
            _ => channels % (side * side) == 0,
        };
        if !fits {
            return Err(bad());
        }
        let depth = channels / (side * side);
        let (split, order, shape) = match shuffle {
            Shuffle::DepthFirst { .. } => (
                vec![batch, side, side, depth, height, width],
                [0, 3, 4, 1, 5, 2],
                vec![batch, depth, height * side, width * side],
            ),
            Shuffle::ColumnFirst { .. } => (
                vec![batch, depth, side, side, height, width],
                [0, 1, 4, 2, 5, 3],
                vec![batch, depth, height * side, width * side],
            ),
            Shuffle::SpaceToDepth { .. } => (
                vec![batch, channels, height / side, side, width / side, side],
                [0, 3, 5, 1, 2, 4],
                vec![batch, channels * side * side, height / side, width / side],
            ),
        };
        let moved = self.apply_transpose(&node.place, &Self::shaped(&x, split), &order)?;
        Ok(Fact::Floats(Self::shaped(&moved, shape)))
    }

    /// The upper or lower triangle of each matrix: a product with zeros and ones would turn infinities into NaN, so
    /// the rest is chosen to be 0.
    fn triangle(&mut self, node: &Node, upper: bool) -> Result<Fact, NnError> {
        let x = self.numbers(node, 0)?;
        let offset = match self.integers(node, 1)?.as_deref() {
            None | Some([]) => 0,
            Some([offset, ..]) => *offset,
        };
        let [.., rows, columns] = x.shape[..] else {
            return Err(node.place.problem("has an input of too low rank"));
        };
        self.afford_table::<f64>(rows.saturating_mul(columns).saturating_mul(2))?;
        let inside = |row: usize, column: usize| {
            let (row, column) = (i64::try_from(row).unwrap_or(0), i64::try_from(column).unwrap_or(0));
            let diagonal = row.saturating_add(offset);
            if upper { column >= diagonal } else { column <= diagonal }
        };
        let cells = (0..rows * columns).map(|at| if inside(at / columns, at % columns) { 1.0 } else { 0.0 });
        let mask = cells.collect();
        let mask = self.literal_of(Element::Truth, vec![rows, columns], mask);
        let zero = self.literal_of(x.element, vec![], vec![0.0]);
        self.apply_select(&node.place, &mask, &x, &zero).map(Fact::Floats)
    }

    fn range(&mut self, node: &Node) -> Result<Fact, NnError> {
        let mut bounds = [0.0; 3];
        for (index, bound) in bounds.iter_mut().enumerate() {
            match self.constants(node, index)?.as_deref() {
                Some([number]) => *bound = *number,
                _ => return Err(node.place.problem("has a bound that is not a scalar")),
            }
        }
        let [start, limit, step] = bounds;
        let count = ((limit - start) / step).ceil().max(0.0);
        if step == 0.0 || !count.is_finite() || count > ELEMENTS_MAX as f64 {
            return Err(node.place.problem("has a range without end"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to the limits just above")]
        let count = count as usize;
        self.afford_table::<f64>(count)?;
        let element = match self.fact(node, 0)? {
            Fact::Floats(floats) => floats.element,
            Fact::Integers { .. } => Element::Integer,
        };
        let numbers: Vec<f64> = (0..count).map(|at| start + at as f64 * step).collect();
        Ok(Fact::Floats(self.literal_of(element, vec![count], numbers)))
    }

    fn eye(&mut self, node: &Node, offset: i64) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let [rows, columns] = *shape_of(&fact) else {
            return Err(node.place.problem("has an input that is not a matrix"));
        };
        self.afford_table::<f64>(rows * columns)?;
        let on = |at: usize| i64::try_from(at / columns).ok()?.checked_add(offset)?.try_into().ok();
        let numbers = (0..rows * columns).map(|at| if on(at) == Some(at % columns) { 1.0 } else { 0.0 }).collect();
        Ok(Fact::Floats(self.literal(vec![rows, columns], numbers)))
    }
}

pub(super) fn shape_of(fact: &Fact) -> &[usize] {
    match fact {
        Fact::Floats(Floats { shape, .. }) | Fact::Integers { shape, .. } => shape,
    }
}

fn joined_integers(facts: &[Fact]) -> Option<Vec<i64>> {
    let mut joined = Vec::new();
    for fact in facts {
        match fact {
            Fact::Integers { numbers, .. } => joined.extend(numbers),
            Fact::Floats(_) => return None,
        }
    }
    Some(joined)
}

/// The indices that a slice picks, by the rules of numpy; `None` for a step of 0.
fn sliced(length: usize, start: i64, end: i64, step: i64) -> Option<Vec<Option<usize>>> {
    let length = i64::try_from(length).ok()?;
    let from_end = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let (start, end) = (from_end(start).clamp(low, high), from_end(end).clamp(low, high));
    let mut picked = Vec::new();
    let mut at = start;
    while (step > 0 && at < end) || (step < 0 && at > end) {
        picked.push(usize::try_from(at).ok());
        at = at.checked_add(step)?;
    }
    (step != 0).then_some(picked)
}

/// The indices that a padded axis reads, `None` for the fill; negative pads cut off. `None` as a whole where impossible.
fn padded(length: usize, before: i64, after: i64, mode: PadMode) -> Option<Vec<Option<usize>>> {
    let length = i64::try_from(length).ok()?;
    let end = length.checked_add(after)?;
    let size = usize::try_from(end.checked_add(before)?).ok()?;
    elements(&[size])?;
    let cell = |at: i64| -> Option<Option<i64>> {
        if (0..length).contains(&at) {
            return Some(Some(at));
        }
        match mode {
            PadMode::Constant => Some(None),
            PadMode::Edge => (length > 0).then(|| Some(at.clamp(0, length - 1))),
            PadMode::Wrap => (length > 0).then(|| Some(at.rem_euclid(length))),
            PadMode::Reflect => {
                let mirrored = if at < 0 { -at } else { 2 * (length - 1) - at };
                (0..length).contains(&mirrored).then_some(Some(mirrored))
            }
        }
    };
    let cells = (before.checked_neg()?..end).map(cell).collect::<Option<Vec<_>>>()?;
    Some(cells.into_iter().map(|cell| cell.and_then(|at| usize::try_from(at).ok())).collect())
}

/// The longest side of a block of a shuffle.
const BLOCK_MAX: usize = 1 << 10;
