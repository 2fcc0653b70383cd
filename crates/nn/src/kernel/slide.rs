//! Convolutions in single precision whose matrix of patches is never made.
//!
//! A few columns of that matrix at a time, a panel, are copied from the image into the first-level cache and multiplied
//! with all weights at once. Two layouts make each such copy a matter of whole vectors: the image is padded, and where the
//! window strides, it is first cut into one plane for each remainder of row and column, so that neighbouring places of the
//! window lie beside each other. The gradient of the input is the same product with turned weights, one for each such plane.
//!
//! INVARIANT: how a number is added up depends on the number of weights behind it and on nothing else, so an example's
//! results are the same in every batch.

use super::gemm::{Ending, Into, Left, Offsets, pack, panel_product};
use super::pool::Window;
use super::simd::{self, Piece};

/// A convolution's products: all of one group; groups follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Slides {
    sizes: Sizes,
    forward: Slide,
    phases: Vec<Phase>,
    /// Height and width of one plane of the cut image, and of the padded gradient of the output.
    cut: [usize; 2],
    padded: [usize; 2],
    /// Where the gradient of the output begins in its padded plane.
    margin: [usize; 2],
    /// Images that are worked on together, forward and backward.
    images: [usize; 2],
}

/// What is convolved with what; channels are those of one group.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) window: Window,
}

/// The places of the input that see the same cells of the kernel.
#[derive(Debug, Clone)]
struct Phase {
    slide: Slide,
    cells: Vec<usize>,
    /// The first row and column of the input.
    first: [usize; 2],
}

impl Sizes {
    fn inner(&self) -> usize {
        self.window.input[0] * self.window.input[1]
    }

    fn outer(&self) -> usize {
        self.window.output[0] * self.window.output[1]
    }

    fn weights(&self) -> usize {
        self.in_channels * self.out_channels * self.window.size()
    }

    /// For a cell of the kernel the remainder and the quotient of its distance and the stride, along one axis.
    fn cell(&self, axis: usize, cell: usize) -> (usize, usize) {
        let along = if axis == 0 { cell / self.window.kernel[1] } else { cell % self.window.kernel[1] };
        let distance = along * self.window.dilation[axis];
        (distance % self.window.stride[axis], distance / self.window.stride[axis])
    }
}

impl Slides {
    /// `None` where this machine has no kernel for panels, or where the buffers would be beyond 32 bits.
    pub(crate) fn new(sizes: Sizes) -> Option<Self> {
        simd::panel_width()?;
        let window = &sizes.window;
        let cells = 0..window.size();
        let [tall, wide] = window.stride;
        let cut = [0, 1].map(|axis| window.padded(axis).div_ceil(window.stride[axis]));
        let plane = cut[0].checked_mul(cut[1])?;
        let channel = plane.checked_mul(tall.checked_mul(wide)?)?;
        channel.checked_mul(sizes.in_channels)?.checked_mul(2)?;
        let start = |cell: usize| {
            let ((y, down), (x, right)) = (sizes.cell(0, cell), sizes.cell(1, cell));
            (y * wide + x) * plane + down * cut[1] + right
        };
        let channels = 0..sizes.in_channels;
        let offsets = channels.flat_map(|input| cells.clone().map(move |cell| (input, cell)));
        let forward = Slide {
            offsets: Offsets::new(offsets.map(|(input, cell)| input * channel + start(cell)))?,
            rows: window.output[0],
            width: window.output[1],
            pitch: cut[1],
            origin: 0,
        };
        let margin = [0, 1].map(|axis| cells.clone().map(|cell| sizes.cell(axis, cell).1).max().unwrap_or(0));
        let padded = [0, 1].map(|axis| cut[axis].max(window.output[axis]) + margin[axis]);
        padded[0].checked_mul(padded[1])?.checked_mul(sizes.out_channels)?.checked_mul(2)?;
        let remainders = (0..tall).flat_map(|y| (0..wide).map(move |x| [y, x]));
        let phases = remainders.map(|at| Phase::new(&sizes, at, padded, margin)).collect::<Option<Vec<_>>>()?;
        let together = |numbers: usize, plane: usize| {
            (SOURCE_NUMBERS / numbers.max(1)).max(COLUMNS.div_ceil(plane.max(1))).clamp(1, sizes.batch.max(1))
        };
        let images = [
            together(channel * sizes.in_channels, sizes.outer()),
            together(padded[0] * padded[1] * sizes.out_channels, sizes.inner()),
        ];
        Some(Self { forward: forward.joined(), sizes, phases, cut, padded, margin, images })
    }

