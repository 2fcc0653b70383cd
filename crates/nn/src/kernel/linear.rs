//! Matrix products: `Gemm` and `MatMul`.
//!
//! One kernel computes a list of products `alpha · op(A) · op(B)`, each at its own place in the buffers; broadcasting over
//! batches is a matter of that list. The usual bias of a `Gemm`, one number a column, comes with its one product; others
//! are broadcast additions of their own.
//!
//! In single precision, weights that lie across the direction of the product are copied into panels once, and kept. A few
//! columns behind the last whole vector would waste most of its lanes; where the sums are long, they are dot products.

use super::Way;
use super::conv::rectify;
use super::gemm::{Ending, Into, Left, Matrix, dot_products, gemm, panel_product, panels, panels_len};
use super::simd;
use crate::real::Real;

/// Products of `m × k` by `k × n` matrices.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    /// A is stored as `k × m`.
    pub(crate) transpose_a: bool,
    /// B is stored as `n × k`.
    pub(crate) transpose_b: bool,
    pub(crate) alpha: f64,
    /// Which matrix of A and of B makes the next matrix of the output.
    pub(crate) products: Vec<(usize, usize)>,
    /// Whether a `Relu` follows, which is then part of this step.
    pub(crate) rectify: bool,
}

/// Which product of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// The output.
    Forward,
    /// The gradient of the input.
    Backward,
}

