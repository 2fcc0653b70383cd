//! The arithmetic, one kernel a family of operators, each with its exact gradients.
//!
//! A [`Kernel`] knows every shape; buffers come from outside and have the right length. [`Kernel::backward`] *adds* the
//! gradient with respect to one input, so a value that is read in several places collects all of them.
//!
//! * [`linear`]: matrix products; [`conv`]: convolutions over them; [`gemm`]: the checked door to the
//!   SIMD product, [`simd`].
//! * [`pool`], [`norm`], [`reduce`] (softmax too), [`pointwise`]: functions of one or two numbers, with broadcasting.
//! * [`layout`]: everything that only moves numbers.

pub(crate) mod conv;
pub(crate) mod gemm;
pub(crate) mod layout;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod simd;

use crate::real::Real;

/// One step of a plan.
#[derive(Debug, Clone)]
pub(crate) enum Kernel {
    Conv(conv::Conv),
    Linear(linear::Linear),
    MaxPool(pool::Pool),
    AveragePool(pool::Pool),
    Affine(norm::Affine),
    Normalise(norm::Normalise),
    Unary(pointwise::Unary),
    Binary(pointwise::Binary),
    Softmax(reduce::Softmax),
    Reduce(reduce::Reduce),
    Move(layout::Move),
    Concat(layout::Concat),
}

impl Kernel {
    /// Computes the output from the inputs; every number of `output` is written.
    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T], scratch: &mut [T]) {
        match self {
            Self::Conv(kernel) => kernel.forward(inputs, output, scratch),
            Self::Linear(kernel) => kernel.forward(inputs, output),
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
        }
    }

    /// Adds to `gradient` the gradient with respect to input `which`, given the gradient of the output.
    pub(crate) fn backward<T: Real>(
        &self,
        which: usize,
        inputs: &[&[T]],
        output: &[T],
        upstream: &[T],
        gradient: &mut [T],
        scratch: &mut [T],
    ) {
        match self {
            Self::Conv(kernel) => kernel.backward(which, inputs, upstream, gradient, scratch),
            Self::Linear(kernel) => kernel.backward(which, inputs, upstream, gradient),
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
        }
    }

    /// Whether the gradient with respect to input `which` is implemented (statistics and limits are constants).
    pub(crate) fn differentiable(&self, which: usize) -> bool {
        match self {
            Self::Affine(_) => which < 3,
            _ => true,
        }
    }

    /// Numbers of scratch space that the kernel takes.
    pub(crate) fn scratch(&self) -> usize {
        match self {
            Self::Conv(kernel) => kernel.scratch_len(),
            _ => 0,
        }
    }
}