    fn source_lens(&self) -> [usize; 2] {
        let [tall, wide] = self.sizes.window.stride;
        let forward = self.sizes.in_channels * tall * wide * self.cut[0] * self.cut[1];
        [forward, self.sizes.out_channels * self.padded[0] * self.padded[1]]
    }

    /// Numbers of scratch space: a panel, the sources of a block of images, and the gradients of one phase.
    pub(crate) fn scratch_len(&self) -> usize {
        let [forward, backward] = self.source_lens();
        let made = if self.strided() { self.sizes.in_channels * self.sizes.inner() } else { 0 };
        let backward = (backward + made).saturating_mul(self.images[1]);
        PANEL.saturating_add(forward.saturating_mul(self.images[0]).max(backward)).saturating_add(2 * MARGIN)
    }

    fn strided(&self) -> bool {
        self.sizes.window.stride != [1, 1]
    }

    /// `[batch, groups · out_channels, …]` from images and weights.
    pub(crate) fn forward(
        &self,
        images: &[f32],
        weights: &[f32],
        bias: Option<&[f32]>,
        rectify: bool,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let Sizes { batch, groups, in_channels, out_channels, .. } = self.sizes;
        let (image, plane) = (in_channels * self.sizes.inner(), self.sizes.outer());
        let (panel, rest) = scratch.split_at_mut(PANEL);
        let [source_len, _] = self.source_lens();
        let source = &mut rest[..source_len * self.images[0] + MARGIN];
        // The borders stay as they are; everything else is written for each block.
        source.fill(0.0);
        for group in 0..groups {
            let weights = &weights[group * self.sizes.weights()..][..self.sizes.weights()];
            let bias = bias.map(|bias| &bias[group * out_channels..][..out_channels]);
            for first in (0..batch).step_by(self.images[0]) {
                let count = self.images[0].min(batch - first);
                for (at, source) in source.chunks_exact_mut(source_len).take(count).enumerate() {
                    self.cut(&images[((first + at) * groups + group) * image..][..image], source);
                }
                let data = &mut output[(first * groups + group) * out_channels * plane..];
                let target = Target { data, image: groups * out_channels * plane, row: plane };
                let ending = Ending { into: Into::Write, bias, rectify };
                self.forward.run((weights, out_channels), (&*source, source_len, count), target, ending, panel);
            }
        }
    }

    /// One image, cut by remainders of row and column.
    fn cut(&self, image: &[f32], to: &mut [f32]) {
        let window = &self.sizes.window;
        let ([tall, wide], [height, width]) = (window.stride, self.cut);
        let (top, left) = (window.pads[0].0, window.pads[1].0);
        // Places of each remainder that lie in the padding on the left.
        let skipped: Vec<usize> = (0..wide).map(|x| left.saturating_sub(x).div_ceil(wide)).collect();
        let planes = image.chunks_exact(self.sizes.inner()).zip(to.chunks_exact_mut(tall * wide * height * width));
        for (plane, to) in planes {
            let (mut phase, mut row) = (top % tall, top / tall);
            for from in plane.chunks_exact(window.input[1]) {
                for x in 0..wide {
                    let skipped = skipped[x];
                    let Some(from) = from.get(x + wide * skipped - left..) else { continue };
                    let to = &mut to[((phase * wide + x) * height + row) * width..][skipped..width];
                    gather(from, wide, to);
                }
                phase += 1;
                if phase == tall {
                    (phase, row) = (0, row + 1);
                }
            }
        }
    }

