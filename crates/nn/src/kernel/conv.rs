//! Convolution in one or two dimensions: patches become the columns of a matrix, the rest is a matrix product.
//!
//! A 1-D convolution is a 2-D one of height 1. The columns live in scratch space for one image and group at a time, and
//! are made again in the backward pass: cheaper than keeping them. Where each row begins is the same for every channel, so
//! it is tabulated once a plan; padding is a border of zeros around a copy of the plane, not a case in the loop.
//!
//! In single precision, forward and the gradient of the input go by [`Slides`] where the machine has kernels for it. The
//! reference mode never does, so that each checks the other.

use super::Way;
use super::gemm::{Into, Matrix, gemm};
use super::linear::Side;
use super::pool::Window;
use super::slide::{Sizes, Slides};
use crate::real::Real;
use crate::tensor::elements;

/// Inputs: `[batch, groups · in_channels, height, width]`, weights `[groups · out_channels, in_channels, kernel…]`, bias.
#[derive(Debug, Clone)]
pub(crate) struct Conv {
    batch: usize,
    groups: usize,
    /// Channels of one group.
    in_channels: usize,
    /// Channels of one group.
    out_channels: usize,
    window: Window,
    /// For each cell of the kernel, and within it each row of places of the window: where in the padded plane the first
    /// place of the row lies. The others follow at the stride.
    rows: Vec<u32>,
    slides: Option<Box<Slides>>,
    /// Whether a `Relu` follows, which is then part of this step.
    pub(crate) rectify: bool,
}

impl Conv {
    /// Tabulates the window; `None` where a matrix would be beyond the limits.
    pub(crate) fn new(
        batch: usize,
        groups: usize,
        in_channels: usize,
        out_channels: usize,
        window: Window,
    ) -> Option<Self> {
        let [rows, columns] = [0, 1].map(|axis| window.padded(axis));
        elements(&[rows, columns])?;
        elements(&[in_channels, window.size(), window.output[0], window.output[1]])?;
        let sizes = Sizes { batch, groups, in_channels, out_channels, window: window.clone() };
        let slides = Slides::new(sizes).map(Box::new);
        let rows = Vec::new();
        let mut conv = Self { batch, groups, in_channels, out_channels, window, rows, slides, rectify: false };
        if conv.pointwise() {
            return Some(conv);
        }
        let window = &conv.window;
        let place = |axis: usize, cell: usize, at: usize| at * window.stride[axis] + cell * window.dilation[axis];
        for cell in 0..window.size() {
            let (ky, kx) = (cell / window.kernel[1], cell % window.kernel[1]);
            for y in 0..window.output[0] {
                // INVARIANT: the padded plane has fewer than 2^31 numbers, so every place fits.
                conv.rows.push(u32::try_from(place(0, ky, y) * columns + place(1, kx, 0)).unwrap_or(0));
            }
        }
        Some(conv)
    }

    /// Rows of the column matrix: numbers in one patch.
    fn patch(&self) -> usize {
        self.in_channels * self.window.size()
    }

    fn plane_in(&self) -> usize {
        self.window.input[0] * self.window.input[1]
    }

    fn plane_out(&self) -> usize {
        self.window.output[0] * self.window.output[1]
    }

    fn plane_padded(&self) -> usize {
        self.window.padded(0) * self.window.padded(1)
    }

    /// A 1×1 kernel without stride or padding needs no columns: the image is the matrix.
    fn pointwise(&self) -> bool {
        self.window.is_identity()
    }

    fn columns_len(&self) -> usize {
        if self.pointwise() { 0 } else { self.patch() * self.plane_out() }
    }

    /// Numbers of scratch space needed: for the columns, a padded plane, a transposed output and transposed weights.
    pub(crate) fn scratch_len(&self) -> usize {
        let (outputs, weights) = (self.out_channels * self.plane_out(), self.out_channels * self.patch());
        let columns = self.columns_len().saturating_add(self.plane_padded()).saturating_add(outputs);
        let columns = columns.saturating_add(weights.saturating_mul(self.groups));
        columns.max(self.slides.as_ref().map_or(0, |slides| slides.scratch_len()))
    }