impl Linear {
    fn a<'a, T>(&self, data: &'a [T], index: usize) -> Matrix<'a, T> {
        let (rows, columns) = if self.transpose_a { (self.k, self.m) } else { (self.m, self.k) };
        let size = self.m * self.k;
        Matrix::new(&data[index * size..][..size], rows, columns).transposed_if(self.transpose_a)
    }

    fn b<'a, T>(&self, data: &'a [T], index: usize) -> Matrix<'a, T> {
        let (rows, columns) = if self.transpose_b { (self.n, self.k) } else { (self.k, self.n) };
        let size = self.k * self.n;
        Matrix::new(&data[index * size..][..size], rows, columns).transposed_if(self.transpose_b)
    }

    /// Where the weights are worth a copy in panels: their shape as a product's right operand, `[depth, columns]`.
    pub(crate) fn panelled(&self, side: Side) -> Option<[usize; 2]> {
        let across = match side {
            Side::Forward => self.transpose_b,
            Side::Backward => !self.transpose_b,
        };
        #[expect(clippy::float_cmp, reason = "exactly 1")]
        let plain = self.alpha == 1.0 && !self.transpose_a && self.products == [(0, 0)] && across;
        let shape = if side == Side::Forward { [self.k, self.n] } else { [self.n, self.k] };
        simd::panel_width().filter(|_| plain).map(|_| shape)
    }

    /// How many numbers [`Self::panels`] makes.
    pub(crate) fn panels_len(&self, side: Side) -> usize {
        self.panelled(side).map_or(0, |[depth, columns]| panels_len([depth, columns - dotted([depth, columns])]))
    }

    /// Weights `[columns, depth]` in panels.
    pub(crate) fn panels(&self, side: Side, weights: &[f32]) -> Vec<f32> {
        let mut made = Vec::new();
        if let Some([depth, columns]) = self.panelled(side) {
            panels(weights, [depth, columns - dotted([depth, columns])], &mut made);
        }
        made
    }

    /// `c = a · weights`, or `c += …`; `a` is `m × depth`, the weights are `[columns, depth]` and in panels.
    fn by_panels(
        &self,
        [depth, columns]: [usize; 2],
        a: &[f32],
        (weights, panels): (&[f32], &[f32]),
        c: &mut [f32],
        ending: Ending<'_>,
    ) {
        let Some((width, _)) = simd::panel_width() else { return };
        let block = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1);
        let dotted = dotted([depth, columns]);
        let others = columns - dotted;
        for row in (0..self.m).step_by(ROWS) {
            let rows = ROWS.min(self.m - row);
            for first in (0..depth).step_by(block) {
                let count = block.min(depth - first);
                let left = Left { data: &a[row * depth + first..], rows, depth: count, stride: depth };
                let ending = Ending {
                    into: if first > 0 { Into::Add } else { ending.into },
                    bias: None,
                    rectify: ending.rectify && first + count == depth,
                };
                for (index, panel) in panels.chunks_exact(depth * width).enumerate() {
                    let column = index * width;
                    let c = (&mut c[row * columns + column..], columns);
                    panel_product(left, &panel[first * width..], width.min(others - column), c, ending);
                }
            }
            if dotted > 0 {
                let left = Left { data: &a[row * depth..], rows, depth, stride: depth };
                dot_products(left, &weights[others * depth..], (&mut c[row * columns + others..], columns), ending);
            }
        }
    }

    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T], prepared: Option<&[f32]>) {
        let size = self.m * self.n;
        let into = match inputs.get(2) {
            Some(bias) => {
                output.chunks_exact_mut(self.n.max(1)).for_each(|row| row.copy_from_slice(bias));
                Into::Add
            }
            None => Into::Write,
        };
        if let (Some(shape), Some(panels), Some(a)) = (self.panelled(Side::Forward), prepared, T::single(inputs[0]))
            && let (Some(weights), Some(output)) = (T::single(inputs[1]), T::single_mut(output))
        {
            return self.by_panels(
                shape,
                a,
                (weights, panels),
                output,
                Ending { into, bias: None, rectify: self.rectify },
            );
        }
        for (place, (a, b)) in self.products.iter().enumerate() {
            let c = &mut output[place * size..][..size];
            gemm(T::of(self.alpha), self.a(inputs[0], *a), self.b(inputs[1], *b), c, into);
        }
        if self.rectify {
            rectify(output);
        }
    }

    pub(crate) fn backward<T: Real>(&self, way: &Way<'_>, inputs: &[&[T]], upstream: &[T], gradient: &mut [T]) {
        let (alpha, size, which) = (T::of(self.alpha), self.m * self.n, way.which);
        if let (0, Some(shape), Some(panels)) = (which, self.panelled(Side::Backward), way.prepared)
            && let (Some(upstream), Some(gradient)) = (T::single(upstream), T::single_mut(gradient))
            && let Some(weights) = T::single(inputs[1])
        {
            let ending = Ending { into: way.into, bias: None, rectify: false };
            return self.by_panels(shape, upstream, (weights, panels), gradient, ending);
        }
        let into = match way.into {
            // Of several products, two may go to the same place.
            Into::Write if self.products.len() > 1 => {
                gradient.fill(T::ZERO);
                Into::Add
            }
            into => into,
        };
        if which == 2 {
            for row in upstream.chunks_exact(self.n.max(1)) {
                gradient.iter_mut().zip(row).for_each(|(bias, up)| *bias += *up);
            }
            return;
        }
        for (place, (a, b)) in self.products.iter().enumerate() {
            let dc = Matrix::new(&upstream[place * size..][..size], self.m, self.n);
            // The gradient is made in the layout in which its operand is stored, hence the transposed products.
            let (left, right, index, length) = if which == 0 {
                let (b, length) = (self.b(inputs[1], *b), self.m * self.k);
                if self.transpose_a { (b, dc.transposed(), *a, length) } else { (dc, b.transposed(), *a, length) }
            } else {
                let (a, length) = (self.a(inputs[0], *a), self.k * self.n);
                if self.transpose_b { (dc.transposed(), a, *b, length) } else { (a.transposed(), dc, *b, length) }
            };
            gemm(alpha, left, right, &mut gradient[index * length..][..length], into);
        }
    }
}

/// How many of the last columns are dot products along the depth.
fn dotted([depth, columns]: [usize; 2]) -> usize {
    let Some((_, lanes)) = simd::panel_width() else { return 0 };
    let rest = columns % lanes;
    if rest <= lanes / 2 && depth >= LONG * lanes { rest } else { 0 }
}

/// Vectors of a sum from which on it outweighs that its lanes are summed up at the end.
const LONG: usize = 16;
/// Rows of a panel that are taken at once, and rows of the left operand: the one stays in the first-level cache, the other
/// in the second.
const DEPTH: usize = 256;
const ROWS: usize = 192;
