//! One operator after the other: check the operands, choose the kernel, say what comes out.

use super::window::{transposed_window, window};
use super::{Fact, Floats, Lowering, Source};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::conv::Conv;
use crate::kernel::elementary::Step;
use crate::kernel::layout::Broadcast;
use crate::kernel::linear::Linear;
use crate::kernel::pointwise::{Binary, Function, Unary};
use crate::kernel::pool::{Divisor, Pool, Window};
use crate::kernel::reduce::{Reduce, Reduction, Scale, Softmax};
use crate::limits::{SHAPE_ELEMENTS_MAX, STEPS_MAX};
use crate::load::{Node, Operator, Place, Value, WindowAttributes};
use crate::model::Element;
use crate::tensor::elements;

/// What a pool's tables hold for one cell of the kernel at one place of the window, at most.
type PoolEntry = (u32, usize, f64);

impl Lowering<'_> {
    /// Lowers nodes one after the other.
    pub(super) fn nodes(&mut self, nodes: &[Node]) -> Result<(), NnError> {
        nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &Node) -> Result<(), NnError> {
        self.lowered += 1;
        if self.lowered > STEPS_MAX {
            return Err(node.place.problem("is one step too many"));
        }
        let facts = match &node.operator {
            Operator::Split { axis, sizes, .. } => self.split(node, *axis, sizes.as_deref())?,
            Operator::TopK { axis, largest, count } => self.first_few(node, *axis, *largest, *count)?,
            Operator::Recurrent(recurrence) => self.recurrent(node, recurrence)?,
            Operator::If { yes, no } => self.branch(node, yes, no)?,
            Operator::Loop(body) => self.repeat(node, body)?,
            Operator::Scan { .. } => self.scan(node)?,
            Operator::Learned(learned) => self.learned(node, learned)?,
            _ => vec![self.single(node)?],
        };
        for (output, fact) in node.outputs.iter().zip(facts) {
            let fact = self.settled(fact);
            if let Fact::Integers { numbers, .. } = &fact {
                // Shape arithmetic takes time and room as well.
                self.afford_table::<i64>(numbers.len())?;
            }
            if let Some(output) = output {
                self.facts[*output] = Some(fact);
            }
        }
        Ok(())
    }

    fn single(&mut self, node: &Node) -> Result<Fact, NnError> {
        match &node.operator {
            Operator::Conv { window, groups } => self.conv(node, window, *groups),
            Operator::Gemm { alpha, beta, transpose_a, transpose_b } => {
                self.general_product(node, *alpha, *beta, *transpose_a, *transpose_b)
            }
            Operator::MatMul => self.product(node),
            Operator::MaxPool(attributes) => {
                let (pool, x, shape) = self.pool(node, attributes, Divisor::Input)?;
                self.emit(&node.place, Kernel::MaxPool(pool), &[&x], shape)
            }
            Operator::AveragePool { window, count_padding } => {
                let divisor = if *count_padding { Divisor::Padded } else { Divisor::Input };
                let (pool, x, shape) = self.pool(node, window, divisor)?;
                self.emit(&node.place, Kernel::AveragePool(pool), &[&x], shape)
            }
            Operator::GlobalAveragePool => self.global(node, Reduction::Mean),
            Operator::GlobalMaxPool => self.global(node, Reduction::Max),
            Operator::BatchNormalization { epsilon } => self.batch_norm(node, *epsilon),
            Operator::InstanceNormalization { epsilon } => self.instance_norm(node, *epsilon),
            Operator::LayerNormalization { axis, epsilon } => self.layer_norm(node, *axis, *epsilon),
            Operator::Unary(function) => self.unary(node, *function),
            Operator::Clip { low, high } => self.clip(node, *low, *high),
            Operator::Binary(function) => self.binary(node, *function),
            Operator::ConvTranspose { window, groups, output_padding, output_shape } => {
                self.transposed_conv(node, window, *groups, output_padding.as_deref(), output_shape.as_deref())
            }
            Operator::GroupNormalization { groups, epsilon, by_group } => {
                self.group_norm(node, *groups, *epsilon, *by_group)
            }
            Operator::MeanVarianceNormalization { axes } => self.mean_variance(node, axes),
            Operator::LpNormalization { axis, p } => self.lp_norm(node, *axis, *p),
            Operator::LocalResponse { alpha, beta, bias, size } => {
                self.local_response(node, [*alpha, *beta, *bias], *size)
            }
            Operator::GlobalLpPool { p } => self.global_lp(node, *p),
            Operator::Quantize { axis } => self.quantise(node, *axis),
            Operator::Dequantize { axis } => self.dequantise(node, *axis),
            Operator::Einsum { equation } => self.einsum(node, equation),
            Operator::Softmax { axis, scale, joins_axes } => self.softmax(node, *axis, *scale, *joins_axes),
            Operator::Reduce { kind, axes, keep, none_means_identity } => {
                let axes = match axes {
                    Some(axes) => Some(axes.clone()),
                    None => self.integers(node, 1)?,
                };
                if axes.as_ref().is_none_or(Vec::is_empty) && *none_means_identity {
                    return self.fact(node, 0);
                }
                self.reduce(node, *kind, axes.filter(|axes| !axes.is_empty()), *keep)
            }
            _ => match self.indexed(node)? {
                Some(fact) => Ok(fact),
                None => self.layout(node),
            },
        }
    }

    /// Input `index`, which must be there.
    pub(super) fn fact(&self, node: &Node, index: usize) -> Result<Fact, NnError> {
        self.optional_fact(node, index).ok_or_else(|| node.place.problem("lacks an input"))
    }

    pub(super) fn optional_fact(&self, node: &Node, index: usize) -> Option<Fact> {
        let value: Value = (*node.inputs.get(index)?)?;
        self.facts.get(value)?.clone()
    }

    /// Input `index`, which must be floating-point numbers.
    pub(super) fn floats(&self, node: &Node, index: usize) -> Result<Floats, NnError> {
        match self.fact(node, index)? {
            Fact::Floats(floats) if floats.element == Element::Float => Ok(floats),
            _ => Err(node.place.problem("has an integer input, which is not implemented")),
        }
    }

    /// Input `index`, whatever its elements are.
    pub(super) fn numbers(&mut self, node: &Node, index: usize) -> Result<Floats, NnError> {
        let fact = self.fact(node, index)?;
        Ok(self.numbers_of(fact))
    }

    pub(super) fn numbers_of(&mut self, fact: Fact) -> Floats {
        match fact {
            Fact::Floats(floats) => floats,
            Fact::Integers { shape, numbers } => self.known_integers(shape, &numbers),
        }
    }

    pub(super) fn optional_floats(&self, node: &Node, index: usize) -> Result<Option<Floats>, NnError> {
        if node.inputs.get(index).copied().flatten().is_none() {
            return Ok(None);
        }
        self.floats(node, index).map(Some)
    }

    /// Input `index` as integers that are known now; `None` where it is omitted.
    pub(super) fn integers(&self, node: &Node, index: usize) -> Result<Option<Vec<i64>>, NnError> {
        match self.optional_fact(node, index) {
            None => Ok(None),
            Some(Fact::Integers { numbers, .. }) => Ok(Some(numbers)),
            Some(Fact::Floats(_)) => {
                Err(node.place.problem("needs integers that do not depend on the input's numbers"))
            }
        }
    }

    /// Input `index` as numbers that are known now; `None` where it is omitted.
    pub(super) fn constants(&self, node: &Node, index: usize) -> Result<Option<Vec<f64>>, NnError> {
        let unknown = || node.place.problem("needs numbers that do not depend on the input");
        match self.optional_fact(node, index) {
            None => Ok(None),
            Some(Fact::Integers { numbers, .. }) => Ok(Some(numbers.iter().map(|number| *number as f64).collect())),
            Some(Fact::Floats(Floats { source: Source::Float(float), .. })) => {
                Ok(Some(self.graph.floats[float].wide()))
            }
            Some(Fact::Floats(Floats { source: Source::Literal(literal), .. })) => {
                Ok(Some(self.literals[literal].clone()))
            }
            Some(Fact::Floats(_)) => Err(unknown()),
        }
    }

    /// An axis counted from the end where it is negative; `rank` itself is allowed where `end` says so.
    pub(super) fn axis(node: &Node, axis: i64, rank: usize) -> Result<usize, NnError> {
        Self::axis_at(&node.place, axis, rank)
    }

    pub(super) fn axis_at(place: &Place, axis: i64, rank: usize) -> Result<usize, NnError> {
        let shift = if axis < 0 { i64::try_from(rank).unwrap_or(0) } else { 0 };
        let axis = axis.checked_add(shift).and_then(|axis| usize::try_from(axis).ok());
        axis.filter(|axis| *axis < rank).ok_or_else(|| place.problem("names an axis that is not there"))
    }

    fn conv(&mut self, node: &Node, attributes: &WindowAttributes, groups: i64) -> Result<Fact, NnError> {
        let (x, weights, bias) = (self.floats(node, 0)?, self.floats(node, 1)?, self.optional_floats(node, 2)?);
        let problem = |problem| Err(node.place.problem(problem));
        let ([batch, channels, spatial @ ..], [out, in_channels, kernel @ ..]) = (&x.shape[..], &weights.shape[..])
        else {
            return problem("has inputs of too low rank");
        };
        let groups = usize::try_from(groups).unwrap_or(0);
        let fits = groups > 0 && in_channels.checked_mul(groups) == Some(*channels) && out % groups == 0;
        if !fits || kernel.len() != spatial.len() || kernel.contains(&0) {
            return problem("has weights that do not fit its input");
        }
        if bias.as_ref().is_some_and(|bias| bias.shape != [*out]) {
            return problem("has a bias that does not fit its weights");
        }
        let window = window(attributes, spatial, Some(kernel), &node.place)?;
        let mut shape = vec![*batch, *out];
        shape.extend(&window.output[2 - spatial.len()..]);
        self.afford_window::<u32>(&window)?;
        let conv = Conv::new(*batch, groups, *in_channels, out / groups, window);
        let conv = conv.ok_or_else(|| node.place.problem("needs a matrix beyond the limits"))?;
        let inputs: Vec<&Floats> = [&x, &weights].into_iter().chain(&bias).collect();
        self.emit(&node.place, Kernel::Conv(conv), &inputs, shape)
    }

    /// The gradient of a convolution with respect to its input, as an operator of its own.
    fn transposed_conv(
        &mut self,
        node: &Node,
        attributes: &WindowAttributes,
        groups: i64,
        more: Option<&[i64]>,
        sizes: Option<&[i64]>,
    ) -> Result<Fact, NnError> {
        let (x, weights, bias) = (self.floats(node, 0)?, self.floats(node, 1)?, self.optional_floats(node, 2)?);
        let problem = |problem| Err(node.place.problem(problem));
        let ([batch, channels, spatial @ ..], [inner, outer, kernel @ ..]) = (&x.shape[..], &weights.shape[..]) else {
            return problem("has inputs of too low rank");
        };
        let groups = usize::try_from(groups).unwrap_or(0);
        let fits = groups > 0 && inner == channels && channels % groups == 0 && kernel.len() == spatial.len();
        let out = outer.checked_mul(groups);
        let (true, Some(out)) = (fits && !kernel.contains(&0), out) else {
            return problem("has weights that do not fit its input");
        };
        if bias.as_ref().is_some_and(|bias| bias.shape != [out]) {
            return problem("has a bias that does not fit its weights");
        }
        let window = transposed_window(attributes, spatial, kernel, more, sizes, &node.place)?;
        let mut shape = vec![*batch, out];
        shape.extend(&window.input[2 - spatial.len()..]);
        self.afford_window::<u32>(&window)?;
        let conv = Conv::new(*batch, groups, *outer, channels / groups, window);
        let conv = conv.ok_or_else(|| node.place.problem("needs a matrix beyond the limits"))?;
        let inputs: Vec<&Floats> = [&x, &weights].into_iter().chain(&bias).collect();
        self.emit(&node.place, Kernel::TransposedConv(conv), &inputs, shape)
    }

    fn pool(
        &mut self,
        node: &Node,
        attributes: &WindowAttributes,
        divisor: Divisor,
    ) -> Result<(Pool, Floats, Vec<usize>), NnError> {
        let x = self.floats(node, 0)?;
        let [batch, channels, spatial @ ..] = &x.shape[..] else {
            return Err(node.place.problem("has an input of too low rank"));
        };
        let window = window(attributes, spatial, None, &node.place)?;
        let beyond = |axis: usize| window.pads[axis].0.max(window.pads[axis].1) > window.reach(axis);
        if beyond(0) || beyond(1) {
            return Err(node.place.attribute("pads", "is larger than the window"));
        }
        let mut shape = vec![*batch, *channels];
        shape.extend(&window.output[2 - spatial.len()..]);
        self.afford_window::<PoolEntry>(&window)?;
        // INVARIANT: the input's shape passed `elements`, so this product does not overflow.
        Ok((Pool::new(batch * channels, &window, divisor), x, shape))
    }

    /// Accounts for a table over all cells of the kernel and places of a window.
    fn afford_window<E>(&mut self, window: &Window) -> Result<(), NnError> {
        let mut lengths = window.kernel.iter().chain(&window.output);
        let entries = lengths.try_fold(1usize, |product, length| product.checked_mul(*length));
        self.afford_table::<E>(entries.unwrap_or(usize::MAX))
    }

    #[expect(clippy::many_single_char_names, reason = "the names of the specification")]
    fn general_product(
        &mut self,
        node: &Node,
        alpha: f64,
        beta: f64,
        transpose_a: bool,
        transpose_b: bool,
    ) -> Result<Fact, NnError> {
        let (a, b, bias) = (self.floats(node, 0)?, self.floats(node, 1)?, self.optional_floats(node, 2)?);
        let sides = |shape: &[usize], transposed: bool| match shape {
            [rows, columns] if transposed => Some((*columns, *rows)),
            [rows, columns] => Some((*rows, *columns)),
            _ => None,
        };
        let (Some((m, k)), Some((inner, n))) = (sides(&a.shape, transpose_a), sides(&b.shape, transpose_b)) else {
            return Err(node.place.problem("has an operand that is not a matrix"));
        };
        if k != inner || k == 0 {
            return Err(node.place.problem("has operands that do not fit each other"));
        }
        let linear = Linear { m, k, n, transpose_a, transpose_b, alpha, products: vec![(0, 0)], rectify: false };
        #[expect(clippy::float_cmp, reason = "the attribute's default, exactly")]
        if let Some(bias) = &bias
            && beta == 1.0
            && bias.shape == [n]
        {
            return self.emit(&node.place, Kernel::Linear(linear), &[&a, &b, bias], vec![m, n]);
        }
        let product = self.emit(&node.place, Kernel::Linear(linear), &[&a, &b], vec![m, n])?;
        let (Some(bias), Fact::Floats(floats)) = (bias, product.clone()) else { return Ok(product) };
        if beta == 0.0 {
            return Ok(product);
        }
        let product = floats;
        #[expect(clippy::float_cmp, reason = "the attribute's default, exactly")]
        let bias = if beta == 1.0 { bias } else { self.scaled(node, bias, beta)? };
        match Broadcast::new(&product.shape, &bias.shape) {
            Some((walk, shape)) if shape == product.shape => {
                let kernel = Kernel::Binary(Binary { function: Function::Add, walk });
                self.emit(&node.place, kernel, &[&product, &bias], shape)
            }
            _ => Err(node.place.problem("has a bias that does not fit its product")),
        }
    }

    /// `beta · x`, by a product with a literal.
    fn scaled(&mut self, node: &Node, x: Floats, beta: f64) -> Result<Floats, NnError> {
        let factor = self.literal(vec![], vec![beta]);
        self.apply_binary(&node.place, Function::Mul, &x, &factor)
    }

    fn product(&mut self, node: &Node) -> Result<Fact, NnError> {
        let (a, b) = (self.floats(node, 0)?, self.floats(node, 1)?);
        self.apply_product(&node.place, &a, &b).map(Fact::Floats)
    }

    /// `MatMul` of two operands.
    #[expect(clippy::many_single_char_names, reason = "the names of the specification")]
    pub(super) fn apply_product(&mut self, place: &Place, a: &Floats, b: &Floats) -> Result<Floats, NnError> {
        // A vector on the left is a row, on the right a column; the axis added to it goes away again.
        let left = if a.shape.len() == 1 { vec![1, a.shape[0]] } else { a.shape.clone() };
        let right = if b.shape.len() == 1 { vec![b.shape[0], 1] } else { b.shape.clone() };
        let ([batch_a @ .., m, k], [batch_b @ .., inner, n]) = (&left[..], &right[..]) else {
            return Err(place.problem("has a scalar operand"));
        };
        if k != inner {
            return Err(place.problem("has operands that do not fit each other"));
        }
        let Some((walk, mut shape)) = Broadcast::new(batch_a, batch_b) else {
            return Err(place.problem("has operands whose batches do not fit each other"));
        };
        if *k == 0 {
            return Err(place.problem("sums over an empty axis"));
        }
        self.afford_table::<(usize, usize)>(elements(&shape).unwrap_or(usize::MAX))?;
        let mut linear = Linear {
            m: *m,
            k: *k,
            n: *n,
            transpose_a: false,
            transpose_b: false,
            alpha: 1.0,
            products: Vec::new(),
            rectify: false,
        };
        if batch_b.iter().all(|dim| *dim == 1) {
            // One matrix on the right: all rows on the left make one tall matrix.
            linear.m = a.shape.iter().product::<usize>().checked_div(*k).unwrap_or(0);
            linear.products.push((0, 0));
        } else {
            walk.each(|_, a, b| linear.products.push((a, b)));
        }
        shape.extend((a.shape.len() > 1).then_some(*m));
        shape.extend((b.shape.len() > 1).then_some(*n));
        self.emit_as(Element::Float, place, Kernel::Linear(linear), &[a, b], shape)
    }

    fn unary(&mut self, node: &Node, function: Unary) -> Result<Fact, NnError> {
        let mut x = self.numbers(node, 0)?;
        let function = match function {
            Unary::Step(step) if self.order.through && step.rounds() => Unary::Through(step),
            other => other,
        };
        let whole = x.element != Element::Float;
        let element = match function {
            Unary::Step(Step::Not | Step::IsNan | Step::IsInfinite { .. }) => Element::Truth,
            Unary::Abs | Unary::Neg | Unary::Step(Step::Sign) | Unary::Clip { .. } | Unary::Relu if whole => {
                Element::Integer
            }
            _ if whole => {
                return Err(node.place.problem("has an integer input, which is not implemented"));
            }
            _ => Element::Float,
        };
        x.element = element;
        self.emit_as(element, &node.place, Kernel::Unary(function), &[&x], x.shape.clone()).map(Fact::Floats)
    }

    fn clip(&mut self, node: &Node, low: f64, high: f64) -> Result<Fact, NnError> {
        let bound = |index: usize, default: f64| match self.constants(node, index)?.as_deref() {
            None => Ok(default),
            Some([bound]) => Ok(*bound),
            Some(_) => Err(node.place.problem("has a bound that is not a scalar")),
        };
        let (low, high) = (bound(1, low)?, bound(2, high)?);
        self.unary(node, Unary::Clip { low, high })
    }

    fn binary(&mut self, node: &Node, function: Function) -> Result<Fact, NnError> {
        if let (Fact::Integers { shape: a, numbers: x }, Fact::Integers { shape: b, numbers: y }) =
            (self.fact(node, 0)?, self.fact(node, 1)?)
            && function != Function::PRelu
        {
            return Self::integer_arithmetic(node, function, (&a, &x), (&b, &y));
        }
        let (a, b) = (self.numbers(node, 0)?, self.numbers(node, 1)?);
        if (a.element == Element::Float) != (b.element == Element::Float) && function != Function::Pow {
            return Err(node.place.problem("has an integer input, which is not implemented"));
        }
        self.apply_binary(&node.place, function, &a, &b).map(Fact::Floats)
    }

    fn integer_arithmetic(
        node: &Node,
        function: Function,
        (a, x): (&[usize], &[i64]),
        (b, y): (&[usize], &[i64]),
    ) -> Result<Fact, NnError> {
        let Some((walk, shape)) = Broadcast::new(a, b) else {
            return Err(node.place.problem("has operands whose shapes do not fit each other"));
        };
        if elements(&shape).is_none_or(|count| count > SHAPE_ELEMENTS_MAX) {
            return Err(node.place.problem("computes more integers than shapes need"));
        }
        let mut numbers = Vec::new();
        let mut sound = true;
        walk.each(|_, at, bt| {
            let (x, y) = (x[at], y[bt]);
            let result = match function {
                Function::Add => x.checked_add(y),
                Function::Sub => x.checked_sub(y),
                Function::Mul => x.checked_mul(y),
                Function::Div | Function::Quotient => x.checked_div(y),
                Function::Max => Some(x.max(y)),
                Function::Min => Some(x.min(y)),
                Function::Pow => u32::try_from(y).ok().and_then(|power| x.checked_pow(power)),
                // The remainder that has the sign of the divisor.
                Function::Modulo => {
                    x.checked_rem(y).map(|rest| if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest })
                }
                Function::Remainder => x.checked_rem(y),
                Function::Equal => Some(i64::from(x == y)),
                Function::Less => Some(i64::from(x < y)),
                Function::LessOrEqual => Some(i64::from(x <= y)),
                Function::Greater => Some(i64::from(x > y)),
                Function::GreaterOrEqual => Some(i64::from(x >= y)),
                Function::And => Some(i64::from(x != 0 && y != 0)),
                Function::Or => Some(i64::from(x != 0 || y != 0)),
                Function::Xor => Some(i64::from((x != 0) != (y != 0))),
                Function::PRelu => None,
            };
            sound &= result.is_some();
            numbers.push(result.unwrap_or(0));
        });
        if sound {
            Ok(Fact::Integers { shape, numbers })
        } else {
            Err(node.place.problem("computes an impossible integer"))
        }
    }

    fn softmax(&mut self, node: &Node, axis: i64, scale: Scale, joins_axes: bool) -> Result<Fact, NnError> {
        let x = self.floats(node, 0)?;
        let (length, inner) = Self::along(node, axis, &x.shape, joins_axes)?;
        self.emit(&node.place, Kernel::Softmax(Softmax { length, inner, scale }), &[&x], x.shape.clone())
    }

    /// The length of the axis that a softmax, or what is like it, works along, and the numbers inside of each of it.
    pub(super) fn along(node: &Node, axis: i64, shape: &[usize], joins_axes: bool) -> Result<(usize, usize), NnError> {
        let axis = Self::axis(node, axis, shape.len())?;
        Ok(if joins_axes {
            (shape[axis..].iter().product(), 1)
        } else {
            (shape[axis], shape[axis + 1..].iter().product())
        })
    }

    pub(super) fn global(&mut self, node: &Node, kind: Reduction) -> Result<Fact, NnError> {
        let rank = self.floats(node, 0)?.shape.len();
        if rank < 3 {
            return Err(node.place.problem("has an input of too low rank"));
        }
        self.reduce(node, kind, i64::try_from(rank).ok().map(|rank| (2..rank).collect()), true)
    }

    fn reduce(&mut self, node: &Node, kind: Reduction, axes: Option<Vec<i64>>, keep: bool) -> Result<Fact, NnError> {
        let x = self.numbers(node, 0)?;
        let whole = x.element != Element::Float;
        if whole && !matches!(kind, Reduction::Sum | Reduction::Max | Reduction::Min | Reduction::Product) {
            return Err(node.place.problem("has an integer input, which is not implemented"));
        }
        self.apply_reduce(&node.place, kind, &x, axes, keep).map(Fact::Floats)
    }

    /// A reduction over these axes, or over all.
    pub(super) fn apply_reduce(
        &mut self,
        place: &Place,
        kind: Reduction,
        x: &Floats,
        axes: Option<Vec<i64>>,
        keep: bool,
    ) -> Result<Floats, NnError> {
        let rank = x.shape.len();
        let reduced = match axes {
            None => vec![true; rank],
            Some(axes) => {
                let mut reduced = vec![false; rank];
                for axis in axes {
                    reduced[Self::axis_at(place, axis, rank)?] = true;
                }
                reduced
            }
        };
        let dims = x.shape.iter().zip(&reduced);
        let kept: Vec<usize> = dims.clone().map(|(dim, reduced)| if *reduced { 1 } else { *dim }).collect();
        let count: usize = dims.clone().filter(|(_, reduced)| **reduced).map(|(dim, _)| *dim).product();
        let shape =
            if keep { kept.clone() } else { dims.filter(|(_, reduced)| !**reduced).map(|(dim, _)| *dim).collect() };
        match Broadcast::new(&x.shape, &kept) {
            Some((walk, _)) if count > 0 => {
                let element = if x.element == Element::Float { Element::Float } else { Element::Integer };
                self.emit_as(element, place, Kernel::Reduce(Reduce { kind, count, walk }), &[x], shape)
            }
            _ => Err(place.problem("reduces an empty axis")),
        }
    }
}