    /// What tells what [`Self::prepare`] makes from what other convolutions make of the same weights, where it makes anything.
    pub(crate) fn prepares(&self, side: Side) -> Option<[usize; 10]> {
        let slides = self.slides.as_ref()?;
        (side == Side::Backward || slides.lays()).then(|| slides.key())
    }

    /// How many numbers [`Self::prepare`] makes.
    pub(crate) fn prepared_len(&self, side: Side) -> usize {
        self.slides.as_ref().map_or(0, |slides| slides.prepared_len(side))
    }

    /// The weights as [`Slides`] wants them.
    pub(crate) fn prepare(&self, side: Side, weights: &[f32]) -> Vec<f32> {
        let Some(slides) = &self.slides else { return Vec::new() };
        match side {
            Side::Forward => slides.laid(weights).unwrap_or_default(),
            Side::Backward => slides.turned(weights),
        }
    }

    /// The index of each pair of image and group, and the group.
    fn parts(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let groups = self.groups;
        (0..self.batch * groups).map(move |part| (part, part % groups))
    }

    /// `prepared` is what [`Slides::laid`] made of the weights, where anything did.
    pub(crate) fn forward<T: Real>(
        &self,
        inputs: &[&[T]],
        output: &mut [T],
        scratch: &mut [T],
        prepared: Option<&[f32]>,
    ) {
        if self.slide(inputs, output, scratch, prepared) {
            return;
        }
        let (patch, plane) = (self.patch(), self.plane_out());
        let (image_len, weight_len) = (self.in_channels * self.plane_in(), self.out_channels * patch);
        let out_len = self.out_channels * plane;
        let (columns, rest) = scratch.split_at_mut(self.columns_len());
        let padded = &mut rest[..self.plane_padded()];
        for (part, group) in self.parts() {
            let image = &inputs[0][part * image_len..][..image_len];
            let weights = Matrix::new(&inputs[1][group * weight_len..][..weight_len], self.out_channels, patch);
            let out = &mut output[part * out_len..][..out_len];
            let into = match inputs.get(2) {
                Some(bias) => {
                    let bias = &bias[group * self.out_channels..][..self.out_channels];
                    out.chunks_exact_mut(plane.max(1)).zip(bias).for_each(|(row, bias)| row.fill(*bias));
                    Into::Add
                }
                None => Into::Write,
            };
            let patches: &[T] = if self.pointwise() {
                image
            } else {
                self.image_to_columns(image, columns, padded);
                columns
            };
            gemm(T::ONE, weights, Matrix::new(patches, patch, plane), out, into);
        }
        if self.rectify {
            rectify(output);
        }
    }

    /// The forward pass in single precision, where this machine can; says whether it could.
    fn slide<T: Real>(&self, inputs: &[&[T]], output: &mut [T], scratch: &mut [T], prepared: Option<&[f32]>) -> bool {
        let [images, weights, bias @ ..] = inputs else { return false };
        let (Some(images), Some(weights)) = (T::single(images), T::single(weights)) else { return false };
        let (Some(output), Some(scratch)) = (T::single_mut(output), T::single_mut(scratch)) else { return false };
        let Some(slides) = &self.slides else { return false };
        let bias = bias.first().and_then(|bias| T::single(bias));
        slides.forward(images, (weights, prepared), bias, self.rectify, output, scratch);
        true
    }

