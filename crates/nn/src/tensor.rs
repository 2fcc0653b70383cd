//! A shape and its numbers, row-major.

use crate::error::NnError;
use crate::limits::{ELEMENTS_MAX, RANK_MAX};
use crate::real::Real;

/// Numbers in row-major order (the last dimension runs fastest), such as `[batch, channels, height, width]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensor<T = f32> {
    /// The dimensions; none for a scalar.
    pub shape: Vec<usize>,
    /// The numbers, as many as the product of the dimensions.
    pub data: Vec<T>,
}

impl<T: Real> Tensor<T> {
    /// A tensor of these numbers.
    ///
    /// # Errors
    /// [`NnError::TensorShape`] where their number is not the product of the dimensions.
    pub fn new(shape: Vec<usize>, data: Vec<T>) -> Result<Self, NnError> {
        if elements(&shape) == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(NnError::TensorShape { shape, found: data.len() })
        }
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// [`NnError::TensorShape`] where the shape is larger than [`ELEMENTS_MAX`] or deeper than [`RANK_MAX`].
    pub fn zeros(shape: &[usize]) -> Result<Self, NnError> {
        let Some(count) = elements(shape) else {
            return Err(NnError::TensorShape { shape: shape.to_vec(), found: 0 });
        };
        Ok(Self { shape: shape.to_vec(), data: vec![T::ZERO; count] })
    }

    /// How many numbers one entry of the first dimension has; 0 for an empty tensor.
    pub fn row_len(&self) -> usize {
        self.shape.first().and_then(|rows| self.data.len().checked_div(*rows)).unwrap_or(0)
    }

    /// The entries of the first dimension, one after the other.
    pub fn rows(&self) -> std::slice::Chunks<'_, T> {
        self.data.chunks(self.row_len().max(1))
    }

    /// The same numbers in another precision.
    pub fn cast<U: Real>(&self) -> Tensor<U> {
        Tensor { shape: self.shape.clone(), data: self.data.iter().map(|value| U::of(value.wide())).collect() }
    }
}

/// The number of elements of a shape; `None` beyond [`ELEMENTS_MAX`] or [`RANK_MAX`].
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    if shape.len() > RANK_MAX {
        return None;
    }
    // A zero dimension does not excuse the others: their product is computed too.
    shape.iter().try_fold(1usize, |product, dim| product.checked_mul((*dim).max(1)).filter(|p| *p <= ELEMENTS_MAX))?;
    Some(shape.iter().product())
}

/// Row-major strides of a shape.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}
