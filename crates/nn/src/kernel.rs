//! The arithmetic, one kernel a family of operators, each with its exact gradients.
//!
//! A [`Kernel`] knows every shape; buffers come from outside and have the right length. [`Kernel::backward`] *adds* the
//! gradient with respect to one input, so a value that is read in several places collects all of them. [`Kernel::flow`]
//! says which inputs have a gradient at all. Integers and truth values are numbers of the pass like all others.
//!
//! * [`linear`]: matrix products; [`conv`]: convolutions over them, and [`slide`] in single precision; [`gemm`] and
//!   [`direct`], [`stripes`] and [`moves`]: the checked doors to the SIMD products, [`simd`].
//! * [`pool`], [`norm`], [`reduce`] (softmax too), [`pointwise`] and [`elementary`]: functions of one or two numbers, with
//!   broadcasting; [`smooth`]: what of them becomes vectors in single precision; [`order`]: along an axis.
//! * [`layout`]: everything that only moves numbers, to places known beforehand; [`index`]: to places that are computed.
//! * [`trees`]: decision trees; [`couple`]: what machines of several classes make of the pairs of them.

pub(crate) mod conv;
pub(crate) mod couple;
pub(crate) mod direct;
pub(crate) mod elementary;
pub(crate) mod gemm;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod linear;
pub(crate) mod moves;
pub(crate) mod norm;
pub(crate) mod order;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod simd;
pub(crate) mod slide;
pub(crate) mod smooth;
pub(crate) mod stripes;
pub(crate) mod trees;

use crate::real::Real;
use gemm::Into;
use linear::Side;
use pointwise::Unary;

/// One step of a plan.
#[derive(Debug, Clone)]
pub(crate) enum Kernel {
    Conv(conv::Conv),
    TransposedConv(conv::Conv),
    Linear(linear::Linear),
    MaxPool(pool::Pool),
    AveragePool(pool::Pool),
    Affine(norm::Affine),
    Normalise(norm::Normalise),
    Unary(Unary),
    Binary(pointwise::Binary),
    Softmax(reduce::Softmax),
    Reduce(reduce::Reduce),
    Move(layout::Move),
    Concat(layout::Concat),
    Part(layout::Part),
    Gather(index::Gather),
    Scatter(index::Scatter),
    Select(index::Select),
    Extreme(order::Extreme),
    First(order::First),
    Running(order::Running),
    Winner(order::Winner),
    Blend(order::Blend),
    Trees(trees::Trees),
    Couple(couple::Couple),
}

/// What a small change of an input does to the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It changes by the gradient.
    Smooth,
    /// Nothing, almost everywhere: the gradient is 0 and says nothing about larger changes.
    Flat,
    /// There is a gradient, which is not implemented (statistics and the like).
    Missing,
}

/// Which gradient is wanted of a kernel, and what is ready for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'w> {
    /// The input with respect to which the gradient is.
    pub(crate) which: usize,
    /// Whether it overwrites: only where [`Kernel::overwrites`].
    pub(crate) into: Into,
    /// What [`Kernel::prepare`] made of the weights.
    pub(crate) prepared: Option<&'w [f32]>,
}

/// What tells what a kernel makes of its weights from what others make of the same.
pub(crate) type Key = (Side, [usize; 10]);

impl Kernel {
    /// The key of what [`Self::prepare`] makes for this product, where it makes anything.
    pub(crate) fn prepares(&self, side: Side) -> Option<Key> {
        match self {
            Self::Conv(kernel) => kernel.prepares(side).map(|key| (side, key)),
            Self::Linear(kernel) => kernel.panelled(side).map(|[depth, columns]| {
                let mut key = [0; 10];
                (key[0], key[1]) = (depth, columns);
                (side, key)
            }),
            _ => None,
        }
    }

    /// How many numbers [`Self::prepare`] makes for this product.
    pub(crate) fn prepared_len(&self, side: Side) -> usize {
        match self {
            Self::Conv(kernel) => kernel.prepared_len(side),
            Self::Linear(kernel) => kernel.panels_len(side),
            _ => 0,
        }
    }

    /// The weights, the kernel's second input, in the layout in which its single-precision product reads them best.
    pub(crate) fn prepare(&self, side: Side, weights: &[f32]) -> Vec<f32> {
        match self {
            Self::Conv(kernel) => kernel.prepare(side, weights),
            Self::Linear(kernel) => kernel.panels(side, weights),
            _ => Vec::new(),
        }
    }

    /// Whether the gradient with respect to this input can be written over what its buffer holds.
    pub(crate) fn overwrites(&self, which: usize) -> bool {
        which == 0 && matches!(self, Self::Conv(_) | Self::Linear(_))
    }

    /// The mark that a `Relu` is part of this kernel, where it can have one.
    pub(crate) fn rectify(&mut self) -> Option<&mut bool> {
        match self {
            Self::Conv(kernel) => Some(&mut kernel.rectify),
            Self::Linear(kernel) => Some(&mut kernel.rectify),
            _ => None,
        }
    }

    /// Whether a `Relu` is part of this kernel: the gradient of its output is then masked before [`Self::backward`].
    pub(crate) fn rectifies(&self) -> bool {
        match self {
            Self::Conv(kernel) => kernel.rectify,
            Self::Linear(kernel) => kernel.rectify,
            _ => false,
        }
    }

