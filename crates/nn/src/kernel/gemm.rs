//! The checked door to the SIMD matrix products.

use super::conv::rectify;
use super::simd::{self, Operands, Panel, Start};
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

/// Numbers that a panel's rows are taken from, each at its own offset.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offsets {
    list: Vec<u32>,
    largest: usize,
}

impl Offsets {
    /// `None` where an offset is beyond 32 bits.
    pub(crate) fn new(offsets: impl Iterator<Item = usize>) -> Option<Self> {
        let list = offsets.map(u32::try_from).collect::<Result<Vec<u32>, _>>().ok()?;
        let largest = list.iter().copied().max().unwrap_or(0) as usize;
        Some(Self { list, largest })
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The largest of them.
    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    /// `count` of them.
    pub(crate) fn part(&self, first: usize, count: usize) -> &[u32] {
        &self.list[first..first + count]
    }
}

/// Numbers in the panels of weights `[columns, depth]`.
pub(crate) fn panels_len([depth, columns]: [usize; 2]) -> usize {
    let width = simd::panel_width().map_or(1, |(width, _)| width);
    columns.next_multiple_of(width).saturating_mul(depth)
}

/// Weights `[columns, depth]` in panels: of each a few columns, `[depth, width]`, filled up with zeros.
pub(crate) fn panels(weights: &[f32], [depth, columns]: [usize; 2], to: &mut Vec<f32>) {
    let Some((width, _)) = simd::panel_width() else { return };
    let start = to.len();
    to.resize(start + panels_len([depth, columns]), 0.0);
    let size = (depth * width).max(1);
    for (panel, weights) in to[start..].chunks_exact_mut(size).zip(weights.chunks(size)) {
        for (column, weights) in weights.chunks_exact(depth).enumerate() {
            panel[column..].iter_mut().step_by(width).zip(weights).for_each(|(to, from)| *to = *from);
        }
    }
}

/// The left operand of a product with a panel: `rows × depth` numbers, each row contiguous, `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) stride: usize,
}

/// What becomes of a product with a panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending<'a> {
    /// Added to what is there already.
    pub(crate) into: Into,
    /// A number for each row, where nothing is there.
    pub(crate) bias: Option<&'a [f32]>,
    /// What is not above 0 becomes 0.
    pub(crate) rectify: bool,
}

impl Ending<'_> {
    /// What `rows` rows of sums are added to.
    pub(crate) fn start(&self, rows: usize) -> Start {
        match (self.into, self.bias) {
            (Into::Add, _) => Start::Result,
            (Into::Write, None) => Start::Zero,
            (Into::Write, Some(bias)) => Start::Rows(bias[..rows].as_ptr()),
        }
    }
}

/// `c[row · stride + column] = a · panel` for `columns` columns.
pub(crate) fn panel_product(a: Left<'_>, panel: &[f32], columns: usize, c: (&mut [f32], usize), ending: Ending<'_>) {
    let Some((width, _)) = simd::panel_width() else { return };
    let Left { data, rows, depth, stride } = a;
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(
        (rows - 1) * stride + depth <= data.len() && panel.len() >= depth * width,
        "operands lie inside their buffers"
    );
    assert!(columns <= width && (rows - 1) * c.1 + columns <= c.0.len(), "the result lies inside its buffer");
    assert!(rows == 1 || columns <= c.1, "rows of the result do not overlap");
    let start = ending.start(rows);
    let (b, rectify) = (panel.as_ptr(), ending.rectify);
    let (c, c_row) = (c.0.as_mut_ptr(), c.1);
    #[expect(unsafe_code, reason = "the interface of the SIMD product is raw pointers")]
    // SAFETY: the asserts and the slice of the bias hold all four operands inside their slices; `c` is borrowed uniquely.
    unsafe {
        simd::panel(&Panel {
            m: rows,
            k: depth,
            n: columns,
            a: data.as_ptr(),
            a_row: stride,
            b,
            c,
            c_row,
            start,
            rectify,
        });
    }
}

/// `c[row · stride + column] = a · weights`, or `c += …`; the weights lie column by column, `depth` numbers each.
pub(crate) fn dot_products(a: Left<'_>, weights: &[f32], c: (&mut [f32], usize), ending: Ending<'_>) {
    let Left { data, rows, depth, stride } = a;
    let columns = weights.len() / depth.max(1);
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * stride + depth <= data.len(), "the left operand lies inside its buffer");
    assert!((rows - 1) * c.1 + columns <= c.0.len() && columns <= c.1, "the result lies inside its buffer");
    #[expect(unsafe_code, reason = "the interface of the SIMD product is raw pointers")]
    // SAFETY: the asserts hold the left operand and the result inside their slices, whose rows do not overlap; the weights have
    // `columns` times `depth` numbers; `c` is borrowed uniquely.
    unsafe {
        simd::product(&Operands {
            m: rows,
            k: depth,
            n: columns,
            a: data.as_ptr(),
            a_row: stride,
            a_column: 1,
            b: weights.as_ptr(),
            b_row: 1,
            b_column: depth,
            c: c.0.as_mut_ptr(),
            c_row: c.1,
            add: ending.into == Into::Add,
        });
    }
    if ending.rectify {
        c.0.chunks_mut(c.1).take(rows).for_each(|row| rectify(&mut row[..columns]));
    }
}