    pub(crate) fn backward<T: Real>(
        &self,
        way: &Way<'_>,
        inputs: &[&[T]],
        upstream: &[T],
        gradient: &mut [T],
        scratch: &mut [T],
    ) {
        match way.which {
            0 => {
                let single = (T::single(upstream), self.slides.as_ref(), way.prepared);
                if let (Some(upstream), Some(slides), Some(turned)) = single
                    && let (Some(gradient), Some(scratch)) = (T::single_mut(gradient), T::single_mut(scratch))
                {
                    return slides.backward(turned, upstream, gradient, way.into, scratch);
                }
                if way.into == Into::Write {
                    gradient.fill(T::ZERO);
                }
                self.backward_input(inputs[1], upstream, gradient, scratch);
            }
            1 => self.backward_weights(inputs[0], upstream, gradient, scratch),
            _ => {
                let channels = upstream.chunks_exact(self.plane_out().max(1));
                for (index, plane) in channels.enumerate() {
                    gradient[index % (self.groups * self.out_channels)] += plane.iter().copied().sum();
                }
            }
        }
    }

    /// The transposed convolution: its input takes the place of this one's upstream gradient. Inputs: x, weights, bias.
    pub(crate) fn transposed_forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T], scratch: &mut [T]) {
        output.fill(T::ZERO);
        if let Some(bias) = inputs.get(2) {
            let planes = output.chunks_exact_mut(self.plane_in().max(1)).zip(bias.iter().cycle());
            planes.for_each(|(plane, bias)| plane.fill(*bias));
        }
        self.backward_input(inputs[1], inputs[0], output, scratch);
    }

    pub(crate) fn transposed_backward<T: Real>(
        &self,
        which: usize,
        inputs: &[&[T]],
        upstream: &[T],
        gradient: &mut [T],
        scratch: &mut [T],
    ) {
        match which {
            0 => {
                let mut made = vec![T::ZERO; gradient.len()];
                self.forward(&[upstream, inputs[1]], &mut made, scratch, None);
                gradient.iter_mut().zip(&made).for_each(|(to, from)| *to += *from);
            }
            1 => self.backward_weights(upstream, inputs[0], gradient, scratch),
            _ => {
                for (index, plane) in upstream.chunks_exact(self.plane_in().max(1)).enumerate() {
                    gradient[index % (self.groups * self.in_channels)] += plane.iter().copied().sum();
                }
            }
        }
    }

    fn backward_input<T: Real>(&self, weights: &[T], upstream: &[T], gradient: &mut [T], scratch: &mut [T]) {
        let (patch, plane) = (self.patch(), self.plane_out());
        let (image_len, weight_len) = (self.in_channels * self.plane_in(), self.out_channels * patch);
        let out_len = self.out_channels * plane;
        let (columns, rest) = scratch.split_at_mut(self.columns_len());
        let padded = &mut rest[..self.plane_padded()];
        for (part, group) in self.parts() {
            let dout = Matrix::new(&upstream[part * out_len..][..out_len], self.out_channels, plane);
            let weights = &weights[group * weight_len..][..weight_len];
            let weights = Matrix::new(weights, self.out_channels, patch).transposed();
            let dimage = &mut gradient[part * image_len..][..image_len];
            if self.pointwise() {
                gemm(T::ONE, weights, dout, dimage, Into::Add);
            } else {
                gemm(T::ONE, weights, dout, columns, Into::Write);
                self.columns_to_image(columns, dimage, padded);
            }
        }
    }

    /// The gradient is summed up transposed, `[patch, out_channels]`: then the operand that must be transposed for fast
    /// products is the small one, the gradient of the output, and not the columns.
    fn backward_weights<T: Real>(&self, images: &[T], upstream: &[T], gradient: &mut [T], scratch: &mut [T]) {
        let (patch, plane) = (self.patch(), self.plane_out());
        let (image_len, weight_len) = (self.in_channels * self.plane_in(), self.out_channels * patch);
        let out_len = self.out_channels * plane;
        let (columns, rest) = scratch.split_at_mut(self.columns_len());
        let (padded, rest) = rest.split_at_mut(self.plane_padded());
        let (dout, rest) = rest.split_at_mut(out_len);
        let sums = &mut rest[..self.groups * weight_len];
        sums.fill(T::ZERO);
        for (part, group) in self.parts() {
            transpose(&upstream[part * out_len..][..out_len], plane, dout);
            let image = &images[part * image_len..][..image_len];
            let patches: &[T] = if self.pointwise() {
                image
            } else {
                self.image_to_columns(image, columns, padded);
                columns
            };
            let sums = &mut sums[group * weight_len..][..weight_len];
            let dout = Matrix::new(dout, plane, self.out_channels);
            gemm(T::ONE, Matrix::new(patches, patch, plane), dout, sums, Into::Add);
        }
        let groups = gradient.chunks_exact_mut(weight_len.max(1)).zip(sums.chunks_exact(weight_len.max(1)));
        for (gradient, sums) in groups {
            for (at, number) in gradient.iter_mut().enumerate() {
                *number += sums[at % patch * self.out_channels + at / patch];
            }
        }
    }

    /// Row `(channel, ky, kx)` holds, for every place of the window, the number under that cell of the kernel.
    fn image_to_columns<T: Real>(&self, image: &[T], columns: &mut [T], padded: &mut [T]) {
        padded.fill(T::ZERO);
        let (width, stride) = (self.window.output[1], self.window.stride[1]);
        let planes = image.chunks_exact(self.plane_in()).zip(columns.chunks_exact_mut(self.rows.len() * width));
        for (plane, columns) in planes {
            for (from, to) in plane.chunks_exact(self.window.input[1]).zip(self.inner_rows(padded)) {
                to.copy_from_slice(from);
            }
            for (to, start) in columns.chunks_exact_mut(width).zip(&self.rows) {
                let from = &padded[*start as usize..];
                if stride == 1 {
                    to.copy_from_slice(&from[..width]);
                } else {
                    to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// The transpose of [`Self::image_to_columns`]: adds every number back to where it came from.
    fn columns_to_image<T: Real>(&self, columns: &[T], image: &mut [T], padded: &mut [T]) {
        let (width, stride) = (self.window.output[1], self.window.stride[1]);
        let planes = image.chunks_exact_mut(self.plane_in()).zip(columns.chunks_exact(self.rows.len() * width));
        for (plane, columns) in planes {
            padded.fill(T::ZERO);
            for (from, start) in columns.chunks_exact(width).zip(&self.rows) {
                let to = &mut padded[*start as usize..];
                if stride == 1 {
                    to[..width].iter_mut().zip(from).for_each(|(to, from)| *to += *from);
                } else {
                    to.iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to += *from);
                }
            }
            for (to, from) in plane.chunks_exact_mut(self.window.input[1]).zip(self.inner_rows(padded)) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
            }
        }
    }

    /// The rows of a padded plane, without their padding.
    fn inner_rows<'p, T>(&self, padded: &'p mut [T]) -> impl Iterator<Item = &'p mut [T]> + use<'p, T> {
        let (above, left) = (self.window.pads[0].0, self.window.pads[1].0);
        let width = self.window.input[1];
        padded.chunks_exact_mut(self.window.padded(1)).skip(above).map(move |row| &mut row[left..left + width])
    }
}

/// What is not above 0 becomes 0.
pub(super) fn rectify<T: Real>(numbers: &mut [T]) {
    for number in numbers {
        *number = if *number > T::ZERO { *number } else { T::ZERO };
    }
}

/// Rows of `columns` numbers become columns.
fn transpose<T: Real>(from: &[T], columns: usize, to: &mut [T]) {
    let rows = from.len().checked_div(columns).unwrap_or(0);
    for (row, numbers) in from.chunks_exact(columns.max(1)).enumerate() {
        for (to, number) in to[row..].iter_mut().step_by(rows.max(1)).zip(numbers) {
            *to = *number;
        }
    }
}