    /// Computes the output from the inputs; every number of `output` is written.
    ///
    /// # Errors
    /// What is wrong with the numbers: an index that is out of range.
    pub(crate) fn forward<T: Real>(
        &self,
        inputs: &[&[T]],
        output: &mut [T],
        scratch: &mut [T],
        prepared: Option<&[f32]>,
    ) -> Result<(), &'static str> {
        match self {
            Self::Conv(kernel) => kernel.forward(inputs, output, scratch, prepared),
            Self::TransposedConv(kernel) => kernel.transposed_forward(inputs, output, scratch),
            Self::Linear(kernel) => kernel.forward(inputs, output, prepared),
            Self::MaxPool(kernel) => kernel.max_forward(inputs[0], output),
            Self::AveragePool(kernel) => kernel.average_forward(inputs[0], output),
            Self::Affine(kernel) => kernel.forward(inputs, output),
            Self::Normalise(kernel) => kernel.forward(inputs, output),
            Self::Unary(kernel) => kernel.forward(inputs[0], output),
            Self::Binary(kernel) => kernel.forward(inputs, output),
            Self::Softmax(kernel) => kernel.forward(inputs[0], output),
            Self::Reduce(kernel) => kernel.forward(inputs[0], output),
            Self::Move(kernel) => kernel.forward(inputs[0], output),
            Self::Concat(kernel) => kernel.forward(inputs, output),
            Self::Part(kernel) => kernel.forward(inputs[0], output),
            Self::Gather(kernel) => return kernel.forward(inputs, output),
            Self::Scatter(kernel) => return kernel.forward(inputs, output),
            Self::Select(kernel) => kernel.forward(inputs, output),
            Self::Extreme(kernel) => kernel.forward(inputs[0], output),
            Self::First(kernel) => kernel.forward(inputs[0], output),
            Self::Running(kernel) => kernel.forward(inputs[0], output),
            Self::Winner(kernel) => kernel.forward(inputs[0], output),
            Self::Blend(kernel) => kernel.forward(inputs[0], output),
            Self::Trees(kernel) => kernel.forward(inputs[0], output),
            Self::Couple(kernel) => kernel.forward(inputs[0], output),
        }
        Ok(())
    }

    /// Adds to `gradient` (or writes there, see [`Way`]) the gradient with respect to one input, given the gradient of the output. Only for inputs
    /// whose [`Self::flow`] is smooth.
    pub(crate) fn backward<T: Real>(
        &self,
        way: &Way<'_>,
        inputs: &[&[T]],
        output: &[T],
        upstream: &[T],
        gradient: &mut [T],
        scratch: &mut [T],
    ) {
        let which = way.which;
        match self {
            Self::Conv(kernel) => kernel.backward(way, inputs, upstream, gradient, scratch),
            Self::TransposedConv(kernel) => kernel.transposed_backward(which, inputs, upstream, gradient, scratch),
            Self::Linear(kernel) => kernel.backward(way, inputs, upstream, gradient),
            Self::MaxPool(kernel) => kernel.max_backward(inputs[0], upstream, gradient),
            Self::AveragePool(kernel) => kernel.average_backward(upstream, gradient),
            Self::Affine(kernel) => kernel.backward(which, inputs, upstream, gradient),
            Self::Normalise(kernel) => kernel.backward(which, inputs, upstream, gradient),
            Self::Unary(kernel) => kernel.backward(inputs[0], output, upstream, gradient),
            Self::Binary(kernel) => kernel.backward(which, inputs, output, upstream, gradient),
            Self::Softmax(kernel) => kernel.backward(output, upstream, gradient),
            Self::Reduce(kernel) => kernel.backward(inputs[0], output, upstream, gradient),
            Self::Move(kernel) => kernel.backward(upstream, gradient),
            Self::Concat(kernel) => kernel.backward(which, upstream, gradient),
            Self::Part(kernel) => kernel.backward(upstream, gradient),
            Self::Gather(kernel) => kernel.backward(inputs, upstream, gradient),
            Self::Scatter(kernel) => kernel.backward(which, inputs, upstream, gradient),
            Self::Select(kernel) => kernel.backward(which, inputs, upstream, gradient),
            Self::Running(kernel) => kernel.backward(upstream, gradient),
            Self::Blend(kernel) => kernel.backward(upstream, gradient),
            Self::Couple(kernel) => kernel.backward(inputs[0], upstream, gradient),
            Self::Extreme(_) | Self::First(_) | Self::Winner(_) | Self::Trees(_) => {}
        }
    }

    /// What input `which` does to the output.
    pub(crate) fn flow(&self, which: usize) -> Flow {
        match self {
            Self::Affine(_) if which > 2 => Flow::Missing,
            Self::Unary(Unary::Step(_)) | Self::Extreme(_) | Self::First(_) | Self::Winner(_) | Self::Trees(_) => {
                Flow::Flat
            }
            Self::Binary(kernel) if kernel.function.is_step() => Flow::Flat,
            Self::Gather(_) | Self::Scatter(_) if which == 1 => Flow::Flat,
            Self::Scatter(kernel) if !matches!(kernel.meeting, index::Meeting::Replace | index::Meeting::Add) => {
                Flow::Missing
            }
            Self::Select(_) if which == 0 => Flow::Flat,
            _ => Flow::Smooth,
        }
    }

    /// Numbers of scratch space that the kernel takes.
    pub(crate) fn scratch(&self) -> usize {
        match self {
            Self::Conv(kernel) | Self::TransposedConv(kernel) => kernel.scratch_len(),
            _ => 0,
        }
    }
}