    /// The weights as the gradient of the input needs them: group by group, phase by phase, `[in_channels, out_channels · cells]`.
    pub(crate) fn turned(&self, weights: &[f32]) -> Vec<f32> {
        let Sizes { groups, in_channels, out_channels, ref window, .. } = self.sizes;
        let mut turned = Vec::with_capacity(weights.len());
        for group in 0..groups {
            let weights = &weights[group * self.sizes.weights()..][..self.sizes.weights()];
            for phase in &self.phases {
                for input in 0..in_channels {
                    for output in 0..out_channels {
                        let kernel = &weights[(output * in_channels + input) * window.size()..][..window.size()];
                        turned.extend(phase.cells.iter().map(|cell| kernel[*cell]));
                    }
                }
            }
        }
        turned
    }

    /// What tells one turning of the same weights from another.
    pub(crate) fn key(&self) -> [usize; 10] {
        let Sizes { groups, in_channels, out_channels, ref window, .. } = self.sizes;
        let ([tall, wide], [down, right], [a, b]) = (window.kernel, window.stride, window.dilation);
        [groups, in_channels, out_channels, tall, wide, down, right, a, b, 1]
    }

    /// The gradient of the images, from [`Self::turned`] weights.
    pub(crate) fn backward(
        &self,
        turned: &[f32],
        upstream: &[f32],
        gradient: &mut [f32],
        into: Into,
        scratch: &mut [f32],
    ) {
        let Sizes { batch, groups, in_channels, out_channels, .. } = self.sizes;
        let (image, outer) = (in_channels * self.sizes.inner(), out_channels * self.sizes.outer());
        let [_, source_len] = self.source_lens();
        let (panel, rest) = scratch.split_at_mut(PANEL);
        let (source, made) = rest.split_at_mut(source_len * self.images[1] + MARGIN);
        source.fill(0.0);
        for group in 0..groups {
            let turned = &turned[group * self.sizes.weights()..][..self.sizes.weights()];
            for first in (0..batch).step_by(self.images[1]) {
                let count = self.images[1].min(batch - first);
                for (at, source) in source.chunks_exact_mut(source_len).take(count).enumerate() {
                    self.pad(&upstream[((first + at) * groups + group) * outer..][..outer], source);
                }
                let data = &mut gradient[(first * groups + group) * image..];
                let target = Target { data, image: groups * image, row: self.sizes.inner() };
                self.phases_into(turned, (&*source, source_len, count), target, into, (&mut *panel, &mut *made));
            }
        }
    }

    fn pad(&self, upstream: &[f32], to: &mut [f32]) {
        let ([height, width], [top, left]) = (self.padded, self.margin);
        let across = self.sizes.window.output[1];
        for (plane, to) in upstream.chunks_exact(self.sizes.outer()).zip(to.chunks_exact_mut(height * width)) {
            for (from, to) in plane.chunks_exact(across).zip(to.chunks_exact_mut(width).skip(top)) {
                to[left..left + across].copy_from_slice(from);
            }
        }
    }

    fn phases_into(
        &self,
        turned: &[f32],
        source: (&[f32], usize, usize),
        mut target: Target<'_>,
        into: Into,
        (panel, made): (&mut [f32], &mut [f32]),
    ) {
        let (channels, mut rest) = (self.sizes.in_channels, turned);
        for phase in &self.phases {
            let (weights, others) = rest.split_at(channels * phase.slide.offsets.len());
            rest = others;
            if !self.strided() {
                let ending = Ending { into, bias: None, rectify: false };
                let target = Target { data: &mut *target.data, ..target };
                phase.slide.run((weights, channels), source, target, ending, panel);
                continue;
            }
            let plane = phase.slide.rows * phase.slide.width;
            let made = &mut made[..source.2 * channels * plane];
            if phase.cells.is_empty() {
                made.fill(0.0);
            } else {
                let ending = Ending { into: Into::Write, bias: None, rectify: false };
                let target = Target { data: &mut *made, image: channels * plane, row: plane };
                phase.slide.run((weights, channels), source, target, ending, panel);
            }
            self.spread(phase, made, &mut target, into);
        }
    }

