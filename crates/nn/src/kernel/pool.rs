//! Sliding windows and the pools over them.
//!
//! Where several numbers of a window are the maximum, the whole gradient goes to the first in row-major order, as a
//! runtime that remembers one index does; it is never split and never multiplied.

use crate::real::Real;

/// A window that slides over a plane; 1-D windows have height 1. Indices: 0 height, 1 width.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Padding before and after.
    pub(crate) pads: [(usize, usize); 2],
}

impl Window {
    /// Cells of the kernel.
    pub(crate) fn size(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Cells of the input from the first to the last under the window.
    pub(crate) fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis].max(1) - 1) * self.dilation[axis] + 1
    }

    /// Whether every place of the window is one cell of the input, in order.
    pub(crate) fn is_identity(&self) -> bool {
        self.size() == 1 && self.stride == [1, 1] && self.pads == [(0, 0); 2] && self.input == self.output
    }

    /// The length of an axis with its padding.
    pub(crate) fn padded(&self, axis: usize) -> usize {
        self.input[axis] + self.pads[axis].0 + self.pads[axis].1
    }

    /// The cells of the input under the window at `place` along one axis.
    fn cells(&self, axis: usize, place: usize) -> impl Iterator<Item = usize> + use<> {
        let (start, step) = (place * self.stride[axis], self.dilation[axis]);
        let (before, length) = (self.pads[axis].0, self.input[axis]);
        (0..self.kernel[axis])
            .map(move |cell| start + cell * step)
            .filter(move |at| *at >= before && *at < before + length)
            .map(move |at| at - before)
    }

    /// Cells of the kernel that lie inside the padded input at `place`.
    fn padded_cells(&self, axis: usize, place: usize) -> usize {
        let end = self.padded(axis);
        (0..self.kernel[axis]).filter(|cell| place * self.stride[axis] + cell * self.dilation[axis] < end).count()
    }
}

/// A pool over `planes` planes, `[batch · channels, height, width]`.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    planes: usize,
    /// Numbers in a plane of the input.
    plane: usize,
    /// Cells of the input under the window, one place after the other.
    cells: Vec<u32>,
    /// For each place of the window where its cells end, and one over the number that an average divides by.
    places: Vec<(usize, f64)>,
}

/// What an average divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Divisor {
    /// The cells inside the input.
    Input,
    /// The cells inside the padded input.
    Padded,
}

impl Pool {
    /// Tabulates the window; the table has at most output places × kernel cells entries.
    pub(crate) fn new(planes: usize, window: &Window, divisor: Divisor) -> Self {
        let mut cells = Vec::new();
        let mut places = Vec::new();
        for y in 0..window.output[0] {
            for x in 0..window.output[1] {
                let before = cells.len();
                for row in window.cells(0, y) {
                    // INVARIANT: a plan's tensors have fewer than 2^31 elements, so every cell fits.
                    let cell = |column| u32::try_from(row * window.input[1] + column).unwrap_or(0);
                    cells.extend(window.cells(1, x).map(cell));
                }
                let counted = match divisor {
                    Divisor::Input => cells.len() - before,
                    Divisor::Padded => window.padded_cells(0, y) * window.padded_cells(1, x),
                };
                places.push((cells.len(), if counted == 0 { 0.0 } else { 1.0 / counted as f64 }));
            }
        }
        Self { planes, plane: window.input[0] * window.input[1], cells, places }
    }

    /// Calls `visit` for each place of the window on each plane: where the plane begins, the place in the output, the
    /// cells, and the share of an average.
    fn each(&self, mut visit: impl FnMut(usize, usize, &[u32], f64)) {
        let mut out = 0;
        for plane in 0..self.planes {
            let mut start = 0;
            for (end, share) in &self.places {
                visit(plane * self.plane, out, &self.cells[start..*end], *share);
                start = *end;
                out += 1;
            }
        }
    }

    pub(crate) fn max_forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        self.each(|plane, out, cells, _| {
            let values = &input[plane..][..self.plane];
            output[out] = first_maximum(values, cells).map_or(T::LOWEST, |cell| values[cell]);
        });
    }

    pub(crate) fn max_backward<T: Real>(&self, input: &[T], upstream: &[T], gradient: &mut [T]) {
        self.each(|plane, out, cells, _| {
            if let Some(cell) = first_maximum(&input[plane..][..self.plane], cells) {
                gradient[plane + cell] += upstream[out];
            }
        });
    }

    pub(crate) fn average_forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        self.each(|plane, out, cells, share| {
            output[out] = T::of(share) * cells.iter().map(|cell| input[plane + *cell as usize]).sum();
        });
    }

    pub(crate) fn average_backward<T: Real>(&self, upstream: &[T], gradient: &mut [T]) {
        self.each(|plane, out, cells, share| {
            let part = T::of(share) * upstream[out];
            for cell in cells {
                gradient[plane + *cell as usize] += part;
            }
        });
    }
}

fn first_maximum<T: Real>(values: &[T], cells: &[u32]) -> Option<usize> {
    let (first, rest) = cells.split_first()?;
    let mut best = *first as usize;
    let mut largest = values[best];
    for cell in rest {
        let value = values[*cell as usize];
        if value > largest {
            (best, largest) = (*cell as usize, value);
        }
    }
    Some(best)
}
