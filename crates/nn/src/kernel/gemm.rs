//! The checked door to the SIMD matrix products.

use crate::real::Real;

/// A view of `rows × columns` numbers at any strides, row-major or transposed.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Row-major numbers.
    pub(crate) fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transposed view.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The transposed view if `yes`.
    pub(crate) fn transposed_if(self, yes: bool) -> Self {
        if yes { self.transposed() } else { self }
    }

    fn reaches(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1
    }
}

/// What happens to the numbers that are already in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// They are overwritten.
    Write,
    /// The product is added to them.
    Add,
}

/// `c = alpha · a · b`, or `c += …`; `c` is row-major, `a.rows × b.columns`.
#[expect(clippy::many_single_char_names, reason = "the names of BLAS")]
pub(crate) fn gemm<T: Real>(alpha: T, a: Matrix<'_, T>, b: Matrix<'_, T>, c: &mut [T], into: Into) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert!(b.rows == k && c.len() == m * n, "matrix shapes were fixed by the plan");
    assert!(a.reaches() <= a.data.len() && b.reaches() <= b.data.len(), "matrices lie inside their buffers");
    if k == 0 && into == Into::Write {
        c.fill(T::ZERO);
    }
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    let beta = if into == Into::Add { T::ONE } else { T::ZERO };
    #[expect(unsafe_code, reason = "the interface of the SIMD product is raw pointers")]
    // SAFETY: the asserts above hold `a` and `b` inside their slices for all indices below m, k, n; `c` is m·n numbers,
    // row-major, borrowed uniquely.
    unsafe {
        let a = (a.data.as_ptr(), a.row_stride, a.column_stride);
        let b = (b.data.as_ptr(), b.row_stride, b.column_stride);
        T::gemm(m, k, n, alpha, a, b, beta, (c.as_mut_ptr(), n));
    }
}