    /// Puts the gradients of one phase where they belong.
    fn spread(&self, phase: &Phase, made: &[f32], target: &mut Target<'_>, into: Into) {
        let ([tall, wide], across) = (self.sizes.window.stride, self.sizes.window.input[1]);
        let Slide { rows, width, .. } = phase.slide;
        if rows * width == 0 {
            return;
        }
        for (index, plane) in made.chunks_exact(rows * width).enumerate() {
            let (image, channel) = (index / self.sizes.in_channels, index % self.sizes.in_channels);
            let to = &mut target.data[image * target.image + channel * target.row..][..target.row];
            for (row, from) in plane.chunks_exact(width).enumerate() {
                let to = &mut to[(phase.first[0] + row * tall) * across..][phase.first[1]..across];
                scatter(from, wide, to, into);
            }
        }
    }
}

impl Phase {
    fn new(sizes: &Sizes, at: [usize; 2], padded: [usize; 2], margin: [usize; 2]) -> Option<Self> {
        let window = &sizes.window;
        let seen = |cell: &usize| [0, 1].iter().all(|axis| sizes.cell(*axis, *cell).0 == at[*axis]);
        let cells: Vec<usize> = (0..window.size()).filter(seen).collect();
        let begin = [0, 1].map(|axis| window.pads[axis].0.saturating_sub(at[axis]).div_ceil(window.stride[axis]));
        let end = [0, 1].map(|axis| {
            (window.input[axis] + window.pads[axis].0).saturating_sub(at[axis]).div_ceil(window.stride[axis])
        });
        let start = |cell: &usize| {
            let [down, right] = [0, 1].map(|axis| margin[axis] - sizes.cell(axis, *cell).1);
            down * padded[1] + right
        };
        let channels = 0..sizes.out_channels;
        let offsets = channels.flat_map(|output| cells.iter().map(move |cell| (output, cell)));
        let slide = Slide {
            offsets: Offsets::new(offsets.map(|(output, cell)| output * padded[0] * padded[1] + start(cell)))?,
            rows: end[0].saturating_sub(begin[0]),
            width: end[1].saturating_sub(begin[1]),
            pitch: padded[1],
            origin: begin[0] * padded[1] + begin[1],
        };
        let first =
            [0, 1].map(|axis| (begin[axis] * window.stride[axis] + at[axis]).saturating_sub(window.pads[axis].0));
        let slide = if window.stride == [1, 1] { slide.joined() } else { slide };
        Some(Self { slide, cells, first })
    }
}

/// A product of a matrix with patches: `[m, depth] × [depth, places]`.
#[derive(Debug, Clone)]
struct Slide {
    /// Where in an image's source each row of the matrix of patches begins.
    offsets: Offsets,
    /// The places: so many rows of so many, `pitch` apart in the source, from `origin` on.
    rows: usize,
    width: usize,
    pitch: usize,
    origin: usize,
}

/// Where the result of a [`Slide`] goes: numbers from one image to the next, and from one row to the next.
struct Target<'t> {
    data: &'t mut [f32],
    image: usize,
    row: usize,
}

impl Slide {
    /// Rows without a gap are one row.
    fn joined(self) -> Self {
        if self.pitch == self.width { Self { width: self.rows * self.width, rows: 1, ..self } } else { self }
    }

