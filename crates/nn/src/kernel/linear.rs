//! Matrix products: `Gemm` and `MatMul`.
//!
//! One kernel computes a list of products `alpha · op(A) · op(B)`, each at its own place in the buffers; broadcasting over
//! batches is a matter of that list. The usual bias of a `Gemm`, one number a column, comes with its one product; others
//! are broadcast additions of their own.

use super::gemm::{Into, Matrix, gemm};
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

    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T]) {
        let size = self.m * self.n;
        let into = match inputs.get(2) {
            Some(bias) => {
                output.chunks_exact_mut(self.n.max(1)).for_each(|row| row.copy_from_slice(bias));
                Into::Add
            }
            None => Into::Write,
        };
        for (place, (a, b)) in self.products.iter().enumerate() {
            let c = &mut output[place * size..][..size];
            gemm(T::of(self.alpha), self.a(inputs[0], *a), self.b(inputs[1], *b), c, into);
        }
    }

    pub(crate) fn backward<T: Real>(&self, which: usize, inputs: &[&[T]], upstream: &[T], gradient: &mut [T]) {
        let (alpha, size) = (T::of(self.alpha), self.m * self.n);
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
            gemm(alpha, left, right, &mut gradient[index * length..][..length], Into::Add);
        }
    }
}