    /// `a` is `(numbers, rows)`, `source` is `(numbers, numbers an image, images)`.
    fn run(
        &self,
        (a, m): (&[f32], usize),
        source: (&[f32], usize, usize),
        mut target: Target<'_>,
        ending: Ending<'_>,
        panel: &mut [f32],
    ) {
        let Some((width, lanes)) = simd::panel_width() else { return };
        let (depth, columns) = (self.offsets.len(), source.2 * self.rows * self.width);
        let block = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1);
        let mut pieces = Vec::with_capacity(width);
        for group in (0..columns).step_by(width * PANELS) {
            for first in (0..depth).step_by(block) {
                let count = block.min(depth - first);
                let ending = Ending {
                    into: if first > 0 { Into::Add } else { ending.into },
                    bias: ending.bias,
                    rectify: ending.rectify && first + count == depth,
                };
                let left = Left { data: &a[first..], rows: m, depth: count, stride: depth };
                for start in (group..columns.min(group + width * PANELS)).step_by(width) {
                    let taken = width.min(columns - start);
                    self.pieces(start, taken, source.1, lanes, &mut pieces);
                    pack(panel, source.0, (&self.offsets, first, count), &pieces);
                    self.put(left, panel, (start, taken, width), &mut target, ending);
                }
            }
        }
    }

    /// Where the columns from `start` on lie in the source.
    fn pieces(&self, start: usize, count: usize, image_len: usize, lanes: usize, pieces: &mut Vec<Piece>) {
        pieces.clear();
        let (plane, mut at) = (self.rows * self.width, 0);
        let (mut image, place) = (start / plane, start % plane);
        let (mut row, mut column) = (place / self.width, place % self.width);
        while at < count {
            let place = image * image_len + self.origin + row * self.pitch + column;
            pieces.push(Piece { at, place });
            let run = (self.width - column).min(count - at).min(lanes);
            (at, column) = (at + run, column + run);
            if column == self.width {
                (row, column) = (row + 1, 0);
            }
            if row == self.rows {
                (image, row) = (image + 1, 0);
            }
        }
    }

    /// Multiplies and puts the columns from `start` on where they belong.
    fn put(
        &self,
        left: Left<'_>,
        panel: &[f32],
        (start, count, width): (usize, usize, usize),
        target: &mut Target<'_>,
        ending: Ending<'_>,
    ) {
        let plane = self.rows * self.width;
        let (mut image, mut place) = (start / plane, start % plane);
        if place + count <= plane {
            let data = &mut target.data[image * target.image + place..];
            return panel_product(left, panel, count, (data, target.row), ending);
        }
        // The columns are of several images.
        let mut tiles = [0.0; TILE_ROWS * WIDTH_MAX];
        for first in (0..left.rows).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(left.rows - first);
            let part = Left { data: &left.data[first * left.stride..], rows, ..left };
            let plain = Ending { into: Into::Write, bias: None, rectify: false };
            panel_product(part, panel, count, (&mut tiles[..], width), plain);
            let mut at = 0;
            (image, place) = (start / plane, start % plane);
            while at < count {
                let run = (plane - place).min(count - at);
                for (row, sums) in tiles.chunks_exact(width).take(rows).enumerate() {
                    let row = first + row;
                    let to = &mut target.data[image * target.image + row * target.row + place..][..run];
                    ending.apply(row, &sums[at..at + run], to);
                }
                (at, image, place) = (at + run, image + 1, 0);
            }
        }
    }
}

/// Every `stride`th number.
fn gather(from: &[f32], stride: usize, to: &mut [f32]) {
    match stride {
        1 => to[..from.len()].copy_from_slice(from),
        2 => {
            let (pairs, last) = from.as_chunks::<2>();
            to.iter_mut().zip(pairs).for_each(|(to, [from, _])| *to = *from);
            if let ([from], Some(to)) = (last, to.get_mut(pairs.len())) {
                *to = *from;
            }
        }
        _ => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
    }
}

/// Numbers to every `stride`th place.
fn scatter(from: &[f32], stride: usize, to: &mut [f32], into: Into) {
    let put = |to: &mut f32, from: &f32| *to = if into == Into::Add { *to + from } else { *from };
    if stride == 2 {
        let (pairs, last) = to.as_chunks_mut::<2>();
        let whole = pairs.len();
        pairs.iter_mut().zip(from).for_each(|([to, _], from)| put(to, from));
        if let ([to], Some(from)) = (last, from.get(whole)) {
            put(to, from);
        }
    } else {
        to.iter_mut().step_by(stride).zip(from).for_each(|(to, from)| put(to, from));
    }
}

/// Rows of a panel at most: with the weights of one tile it stays in the first-level cache.
const DEPTH: usize = 256;
/// Columns of a panel on any machine, at most.
const WIDTH_MAX: usize = 32;
/// A vector on any machine.
const MARGIN: usize = 16;
const PANEL: usize = DEPTH * WIDTH_MAX + MARGIN;
/// Panels for which the same part of the weights is used, one after the other; their results stay in the second-level cache.
const PANELS: usize = 32;
/// Rows of a tile that is put together from several images: a multiple of what the kernels take.
const TILE_ROWS: usize = 24;
/// Images are worked on together until their sources have so many numbers, or their panels so many columns.
const SOURCE_NUMBERS: usize = 1 << 15;
const COLUMNS: usize = 256;
